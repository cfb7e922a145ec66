//! MS-SSIM: SSIM over several scales; see [`MsSsimConfig`] for the formula and [`similarity`](super::similarity) for the pass.

use candle_core::Tensor;
use metrics_core::{Accumulator, Error, Result, Samples, SharedPasses};
use serde::{Deserialize, Serialize};

use super::similarity::Term;
use super::ssim::{self, Covariance, SsimConfig};
use crate::Target;
use crate::compare::Compare;
use crate::config::{DataRange, PerAxis, check, settings};
use crate::engine::backend::Scales;
use crate::engine::{OddSides, Padding};
use crate::measure::ssim::Plan;
use crate::op::{AnyPrepared, Prepared};
use crate::pair::Images;
use crate::score::{self, Kind, ScoreKind, ScoreLoss, ScoreMetric};
use crate::shared::Need;

/// What is done to the mean contrast and SSIM of each scale before the power, which a negative number does not have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Normalize {
    /// Negative values count as 0, with gradient 0.
    #[default]
    Relu,
    /// `(v + 1) / 2`.
    Simple,
    /// Nothing: an image with a negative mean contrast scores NaN, unless its beta is an integer.
    None,
}

/// Whether channels are averaged before or after the powers are multiplied.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ChannelPower {
    /// Mean over the channels, then powers and product: TorchMetrics.
    #[default]
    AfterMean,
    /// Powers and product for each channel, then the mean: pytorch-msssim and piq.
    PerChannel,
}

/// How MS-SSIM is computed: Wang, Simoncelli and Bovik, "Multiscale structural similarity for image quality assessment",
/// Asilomar 2003, equation 7:
///
/// `ms_ssim = ssim_M^β_M · Π_{j<M} cs_j^β_j`, `cs = (2 σxy + c2) / (σx² + σy² + c2)`,
///
/// where scale `j + 1` is scale `j` after a 2×2 mean (2×2×2 in volumes). [`MsSsimConfig::new`] computes what TorchMetrics computes.
/// A data range of Clamp is applied once, before the first scale.
///
/// ```
/// use metrics_image::MsSsimConfig;
/// let small = MsSsimConfig::new(1.0).betas([0.3, 0.3, 0.4]).build()?; // three scales: sides of 44 pixels suffice
/// # Ok::<(), metrics_core::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MsSsimConfig {
    pub(crate) ssim: SsimConfig,
    pub(crate) betas: Vec<f64>,
    pub(crate) normalize: Normalize,
    pub(crate) power: ChannelPower,
    pub(crate) odd_sides: OddSides,
}

settings!(MsSsimConfig, ssim);

impl MsSsimConfig {
    /// The default convention, that of TorchMetrics.
    pub fn new(data_range: impl Into<DataRange>) -> Self {
        Self {
            ssim: SsimConfig::new(data_range),
            betas: vec![0.0448, 0.2856, 0.3001, 0.2363, 0.1333],
            normalize: Normalize::Relu,
            power: ChannelPower::AfterMean,
            odd_sides: OddSides::Drop,
        }
    }

    /// `torchmetrics.image.MultiScaleStructuralSimilarityIndexMeasure(data_range=r)`.
    pub fn torchmetrics(data_range: impl Into<DataRange>) -> Self {
        Self::new(data_range)
    }

    /// `pytorch_msssim.ms_ssim(x, y, data_range=r)`.
    pub fn pytorch_msssim(data_range: impl Into<DataRange>) -> Self {
        let ssim = SsimConfig::pytorch_msssim(data_range);
        Self { ssim, power: ChannelPower::PerChannel, odd_sides: OddSides::Zero, ..Self::new(1.0) }
    }

    /// `piq.multi_scale_ssim(x, y, data_range=r)`.
    pub fn piq(data_range: impl Into<DataRange>) -> Self {
        Self { odd_sides: OddSides::Replicate, ..Self::pytorch_msssim(data_range) }
    }

    /// `tf.image.ssim_multiscale(x, y, max_val=r)`.
    pub fn tensorflow(data_range: impl Into<DataRange>) -> Self {
        Self { odd_sides: OddSides::ReplicateLast, ..Self::pytorch_msssim(data_range) }
    }

    /// Uses a Gaussian window of this standard deviation, as [`SsimConfig::sigma`].
    pub fn sigma(mut self, sigma: impl Into<PerAxis<f64>>) -> Self {
        self.ssim = self.ssim.sigma(sigma);
        self
    }

    /// Sets the side of the window, as [`SsimConfig::window`].
    pub fn window(mut self, size: impl Into<PerAxis<usize>>) -> Self {
        self.ssim = self.ssim.window(size);
        self
    }

    /// Uses a window of equal weights, as [`SsimConfig::uniform`].
    pub fn uniform(mut self, size: impl Into<PerAxis<usize>>) -> Self {
        self.ssim = self.ssim.uniform(size);
        self
    }

    /// Sets what lies beyond the border.
    pub fn padding(mut self, padding: Padding) -> Self {
        self.ssim = self.ssim.padding(padding);
        self
    }

