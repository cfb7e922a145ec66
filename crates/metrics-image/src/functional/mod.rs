//! Metrics as functions of two tensors.

mod error;
mod ms_ssim;
mod psnr;
mod ssim;

pub use error::{mae, mae_per_image, mse, mse_per_image};
pub use ms_ssim::{ms_ssim, ms_ssim_per_image};
pub use psnr::{psnr, psnr_per_image};
pub use ssim::{contrast_map, contrast_per_image, ssim, ssim_map, ssim_per_image};

pub(crate) use error::{PixelError, error_of_outcome, error_scores};
pub(crate) use ms_ssim::{check_scales, ms_ssim_of_outcome, ms_ssim_scores};
pub(crate) use psnr::{Errors, decibels};
pub(crate) use ssim::{ssim_of_pair, ssim_pair, ssim_scores};
