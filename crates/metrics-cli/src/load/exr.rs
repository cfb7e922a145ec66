//! OpenEXR files: the first layer with channels R, G, B and perhaps A, as it lies in the display window.

use std::io::{BufRead, Cursor, Seek};

use anyhow::{Context, Result, ensure};
use exr::block;
use exr::math::Vec2;
use exr::meta::BlockDescription;
use exr::meta::attribute::{SampleType, Text};
use exr::meta::header::Header;
use exr::prelude::{ReadChannels, ReadLayers, read};

use super::Look;
use super::picture::{Picture, Samples, check_size};

/// The largest size in bytes of a pixel with all its channels, and how many pieces a picture may be cut into.
const PIXEL: u64 = 64;
const MOST_HEADERS: usize = 64;

pub(super) fn look(file: &mut (impl BufRead + Seek), max_pixels: u64) -> Result<Look> {
    let headers = block::read(file, true).map_err(plain)?;
    let header = check(headers.headers(), max_pixels)?;
    let display = header.shared_attributes.display_window.size;
    let pixels = display.area() as u64 + header.layer_size.area() as u64;
    // Samples, places that have been read, and blocks packed and unpacked.
    let memory = pixels.saturating_mul(2 * PIXEL).saturating_add(1 << 22);
    Ok(Look::picture(display.width() as u32, display.height() as u32, 3, memory).of_numbers(false))
}

/// Refuses numbers that memory would be taken for, and gives the layer that is read.
fn check(headers: &[Header], max_pixels: u64) -> Result<&Header> {
    ensure!(headers.len() <= MOST_HEADERS, "it has {} layers, expected at most {MOST_HEADERS}", headers.len());
    for header in headers {
        let area = |size: Vec2<usize>| check_size(size.width() as u64, size.height() as u64, max_pixels);
        let pixels = area(header.layer_size).context("the data window")?;
        area(header.shared_attributes.display_window.size).context("the display window")?;
        if let BlockDescription::Tiles(tiles) = header.blocks {
            area(tiles.tile_size).context("its tiles")?;
        }
        let pixel = header.channels.bytes_per_pixel as u64;
        ensure!(pixel <= PIXEL, "its pixels have {pixel} bytes, expected at most {PIXEL}");
        ensure!(header.chunk_count as u64 <= 2 * pixels + 64, "it is cut into {} blocks", header.chunk_count);
    }
    let sample = |header: &Header, name: &str| {
        let index = header.channels.find_index_of_channel(&Text::from(name))?;
        Some(header.channels.list[index].sample_type)
    };
    let is_rgb = |header: &&Header| !header.deep && ["R", "G", "B"].iter().all(|name| sample(header, name).is_some());
    let header = headers.iter().find(is_rgb).context("it has no layer with channels R, G and B")?;
    let integers = ["R", "G", "B", "A"].iter().any(|name| sample(header, name) == Some(SampleType::U32));
    ensure!(!integers, "its channels are 32-bit integers, expected f16 or f32");
    Ok(header)
}

/// Where a layer is drawn.
struct Canvas {
    samples: Vec<f32>,
    /// The pixels of the data window that were in a block: blocks may be there twice, and others not at all.
    seen: Vec<bool>,
}

pub(super) fn decode(bytes: &[u8], max_pixels: u64) -> Result<Picture> {
    check_windows(bytes)?;
    let reader = block::read(Cursor::new(bytes), true).map_err(plain)?;
    let header = check(reader.headers(), max_pixels)?;
    let (display, position) = (header.shared_attributes.display_window, header.own_attributes.layer_position);
    let channels = if header.channels.find_index_of_channel(&Text::from("A")).is_some() { 4 } else { 3 };
    let (offset, data) = (position - display.position, header.layer_size);
    let (width, height) = (display.size.width(), display.size.height());
    let layer = read()
        .no_deep_data()
        .largest_resolution_level()
        .rgba_channels(
            move |_, _| Canvas { samples: vec![0.0; width * height * channels], seen: vec![false; data.area()] },
            move |canvas: &mut Canvas, place: Vec2<usize>, (r, g, b, a): (f32, f32, f32, f32)| {
                if let Some(seen) = canvas.seen.get_mut(place.y() * data.width() + place.x()) {
                    *seen = true;
                }
                let (x, y) = (place.x() as i64 + i64::from(offset.x()), place.y() as i64 + i64::from(offset.y()));
                let (Ok(x), Ok(y)) = (usize::try_from(x), usize::try_from(y)) else { return };
                if x < width && y < height {
                    let at = (y * width + x) * channels;
                    canvas.samples[at..at + channels].copy_from_slice(&[r, g, b, a][..channels]);
                }
            },
        )
        .first_valid_layer()
        .all_attributes()
        .non_parallel()
        .pedantic()
        .from_chunks(reader)
        .map_err(plain)?
        .layer_data;
    ensure!(layer.size == data, "its first layer is not the one with channels R, G and B");
    let Canvas { samples, seen } = layer.channel_data.pixels;
    let missing = seen.iter().filter(|seen| !**seen).count();
    ensure!(missing == 0, "{missing} of its {} pixels are missing", data.area());
    // OpenEXR says so of all its files.
    Ok(Picture::new(width, height, channels, Samples::F32(samples)).premultiplied())
}

/// The crate takes a window whose ends are in the wrong order for one from the lower to the higher, and other versions for its own.
fn check_windows(bytes: &[u8]) -> Result<()> {
    ensure!(matches!(bytes.get(4), Some(1 | 2)), "it is of another version of OpenEXR than 2");
    for (name, attribute) in [
        ("the display window", &b"displayWindow\0box2i\0\x10\0\0\0"[..]),
        ("the data window", b"dataWindow\0box2i\0\x10\0\0\0"),
    ] {
        let places = bytes.windows(attribute.len()).position(|window| window == attribute);
        let ends = places.and_then(|at| bytes.get(at + attribute.len()..)?.first_chunk::<16>());
        let ends = ends.with_context(|| format!("{name} is missing"))?;
        let end = |at: usize| i32::from_le_bytes([ends[at], ends[at + 1], ends[at + 2], ends[at + 3]]);
        let [left, top, right, bottom] = [0, 4, 8, 12].map(end);
        ensure!(left <= right && top <= bottom, "{name} is from ({left}, {top}) to ({right}, {bottom})");
    }
    Ok(())
}

/// Its errors cannot be sent to other threads.
fn plain(error: exr::error::Error) -> anyhow::Error {
    anyhow::anyhow!("{error}")
}
