//! JPEG files. The `image` crate, which has the same decoder, takes a truncated one for whole.

use std::io::Read;

use anyhow::{Context, Result, ensure};
use zune_jpeg::JpegDecoder;
use zune_jpeg::zune_core::bytestream::ZCursor;
use zune_jpeg::zune_core::colorspace::ColorSpace;
use zune_jpeg::zune_core::options::DecoderOptions;

use super::picture::{Picture, Samples, check_size};

/// Decodes grey files as grey, and all others as RGB. The file may take `most_bytes`.
pub(super) fn read(file: impl Read, max_pixels: u64, most_bytes: u64) -> Result<Picture> {
    let mut bytes = Vec::new();
    file.take(most_bytes.saturating_add(1)).read_to_end(&mut bytes)?;
    ensure!(bytes.len() as u64 <= most_bytes, "it has more than {most_bytes} bytes");
    // The size is for `max_pixels` to limit.
    let options = DecoderOptions::default().set_max_width(usize::MAX).set_max_height(usize::MAX);
    let mut decoder = JpegDecoder::new_with_options(ZCursor::new(bytes.as_slice()), options.set_strict_mode(false));
    decoder.decode_headers()?;
    let (width, height) = decoder.dimensions().context("it has no size")?;
    check_size(width as u64, height as u64, max_pixels)?;
    let (colours, channels) = match decoder.input_colorspace() {
        Some(ColorSpace::Luma) => (ColorSpace::Luma, 1),
        _ => (ColorSpace::RGB, 3),
    };
    // Strict from here on: what programs leave between headers does no harm, but pixels that are not there do.
    decoder.set_options(options.set_strict_mode(true).jpeg_set_out_colorspace(colours));
    Ok(Picture::new(width, height, channels, Samples::U8(decoder.decode()?)))
}
