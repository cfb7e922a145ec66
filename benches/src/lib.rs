//! What the benches share: images, the plain passes over memory that they are held against, SSIM composed from Candle's own
//! operations, and how a call is timed.

pub mod clock;
pub mod composition;
#[path = "../../examples/device.rs"]
mod device;
pub mod pass;
pub mod scene;
pub mod variants;

use anyhow::Result;
use candle_core::{Device, Tensor};
use rayon::prelude::*;

/// To see how much of a time is the system's allocator, which may give memory back with every call: see docs/engine.md.
#[cfg(feature = "mimalloc")]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// One small image, a training batch and one photograph, `[N, C, H, W]`.
pub const SMALL: [usize; 4] = [1, 3, 64, 64];
/// See [`SMALL`].
pub const BATCH: [usize; 4] = [16, 3, 256, 256];
/// See [`SMALL`].
pub const FULL_HD: [usize; 4] = [1, 3, 1080, 1920];

/// A photograph of four times the pixels, for GPUs.
pub const ULTRA_HD: [usize; 4] = [1, 3, 2160, 3840];

/// A prediction and a target of values in 0..1: noise, and the same noise under other noise.
pub fn images(dims: [usize; 4]) -> Result<(Tensor, Tensor)> {
    let values = 0..dims.iter().product::<usize>() as u64;
    let target: Vec<f32> = values.clone().into_par_iter().map(noise).collect();
    let pred: Vec<f32> = values.into_par_iter().map(|i| 0.8 * noise(i) + 0.2 * noise(!i)).collect();
    Ok((Tensor::from_vec(pred, &dims, &Device::Cpu)?, Tensor::from_vec(target, &dims, &Device::Cpu)?))
}

/// The finaliser of SplitMix64 as a random number in 0..1.
fn noise(i: u64) -> f32 {
    let i = (i ^ (i >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let i = (i ^ (i >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    (i >> 40) as f32 / (1u64 << 24) as f32
}

/// The device of a name, as `--device` of the programs takes it.
pub fn device(name: &str) -> Result<Device> {
    device::open(name)
}

/// `dims` as in `1×3×64×64`.
pub fn label(dims: [usize; 4]) -> String {
    dims.map(|side| side.to_string()).join("×")
}
