//! PNG files. The `png` crate reads the chunks and inflates the pixels. What it gives to most of its users ends with the last row, so that
//! checksums and data behind that row are not looked at; here the whole stream of pixels is asked for, and the filters are undone here.

use std::io::BufRead;

use anyhow::{Context, Result, bail, ensure};
use png::{
    Adam7Info, ColorType, DecodeOptions, Decoded, Info, StreamingDecoder, UnfilterRegion, chunk, expand_interlaced_row,
};

use super::Look;
use super::picture::{Picture, Samples, check_size};

const SIGNATURE_AND_HEADER: usize = 8 + 8 + 13;

pub(super) fn look(file: &mut impl BufRead, max_pixels: u64) -> Result<Look> {
    let mut start = [0; SIGNATURE_AND_HEADER];
    file.read_exact(&mut start).context("the file is truncated")?;
    ensure!(&start[12..16] == b"IHDR", "its first chunk is not IHDR");
    let side = |at: usize| u32::from_be_bytes([start[at], start[at + 1], start[at + 2], start[at + 3]]);
    let (width, height, depth, color) = (side(16), side(20), start[24], start[25]);
    let pixels = check_size(width.into(), height.into(), max_pixels)?;
    let channels = if matches!(color, 0 | 4) { 1 } else { 3 };
    // A stream of rows, and samples with an alpha channel made of it.
    let sample = if depth == 16 { 2 } else { 1 };
    let memory = pixels.saturating_mul(2 * 4 * sample).saturating_add(u64::from(height) * 16);
    Ok(Look::picture(width, height, channels, memory).of_integers(if depth == 16 { u16::MAX.into() } else { 255 }))
}

/// Decodes a PNG file; of an animation the picture that programs show who know no animations.
pub(super) fn decode(bytes: &[u8]) -> Result<Picture> {
    let (info, mut stream) = inflate(bytes)?;
    let bits = info.bits_per_pixel();
    let packed = if info.interlaced { deinterlace(&info, &mut stream)? } else { rows(&info, &mut stream)? };
    drop(stream);
    let (width, height) = (info.width as usize, info.height as usize);
    let bytes_per_row = (width * bits).div_ceil(8);
    let depth = info.bit_depth as u8;
    let (channels, samples) = match (info.color_type, depth) {
        (ColorType::Indexed, _) => {
            let indices = unpack(&packed, width, bytes_per_row, depth);
            let (channels, samples) = look_up(&info, &indices)?;
            (channels, Samples::U8(samples))
        }
        (color, 16) => {
            let (words, _) = packed.as_chunks::<2>();
            let samples: Vec<u16> = words.iter().map(|&word| u16::from_be_bytes(word)).collect();
            let key =
                info.trns.as_deref().map(|key| key.as_chunks::<2>().0.iter().map(|&word| u16::from_be_bytes(word)));
            let (channels, samples) = keyed(samples, color.samples(), key.map(Iterator::collect), u16::MAX);
            (channels, Samples::U16(samples))
        }
        (color, _) => {
            let samples = if depth == 8 { packed } else { unpack(&packed, width, bytes_per_row, depth) };
            let (channels, mut samples) =
                keyed(samples, color.samples(), info.trns.as_deref().map(<[u8]>::to_vec), full(depth));
            if depth < 8 {
                // 255 is a multiple of 1, 3 and 15.
                samples.iter_mut().for_each(|sample| *sample *= 255 / full(depth));
            }
            (channels, Samples::U8(samples))
        }
    };
    Ok(Picture::new(width, height, channels, samples))
}

fn full(depth: u8) -> u8 {
    ((1u16 << depth) - 1) as u8
}

