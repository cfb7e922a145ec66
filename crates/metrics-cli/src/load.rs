//! From files to tensors, within limits: what a file says of itself is checked before memory is taken for it.

mod jpeg;
mod npy;
mod picture;
mod safetensor;
mod tiff;

use std::fmt;
use std::io::Cursor;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use candle_core::{DType, Device, Tensor};

use crate::args::Alpha;
use picture::Picture;

/// How files are read.
#[derive(Clone, Debug)]
pub(crate) struct Reading {
    pub(crate) alpha: Alpha,
    pub(crate) data_range: Option<f64>,
    pub(crate) max_pixels: u64,
    /// Whether grey images become RGB even among themselves.
    pub(crate) always_rgb: bool,
}

/// Two images as they are scored.
pub(crate) struct Loaded {
    /// `[N, C, H, W]`, f32, or f64 if a file holds that.
    pub(crate) reference: Tensor,
    /// Of the same shape and dtype.
    pub(crate) test: Tensor,
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
    let images = [read(reference, reading)?, read(test, reading)?];
    let [shape_a, shape_b] = images.each_ref().map(Image::shape);
    let channels = channels(shape_a[1], shape_b[1], reading.always_rgb);
    let same_sides = [shape_a[0], shape_a[2], shape_a[3]] == [shape_b[0], shape_b[2], shape_b[3]];
    let Some(channels) = channels.filter(|_| same_sides) else {
        let (size_a, size_b) = sizes(shape_a, shape_b);
        let message = format!("{} is {size_a} but {} is {size_b}", reference.display(), test.display());
        return Err(SizesDiffer(message).into());
    };
    let [reference, test] = images.map(|image| image.into_tensor(channels, reading));
    let (reference, test) = (reference?, test?);
    let dtype = if [reference.dtype(), test.dtype()].contains(&DType::F64) { DType::F64 } else { DType::F32 };
    Ok(Loaded { reference: reference.to_dtype(dtype)?, test: test.to_dtype(dtype)? })
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

fn read(path: &Path, reading: &Reading) -> Result<Image> {
    let cannot_read = || format!("cannot read {}", path.display());
    let image = read_kind(path, reading).with_context(cannot_read)?;
    let floats = matches!(&image, Image::Array(_)) || matches!(&image, Image::Picture(picture) if picture.is_float());
    ensure!(
        !floats || reading.data_range.is_some(),
        "{} holds numbers of unknown range: give `--data-range`, e.g. 1 for 0..=1 or 255 for 0..=255",
        path.display()
    );
    if let Image::Picture(picture) = &image {
        let fine = reading.alpha != Alpha::Error || picture.is_opaque();
        ensure!(
            fine,
            "{} is partly transparent; `--alpha ignore` drops that, `--alpha composite` puts it on white",
            path.display()
        );
    }
    Ok(image)
}

fn read_kind(path: &Path, reading: &Reading) -> Result<Image> {
    let metadata = std::fs::metadata(path)?;
    ensure!(!metadata.is_dir(), "it is a folder");
    // To open a pipe would wait for somebody to write to it.
    ensure!(metadata.is_file(), "it is not a regular file");
    ensure!(metadata.len() > 0, "the file is empty");
    let limit = reading.max_pixels;
    match extension(path).as_deref() {
        Some("npy") => Ok(Image::Array(npy::read(std::fs::File::open(path)?, limit)?)),
        Some("safetensors") => Ok(Image::Array(safetensor::read(std::fs::File::open(path)?, limit)?)),
        _ => Ok(Image::Picture(Picture::read(std::io::BufReader::new(std::fs::File::open(path)?), limit)?)),
    }
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

    fn into_tensor(self, channels: usize, reading: &Reading) -> Result<Tensor> {
        match self {
            Self::Picture(picture) => {
                let (shape, range) = (picture.shape(), reading.data_range.unwrap_or(1.0));
                let values = picture.into_planes(channels, range, reading.alpha == Alpha::Composite);
                Ok(Tensor::from_vec(values, (1, channels, shape[2], shape[3]), &Device::Cpu)?)
            }
            Self::Array(array) => {
                let (n, _, height, width) = array.dims4()?;
                Ok(array.broadcast_as((n, channels, height, width))?.contiguous()?)
            }
        }
    }
}

/// An array as `[N, C, H, W]` in f32 or f64: the dimensions are checked before anything is read.
fn arranged(shape: &[usize]) -> Result<Arrangement> {
    let few = |channels: usize| (1..=4).contains(&channels);
    let (dims, channels_last) = match *shape {
        [height, width] => ([1, 1, height, width], false),
        [height, width, channels] if few(channels) => ([1, channels, height, width], true),
        [channels, height, width] if few(channels) => ([1, channels, height, width], false),
        [n, channels, height, width] => ([n, channels, height, width], false),
        _ => anyhow::bail!(
            "the array is {shape:?}, expected [H, W], [H, W, C] or [C, H, W] with at most 4 channels, or [N, C, H, W]"
        ),
    };
    ensure!(!dims.contains(&0), "the array is {shape:?}, which holds no pixels");
    Ok(Arrangement { dims, channels_last })
}

struct Arrangement {
    dims: [usize; 4],
    channels_last: bool,
}

impl Arrangement {
    /// How many numbers there are, if they are not too many.
    fn numbers(&self, max_pixels: u64) -> Result<usize> {
        let [n, channels, height, width] = self.dims;
        let pixels = n.checked_mul(height).and_then(|lines| lines.checked_mul(width));
        let few = pixels.filter(|&pixels| pixels as u64 <= max_pixels);
        let numbers =
            few.and_then(|pixels| pixels.checked_mul(channels)).filter(|&numbers| numbers as u64 / 4 <= max_pixels);
        let pixels = pixels.map_or("more than can be counted".into(), |pixels| pixels.to_string());
        numbers.with_context(|| {
            format!("it has {pixels} pixels in {channels} channels, but `--max-pixels` is {max_pixels}")
        })
    }

