use metrics_core::{NonFinite, Reduction, Result};
use serde::{Deserialize, Serialize};

use super::{DataRange, Input, PerAxis, Window, check, settings};
use crate::engine::Padding;
use crate::measure::ssim::Plan;

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
    pub(crate) downsample: bool,
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
            downsample: false,
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

    /// Mean-pools both images by `round(shorter side / 256)` (halves to even) before scoring, as piq does by default.
    pub fn downsample(mut self, downsample: bool) -> Self {
        self.downsample = downsample;
        self
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

    /// What has been done to images before a window must fit in them, for messages.
    pub(crate) fn preparation(&self) -> &'static str {
        match (self.input.crop_border > 0, self.downsample) {
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
