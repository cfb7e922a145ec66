use candle_core::{D, Tensor};
use metrics_core::{Error, Result};

use crate::SsimConfig;
use crate::kernel::{self, Outcome, Padding, Plan, Score, Slopes, Wants};
use crate::pair::{Pair, Spread};
use crate::scores::{Scores, slope};

/// Structural similarity of two batches of images, reduced over the batch; differentiable in both.
///
/// `pred`, `target`: `[N, C, H, W]`, or `[N, C, D, H, W]` for volumes, of one dtype (f32, f64, f16, bf16, or u8 without gradient)
/// and device, with values in the data range of the configuration. Returns a scalar in `-1..=1` (the sum over images for
/// [`Reduction::Sum`](metrics_core::Reduction::Sum)), or `[N]` for `Reduction::None`; f64 for f64 images, else f32. Equal images
/// score 1, unless a [constant](SsimConfig::k1) is 0. An image with a NaN scores NaN. Formula and source: [`SsimConfig`].
///
/// On a CPU, the gradient with respect to a tracked input is computed together with the value and kept until backward takes it: one
/// image. If only the value is wanted, detach the inputs or use an [eval scope](metrics_detach::eval_scope); that is two to three
/// times cheaper.
///
/// A [`Var`](candle_core::Var) must not be set between the value and its `backward`: a gradient that was made early would be of the
/// old pixels, one that is made from the images, of several scales above all, of neither the old nor the new ones.
///
/// # Errors
/// Shapes, dtypes or devices that differ, another rank, an empty batch, a side too short for the window, a
/// [`DataRange`](crate::DataRange) beyond the dtype, or a configuration that [`SsimConfig::build`] refuses.
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
pub fn ssim(pred: &Tensor, target: &Tensor, config: &SsimConfig) -> Result<Tensor> {
    let (pair, plan) = ssim_pair("ssim", pred, target, config)?;
    ssim_of_pair(&pair, &plan, slope(config.reduction, &pair))?.reduce(config.reduction)
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
pub fn ssim_per_image(pred: &Tensor, target: &Tensor, config: &SsimConfig) -> Result<Tensor> {
    let (pair, plan) = ssim_pair("ssim_per_image", pred, target, config)?;
    ssim_of_pair(&pair, &plan, 1.0)?.per_image()
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
pub fn ssim_map(pred: &Tensor, target: &Tensor, config: &SsimConfig) -> Result<Tensor> {
    let (pair, plan) = ssim_pair("ssim_map", pred, target, config)?;
    kernel::of(&pair).map(&pair, &plan, Score::Ssim)
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
pub fn contrast_map(pred: &Tensor, target: &Tensor, config: &SsimConfig) -> Result<Tensor> {
    let (pair, plan) = ssim_pair("contrast_map", pred, target, config)?;
    kernel::of(&pair).map(&pair, &plan, Score::Contrast)
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
pub fn contrast_per_image(pred: &Tensor, target: &Tensor, config: &SsimConfig) -> Result<Tensor> {
    let op = "contrast_per_image";
    let (pair, plan) = ssim_pair(op, pred, target, config)?;
    let inside = Plan { padding: Padding::Valid, ..plan.clone() };
    check_sides(op, pair.sides(), &inside, config)?;
    let slopes = Slopes { contrast: 1.0 / pair.channels() as f64, ..Slopes::default() };
    let outcome = kernel::of(&pair).pass(&pair, &plan, Wants { contrast: true, ..Wants::default() }, Some(slopes))?;
    Scores { wide: outcome.contrast()?.mean(D::Minus1)?, dtype: pair.dtype }.per_image()
}

/// The score of each image. `slope` is the derivative of what the caller is going to make of them with respect to each of them,
/// see [`Slopes`].
pub(crate) fn ssim_of_pair(pair: &Pair, plan: &Plan, slope: f64) -> Result<Scores> {
    let slopes = Slopes { ssim: slope / pair.channels() as f64, ..Slopes::default() };
    let outcome = kernel::of(pair).pass(pair, plan, Wants { ssim: true, ..Wants::default() }, Some(slopes))?;
    ssim_scores(pair, &outcome)
}

/// The score of each image, from a pass that had to compute it.
pub(crate) fn ssim_scores(pair: &Pair, outcome: &Outcome) -> Result<Scores> {
    Ok(Scores { wide: outcome.ssim()?.mean(D::Minus1)?, dtype: pair.dtype })
}

/// The pair that SSIM is computed on, and how.
pub(crate) fn ssim_pair(op: &str, pred: &Tensor, target: &Tensor, config: &SsimConfig) -> Result<(Pair, Plan)> {
    config.validate()?;
    let pair = Pair::new(op, &config.input, Spread::Larger, pred, target)?;
    let pair = if config.downsample { downsample(&pair)? } else { pair };
    let plan = config.plan(op, pair.sides().len())?;
    check_sides(op, pair.sides(), &plan, config)?;
    Ok((pair, plan))
}

fn downsample(pair: &Pair) -> Result<Pair> {
    let shorter = pair.sides().iter().copied().min().unwrap_or(0);
    match (shorter as f64 / 256.0).round_ties_even() as usize {
        0 | 1 => Ok(pair.clone()),
        factor => kernel::mean_pool(pair, factor),
    }
}

/// Every side must be long enough for the window under its border rule.
fn check_sides(op: &str, sides: &[usize], plan: &Plan, config: &SsimConfig) -> Result<()> {
    for (axis, (&side, taps)) in sides.iter().zip(&plan.taps).enumerate() {
        let window = taps.len();
        let (least, border) = match plan.padding {
            Padding::Valid => (window, "inside the image"),
            Padding::Reflect => (window / 2 + 1, "with a reflected border"),
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
