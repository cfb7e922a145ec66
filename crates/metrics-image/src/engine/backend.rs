//! What other devices than the CPU compute, and by what: the fused kernels of a GPU where this build has any and they have room for it,
//! else ordinary tensor operations.

use candle_core::Tensor;
use metrics_core::Result;

use super::OddSides;
#[cfg(any(feature = "cuda", feature = "metal"))]
use super::gpu::Gpu;
use super::reference;
use crate::measure::similarity::Term;
use crate::measure::ssim::Plan;
use crate::op::Output;
use crate::pair::Pair;

/// Which of the two means of a map.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Score {
    /// Over the whole map of SSIM.
    Ssim,
    /// Of the contrast, over the windows that lie inside the image.
    Contrast,
}

/// How MS-SSIM makes its scales.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Scales {
    pub(crate) count: usize,
    pub(crate) odd_sides: OddSides,
}

impl Scales {
    /// The images themselves.
    pub(crate) const ONE: Self = Self { count: 1, odd_sides: OddSides::Drop };
}

/// Numbers of each image that one scan makes.
#[derive(Clone, Debug)]
#[cfg_attr(
    not(any(all(test, target_os = "linux"), feature = "cuda", feature = "metal")),
    expect(dead_code, reason = "nothing reads it without a GPU")
)]
pub(crate) struct Program {
    /// The window; without one there are errors of pixels alone.
    pub(crate) plan: Option<Plan>,
    pub(crate) scales: Scales,
    pub(crate) terms: Vec<Term>,
    /// Weights that make one number of the terms, and what is added to it.
    pub(crate) mixture: Option<(Vec<f64>, f64)>,
    /// Whether errors are divided by the squared data range of their image, where each has its own.
    pub(crate) by_range: bool,
}

/// The numbers by the kernels of the device, as `output` says; they take no masks.
pub(crate) fn numbers(pair: &Pair, program: impl FnOnce() -> Program, output: Output) -> Option<Result<Tensor>> {
    if pair.mask.is_some() {
        return None;
    }
    match pair.pred.device() {
        #[cfg(feature = "cuda")]
        candle_core::Device::Cuda(_) => Gpu::DEVICE.numbers(pair, program(), output),
        #[cfg(feature = "metal")]
        candle_core::Device::Metal(_) => Gpu::DEVICE.numbers(pair, program(), output),
        _ => {
            let _ = (program, output);
            None
        }
    }
}

/// SSIM or contrast at every pixel, `[N, C, …]`, in the dtype of the result; differentiable in both images.
pub(crate) fn map(pair: &Pair, plan: &Plan, score: Score) -> Result<Tensor> {
    let fused: Option<Result<Tensor>> = match pair.pred.device() {
        _ if pair.mask.is_some() => None,
        #[cfg(feature = "cuda")]
        candle_core::Device::Cuda(_) => Gpu::DEVICE.map(pair, plan, score),
        #[cfg(feature = "metal")]
        candle_core::Device::Metal(_) => Gpu::DEVICE.map(pair, plan, score),
        _ => None,
    };
    fused.unwrap_or_else(|| reference::map(pair, plan, score))
}
