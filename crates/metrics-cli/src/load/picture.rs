//! Pictures: what the `image` crate decodes.

use std::io::{BufRead, Seek};

use anyhow::{Result, bail, ensure};
use image::{DynamicImage, ImageDecoder, ImageError, ImageFormat, ImageReader, Limits};

use super::jpeg;
use super::tiff::{self, Tiff};

/// A decoded picture: rows of pixels, each of one to four samples.
pub(super) struct Picture {
    width: usize,
    height: usize,
    /// 1 grey, 2 grey and alpha, 3 RGB, 4 RGB and alpha.
    channels: usize,
    samples: Samples,
    /// Whether colours have been multiplied by alpha.
    premultiplied: bool,
}

pub(super) enum Samples {
    U8(Vec<u8>),
    U16(Vec<u16>),
    F32(Vec<f32>),
}

/// Bytes of a pixel in the largest format, four channels of f32, and what decoders need besides the pixels.
const PIXEL: u64 = 16;
const WORKING_MEMORY: u64 = 1 << 26;

impl Picture {
    /// Decodes a picture whose format its first bytes tell.
    pub(super) fn read(mut file: impl BufRead + Seek, max_pixels: u64) -> Result<Self> {
        let is_big_tiff = tiff::is_big(file.fill_buf()?);
        let mut reader = ImageReader::new(file).with_guessed_format()?;
        if is_big_tiff {
            reader.set_format(ImageFormat::Tiff);
        }
        let most_bytes = max_pixels.saturating_mul(PIXEL).saturating_add(WORKING_MEMORY);
        if reader.format() == Some(ImageFormat::Jpeg) {
            return jpeg::read(reader.into_inner(), max_pixels, most_bytes);
        }
        // OpenEXR says so of all its files.
        let mut premultiplied = reader.format() == Some(ImageFormat::OpenExr);
        if reader.format() == Some(ImageFormat::Tiff) {
            let mut file = reader.into_inner();
            match tiff::look(&mut file, max_pixels, most_bytes)? {
                Tiff::Grey(picture) => return Ok(picture),
                Tiff::Other { premultiplied: is } => premultiplied = is,
            }
            file.rewind()?;
            reader = ImageReader::with_format(file, ImageFormat::Tiff);
        }
        let mut limits = Limits::default();
        limits.max_alloc = Some(most_bytes);
        reader.limits(limits);
        let is_tiff = reader.format() == Some(ImageFormat::Tiff);
        let decoder = match reader.into_decoder() {
            Err(ImageError::Unsupported(_)) if is_tiff => bail!(tiff::EXPECTED),
            decoder => decoder?,
        };
        let (width, height) = decoder.dimensions();
        check_size(width.into(), height.into(), max_pixels)?;
        Ok(Self { premultiplied, ..Self::of(DynamicImage::from_decoder(decoder)?) })
    }

    pub(super) fn new(width: usize, height: usize, channels: usize, samples: Samples) -> Self {
        Self { width, height, channels, samples, premultiplied: false }
    }

    fn of(image: DynamicImage) -> Self {
        let (width, height) = (image.width() as usize, image.height() as usize);
        let (channels, samples) = match image {
            DynamicImage::ImageLuma8(image) => (1, Samples::U8(image.into_raw())),
            DynamicImage::ImageLumaA8(image) => (2, Samples::U8(image.into_raw())),
            DynamicImage::ImageRgb8(image) => (3, Samples::U8(image.into_raw())),
            DynamicImage::ImageRgba8(image) => (4, Samples::U8(image.into_raw())),
            DynamicImage::ImageLuma16(image) => (1, Samples::U16(image.into_raw())),
            DynamicImage::ImageLumaA16(image) => (2, Samples::U16(image.into_raw())),
            DynamicImage::ImageRgb16(image) => (3, Samples::U16(image.into_raw())),
            DynamicImage::ImageRgba16(image) => (4, Samples::U16(image.into_raw())),
            DynamicImage::ImageRgb32F(image) => (3, Samples::F32(image.into_raw())),
            // The last one there is, and whatever a newer version of the crate has.
            image => (4, Samples::F32(image.into_rgba32f().into_raw())),
        };
        Self::new(width, height, channels, samples)
    }

