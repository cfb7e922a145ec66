//! The door to the kernels: what is computed is said here, how is chosen here, by device and dtype.

mod plan;
mod reference;

use candle_core::Tensor;
use metrics_core::Result;

use crate::pair::Pair;

pub(crate) use plan::Plan;
pub use plan::{OddSides, Padding};

/// The SSIM map and, of the same size, the contrast map.
pub(crate) struct Maps {
    pub(crate) ssim: Tensor,
    pub(crate) contrast: Tensor,
}

/// SSIM and contrast at every pixel.
pub(crate) fn ssim_maps(pair: &Pair, plan: &Plan) -> Result<Maps> {
    reference::ssim_maps(&pair.to_float()?, plan)
}

/// Mean SSIM of each image and channel, `[N, C]`.
pub(crate) fn ssim_planes(pair: &Pair, plan: &Plan) -> Result<Tensor> {
    reference::ssim_planes(&pair.to_float()?, plan)
}

/// Mean contrast of each image and channel, `[N, C]`, over the windows that lie inside the image.
pub(crate) fn contrast_planes(pair: &Pair, plan: &Plan) -> Result<Tensor> {
    reference::contrast_planes(&pair.to_float()?, plan)
}

/// The terms of MS-SSIM, `[scales, N, C]`: mean contrast of every scale but the last, mean SSIM of the last.
pub(crate) fn ms_ssim_planes(pair: &Pair, plan: &Plan, scales: usize, odd_sides: OddSides) -> Result<Tensor> {
    reference::ms_ssim_planes(&pair.to_float()?, plan, scales, odd_sides)
}

/// Sum of squared differences of each image, `[N]`.
pub(crate) fn squared_error(pair: &Pair) -> Result<Tensor> {
    reference::squared_error(&pair.to_float()?)
}

/// Sum of absolute differences of each image, `[N]`.
pub(crate) fn absolute_error(pair: &Pair) -> Result<Tensor> {
    reference::absolute_error(&pair.to_float()?)
}

/// Both images averaged over blocks of `factor` pixels a side; what does not fill a block is left out.
pub(crate) fn mean_pool(pair: &Pair, factor: usize) -> Result<Pair> {
    reference::mean_pool(&pair.to_float()?, factor)
}
