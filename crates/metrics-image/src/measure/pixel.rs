//! PSNR, MAE and MSE: configurations, functions, losses and metrics. Their sums are those of [`errors`](super::errors).

use candle_core::{DType, Tensor};
use metrics_core::{
    Accumulator, Configured, Definition, MetricInfo, NonFinite, Reduce, Reduction, Result, Samples, SharedPasses,
    State, Statistics, Value,
};
use metrics_detach::DetachExt;
use serde::{Deserialize, Serialize, Serializer};

use super::errors::{PixelError, PixelErrors, Unit, Values, prepared, shared_values, squared_ranges};
use crate::Target;
use crate::compare::{Compare, filled};
use crate::config::{DataRange, Input, check, settings};
use crate::loss::image_loss;
use crate::op::{self, AnyPrepared, Output};
use crate::pair::{Images, Spread, check_input, compute_dtype};
use crate::score::{self, Kind, ScoreKind, ScoreMetric, check_reduction, reduce};
use crate::shared::Need;

/// How the mean absolute and the mean squared error of an image are computed: `Σ |x - y| / n` and `Σ (x - y)² / n` over its `n`
/// values, in the units of the pixels.
///
/// The data range is only asked for where it changes pixels: to clamp them, or to place black in luma.
///
/// ```
/// use metrics_image::{Channels, ErrorConfig};
/// let plain = ErrorConfig::new().build()?;
/// let luma = ErrorConfig::new().range(255.0).channels(Channels::Luma).crop_border(4).build()?;
/// # Ok::<(), metrics_core::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ErrorConfig {
    pub(crate) input: Input,
    pub(crate) reduction: Reduction,
    #[serde(default)]
    pub(crate) non_finite: NonFinite,
}

impl Default for ErrorConfig {
    fn default() -> Self {
        let input = Input::new(DataRange::Value(1.0));
        Self { input, reduction: Reduction::Mean, non_finite: NonFinite::Propagate }
    }
}

settings!(ErrorConfig);

impl ErrorConfig {
    /// Of the pixels as they are, averaged over images.
    pub fn new() -> Self {
        Self::default()
    }

    /// Checks every setting.
    ///
    /// # Errors
    /// A data range that is not positive.
    pub fn build(self) -> Result<Self> {
        self.validate()?;
        Ok(self)
    }

    pub(crate) fn validate(&self) -> Result<()> {
        check("ErrorConfig", self.input.problem())
    }
}

/// What one PSNR is computed over.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Pooling {
    /// One mean squared error over every pixel of every image seen: TorchMetrics' default. The reduction is then without effect.
    #[default]
    Pooled,
    /// One PSNR for each image, then the reduction: piq, scikit-image, and the usual table of a paper. The two differ widely:
    /// images at 40 dB and 10.4 dB are 25.2 dB on average and 13.4 dB pooled. The PSNR of identical images is infinite, unless there
    /// is a cap or a floor, and [`PsnrConfig::non_finite`] takes it as any infinity; pooled, what counts is their squared error, 0.
    PerImage,
}

/// What keeps the mean squared error of identical images from being 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MseFloor {
    /// Nothing: identical images score +inf, with gradient 0.
    #[default]
    None,
    /// Add this to the mean squared error of images scaled to range 1; piq adds 1e-8.
    Add(f64),
    /// Take at least this mean squared error, in squared pixel units; Burn takes 1e-10.
    AtLeast(f64),
}

/// How PSNR is computed: `10 · log_base(R² / MSE)`, in decibels when the base is 10.
///
/// ```
/// use metrics_image::{Pooling, PsnrConfig};
/// let pooled = PsnrConfig::new(1.0).build()?;                                     // TorchMetrics
/// let table = PsnrConfig::new(255.0).pooling(Pooling::PerImage).cap(100.0).build()?;
/// # Ok::<(), metrics_core::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PsnrConfig {
    pub(crate) input: Input,
    pub(crate) pooling: Pooling,
    pub(crate) base: f64,
    pub(crate) floor: MseFloor,
    pub(crate) cap: Option<f64>,
    pub(crate) reduction: Reduction,
    #[serde(default)]
    pub(crate) non_finite: NonFinite,
}