/// The filtered rows, all checksums compared.
fn inflate(bytes: &[u8]) -> Result<(Info<'static>, Vec<u8>)> {
    let mut options = DecodeOptions::default();
    options.set_ignore_checksums(false);
    options.set_skip_ancillary_crc_failures(false);
    // Neither text nor color profiles are used, and both may be compressed bombs.
    options.set_ignore_text_chunk(true);
    options.set_ignore_iccp_chunk(true);
    let mut decoder = StreamingDecoder::new_with_options(options);
    let (mut rest, mut stream, mut expected) = (bytes, Vec::new(), 0);
    let (mut region, mut begun, mut over) = (UnfilterRegion::default(), false, false);
    loop {
        ensure!(!rest.is_empty(), "the file is truncated");
        let buffer = (begun && !over).then(|| region.as_buf(&mut stream));
        let (consumed, event) = match buffer {
            Some(mut buffer) => decoder.update(rest, Some(&mut buffer))?,
            None => decoder.update(rest, None)?,
        };
        rest = &rest[consumed..];
        match event {
            Decoded::ChunkBegin(_, chunk::IDAT) if !begun => {
                begun = true;
                expected = stream_length(decoder.info().context("it has no header")?)?;
                // One byte more, to see whether there is more.
                stream.try_reserve_exact(expected + 1).context("there is no memory for its pixels")?;
                stream.resize(expected + 1, 0);
            }
            Decoded::ChunkBegin(_, kind) if !kind.0.iter().all(u8::is_ascii_alphabetic) => {
                bail!("{kind:?} is no chunk")
            }
            Decoded::ImageData => ensure!(region.filled <= expected, "it holds more than the pixels of its size"),
            Decoded::ImageDataFlushed => over = true,
            Decoded::ChunkBegin(_, kind @ (chunk::PLTE | chunk::tRNS)) if begun => {
                bail!("{kind:?} comes after the pixels")
            }
            Decoded::BadAncillaryChunk(chunk::tRNS) => bail!("its transparency is damaged"),
            Decoded::ChunkComplete(chunk::IEND) => break,
            _ => {}
        }
    }
    let info = decoder.info().context("it has no header")?.clone();
    ensure!(region.filled == expected, "its pixels are truncated: {} of {expected} bytes", region.filled);
    stream.truncate(expected);
    Ok((info, stream))
}

/// Rows and columns of the seven passes: first column, first row, steps to the next.
const PASSES: [[usize; 4]; 7] =
    [[0, 0, 8, 8], [4, 0, 8, 8], [0, 4, 4, 8], [2, 0, 4, 4], [0, 2, 2, 4], [1, 0, 2, 2], [0, 1, 1, 2]];

/// Width and height of each pass that has pixels, with its number from 1.
fn passes(info: &Info) -> impl Iterator<Item = (u8, usize, usize)> {
    let (width, height) = (info.width as usize, info.height as usize);
    let size = move |(pass, [x, y, across, down]): (u8, [usize; 4])| {
        (pass, width.saturating_sub(x).div_ceil(across), height.saturating_sub(y).div_ceil(down))
    };
    (1..).zip(PASSES).map(size).filter(|&(_, width, height)| width > 0 && height > 0)
}

fn stream_length(info: &Info) -> Result<usize> {
    let bits = info.bits_per_pixel();
    let rows = |width: usize, height: usize| width.checked_mul(bits)?.div_ceil(8).checked_add(1)?.checked_mul(height);
    let length = match info.interlaced {
        true => passes(info).try_fold(0usize, |sum, (_, width, height)| sum.checked_add(rows(width, height)?)),
        false => rows(info.width as usize, info.height as usize),
    };
    length.context("its size overflows")
}

/// The rows without their filters, one after another in the memory of the stream.
fn rows(info: &Info, stream: &mut Vec<u8>) -> Result<Vec<u8>> {
    let bytes = (info.width as usize * info.bits_per_pixel()).div_ceil(8);
    unfilter_rows(stream, bytes, info)?;
    for row in 0..info.height as usize {
        stream.copy_within(row * (bytes + 1) + 1..(row + 1) * (bytes + 1), row * bytes);
    }
    stream.truncate(info.height as usize * bytes);
    Ok(std::mem::take(stream))
}

fn deinterlace(info: &Info, stream: &mut [u8]) -> Result<Vec<u8>> {
    let bits = info.bits_per_pixel();
    let stride = (info.width as usize * bits).div_ceil(8);
    let mut image = vec![0; stride * info.height as usize];
    let mut rest = stream;
    for (pass, width, height) in passes(info) {
        let bytes = (width * bits).div_ceil(8);
        let (rows, others) = rest.split_at_mut((bytes + 1) * height);
        rest = others;
        unfilter_rows(rows, bytes, info)?;
        for (line, row) in (0..).zip(rows.chunks_exact(bytes + 1)) {
            expand_interlaced_row(&mut image, stride, &row[1..], &Adam7Info::new(pass, line, info.width), bits as u8);
        }
    }
    Ok(image)
}

