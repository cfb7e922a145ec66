//! The kernels of other devices than the CPU, for SSIM, MS-SSIM and the errors of pixels: what they compute is said here, and which
//! backend computes it is chosen here.

use candle_core::Tensor;
use metrics_core::{Error, Result};

use super::OddSides;
#[cfg(any(feature = "cuda", feature = "metal"))]
use super::gpu::Gpu;
use super::reference::Reference;
use crate::measure::ssim::Plan;
use crate::pair::Pair;

/// Which of the two means of a map.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Score {
    /// Over the whole map of SSIM.
    Ssim,
    /// Of the contrast, over the windows that lie inside the image.
    Contrast,
}

/// What a pass over a pair is to compute.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Wants {
    /// Mean SSIM.
    pub(crate) ssim: bool,
    /// Mean contrast.
    pub(crate) contrast: bool,
    /// The terms of MS-SSIM.
    pub(crate) scales: Option<Scales>,
    /// Sums of squared errors.
    pub(crate) squared: bool,
    /// Sums of absolute errors.
    pub(crate) absolute: bool,
}

impl Wants {
    /// Whether there is any sum of errors.
    #[cfg(any(all(test, target_os = "linux"), feature = "cuda", feature = "metal"))]
    pub(crate) fn errors(&self) -> bool {
        self.squared || self.absolute
    }
}

/// How MS-SSIM makes its scales.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Scales {
    pub(crate) count: usize,
    pub(crate) odd_sides: OddSides,
}

/// The derivatives, with respect to each number of a pass, of what the caller is going to make of them, if it knows.
///
/// A kernel may make gradients for them together with the numbers; those that turn out to be asked for otherwise are as right, but
/// slower.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Slopes {
    /// By the mean SSIM of each image and channel.
    pub(crate) ssim: f64,
    /// By the mean contrast of each image and channel.
    pub(crate) contrast: f64,
    /// By the sum of absolute errors of each image.
    pub(crate) absolute: f64,
}

/// What a pass has computed of what was wanted: differentiable in both images, in f64 where the device has it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Outcome {
    /// Mean SSIM of each image and channel, `[N, C]`.
    pub(crate) ssim: Option<Tensor>,
    /// Mean contrast of each image and channel, `[N, C]`.
    pub(crate) contrast: Option<Tensor>,
    /// The terms of MS-SSIM, `[scales, N, C]`: mean contrast of every scale but the last, mean SSIM of the last.
    pub(crate) scales: Option<Tensor>,
    /// Sum of squared errors of each image, `[N]`.
    pub(crate) squared: Option<Tensor>,
    /// Sum of absolute errors of each image, `[N]`.
    pub(crate) absolute: Option<Tensor>,
}

impl Outcome {
    pub(crate) fn ssim(&self) -> Result<&Tensor> {
        wanted(&self.ssim, "ssim")
    }

    pub(crate) fn contrast(&self) -> Result<&Tensor> {
        wanted(&self.contrast, "contrast")
    }

    pub(crate) fn scales(&self) -> Result<&Tensor> {
        wanted(&self.scales, "scales")
    }

    pub(crate) fn squared(&self) -> Result<&Tensor> {
        wanted(&self.squared, "squared errors")
    }

    pub(crate) fn absolute(&self) -> Result<&Tensor> {
        wanted(&self.absolute, "absolute errors")
    }
}

fn wanted<'a>(part: &'a Option<Tensor>, name: &str) -> Result<&'a Tensor> {
    part.as_ref().ok_or_else(|| Error::argument("kernel", format!("the pass did not compute {name}")))
}

/// What every backend computes.
pub(crate) trait Kernel: Sync {
    /// Its name, for messages of tests.
    #[cfg(test)]
    fn name(&self) -> &'static str;

    /// SSIM or contrast at every pixel, `[N, C, …]`, in the dtype of the result; differentiable in both images.
    fn map(&self, pair: &Pair, plan: &Plan, score: Score) -> Result<Tensor>;

    /// All that is wanted of a pair, from reading it once.
    fn pass(&self, pair: &Pair, plan: &Plan, wants: Wants, slopes: Option<Slopes>) -> Result<Outcome>;

    /// Sums of errors alone.
    fn errors(&self, pair: &Pair, wants: Wants) -> Result<Outcome>;
}

/// The kernels for a pair on another device than the CPU: fused ones where this build has any for it, else ordinary tensor operations.
pub(crate) fn of(pair: &Pair) -> &'static dyn Kernel {
    match pair.pred.device() {
        #[cfg(feature = "cuda")]
        candle_core::Device::Cuda(_) => &Gpu::DEVICE,
        #[cfg(feature = "metal")]
        candle_core::Device::Metal(_) => &Gpu::DEVICE,
        _ => &Reference,
    }
}