settings!(PsnrConfig);

impl PsnrConfig {
    /// The default convention, that of TorchMetrics: pooled over everything seen.
    pub fn new(data_range: impl Into<DataRange>) -> Self {
        Self {
            input: Input::new(data_range.into()),
            pooling: Pooling::Pooled,
            base: 10.0,
            floor: MseFloor::None,
            cap: None,
            reduction: Reduction::Mean,
            non_finite: NonFinite::Propagate,
        }
    }

    /// `torchmetrics.image.PeakSignalNoiseRatio(data_range=r)`.
    pub fn torchmetrics(data_range: impl Into<DataRange>) -> Self {
        Self::new(data_range)
    }

    /// `skimage.metrics.peak_signal_noise_ratio(x, y, data_range=r)`, averaged over images.
    pub fn skimage(data_range: impl Into<DataRange>) -> Self {
        Self::new(data_range).pooling(Pooling::PerImage)
    }

    /// `piq.psnr(x, y, data_range=r)`.
    pub fn piq(data_range: impl Into<DataRange>) -> Self {
        Self::skimage(data_range).floor(MseFloor::Add(1e-8))
    }

    /// Burn's `PsnrMetric`.
    pub fn burn(data_range: impl Into<DataRange>) -> Self {
        Self::skimage(data_range).floor(MseFloor::AtLeast(1e-10))
    }

    /// Sets what one PSNR is computed over.
    pub fn pooling(mut self, pooling: Pooling) -> Self {
        self.pooling = pooling;
        self
    }

    /// Sets the base of the logarithm, 10 unless set.
    pub fn base(mut self, base: f64) -> Self {
        self.base = base;
        self
    }

    /// Sets the floor of the mean squared error.
    pub fn floor(mut self, floor: MseFloor) -> Self {
        self.floor = floor;
        self
    }

    /// Sets the largest value a PSNR takes; at the cap the gradient is 0.
    pub fn cap(mut self, cap: f64) -> Self {
        self.cap = Some(cap);
        self
    }

    /// What one PSNR is computed over.
    pub fn get_pooling(&self) -> Pooling {
        self.pooling
    }

    /// The base of the logarithm.
    pub fn get_base(&self) -> f64 {
        self.base
    }

    /// The floor of the mean squared error.
    pub fn get_floor(&self) -> MseFloor {
        self.floor
    }

    /// The largest value a PSNR takes, if there is one.
    pub fn get_cap(&self) -> Option<f64> {
        self.cap
    }

    /// Checks every setting.
    ///
    /// # Errors
    /// A data range that is not positive, a base that is not above 1, a negative floor, or a cap that is not finite.
    pub fn build(self) -> Result<Self> {
        self.validate()?;
        Ok(self)
    }

    pub(crate) fn validate(&self) -> Result<()> {
        let base = (!(self.base > 1.0 && self.base.is_finite()))
            .then(|| format!("`base` must be finite and above 1, got {}", self.base));
        let floor = match self.floor {
            MseFloor::Add(floor) | MseFloor::AtLeast(floor) if !(floor >= 0.0 && floor.is_finite()) => {
                Some(format!("`floor` must be finite and not negative, got {floor}"))
            }
            MseFloor::AtLeast(_) if self.input.range.fixed().is_none() => {
                Some(format!("`floor` AtLeast needs a `data_range` of Value or Clamp, got {:?}", self.input.range))
            }
            _ => None,
        };
        let cap = self.cap.filter(|cap| !cap.is_finite()).map(|cap| format!("`cap` must be finite, got {cap}"));
        check("PsnrConfig", self.input.problem().or(base).or(floor).or(cap))
    }
}

