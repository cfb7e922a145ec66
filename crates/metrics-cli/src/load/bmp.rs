//! BMP files.

use std::io::{BufRead, Cursor, Read};

use anyhow::{Context, Result, bail, ensure};
use image::codecs::bmp::BmpDecoder;
use image::{DynamicImage, ImageDecoder};

use super::Look;
use super::picture::{Picture, check_size};

/// The longest of its headers, with masks of colors.
const HEADERS: u64 = 14 + 124 + 16;

/// What the headers say.
struct Header {
    /// Where the pixels begin.
    data: usize,
    width: u32,
    height: u32,
    bits: u16,
    compression: u32,
    /// How many colors the palette has, and where it begins.
    colors: usize,
    palette: usize,
}

pub(super) fn look(file: &mut impl BufRead, max_pixels: u64) -> Result<Look> {
    let mut start = Vec::new();
    file.take(HEADERS).read_to_end(&mut start)?;
    let header = Header::of(&start)?;
    let pixels = check_size(header.width.into(), header.height.into(), max_pixels)?;
    Ok(Look::picture(header.width, header.height, 3, pixels.saturating_mul(8)).of_integers(255))
}

pub(super) fn decode(bytes: &[u8]) -> Result<Picture> {
    let header = Header::of(bytes)?;
    header.check_pixels(bytes)?;
    let decoder = BmpDecoder::new(Cursor::new(bytes))?;
    ensure!(decoder.dimensions() == (header.width, header.height), "it has two sizes");
    Ok(Picture::of(DynamicImage::from_decoder(decoder)?))
}

impl Header {
    fn of(bytes: &[u8]) -> Result<Self> {
        let field = |at: usize| -> Result<u32> {
            let bytes = bytes.get(at..at + 4).context("the file is truncated in its headers")?;
            Ok(u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
        };
        let (data, length) = (field(10)? as usize, field(14)? as usize);
        let sides = if length == 12 { (field(18)? & 0xffff, field(18)? >> 16) } else { (field(18)?, field(22)?) };
        let (bits, compression, colors) = if length == 12 {
            (field(24)? as u16, 0, 0)
        } else {
            ((field(28)? & 0xffff) as u16, field(30)?, field(46)?)
        };
        // Only in masks without a palette does the data offset say what is not said elsewhere.
        let most = if bits <= 8 { 1 << bits } else { 0 };
        let colors = if colors == 0 { most } else { colors as usize };
        ensure!(bits > 8 || colors <= most, "its palette has {colors} colors, expected at most {most}");
        let (width, height) = (sides.0, sides.1.cast_signed().unsigned_abs());
        Ok(Self { data, width, height, bits, compression, colors, palette: 14 + length })
    }

    /// Refuses what the decoder would make black: pixels of no color, and rows that end early.
    fn check_pixels(&self, bytes: &[u8]) -> Result<()> {
        match self.compression {
            0 | 3 => {}
            1 | 2 => bail!("it is a BMP file with run lengths, which is not read: what they leave out has no color"),
            other => bail!("it is a BMP file with compression {other}, which is not read"),
        }
        let bits = u64::from(self.width) * u64::from(self.bits);
        let stride = usize::try_from(bits.div_ceil(32) * 4)?;
        let length = stride.checked_mul(self.height as usize).context("its size overflows")?;
        let entry = if self.palette == 14 + 12 { 3 } else { 4 };
        let palette = if self.bits <= 8 { self.colors * entry } else { 0 };
        ensure!(self.data >= self.palette + palette, "its pixels begin within its headers");
        let pixels = bytes.get(self.data..).and_then(|pixels| pixels.get(..length));
        let pixels = pixels.with_context(|| format!("the file is truncated: its pixels take {length} bytes"))?;
        if self.bits <= 8 && self.colors < 1 << self.bits {
            let row = |row: &[u8]| (0..self.width as usize).map(|x| self.index(row, x)).max().unwrap_or(0);
            let most = pixels.chunks_exact(stride).map(row).max().unwrap_or(0);
            ensure!(most < self.colors, "a pixel has color {most} of {}", self.colors);
        }
        Ok(())
    }

    fn index(&self, row: &[u8], x: usize) -> usize {
        let bits = usize::from(self.bits);
        let shift = 8 - bits - x * bits % 8;
        usize::from(row[x * bits / 8] >> shift) & ((1 << bits) - 1)
    }
}
