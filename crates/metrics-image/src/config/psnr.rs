use metrics_core::{NonFinite, Reduction, Result};
use serde::{Deserialize, Serialize};

use super::{DataRange, Input, check, settings};

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
