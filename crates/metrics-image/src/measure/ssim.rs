//! SSIM and its contrast term.
//!
//! The moments are those of the sum `u = x + y` and the difference `v = x - y`, around a pivot. With `P = σu²`, `Q = σv²` their
//! variances and `A = μu²`, `B = μv²` their squared means, the paper's terms are
//!
//! ```text
//! 2 μx μy = (A - B) / 2      μx² + μy² = (A + B) / 2
//! 2 σxy   = (P - Q) / 2      σx² + σy² = (P + Q) / 2
//!
//! l  = (2 μx μy + c1) / (μx² + μy² + c1) = 1 - 2B / (A + B + 2 c1)
//! cs = (2 σxy  + c2) / (σx² + σy² + c2) = 1 - 2Q / (P + Q + 2 c2)        ssim = l · cs
//! ```
//!
//! Two squares take the place of `x² + y²` and `x·y`, `P, Q ≥ 0` bounds the covariance, and two equal images have `v = 0` and score
//! exactly 1. What is summed is `1 - ssim` and `1 - cs`, of which f32 has more digits than of numbers near 1.

use candle_core::Tensor;
use metrics_core::{Accumulator, Error, NonFinite, Reduction, Result, Samples, SharedPasses};
use pulp::Simd;
use serde::{Deserialize, Serialize};

use super::similarity::{Similarity, Term};
use crate::Target;
use crate::config::{DataRange, Input, PerAxis, Window, check, settings};
use crate::engine::{AxisTaps, Filters, Lanes, Padding, Real, Region, USUAL, reference};
use crate::measure::{Measure, Side};
use crate::op::{self, AnyPrepared, Output, Prepared};
use crate::pair::{Images, Pair, Range, Spread, check_input, compute_dtype};
use crate::score::{self, Kind, ScoreKind, ScoreLoss, ScoreMetric};
use crate::shared::Need;

/// Which estimator of variance and covariance a window uses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Covariance {
    /// Divide by `n`, the number of pixels under the window.
    #[default]
    Population,
    /// Divide by `n - 1`, as scikit-image does by default.
    Sample,
}

/// Whether large images are made smaller before they are scored, by `f = round(shorter side / 256)` where that is 2 or more.
///
/// ```
/// use metrics_image::{Downsample, SsimConfig};
/// let config = SsimConfig::wang2004(255.0).downsample(Downsample::Imfilter);
/// assert_eq!(config, SsimConfig::wang2009(255.0));
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Downsample {
    /// They are not.
    #[default]
    Never,
    /// Means of blocks of `f` pixels a side, what fills no block left out; halves are rounded to even: piq.
    MeanPool,
    /// Means around every `f`-th pixel from the first on, in a symmetric border, with the pixel more of an even `f` after the middle;
    /// halves are rounded up: `imfilter(x, ones(f) / f^2, 'symmetric')(1:f:end, 1:f:end)` in MATLAB.
    Imfilter,
}

impl From<bool> for Downsample {
    fn from(downsample: bool) -> Self {
        if downsample { Self::MeanPool } else { Self::Never }
    }
}

/// How SSIM is computed: Wang, Bovik, Sheikh and Simoncelli, "Image quality assessment: from error visibility to structural
/// similarity", IEEE TIP 13(4), 2004, equation 13:
///
/// `ssim = (2 μx μy + c1)(2 σxy + c2) / ((μx² + μy² + c1)(σx² + σy² + c2))`, `c1 = (k1 R)²`, `c2 = (k2 R)²`,
///
/// with local moments under a window, averaged over the map and the channels of an image.
///
/// [`SsimConfig::new`] computes what TorchMetrics computes; the presets what other libraries do. Every setting can be changed on
/// top of a preset, and [`build`](Self::build) checks them all; functions and constructors that take a configuration check it too.
///
/// ```
/// use metrics_image::{Channels, Padding, SsimConfig};
///
/// let paper = SsimConfig::wang2004(255.0).channels(Channels::Luma).crop_border(4).build()?;
/// let wide = SsimConfig::new(1.0).sigma(2.5).padding(Padding::Valid).build()?;
/// assert!(SsimConfig::new(1.0).sigma(0.0).build().is_err());
/// # Ok::<(), metrics_core::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SsimConfig {
    pub(crate) input: Input,
    window: Window,
    padding: Padding,
    covariance: Covariance,
    k1: f64,
    k2: f64,
    downsample: Downsample,
    pub(crate) reduction: Reduction,
    #[serde(default)]
    pub(crate) non_finite: NonFinite,
}

settings!(SsimConfig);

impl SsimConfig {
    /// The default convention, that of TorchMetrics: Gaussian window of sigma 1.5, reflected border, population covariance,
    /// mean over images.
    pub fn new(data_range: impl Into<DataRange>) -> Self {
        Self {
            input: Input::new(data_range.into()),
            window: Window::Gaussian { sigma: PerAxis::All(1.5), size: None },
            padding: Padding::Reflect,
            covariance: Covariance::Population,
            k1: 0.01,
            k2: 0.03,
            downsample: Downsample::Never,
            reduction: Reduction::Mean,
            non_finite: NonFinite::Propagate,
        }
    }

