//! The loss of 3-D Gaussian splatting.

use candle_core::Tensor;
use metrics_core::{Error, Result};

use crate::config::{Input, check};
use crate::loss::image_loss;
use crate::score::check_reduction;
use crate::{Loss, SsimConfig, Target};

/// `(1 - λ) · L1 + λ · (1 - ssim)`, the loss of 3-D Gaussian splatting (Kerbl et al., ACM TOG 42(4), 2023, equation 7); λ = 0.2
/// unless set. Both terms see the same pixels: after the configuration's crop, clamp and choice of channels.
///
/// A [`Var`](candle_core::Var) must not be set between `forward` and `backward`, see [`ssim`](crate::ssim()).
///
/// ```
/// use candle_core::{Device, Tensor, Var};
/// use metrics_image::{L1SsimLoss, SsimConfig};
///
/// let loss = L1SsimLoss::new(SsimConfig::new(1.0))?.lambda(0.4)?;
/// let target = Tensor::rand(0f32, 1f32, (1, 3, 24, 24), &Device::Cpu)?;
/// let pred = Var::from_tensor(&target.affine(0.5, 0.2)?)?;
/// let value = loss.forward(&pred, &target)?;
/// assert!(value.to_scalar::<f32>()? > 0.0);
/// assert!(value.backward()?.get(&pred).is_some());
/// # Ok::<(), candle_core::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct L1SsimLoss {
    config: SsimConfig,
    lambda: f64,
    weight: f64,
}

impl L1SsimLoss {
    /// A loss of this configuration.
    ///
    /// # Errors
    /// As [`ScoreLoss::new`](crate::ScoreLoss::new), and for [`Padding::Replicate`](crate::Padding::Replicate).
    pub fn new(config: SsimConfig) -> Result<Self> {
        config.validate()?;
        check("L1SsimLoss", config.replicates())?;
        check_reduction("L1SsimLoss", config.reduction)?;
        Ok(Self { config, lambda: 0.2, weight: 1.0 })
    }

    /// The loss as the authors' code computes it: λ 0.2, pixels in 0..=1, 11 Gaussian taps, zeros beyond the border.
    pub fn splatting() -> Self {
        Self { config: SsimConfig::fused_ssim(), lambda: 0.2, weight: 1.0 }
    }

    /// Sets λ, the weight of the SSIM term.
    ///
    /// # Errors
    /// If λ is not in `0..=1`.
    pub fn lambda(mut self, lambda: f64) -> Result<Self> {
        if !(0.0..=1.0).contains(&lambda) {
            return Err(Error::argument("L1SsimLoss", format!("`lambda` must be in 0..=1, got {lambda}")));
        }
        self.lambda = lambda;
        Ok(self)
    }

    /// Multiplies the loss, at no cost: a gradient is made for the weighted loss.
    pub fn weight(mut self, weight: f64) -> Self {
        self.weight = weight;
        self
    }

    /// The configuration of the SSIM term, which says what pixels both terms see.
    pub fn config(&self) -> &SsimConfig {
        &self.config
    }

    /// The loss of a batch.
    ///
    /// `pred`, `target`: `[N, C, H, W]`, or `[N, C, D, H, W]` for volumes, of one dtype (f32, f64, f16, bf16, or u8 without
    /// gradient) and device, with values in the data range of the configuration; L1 is in their units, not relative to the range.
    /// Returns a scalar of at least 0, or `[N]` with `Reduction::None`; f64 for f64 images, else f32.
    ///
    /// # Errors
    /// As [`ssim`](crate::ssim()).
    pub fn forward(&self, pred: &Tensor, target: impl Into<Target>) -> Result<Tensor> {
        self.mixed().forward(pred, target)
    }

    /// The loss and its gradient with respect to `pred`, without a graph; see [`ScoreLoss`](crate::ScoreLoss::value_and_grad).
    ///
    /// # Errors
    /// As [`forward`](Self::forward), and for `Reduction::None`.
    pub fn value_and_grad(&self, pred: &Tensor, target: impl Into<Target>) -> Result<(Tensor, Tensor)> {
        self.mixed().value_and_grad(pred, target)
    }

    fn mixed(&self) -> Loss {
        let Input { range, channels, crop_border } = self.config.input;
        let loss = Loss::new(range).channels(channels).crop_border(crop_border).reduction(self.config.reduction);
        let loss = loss.weight(self.weight).named("L1SsimLoss");
        loss.l1(1.0 - self.lambda).with(self.lambda, self.config.clone())
    }
}

image_loss!(L1SsimLoss);