macro_rules! mean_error {
    ($kind:ident, $name:literal, $loss:literal, $error:ident, $what:literal) => {
        #[doc = concat!($what, ", as a score of [`ScoreMetric`].")]
        #[derive(Clone, Copy, Debug)]
        pub enum $kind {}

        impl ScoreKind for $kind {
            type Config = ErrorConfig;
        }

        impl Kind for $kind {
            const NAME: &'static str = $name;
            const LOSS_NAME: &'static str = $loss;
            const HIGHER_IS_BETTER: bool = false;
            const LOSS: [f64; 2] = [1.0, 0.0];

            fn bounds(_: &ErrorConfig) -> [Option<f64>; 2] {
                [Some(0.0), None]
            }
            fn prepare(op: &str, config: &ErrorConfig, images: Images) -> Result<AnyPrepared> {
                config.validate()?;
                let score = PixelErrors::one(PixelError::$error, Unit::Values);
                prepared(op, images, (&config.input, Spread::Unused), score)
            }
            fn share(config: &ErrorConfig, passes: &mut SharedPasses) {
                Need::Errors(&config.input, PixelError::$error).share(passes);
            }
            fn shared(config: &ErrorConfig, samples: &Samples) -> Option<Tensor> {
                let sums = Need::Errors(&config.input, PixelError::$error).shared(samples)?;
                shared_values($name, samples, &config.input).ok()?.mean(&sums, None).ok()
            }
        }
    };
}

mean_error!(Absolute, "mae", "MaeLoss", Absolute, "Mean absolute error");
mean_error!(Squared, "mse", "MseLoss", Squared, "Mean squared error");

/// Mean absolute error as a metric over a data set; see [`ErrorConfig`].
///
/// ```
/// use candle_core::{DType, Device, Tensor};
/// use metrics_core::Metric;
/// use metrics_image::{ErrorConfig, Mae};
///
/// let mut metric = Mae::new(ErrorConfig::new())?;
/// let target = Tensor::zeros((2, 1, 8, 8), DType::F64, &Device::Cpu)?;
/// metric.update(&(&target + 0.25)?, &target)?;
/// assert_eq!(metric.compute()?.scalar(), Some(0.25));
/// # Ok::<(), metrics_core::Error>(())
/// ```
pub type Mae = Accumulator<ScoreMetric<Absolute>>;

/// Mean squared error as a metric over a data set; see [`ErrorConfig`].
pub type Mse = Accumulator<ScoreMetric<Squared>>;

/// Mean absolute error of two batches of images, `Σ |x - y| / n`, reduced over the batch; differentiable in both, with gradient 0
/// where pixels are equal.
///
/// Shapes and dtypes as [`ssim`](crate::ssim()). Returns a scalar, or `[N]` for `Reduction::None`; f64 for f64 images, else f32.
///
/// # Errors
/// Shapes, dtypes or devices that differ, another rank, an empty batch, or a configuration that [`ErrorConfig::build`] refuses.
///
/// ```
/// use candle_core::{Device, Tensor};
/// use metrics_image::{ErrorConfig, mae};
///
/// let target = Tensor::zeros((1, 1, 8, 8), candle_core::DType::F64, &Device::Cpu)?;
/// let error = mae(&(&target - 0.25)?, &target, &ErrorConfig::new())?;
/// assert_eq!(error.to_scalar::<f64>()?, 0.25);
/// # Ok::<(), candle_core::Error>(())
/// ```
pub fn mae(pred: &Tensor, target: impl Into<Target>, config: &ErrorConfig) -> Result<Tensor> {
    score::reduced::<Absolute>("mae", pred, target, config)
}

/// [`mae`] of each image, `[N]`; the configuration's reduction is without effect.
///
/// # Errors
/// As [`mae`].
///
/// ```
/// use candle_core::{DType, Device, Tensor};
/// use metrics_image::{ErrorConfig, mae_per_image};
///
/// let target = Tensor::zeros((2, 1, 8, 8), DType::F64, &Device::Cpu)?;
/// let errors = mae_per_image(&(&target - 0.25)?, &target, &ErrorConfig::new())?;
/// assert_eq!(errors.to_vec1::<f64>()?, [0.25, 0.25]);
/// # Ok::<(), candle_core::Error>(())
/// ```
pub fn mae_per_image(pred: &Tensor, target: impl Into<Target>, config: &ErrorConfig) -> Result<Tensor> {
    score::per_image::<Absolute>("mae_per_image", pred, target, config)
}