    /// `[N, C, H, W]` from the array's numbers.
    fn tensor(&self, numbers: Numbers) -> Result<Tensor> {
        let [n, channels, height, width] = self.dims;
        let shape = if self.channels_last { [n, height, width, channels] } else { self.dims };
        let shape = shape.to_vec();
        let tensor = match numbers {
            Numbers::F32(numbers) => Tensor::from_vec(numbers, shape, &Device::Cpu)?,
            Numbers::F64(numbers) => Tensor::from_vec(numbers, shape, &Device::Cpu)?,
        };
        Ok(if self.channels_last { tensor.permute((0, 3, 1, 2))?.contiguous()? } else { tensor })
    }
}

/// What an array holds, in the dtype it is scored in.
enum Numbers {
    F32(Vec<f32>),
    F64(Vec<f64>),
}

/// How numbers are stored, little-endian.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Stored {
    U8,
    U16,
    F16,
    Bf16,
    F32,
    F64,
}

impl Stored {
    fn size(self) -> usize {
        match self {
            Self::U8 => 1,
            Self::U16 | Self::F16 | Self::Bf16 => 2,
            Self::F32 => 4,
            Self::F64 => 8,
        }
    }

    fn numbers(self, bytes: &[u8]) -> Numbers {
        match self {
            Self::U8 => Numbers::F32(bytes.iter().map(|&byte| byte.into()).collect()),
            Self::U16 => Numbers::F32(words(bytes, |word| u16::from_le_bytes(word).into())),
            Self::F16 => Numbers::F32(words(bytes, |word| half::f16::from_le_bytes(word).to_f32())),
            Self::Bf16 => Numbers::F32(words(bytes, |word| half::bf16::from_le_bytes(word).to_f32())),
            Self::F32 => Numbers::F32(words(bytes, f32::from_le_bytes)),
            Self::F64 => Numbers::F64(words(bytes, f64::from_le_bytes)),
        }
    }
}

fn words<const N: usize, T>(bytes: &[u8], number: impl Fn([u8; N]) -> T) -> Vec<T> {
    let (words, _) = bytes.as_chunks::<N>();
    words.iter().map(|&word| number(word)).collect()
}

/// Whatever the bytes are, they give an image or an error. The first byte chooses among the readers.
pub fn fuzz(bytes: &[u8]) {
    const LIMIT: u64 = 1 << 16;
    let Some((kind, bytes)) = bytes.split_first() else { return };
    let image = match kind % 3 {
        0 => Picture::read(Cursor::new(bytes), LIMIT).map(Image::Picture),
        1 => npy::read(Cursor::new(bytes), LIMIT).map(Image::Array),
        _ => safetensor::read(Cursor::new(bytes), LIMIT).map(Image::Array),
    };
    let Ok(image) = image else { return };
    let reading = Reading { alpha: Alpha::Composite, data_range: Some(1.0), max_pixels: LIMIT, always_rgb: false };
    let shape = image.shape();
    let tensor = image.into_tensor(shape[1].max(3), &reading);
    assert!(shape[1] != 1 || tensor.is_ok_and(|tensor| tensor.dims()[2..] == shape[2..]));
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use image::{ImageFormat, RgbImage};
    use proptest::prelude::*;

    /// What `fuzz` takes: a small picture of each format, and an array.
    fn files() -> Vec<Vec<u8>> {
        let image = RgbImage::from_fn(24, 16, |x, y| image::Rgb([x as u8 * 10, y as u8 * 15, 77]));
        let formats = [ImageFormat::Png, ImageFormat::Jpeg, ImageFormat::WebP, ImageFormat::Tiff, ImageFormat::Bmp];
        let encoded = formats.into_iter().chain([ImageFormat::Pnm]).map(|format| {
            let mut file = Cursor::new(Vec::new());
            image.write_to(&mut file, format).unwrap();
            [&[0], &file.into_inner()[..]].concat()
        });
        let npy = b"\x01\x93NUMPY\x01\0\x48\0{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3, 4), }         \n";
        encoded.chain([[&npy[..], &[63; 96]].concat()]).collect()
    }

    #[test]
    fn undamaged_files_are_images() {
        for file in files() {
            let bytes = Cursor::new(&file[1..]);
            match file[0] {
                0 => assert_eq!(super::Picture::read(bytes, 384).unwrap().shape(), [1, 3, 16, 24]),
                _ => assert_eq!(super::npy::read(bytes, 12).unwrap().dims(), [1, 4, 2, 3]),
            }
        }
    }

    proptest! {
        #[test]
        fn damaged_files_are_errors_or_images(
            file in 0..files().len(),
            changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
            length in any::<prop::sample::Index>(),
            whole in any::<bool>(),
        ) {
            let mut bytes = files().swap_remove(file);
            for (index, byte) in changes {
                // The first byte chooses the reader.
                let index = 1 + index.index(bytes.len() - 1);
                bytes[index] = byte;
            }
            if !whole {
                bytes.truncate(1 + length.index(bytes.len()));
            }
            super::fuzz(&bytes);
        }
    }
}
