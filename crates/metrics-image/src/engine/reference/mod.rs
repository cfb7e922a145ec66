//! Candle operations only, on any device and float dtype: the oracle that fused kernels are held to, and their fallback.
//!
//! Gradients come from Candle's autodiff. Sums over pixels are taken in f64 where the device has it.

mod axis;
mod error;
mod ssim;

pub(crate) use error::{absolute, charbonnier, squared, values};
pub(crate) use ssim::{
    PlaneMeans, centered, downsampled_to_matlab, filter_and_skip, filtered_valid, map, mean_pool, means, place_weights,
    replicate, scales, weighted_means,
};