    /// Sets the estimator of variance and covariance.
    pub fn covariance(mut self, covariance: Covariance) -> Self {
        self.ssim = self.ssim.covariance(covariance);
        self
    }

    /// Sets the luminance constant, as [`SsimConfig::k1`].
    pub fn k1(mut self, k1: f64) -> Self {
        self.ssim = self.ssim.k1(k1);
        self
    }

    /// Sets the contrast constant, as [`SsimConfig::k2`].
    pub fn k2(mut self, k2: f64) -> Self {
        self.ssim = self.ssim.k2(k2);
        self
    }

    /// Sets the exponents, finest scale first; their number is the number of scales.
    pub fn betas(mut self, betas: impl Into<Vec<f64>>) -> Self {
        self.betas = betas.into();
        self
    }

    /// Sets what is done before the power.
    pub fn normalize(mut self, normalize: Normalize) -> Self {
        self.normalize = normalize;
        self
    }

    /// Sets where the mean over channels is taken.
    pub fn power(mut self, power: ChannelPower) -> Self {
        self.power = power;
        self
    }

    /// Sets how a side of odd length is halved.
    pub fn odd_sides(mut self, odd_sides: OddSides) -> Self {
        self.odd_sides = odd_sides;
        self
    }

    /// How contrast and SSIM are computed at each scale.
    pub fn get_ssim(&self) -> &SsimConfig {
        &self.ssim
    }

    /// The exponents, finest scale first.
    pub fn get_betas(&self) -> &[f64] {
        &self.betas
    }

    /// What is done before the power.
    pub fn get_normalize(&self) -> Normalize {
        self.normalize
    }

    /// Where the mean over channels is taken.
    pub fn get_power(&self) -> ChannelPower {
        self.power
    }

    /// How a side of odd length is halved.
    pub fn get_odd_sides(&self) -> OddSides {
        self.odd_sides
    }

    /// Checks every setting.
    ///
    /// # Errors
    /// As [`SsimConfig::build`], and for betas that are empty, negative or not finite, and [`Padding::Replicate`].
    pub fn build(self) -> Result<Self> {
        self.validate()?;
        Ok(self)
    }

    /// What a kernel needs to know of the scales.
    pub(crate) fn scales(&self) -> Scales {
        Scales { count: self.betas.len(), odd_sides: self.odd_sides }
    }

    /// What is computed of a pair, whatever is then done with it.
    pub(crate) fn measure(&self) -> Self {
        Self { ssim: self.ssim.measure(), ..self.clone() }
    }

    pub(crate) fn validate(&self) -> Result<()> {
        self.ssim.validate()?;
        let empty = self.betas.is_empty().then(|| "`betas` must name at least one scale, got none".to_string());
        let bad = self.betas.iter().find(|beta| !(**beta >= 0.0 && beta.is_finite()));
        let problem = empty.or(bad.map(|beta| format!("`betas` must be finite and not negative, got {beta}")));
        check("MsSsimConfig", problem.or_else(|| self.ssim.replicates()))
    }
}

/// Multi-scale structural similarity of two batches of images, reduced over the batch; differentiable in both.
///
/// Shapes, dtypes, result and when a `Var` may be set as [`ssim`](crate::ssim()). Equal images score 1. Formula and source:
/// [`MsSsimConfig`].
///
/// # Errors
/// As [`ssim`](crate::ssim()); every side must hold the window at the coarsest scale, which for five scales and a window of 11 is
/// 176 pixels (161 where odd sides are padded). Fewer betas make do with smaller images.
///
/// ```
/// use candle_core::{Device, Tensor};
/// use metrics_image::{MsSsimConfig, ms_ssim};
///
/// let target = Tensor::rand(0f32, 1f32, (1, 3, 176, 200), &Device::Cpu)?;
/// let pred = target.affine(0.8, 0.1)?;
/// let score = ms_ssim(&pred, &target, &MsSsimConfig::new(1.0))?.to_scalar::<f32>()?;
/// assert!(score > 0.9 && score < 1.0);
/// # Ok::<(), candle_core::Error>(())
/// ```
pub fn ms_ssim(pred: &Tensor, target: impl Into<Target>, config: &MsSsimConfig) -> Result<Tensor> {
    score::reduced::<MsSsimConfig>("ms_ssim", pred, target, config)
}

/// [`ms_ssim`] of each image, `[N]`; the configuration's reduction is without effect.
///
/// # Errors
/// As [`ms_ssim`].
///
/// ```
/// use candle_core::{Device, Tensor};
/// use metrics_image::{MsSsimConfig, ms_ssim_per_image};
///
/// let target = Tensor::rand(0f32, 1f32, (2, 3, 24, 24), &Device::Cpu)?;
/// let pred = Tensor::cat(&[target.narrow(0, 0, 1)?, target.narrow(0, 1, 1)?.affine(0.8, 0.1)?], 0)?;
/// let config = MsSsimConfig::new(1.0).betas([0.4, 0.6]);
/// let scores = ms_ssim_per_image(&pred, &target, &config)?.to_vec1::<f32>()?;
/// assert!(scores[0] == 1.0 && scores[1] < 1.0);
/// # Ok::<(), candle_core::Error>(())
/// ```
pub fn ms_ssim_per_image(pred: &Tensor, target: impl Into<Target>, config: &MsSsimConfig) -> Result<Tensor> {
    score::per_image::<MsSsimConfig>("ms_ssim_per_image", pred, target, config)
}

