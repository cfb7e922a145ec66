use candle_core::{D, Tensor};
use metrics_core::{Error, Result};

use super::ssim_pair;
use crate::MsSsimConfig;
use crate::config::{ChannelPower, Normalize};
use crate::kernel::{self, Outcome, Plan, Wants};
use crate::pair::Pair;
use crate::scores::Scores;

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
pub fn ms_ssim(pred: &Tensor, target: &Tensor, config: &MsSsimConfig) -> Result<Tensor> {
    ms_ssim_scores("ms_ssim", pred, target, config)?.reduce(config.ssim.reduction)
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
pub fn ms_ssim_per_image(pred: &Tensor, target: &Tensor, config: &MsSsimConfig) -> Result<Tensor> {
    ms_ssim_scores("ms_ssim_per_image", pred, target, config)?.per_image()
}

pub(crate) fn ms_ssim_scores(op: &str, pred: &Tensor, target: &Tensor, config: &MsSsimConfig) -> Result<Scores> {
    let (pair, plan) = ms_ssim_pair(op, pred, target, config)?;
    let wants = Wants { scales: Some(config.scales()), ..Wants::default() };
    ms_ssim_of_outcome(&pair, &kernel::of(&pair).pass(&pair, &plan, wants, None)?, config)
}

/// The pair that MS-SSIM is computed on, and how.
pub(crate) fn ms_ssim_pair(op: &str, pred: &Tensor, target: &Tensor, config: &MsSsimConfig) -> Result<(Pair, Plan)> {
    config.validate()?;
    let (pair, plan) = ssim_pair(op, pred, target, &config.ssim)?;
    check_scales(op, &pair, &plan, config)?;
    Ok((pair, plan))
}

/// Every side must hold the window at the coarsest scale.
pub(crate) fn check_scales(op: &str, pair: &Pair, plan: &Plan, config: &MsSsimConfig) -> Result<()> {
    let scales = config.betas.len();
    for (axis, (&side, taps)) in pair.sides().iter().zip(&plan.taps).enumerate() {
        let least = config.odd_sides.minimum_side(taps.len(), scales);
        if side < least {
            let message = format!(
                "spatial axis {axis} of `pred` has {side} pixels{} (sides {:?}), expected at least {least} for {scales} scales \
                 and a window of {}; use fewer `betas` or a smaller window for smaller images",
                config.ssim.preparation(),
                pair.sides(),
                taps.len()
            );
            return Err(Error::argument(op, message));
        }
    }
    Ok(())
}

/// The score of each image, from a pass that had to compute its terms.
pub(crate) fn ms_ssim_of_outcome(pair: &Pair, outcome: &Outcome, config: &MsSsimConfig) -> Result<Scores> {
    let terms = outcome.scales()?;
    let wide = match config.power {
        ChannelPower::AfterMean => product_of_powers(&terms.mean(D::Minus1)?, config)?,
        ChannelPower::PerChannel => product_of_powers(terms, config)?.mean(D::Minus1)?,
    };
    Ok(Scores { wide, dtype: pair.dtype })
}

/// `Π_j terms[j]^betas[j]` over the first dimension.
fn product_of_powers(terms: &Tensor, config: &MsSsimConfig) -> Result<Tensor> {
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
    let positive = x.detach().gt(0.0)?;
    let nan = x.detach().ne(&x.detach())?;
    let safe = positive.where_cond(x, &x.ones_like()?)?;
    let power = positive.where_cond(&safe.powf(beta)?, &x.zeros_like()?)?;
    Ok(nan.where_cond(x, &power)?)
}
