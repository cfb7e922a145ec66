//! From two tensors of the caller to the pair of images that a kernel scores.

use std::ops::RangeInclusive;

use candle_core::{D, DType, Device, Tensor};
use metrics_core::{Error, Result, Samples};
use metrics_detach::is_eval;

use crate::check;
use crate::compare::{Compare, filled};
use crate::config::{Channels, DataRange, Input};
use crate::{Background, Target};

/// A prediction and its target as the caller gave them, and how much each of their pixels counts.
#[derive(Clone)]
pub(crate) struct Images {
    pub(crate) pred: Tensor,
    pub(crate) target: Tensor,
    pub(crate) mask: Option<Tensor>,
    /// What images with alpha are composited over.
    pub(crate) over: Option<Background>,
}

impl Images {
    pub(crate) fn new(pred: &Tensor, target: Target) -> Self {
        Self { pred: pred.clone(), mask: target.counted(), target: target.images, over: None }
    }

    /// Channels without alpha.
    pub(crate) fn channels(&self) -> usize {
        self.over.as_ref().map_or(self.pred.dims()[1], Background::channels)
    }

    /// Checks the weights of a mask on a CPU, where they are not read as they are.
    pub(crate) fn check_weights(&self, op: &str) -> Result<()> {
        let Some(mask) = self.mask.as_ref().filter(|mask| mask.device().is_cpu()) else { return Ok(()) };
        let weights = mask.to_dtype(DType::F64)?.flatten_all()?.to_vec1::<f64>()?;
        match weights.into_iter().find(|weight| !(*weight >= 0.0 && weight.is_finite())) {
            None => Ok(()),
            Some(weight) => {
                let message = format!("`mask` has a weight of {weight}, expected finite weights that are not negative");
                Err(Error::argument(op, message))
            }
        }
    }

    /// Checks both images, and what they are composited over.
    fn check(&self, op: &str, range: DataRange) -> Result<()> {
        let Self { pred, target, mask, over } = self;
        match over {
            None => check::pair(op, pred, target)?,
            Some(over) => {
                // The same but for the number of channels.
                let first = |image: &Tensor| if image.rank() > 1 { image.narrow(1, 0, 1) } else { Ok(image.clone()) };
                check::pair(op, &first(pred)?, &first(target)?)?;
                over.check(op, range, pred.dims()[0], [pred.dims()[1], target.dims()[1]])?;
            }
        }
        let Some(mask) = mask else { return Ok(()) };
        let mut dims = pred.dims().to_vec();
        dims[1] = self.channels();
        check::mask(op, mask, &dims, pred.device())
    }

    pub(crate) fn of(samples: &Samples) -> Result<Self> {
        let (pred, target) = (samples.pred()?.clone(), samples.target()?.clone());
        Ok(Self { pred, target, mask: samples.sample_mask().cloned(), over: None })
    }

    pub(crate) fn target_detached(self) -> Self {
        Self { target: self.target.detach(), ..self }
    }

    pub(crate) fn detached(self) -> Self {
        Self { pred: self.pred.detach(), target: self.target.detach(), ..self }
    }

    /// A pair that is [checked](check_input), without graphs that nobody wants, and the mask for every image, of a dtype that kernels read. The target may be
    /// u8 beside a float prediction, where the kernels read both.
    pub(crate) fn checked(self) -> Result<Self> {
        let Self { pred, target, mask, over } = self;
        // Integers have no gradient, but Candle lets a u8 tensor track the graph it came from.
        let plain = |image: Tensor| if is_eval() || image.dtype() == DType::U8 { image.detach() } else { image };
        let (pred, target) = (plain(pred), plain(target));
        let read_alike = pred.device().is_cpu() && pred.dtype() != DType::F64;
        let target = if read_alike { target } else { target.to_dtype(pred.dtype())? };
        let mask = mask.map(|mask| -> Result<Tensor> {
            let mut dims = pred.dims().to_vec();
            dims[1] = mask.dim(1)?;
            let as_is = read_alike && mask.dtype() != DType::F64;
            let mask = if as_is { mask } else { mask.to_dtype(compute_dtype(pred.dtype()))? };
            Ok(mask.broadcast_as(dims)?)
        });
        Ok(Self { pred, target, mask: mask.transpose()?, over })
    }
}

