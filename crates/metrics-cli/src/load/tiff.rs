//! TIFF files. Those that one knows the right numbers of are read, and all others are refused: numbers of one kind are never taken for
//! those of another.

use std::io::{self, BufRead, Cursor, Seek};

use anyhow::{Context, Result, bail, ensure};
use flate2::read::ZlibDecoder;
use tiff::ColorType;
use tiff::decoder::{ChunkType, Decoder, DecodingResult, Limits};
use tiff::tags::{
    CompressionMethod as Compression, ExtraSamples, PhotometricInterpretation as Photometric, SampleFormat, Tag,
};

use super::Look;
use super::picture::{Picture, Samples, check_size};

mod directory;

/// Tables of where the pixels are may be that large: as large as the files that they are of need them.
const TABLES: usize = 1 << 20;
const WORKING_MEMORY: u64 = 1 << 22;

/// No data begin before this.
const HEADER: u64 = 8;

/// What the tags say.
struct Layout {
    width: u32,
    height: u32,
    color: ColorType,
    format: SampleFormat,
    /// Colors, and one more for alpha.
    channels: usize,
    premultiplied: bool,
    compression: Compression,
}

/// The size of strips or tiles, and where each is in the file: offset and length.
struct Chunks {
    width: u32,
    height: u32,
    places: Vec<(u64, u64)>,
}

pub(super) fn look(file: &mut (impl BufRead + Seek), length: u64, max_pixels: u64) -> Result<Look> {
    directory::check(file)?;
    file.rewind()?;
    let layout = Layout::of(&mut Decoder::new(file)?, length, max_pixels)?;
    let pixels = u64::from(layout.width) * u64::from(layout.height);
    let sample = u64::from(layout.color.bit_depth()).div_ceil(8);
    // Samples as they are stored, in planes or together, and as they are scored.
    let numbers = layout.channels as u64;
    let memory = pixels.saturating_mul(numbers * (2 * sample + 8)).saturating_add(WORKING_MEMORY);
    let look = Look::picture(layout.width, layout.height, if layout.channels < 3 { 1 } else { 3 }, memory);
    Ok(match layout.full() {
        Some(full) => look.of_integers(full),
        None => look.of_numbers(!matches!((layout.format, layout.color.bit_depth()), (SampleFormat::IEEEFP, 16 | 32))),
    })
}

pub(super) fn decode(bytes: &[u8], max_pixels: u64) -> Result<Picture> {
    let mut decoder = Decoder::new(Cursor::new(bytes))?;
    let layout = Layout::of(&mut decoder, bytes.len() as u64, max_pixels)?;
    layout.check_pixels(&mut decoder, bytes)?;
    let mut limits = Limits::default();
    limits.ifd_value_size = TABLES;
    limits.decoding_buffer_size = usize::try_from(max_pixels.saturating_mul(4 * 8)).unwrap_or(usize::MAX);
    limits.intermediate_buffer_size = bytes.len();
    let mut decoder = decoder.with_limits(limits);
    let mut samples = DecodingResult::U8(Vec::new());
    let planes = decoder.read_image_to_buffer(&mut samples)?.planes;
    let pixels = layout.width as usize * layout.height as usize;
    Ok(layout.picture(match samples {
        DecodingResult::U8(samples) if layout.color.bit_depth() < 8 => Samples::U8(layout.unpack(&samples)),
        DecodingResult::U8(samples) => Samples::U8(together(samples, planes, pixels)?),
        DecodingResult::U16(samples) => Samples::U16(together(samples, planes, pixels)?),
        DecodingResult::F16(samples) => {
            Samples::F32(together(samples, planes, pixels)?.iter().map(|x| x.to_f32()).collect())
        }
        DecodingResult::F32(samples) => Samples::F32(together(samples, planes, pixels)?),
        DecodingResult::F64(samples) => Samples::F64(together(samples, planes, pixels)?),
        DecodingResult::I8(samples) => exactly(together(samples, planes, pixels)?),
        DecodingResult::I16(samples) => exactly(together(samples, planes, pixels)?),
        DecodingResult::I32(samples) => exactly(together(samples, planes, pixels)?),
        DecodingResult::U32(samples) => exactly(together(samples, planes, pixels)?),
        _ => bail!("its samples are 64-bit integers, which no float holds"),
    }))
}

