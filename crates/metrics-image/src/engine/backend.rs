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

/// Scores of planes that are made of the sums of two maps. Constants are those of images in 0..1.
#[derive(Clone, Debug)]
#[cfg_attr(
    not(any(all(test, target_os = "linux"), feature = "cuda", feature = "metal")),
    expect(dead_code, reason = "nothing reads it without a GPU")
)]
pub(crate) enum Planar {
    /// Of `d` and `d²`; the deviation is that of a sample, or of all.
    Gmsd { c: f64, sample: bool },
    /// Of both logarithms at all scales, each with its window; `added` to both sums.
    Vif { windows: Vec<Vec<f64>>, sigma_n_sq: f64, epsilon: f64, added: f64 },
}

/// The numbers by the kernels of the device, as `output` says.
pub(crate) fn numbers(pair: &Pair, program: impl FnOnce() -> Program, output: Output) -> Option<Result<Tensor>> {
    kernels(pair)?.numbers(pair, program(), output)
}

/// Such a score by the kernels of the device: what becomes of `scale · number + offset`.
pub(crate) fn planar(pair: &Pair, planar: Planar, output: Output, affine: [f64; 2]) -> Option<Result<Tensor>> {
    Some(kernels(pair)?.planar(pair, planar, output, affine))
}

/// The kernels of the device of a pair, if this build has any. They take no masks.
fn kernels(pair: &Pair) -> Option<Gpu> {
    match pair.pred.device() {
        _ if pair.mask.is_some() => None,
        #[cfg(feature = "cuda")]
        candle_core::Device::Cuda(_) => Some(Gpu::DEVICE),
        #[cfg(feature = "metal")]
        candle_core::Device::Metal(_) => Some(Gpu::DEVICE),
        _ => None,
    }
}

/// The kernels of a build that has none.
#[cfg(not(any(feature = "cuda", feature = "metal")))]
enum Gpu {}

#[cfg(not(any(feature = "cuda", feature = "metal")))]
impl Gpu {
    fn numbers(self, _: &Pair, _: Program, _: Output) -> Option<Result<Tensor>> {
        match self {}
    }

    fn planar(self, _: &Pair, _: Planar, _: Output, _: [f64; 2]) -> Result<Tensor> {
        match self {}
    }

    fn map(self, _: &Pair, _: &Plan, _: Score) -> Option<Result<Tensor>> {
        match self {}
    }
}

/// SSIM or contrast at every pixel, `[N, C, …]`, in the dtype of the result; differentiable in both images.
pub(crate) fn map(pair: &Pair, plan: &Plan, score: Score) -> Result<Tensor> {
    let fused = kernels(pair).and_then(|kernels| kernels.map(pair, plan, score));
    fused.unwrap_or_else(|| reference::map(pair, plan, score))
}