/// A checked pair of images, cropped, clamped and converted to luma as its configuration asks.
///
/// The dtype is that of the caller unless a conversion needed floating point; kernels convert what they must.
#[derive(Clone)]
pub(crate) struct Pair {
    pub(crate) pred: Tensor,
    pub(crate) target: Tensor,
    /// How much each pixel counts, `[N, 1 or C, …]` in [`dtype`](Self::dtype), not negative; without one, all count alike.
    pub(crate) mask: Option<Tensor>,
    pub(crate) range: Range,
    /// What the caller gets back: f64 for f64 images, f32 for all others.
    pub(crate) dtype: DType,
}

/// The data range of each image.
#[derive(Clone)]
pub(crate) enum Range {
    Fixed(f64),
    /// Found in the data: shape `[N]`, without a graph.
    PerImage(Tensor),
}

/// Whose spread counts when the range is found in the data.
#[derive(Clone, Copy)]
pub(crate) enum Spread {
    Larger,
    Target,
    /// Nobody asks for the range.
    Unused,
}

/// The dtype in which images of `dtype` are computed.
pub(crate) fn compute_dtype(dtype: DType) -> DType {
    if dtype == DType::F64 { DType::F64 } else { DType::F32 }
}

/// The data ranges of images that are computed in `dtype`: their squares, and what scores and gradients make of those, neither
/// vanish nor overflow.
pub(crate) fn ranges_held_by(dtype: DType) -> RangeInclusive<f64> {
    if dtype == DType::F64 { 1e-100..=1e100 } else { 1e-12..=1e12 }
}

/// The dtype in which sums over many pixels are kept: f64 wherever there is one.
pub(crate) fn sum_dtype(device: &Device) -> DType {
    if device.is_metal() { DType::F32 } else { DType::F64 }
}

impl Pair {
    pub(crate) fn new(op: &str, input: &Input, spread: Spread, images: Images) -> Result<Self> {
        check_input(op, input, spread, &images)?;
        let channels = images.channels();
        let Images { pred, target, mask, over } = images.checked()?;
        let target = target.to_dtype(pred.dtype())?;
        let dtype = compute_dtype(pred.dtype());
        let prepare = |image: &Tensor| -> Result<Tensor> {
            let image = crop(image, input.crop_border)?;
            let image = over.as_ref().map_or(Ok(image.clone()), |over| over.composited(&image, input.range))?;
            let image = clamp(&image, input.range)?;
            match channel_weights(input, channels) {
                None => Ok(image),
                Some((weights, offset)) => weighted_sum(&image, weights, offset),
            }
        };
        let (pred, target) = (prepare(&pred)?, prepare(&target)?);
        let mask = mask.map(|mask| {
            let mask = crop(&mask, input.crop_border)?.to_dtype(dtype)?;
            Ok::<_, Error>(mask.above(0.0)?.where_cond(&mask, &mask.zeros_like()?)?)
        });
        let mask = mask.transpose()?;
        let range = range(input.range, spread, [&pred, &target], mask.as_ref())?;
        Ok(Self { pred, target, mask, range, dtype })
    }

    /// Each channel as an image.
    pub(crate) fn by_channel(&self) -> Result<Self> {
        let (images, channels) = (self.pred.dim(0)?, self.channels());
        let split = |image: &Tensor| image.flatten_to(1)?.unsqueeze(1);
        let range = match &self.range {
            Range::Fixed(range) => Range::Fixed(*range),
            Range::PerImage(ranges) => {
                Range::PerImage(ranges.unsqueeze(1)?.broadcast_as((images, channels))?.flatten_all()?)
            }
        };
        let mask = self.full_mask()?.map(|mask| split(&mask)).transpose()?;
        Ok(Self { pred: split(&self.pred)?, target: split(&self.target)?, mask, range, dtype: self.dtype })
    }

    /// How much each value counts, of the shape of the images, if there is a mask.
    pub(crate) fn full_mask(&self) -> Result<Option<Tensor>> {
        Ok(self.mask.as_ref().map(|mask| mask.broadcast_as(self.pred.shape())).transpose()?)
    }

    pub(crate) fn channels(&self) -> usize {
        self.pred.dims()[1]
    }

    /// Values in one image.
    pub(crate) fn image_len(&self) -> usize {
        self.pred.dims()[1..].iter().product()
    }

    /// Lengths of the spatial axes: `[H, W]` or `[D, H, W]`.
    pub(crate) fn sides(&self) -> &[usize] {
        &self.pred.dims()[2..]
    }