/// Mean squared error of two batches of images, `Σ (x - y)² / n`; otherwise as [`mae`].
///
/// # Errors
/// As [`mae`].
///
/// ```
/// use candle_core::{DType, Device, Tensor};
/// use metrics_image::{ErrorConfig, mse};
///
/// let target = Tensor::zeros((1, 1, 8, 8), DType::F64, &Device::Cpu)?;
/// let error = mse(&(&target - 0.25)?, &target, &ErrorConfig::new())?;
/// assert_eq!(error.to_scalar::<f64>()?, 0.0625);
/// # Ok::<(), candle_core::Error>(())
/// ```
pub fn mse(pred: &Tensor, target: impl Into<Target>, config: &ErrorConfig) -> Result<Tensor> {
    score::reduced::<Squared>("mse", pred, target, config)
}

/// [`mse`] of each image, `[N]`; the configuration's reduction is without effect.
///
/// # Errors
/// As [`mae`].
///
/// ```
/// use candle_core::{DType, Device, Tensor};
/// use metrics_image::{ErrorConfig, mse_per_image};
///
/// let target = Tensor::zeros((2, 1, 8, 8), DType::F64, &Device::Cpu)?;
/// let errors = mse_per_image(&(&target - 0.25)?, &target, &ErrorConfig::new())?;
/// assert_eq!(errors.to_vec1::<f64>()?, [0.0625, 0.0625]);
/// # Ok::<(), candle_core::Error>(())
/// ```
pub fn mse_per_image(pred: &Tensor, target: impl Into<Target>, config: &ErrorConfig) -> Result<Tensor> {
    score::per_image::<Squared>("mse_per_image", pred, target, config)
}

/// Peak signal-to-noise ratio of two batches of images, in decibels; differentiable in both.
///
/// Shapes and dtypes as [`ssim`](crate::ssim()). By default one value over all pixels of the batch ([`Pooling::Pooled`]); with
/// [`Pooling::PerImage`] the reduction of one value for each image. Returns a scalar, or `[N]` for per-image values with
/// `Reduction::None`; f64 for f64 images, else f32. Identical images score +inf, or the cap, with gradient 0.
///
/// # Errors
/// Shapes, dtypes or devices that differ, another rank, an empty batch, a [`DataRange`] beyond the dtype, or a
/// configuration that [`PsnrConfig::build`] refuses.
///
/// ```
/// use candle_core::{Device, Tensor};
/// use metrics_image::{PsnrConfig, psnr};
///
/// let target = Tensor::zeros((1, 1, 8, 8), candle_core::DType::F64, &Device::Cpu)?;
/// let pred = (&target + 0.1)?;
/// let decibels = psnr(&pred, &target, &PsnrConfig::new(1.0))?.to_scalar::<f64>()?;
/// assert!((decibels - 20.0).abs() < 1e-12);
/// # Ok::<(), candle_core::Error>(())
/// ```
pub fn psnr(pred: &Tensor, target: impl Into<Target>, config: &PsnrConfig) -> Result<Tensor> {
    let images = Images::new(pred, target.into());
    let errors = op::apply("psnr", relative_errors("psnr", images.clone(), config)?, Output::PerImage)?;
    value(&errors, &Values::of("psnr", &images, &config.input)?, config, compute_dtype(pred.dtype()))
}

/// PSNR of each image, `[N]`, whatever the pooling and reduction of the configuration.
///
/// # Errors
/// As [`psnr`].
///
/// ```
/// use candle_core::{DType, Device, Tensor};
/// use metrics_image::{PsnrConfig, psnr_per_image};
///
/// let target = Tensor::zeros((2, 1, 8, 8), DType::F64, &Device::Cpu)?;
/// let pred = Tensor::cat(&[(target.narrow(0, 0, 1)? + 0.1)?, target.narrow(0, 1, 1)?], 0)?;
/// let decibels = psnr_per_image(&pred, &target, &PsnrConfig::new(1.0))?.to_vec1::<f64>()?;
/// assert!((decibels[0] - 20.0).abs() < 1e-12 && decibels[1] == f64::INFINITY);
/// # Ok::<(), candle_core::Error>(())
/// ```
pub fn psnr_per_image(pred: &Tensor, target: impl Into<Target>, config: &PsnrConfig) -> Result<Tensor> {
    let prepared = relative_errors("psnr_per_image", Images::new(pred, target.into()), config)?;
    let errors = op::apply("psnr_per_image", prepared, Output::PerImage)?;
    Ok(decibels_of(&errors, config)?.to_dtype(compute_dtype(pred.dtype()))?)
}

