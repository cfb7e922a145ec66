//! A round cut-out of a photograph, with alpha.

use std::path::Path;

use anyhow::{Context, Result};
use candle_core::{Device, Tensor};
use image::imageops::{FilterType, crop_imm, resize};

/// Of half the side of the image: the radius at which alpha is a half, and the width of the soft edge.
const RADIUS: f32 = 0.85;
const EDGE: f32 = 0.15;

/// What cut-outs are shown and measured over: a gray value.
pub(crate) const BACKGROUNDS: [(&str, f64); 2] = [("white", 1.0), ("black", 0.0)];

/// The middle of a photograph as premultiplied RGBA, `[1, 4, side, side]`, with values in 0..=1.
pub(crate) fn load(path: &Path, side: u32, device: &Device) -> Result<Tensor> {
    let photo = image::open(path).with_context(|| format!("`--image {}`: cannot read it", path.display()))?.to_rgb32f();
    let (width, height) = photo.dimensions();
    let shorter = width.min(height);
    let square = crop_imm(&photo, (width - shorter) / 2, (height - shorter) / 2, shorter, shorter).to_image();
    let square = resize(&square, side, side, FilterType::Triangle);
    let from_center = |pixel: u32| (2 * pixel + 1) as f32 / side as f32 - 1.0;
    let rgba = square.enumerate_pixels().flat_map(|(x, y, color)| {
        let distance = from_center(x).hypot(from_center(y));
        let alpha = ((RADIUS - distance) / EDGE + 0.5).clamp(0.0, 1.0);
        let [r, g, b] = color.0.map(|value| value * alpha);
        [r, g, b, alpha]
    });
    let side = side as usize;
    let rgba = Tensor::from_vec(rgba.collect::<Vec<f32>>(), (1, side, side, 4), device)?;
    Ok(rgba.permute((0, 3, 1, 2))?.contiguous()?)
}

/// Premultiplied RGBA over a gray background: RGB.
pub(crate) fn over(rgba: &Tensor, background: f64) -> Result<Tensor> {
    let behind = rgba.narrow(1, 3, 1)?.affine(-background, background)?;
    Ok(rgba.narrow(1, 0, 3)?.broadcast_add(&behind)?)
}
