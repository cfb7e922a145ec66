//! Radiance HDR files.

use std::io::{BufRead, Cursor, Read};

use anyhow::{Result, ensure};
use image::ImageDecoder;
use image::codecs::hdr::HdrDecoder;

use super::Look;
use super::picture::{Picture, Samples, check_size};

/// The decoder keeps all lines of the header.
const LONGEST_HEADER: u64 = 1 << 16;

pub(super) fn look(file: &mut impl BufRead, max_pixels: u64) -> Result<Look> {
    let (width, height) = HdrDecoder::new(file.take(LONGEST_HEADER))?.dimensions();
    let pixels = check_size(width.into(), height.into(), max_pixels)?;
    Ok(Look::picture(width, height, 3, pixels.saturating_mul(2 * 12)).of_numbers(false))
}

pub(super) fn decode(bytes: &[u8]) -> Result<Picture> {
    let mut file = Cursor::new(bytes);
    let decoder = HdrDecoder::new(&mut file)?;
    let (width, height) = decoder.dimensions();
    // A file without this line is damaged, or of a time when the decoder's numbers were not yet agreed upon.
    let metadata = decoder.metadata();
    let signed = bytes.starts_with(b"#?RADIANCE\n") || bytes.starts_with(b"#?RADIANCE\r\n");
    let known = signed && metadata.custom_attributes.iter().any(|(key, _)| key == "FORMAT");
    ensure!(known, "its header does not say in which format its numbers are");
    let mut buffer = vec![0; usize::try_from(decoder.total_bytes())?];
    decoder.read_image(&mut buffer)?;
    ensure!(file.position() == bytes.len() as u64, "{} bytes follow its pixels", bytes.len() as u64 - file.position());
    let samples = buffer.as_chunks().0.iter().map(|&number| f32::from_ne_bytes(number)).collect();
    Ok(Picture::new(width as usize, height as usize, 3, Samples::F32(samples)))
}