/// The mean squared error of each image, relative to the square of its data range, `[N]` in the widest dtype.
fn relative_errors(op: &str, images: Images, config: &PsnrConfig) -> Result<AnyPrepared> {
    config.validate()?;
    let score = PixelErrors::one(PixelError::Squared, Unit::ValuesOfRange);
    prepared(op, images, (&config.input, Spread::Target), score)
}

/// A batch's PSNR from its images' relative errors, in the widest dtype.
fn value(errors: &Tensor, values: &Values, config: &PsnrConfig, dtype: DType) -> Result<Tensor> {
    match config.pooling {
        Pooling::Pooled => {
            let error = match values {
                Values::Each(_) => errors.mean_all()?,
                Values::Weighted(values) => ((errors * values)?.sum_all()? / values.sum_all()?)?,
            };
            Ok(decibels_of(&error, config)?.to_dtype(dtype)?)
        }
        Pooling::PerImage => reduce(&decibels_of(errors, config)?, config.reduction, dtype),
    }
}

/// Decibels of a mean squared error in squared data ranges.
pub(crate) fn decibels(error: f64, config: &PsnrConfig) -> f64 {
    let error = match config.floor {
        MseFloor::None => error,
        MseFloor::Add(floor) => error + floor,
        MseFloor::AtLeast(_) if error.is_nan() => error,
        MseFloor::AtLeast(floor) => error.max(floor / squared_range(config)),
    };
    let decibels = -10.0 / config.base.ln() * error.ln();
    match config.cap {
        Some(cap) if decibels > cap => cap,
        _ => decibels,
    }
}

/// [`decibels`] of a tensor, differentiable; at an error of 0 and at the cap the gradient is 0.
fn decibels_of(error: &Tensor, config: &PsnrConfig) -> Result<Tensor> {
    let error = match config.floor {
        MseFloor::None => error.clone(),
        MseFloor::Add(floor) => (error + floor)?,
        MseFloor::AtLeast(floor) => at_least(error, floor / squared_range(config))?,
    };
    let factor = -10.0 / config.base.ln();
    // The logarithm of 0 is infinite as it should be; but Candle's kernels for Metal may assume that nothing is.
    if !error.track_op() && config.cap.is_none() && !error.device().is_metal() {
        return Ok(error.log()?.affine(factor, 0.0)?);
    }
    // The logarithm never sees 0: its infinite slope would meet the zero slope of the square, and their product is NaN.
    let zero = error.detach().equals(0.0)?;
    let safe = zero.where_cond(&error.ones_like()?, &error)?;
    let decibels = safe.log()?.affine(factor, 0.0)?;
    let best = filled(&decibels, config.cap.unwrap_or(f64::INFINITY))?;
    let capped = decibels.detach().gt(&best)?;
    let decibels = capped.where_cond(&best, &decibels)?;
    Ok(zero.where_cond(&best, &decibels)?)
}

fn at_least(x: &Tensor, floor: f64) -> Result<Tensor> {
    let floor = filled(x, floor)?;
    Ok(x.detach().lt(&floor)?.where_cond(&floor, x)?)
}

fn squared_range(config: &PsnrConfig) -> f64 {
    config.input.range.fixed().map_or(1.0, |range| range * range)
}

