//! The door to the kernels: what they compute is said here, and which family computes it is chosen here.

// One index into several arrays says more here than zipped iterators would.
#[allow(clippy::needless_range_loop, clippy::too_many_arguments)]
mod cpu;
mod op;
mod plan;
mod reference;
#[cfg(test)]
mod suite;

use candle_core::Tensor;
use metrics_core::Result;

use self::op::Fused;
use self::reference::Reference;
use crate::pair::Pair;

pub(crate) use plan::Plan;
pub use plan::{OddSides, Padding};

/// Which of the two means of a map.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Score {
    /// Over the whole map of SSIM.
    Ssim,
    /// Of the contrast, over the windows that lie inside the image.
    Contrast,
}

/// Which error of a pixel is summed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum PixelError {
    Squared,
    Absolute,
}

/// What every family of kernels computes. Results are differentiable in both images; sums and means are in f64 where the device
/// has it.
pub(crate) trait Kernel: Sync {
    /// What the family is called, for messages of tests.
    #[cfg(test)]
    fn name(&self) -> &'static str;

    /// SSIM or contrast at every pixel, `[N, C, …]`, in the dtype of the result.
    fn map(&self, pair: &Pair, plan: &Plan, score: Score) -> Result<Tensor>;

    /// Mean SSIM or contrast of each image and channel, `[N, C]`.
    ///
    /// `slope` is the derivative, by each of them, of what the caller is going to make of them. A kernel may make gradients for it
    /// together with the means; those that turn out to be asked for otherwise are as right, but slower.
    fn means(&self, pair: &Pair, plan: &Plan, score: Score, slope: f64) -> Result<Tensor>;

    /// The terms of MS-SSIM, `[scales, N, C]`: mean contrast of every scale but the last, mean SSIM of the last.
    fn scales(&self, pair: &Pair, plan: &Plan, scales: usize, odd_sides: OddSides) -> Result<Tensor>;

    /// Sum of the errors of each image's pixels, `[N]`.
    fn errors(&self, pair: &Pair, error: PixelError) -> Result<Tensor>;
}

/// The kernels for a pair: fused ones where there are any for its device, else ordinary tensor operations.
pub(crate) fn of(pair: &Pair) -> &'static dyn Kernel {
    if pair.pred.device().is_cpu() { &Fused } else { &Reference }
}

/// Both images averaged over blocks of `factor` pixels a side; what does not fill a block is left out.
pub(crate) fn mean_pool(pair: &Pair, factor: usize) -> Result<Pair> {
    reference::mean_pool(&pair.to_float()?, factor)
}
