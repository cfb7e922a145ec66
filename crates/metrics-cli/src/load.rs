//! From files to tensors, within limits: what a file says of itself is checked before memory is taken for it.

mod array;
mod bmp;
mod exr;
mod format;
mod hdr;
mod jpeg;
mod memory;
mod npy;
mod picture;
mod png;
mod pnm;
mod safetensor;
mod tiff;
mod webp;

use std::fmt;
use std::fs::File;
use std::io::{BufRead, BufReader, Cursor, Read, Seek};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result, anyhow, ensure};
use candle_core::{DType, Tensor};

use crate::args::Alpha;
use format::Format;
pub(crate) use memory::Budget;
use memory::Permit;
use picture::Picture;

/// How files are read.
#[derive(Clone, Debug)]
pub(crate) struct Reading {
    pub(crate) alpha: Alpha,
    pub(crate) data_range: Option<f64>,
    pub(crate) max_pixels: u64,
    /// Whether grey images become RGB even among themselves.
    pub(crate) always_rgb: bool,
    /// Whether pictures may be scored in f64, which not all devices can.
    pub(crate) wide: bool,
    /// What all threads together may take.
    pub(crate) memory: Arc<Budget>,
}

/// Two images as they are scored.
pub(crate) struct Loaded {
    /// `[N, C, H, W]`, f32, or f64 if a file holds what f32 does not.
    pub(crate) reference: Tensor,
    /// Of the same shape and dtype.
    pub(crate) test: Tensor,
    /// The memory that they take, for as long as they are here.
    _memory: Permit,
}

/// The two images of a pair differ in size.
#[derive(Debug)]
pub(crate) struct SizesDiffer(String);

impl fmt::Display for SizesDiffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for SizesDiffer {}

enum Image {
    Picture(Picture),
    /// `[N, C, H, W]`, f32 or f64.
    Array(Tensor),
}

/// What the header of a file says, within the limits.
#[derive(Clone, Copy)]
struct Look {
    /// `[N, C, H, W]`, alpha not counted.
    shape: [usize; 4],
    /// How many bytes its decoder takes for it, the file not counted.
    memory: u64,
    of: Content,
}

#[derive(Clone, Copy)]
enum Content {
    /// Integers that fill `0..=full`.
    Integers { full: u32 },
    /// Numbers without a largest one, which need f64 or not.
    Numbers { wide: bool },
}

impl Look {
    fn picture(width: u32, height: u32, colors: usize, memory: u64) -> Self {
        let shape = [1, colors, height as usize, width as usize];
        Self { shape, memory, of: Content::Integers { full: 255 } }
    }

    fn of_integers(self, full: u32) -> Self {
        Self { of: Content::Integers { full }, ..self }
    }

    fn of_numbers(self, wide: bool) -> Self {
        Self { of: Content::Numbers { wide }, ..self }
    }

    /// The dtype that holds what the file holds.
    fn dtype(&self, reading: &Reading) -> DType {
        let wide = match self.of {
            Content::Integers { full } => reading.wide && !picture::fits_f32(full, reading.data_range.unwrap_or(1.0)),
            Content::Numbers { wide } => wide,
        };
        if wide { DType::F64 } else { DType::F32 }
    }
}

const EXTENSIONS: &[&str] = &[
    "png",
    "jpg",
    "jpeg",
    "jpe",
    "jfif",
    "webp",
    "tif",
    "tiff",
    "bmp",
    "pnm",
    "pbm",
    "pgm",
    "ppm",
    "pam",
    "exr",
    "hdr",
    "npy",
    "safetensors",
];

/// Whether a file in a folder is taken for an image.
pub(crate) fn is_image_name(path: &Path) -> bool {
    extension(path).is_some_and(|extension| EXTENSIONS.contains(&extension.as_str()))
}

