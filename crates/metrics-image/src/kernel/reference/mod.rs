//! Candle operations only, on any device and float dtype: the oracle that fused kernels are held to, and their fallback.
//!
//! Gradients come from Candle's autodiff. Sums over pixels are taken in f64 where the device has it.

mod axis;
mod error;
mod ssim;

use candle_core::Tensor;
use metrics_core::Result;

use super::{Kernel, OddSides, PixelError, Plan, Score};
use crate::pair::Pair;

pub(super) use ssim::mean_pool;

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

    fn means(&self, pair: &Pair, plan: &Plan, score: Score, _slope: f64) -> Result<Tensor> {
        ssim::means(&pair.to_float()?, plan, score)
    }

    fn scales(&self, pair: &Pair, plan: &Plan, scales: usize, odd_sides: OddSides) -> Result<Tensor> {
        ssim::scales(&pair.to_float()?, plan, scales, odd_sides)
    }

    fn errors(&self, pair: &Pair, error: PixelError) -> Result<Tensor> {
        error::sums(&pair.to_float()?, error)
    }
}
