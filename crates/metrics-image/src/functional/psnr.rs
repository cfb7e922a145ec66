use candle_core::Tensor;
use metrics_core::{Reduction, Result};

use crate::PsnrConfig;
use crate::config::{MseFloor, Pooling};
use crate::kernel::{self, Outcome, Wants};
use crate::pair::{Pair, Range, Spread};
use crate::scores::Scores;

/// Peak signal-to-noise ratio of two batches of images, in decibels; differentiable in both.
///
/// Shapes and dtypes as [`ssim`](crate::ssim()). By default one value over all pixels of the batch ([`Pooling::Pooled`]); with
/// [`Pooling::PerImage`] the reduction of one value for each image. Returns a scalar, or `[N]` for per-image values with
/// `Reduction::None`; f64 for f64 images, else f32. Identical images score +inf, or the cap, with gradient 0.
///
/// # Errors
/// Shapes, dtypes or devices that differ, another rank, an empty batch, a [`DataRange`](crate::DataRange) beyond the dtype, or a
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
pub fn psnr(pred: &Tensor, target: &Tensor, config: &PsnrConfig) -> Result<Tensor> {
    Errors::new("psnr", pred, target, config)?.value(config)
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
pub fn psnr_per_image(pred: &Tensor, target: &Tensor, config: &PsnrConfig) -> Result<Tensor> {
    Errors::new("psnr_per_image", pred, target, config)?.per_image(config)?.per_image()
}

/// Squared errors of a batch, measured in squared data ranges.
pub(crate) struct Errors {
    /// Sum over the pixels of each image, `[N]`.
    pub(crate) relative: Tensor,
    /// Values in one image.
    pub(crate) pixels: usize,
    pair: Pair,
}

impl Errors {
    pub(crate) fn new(op: &str, pred: &Tensor, target: &Tensor, config: &PsnrConfig) -> Result<Self> {
        config.validate()?;
        let pair = Pair::new(op, &config.input, Spread::Target, pred, target)?;
        let outcome = kernel::of(&pair).errors(&pair, Wants { squared: true, ..Wants::default() })?;
        Self::of_outcome(pair, &outcome)
    }

    /// From a pass that had to sum squared errors.
    pub(crate) fn of_outcome(pair: Pair, outcome: &Outcome) -> Result<Self> {
        let sum = outcome.squared()?;
        let relative = match &pair.range {
            Range::Fixed(range) => sum.affine(range.powi(-2), 0.0)?,
            Range::PerImage(range) => (sum / range.to_dtype(sum.dtype())?.sqr()?)?,
        };
        Ok(Self { relative, pixels: pair.image_len(), pair })
    }

    /// This batch's value.
    pub(crate) fn value(&self, config: &PsnrConfig) -> Result<Tensor> {
        match config.pooling {
            Pooling::Pooled => {
                let error = self.relative.mean_all()?.affine(1.0 / self.pixels as f64, 0.0)?;
                Scores { wide: decibels_of(&error, config)?, dtype: self.pair.dtype }.reduce(Reduction::None)
            }
            Pooling::PerImage => self.per_image(config)?.reduce(config.reduction),
        }
    }

    pub(crate) fn per_image(&self, config: &PsnrConfig) -> Result<Scores> {
        let error = self.relative.affine(1.0 / self.pixels as f64, 0.0)?;
        Ok(Scores { wide: decibels_of(&error, config)?, dtype: self.pair.dtype })
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
    // The logarithm never sees 0: its infinite slope would meet the zero slope of the square, and their product is NaN.
    let zero = error.detach().eq(0.0)?;
    let safe = zero.where_cond(&error.ones_like()?, &error)?;
    let decibels = safe.log()?.affine(-10.0 / config.base.ln(), 0.0)?;
    let best = config.cap.unwrap_or(f64::INFINITY);
    let best_value = (decibels.zeros_like()? + best)?;
    let capped = decibels.detach().gt(best)?;
    let decibels = capped.where_cond(&best_value, &decibels)?;
    Ok(zero.where_cond(&best_value, &decibels)?)
}

fn at_least(x: &Tensor, floor: f64) -> Result<Tensor> {
    let below = x.detach().lt(floor)?;
    Ok(below.where_cond(&(x.zeros_like()? + floor)?, x)?)
}

fn squared_range(config: &PsnrConfig) -> f64 {
    config.input.range.fixed().map_or(1.0, |range| range * range)
}