/// Planes of samples as pixels.
fn together<T: Copy>(samples: Vec<T>, planes: usize, pixels: usize) -> Result<Vec<T>> {
    if planes < 2 {
        return Ok(samples);
    }
    ensure!(samples.len() == planes * pixels, "some of its planes are missing");
    Ok((0..pixels).flat_map(|pixel| samples[pixel..].iter().step_by(pixels).copied()).collect())
}

fn exactly<T: Into<f64>>(samples: Vec<T>) -> Samples {
    Samples::F64(samples.into_iter().map(Into::into).collect())
}

impl Layout {
    fn of(decoder: &mut Decoder<impl BufRead + Seek>, length: u64, max_pixels: u64) -> Result<Self> {
        let (width, height) = decoder.dimensions()?;
        check_size(width.into(), height.into(), max_pixels)?;
        let mut number = |tag| -> Result<Option<u16>> { Ok(decoder.find_tag_unsigned(tag)?) };
        let compression = Compression::from_u16_exhaustive(number(Tag::Compression)?.unwrap_or(1));
        let photometric = number(Tag::PhotometricInterpretation)?.and_then(Photometric::from_u16);
        ensure!(
            number(Tag::FillOrder)?.unwrap_or(1) == 1,
            "it is a TIFF file whose bits are in reverse order, which is not read"
        );
        let predictor = number(Tag::Predictor)?.unwrap_or(1);
        let (lossless, predicted) = match compression {
            Compression::None | Compression::PackBits => (true, false),
            Compression::LZW | Compression::Deflate | Compression::OldDeflate => (true, true),
            _ => (false, false),
        };
        ensure!(
            lossless,
            "it is a TIFF file with compression {compression:?}, expected none, LZW, Deflate or PackBits"
        );
        ensure!(predicted || predictor == 1, "it is a TIFF file with a predictor and compression {compression:?}");
        let extra = decoder.find_tag_unsigned_vec::<u16>(Tag::ExtraSamples)?.unwrap_or_default();
        let color = decoder.colortype()?;
        let colors = match photometric {
            Some(Photometric::BlackIsZero | Photometric::WhiteIsZero) => 1,
            Some(Photometric::RGB) => 3,
            Some(Photometric::CMYK) if extra.is_empty() => 4,
            other => bail!("it is a TIFF file of colors that are not read ({other:?}), expected grey, RGB or CMYK"),
        };
        let alpha = match extra[..] {
            [] => false,
            [kind]
                if [ExtraSamples::AssociatedAlpha, ExtraSamples::UnassociatedAlpha]
                    .map(|kind| kind.to_u16())
                    .contains(&kind) =>
            {
                true
            }
            _ => bail!("it is a TIFF file with channels that are neither color nor transparency"),
        };
        let premultiplied = alpha && extra[0] == ExtraSamples::AssociatedAlpha.to_u16();
        let channels = colors + usize::from(alpha);
        let expected = decoder.find_tag_unsigned(Tag::SamplesPerPixel)?.unwrap_or(1usize);
        ensure!(expected == channels, "it is a TIFF file of {expected} channels, expected {channels}");
        let formats = decoder.find_tag_unsigned_vec::<u16>(Tag::SampleFormat)?.unwrap_or_default();
        let format = formats.first().map_or(SampleFormat::Uint, |&format| SampleFormat::from_u16_exhaustive(format));
        let layout = Self { width, height, color, format, channels, premultiplied, compression };
        layout.check_samples(&formats)?;
        layout.check_chunks(decoder, length, max_pixels)?;
        Ok(layout)
    }

