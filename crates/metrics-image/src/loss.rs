//! Training losses: smaller is better, differentiable in both images.

use candle_core::Tensor;
use metrics_core::{Error, Reduction, Result};

use crate::config::Pooling;
use crate::functional::{Errors, ms_ssim_scores, ssim_of_pair, ssim_pair, ssim_scores};
use crate::kernel::{Slopes, Wants};
use crate::scores::{Scores, slope};
use crate::{MsSsimConfig, PsnrConfig, SsimConfig, kernel};

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
#[derive(Clone, Debug)]
pub struct SsimLoss {
    config: SsimConfig,
}

impl SsimLoss {
    /// A loss of this configuration.
    ///
    /// # Errors
    /// As [`SsimConfig::build`], and for `Reduction::Summary`, which has no single value to minimise.
    pub fn new(config: SsimConfig) -> Result<Self> {
        config.validate()?;
        check_reduction("SsimLoss", config.reduction)?;
        Ok(Self { config })
    }

    /// The configuration.
    pub fn config(&self) -> &SsimConfig {
        &self.config
    }

    /// The loss of a batch.
    ///
    /// `pred`, `target`: `[N, C, H, W]`, or `[N, C, D, H, W]` for volumes, of one dtype (f32, f64, f16, bf16, or u8 without
    /// gradient) and device, with values in the data range of the configuration. Returns a scalar in `0..=2`, or their sum, or
    /// `[N]` with `Reduction::None`; f64 for f64 images, else f32.
    ///
    /// # Errors
    /// As [`ssim`](crate::ssim()).
    pub fn forward(&self, pred: &Tensor, target: &Tensor) -> Result<Tensor> {
        let (pair, plan) = ssim_pair("SsimLoss", pred, target, &self.config)?;
        let slope = -slope(self.config.reduction, &pair);
        one_minus(&ssim_of_pair(&pair, &plan, slope)?, self.config.reduction)
    }
}

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
#[derive(Clone, Debug)]
pub struct MsSsimLoss {
    config: MsSsimConfig,
}

impl MsSsimLoss {
    /// A loss of this configuration.
    ///
    /// # Errors
    /// As [`MsSsimConfig::build`], and for `Reduction::Summary`, which has no single value to minimise.
    pub fn new(config: MsSsimConfig) -> Result<Self> {
        config.validate()?;
        check_reduction("MsSsimLoss", config.ssim.reduction)?;
        Ok(Self { config })
    }

    /// The configuration.
    pub fn config(&self) -> &MsSsimConfig {
        &self.config
    }

    /// The loss of a batch.
    ///
    /// `pred`, `target`: `[N, C, H, W]`, or `[N, C, D, H, W]` for volumes, of one dtype (f32, f64, f16, bf16, or u8 without
    /// gradient) and device, with values in the data range of the configuration. Returns a scalar, in `0..=1` unless
    /// [`Normalize::None`](crate::Normalize::None) lets scores be negative, or their sum, or `[N]` with `Reduction::None`; f64 for
    /// f64 images, else f32.
    ///
    /// # Errors
    /// As [`ms_ssim`](crate::ms_ssim()).
    pub fn forward(&self, pred: &Tensor, target: &Tensor) -> Result<Tensor> {
        one_minus(&ms_ssim_scores("MsSsimLoss", pred, target, &self.config)?, self.config.ssim.reduction)
    }
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
}

impl PsnrLoss {
    /// A loss of this configuration.
    ///
    /// # Errors
    /// As [`PsnrConfig::build`], and for per-image values with `Reduction::Summary`, which has no single value to minimise.
    pub fn new(config: PsnrConfig) -> Result<Self> {
        config.validate()?;
        if config.pooling == Pooling::PerImage {
            check_reduction("PsnrLoss", config.reduction)?;
        }
        Ok(Self { config })
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
    pub fn forward(&self, pred: &Tensor, target: &Tensor) -> Result<Tensor> {
        Ok(Errors::new("PsnrLoss", pred, target, &self.config)?.value(&self.config)?.neg()?)
    }
}

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
}

impl L1SsimLoss {
    /// A loss of this configuration.
    ///
    /// # Errors
    /// As [`SsimLoss::new`].
    pub fn new(config: SsimConfig) -> Result<Self> {
        config.validate()?;
        check_reduction("L1SsimLoss", config.reduction)?;
        Ok(Self { config, lambda: 0.2 })
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
    pub fn forward(&self, pred: &Tensor, target: &Tensor) -> Result<Tensor> {
        let (pair, plan) = ssim_pair("L1SsimLoss", pred, target, &self.config)?;
        let (of_l1, of_ssim) = ((1.0 - self.lambda) / pair.image_len() as f64, -self.lambda);
        let slope = slope(self.config.reduction, &pair);
        let slopes =
            Slopes { ssim: slope * of_ssim / pair.channels() as f64, absolute: slope * of_l1, ..Slopes::default() };
        let wants = Wants { ssim: true, absolute: true, ..Wants::default() };
        let outcome = kernel::of(&pair).pass(&pair, &plan, wants, Some(slopes))?;
        let ssim = ssim_scores(&pair, &outcome)?.affine(of_ssim, self.lambda)?;
        let l1 = outcome.absolute()?.affine(of_l1, 0.0)?;
        Scores { wide: (ssim.wide + l1)?, dtype: pair.dtype }.reduce(self.config.reduction)
    }
}

fn one_minus(scores: &Scores, reduction: Reduction) -> Result<Tensor> {
    scores.affine(-1.0, 1.0)?.reduce(reduction)
}

fn check_reduction(loss: &str, reduction: Reduction) -> Result<()> {
    if reduction == Reduction::Summary {
        return Err(Error::argument(loss, "`reduction` must be Mean, Sum or None for a loss, got Summary"));
    }
    Ok(())
}
