//! From image files to tensors.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use candle_core::{Device, Tensor};
use image::{DynamicImage, ImageReader};

/// Two images as `[1, C, H, W]`, f32 in 0..=1: one channel if both are grey, else RGB.
///
/// Transparency is not scored: an image may have an alpha channel only if it is opaque.
pub(crate) fn pair(a: &Path, b: &Path) -> Result<(Tensor, Tensor)> {
    let (image_a, image_b) = (decode(a)?, decode(b)?);
    let size = |image: &DynamicImage| format!("{}×{}", image.width(), image.height());
    let (size_a, size_b) = (size(&image_a), size(&image_b));
    ensure!(size_a == size_b, "{} is {size_a} but {} is {size_b}", a.display(), b.display());
    let colour = image_a.color().has_color() || image_b.color().has_color();
    Ok((to_tensor(image_a, colour)?, to_tensor(image_b, colour)?))
}

fn decode(path: &Path) -> Result<DynamicImage> {
    let cannot_read = || format!("cannot read {}", path.display());
    let reader = ImageReader::open(path).with_context(cannot_read)?;
    let image = reader.with_guessed_format().with_context(cannot_read)?.decode().with_context(cannot_read)?;
    let opaque = !image.color().has_alpha() || image.to_rgba16().pixels().all(|pixel| pixel[3] == u16::MAX);
    ensure!(opaque, "{} is partly transparent; put it on a background first", path.display());
    Ok(image)
}

fn to_tensor(image: DynamicImage, colour: bool) -> Result<Tensor> {
    let (width, height) = (image.width() as usize, image.height() as usize);
    let (values, channels) = match colour {
        true => (image.into_rgb32f().into_raw(), 3),
        false => (grey_values(&image), 1),
    };
    let pixels = Tensor::from_vec(values, (1, height, width, channels), &Device::Cpu)?;
    Ok(pixels.permute((0, 3, 1, 2))?.contiguous()?)
}

fn grey_values(image: &DynamicImage) -> Vec<f32> {
    // Grey files hold 16 bits at most; as 16 bits, 8-bit values keep their place between black and white exactly.
    image.to_luma16().into_raw().into_iter().map(|value| f32::from(value) / f32::from(u16::MAX)).collect()
}