    fn check_samples(&self, formats: &[u16]) -> Result<()> {
        let bits = self.color.bit_depth();
        ensure!(
            formats.iter().all(|&format| format == self.format.to_u16()),
            "its channels have samples of several kinds"
        );
        let known = match self.format {
            SampleFormat::Uint => matches!(bits, 8 | 16 | 32) || (matches!(bits, 1 | 2 | 4) && self.channels == 1),
            SampleFormat::Int => matches!(bits, 8 | 16 | 32),
            SampleFormat::IEEEFP => matches!(bits, 16 | 32 | 64),
            _ => false,
        };
        ensure!(
            known,
            "it is a TIFF file with {bits}-bit samples of kind {:?}, expected integers of up to 32 bits or floats",
            self.format
        );
        let plain = self.full().is_some() || self.format == SampleFormat::IEEEFP && bits < 64;
        ensure!(plain || matches!(self.channels, 1 | 3), "it is a TIFF file with transparency in {bits}-bit numbers");
        ensure!(self.full().is_some() || !self.is_cmyk(), "it is a TIFF file of CMYK in {bits}-bit numbers");
        Ok(())
    }

    fn is_cmyk(&self) -> bool {
        matches!(self.color, ColorType::CMYK(_))
    }

    /// The largest sample, of integers that fill their bits.
    fn full(&self) -> Option<u32> {
        let bits = self.color.bit_depth();
        (self.format == SampleFormat::Uint && bits <= 16).then(|| (1 << bits) - 1)
    }

    fn chunks(&self, decoder: &mut Decoder<impl BufRead + Seek>) -> Result<Chunks> {
        let (width, mut height) = decoder.chunk_dimensions();
        let tags = match decoder.get_chunk_type() {
            ChunkType::Strip => {
                height = height.min(self.height);
                [Tag::StripOffsets, Tag::StripByteCounts]
            }
            ChunkType::Tile => [Tag::TileOffsets, Tag::TileByteCounts],
        };
        let [offsets, sizes] = tags.map(|tag| decoder.find_tag_unsigned_vec::<u64>(tag));
        let (offsets, sizes) = (offsets?.unwrap_or_default(), sizes?.unwrap_or_default());
        Ok(Chunks { width, height, places: offsets.into_iter().zip(sizes).collect() })
    }

    /// Tiles may be larger than the picture, and tables may point behind the end.
    fn check_chunks(&self, decoder: &mut Decoder<impl BufRead + Seek>, length: u64, max_pixels: u64) -> Result<()> {
        let Chunks { width, height, places } = self.chunks(decoder)?;
        check_size(width.into(), height.into(), max_pixels).context("its tiles")?;
        let within = |&(offset, size): &(u64, u64)| offset.checked_add(size).is_some_and(|end| end <= length);
        ensure!(places.iter().all(within), "the file is truncated");
        ensure!(places.iter().all(|&(offset, _)| offset >= HEADER), "its pixels begin within its header");
        Ok(())
    }

    /// What the decoder does not look at: whether stored pixels are all there, and the checksums of compressed ones.
    fn check_pixels(&self, decoder: &mut Decoder<Cursor<&[u8]>>, bytes: &[u8]) -> Result<()> {
        let planar = decoder.find_tag_unsigned(Tag::PlanarConfiguration)?.unwrap_or(1u16) == 2;
        let strips = decoder.get_chunk_type() == ChunkType::Strip;
        let Chunks { width, height, places } = self.chunks(decoder)?;
        let samples = if planar { 1 } else { self.channels as u64 };
        let row = (u64::from(width) * samples * u64::from(self.color.bit_depth())).div_ceil(8);
        let down = u64::from(self.height.div_ceil(height));
        for (index, (offset, size)) in (0..).zip(places) {
            let above = index % down * u64::from(height);
            let rows = if strips { u64::from(height).min(u64::from(self.height) - above) } else { height.into() };
            let chunk = bytes.get(usize::try_from(offset)?..usize::try_from(offset + size)?);
            let chunk = chunk.context("the file is truncated")?;
            let length = match self.compression {
                Compression::None => chunk.len() as u64,
                Compression::Deflate | Compression::OldDeflate => inflated(chunk, row * rows)?,
                Compression::LZW => decoded(chunk, row * rows)?,
                Compression::PackBits => unpacked(chunk, row * rows)?,
                _ => bail!("it is compressed in a way that is not read"),
            };
            ensure!(length >= row * rows, "its pixels are truncated: {length} of {} bytes", row * rows);
        }
        Ok(())
    }