/// Two images, brought to the same number of channels: grey is RGB beside RGB.
///
/// Pictures fill `0..=R`, where `R` is the data range or 1; arrays and float pictures are taken as they are.
pub(crate) fn pair(reference: &Path, test: &Path, reading: &Reading) -> Result<Loaded> {
    let files = [Opened::new(reference, reading)?, Opened::new(test, reading)?];
    let [shape_a, shape_b] = files.each_ref().map(|file| file.look.shape);
    let channels = channels(shape_a[1], shape_b[1], reading.always_rgb);
    let same_sides = [shape_a[0], shape_a[2], shape_a[3]] == [shape_b[0], shape_b[2], shape_b[3]];
    let Some(channels) = channels.filter(|_| same_sides) else {
        let (size_a, size_b) = sizes(shape_a, shape_b);
        let message = format!("{} is {size_a} but {} is {size_b}", reference.display(), test.display());
        return Err(SizesDiffer(message).into());
    };
    let dtypes = files.each_ref().map(|file| file.look.dtype(reading));
    let dtype = if dtypes.contains(&DType::F64) { DType::F64 } else { DType::F32 };
    let memory = reading.memory.take(needed(&files, channels, dtype));
    let memory = memory.with_context(|| format!("cannot read {} and {}", reference.display(), test.display()))?;
    let [reference, test] = files.map(|file| file.into_tensor(channels, dtype, reading));
    Ok(Loaded { reference: reference?, test: test?, _memory: memory })
}

/// The most bytes that reading and scoring a pair takes: one file after the other is decoded, and both are tensors then.
fn needed(files: &[Opened; 2], channels: usize, dtype: DType) -> u64 {
    let decoding = files.each_ref().map(|file| file.length.saturating_add(file.look.memory));
    let [n, _, height, width] = files[0].look.shape;
    let tensor = [n, channels, height, width, dtype.size_in_bytes()].map(|size| size as u64);
    let tensor = tensor.into_iter().fold(1, u64::saturating_mul);
    // As much again for scoring: copies for another device, or the smaller scales of MS-SSIM.
    decoding[0].max(decoding[1]).saturating_add(tensor.saturating_mul(3))
}

/// In how many channels two images are scored: grey adapts, other numbers must agree.
fn channels(a: usize, b: usize, always_rgb: bool) -> Option<usize> {
    match (a, b) {
        (1, 1) if always_rgb => Some(3),
        (a, b) if a == b => Some(a),
        (1, channels) | (channels, 1) => Some(channels),
        _ => None,
    }
}

/// As `width×height` if that tells them apart, else as shapes.
fn sizes(a: [usize; 4], b: [usize; 4]) -> (String, String) {
    if (a[2], a[3]) != (b[2], b[3]) && a[0] == b[0] {
        return (format!("{}×{}", a[3], a[2]), format!("{}×{}", b[3], b[2]));
    }
    (format!("{a:?} (N, C, H, W)"), format!("{b:?}"))
}

/// A file whose header has been read.
struct Opened {
    path: PathBuf,
    file: BufReader<File>,
    length: u64,
    format: Format,
    look: Look,
}

impl Opened {
    fn new(path: &Path, reading: &Reading) -> Result<Self> {
        let file = Self::open(path, reading.max_pixels).with_context(|| format!("cannot read {}", path.display()))?;
        let floats = matches!(file.look.of, Content::Numbers { .. });
        ensure!(
            !floats || reading.data_range.is_some(),
            "{} holds numbers of unknown range: give `--data-range`, e.g. 1 for 0..=1 or 255 for 0..=255",
            path.display()
        );
        Ok(file)
    }

    fn open(path: &Path, max_pixels: u64) -> Result<Self> {
        let metadata = std::fs::metadata(path)?;
        ensure!(!metadata.is_dir(), "it is a folder");
        // To open a pipe would wait for somebody to write to it.
        ensure!(metadata.is_file(), "it is not a regular file");
        let (length, most) = (metadata.len(), most_bytes(max_pixels));
        ensure!(length > 0, "the file is empty");
        ensure!(length <= most, "it has {length} bytes, but {most} are the most for `--max-pixels` {max_pixels}");
        let mut file = BufReader::new(File::open(path)?);
        let format = Format::of(path, file.fill_buf()?)?;
        let look = guarded(|| format.look(&mut file, length, max_pixels))?;
        Ok(Self { path: path.into(), file, length, format, look })
    }