    /// `[1, C, H, W]`, alpha not counted.
    pub(super) fn shape(&self) -> [usize; 4] {
        [1, self.colours(), self.height, self.width]
    }

    /// Whether its samples are numbers without a largest one.
    pub(super) fn is_float(&self) -> bool {
        matches!(self.samples, Samples::F32(_))
    }

    /// Whether no pixel lets a background through.
    pub(super) fn is_opaque(&self) -> bool {
        match &self.samples {
            Samples::U8(samples) => self.alpha(samples).is_none_or(|mut alpha| alpha.all(|&a| a == u8::MAX)),
            Samples::U16(samples) => self.alpha(samples).is_none_or(|mut alpha| alpha.all(|&a| a == u16::MAX)),
            Samples::F32(samples) => self.alpha(samples).is_none_or(|mut alpha| alpha.all(|&a| a == 1.0)),
        }
    }

    fn colours(&self) -> usize {
        if self.channels < 3 { 1 } else { 3 }
    }

    fn alpha<'a, T>(&self, samples: &'a [T]) -> Option<impl Iterator<Item = &'a T>> {
        let colours = self.colours();
        (self.channels > colours).then(|| samples.chunks_exact(self.channels).map(move |pixel| &pixel[colours]))
    }

    /// One plane after another, integers scaled to `0..=range`; grey is repeated. On white if `composite`.
    pub(super) fn into_planes(self, planes: usize, range: f64, composite: bool) -> Vec<f32> {
        match &self.samples {
            Samples::U8(samples) => {
                let table: [f32; 256] = std::array::from_fn(|value| (value as f64 / 255.0 * range) as f32);
                self.planes(
                    samples,
                    planes,
                    range,
                    composite,
                    |value| table[usize::from(value)],
                    |a| f64::from(a) / 255.0,
                )
            }
            Samples::U16(samples) => {
                let full = f64::from(u16::MAX);
                let scale = |value| (f64::from(value) / full * range) as f32;
                self.planes(samples, planes, range, composite, scale, |a| f64::from(a) / full)
            }
            Samples::F32(samples) => self.planes(samples, planes, range, composite, |value| value, f64::from),
        }
    }

    fn planes<T: Copy>(
        &self,
        samples: &[T],
        planes: usize,
        white: f64,
        composite: bool,
        value: impl Fn(T) -> f32,
        opacity: impl Fn(T) -> f64,
    ) -> Vec<f32> {
        let mut values = Vec::with_capacity(self.width * self.height * planes);
        for plane in 0..planes {
            let channel = if self.colours() == 1 { 0 } else { plane };
            match self.alpha(samples).filter(|_| composite) {
                // Distances known when this is compiled: 40 % less time.
                None => match self.channels {
                    1 => values.extend(channel_of::<_, 1>(samples, channel).map(&value)),
                    2 => values.extend(channel_of::<_, 2>(samples, channel).map(&value)),
                    3 => values.extend(channel_of::<_, 3>(samples, channel).map(&value)),
                    _ => values.extend(channel_of::<_, 4>(samples, channel).map(&value)),
                },
                Some(alpha) => {
                    let pixels = samples.chunks_exact(self.channels);
                    values.extend(pixels.zip(alpha).map(|(pixel, &a)| {
                        let opacity = opacity(a);
                        let colour = f64::from(value(pixel[channel]));
                        let colour = if self.premultiplied { colour } else { colour * opacity };
                        (colour + white * (1.0 - opacity)) as f32
                    }))
                }
            }
        }
        values
    }
}

/// Refuses a picture before memory is taken for its pixels.
pub(super) fn check_size(width: u64, height: u64, max_pixels: u64) -> Result<()> {
    let pixels = width.saturating_mul(height);
    ensure!(pixels <= max_pixels, "it is {width}×{height}, {pixels} pixels, but `--max-pixels` is {max_pixels}");
    ensure!(pixels > 0, "it is {width}×{height} and holds no pixels");
    Ok(())
}

fn channel_of<T: Copy, const CHANNELS: usize>(samples: &[T], channel: usize) -> impl Iterator<Item = T> {
    samples.as_chunks::<CHANNELS>().0.iter().map(move |pixel| pixel[channel])
}
