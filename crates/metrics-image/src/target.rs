//! What a prediction is compared with.

use candle_core::{Tensor, Var};
use metrics_core::{Error, Result};

use crate::Region;
use crate::region;

/// What a prediction is compared with: images, and how much each of their pixels counts.
///
/// Functions and losses take it from a reference to a tensor, which counts every pixel alike:
///
/// ```
/// use candle_core::{DType, Device, Tensor};
/// use metrics_image::{SsimConfig, Target, ssim};
///
/// let target = Tensor::rand(0f32, 1f32, (1, 3, 32, 32), &Device::Cpu)?;
/// let spoiled = Tensor::cat(&[target.narrow(3, 0, 16)?, Tensor::zeros((1, 3, 32, 16), DType::F32, &Device::Cpu)?], 3)?;
/// let mask = Tensor::ones((1, 1, 32, 16), DType::F32, &Device::Cpu)?.pad_with_zeros(3, 0, 16)?;
/// let config = SsimConfig::new(1.0);
/// assert!(ssim(&spoiled, &target, &config)?.to_scalar::<f32>()? < 0.9);
/// assert_eq!(ssim(&spoiled, Target::new(&target).mask(&mask), &config)?.to_scalar::<f32>()?, 1.0);
/// # Ok::<(), candle_core::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Target {
    pub(crate) images: Tensor,
    mask: Option<Tensor>,
    /// `[1, 1, H, W]` in u8.
    regions: Option<Tensor>,
}

impl Target {
    /// These images, of which every pixel counts.
    pub fn new(images: &Tensor) -> Self {
        Self { images: images.clone(), mask: None, regions: None }
    }

    /// Says how much each pixel counts, in place of a mask that was given before: `[N, 1, H, W]` or `[N, C, H, W]` (`[N, 1, D, H, W]` or `[N, C, D, H, W]` of volumes; 1 also
    /// stands for any `N`), u8 (Candle's boolean), f16, bf16, f32 or f64, finite and not negative. Weights are relative to one
    /// another.
    ///
    /// Moments under a window `w` are those of the pixels that count, `μx = Σ w m x / Σ w m` and likewise of squares; the map's mean is
    /// weighted, `Σ m s / Σ m`, and so are errors. Beyond the border the mask is mirrored with the image; zeros beyond the border count
    /// with weight 1. What lies under a weight of 0, be it NaN, changes no bit of a value or gradient, and its gradient is 0.
    /// MS-SSIM averages the mask with the images. An image without any weight scores NaN, which metrics treat as their
    /// [`NonFinite`](crate::NonFinite) policy says.
    ///
    /// On a CPU weights are checked; on other devices, where that would wait for the device, one that is not above 0 counts as 0.
    pub fn mask(self, mask: &Tensor) -> Self {
        Self { mask: Some(mask.detach()), ..self }
    }
}

impl Target {
    /// Counts the pixels within the regions alone, of those that a mask and other regions count.
    ///
    /// # Errors
    /// A region that is empty or reaches beyond the images, or images that are not `[N, C, H, W]`.
    pub fn within(self, regions: &[Region]) -> Result<Self> {
        self.regions(regions, true)
    }

    /// Leaves out the pixels within the regions.
    ///
    /// # Errors
    /// As [`within`](Self::within).
    pub fn ignore(self, regions: &[Region]) -> Result<Self> {
        self.regions(regions, false)
    }

    fn regions(self, regions: &[Region], inside: bool) -> Result<Self> {
        let &[_, _, height, width] = self.images.dims() else {
            let message = format!("`target` is {:?}, expected [N, C, H, W] for regions", self.images.dims());
            return Err(Error::argument("Target", message));
        };
        let mask = Region::mask(regions, inside, (height, width), self.images.device())?;
        Ok(Self { regions: Some(region::both(self.regions, mask)?), ..self })
    }

    /// The pixels that mask and regions count.
    pub(crate) fn counted(&self) -> Option<Tensor> {
        match (&self.mask, &self.regions) {
            // A mask of another size is refused later.
            (Some(mask), Some(regions)) => {
                Some(region::both(Some(mask.clone()), regions.clone()).unwrap_or_else(|_| mask.clone()))
            }
            (mask, regions) => mask.clone().or_else(|| regions.clone()),
        }
    }
}

impl From<&Tensor> for Target {
    fn from(images: &Tensor) -> Self {
        Self::new(images)
    }
}

impl From<&Var> for Target {
    fn from(images: &Var) -> Self {
        Self::new(images.as_tensor())
    }
}

impl From<&Self> for Target {
    fn from(target: &Self) -> Self {
        target.clone()
    }
}
