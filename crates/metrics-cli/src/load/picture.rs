//! Decoded pictures, and how they become planes of numbers.

use anyhow::{Result, ensure};
use candle_core::{DType, Device, Tensor};
use image::DynamicImage;

/// A decoded picture: rows of pixels, each of one to four samples.
#[derive(Clone)]
pub(super) struct Picture {
    width: usize,
    height: usize,
    /// 1 grey, 2 grey and alpha, 3 RGB, 4 RGB and alpha.
    channels: usize,
    samples: Samples,
    /// The sample that stands for white, of integers.
    full: u32,
    /// Whether colors have been multiplied by alpha.
    premultiplied: bool,
}

#[derive(Clone)]
pub(super) enum Samples {
    U8(Vec<u8>),
    U16(Vec<u16>),
    F32(Vec<f32>),
    /// Numbers of any size, integers among them.
    F64(Vec<f64>),
}

impl Samples {
    /// The largest integer, 0 if they are none.
    pub(super) fn largest(&self) -> u32 {
        match self {
            Self::U8(samples) => samples.iter().max().map_or(0, |&sample| sample.into()),
            Self::U16(samples) => samples.iter().max().map_or(0, |&sample| sample.into()),
            Self::F32(_) | Self::F64(_) => 0,
        }
    }

    /// Integers that fit a byte in bytes.
    pub(super) fn narrowed(self) -> Self {
        match self {
            Self::U16(samples) => Self::U8(samples.into_iter().map(|sample| sample as u8).collect()),
            other => other,
        }
    }
}

/// Whether `f32` holds integers of `0..=full` exactly when they are scaled to `0..=range`.
///
/// Bytes are scored in f32 at any range: of 256 levels, its 24 bits leave 16 for what lies between two of them. Of 65,536 they leave 8.
pub(super) fn fits_f32(full: u32, range: f64) -> bool {
    full == 255 || range % f64::from(full) == 0.0 && range <= f64::from(1 << 24)
}

impl Picture {
    pub(super) fn new(width: usize, height: usize, channels: usize, samples: Samples) -> Self {
        let full = if matches!(samples, Samples::U16(_)) { u16::MAX.into() } else { u8::MAX.into() };
        Self { width, height, channels, samples, full, premultiplied: false }
    }

    /// With another sample that stands for white than all ones.
    pub(super) fn of_full(self, full: u32) -> Self {
        Self { full, ..self }
    }

    pub(super) fn premultiplied(self) -> Self {
        Self { premultiplied: true, ..self }
    }

    /// One that the `image` crate has decoded to bytes.
    pub(super) fn of(image: DynamicImage) -> Self {
        let (width, height) = (image.width() as usize, image.height() as usize);
        let (channels, samples) = match image {
            DynamicImage::ImageLuma8(image) => (1, image.into_raw()),
            DynamicImage::ImageLumaA8(image) => (2, image.into_raw()),
            DynamicImage::ImageRgb8(image) => (3, image.into_raw()),
            image => (4, image.into_rgba8().into_raw()),
        };
        Self::new(width, height, channels, Samples::U8(samples))
    }

    /// `[1, C, H, W]`, alpha not counted.
    pub(super) fn shape(&self) -> [usize; 4] {
        [1, self.colors(), self.height, self.width]
    }

    /// Whether every pixel hides the background.
    pub(super) fn is_opaque(&self) -> bool {
        fn all<'a, T: PartialEq + 'a>(alpha: Option<impl Iterator<Item = &'a T>>, full: T) -> bool {
            alpha.is_none_or(|mut alpha| alpha.all(|a| *a == full))
        }
        match &self.samples {
            Samples::U8(samples) => all(self.alpha(samples), self.full as u8),
            Samples::U16(samples) => all(self.alpha(samples), self.full as u16),
            Samples::F32(samples) => all(self.alpha(samples), 1.0),
            Samples::F64(samples) => all(self.alpha(samples), 1.0),
        }
    }

    fn colors(&self) -> usize {
        if self.channels < 3 { 1 } else { 3 }
    }

