//! Arrays of numbers as images.

use anyhow::{Context, Result, ensure};
use candle_core::{Device, Tensor};

use super::Look;

/// How the numbers of an array lie.
pub(super) struct Arrangement {
    dims: [usize; 4],
    channels_last: bool,
    /// How many there are.
    pub(super) numbers: usize,
}

impl Arrangement {
    /// An array as `[N, C, H, W]`: the dimensions are checked before anything is read.
    pub(super) fn of(shape: &[usize], max_pixels: u64) -> Result<Self> {
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
        let numbers = numbers(dims, max_pixels)?;
        Ok(Self { dims, channels_last, numbers })
    }

    pub(super) fn look(&self, stored: Stored) -> Look {
        // What is stored, and numbers before and after channels find their place.
        let memory = self.numbers as u64 * (stored.size() as u64 + 2 * stored.scored());
        Look { shape: self.dims, memory, of: super::Content::Numbers { wide: stored == Stored::F64 } }
    }

    /// `[N, C, H, W]` from the array's numbers.
    pub(super) fn tensor(&self, numbers: Numbers) -> Result<Tensor> {
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

/// How many numbers there are, if they are not too many.
fn numbers([n, channels, height, width]: [usize; 4], max_pixels: u64) -> Result<usize> {
    let pixels = n.checked_mul(height).and_then(|lines| lines.checked_mul(width));
    let few = pixels.filter(|&pixels| pixels as u64 <= max_pixels);
    let numbers =
        few.and_then(|pixels| pixels.checked_mul(channels)).filter(|&numbers| numbers as u64 / 4 <= max_pixels);
    let pixels = pixels.map_or("more than can be counted".into(), |pixels| pixels.to_string());
    numbers
        .with_context(|| format!("it has {pixels} pixels in {channels} channels, but `--max-pixels` is {max_pixels}"))
}

/// What an array holds, in the dtype it is scored in.
pub(super) enum Numbers {
    F32(Vec<f32>),
    F64(Vec<f64>),
}

/// How numbers are stored, little-endian.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Stored {
    U8,
    U16,
    F16,
    Bf16,
    F32,
    F64,
}

impl Stored {
    pub(super) fn size(self) -> usize {
        match self {
            Self::U8 => 1,
            Self::U16 | Self::F16 | Self::Bf16 => 2,
            Self::F32 => 4,
            Self::F64 => 8,
        }
    }

    /// The bytes of one that is scored.
    fn scored(self) -> u64 {
        if self == Self::F64 { 8 } else { 4 }
    }

    pub(super) fn numbers(self, bytes: &[u8]) -> Numbers {
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
