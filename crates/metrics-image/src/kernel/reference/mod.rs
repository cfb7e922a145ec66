//! Candle operations only, on any device and float dtype: the oracle that fused kernels are held to, and their fallback.
//!
//! Gradients come from Candle's autodiff. Sums over pixels are taken in f64 where the device has it.

mod axis;
mod error;
mod ssim;

pub(super) use error::{absolute_error, squared_error};
pub(super) use ssim::{contrast_planes, mean_pool, ms_ssim_planes, ssim_maps, ssim_planes};