    /// `torchmetrics.image.StructuralSimilarityIndexMeasure(data_range=r)`.
    pub fn torchmetrics(data_range: impl Into<DataRange>) -> Self {
        Self::new(data_range)
    }

    /// The paper's own program `ssim_index.m`: 11 Gaussian taps of sigma 1.5, only windows inside the image.
    pub fn wang2004(data_range: impl Into<DataRange>) -> Self {
        Self::new(data_range).window(11).padding(Padding::Valid)
    }

    /// Its successor `ssim.m`, "with automatic downsampling": as [`wang2004`](Self::wang2004), after [`Downsample::Imfilter`].
    pub fn wang2009(data_range: impl Into<DataRange>) -> Self {
        Self::wang2004(data_range).downsample(Downsample::Imfilter)
    }

    /// `ssim(x, y, DynamicRange=r)` of MATLAB's Image Processing Toolbox, of each channel: 11 Gaussian taps of sigma 1.5, the border
    /// pixel repeated. Without a `DataFormat` it takes an RGB image for a volume of three slices; so does this, of `[N, 1, 3, H, W]`.
    pub fn matlab(data_range: impl Into<DataRange>) -> Self {
        Self::new(data_range).window(11).padding(Padding::Replicate)
    }

    /// `tf.image.ssim(x, y, max_val=r)`: as [`wang2004`](Self::wang2004).
    pub fn tensorflow(data_range: impl Into<DataRange>) -> Self {
        Self::wang2004(data_range)
    }

    /// The mean of `kornia.metrics.ssim(x, y, window_size, max_val=r)`: so many Gaussian taps of sigma 1.5, reflected border. kornia's
    /// `ssim_loss` is half of [`SsimLoss`].
    pub fn kornia(data_range: impl Into<DataRange>, window_size: usize) -> Self {
        Self::new(data_range).window(window_size)
    }

    /// `getMSSIM` of OpenCV's tutorial on video input, the mean over the channels of what it returns: 11 Gaussian taps of sigma 1.5,
    /// reflected border, data range 255.
    pub fn opencv_tutorial() -> Self {
        Self::new(255.0).window(11)
    }

    /// `pytorch_msssim.ssim(x, y, data_range=r)`: as [`wang2004`](Self::wang2004).
    pub fn pytorch_msssim(data_range: impl Into<DataRange>) -> Self {
        Self::wang2004(data_range)
    }

    /// `piq.ssim(x, y, data_range=r)`: as [`wang2004`](Self::wang2004), after mean pooling by `round(shorter side / 256)`.
    pub fn piq(data_range: impl Into<DataRange>) -> Self {
        Self::wang2004(data_range).downsample(true)
    }

    /// `skimage.metrics.structural_similarity(x, y, data_range=r)`: uniform 7×7 window, sample covariance, windows inside the
    /// image.
    pub fn skimage(data_range: impl Into<DataRange>) -> Self {
        Self::new(data_range).uniform(7).padding(Padding::Valid).covariance(Covariance::Sample)
    }

    /// scikit-image with `gaussian_weights=True`: as [`wang2004`](Self::wang2004) with sample covariance.
    pub fn skimage_gaussian(data_range: impl Into<DataRange>) -> Self {
        Self::wang2004(data_range).covariance(Covariance::Sample)
    }

    /// `fused_ssim(x, y)`: 11 Gaussian taps, zeros beyond the border, data range 1.
    pub fn fused_ssim() -> Self {
        Self::new(1.0).window(11).padding(Padding::Zero)
    }

    /// Burn's `SsimMetric`: 11 Gaussian taps, zeros beyond the border.
    pub fn burn(data_range: impl Into<DataRange>) -> Self {
        Self::fused_ssim().range(data_range)
    }

    /// Uses a Gaussian window of this standard deviation in pixels, one for all axes or one for each. Without a
    /// [`window`](Self::window) of its own it reaches 3.5 sigma to each side, at most 65535 pixels in all.
    pub fn sigma(mut self, sigma: impl Into<PerAxis<f64>>) -> Self {
        let size = match self.window {
            Window::Gaussian { size, .. } => size,
            Window::Uniform { .. } => None,
        };
        self.window = Window::Gaussian { sigma: sigma.into(), size };
        self
    }

    /// Sets the side of the window, odd and at most 65535, whatever sigma asks for; a Gaussian stays a Gaussian.
    pub fn window(mut self, size: impl Into<PerAxis<usize>>) -> Self {
        let size = size.into();
        self.window = match self.window {
            Window::Gaussian { sigma, .. } => Window::Gaussian { sigma, size: Some(size) },
            Window::Uniform { .. } => Window::Uniform { size },
        };
        self
    }

    /// Uses a window of equal weights and this side, odd and at most 65535.
    pub fn uniform(mut self, size: impl Into<PerAxis<usize>>) -> Self {
        self.window = Window::Uniform { size: size.into() };
        self
    }

    /// Sets what lies beyond the border.
    pub fn padding(mut self, padding: Padding) -> Self {
        self.padding = padding;
        self
    }

