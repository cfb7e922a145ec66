//! Metrics: a measure and the state that accumulates it.

mod error;
mod psnr;
mod similarity;

pub use error::{Absolute, ErrorKind, Mae, MeanError, Mse, Squared};
pub use psnr::Psnr;
pub use similarity::{MsSsim, Similarity, SimilarityConfig, Ssim};
