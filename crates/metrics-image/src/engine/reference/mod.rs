//! Candle operations only, on any device and float dtype: the oracle that fused kernels are held to, and their fallback.
//!
//! Gradients come from Candle's autodiff. Sums over pixels are taken in f64 where the device has it.

mod axis;
mod error;
mod ssim;

use candle_core::Tensor;
use metrics_core::Result;

use self::axis::AxisMap;
use crate::engine::Padding;
use crate::engine::backend::{Kernel, Outcome, Score, Slopes, Wants};
use crate::measure::ssim::Plan;
use crate::pair::Pair;

pub(crate) use ssim::mean_pool;

/// A batch of images filtered along both axes, where the window lies inside.
pub(crate) fn filter_valid(image: &Tensor, taps: &[f64]) -> Result<Tensor> {
    let axis = |axis| Ok(AxisMap::filter(image.dim(axis)?, taps, Padding::Valid));
    let maps: Vec<AxisMap> = [2, 3].into_iter().map(axis).collect::<Result<_>>()?;
    axis::apply_all(&maps, image)
}

/// The reference kernels.
pub(super) struct Reference;

impl Kernel for Reference {
    #[cfg(test)]
    fn name(&self) -> &'static str {
        "reference"
    }

    fn map(&self, pair: &Pair, plan: &Plan, score: Score) -> Result<Tensor> {
        ssim::map(&pair.to_float()?, plan, score)
    }

    fn pass(&self, pair: &Pair, plan: &Plan, wants: Wants, _: Option<Slopes>) -> Result<Outcome> {
        let (errors, pair) = (self.errors(pair, wants)?, pair.to_float()?);
        let means = |wanted: bool, score| wanted.then(|| ssim::means(&pair, plan, score)).transpose();
        Ok(Outcome {
            ssim: means(wants.ssim, Score::Ssim)?,
            contrast: means(wants.contrast, Score::Contrast)?,
            scales: wants.scales.map(|scales| ssim::scales(&pair, plan, scales)).transpose()?,
            ..errors
        })
    }

    fn errors(&self, pair: &Pair, wants: Wants) -> Result<Outcome> {
        let pair = pair.to_float()?;
        let squared = wants.squared.then(|| error::squared(&pair)).transpose()?;
        let absolute = wants.absolute.then(|| error::absolute(&pair)).transpose()?;
        Ok(Outcome { squared, absolute, ..Outcome::default() })
    }
}