    fn into_tensor(mut self, channels: usize, dtype: DType, reading: &Reading) -> Result<Tensor> {
        let path = self.path.display();
        let image = decode(&mut self.file, self.length, self.format, &self.look, reading.max_pixels);
        let image = image.with_context(|| format!("cannot read {path}"))?;
        if let Image::Picture(picture) = &image {
            ensure!(
                reading.alpha != Alpha::Error || picture.is_opaque(),
                "{path} is partly transparent; `--alpha ignore` drops that, `--alpha composite` puts it on white"
            );
        }
        image.into_tensor(channels, dtype, reading)
    }
}

/// As many bytes may a file have: the numbers of four channels in f64, and what else it may hold.
fn most_bytes(max_pixels: u64) -> u64 {
    max_pixels.saturating_mul(32).saturating_add(1 << 26)
}

/// What decoders make of what strangers wrote. One that panics has found that a file is damaged, and not said so.
fn guarded<T>(read: impl FnOnce() -> Result<T>) -> Result<T> {
    catch_unwind(AssertUnwindSafe(read)).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str).or(panic.downcast_ref::<&str>().copied());
        Err(anyhow!("its data are damaged: the decoder panics with `{}`", text.unwrap_or("no message")))
    })
}

/// The image of a file that has been looked at.
fn decode(file: &mut (impl Read + Seek), length: u64, format: Format, look: &Look, max_pixels: u64) -> Result<Image> {
    let mut bytes = Vec::new();
    bytes.try_reserve_exact(usize::try_from(length)?).context("there is no memory for the file")?;
    file.rewind()?;
    file.take(length).read_to_end(&mut bytes)?;
    let image = guarded(|| format.decode(&bytes, max_pixels))?;
    ensure!(image.shape() == look.shape, "the file was changed while it was read");
    Ok(image)
}

fn extension(path: &Path) -> Option<String> {
    Some(path.extension()?.to_str()?.to_ascii_lowercase())
}

impl Image {
    fn shape(&self) -> [usize; 4] {
        match self {
            Self::Picture(picture) => picture.shape(),
            Self::Array(array) => {
                let dims = array.dims();
                std::array::from_fn(|axis| dims.get(axis).copied().unwrap_or(1))
            }
        }
    }

    fn into_tensor(self, channels: usize, dtype: DType, reading: &Reading) -> Result<Tensor> {
        match self {
            Self::Picture(picture) => {
                let (range, composite) = (reading.data_range.unwrap_or(1.0), reading.alpha == Alpha::Composite);
                picture.into_tensor(channels, range, composite, dtype)
            }
            Self::Array(array) => {
                let (n, _, height, width) = array.dims4()?;
                Ok(array.broadcast_as((n, channels, height, width))?.contiguous()?.to_dtype(dtype)?)
            }
        }
    }
}

/// The numbers of a file as they are stored, integers not scaled: `[N, H, W, C]` and all of them, alpha left out. Whatever the bytes are,
/// they give an image or an error.
pub fn numbers(bytes: &[u8]) -> Result<([usize; 4], Vec<f64>)> {
    const LIMIT: u64 = 1 << 16;
    let format = if bytes.starts_with(npy::MAGIC) { Some(Format::Npy) } else { Format::of_picture(bytes) };
    let (format, length) = (format.unwrap_or(Format::Safetensors), bytes.len() as u64);
    let look = guarded(|| format.look(&mut Cursor::new(bytes), length, LIMIT))?;
    let range = if let Content::Integers { full } = look.of { full.into() } else { 1.0 };
    let reading = Reading {
        alpha: Alpha::Ignore,
        data_range: Some(range),
        max_pixels: LIMIT,
        always_rgb: false,
        wide: true,
        memory: Budget::new(0),
    };
    let image = decode(&mut Cursor::new(bytes), length, format, &look, LIMIT)?;
    let [n, channels, height, width] = look.shape;
    let tensor = image.into_tensor(channels, DType::F64, &reading)?;
    Ok(([n, height, width, channels], tensor.permute((0, 2, 3, 1))?.flatten_all()?.to_vec1()?))
}
