//! Rectangles of pixels that count, or do not.

use candle_core::{Device, Tensor};
use metrics_core::{Error, Result};

/// A rectangle of whole pixels, for masks that need no tensor of one's own.
///
/// ```
/// use candle_core::{Device, Tensor};
/// use metrics_image::{ErrorConfig, Region, Target, mae};
///
/// let target = Tensor::zeros((1, 3, 20, 30), candle_core::DType::F32, &Device::Cpu)?;
/// let logo = Tensor::ones((1, 3, 4, 10), candle_core::DType::F32, &Device::Cpu)?;
/// let pred = target.slice_assign(&[0..1, 0..3, 0..4, 20..30], &logo)?;
/// let without_logo = Target::new(&target).ignore(&[Region::new(20, 0, 10, 4)])?;
/// assert_eq!(mae(&pred, without_logo, &ErrorConfig::new())?.to_scalar::<f32>()?, 0.0);
/// # Ok::<(), candle_core::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Region {
    x: usize,
    y: usize,
    width: usize,
    height: usize,
}

impl Region {
    /// The rectangle whose first column is `x` and whose first row is `y`.
    pub fn new(x: usize, y: usize, width: usize, height: usize) -> Self {
        Self { x, y, width, height }
    }

    /// A mask of images of this size, `[1, 1, H, W]` in u8: 1 in the regions, 0 elsewhere, or the other way around.
    ///
    /// # Errors
    /// A region that is empty or reaches beyond the images.
    pub fn mask(regions: &[Self], inside: bool, (height, width): (usize, usize), device: &Device) -> Result<Tensor> {
        let mut mask = vec![u8::from(!inside); height * width];
        for region in regions {
            let fits =
                |start: usize, len: usize, side| len > 0 && start.checked_add(len).is_some_and(|end| end <= side);
            if !fits(region.x, region.width, width) || !fits(region.y, region.height, height) {
                let message = format!("`regions` has {region:?}, expected a part of images of {width}x{height} pixels");
                return Err(Error::argument("Region", message));
            }
            for row in mask.chunks_exact_mut(width).skip(region.y).take(region.height) {
                row[region.x..region.x + region.width].fill(u8::from(inside));
            }
        }
        Ok(Tensor::from_vec(mask, (1, 1, height, width), device)?)
    }
}

/// Both masks, if there are two: their product.
pub(crate) fn both(mask: Option<Tensor>, other: Tensor) -> Result<Tensor> {
    let Some(mask) = mask else { return Ok(other) };
    Ok(other.broadcast_as(mask.shape())?.where_cond(&mask, &mask.zeros_like()?)?)
}
