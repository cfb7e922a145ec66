//! What the `image` crate does not tell or does not take of TIFF files.

use std::io::{BufRead, Seek};

use anyhow::{Context, Result, bail};
use tiff::ColorType;
use tiff::decoder::{Decoder, DecodingResult, Limits};
use tiff::tags::{ExtraSamples, SampleFormat, Tag};

use super::picture::{Picture, Samples, check_size};

/// The files that there are readers for.
pub(super) const EXPECTED: &str =
    "it is a TIFF file of another kind than grey, RGB or CMYK in 8 or 16 bits, or grey or RGB in f32";

pub(super) enum Tiff {
    /// Grey numbers in f32, which the `image` crate refuses.
    Grey(Picture),
    /// All others are for the `image` crate.
    Other { premultiplied: bool },
}

/// Whether a file starts as one of more than 4 GiB may, which the `image` crate reads but does not recognise.
pub(super) fn is_big(start: &[u8]) -> bool {
    start.starts_with(b"II\x2b\0") || start.starts_with(b"MM\0\x2b")
}

pub(super) fn look(file: impl BufRead + Seek, max_pixels: u64, most_bytes: u64) -> Result<Tiff> {
    let mut limits = Limits::default();
    limits.decoding_buffer_size = usize::try_from(most_bytes).unwrap_or(usize::MAX);
    let mut decoder = Decoder::new(file)?.with_limits(limits);
    let (width, height) = decoder.dimensions()?;
    check_size(width.into(), height.into(), max_pixels)?;
    let formats = decoder.find_tag_unsigned_vec::<u16>(Tag::SampleFormat)?.unwrap_or_default();
    let floats = formats.first() == Some(&SampleFormat::IEEEFP.to_u16());
    if !floats || decoder.colortype()? != ColorType::Gray(32) {
        let extra = decoder.find_tag_unsigned_vec::<u16>(Tag::ExtraSamples)?.unwrap_or_default();
        return Ok(Tiff::Other { premultiplied: extra.first() == Some(&ExtraSamples::AssociatedAlpha.to_u16()) });
    }
    let DecodingResult::F32(samples) = decoder.read_image().context("damaged grey numbers")? else { bail!(EXPECTED) };
    Ok(Tiff::Grey(Picture::new(width as usize, height as usize, 1, Samples::F32(samples))))
}
