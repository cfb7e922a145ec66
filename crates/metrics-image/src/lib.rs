//! PSNR, SSIM, MS-SSIM, GMSD, VIFp, MAE and MSE for [Candle](candle_core): differentiable, as training losses and as metrics.
//!
//! # Train with it
//!
//! ```
//! use candle_core::{DType, Device, Tensor, Var};
//! use metrics_image::{L1SsimLoss, SsimConfig};
//!
//! let loss = L1SsimLoss::new(SsimConfig::new(1.0))?; // images in 0..=1
//! let target = Tensor::rand(0f32, 1f32, (1, 3, 32, 32), &Device::Cpu)?;
//! let image = Var::zeros((1, 3, 32, 32), DType::F32, &Device::Cpu)?;
//! let before = loss.forward(&image, &target)?;
//! let gradient = before.backward()?.get(&image).unwrap().clone();
//! image.set(&(image.as_tensor() - (gradient * 500.0)?)?)?;
//! assert!(loss.forward(&image, &target)?.to_scalar::<f32>()? < before.to_scalar::<f32>()?);
//! # Ok::<(), candle_core::Error>(())
//! ```
//!
//! # Evaluate with it
//!
//! ```
//! use candle_core::{Device, Tensor};
//! use metrics_core::MetricCollection;
//! use metrics_image::{Psnr, PsnrConfig, Ssim, SsimConfig};
//!
//! let mut metrics = MetricCollection::new()
//!     .with("psnr", Psnr::new(PsnrConfig::new(1.0))?)?
//!     .with("ssim", Ssim::new(SsimConfig::new(1.0))?)?
//!     .eval_only(); // nothing that comes out of it holds a graph
//! for _ in 0..2 {
//!     let target = Tensor::rand(0f32, 1f32, (4, 3, 32, 32), &Device::Cpu)?;
//!     metrics.update(&target.affine(0.9, 0.05)?, &target)?;
//! }
//! let report = metrics.compute()?;
//! assert!(report.scalar("ssim").unwrap() > 0.9);
//! println!("{report}");
//! # Ok::<(), metrics_core::Error>(())
//! ```
//!
//! # What is where
//!
//! - functions: [`psnr()`], [`ssim()`], [`ms_ssim()`], [`mae()`], [`mse()`], [`gmsd()`] and [`vif()`], each also per image, and the
//!   maps [`ssim_map()`], [`ssim_with_map()`] and [`contrast_map()`];
//! - configurations: [`PsnrConfig`], [`SsimConfig`], [`MsSsimConfig`], [`ErrorConfig`], [`GmsdConfig`], [`VifConfig`], [`MixConfig`],
//!   with a preset for each library they agree with;
//! - masks and pixel weights: [`Target`] for functions and losses, [`Samples::mask`](metrics_core::Samples::mask) for metrics;
//! - losses: [`Loss`], a weighted sum of terms in one pass, over a [`Background`] for images with alpha; [`SsimLoss`], [`MsSsimLoss`], [`PsnrLoss`], [`GmsdLoss`], [`VifLoss`], [`L1SsimLoss`], and [`MixLoss`];
//! - metrics: [`Psnr`], [`Ssim`], [`MsSsim`], [`Mae`], [`Mse`], [`Gmsd`], [`Vif`]; members of a collection share their passes
//!   over the pixels, see [`MetricCollection::plan`](metrics_core::MetricCollection::plan).
//!
//! Images are `[N, C, H, W]`, volumes `[N, C, D, H, W]`; f32, f64, f16, bf16 (half types are computed in f32), or u8 without
//! gradient. Gradients of gradients are not supported: Candle detaches gradients as it computes them.

mod background;
mod check;
mod compare;
mod config;
mod engine;
mod loss;
mod measure;
mod op;
mod pair;
mod planes;
mod region;
mod score;
mod shared;
mod target;

pub use background::Background;
pub use config::{Channels, DataRange, PerAxis};
pub use engine::{OddSides, Padding};
pub use loss::{ImageLoss, Loss, LossTerm, LossTerms};
pub use measure::gmsd::{Gmsd, GmsdConfig, GmsdLoss, gmsd, gmsd_per_image};
pub use measure::l1_ssim::L1SsimLoss;
pub use measure::mix::{MixConfig, MixLoss};
pub use measure::ms_ssim::{ChannelPower, MsSsim, MsSsimConfig, MsSsimLoss, Normalize, ms_ssim, ms_ssim_per_image};
pub use measure::pixel::{
    Absolute, ErrorConfig, Mae, Mse, MseFloor, Pooling, Psnr, PsnrConfig, PsnrLoss, PsnrMetric, Squared, mae,
    mae_per_image, mse, mse_per_image, psnr, psnr_per_image,
};
pub use measure::ssim::{
    Covariance, Downsample, Ssim, SsimConfig, SsimLoss, contrast_map, contrast_per_image, ssim, ssim_map,
    ssim_per_channel, ssim_per_image, ssim_with_map,
};
pub use measure::vif::{Vif, VifConfig, VifLoss, vif, vif_per_image};
pub use metrics_core::{NonFinite, Reduction};
pub use region::Region;
pub use score::{ScoreKind, ScoreLoss, ScoreMetric};
pub use target::Target;
