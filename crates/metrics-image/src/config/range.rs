use serde::{Deserialize, Serialize};

/// The span of pixel values, `R` in the formulas of PSNR and SSIM.
///
/// It must lie in `1e-12..=1e12` for images that are computed in f32, which all but f64 are, and in `1e-100..=1e100` in f64: beyond
/// that, its square and what gradients make of it vanish or overflow. One that is given is then an error; with one that is found
/// in the data, scores are NaN.
///
/// A number converts into [`DataRange::Value`], a pair into [`DataRange::Clamp`]:
///
/// ```
/// use metrics_image::{DataRange, SsimConfig};
/// assert_eq!(DataRange::from(255.0), DataRange::Value(255.0));
/// assert_eq!(SsimConfig::new(255).get_range(), DataRange::Value(255.0));
/// let hdr = SsimConfig::new((0.0, 4.0)).build()?; // clamps both images to 0..=4, R = 4
/// # Ok::<(), metrics_core::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DataRange {
    /// Maximum minus minimum of what a pixel can hold: 1 for `0..=1`, 255 for 8-bit values, 2 for `-1..=1`.
    Value(f64),
    /// Clamp both images to `(low, high)` first; the range is `high - low`.
    Clamp(f64, f64),
    /// The spread found in the data, over the whole batch: an image's score then depends on its batch neighbours.
    ///
    /// SSIM takes the larger spread of the two batches, PSNR the spread of `target`, as TorchMetrics does with `data_range=None`.
    /// Pixels that are NaN or infinite are left out; where all are equal, the range is 1.
    PerBatch,
    /// The spread found in the data, image by image, by the rule of [`DataRange::PerBatch`].
    PerImage,
}

impl DataRange {
    /// What is wrong with this range, if anything.
    pub(crate) fn problem(&self) -> Option<String> {
        match *self {
            Self::Value(range) if !(range > 0.0 && range.is_finite()) => {
                Some(format!("`data_range` must be positive and finite, got {range}"))
            }
            Self::Clamp(low, high) if !(low < high && (high - low).is_finite()) => {
                Some(format!("`data_range` must be (low, high) with low < high, both finite, got ({low}, {high})"))
            }
            _ => None,
        }
    }

    /// The range where it does not depend on the data.
    pub(crate) fn fixed(&self) -> Option<f64> {
        match *self {
            Self::Value(range) => Some(range),
            Self::Clamp(low, high) => Some(high - low),
            Self::PerBatch | Self::PerImage => None,
        }
    }
}

impl From<f64> for DataRange {
    fn from(range: f64) -> Self {
        Self::Value(range)
    }
}

/// Whole numbers, as 255.
impl From<i32> for DataRange {
    fn from(range: i32) -> Self {
        Self::Value(range.into())
    }
}

impl From<(i32, i32)> for DataRange {
    fn from((low, high): (i32, i32)) -> Self {
        Self::Clamp(low.into(), high.into())
    }
}

impl From<(f64, f64)> for DataRange {
    fn from((low, high): (f64, f64)) -> Self {
        Self::Clamp(low, high)
    }
}