    /// The same pair in the floating-point dtype that ordinary tensor operations compute it in.
    pub(crate) fn to_float(&self) -> Result<Self> {
        self.to_dtype(self.dtype)
    }

    fn to_dtype(&self, dtype: DType) -> Result<Self> {
        let pred = self.pred.to_dtype(dtype)?;
        let target = self.target.to_dtype(dtype)?;
        Ok(Self { pred, target, ..self.clone() })
    }

    /// Dense images in this dtype, and their data ranges.
    #[cfg_attr(
        not(any(all(test, target_os = "linux"), feature = "cuda", feature = "metal")),
        expect(dead_code, reason = "kernels of GPUs ask for it")
    )]
    pub(crate) fn dense(&self, dtype: DType) -> Result<Self> {
        let pair = self.to_dtype(dtype)?;
        let range = match &pair.range {
            Range::Fixed(range) => Range::Fixed(*range),
            Range::PerImage(ranges) => Range::PerImage(ranges.to_dtype(dtype)?),
        };
        Ok(Self { pred: pair.pred.contiguous()?, target: pair.target.contiguous()?, range, ..pair })
    }
}

/// Checks how a batch is to be read.
pub(crate) fn check_input(op: &str, input: &Input, spread: Spread, images: &Images) -> Result<()> {
    let Images { pred, target, mask, .. } = images;
    images.check(op, input.range)?;
    if let Some(mask) = mask
        && mask.dims()[1] != 1
        && channel_weights(input, images.channels()).is_some()
    {
        let (dims, channels) = (mask.dims(), input.channels);
        let message = format!("`mask` is {dims:?}, expected 1 channel: `channels` {channels:?} makes one of three");
        return Err(Error::argument(op, message));
    }
    let (dims, border) = (pred.dims(), input.crop_border);
    if let Some(side) = dims[2..].iter().find(|&&side| border.saturating_mul(2) >= side) {
        let message =
            format!("`crop_border` is {border}, which leaves nothing of a side of {side} (`pred` is {dims:?})");
        return Err(Error::argument(op, message));
    }
    if input.channels == Channels::Luma && images.channels() != 3 {
        let message = format!("`channels` Luma needs 3 channels (R, G, B), but `pred` has {}", images.channels());
        return Err(Error::argument(op, message));
    }
    let spread = if images.over.is_some() { Spread::Larger } else { spread }; // alpha is in the data range
    check_range(op, input, spread, [pred, target])
}

/// Checks that images are planes, for scores that volumes do not have.
pub(crate) fn check_planes(op: &str, images: &Images, why: &str) -> Result<()> {
    match images.pred.dims() {
        [_, _, _, _] => Ok(()),
        dims => Err(Error::argument(op, format!("`pred` is {dims:?}, expected [N, C, H, W]: {why}"))),
    }
}

fn check_range(op: &str, input: &Input, spread: Spread, [pred, target]: [&Tensor; 2]) -> Result<()> {
    let (dtype, Some(range)) = (compute_dtype(pred.dtype()), input.range.fixed()) else { return Ok(()) };
    if matches!(spread, Spread::Unused) {
        return Ok(());
    }
    let held = ranges_held_by(dtype);
    if !held.contains(&range) {
        let (least, most) = (held.start(), held.end());
        let message =
            format!("`data_range` spans {range:e}, expected {least:e} to {most:e} for images computed in {dtype:?}");
        return Err(Error::argument(op, message));
    }
    // Every pixel that is not black would be beyond it.
    if range <= 1.0 && [pred, target].into_iter().any(|image| image.dtype() == DType::U8) {
        let message =
            format!("`data_range` spans {range}, expected that of u8 images, which are taken as they are: 255");
        return Err(Error::argument(op, message));
    }
    Ok(())
}

fn crop(image: &Tensor, border: usize) -> Result<Tensor> {
    let mut image = image.clone();
    for axis in 2..image.rank() {
        let side = image.dim(axis)?;
        image = image.narrow(axis, border, side - 2 * border)?;
    }
    Ok(image)
}

