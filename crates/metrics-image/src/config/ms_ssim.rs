use metrics_core::Result;
use serde::{Deserialize, Serialize};

use super::{Covariance, DataRange, PerAxis, SsimConfig, check, settings};
use crate::engine::Padding;
use crate::engine::backend::Scales;

pub use crate::engine::OddSides;

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

    /// Checks every setting.
    ///
    /// # Errors
    /// As [`SsimConfig::build`], and for betas that are empty, negative or not finite.
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
        check("MsSsimConfig", problem)
    }
}
