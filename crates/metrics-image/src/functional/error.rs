use candle_core::Tensor;
use metrics_core::Result;

use crate::ErrorConfig;
use crate::kernel::{self, Outcome, Wants};
use crate::pair::{Pair, Spread};
use crate::scores::Scores;

/// Which error of a pixel counts.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum PixelError {
    Absolute,
    Squared,
}

impl PixelError {
    pub(crate) fn wants(self) -> Wants {
        Wants { absolute: self == Self::Absolute, squared: self == Self::Squared, ..Wants::default() }
    }
}

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
pub fn mae(pred: &Tensor, target: &Tensor, config: &ErrorConfig) -> Result<Tensor> {
    error_scores("mae", pred, target, config, PixelError::Absolute)?.reduce(config.reduction)
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
pub fn mae_per_image(pred: &Tensor, target: &Tensor, config: &ErrorConfig) -> Result<Tensor> {
    error_scores("mae_per_image", pred, target, config, PixelError::Absolute)?.per_image()
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
pub fn mse(pred: &Tensor, target: &Tensor, config: &ErrorConfig) -> Result<Tensor> {
    error_scores("mse", pred, target, config, PixelError::Squared)?.reduce(config.reduction)
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
pub fn mse_per_image(pred: &Tensor, target: &Tensor, config: &ErrorConfig) -> Result<Tensor> {
    error_scores("mse_per_image", pred, target, config, PixelError::Squared)?.per_image()
}

pub(crate) fn error_scores(
    op: &str,
    pred: &Tensor,
    target: &Tensor,
    config: &ErrorConfig,
    error: PixelError,
) -> Result<Scores> {
    config.validate()?;
    let pair = Pair::new(op, &config.input, Spread::Unused, pred, target)?;
    error_of_outcome(&pair, &kernel::of(&pair).errors(&pair, error.wants())?, error)
}

/// The error of each image, from a pass that had to sum it.
pub(crate) fn error_of_outcome(pair: &Pair, outcome: &Outcome, error: PixelError) -> Result<Scores> {
    let sum = match error {
        PixelError::Absolute => outcome.absolute()?,
        PixelError::Squared => outcome.squared()?,
    };
    Scores { wide: sum.clone(), dtype: pair.dtype }.affine(1.0 / pair.image_len() as f64, 0.0)
}