/// `-psnr`, in decibels: -inf for equal images unless there is a cap or a floor, with gradient 0; for the formula see
/// [`PsnrConfig`].
///
/// ```
/// use candle_core::{DType, Device, Tensor, Var};
/// use metrics_image::{PsnrConfig, PsnrLoss};
///
/// let loss = PsnrLoss::new(PsnrConfig::new(1.0))?;
/// let target = Tensor::zeros((1, 3, 8, 8), DType::F64, &Device::Cpu)?;
/// let pred = Var::from_tensor(&(&target + 0.1)?)?;
/// let value = loss.forward(&pred, &target)?;
/// assert!((value.to_scalar::<f64>()? + 20.0).abs() < 1e-12);
/// assert!(value.backward()?.get(&pred).is_some());
/// # Ok::<(), candle_core::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct PsnrLoss {
    config: PsnrConfig,
    weight: f64,
}

impl PsnrLoss {
    /// A loss of this configuration.
    ///
    /// # Errors
    /// As [`PsnrConfig::build`], and for per-image values with `Reduction::Summary`, which has no single value to minimize.
    pub fn new(config: PsnrConfig) -> Result<Self> {
        config.validate()?;
        if config.pooling == Pooling::PerImage {
            check_reduction("PsnrLoss", config.reduction)?;
        }
        Ok(Self { config, weight: 1.0 })
    }

    /// Multiplies the loss.
    pub fn weight(mut self, weight: f64) -> Self {
        self.weight = weight;
        self
    }

    /// The configuration.
    pub fn config(&self) -> &PsnrConfig {
        &self.config
    }

    /// The loss of a batch, in decibels when the base is 10.
    ///
    /// `pred`, `target`: `[N, C, H, W]`, or `[N, C, D, H, W]` for volumes, of one dtype (f32, f64, f16, bf16, or u8 without
    /// gradient) and device, with values in the data range of the configuration. Returns a scalar, or `[N]` for per-image values
    /// with `Reduction::None`; f64 for f64 images, else f32.
    ///
    /// # Errors
    /// As [`psnr`](crate::psnr()).
    pub fn forward(&self, pred: &Tensor, target: impl Into<Target>) -> Result<Tensor> {
        let images = Images::new(pred, target.into());
        let values = Values::of("PsnrLoss", &images, &self.config.input)?;
        let errors = relative_errors("PsnrLoss", images, &self.config)?;
        self.value(&op::apply("PsnrLoss", errors, Output::PerImage)?, &values, pred)
    }

    /// The loss and its gradient with respect to `pred`, without a graph; see [`ScoreLoss`](crate::ScoreLoss::value_and_grad).
    ///
    /// # Errors
    /// As [`forward`](Self::forward), and for per-image values with `Reduction::None`.
    pub fn value_and_grad(&self, pred: &Tensor, target: impl Into<Target>) -> Result<(Tensor, Tensor)> {
        if self.config.pooling == Pooling::PerImage {
            score::scalar_output("PsnrLoss", self.config.reduction)?;
        }
        let images = Images::new(pred, target.into());
        let values = Values::of("PsnrLoss", &images, &self.config.input)?;
        let prepare = |pred: &Tensor| {
            let images = Images { pred: pred.clone(), ..images.clone() }.target_detached();
            Ok(vec![relative_errors("PsnrLoss", images, &self.config)?])
        };
        op::value_and_grad("PsnrLoss", pred, &prepare, Output::PerImage, &|errors| self.value(errors, &values, pred))
    }

    fn value(&self, errors: &Tensor, values: &Values, pred: &Tensor) -> Result<Tensor> {
        Ok(value(errors, values, &self.config, compute_dtype(pred.dtype()))?.affine(-self.weight, 0.0)?)
    }
}

image_loss!(PsnrLoss);

/// PSNR as a metric over a data set, pooled over all pixels or reduced over images; see [`PsnrConfig`].
///
/// ```
/// use candle_core::{Device, Tensor};
/// use metrics_core::Metric;
/// use metrics_image::{Psnr, PsnrConfig};
///
/// let mut metric = Psnr::new(PsnrConfig::new(1.0))?;
/// let target = Tensor::zeros((2, 1, 8, 8), candle_core::DType::F64, &Device::Cpu)?;
/// metric.update(&(&target + 0.1)?, &target)?;
/// assert!((metric.compute()?.scalar().unwrap() - 20.0).abs() < 1e-12);
/// # Ok::<(), metrics_core::Error>(())
/// ```
pub type Psnr = Accumulator<PsnrMetric>;

