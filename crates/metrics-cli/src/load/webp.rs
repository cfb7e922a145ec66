//! WebP files, decoded by libwebp. Readers that guess what is missing of a truncated file are no use here, and libwebp is none.

use std::io::{BufRead, Read};

use anyhow::{Context, Result, ensure};
use webp::{BitstreamFeatures, Decoder};

use super::Look;
use super::picture::{Picture, Samples, check_size};

/// As many bytes of a file tell its size: those before the pictures, and the header of a picture.
const START: u64 = 1 << 12;

/// What the tables of a group of codes take.
const GROUP: u64 = 12 << 10;

pub(super) fn look(file: &mut impl BufRead, length: u64, max_pixels: u64) -> Result<Look> {
    let mut start = Vec::new();
    file.take(START).read_to_end(&mut start)?;
    let features = BitstreamFeatures::new(&start).context("its header is damaged")?;
    let (width, height) = (features.width(), features.height());
    let pixels = check_size(width.into(), height.into(), max_pixels)?;
    // Samples twice, those of lossless files in four bytes besides, and a group of codes for each 4×4 pixels if its bytes are there.
    let groups = (pixels / 16 + 1).min(length / 2).min(1 << 16);
    let memory = pixels.saturating_mul(16).saturating_add(groups * GROUP).saturating_add(1 << 20);
    Ok(Look::picture(width, height, 3, memory).of_integers(255))
}

/// Decodes a WebP file; of an animation its first picture.
pub(super) fn decode(bytes: &[u8], max_pixels: u64) -> Result<Picture> {
    let features = BitstreamFeatures::new(bytes).context("its header is damaged")?;
    if features.has_animation() {
        return decode(&first_frame(bytes, (features.width(), features.height()))?, max_pixels);
    }
    let (width, height) = (features.width(), features.height());
    check_size(width.into(), height.into(), max_pixels)?;
    let image = Decoder::new(bytes).decode().context("its data are damaged or truncated")?;
    let channels = if features.has_alpha() { 4 } else { 3 };
    let (width, height) = (width as usize, height as usize);
    ensure!(image.len() == width * height * channels, "it has two sizes");
    Ok(Picture::new(width, height, channels, Samples::U8(image.to_vec())))
}

/// Names and data of chunks, which fill the bytes.
fn chunks(mut bytes: &[u8]) -> Result<Vec<(&[u8], &[u8])>> {
    let mut chunks = Vec::new();
    while !bytes.is_empty() {
        let (header, after) = bytes.split_first_chunk::<8>().context("the file is truncated")?;
        let length = u32::from_le_bytes([header[4], header[5], header[6], header[7]]) as usize;
        chunks.push((&bytes[..4], after.get(..length).context("the file is truncated")?));
        bytes = after.get(length + length % 2..).unwrap_or_default();
    }
    Ok(chunks)
}

/// The first frame of an animation as a file of its own, if it fills the canvas. Those after it must have headers.
fn first_frame(bytes: &[u8], canvas: (u32, u32)) -> Result<Vec<u8>> {
    let length = bytes.get(4..8).map_or(0, |size| u32::from_le_bytes([size[0], size[1], size[2], size[3]]) as usize);
    let chunks = chunks(bytes.get(12..length.saturating_add(8)).context("the file is truncated")?)?;
    let begun = chunks.iter().any(|(name, data)| *name == b"ANIM" && data.len() == 6);
    ensure!(begun, "its animation has no header");
    let frames: Result<Vec<_>> =
        chunks.iter().filter(|(name, _)| *name == b"ANMF").map(|(_, data)| frame(data, canvas)).collect();
    let (size, file) = frames?.into_iter().next().context("the animation has no pictures")?;
    ensure!(size == canvas, "the first picture of the animation is not whole");
    Ok(file)
}

/// The size of a frame, and the frame as a file of its own.
fn frame(data: &[u8], canvas: (u32, u32)) -> Result<((u32, u32), Vec<u8>)> {
    let (place, picture) = data.split_first_chunk::<16>().context("the file is truncated")?;
    let number = |at: usize| u32::from_le_bytes([place[at], place[at + 1], place[at + 2], 0]);
    let (x, y, size) = (2 * number(0), 2 * number(3), (number(6) + 1, number(9) + 1));
    chunks(picture)?;
    let file = still(picture, size)?;
    let said = BitstreamFeatures::new(&file).map(|features| (features.width(), features.height()));
    let fits = x + size.0 <= canvas.0 && y + size.1 <= canvas.1;
    ensure!(said == Some(size) && fits, "a picture of the animation is damaged");
    Ok((size, file))
}

/// The chunks of a frame with the headers of a file.
fn still(picture: &[u8], canvas: (u32, u32)) -> Result<Vec<u8>> {
    const ALPHA: u8 = 0x10;
    let alpha = picture.starts_with(b"ALPH");
    let mut file = b"RIFF\0\0\0\0WEBP".to_vec();
    if alpha {
        file.extend(b"VP8X\x0a\0\0\0");
        file.extend([ALPHA, 0, 0, 0]);
        file.extend(&(canvas.0 - 1).to_le_bytes()[..3]);
        file.extend(&(canvas.1 - 1).to_le_bytes()[..3]);
    }
    file.extend(picture);
    let length = u32::try_from(file.len() - 8).context("the animation is too large")?;
    file[4..8].copy_from_slice(&length.to_le_bytes());
    Ok(file)
}