    fn alpha<'a, T>(&self, samples: &'a [T]) -> Option<impl Iterator<Item = &'a T>> {
        let colors = self.colors();
        (self.channels > colors).then(|| samples.chunks_exact(self.channels).map(move |pixel| &pixel[colors]))
    }

    /// `[1, C, H, W]` of `planes` channels in f32 or f64, integers scaled to `0..=range`; grey is repeated. On white if `composite`.
    pub(super) fn into_tensor(self, planes: usize, range: f64, composite: bool, dtype: DType) -> Result<Tensor> {
        let shape = (1, planes, self.height, self.width);
        Ok(match dtype {
            DType::F32 => Tensor::from_vec(self.singles(planes, range, composite), shape, &Device::Cpu)?,
            _ => Tensor::from_vec(self.doubles(planes, range, composite), shape, &Device::Cpu)?,
        })
    }

    fn singles(&self, planes: usize, range: f64, composite: bool) -> Vec<f32> {
        let layout = Planes { picture: self, planes, white: range, composite };
        let full = f64::from(self.full);
        match &self.samples {
            Samples::U8(samples) => {
                let table: [f32; 256] = std::array::from_fn(|value| (value as f64 / full * range) as f32);
                layout.of(samples, |value| table[usize::from(value)], |value| value.into(), |value| value as f32, full)
            }
            Samples::U16(samples) => {
                let scaled = |value: u16| (f64::from(value) / full * range) as f32;
                layout.of(samples, scaled, |value| value.into(), |value| value as f32, full)
            }
            Samples::F32(samples) => layout.of(samples, |value| value, |value| value.into(), |value| value as f32, 1.0),
            Samples::F64(samples) => layout.of(samples, |value| value as f32, |value| value, |value| value as f32, 1.0),
        }
    }

    fn doubles(&self, planes: usize, range: f64, composite: bool) -> Vec<f64> {
        let layout = Planes { picture: self, planes, white: range, composite };
        let full = f64::from(self.full);
        // In this order all integers are exact where the range is the largest of them.
        let scaled = |value: f64| value * range / full;
        match &self.samples {
            Samples::U8(samples) => layout.of(samples, |v| scaled(v.into()), |v| v.into(), |v| v, full),
            Samples::U16(samples) => layout.of(samples, |v| scaled(v.into()), |v| v.into(), |v| v, full),
            Samples::F32(samples) => layout.of(samples, |v| v.into(), |v| v.into(), |v| v, 1.0),
            Samples::F64(samples) => layout.of(samples, |v| v, |v| v, |v| v, 1.0),
        }
    }
}

/// How a picture is taken apart.
struct Planes<'a> {
    picture: &'a Picture,
    planes: usize,
    white: f64,
    composite: bool,
}

impl Planes<'_> {
    /// One plane after another: `color` is a scaled sample, `sample` one as it is stored, and `full` one that hides the background.
    fn of<T: Copy, N: Copy + Into<f64>>(
        &self,
        samples: &[T],
        color: impl Fn(T) -> N,
        sample: impl Fn(T) -> f64,
        number: impl Fn(f64) -> N,
        full: f64,
    ) -> Vec<N> {
        let Self { picture, planes, white, composite } = *self;
        let mut values = Vec::with_capacity(picture.width * picture.height * planes);
        for plane in 0..planes {
            let channel = if picture.colors() == 1 { 0 } else { plane };
            match picture.alpha(samples).filter(|_| composite) {
                // Distances known when this is compiled: 40 % less time.
                None => match picture.channels {
                    1 => values.extend(channel_of::<_, 1>(samples, channel).map(&color)),
                    2 => values.extend(channel_of::<_, 2>(samples, channel).map(&color)),
                    3 => values.extend(channel_of::<_, 3>(samples, channel).map(&color)),
                    _ => values.extend(channel_of::<_, 4>(samples, channel).map(&color)),
                },
                Some(alpha) => {
                    let pixels = samples.chunks_exact(picture.channels);
                    values.extend(pixels.zip(alpha).map(|(pixel, &a)| {
                        let opacity = sample(a) / full;
                        let color: f64 = color(pixel[channel]).into();
                        let color = if picture.premultiplied { color } else { color * opacity };
                        number(color + white * (1.0 - opacity))
                    }))
                }
            }
        }
        values
    }
}

/// How many pixels a picture has; refuses it before memory is taken for them.
pub(super) fn check_size(width: u64, height: u64, max_pixels: u64) -> Result<u64> {
    let pixels = width.saturating_mul(height);
    ensure!(pixels <= max_pixels, "it is {width}×{height}, {pixels} pixels, but `--max-pixels` is {max_pixels}");
    ensure!(pixels > 0, "it is {width}×{height} and holds no pixels");
    Ok(pixels)
}

fn channel_of<T: Copy, const CHANNELS: usize>(samples: &[T], channel: usize) -> impl Iterator<Item = T> {
    samples.as_chunks::<CHANNELS>().0.iter().map(move |pixel| pixel[channel])
}