/// Undoes the filters of rows that each begin with the number of theirs.
fn unfilter_rows(rows: &mut [u8], bytes: usize, info: &Info) -> Result<()> {
    let unfilter = match info.bits_per_pixel().div_ceil(8) {
        1 => unfilter::<1>,
        2 => unfilter::<2>,
        3 => unfilter::<3>,
        4 => unfilter::<4>,
        6 => unfilter::<6>,
        _ => unfilter::<8>,
    };
    let zeros = vec![0; bytes];
    let mut above: &[u8] = &zeros;
    for row in rows.chunks_exact_mut(bytes + 1) {
        let (filter, row) = row.split_at_mut(1);
        ensure!(filter[0] <= 4, "a row has the unknown filter {}", filter[0]);
        unfilter(filter[0], above, row);
        above = row;
    }
    Ok(())
}

/// One row, by the names of the PNG specification: `a` is the byte to the left, `b` the one above, `c` the one above `a`.
fn unfilter<const N: usize>(filter: u8, above: &[u8], row: &mut [u8]) {
    let each = |row: &mut [u8], above: &[u8], predict: fn(u8, u8, u8) -> u8| {
        let (mut a, mut c) = ([0; N], [0; N]);
        for (x, b) in row.as_chunks_mut::<N>().0.iter_mut().zip(above.as_chunks::<N>().0) {
            for i in 0..N {
                x[i] = x[i].wrapping_add(predict(a[i], b[i], c[i]));
            }
            (a, c) = (*x, *b);
        }
    };
    match filter {
        1 => each(row, above, |a, _, _| a),
        2 => row.iter_mut().zip(above).for_each(|(x, b)| *x = x.wrapping_add(*b)),
        3 => each(row, above, |a, b, _| ((u16::from(a) + u16::from(b)) / 2) as u8),
        4 => each(row, above, paeth),
        _ => {}
    }
}

fn paeth(a: u8, b: u8, c: u8) -> u8 {
    let (to_b, to_a) = (i16::from(b) - i16::from(c), i16::from(a) - i16::from(c));
    let (pa, pb, pc) = (to_b.abs(), to_a.abs(), (to_a + to_b).abs());
    let nearest = if pb <= pc { b } else { c };
    if pa <= pb && pa <= pc { a } else { nearest }
}

/// Samples of less than eight bits as bytes.
fn unpack(packed: &[u8], width: usize, bytes_per_row: usize, depth: u8) -> Vec<u8> {
    let per_byte = usize::from(8 / depth);
    let sample = |row: &[u8], x: usize| {
        let shift = 8 - usize::from(depth) * (x % per_byte + 1);
        row[x / per_byte] >> shift & full(depth)
    };
    packed.chunks_exact(bytes_per_row).flat_map(|row| (0..width).map(move |x| sample(row, x))).collect()
}

/// The colors of a palette, with alpha if any of them is transparent.
fn look_up(info: &Info, indices: &[u8]) -> Result<(usize, Vec<u8>)> {
    let palette = info.palette.as_deref().context("it has no palette")?;
    ensure!(palette.len() % 3 == 0, "its palette is damaged");
    let (colors, alpha) = (palette.as_chunks::<3>().0, info.trns.as_deref());
    ensure!(alpha.is_none_or(|alpha| alpha.len() <= colors.len()), "it has more transparent colors than colors");
    let most = indices.iter().max().copied().unwrap_or(0);
    ensure!(usize::from(most) < colors.len(), "a pixel has color {most} of {}", colors.len());
    let color = |index: &u8| colors[usize::from(*index)];
    let Some(alpha) = alpha else { return Ok((3, indices.iter().flat_map(color).collect())) };
    let opacity = |index: &u8| alpha.get(usize::from(*index)).copied().unwrap_or(u8::MAX);
    let pixel = |index: &u8| {
        let [red, green, blue] = color(index);
        [red, green, blue, opacity(index)]
    };
    Ok((4, indices.iter().flat_map(pixel).collect()))
}

/// Adds an alpha channel that is 0 where a pixel has the color that stands for transparency.
fn keyed<T: Copy + Default + PartialEq>(
    samples: Vec<T>,
    channels: usize,
    key: Option<Vec<T>>,
    full: T,
) -> (usize, Vec<T>) {
    let Some(key) = key.filter(|key| key.len() == channels) else { return (channels, samples) };
    let alpha = |pixel: &[T]| if *pixel == key[..] { T::default() } else { full };
    let pixels = samples.chunks_exact(channels);
    (channels + 1, pixels.flat_map(|pixel| pixel.iter().copied().chain([alpha(pixel)])).collect())
}