/// What [`Psnr`] accumulates.
#[derive(Clone, Debug)]
pub struct PsnrMetric {
    config: PsnrConfig,
}

const ERROR: &str = "squared_error";
const PIXELS: &str = "pixels";

impl PsnrMetric {
    fn need(&self) -> Need<'_> {
        Need::Errors(&self.config.input, PixelError::Squared)
    }

    /// The relative mean squared errors of the images, `[N]`, from a pass that is shared, if one is.
    fn shared_errors(&self, samples: &Samples, values: &Values) -> Result<Option<Tensor>> {
        let Some(sums) = self.need().shared(samples) else { return Ok(None) };
        let (images, input) = (Images::of(samples)?, &self.config.input);
        check_input("psnr", input, Spread::Target, &images)?;
        let squared = match input.range.fixed() {
            Some(range) => {
                Tensor::full(range * range, (), sums.device())?.to_dtype(sums.dtype())?.broadcast_as(sums.shape())?
            }
            None => squared_ranges("psnr", images, input)?,
        };
        values.mean(&sums, Some(&squared)).map(Some)
    }
}

impl Configured for PsnrMetric {
    type Config = PsnrConfig;

    fn configured(config: PsnrConfig) -> Result<Self> {
        config.validate()?;
        Ok(Self { config })
    }

    fn config(&self) -> &PsnrConfig {
        &self.config
    }
}

/// The settings that have an effect.
impl Serialize for PsnrMetric {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.config.pooling {
            Pooling::Pooled => self.config.clone().reduction(Reduction::default()).serialize(serializer),
            Pooling::PerImage => self.config.serialize(serializer),
        }
    }
}

impl Definition for PsnrMetric {
    fn name(&self) -> &'static str {
        "psnr"
    }

    fn info(&self) -> MetricInfo {
        let summed = self.config.pooling == Pooling::PerImage && self.config.reduction == Reduction::Sum;
        let best = decibels(0.0, &self.config); // of equal images: what floor and cap leave of infinity
        MetricInfo::differentiable().higher_is_better(true).bounds(None, (best.is_finite() && !summed).then_some(best))
    }

    fn states(&self) -> State {
        let state = match self.config.pooling {
            Pooling::Pooled => State::new().with(ERROR, Reduce::Sum).with(PIXELS, Reduce::Sum),
            Pooling::PerImage => State::scores(self.config.reduction),
        };
        state.non_finite(self.config.non_finite)
    }

    fn statistics(&self, samples: &Samples) -> Result<Statistics> {
        let images = Images::of(samples)?;
        let dtype = compute_dtype(images.pred.dtype());
        let shared = |values: &Values| self.shared_errors(samples, values);
        let values = shared_values("psnr", samples, &self.config.input);
        let errors = match values.as_ref().ok().map(shared).transpose()?.flatten() {
            Some(errors) => errors,
            None => op::apply("psnr", relative_errors("psnr", images, &self.config)?, Output::PerImage)?,
        };
        let values = values?;
        if self.config.pooling == Pooling::PerImage {
            return Statistics::scores(&decibels_of(&errors, &self.config)?);
        }
        let images = errors.dim(0)?;
        let statistics = Statistics::new(images).with(ERROR, values.sum(&errors)?.detached());
        let statistics = match &values {
            Values::Each(values) => statistics.with_values(PIXELS, vec![*values; images]),
            Values::Weighted(values) => statistics.with(PIXELS, values.detached()),
        };
        Ok(statistics.with_value(value(&errors, &values, &self.config, dtype)?))
    }

    fn compute(&self, state: &State) -> Result<Value> {
        match self.config.pooling {
            Pooling::Pooled => Ok(Value::Scalar(decibels(state.sum(ERROR)? / state.sum(PIXELS)?, &self.config))),
            Pooling::PerImage => state.reduced(),
        }
    }

    fn share(&self, passes: &mut SharedPasses) {
        self.need().share(passes);
    }
}