    /// Sets the estimator of variance and covariance.
    pub fn covariance(mut self, covariance: Covariance) -> Self {
        self.covariance = covariance;
        self
    }

    /// Sets the luminance constant, 0.01 unless set. With 0, a window that is black in both images is 0/0, so that its image scores
    /// NaN, equal images included, as in other libraries.
    pub fn k1(mut self, k1: f64) -> Self {
        self.k1 = k1;
        self
    }

    /// Sets the contrast constant, 0.03 unless set. With 0, a window that is flat in both images is 0/0, so that its image scores
    /// NaN, equal images included, as in other libraries.
    pub fn k2(mut self, k2: f64) -> Self {
        self.k2 = k2;
        self
    }

    /// Sets whether large images are made smaller before scoring; `true` is [`Downsample::MeanPool`], as piq does by default.
    pub fn downsample(mut self, downsample: impl Into<Downsample>) -> Self {
        self.downsample = downsample.into();
        self
    }

    /// The taps of the window along each of `axes` spatial axes, outermost first; they sum to 1.
    ///
    /// # Errors
    /// A window or a sigma for another number of axes.
    pub fn get_window(&self, axes: usize) -> Result<Vec<Vec<f64>>> {
        self.window.taps("SsimConfig", axes)
    }

    /// What lies beyond the border.
    pub fn get_padding(&self) -> Padding {
        self.padding
    }

    /// The estimator of variance and covariance.
    pub fn get_covariance(&self) -> Covariance {
        self.covariance
    }

    /// The luminance constant.
    pub fn get_k1(&self) -> f64 {
        self.k1
    }

    /// The contrast constant.
    pub fn get_k2(&self) -> f64 {
        self.k2
    }

    /// How images are made smaller before they are scored.
    pub fn get_downsample(&self) -> Downsample {
        self.downsample
    }

    /// Checks every setting.
    ///
    /// # Errors
    /// A data range that is not positive, a sigma that is not positive, a window that is even or too long, or a constant that is
    /// negative or not finite; the message names the setting and the value.
    pub fn build(self) -> Result<Self> {
        self.validate()?;
        Ok(self)
    }

    /// The same, but for what is done with the scores: two that are equal measure alike.
    pub(crate) fn measure(&self) -> Self {
        Self { reduction: Reduction::default(), non_finite: NonFinite::default(), ..self.clone() }
    }

    pub(crate) fn validate(&self) -> Result<()> {
        let constants = [("k1", self.k1), ("k2", self.k2)];
        let bad = constants.into_iter().find(|(_, k)| !(*k >= 0.0 && k.is_finite()));
        let constant = bad.map(|(name, k)| format!("`{name}` must be finite and not negative, got {k}"));
        let problem = self.input.problem().or_else(|| self.window.problem()).or(constant);
        check("SsimConfig", problem)
    }

    /// Whether what is scored are other images than those given, not only fewer or clamped pixels of them.
    pub(crate) fn remakes_images(&self) -> bool {
        self.downsample != Downsample::Never || self.padding == Padding::Replicate
    }

    /// Why this is nothing for more than SSIM, if it is: a replicated border is a part of the images.
    pub(crate) fn replicates(&self) -> Option<String> {
        let replicates = self.padding == Padding::Replicate;
        replicates
            .then(|| "`padding` Replicate is for SSIM alone, expected Reflect, Symmetric, Zero or Valid".to_string())
    }

    /// What has been done to images before a window must fit in them, for messages.
    pub(crate) fn preparation(&self) -> &'static str {
        match (self.input.crop_border > 0, self.downsample != Downsample::Never) {
            (false, false) => "",
            (true, false) => " after cropping",
            (false, true) => " after downsampling",
            (true, true) => " after cropping and downsampling",
        }
    }

    /// What a kernel needs, for images of `axes` spatial axes.
    pub(crate) fn plan(&self, op: &str, axes: usize) -> Result<Plan> {
        let taps = self.window.taps(op, axes)?;
        let pixels: f64 = taps.iter().map(|taps| taps.len() as f64).product();
        let covariance = match self.covariance {
            // A window of one pixel has no sample variance; its population variance, 0, serves.
            Covariance::Sample if pixels > 1.0 => pixels / (pixels - 1.0),
            Covariance::Sample | Covariance::Population => 1.0,
        };
        Ok(Plan { taps, padding: self.padding, covariance, k1: self.k1, k2: self.k2 })
    }
}