/// MS-SSIM as a metric over a data set; see [`MsSsimConfig`].
pub type MsSsim = Accumulator<ScoreMetric<MsSsimConfig>>;

/// `1 - ms_ssim`, reduced over the batch: 0 for equal images; for the formula see [`MsSsimConfig`].
///
/// A [`Var`](candle_core::Var) must not be set between `forward` and `backward`, see [`ssim`](crate::ssim()).
///
/// ```
/// use candle_core::{Device, Tensor, Var};
/// use metrics_image::{MsSsimConfig, MsSsimLoss};
///
/// let loss = MsSsimLoss::new(MsSsimConfig::new(1.0).betas([0.4, 0.6]))?; // two scales: sides of 22 pixels suffice
/// let target = Tensor::rand(0f32, 1f32, (1, 3, 24, 24), &Device::Cpu)?;
/// let pred = Var::from_tensor(&target.affine(0.5, 0.2)?)?;
/// let value = loss.forward(&pred, &target)?;
/// assert!(value.to_scalar::<f32>()? > 0.0);
/// assert!(value.backward()?.get(&pred).is_some());
/// # Ok::<(), candle_core::Error>(())
/// ```
pub type MsSsimLoss = ScoreLoss<MsSsimConfig>;

impl ScoreKind for MsSsimConfig {
    type Config = Self;
}

impl Kind for MsSsimConfig {
    const NAME: &'static str = "ms_ssim";
    const LOSS_NAME: &'static str = "MsSsimLoss";
    const HIGHER_IS_BETTER: bool = true;
    const LOSS: [f64; 2] = [-1.0, 1.0];

    fn bounds(config: &Self) -> [Option<f64>; 2] {
        let least = match config.normalize {
            Normalize::Relu | Normalize::Simple => 0.0,
            Normalize::None => -1.0,
        };
        [Some(least), Some(1.0)]
    }
    fn prepare(op: &str, config: &Self, images: Images) -> Result<AnyPrepared> {
        config.validate()?;
        let prepared = ssim::prepare(op, &config.ssim, images, Term::MsSsim(config.clone()))?;
        check_scales(op, &ssim::sides(&prepared), &prepared.score.plan, config)?;
        Ok(Prepared { score: prepared.score.mixed(vec![1.0], 0.0), ..prepared }.any())
    }
    fn share(config: &Self, passes: &mut SharedPasses) {
        Need::MsSsim(config).share(passes);
    }
    fn shared(config: &Self, samples: &Samples) -> Option<Tensor> {
        Need::MsSsim(config).shared(samples)
    }
}

/// Every side must hold the window at the coarsest scale.
pub(crate) fn check_scales(op: &str, sides: &[usize], plan: &Plan, config: &MsSsimConfig) -> Result<()> {
    let scales = config.betas.len();
    for (axis, (&side, taps)) in sides.iter().zip(&plan.taps).enumerate() {
        let least = config.odd_sides.minimum_side(taps.len(), scales);
        if side < least {
            let message = format!(
                "spatial axis {axis} of `pred` has {side} pixels{} (sides {:?}), expected at least {least} for {scales} scales \
                 and a window of {}; use fewer `betas` or a smaller window for smaller images",
                config.ssim.preparation(),
                sides,
                taps.len()
            );
            return Err(Error::argument(op, message));
        }
    }
    Ok(())
}

/// `Π_j terms[j]^betas[j]` over the first dimension.
pub(crate) fn product_of_powers(terms: &Tensor, config: &MsSsimConfig) -> Result<Tensor> {
    let mut product: Option<Tensor> = None;
    for (scale, &beta) in config.betas.iter().enumerate() {
        let term = terms.get(scale)?;
        let power = match config.normalize {
            // 1 whatever the term is, but NaN stays: 0 · NaN + 1. Candle cuts the graph at `affine(0.0, 1.0)`.
            _ if beta == 0.0 => ((&term * term.zeros_like()?)? + 1.0)?,
            Normalize::Relu => relu_pow(&term, beta)?,
            Normalize::Simple => term.affine(0.5, 0.5)?.powf(beta)?,
            Normalize::None => term.powf(beta)?,
        };
        product = Some(match product {
            Some(product) => (product * power)?,
            None => power,
        });
    }
    product.ok_or_else(|| Error::argument("ms_ssim", "`betas` must name at least one scale, got none"))
}

/// `max(x, 0)^beta` with gradient 0 where `x <= 0`; composed of `relu` and `powf` it would be NaN there (0 · ∞).
fn relu_pow(x: &Tensor, beta: f64) -> Result<Tensor> {
    let positive = x.detach().above(0.0)?;
    let nan = x.detach().ne(&x.detach())?;
    let safe = positive.where_cond(x, &x.ones_like()?)?;
    let power = positive.where_cond(&safe.powf(beta)?, &x.zeros_like()?)?;
    Ok(nan.where_cond(x, &power)?)
}