/// Clamps with PyTorch's gradient (1 at the bounds, where Candle's `clamp` has 1/2) and leaves NaN alone.
fn clamp(image: &Tensor, range: DataRange) -> Result<Tensor> {
    let DataRange::Clamp(low, high) = range else { return Ok(image.clone()) };
    let image = image.to_dtype(compute_dtype(image.dtype()))?;
    let values = image.detach(); // a tracked mask would keep the graph of everything it was compared with
    let below = values.below(low)?.where_cond(&filled(&values, low)?, &image)?;
    Ok(values.above(high)?.where_cond(&filled(&values, high)?, &below)?)
}

fn weighted_sum(image: &Tensor, weights: [f64; 3], offset: f64) -> Result<Tensor> {
    let image = image.to_dtype(compute_dtype(image.dtype()))?;
    let weighted = |channel: usize| image.narrow(1, channel, 1)?.affine(weights[channel], 0.0);
    let sum = ((weighted(0)? + weighted(1)?)? + weighted(2)?)?;
    Ok((sum + offset)?)
}

/// The weights of R, G and B in the one plane that is scored, and what is added; `None` if every channel is scored by itself.
pub(crate) fn channel_weights(input: &Input, channels: usize) -> Option<([f64; 3], f64)> {
    match input.channels {
        Channels::Gray if channels == 3 => Some(([0.299, 0.587, 0.114], 0.0)),
        Channels::All | Channels::Gray => None,
        Channels::Luma => {
            let (low, span) = match input.range {
                DataRange::Clamp(low, high) => (low, high - low),
                range => (0.0, range.fixed().unwrap_or(1.0)),
            };
            let weights = [65.481, 128.553, 24.966].map(|weight| weight / 255.0);
            Some((weights, low + span * 16.0 / 255.0 - low * weights.iter().sum::<f64>()))
        }
    }
}

fn range(range: DataRange, spread: Spread, [pred, target]: [&Tensor; 2], mask: Option<&Tensor>) -> Result<Range> {
    let held = ranges_held_by(compute_dtype(pred.dtype()));
    if let (Spread::Larger | Spread::Target, Some(range)) = (spread, range.fixed()) {
        return Ok(Range::Fixed(range));
    }
    let spread_of = |image: &Tensor| -> Result<Tensor> {
        let image = image.detach().to_dtype(compute_dtype(image.dtype()))?;
        let image = match mask {
            // NaN is left out.
            Some(mask) => {
                mask.broadcast_as(image.shape())?.above(0.0)?.where_cond(&image, &filled(&image, f64::NAN)?)?
            }
            None => image,
        };
        let (rows, count) = (image.dim(0)?, image.elem_count());
        let rows = if range == DataRange::PerBatch { 1 } else { rows };
        finite_spread(&image.reshape((rows, count / rows))?)
    };
    let found = match spread {
        Spread::Target => spread_of(target)?,
        Spread::Larger => spread_of(pred)?.maximum(&spread_of(target)?)?,
        Spread::Unused => return Ok(Range::Fixed(f64::NAN)),
    };
    // Constant images have no spread; with range 1 two equal ones score 1 instead of 0/0.
    let found = found.equals(0.0)?.where_cond(&found.ones_like()?, &found)?;
    let is_held = (found.at_least(*held.start())? * found.at_most(*held.end())?)?;
    let found = is_held.where_cond(&found, &filled(&found, f64::NAN)?)?;
    Ok(Range::PerImage(found.broadcast_as(pred.dim(0)?)?.contiguous()?))
}

/// Largest minus smallest finite number of each row of `[rows, pixels]`; infinite if that is too large for the dtype, or if there
/// is none.
///
/// An image that is not finite scores NaN or worse by itself; it must not decide what its neighbours score.
fn finite_spread(flat: &Tensor) -> Result<Tensor> {
    if flat.device().is_cpu() {
        // Ten times faster. There, NaN is passed over unless it comes first, so that what is finite is right.
        let spread = (flat.max(D::Minus1)? - flat.min(D::Minus1)?)?;
        if spread.to_dtype(DType::F64)?.to_vec1::<f64>()?.iter().all(|spread| spread.is_finite()) {
            return Ok(spread);
        }
    }
    let zero = flat.affine(0.0, 0.0)?; // NaN where a pixel is NaN or infinite
    let finite = zero.eq(&zero)?;
    let or = |other: f64| finite.where_cond(flat, &filled(flat, other)?);
    Ok((or(f64::NEG_INFINITY)?.max(D::Minus1)? - or(f64::INFINITY)?.min(D::Minus1)?)?)
}