/// Structural similarity of two batches of images, reduced over the batch; differentiable in both.
///
/// `pred`, `target`: `[N, C, H, W]`, or `[N, C, D, H, W]` for volumes, of one dtype (f32, f64, f16, bf16, or u8 without gradient;
/// the target may also be u8 beside a prediction in floats) and device, with values in the data range of the configuration. Returns
/// a scalar in `-1..=1` (the sum over images for `Reduction::Sum`), or `[N]` for `Reduction::None`; f64 for f64 images, else f32.
/// Equal images score 1, unless a [constant](SsimConfig::k1) is 0. An image with a NaN scores NaN. Formula and source:
/// [`SsimConfig`].
///
/// On a CPU and in the kernels of a GPU, the gradient with respect to a tracked input is computed together with the value and kept until
/// backward takes it: one image, in f32 for half types. If only the value is wanted, detach the inputs or use an [eval scope](metrics_detach::eval_scope); that is two to three
/// times cheaper.
///
/// A [`Var`](candle_core::Var) must not be set between the value and its `backward`: a saved gradient would be of the
/// old pixels, one that is made from the images, of several scales above all, of neither the old nor the new ones.
///
/// # Errors
/// Shapes, dtypes or devices that differ, another rank, an empty batch, a side too short for the window, a
/// [`DataRange`] beyond the dtype, or a configuration that [`SsimConfig::build`] refuses.
///
/// ```
/// use candle_core::{Device, Tensor, Var};
/// use metrics_image::{SsimConfig, ssim};
///
/// let target = Tensor::rand(0f32, 1f32, (2, 3, 32, 32), &Device::Cpu)?;
/// let pred = Var::from_tensor(&target.affine(0.8, 0.1)?)?;
/// let score = ssim(&pred, &target, &SsimConfig::new(1.0))?;
/// assert!(score.to_scalar::<f32>()? < 1.0);
/// let gradient = score.backward()?.get(&pred).unwrap().clone();
/// assert_eq!(gradient.dims(), [2, 3, 32, 32]);
/// # Ok::<(), candle_core::Error>(())
/// ```
pub fn ssim(pred: &Tensor, target: impl Into<Target>, config: &SsimConfig) -> Result<Tensor> {
    score::reduced::<SsimConfig>("ssim", pred, target, config)
}

/// [`ssim`] of each image, `[N]`; the configuration's reduction is without effect.
///
/// # Errors
/// As [`ssim`].
///
/// ```
/// use candle_core::{Device, Tensor};
/// use metrics_image::{SsimConfig, ssim_per_image};
///
/// let target = Tensor::rand(0f32, 1f32, (2, 3, 16, 16), &Device::Cpu)?;
/// let pred = Tensor::cat(&[target.narrow(0, 0, 1)?, target.narrow(0, 1, 1)?.affine(0.8, 0.1)?], 0)?;
/// let scores = ssim_per_image(&pred, &target, &SsimConfig::new(1.0))?.to_vec1::<f32>()?;
/// assert!(scores[0] == 1.0 && scores[1] < 1.0);
/// # Ok::<(), candle_core::Error>(())
/// ```
pub fn ssim_per_image(pred: &Tensor, target: impl Into<Target>, config: &SsimConfig) -> Result<Tensor> {
    score::per_image::<SsimConfig>("ssim_per_image", pred, target, config)
}

/// [`ssim`] of each channel of each image, `[N, C]` (`[N, 1]` of luma).
///
/// # Errors
/// As [`ssim`].
///
/// ```
/// use candle_core::{Device, Tensor};
/// use metrics_image::{SsimConfig, ssim_per_channel};
///
/// let target = Tensor::rand(0f32, 1f32, (2, 3, 16, 16), &Device::Cpu)?;
/// let scores = ssim_per_channel(&target.affine(0.8, 0.1)?, &target, &SsimConfig::new(1.0))?;
/// assert_eq!(scores.dims(), [2, 3]);
/// # Ok::<(), candle_core::Error>(())
/// ```
pub fn ssim_per_channel(pred: &Tensor, target: impl Into<Target>, config: &SsimConfig) -> Result<Tensor> {
    score::per_channel::<SsimConfig>("ssim_per_channel", pred, target, config)
}

/// SSIM at every pixel: `[N, C, H, W]`, smaller by the window's side minus one with [`Padding::Valid`]; differentiable.
///
/// # Errors
/// As [`ssim`].
///
/// ```
/// use candle_core::{Device, Tensor};
/// use metrics_image::{Padding, SsimConfig, ssim_map};
///
/// let target = Tensor::rand(0f32, 1f32, (1, 3, 16, 20), &Device::Cpu)?;
/// let pred = target.affine(0.8, 0.1)?;
/// assert_eq!(ssim_map(&pred, &target, &SsimConfig::new(1.0))?.dims(), [1, 3, 16, 20]);
/// let inside = SsimConfig::new(1.0).padding(Padding::Valid); // a window of 11
/// assert_eq!(ssim_map(&pred, &target, &inside)?.dims(), [1, 3, 6, 10]);
/// # Ok::<(), candle_core::Error>(())
/// ```
pub fn ssim_map(pred: &Tensor, target: impl Into<Target>, config: &SsimConfig) -> Result<Tensor> {
    map("ssim_map", Images::new(pred, target.into()), config, Term::Ssim)
}

