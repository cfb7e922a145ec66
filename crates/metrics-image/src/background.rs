//! Images with alpha over a background.

use candle_core::{DType, Device, Tensor};
use metrics_core::{Error, Result};

use crate::config::DataRange;
use crate::pair::compute_dtype;

/// What images with an alpha channel are composited over: a color for all images of a batch, or one for each.
///
/// ```
/// use candle_core::{Device, Tensor};
/// use metrics_image::{Background, Loss};
///
/// let white = Background::from([1.0, 1.0, 1.0]);
/// let random = Background::from(&Tensor::rand(0f32, 1f32, (4, 3), &Device::Cpu)?); // a batch of 4 images
/// let loss = Loss::new(1.0).l1(0.8).ssim(0.2).over(random.premultiplied());
/// # let _ = (white, loss);
/// # Ok::<(), candle_core::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Background {
    color: Color,
    premultiplied: bool,
}

#[derive(Clone, Debug)]
enum Color {
    /// One number for each channel.
    All(Vec<f64>),
    /// `[N, C]`, without a graph.
    Each(Tensor),
}

impl Background {
    /// Says that colors are multiplied by alpha already, as splatting renders them: `c + (1 - α) b` instead of `α c + (1 - α) b`.
    pub fn premultiplied(self) -> Self {
        Self { premultiplied: true, ..self }
    }

    /// Images over the background, if they have an alpha channel after their channels of color, by Candle's operations:
    /// `[N, C + 1, …]` become `[N, C, …]`, u8 and half types f32. [`Loss::over`](crate::Loss::over) needs no such tensor.
    ///
    /// # Errors
    /// Another number of channels or images, or a data range that is found in the images.
    pub fn composite(&self, images: &Tensor, data_range: impl Into<DataRange>) -> Result<Tensor> {
        let (range, colors) = (data_range.into(), self.channels());
        let [count, channels] = [0, 1].map(|axis| images.dims().get(axis).copied().unwrap_or(0));
        // An image without alpha is over any background.
        self.check("Background", range, count, [channels, colors + 1])?;
        if images.dtype() == DType::U8 && range.fixed().is_some_and(|range| range <= 1.0) {
            let message = format!("`data_range` is {range:?}, expected that of u8 images: 255");
            return Err(Error::argument("Background", message));
        }
        self.composited(images, range)
    }

    /// Channels of the color.
    pub(crate) fn channels(&self) -> usize {
        match &self.color {
            Color::All(color) => color.len(),
            Color::Each(colors) => colors.dims().get(1).copied().unwrap_or(0),
        }
    }

    /// Checks the background against batches of `images` images, with `channels` channels in the prediction and in the target.
    pub(crate) fn check(&self, op: &str, range: DataRange, images: usize, channels: [usize; 2]) -> Result<()> {
        let colors = self.channels();
        let problem = match &self.color {
            _ if colors == 0 => Some("`over` has no channels, expected those of the images".to_owned()),
            Color::Each(color) if color.dims() != [images, colors] => {
                Some(format!("`over` has colors of {:?}, expected [{images}, C] for {images} images", color.dims()))
            }
            _ if channels.iter().any(|own| *own != colors && *own != colors + 1) => Some(format!(
                "`over` has {colors} channels, but the images have {channels:?}: expected {colors}, or {} with alpha",
                colors + 1
            )),
            _ if channels == [colors; 2] => Some(format!(
                "`over` needs an alpha channel, expected {} channels of `pred` or `target`, but both have {colors}",
                colors + 1
            )),
            _ if range.fixed().is_none() => {
                Some(format!("`over` needs a data range of Value or Clamp to know what is opaque, got {range:?}"))
            }
            _ => None,
        };
        problem.map_or(Ok(()), |problem| Err(Error::argument(op, problem)))
    }

    /// The background as kernels of the CPU use it.
    pub(crate) fn stage(&self, range: DataRange, images: usize) -> Result<Over> {
        let colors = match &self.color {
            Color::All(color) => color.repeat(images),
            Color::Each(colors) => colors.to_device(&Device::Cpu)?.to_dtype(DType::F64)?.flatten_all()?.to_vec1()?,
        };
        let (channels, premultiplied, alpha) = (self.channels(), self.premultiplied, alpha_of(range));
        Ok(Over { colors, channels, premultiplied, alpha })
    }

    /// An image batch over the background, if it has alpha, by Candle's operations.
    pub(crate) fn composited(&self, image: &Tensor, range: DataRange) -> Result<Tensor> {
        let colors = self.channels();
        if image.dim(1)? == colors {
            return Ok(image.clone());
        }
        let image = image.to_dtype(compute_dtype(image.dtype()))?;
        let mut shape = vec![1; image.rank()];
        shape[1] = colors;
        let background = match &self.color {
            Color::All(color) => Tensor::from_slice(color, shape, &Device::Cpu)?,
            Color::Each(each) => {
                shape[0] = each.dim(0)?;
                each.reshape(shape)?
            }
        };
        let background = background.to_dtype(image.dtype())?.to_device(image.device())?;
        let [scale, offset] = alpha_of(range);
        let (color, alpha) = (image.narrow(1, 0, colors)?, image.narrow(1, colors, 1)?.affine(scale, offset)?);
        let color = if self.premultiplied { color } else { color.broadcast_mul(&alpha)? };
        Ok((color + alpha.affine(-1.0, 1.0)?.broadcast_mul(&background)?)?)
    }
}

impl<const C: usize> From<[f64; C]> for Background {
    fn from(color: [f64; C]) -> Self {
        Self { color: Color::All(color.into()), premultiplied: false }
    }
}

/// One color for each image, `[N, C]`.
impl From<&Tensor> for Background {
    fn from(colors: &Tensor) -> Self {
        Self { color: Color::Each(colors.detach()), premultiplied: false }
    }
}

/// Alpha in 0..=1 is `[0] · value + [1]`.
fn alpha_of(range: DataRange) -> [f64; 2] {
    let low = if let DataRange::Clamp(low, _) = range { low } else { 0.0 };
    let scale = 1.0 / range.fixed().unwrap_or(1.0);
    [scale, -low * scale]
}

/// A background as row readers use it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Over {
    /// Of each image, one after another.
    pub(crate) colors: Vec<f64>,
    pub(crate) channels: usize,
    pub(crate) premultiplied: bool,
    /// Alpha in 0..=1 is `[0] · value + [1]`.
    pub(crate) alpha: [f64; 2],
}
