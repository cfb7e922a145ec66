//! From tensors to pictures.

use anyhow::{Context, Result, bail};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use candle_core::{DType, Tensor};
use image::codecs::jpeg::JpegEncoder;
use image::codecs::png::{CompressionType, FilterType as PngFilter, PngEncoder};
use image::imageops::{self, FilterType};
use image::{ImageEncoder, Rgb, Rgb32FImage, RgbImage};
use metrics_detach::eval_scope;
use metrics_image::{SsimConfig, ssim_map};

/// `[1, C, H, W]` with one or three channels as a picture of f32; grey has three equal channels.
pub(super) fn from_tensor(pixels: &Tensor) -> Result<Rgb32FImage> {
    let (_, channels, height, width) = pixels.dims4()?;
    let pixels = match channels {
        1 => pixels.broadcast_as((1, 3, height, width))?,
        3 => pixels.clone(),
        _ => bail!("a picture has one or three channels, not {channels}"),
    };
    let values = pixels.to_dtype(DType::F32)?.squeeze(0)?.permute((1, 2, 0))?.flatten_all()?.to_vec1()?;
    Rgb32FImage::from_raw(width as u32, height as u32, values).context("a picture has three numbers a pixel")
}

/// The SSIM of every pixel, the mean over its channels, as a picture of three equal channels.
pub(super) fn similarity(reference: &Tensor, test: &Tensor, config: &SsimConfig) -> Result<Rgb32FImage> {
    let map = eval_scope(|| ssim_map(test, reference, config))?;
    from_tensor(&map.mean_keepdim(1)?)
}

/// The picture with every pixel given its colour.
pub(super) fn paint(picture: &Rgb32FImage, colour: impl Fn([f32; 3]) -> Rgb<u8>) -> RgbImage {
    RgbImage::from_fn(picture.width(), picture.height(), |x, y| colour(picture.get_pixel(x, y).0))
}

/// The colour of numbers in 0..=1; what is outside has the colour of the nearer end.
pub(super) fn to_bytes(values: [f32; 3]) -> Rgb<u8> {
    Rgb(values.map(|value| (value.clamp(0.0, 1.0) * 255.0).round() as u8))
}

/// The picture with sides of at most `longest` pixels.
pub(super) fn scaled_down(picture: Rgb32FImage, longest: u32) -> Rgb32FImage {
    let (width, height) = picture.dimensions();
    if width.max(height) <= longest {
        return picture;
    }
    let scale = f64::from(longest) / f64::from(width.max(height));
    let scaled = |side: u32| ((f64::from(side) * scale).round() as u32).max(1);
    // With this filter, a pixel of the result is a weighted mean of all the pixels it stands for.
    imageops::resize(&picture, scaled(width), scaled(height), FilterType::Triangle)
}

/// The picture as a PNG file.
pub(super) fn png(picture: &RgbImage) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let encoder = PngEncoder::new_with_quality(&mut bytes, CompressionType::Default, PngFilter::Adaptive);
    encoder.write_image(picture, picture.width(), picture.height(), image::ExtendedColorType::Rgb8)?;
    Ok(bytes)
}

/// The picture as a PNG file with a text under a keyword.
pub(super) fn png_that_says(picture: &RgbImage, [keyword, text]: [&str; 2]) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, picture.width(), picture.height());
    encoder.set_color(png::ColorType::Rgb);
    encoder.set_filter(png::Filter::Adaptive);
    encoder.add_text_chunk(keyword.into(), text.into())?;
    encoder.write_header()?.write_image_data(picture)?;
    Ok(bytes)
}

/// The picture as a PNG file in which a pixel is a byte, the number of its colour.
pub(super) fn indexed_png(size: (u32, u32), palette: &[Rgb<u8>], indices: &[u8]) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, size.0, size.1);
    encoder.set_color(png::ColorType::Indexed);
    encoder.set_palette(palette.iter().flat_map(|colour| colour.0).collect::<Vec<_>>());
    encoder.set_compression(png::Compression::High);
    // Numbers of colours are nothing that differences between neighbours make simpler.
    encoder.set_filter(png::Filter::NoFilter);
    encoder.write_header()?.write_image_data(indices)?;
    Ok(bytes)
}

/// The picture as a JPEG file, of a quality from 1 to 100.
pub(super) fn jpeg(picture: &RgbImage, quality: u8) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    JpegEncoder::new_with_quality(&mut bytes, quality).encode_image(picture)?;
    Ok(bytes)
}

/// The file as text that stands where a page has the address of a picture.
pub(super) fn data_url(kind: &str, file: &[u8]) -> String {
    format!("data:image/{kind};base64,{}", BASE64_STANDARD.encode(file))
}

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::*;

    #[test]
    fn channels_and_rows_find_their_place() {
        let values: Vec<f32> = (0..12).map(|i| i as f32).collect();
        let picture = from_tensor(&Tensor::from_vec(values, (1, 3, 2, 2), &Device::Cpu).unwrap()).unwrap();
        assert_eq!(picture.get_pixel(1, 0).0, [1.0, 5.0, 9.0]);
        assert_eq!(picture.get_pixel(0, 1).0, [2.0, 6.0, 10.0]);

        let grey = from_tensor(&Tensor::new(&[[[[0.25f32, 0.5]]]], &Device::Cpu).unwrap()).unwrap();
        assert_eq!(grey.get_pixel(1, 0).0, [0.5; 3]);
    }

    #[test]
    fn two_channels_are_refused() {
        let pixels = Tensor::zeros((1, 2, 4, 4), DType::F32, &Device::Cpu).unwrap();
        assert_eq!(from_tensor(&pixels).unwrap_err().to_string(), "a picture has one or three channels, not 2");
    }

    #[test]
    fn only_large_pictures_are_scaled_and_keep_their_shape() {
        let size = |width, height| scaled_down(Rgb32FImage::new(width, height), 480).dimensions();
        assert_eq!(size(480, 300), (480, 300));
        assert_eq!(size(960, 300), (480, 150));
        assert_eq!(size(1, 2000), (1, 480));
    }

    #[test]
    fn numbers_outside_the_range_are_black_or_white() {
        assert_eq!(to_bytes([-1.0, 0.5, 2.0]), Rgb([0, 128, 255]));
        assert_eq!(to_bytes([f32::NAN; 3]), Rgb([0; 3]));
    }
}