/// [`ssim`] and [`ssim_map`] of one pass: the score, reduced as the configuration says, and the map; both differentiable.
///
/// `structural_similarity(…, full=True)` in scikit-image, `return_full_image=True` in TorchMetrics.
///
/// # Errors
/// As [`ssim`].
///
/// ```
/// use candle_core::{Device, Tensor};
/// use metrics_image::{SsimConfig, ssim, ssim_with_map};
///
/// let target = Tensor::rand(0f32, 1f32, (1, 3, 16, 20), &Device::Cpu)?;
/// let (pred, config) = (target.affine(0.8, 0.1)?, SsimConfig::new(1.0));
/// let (score, map) = ssim_with_map(&pred, &target, &config)?;
/// assert_eq!(score.to_scalar::<f32>()?, ssim(&pred, &target, &config)?.to_scalar::<f32>()?);
/// assert_eq!(map.dims(), [1, 3, 16, 20]);
/// # Ok::<(), candle_core::Error>(())
/// ```
pub fn ssim_with_map(pred: &Tensor, target: impl Into<Target>, config: &SsimConfig) -> Result<(Tensor, Tensor)> {
    let prepared = prepare("ssim_with_map", config, Images::new(pred, target.into()), Term::Ssim)?;
    let (map, scores) = op::map_and_means("ssim_with_map", prepared.any())?;
    Ok((score::reduce(&scores, config.reduction, compute_dtype(pred.dtype()))?, map))
}

/// The contrast-and-structure term `(2 σxy + c2) / (σx² + σy² + c2)` at every pixel, of the size of [`ssim_map`]; differentiable.
///
/// # Errors
/// As [`ssim`].
///
/// ```
/// use candle_core::{Device, Tensor};
/// use metrics_image::{SsimConfig, contrast_map};
///
/// let target = Tensor::rand(0f64, 1f64, (1, 3, 16, 20), &Device::Cpu)?;
/// let brighter = (&target + 0.1)?; // the same contrast
/// let map = contrast_map(&brighter, &target, &SsimConfig::new(1.0))?;
/// assert_eq!(map.dims(), [1, 3, 16, 20]);
/// assert!((map.min_all()?.to_scalar::<f64>()? - 1.0).abs() < 1e-9);
/// # Ok::<(), candle_core::Error>(())
/// ```
pub fn contrast_map(pred: &Tensor, target: impl Into<Target>, config: &SsimConfig) -> Result<Tensor> {
    map("contrast_map", Images::new(pred, target.into()), config, Term::Contrast)
}

/// The mean of [`contrast_map`] for each image, `[N]`, over the windows that lie inside the image, as MS-SSIM uses it.
///
/// # Errors
/// As [`ssim`]; every side must hold the window whatever the padding.
///
/// ```
/// use candle_core::{Device, Tensor};
/// use metrics_image::{SsimConfig, contrast_per_image};
///
/// let target = Tensor::rand(0f32, 1f32, (2, 3, 16, 16), &Device::Cpu)?;
/// let paler = target.affine(0.5, 0.25)?;
/// let scores = contrast_per_image(&paler, &target, &SsimConfig::new(1.0))?.to_vec1::<f32>()?;
/// assert!(scores.len() == 2 && scores.iter().all(|score| *score < 0.9));
/// # Ok::<(), candle_core::Error>(())
/// ```
pub fn contrast_per_image(pred: &Tensor, target: impl Into<Target>, config: &SsimConfig) -> Result<Tensor> {
    let op = "contrast_per_image";
    let inside = config.clone().padding(Padding::Valid);
    let prepared = prepare(op, &inside, Images::new(pred, target.into()), Term::Contrast)?;
    Ok(op::apply(op, prepared.any(), Output::PerImage)?.to_dtype(compute_dtype(pred.dtype()))?)
}

/// SSIM as a metric over a data set; see [`SsimConfig`].
pub type Ssim = Accumulator<ScoreMetric<SsimConfig>>;

/// `1 - ssim`, reduced over the batch: 0 for equal images; for the formula see [`SsimConfig`].
///
/// A [`Var`](candle_core::Var) must not be set between `forward` and `backward`, see [`ssim`](crate::ssim()).
///
/// ```
/// use candle_core::{Device, Tensor, Var};
/// use metrics_image::{SsimConfig, SsimLoss};
///
/// let loss = SsimLoss::new(SsimConfig::new(1.0))?;
/// let target = Tensor::rand(0f32, 1f32, (1, 3, 24, 24), &Device::Cpu)?;
/// let pred = Var::from_tensor(&target.affine(0.5, 0.2)?)?;
/// let gradients = loss.forward(&pred, &target)?.backward()?;
/// assert!(gradients.get(&pred).is_some());
/// # Ok::<(), candle_core::Error>(())
/// ```
pub type SsimLoss = ScoreLoss<SsimConfig>;

impl ScoreKind for SsimConfig {
    type Config = Self;
}

impl Kind for SsimConfig {
    const NAME: &'static str = "ssim";
    const LOSS_NAME: &'static str = "SsimLoss";
    const HIGHER_IS_BETTER: bool = true;
    const LOSS: [f64; 2] = [-1.0, 1.0];

    fn bounds(_: &Self) -> [Option<f64>; 2] {
        [Some(-1.0), Some(1.0)]
    }
    fn prepare(op: &str, config: &Self, images: Images) -> Result<AnyPrepared> {
        let prepared = prepare(op, config, images, Term::Ssim)?;
        Ok(Prepared { score: prepared.score.mixed(vec![1.0], 0.0), ..prepared }.any())
    }
    fn share(config: &Self, passes: &mut SharedPasses) {
        Need::Ssim(config).share(passes);
    }
    fn shared(config: &Self, samples: &Samples) -> Option<Tensor> {
        Need::Ssim(config).shared(samples)
    }
}

