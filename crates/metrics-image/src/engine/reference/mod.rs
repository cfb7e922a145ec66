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

pub(crate) use error::{absolute, squared};
pub(crate) use ssim::{filter_and_skip, map, mean_pool, means, replicate, scales};

/// A batch of images filtered along both axes, where the window lies inside.
pub(crate) fn filter_valid(image: &Tensor, taps: &[f64]) -> Result<Tensor> {
    let axis = |axis| Ok(AxisMap::filter(image.dim(axis)?, taps, Padding::Valid));
    let maps: Vec<AxisMap> = [2, 3].into_iter().map(axis).collect::<Result<_>>()?;
    axis::apply_all(&maps, image)
}
