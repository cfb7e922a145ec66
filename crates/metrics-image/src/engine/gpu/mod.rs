//! Fused kernels for GPUs: one text for CUDA and Metal, and one order of launches.
//!
//! A block of threads walks along the slices of a tile, which it filters in its own memory and in registers; nothing of the size of
//! an image is kept but the gradient. Planes are cut into tiles by their size alone and the sums of tiles are added in order, so that an
//! image scores the same alone and in a batch. Nothing is read back to the host.

#[cfg(feature = "cuda")]
mod cuda;
mod errors;
mod geometry;
mod launch;
mod map;
#[cfg(feature = "metal")]
mod metal;
mod op;
mod params;
mod pass;
mod rows;
#[cfg(all(test, target_os = "linux"))]
mod tests;
mod walk;

use candle_core::Tensor;
use metrics_core::Result;

use self::errors::Errors;
#[cfg(all(test, target_os = "linux"))]
use self::geometry::Bands;
use self::geometry::fits;
use self::launch::Engine;
#[cfg(any(feature = "cuda", feature = "metal"))]
use self::launch::{Arg, Buffer, Grid, View};
use self::map::Map;
use self::op::apply;
use self::pass::Pass;
use self::rows::image_sums;

use crate::engine::backend::{Kernel, Outcome, Score, Slopes, Wants};
use crate::engine::reference::Reference;
use crate::measure::ssim::Plan;
use crate::pair::Pair;

/// The kernels of the device that the images are on; windows that are too long for them are left to the reference.
pub(super) struct Gpu {
    engine: Engine,
}

impl Gpu {
    /// On the device itself.
    #[cfg_attr(not(any(feature = "cuda", feature = "metal")), expect(dead_code))]
    pub(super) const DEVICE: Self = Self { engine: Engine::Device };
    /// The CUDA text on the CPU, cut as on a device.
    #[cfg(all(test, target_os = "linux"))]
    pub(super) const EMULATED_CUDA: Self =
        Self { engine: Engine::Emulated(kernel_emulation::Dialect::Cuda, Bands::DEVICE) };
    /// The Metal text on the CPU, in bands so short that small images have two or more.
    #[cfg(all(test, target_os = "linux"))]
    pub(super) const EMULATED_METAL: Self =
        Self { engine: Engine::Emulated(kernel_emulation::Dialect::Metal, Bands { short: 13, long: 27, large: 1000 }) };
}

impl Kernel for Gpu {
    #[cfg(test)]
    fn name(&self) -> &'static str {
        match self.engine {
            Engine::Device => "gpu",
            #[cfg(target_os = "linux")]
            Engine::Emulated(kernel_emulation::Dialect::Cuda, _) => "emulated cuda",
            #[cfg(target_os = "linux")]
            Engine::Emulated(kernel_emulation::Dialect::Metal, _) => "emulated metal",
        }
    }

    fn map(&self, pair: &Pair, plan: &Plan, score: Score) -> Result<Tensor> {
        if !fits(plan) {
            return Reference.map(pair, plan, score);
        }
        // A map has the precision it is computed in, which half types and integers lack.
        let pair = pair.to_float()?;
        Ok(apply(self.engine, &pair, Map { plan: plan.clone(), range: pair.range.clone(), score })?)
    }

    fn pass(&self, pair: &Pair, plan: &Plan, wants: Wants, slopes: Option<Slopes>) -> Result<Outcome> {
        if !fits(plan) {
            return Reference.pass(pair, plan, wants, slopes);
        }
        let (rows, pass) = Pass::new(pair, plan, wants, slopes);
        rows.outcome(&apply(self.engine, pair, pass)?, wants)
    }

    fn errors(&self, pair: &Pair, wants: Wants) -> Result<Outcome> {
        let sums = apply(self.engine, pair, Errors)?;
        let row = |wanted: bool, row| wanted.then(|| image_sums(&sums, row)).transpose();
        Ok(Outcome { squared: row(wants.squared, 0)?, absolute: row(wants.absolute, 1)?, ..Outcome::default() })
    }
}