/// The images that SSIM is computed of, and how.
pub(crate) fn prepare(op: &str, config: &SsimConfig, images: Images, term: Term) -> Result<Prepared<Similarity>> {
    config.validate()?;
    check_input(op, &config.input, Spread::Larger, &images)?;
    let score = Similarity::new(config.plan(op, images.pred.rank() - 2)?, vec![term]);
    let prepared = Prepared { score, images, input: config.input.clone(), spread: Spread::Larger };
    let prepared = downsample(op, prepared, config.downsample)?;
    let prepared = if config.padding == Padding::Replicate { replicate(op, prepared)? } else { prepared };
    check_sides(op, &sides(&prepared), &prepared.score.plan, config)?;
    check_constants(op, &prepared)?;
    Ok(prepared)
}

/// Lengths of the spatial axes that are scored.
pub(crate) fn sides<S>(prepared: &Prepared<S>) -> Vec<usize> {
    prepared.images.pred.dims()[2..].iter().map(|side| side - 2 * prepared.input.crop_border).collect()
}

/// Both images made smaller, if they are large.
fn downsample(op: &str, prepared: Prepared<Similarity>, downsample: Downsample) -> Result<Prepared<Similarity>> {
    let ratio = sides(&prepared).into_iter().min().unwrap_or(0) as f64 / 256.0;
    match (downsample, ratio.round_ties_even() as usize, ratio.round() as usize) {
        (Downsample::MeanPool, factor @ 2.., _) => remade(op, prepared, |pair| reference::mean_pool(pair, factor)),
        (Downsample::Imfilter, _, factor @ 2..) => {
            remade(op, prepared, |pair| reference::filter_and_skip(pair, factor))
        }
        _ => Ok(prepared),
    }
}

/// Both images extended by what a window sees beyond the border, so that all windows lie inside.
fn replicate(op: &str, prepared: Prepared<Similarity>) -> Result<Prepared<Similarity>> {
    let radii = prepared.score.plan.radii();
    let mut prepared = remade(op, prepared, |pair| reference::replicate(pair, &radii))?;
    prepared.score.plan.padding = Padding::Valid;
    Ok(prepared)
}

/// Other images, made by Candle's operations of those that were to be scored.
fn remade(
    op: &str,
    prepared: Prepared<Similarity>,
    make: impl FnOnce(&Pair) -> Result<Pair>,
) -> Result<Prepared<Similarity>> {
    prepared.images.check_weights(op)?;
    let pair = Pair::new(op, &prepared.input, prepared.spread, prepared.images.clone())?;
    let Pair { pred, target, mask, range, .. } = make(&pair.to_float()?)?;
    let (pred, target, range) = match range {
        Range::Fixed(range) => (pred, target, range),
        // SSIM does not change if images and range are divided by the same.
        Range::PerImage(ranges) => {
            let shape: Vec<usize> = (0..pred.rank()).map(|axis| if axis == 0 { pred.dims()[0] } else { 1 }).collect();
            let ranges = ranges.to_dtype(pred.dtype())?.reshape(shape)?;
            (pred.broadcast_div(&ranges)?, target.broadcast_div(&ranges)?, 1.0)
        }
    };
    let images = Images { pred, target, mask, over: None };
    Ok(Prepared { images, input: Input::new(DataRange::Value(range)), ..prepared })
}

/// The constants of the formula must be normal numbers, or 0: what is divided by less is not finite.
fn check_constants(op: &str, prepared: &Prepared<Similarity>) -> Result<()> {
    let Some(range) = prepared.input.range.fixed() else { return Ok(()) };
    let dtype = compute_dtype(prepared.images.pred.dtype());
    let least = if dtype == candle_core::DType::F64 { 1e-140 } else { 1e-18 };
    let Plan { k1, k2, .. } = prepared.score.plan;
    match [("k1", k1), ("k2", k2)].into_iter().find(|(_, k)| *k > 0.0 && k * range < least) {
        None => Ok(()),
        Some((name, k)) => {
            let message = format!(
                "`{name}` is {k:e}, which times the data range of {range:e} is {:e}, expected 0 or at least {least:e} for images \
                 computed in {dtype:?}",
                k * range
            );
            Err(Error::argument(op, message))
        }
    }
}

fn map(op: &str, images: Images, config: &SsimConfig, term: Term) -> Result<Tensor> {
    op::map(op, prepare(op, config, images, term)?.any())
}

/// Every side must be long enough for the window under its border rule.
pub(crate) fn check_sides(op: &str, sides: &[usize], plan: &Plan, config: &SsimConfig) -> Result<()> {
    for (axis, (&side, taps)) in sides.iter().zip(&plan.taps).enumerate() {
        let window = taps.len();
        let (least, border) = match plan.padding {
            Padding::Valid => (window, "inside the image"),
            Padding::Reflect => (window / 2 + 1, "with a reflected border"),
            Padding::Symmetric => ((window / 2).max(1), "with a symmetric border"),
            Padding::Replicate => (1, "with a replicated border"),
            Padding::Zero => (1, "with a border of zeros"),
        };
        if side < least {
            let message = format!(
                "spatial axis {axis} of `pred` has {side} pixels{} (sides {sides:?}), \
                 expected at least {least} for a window of {window} {border}",
                config.preparation()
            );
            return Err(Error::argument(op, message));
        }
    }
    Ok(())
}

