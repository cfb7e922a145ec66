//! Metrics: a measure and the state that accumulates it.

mod psnr;
mod similarity;

pub use psnr::Psnr;
pub use similarity::{MsSsim, Similarity, SimilarityConfig, Ssim};
