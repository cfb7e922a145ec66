//! PBM, PGM, PPM and PAM files. The `image` crate reads their headers; samples it would round to 8 or 16 bits where the largest is not
//! that of all bits, so they are read here, and they are divided by the largest.

use std::io::{BufRead, Cursor, Read};

use anyhow::{Result, bail, ensure};
use image::ImageDecoder;
use image::codecs::pnm::{PnmDecoder, PnmSubtype, SampleEncoding};

use super::Look;
use super::picture::{Picture, Samples, check_size};

/// The reader of headers keeps their lines.
const LONGEST_HEADER: u64 = 1 << 16;

pub(super) fn look(file: &mut impl BufRead, max_pixels: u64) -> Result<Look> {
    let decoder = PnmDecoder::new(file.take(LONGEST_HEADER))?;
    let ((width, height), channels) = (decoder.dimensions(), usize::from(decoder.color_type().channel_count()));
    let pixels = check_size(width.into(), height.into(), max_pixels)?;
    let full = decoder.into_inner().1.maximal_sample();
    let memory = pixels.saturating_mul(channels as u64 * 2);
    Ok(Look::picture(width, height, if channels < 3 { 1 } else { 3 }, memory).of_integers(full))
}

pub(super) fn decode(bytes: &[u8]) -> Result<Picture> {
    let decoder = PnmDecoder::new(Cursor::new(bytes))?;
    let channels = usize::from(decoder.color_type().channel_count());
    let (mut file, header) = decoder.into_inner();
    let (width, height, full) = (header.width() as usize, header.height() as usize, header.maximal_sample());
    let count = width * height * channels;
    let samples = match header.subtype() {
        PnmSubtype::Bitmap(SampleEncoding::Binary) => bits(&mut file, width, height)?,
        PnmSubtype::Bitmap(SampleEncoding::Ascii) => digits(&mut file, count)?,
        PnmSubtype::Graymap(SampleEncoding::Ascii) | PnmSubtype::Pixmap(SampleEncoding::Ascii) => {
            Samples::U16((0..count).map(|_| number(&mut file)).collect::<Result<_>>()?)
        }
        _ if full < 256 => Samples::U8(raw(&mut file, count)?),
        _ => {
            let bytes = raw(&mut file, 2 * count)?;
            Samples::U16(bytes.as_chunks().0.iter().map(|&word| u16::from_be_bytes(word)).collect())
        }
    };
    check_end(&bytes[usize::try_from(file.position())?..])?;
    let largest = samples.largest();
    ensure!(largest <= full, "it has a sample of {largest}, expected at most {full}");
    let samples = if full < 256 { samples.narrowed() } else { samples };
    Ok(Picture::new(width, height, channels, samples).of_full(full))
}

fn raw(file: &mut Cursor<&[u8]>, length: usize) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    file.take(length as u64).read_to_end(&mut bytes)?;
    ensure!(bytes.len() == length, "the file is truncated: {} of {length} bytes of pixels", bytes.len());
    Ok(bytes)
}

/// A bitmap, whose ones are black.
fn bits(file: &mut Cursor<&[u8]>, width: usize, height: usize) -> Result<Samples> {
    let stride = width.div_ceil(8);
    let packed = raw(file, stride * height)?;
    let row = |row: &[u8]| (0..width).map(|x| 1 - (row[x / 8] >> (7 - x % 8) & 1)).collect::<Vec<_>>();
    Ok(Samples::U8(packed.chunks_exact(stride).flat_map(row).collect()))
}

/// A bitmap in ASCII, whose digits need no space between them.
fn digits(file: &mut Cursor<&[u8]>, count: usize) -> Result<Samples> {
    let digit = |_| loop {
        match byte(file)? {
            Some(b'0') => return Ok(1),
            Some(b'1') => return Ok(0),
            Some(byte) if byte.is_ascii_whitespace() => {}
            Some(byte) => bail!("its pixels have the byte {byte}, expected 0 or 1"),
            None => bail!("the file is truncated"),
        }
    };
    Ok(Samples::U8((0..count).map(digit).collect::<Result<_>>()?))
}

fn number(file: &mut Cursor<&[u8]>) -> Result<u16> {
    let mut number = None::<u32>;
    loop {
        match (byte(file)?, number) {
            (Some(digit @ b'0'..=b'9'), _) => {
                let next = number.unwrap_or(0) * 10 + u32::from(digit - b'0');
                ensure!(next <= u16::MAX.into(), "it has a sample of more than 16 bits");
                number = Some(next);
            }
            (Some(byte), _) if !byte.is_ascii_whitespace() => {
                bail!("its samples have the byte {byte}, expected digits")
            }
            (_, Some(number)) => return Ok(number as u16),
            (None, None) => bail!("the file is truncated"),
            (Some(_), None) => {}
        }
    }
}

fn byte(file: &mut Cursor<&[u8]>) -> Result<Option<u8>> {
    let mut byte = [0];
    Ok((file.read(&mut byte)? == 1).then_some(byte[0]))
}

/// Behind the pixels there may be white space and further pictures.
fn check_end(rest: &[u8]) -> Result<()> {
    let rest = rest.trim_ascii_start();
    let another = matches!(rest, [b'P', b'1'..=b'7', ..]);
    ensure!(rest.is_empty() || another, "{} bytes follow its pixels", rest.len());
    Ok(())
}