/// A separable window with its border rule, and the constants of the SSIM formula.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Plan {
    /// Taps per spatial axis, outermost first (`[H, W]` or `[D, H, W]`); each of odd length, symmetric, summing to 1.
    pub(crate) taps: Vec<Vec<f64>>,
    pub(crate) padding: Padding,
    /// Factor on variance and covariance: 1 for the population's, `n / (n - 1)` for a sample's, `n` pixels a window.
    pub(crate) covariance: f64,
    pub(crate) k1: f64,
    pub(crate) k2: f64,
}

impl Plan {
    /// Whether the window is a single pixel, under which there is no variance.
    pub(crate) fn is_one_pixel(&self) -> bool {
        self.taps.iter().all(|taps| taps.len() == 1)
    }

    /// Half the window's side on each axis: how far it reaches beyond a pixel.
    pub(crate) fn radii(&self) -> Vec<usize> {
        self.taps.iter().map(|taps| taps.len() / 2).collect()
    }
}

/// SSIM by a plan: `1 - ssim` over the map, and `1 - cs` over the windows inside the image.
#[derive(Clone, Debug)]
pub(crate) struct SsimPlaces(pub(crate) Plan);

impl SsimPlaces {
    /// The parts of a plane of size `dims` that the places of each map are the centers of.
    pub(crate) fn regions(&self, dims: [usize; 3]) -> [Region; 2] {
        let Plan { taps, padding, .. } = &self.0;
        let first = 3 - taps.len();
        let inside = |axis: usize| {
            let reach = if axis < first { 0 } else { taps[axis - first].len() / 2 };
            reach.min(dims[axis])..dims[axis].saturating_sub(reach).max(reach.min(dims[axis]))
        };
        let (inside, everywhere) = ([0, 1, 2].map(inside), dims.map(|side| 0..side));
        [if *padding == Padding::Valid { inside.clone() } else { everywhere }, inside]
    }
}

/// The constants of the formula for one plane.
#[derive(Clone, Copy)]
pub(crate) struct Constants<T> {
    pivot: [T; 2],
    /// The sum of a window's taps: moments are not divided by it, `c1` and `c2` are multiplied instead.
    total: T,
    /// `2 c1` and `2 c2`; a factor on the covariance need not be applied where `c2` is divided by it.
    two_c: [T; 2],
    /// What brings the means of `u` and `v` back from around the pivot.
    mean: [T; 2],
    /// 1; 0 if the window is one pixel, under which there is no variance: its derivatives would cancel, but for their rounding.
    varies: T,
}

/// The terms of the formula at a place, and their derivatives.
struct Terms<V> {
    /// The means of `u` and `v`, around the pivot and as they are.
    pivoted: [V; 2],
    mean: [V; 2],
    /// `1 / (A + B + 2 c1)` and `1 / (P + Q + 2 c2)`.
    inverse: [V; 2],
    one_minus_l: V,
    one_minus_cs: V,
}

#[inline(always)]
fn terms<T: Real, S: Simd>(constants: &Constants<T>, [u, v, uu, vv]: [Lanes<T, S>; 4]) -> Terms<Lanes<T, S>> {
    let like = |value: T| u.with_all(value);
    let mean = [u + like(constants.mean[0]), v + like(constants.mean[1])];
    let total = like(constants.total);
    let p = (-u).mul_add(u, uu * total).at_least_zero();
    let q = (-v).mul_add(v, vv * total).at_least_zero();
    let b = mean[1] * mean[1];
    let inverse_l = (mean[0].mul_add(mean[0], b) + like(constants.two_c[0])).recip();
    let inverse_cs = (p + q + like(constants.two_c[1])).recip();
    Terms {
        pivoted: [u, v],
        mean,
        inverse: [inverse_l, inverse_cs],
        one_minus_l: (b + b) * inverse_l,
        one_minus_cs: (q + q) * inverse_cs,
    }
}

impl Measure for SsimPlaces {
    type Fields<V: Copy + Send + Sync> = [V; 4];
    type Maps<V: Copy + Send + Sync> = [V; 2];
    type Back<V: Copy + Send + Sync> = [V; 3];
    type Basis<V: Copy + Send + Sync> = [V; 2];
    type Constants<T: Real> = Constants<T>;

    const MASKS: bool = true;
    const PIVOT: bool = true;
    const INNER: [bool; 2] = [false, true];
    const TAPS: &'static [usize] = USUAL;
    const SHOWN: [f64; 2] = [-1.0, 1.0];

    fn filters(&self) -> Filters {
        let axes = self.0.taps.iter().map(|taps| AxisTaps::Shared(taps.clone())).collect();
        Filters { axes, padding: self.0.padding }
    }