    /// Samples of less than eight bits, whose rows begin with a byte.
    fn unpack(&self, packed: &[u8]) -> Vec<u8> {
        let (bits, width) = (usize::from(self.color.bit_depth()), self.width as usize);
        let sample = |row: &[u8], x: usize| row[x * bits / 8] >> (8 - bits - x * bits % 8) & ((1 << bits) - 1);
        packed
            .chunks_exact((width * bits).div_ceil(8))
            .flat_map(|row| (0..width).map(move |x| sample(row, x)))
            .collect()
    }

    fn picture(&self, samples: Samples) -> Picture {
        let (width, height) = (self.width as usize, self.height as usize);
        let picture = match (self.is_cmyk(), samples) {
            (true, Samples::U8(samples)) => Picture::new(width, height, 3, Samples::U8(from_cmyk(&samples, u8::MAX))),
            (true, Samples::U16(samples)) => {
                Picture::new(width, height, 3, Samples::U16(from_cmyk(&samples, u16::MAX)))
            }
            (_, samples) => Picture::new(width, height, self.channels, samples),
        };
        let picture = self.full().map_or(picture.clone(), |full| picture.of_full(full));
        if self.premultiplied { picture.premultiplied() } else { picture }
    }
}

/// How long the data of a chunk are, whose checksum is right.
fn inflated(chunk: &[u8], expected: u64) -> Result<u64> {
    // A chunk of few bytes can hold very many zeros.
    let mut data = io::Read::take(ZlibDecoder::new(chunk), expected.saturating_add(1 << 20));
    io::copy(&mut data, &mut io::sink()).context("its pixels are damaged")
}

/// How long the data of a chunk are, all of whose codes stand for something.
fn decoded(chunk: &[u8], expected: u64) -> Result<u64> {
    let mut written = Counter { length: 0, most: expected.saturating_add(1 << 20) };
    let mut decoder = weezl::decode::Decoder::with_tiff_size_switch(weezl::BitOrder::Msb, 8);
    let status = decoder.into_stream(&mut written).decode_all(chunk).status;
    // The code for the end may be missing, and behind the pixels there may be anything.
    let damaged = status.is_err_and(|error| error.kind() == io::ErrorKind::InvalidData);
    ensure!(!damaged, "its pixels are damaged");
    Ok(written.length)
}

/// Counts what is written, up to a limit.
struct Counter {
    length: u64,
    most: u64,
}

impl io::Write for Counter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.length += bytes.len() as u64;
        if self.length > self.most { Err(io::ErrorKind::StorageFull.into()) } else { Ok(bytes.len()) }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// How long the runs of a chunk are, the last of which ends with the pixels.
fn unpacked(chunk: &[u8], expected: u64) -> Result<u64> {
    let (mut at, mut length) = (0, 0);
    while length < expected {
        let Some(&header) = chunk.get(at) else { break };
        match header.cast_signed() {
            -128 => at += 1,
            run @ ..0 => (at, length) = (at + 2, length + 1 + u64::from(run.unsigned_abs())),
            run => (at, length) = (at + 2 + run as usize, length + 1 + run as u64),
        }
    }
    ensure!(length <= expected && at <= chunk.len(), "its pixels are damaged: a run of them is too long");
    Ok(length)
}

/// What all inks leave of the light.
fn from_cmyk<T: Copy + Into<u64> + TryFrom<u64>>(samples: &[T], full: T) -> Vec<T> {
    let largest: u64 = full.into();
    let left = |ink: T, black: T| {
        let light = (largest - ink.into()) * (largest - black.into());
        T::try_from((light + largest / 2) / largest).unwrap_or(full)
    };
    samples.as_chunks::<4>().0.iter().flat_map(|&[c, m, y, k]| [left(c, k), left(m, k), left(y, k)]).collect()
}
