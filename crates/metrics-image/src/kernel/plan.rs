//! What every kernel needs to know besides the pixels.

use serde::{Deserialize, Serialize};

/// What the window sees beyond the border of an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Padding {
    /// The image mirrored at its border pixels, which are not repeated (`c b | a b c`). The map has the size of the image.
    Reflect,
    /// Zeros. The map has the size of the image.
    Zero,
    /// Nothing: only windows that lie inside the image count. The map is smaller by the window's side minus one.
    Valid,
}

/// A separable window with its border rule, and the constants of the SSIM formula.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Plan {
    /// Taps per spatial axis, outermost first (`[H, W]` or `[D, H, W]`); each of odd length, symmetric, summing to 1.
    pub(crate) taps: Vec<Vec<f64>>,
    pub(crate) padding: Padding,
    /// Factor on variance and covariance: 1 for the population's, `n / (n - 1)` for a sample's, `n` pixels a window.
    pub(crate) covariance: f64,
    pub(crate) k1: f64,
    pub(crate) k2: f64,
}

impl Plan {
    /// Whether the window is a single pixel, under which there is no variance.
    pub(crate) fn is_one_pixel(&self) -> bool {
        self.taps.iter().all(|taps| taps.len() == 1)
    }

    /// Half the window's side on each axis: how far it reaches beyond a pixel.
    pub(crate) fn radii(&self) -> Vec<usize> {
        self.taps.iter().map(|taps| taps.len() / 2).collect()
    }
}

/// How a side of odd length is halved between two scales of MS-SSIM.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OddSides {
    /// The last line is left out: TorchMetrics.
    #[default]
    Drop,
    /// A line of zeros comes before the first and is counted: pytorch-msssim.
    Zero,
    /// The first line comes twice, on every axis as soon as one of them is odd: piq.
    Replicate,
}

impl OddSides {
    /// How many lines come before the first on each axis of an image of size `dims`.
    pub(crate) fn lead(self, dims: &[usize]) -> Vec<usize> {
        match self {
            Self::Drop => vec![0; dims.len()],
            Self::Zero => dims.iter().map(|side| side % 2).collect(),
            Self::Replicate => vec![dims.iter().map(|side| side % 2).max().unwrap_or(0); dims.len()],
        }
    }

    /// The shortest side that holds `window` pixels after `scales - 1` halvings.
    pub(crate) fn minimum_side(self, window: usize, scales: usize) -> usize {
        let shrink = 1usize.checked_shl(scales as u32 - 1).unwrap_or(usize::MAX);
        match self {
            Self::Drop => window.saturating_mul(shrink),
            Self::Zero | Self::Replicate => (window - 1).saturating_mul(shrink).saturating_add(1),
        }
    }
}
