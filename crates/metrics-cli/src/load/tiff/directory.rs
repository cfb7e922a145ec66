//! The first directory of a TIFF file as it is stored. Readers do not agree on one whose tags are there twice or of a wrong type: some take the
//! first, some the last, and some the usual number instead.

use std::io::{Read, Seek, SeekFrom};

use anyhow::{Context, Result, bail, ensure};
use tiff::tags::Tag;

/// As many tags as there are, many times over.
const MOST_TAGS: u64 = 1 << 12;

const SHORT: u16 = 3;
const LONG: u16 = 4;
const LONG8: u16 = 16;

pub(super) fn check(file: &mut (impl Read + Seek)) -> Result<()> {
    let mut numbers = Numbers { file, big_endian: false };
    let start: [u8; 2] = numbers.bytes()?;
    numbers.big_endian = &start == b"MM";
    let big = match numbers.read(2)? {
        42 => false,
        43 => {
            numbers.read(4)?;
            true
        }
        version => bail!("it has version {version}, expected 42 or 43"),
    };
    let offset = numbers.read(if big { 8 } else { 4 })?;
    numbers.file.seek(SeekFrom::Start(offset))?;
    let count = numbers.read(if big { 8 } else { 2 })?;
    ensure!(count <= MOST_TAGS, "its directory has {count} tags");
    let mut last = None;
    for _ in 0..count {
        let (tag, kind) = (numbers.read(2)? as u16, numbers.read(2)? as u16);
        let length = numbers.read(if big { 8 } else { 4 })?;
        numbers.read(if big { 8 } else { 4 })?;
        ensure!(last < Some(tag), "its directory is damaged: tag {tag} is out of order");
        last = Some(tag);
        check_kind(tag, kind, length)?;
    }
    Ok(())
}

/// The tags that decide what pixels are.
fn check_kind(tag: u16, kind: u16, length: u64) -> Result<()> {
    let usual = match Tag::from_u16_exhaustive(tag) {
        Tag::Compression
        | Tag::PhotometricInterpretation
        | Tag::FillOrder
        | Tag::SamplesPerPixel
        | Tag::PlanarConfiguration
        | Tag::Predictor => kind == SHORT && length == 1,
        Tag::ImageWidth | Tag::ImageLength | Tag::RowsPerStrip | Tag::TileWidth | Tag::TileLength => {
            matches!(kind, SHORT | LONG) && length == 1
        }
        Tag::BitsPerSample | Tag::SampleFormat | Tag::ExtraSamples => kind == SHORT,
        Tag::StripOffsets | Tag::StripByteCounts | Tag::TileOffsets | Tag::TileByteCounts => {
            matches!(kind, SHORT | LONG | LONG8)
        }
        _ => true,
    };
    ensure!(usual, "its directory is damaged: tag {tag} has {length} numbers of type {kind}");
    Ok(())
}

struct Numbers<'a, R> {
    file: &'a mut R,
    big_endian: bool,
}

impl<R: Read> Numbers<'_, R> {
    fn bytes<const N: usize>(&mut self) -> Result<[u8; N]> {
        let mut bytes = [0; N];
        self.file.read_exact(&mut bytes).context("the file is truncated")?;
        Ok(bytes)
    }

    /// A number of so many bytes, at most eight.
    fn read(&mut self, size: usize) -> Result<u64> {
        let mut bytes = [0; 8];
        self.file.read_exact(&mut bytes[..size]).context("the file is truncated")?;
        let fold = |number: u64, byte: &u8| number << 8 | u64::from(*byte);
        let bytes = &bytes[..size];
        Ok(if self.big_endian { bytes.iter().fold(0, fold) } else { bytes.iter().rev().fold(0, fold) })
    }
}
