//! Fused kernels for GPUs: one text for CUDA and Metal, and one order of launches.
//!
//! A block of threads goes down the rows of a strip, which it filters in its own memory and in registers. Of the size of images are the
//! gradients that a loss saves, the coarser scales of MS-SSIM and VIFp, VIFp's images in f64, and for windows of other lengths than 7, 9 and 11 the derivatives of a
//! map, until their scan is done. Planes are cut into strips by their size alone and the sums of strips are added in order, so that
//! an image scores the same alone and in a batch. Nothing is read back to the host. `docs/gpu.md` says what was measured.

#[cfg(feature = "cuda")]
mod cuda;
mod geometry;
mod gmsd;
mod launch;
mod map;
#[cfg(feature = "metal")]
mod metal;
mod numbers;
mod op;
mod params;
mod planar;
mod pooling;
mod scan;
#[cfg(all(test, target_os = "linux"))]
mod tests;
mod vif;

use candle_core::Tensor;
use metrics_core::Result;

#[cfg(all(test, target_os = "linux"))]
use self::geometry::Strips;
use self::launch::Engine;
#[cfg(any(feature = "cuda", feature = "metal"))]
use self::launch::{Arg, Buffer, Grid, View};
use self::map::Map;
use self::numbers::Numbers;
use self::op::apply;
use self::params::MAX_TERMS;
use self::planar::PlaneScores;
use super::backend::{Planar, Program, Score};
use crate::measure::ssim::Plan;
use crate::op::Output;
use crate::pair::Pair;

/// The kernels of the device that the images are on.
#[derive(Clone, Copy)]
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
        Self { engine: Engine::Emulated(kernel_emulation::Dialect::Cuda, Strips::Device) };
    /// The Metal text on the CPU, in strips so short that small images have two or more.
    #[cfg(all(test, target_os = "linux"))]
    pub(super) const EMULATED_METAL: Self =
        Self { engine: Engine::Emulated(kernel_emulation::Dialect::Metal, Strips::Of(13)) };

    /// For messages.
    #[cfg(test)]
    pub(super) fn name(&self) -> &'static str {
        match self.engine {
            Engine::Device => "gpu",
            #[cfg(target_os = "linux")]
            Engine::Emulated(kernel_emulation::Dialect::Cuda, _) => "emulated cuda",
            #[cfg(target_os = "linux")]
            Engine::Emulated(kernel_emulation::Dialect::Metal, _) => "emulated metal",
        }
    }

    /// Numbers of images, as `output` says; `None` where the kernels have no room for them.
    pub(super) fn numbers(self, pair: &Pair, program: Program, output: Output) -> Option<Result<Tensor>> {
        if program.mixture.is_none() && program.terms.len() > MAX_TERMS {
            return self.in_parts(pair, &program, output);
        }
        numbers::fits(&program).then(|| {
            let pair = pair.with_short_strides()?;
            let tracked = [pair.pred.track_op(), pair.target.track_op()];
            let numbers = Numbers::new(program, output, pair.range.clone(), pair.pred.dim(0)?, tracked);
            Ok(apply(self.engine, &pair, numbers)?)
        })
    }

    /// More terms than the kernels make at once: several times.
    fn in_parts(self, pair: &Pair, program: &Program, output: Output) -> Option<Result<Tensor>> {
        if matches!(output, Output::Mean | Output::Sum) {
            return None;
        }
        let parts = program.terms.chunks(MAX_TERMS).map(|terms| {
            let part = self.numbers(pair, Program { terms: terms.to_vec(), ..program.clone() }, output)?;
            Some(part.and_then(|part| Ok(if terms.len() == 1 { part.unsqueeze(0)? } else { part })))
        });
        let parts = parts.collect::<Option<Result<Vec<Tensor>>>>()?;
        Some(parts.and_then(|parts| Ok(Tensor::cat(&parts, 0)?)))
    }

    /// Numbers of images that are made of two sums of each plane; the mean over the batch and the like of `scale · number + offset`.
    pub(super) fn planar(self, pair: &Pair, planar: Planar, output: Output, affine: [f64; 2]) -> Result<Tensor> {
        let mut pair = pair.to_float()?;
        if matches!(planar, Planar::Vif { .. }) {
            // Variances of nearly flat regions stand beside a small `σn²`: in f64, where there is f64.
            let wide = launch::Gpu::new(self.engine, pair.pred.device().clone(), pair.pred.dtype())?.number();
            pair = pair.dense(wide)?;
        }
        let pair = pair.with_short_strides()?;
        Ok(apply(self.engine, &pair, PlaneScores::new(planar, &pair, output, affine)?)?)
    }

    /// A map; `None` for windows that are too long for the kernels.
    pub(super) fn map(self, pair: &Pair, plan: &Plan, score: Score) -> Option<Result<Tensor>> {
        geometry::fits(plan).then(|| {
            // A map has the precision it is computed in, which half types and integers lack.
            let pair = pair.to_float()?.with_short_strides()?;
            Ok(apply(self.engine, &pair, Map { plan: plan.clone(), range: pair.range.clone(), score })?)
        })
    }
}

impl Pair {
    /// Kernels count the steps along the axes of a plane in 32 bits.
    fn with_short_strides(&self) -> Result<Self> {
        let short = |image: &Tensor| {
            let fits = image.stride()[2..].iter().all(|&stride| i32::try_from(stride).is_ok());
            if fits { Ok(image.clone()) } else { image.contiguous() }
        };
        Ok(Self { pred: short(&self.pred)?, target: short(&self.target)?, ..self.clone() })
    }
}