    fn constants<T: Real>(&self, range: f64, [x, y]: [f64; 2], total: f64) -> Constants<T> {
        let Plan { k1, k2, covariance, .. } = self.0;
        let scale = 2.0 * total * total;
        Constants {
            pivot: [T::of(x), T::of(y)],
            total: T::of(total),
            two_c: [T::of(scale * (k1 * range).powi(2)), T::of(scale * (k2 * range).powi(2) / covariance)],
            mean: [T::of(total * (x + y)), T::of(total * (x - y))],
            varies: T::of(if self.0.is_one_pixel() { 0.0 } else { 1.0 }),
        }
    }

    #[inline(always)]
    fn basis<T: Real, S: Simd>(constants: &Constants<T>, [x, y]: [Lanes<T, S>; 2], _: Lanes<T, S>) -> [Lanes<T, S>; 2] {
        let (x, y) = (x - x.with_all(constants.pivot[0]), y - y.with_all(constants.pivot[1]));
        [x + y, x - y]
    }

    #[inline(always)]
    fn features<T: Real, S: Simd>([u, v]: [Lanes<T, S>; 2]) -> [Lanes<T, S>; 4] {
        [u, v, u * u, v * v]
    }

    #[inline(always)]
    fn features_of_pair<T: Real, S: Simd>([u, v]: [Lanes<T, S>; 2], [s, t]: [Lanes<T, S>; 2]) -> [Lanes<T, S>; 4] {
        [u + s, v + t, s.mul_add(s, u * u), t.mul_add(t, v * v)]
    }

    /// `1 - l·cs = (1 - l) + (1 - cs)·l`.
    #[inline(always)]
    fn score<T: Real, S: Simd>(
        constants: &Constants<T>,
        moments: [Lanes<T, S>; 4],
        [ssim, _]: [bool; 2],
    ) -> [Lanes<T, S>; 2] {
        let Terms { one_minus_l, one_minus_cs, .. } = terms(constants, moments);
        let l = one_minus_l.like(1.0) - one_minus_l;
        [if ssim { one_minus_cs.mul_add(l, one_minus_l) } else { one_minus_l.like(0.0) }, one_minus_cs]
    }

    /// `∂(1 - l)/∂A = -(1 - l) / (A + B + 2 c1)` and `∂(1 - l)/∂B = (2 - (1 - l)) / (A + B + 2 c1)`; the same for `cs`, `P`, `Q`.
    #[inline(always)]
    fn score_vjp<T: Real, S: Simd>(
        constants: &Constants<T>,
        moments: [Lanes<T, S>; 4],
        [ssim, cs]: [Lanes<T, S>; 2],
    ) -> [Lanes<T, S>; 4] {
        let Terms { pivoted, mean, inverse, one_minus_l, one_minus_cs } = terms(constants, moments);
        let (one, two) = (ssim.like(1.0), ssim.like(2.0));
        // With respect to 1 - l and 1 - cs, over the denominators.
        let to_l = ssim * (one - one_minus_cs) * inverse[0];
        let to_cs = ssim.mul_add(one - one_minus_l, cs) * inverse[1] * ssim.with_all(constants.varies);
        let (to_a, to_b) = (-to_l * one_minus_l, to_l * (two - one_minus_l));
        let (to_p, to_q) = (-to_cs * one_minus_cs, to_cs * (two - one_minus_cs));
        let total = ssim.with_all(constants.total);
        let to_u = two * (mean[0] * to_a - pivoted[0] * to_p);
        let to_v = two * (mean[1] * to_b - pivoted[1] * to_q);
        [to_u, to_v, total * to_p, total * to_q]
    }

    #[inline(always)]
    fn back<T: Real, S: Simd>(side: Side, [u, v, uu, vv]: [Lanes<T, S>; 4]) -> [Lanes<T, S>; 3] {
        match side {
            Side::X => [u + v, uu, vv],
            Side::Y => [u - v, uu, vv],
        }
    }

    /// `∂/∂x = ∂/∂u + ∂/∂v` and `∂/∂y = ∂/∂u - ∂/∂v`, where `∂/∂u = α + 2u·β` with `α`, `β` the filtered derivatives with respect to
    /// the mean and the mean square of `u`.
    #[inline(always)]
    fn back_vjp<T: Real, S: Simd>(
        side: Side,
        [u, v]: [Lanes<T, S>; 2],
        [alpha, beta_u, beta_v]: [Lanes<T, S>; 3],
    ) -> Lanes<T, S> {
        let v = match side {
            Side::X => v + v,
            Side::Y => -(v + v),
        };
        v.mul_add(beta_v, (u + u).mul_add(beta_u, alpha))
    }

    #[inline(always)]
    fn features_vjp<T: Real, S: Simd>(
        [u, v]: [Lanes<T, S>; 2],
        [to_u, to_v, to_uu, to_vv]: [Lanes<T, S>; 4],
    ) -> [Lanes<T, S>; 2] {
        let (du, dv) = ((u + u).mul_add(to_uu, to_u), (v + v).mul_add(to_vv, to_v));
        [du + dv, du - dv]
    }
}
