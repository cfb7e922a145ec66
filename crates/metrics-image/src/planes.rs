//! From the storages of two image batches to rows of pixels, and from gradients of rows back to tensors.
//!
//! Cropping, clamping and luma are stages of the row readers, so that no image-sized tensor is made for them. The way back,
//! [`Stages::image_gradient`], is their adjoint: it also scales the gradient and rounds it to the dtype of the images.

use std::ops::{Range, RangeInclusive};

use candle_core::op::BackpropOp;
use candle_core::{CpuStorage, DType, Layout, Storage, Tensor, WithDType, bail};
use half::{bf16, f16};
use metrics_core::Result;
use rayon::prelude::*;

use crate::background::Over;
use crate::config::{DataRange, Input};
use crate::engine::{
    self, Clamp, Composite, Pixel, PixelSpread, Plane, Real, Region, RowReader, WeightedSum, spread, weight_sums,
};
use crate::op::{AnyScore, FusedScore};
use crate::pair::{self, Images, Spread};

/// The data range of each image of a pair on the CPU, `[N]` in f64.
pub(crate) fn ranges(op: &str, input: &Input, spread: Spread, images: Images) -> Result<Tensor> {
    let images = images.checked()?;
    let stages = Stages::new(op, input, spread, &images)?;
    let device = images.pred.device().clone();
    let found = on_cpu(&images.pred, &images.target, |x, y| {
        with_mask(images.mask.as_ref(), |mask| match x.0 {
            CpuStorage::F64(_) => Ok(Planes::<f64>::new([x, y], mask, &stages)?.ranges),
            _ => Ok(Planes::<f32>::new([x, y], mask, &stages)?.ranges),
        })
    });
    Ok(Tensor::new(found?, &device)?)
}

/// Runs `f` on the memory of a mask, if there is one.
pub(crate) fn with_mask<R>(
    mask: Option<&Tensor>,
    f: impl FnOnce(Option<Stored>) -> candle_core::Result<R>,
) -> candle_core::Result<R> {
    let Some(mask) = mask else { return f(None) };
    let (storage, layout) = mask.storage_and_layout();
    match &*storage {
        Storage::Cpu(storage) => f(Some((storage, layout))),
        _ => bail!("expected a mask on the CPU"),
    }
}

/// The memory of an image batch, and how it lies there.
pub(crate) type Stored<'a> = (&'a CpuStorage, &'a Layout);

/// Runs `f` on the memory of two tensors.
pub(crate) fn on_cpu<R>(
    x: &Tensor,
    y: &Tensor,
    f: impl FnOnce(Stored, Stored) -> candle_core::Result<R>,
) -> candle_core::Result<R> {
    let ((x, x_layout), (y, y_layout)) = (x.storage_and_layout(), y.storage_and_layout());
    match (&*x, &*y) {
        (Storage::Cpu(x), Storage::Cpu(y)) => f((x, x_layout), (y, y_layout)),
        _ => bail!("expected two tensors on the CPU"),
    }
}

/// Rows of pixels of a plane.
pub(crate) type Reader<'a, T> = Box<dyn RowReader<T> + 'a>;

/// A type that is computed in, and what storages can be read as.
pub(crate) trait Computed: Real + Pixel<Real = Self> + WithDType {
    /// The planes of an image batch, cropped by so many pixels on each side of an axis.
    fn readers<'a>(
        storage: &'a CpuStorage,
        layout: &Layout,
        stages: &Stages,
    ) -> candle_core::Result<Vec<Reader<'a, Self>>>;

    /// [`Stages::image_gradient`] in the dtype of the image, if that is not this type or its pixels went through stages.
    fn stored_gradient(
        stages: &Stages,
        gradient: &[Self],
        factors: &[f64],
        image: &Tensor,
    ) -> candle_core::Result<CpuStorage>;

    /// A score of any kind, as it computes in this type.
    fn score(score: &dyn AnyScore) -> &dyn FusedScore<Self>;
}

impl Computed for f32 {
    fn readers<'a>(
        storage: &'a CpuStorage,
        layout: &Layout,
        stages: &Stages,
    ) -> candle_core::Result<Vec<Reader<'a, f32>>> {
        match storage {
            CpuStorage::F32(pixels) => stages.readers(pixels, layout),
            CpuStorage::F16(pixels) => stages.readers(pixels, layout),
            CpuStorage::BF16(pixels) => stages.readers(pixels, layout),
            CpuStorage::U8(pixels) => stages.readers(pixels, layout),
            _ => bail!("expected images in u8, f16, bf16 or f32, got {:?}", storage_dtype(storage)),
        }
    }

    fn stored_gradient(
        stages: &Stages,
        gradient: &[f32],
        factors: &[f64],
        image: &Tensor,
    ) -> candle_core::Result<CpuStorage> {
        match image.dtype() {
            DType::F16 => stages.pixels_gradient::<f16>(gradient, factors, image),
            DType::BF16 => stages.pixels_gradient::<bf16>(gradient, factors, image),
            _ => stages.pixels_gradient::<f32>(gradient, factors, image),
        }
    }

    fn score(score: &dyn AnyScore) -> &dyn FusedScore<f32> {
        score
    }
}

impl Computed for f64 {
    fn readers<'a>(
        storage: &'a CpuStorage,
        layout: &Layout,
        stages: &Stages,
    ) -> candle_core::Result<Vec<Reader<'a, f64>>> {
        match storage {
            CpuStorage::F64(pixels) => stages.readers(pixels, layout),
            _ => bail!("expected images in f64, got {:?}", storage_dtype(storage)),
        }
    }

    fn stored_gradient(
        stages: &Stages,
        gradient: &[f64],
        factors: &[f64],
        image: &Tensor,
    ) -> candle_core::Result<CpuStorage> {
        stages.pixels_gradient::<f64>(gradient, factors, image)
    }

    fn score(score: &dyn AnyScore) -> &dyn FusedScore<f64> {
        score
    }
}

fn storage_dtype(storage: &CpuStorage) -> DType {
    candle_core::backend::BackendStorage::dtype(storage)
}

/// What is done to the pixels on the way to a score.
pub(crate) struct Stages {
    input: Input,
    spread: Spread,
    /// The weights of the channels in the one plane that is scored, and what is added.
    mixture: Option<([f64; 3], f64)>,
    /// The data ranges that the computing type holds.
    held: RangeInclusive<f64>,
    /// The background of images with alpha.
    over: Option<Over>,
}

impl Stages {
    /// # Errors
    /// A border that leaves nothing, luma of other than three channels, or a data range that the dtype does not hold.
    pub(crate) fn new(op: &str, input: &Input, spread: Spread, images: &Images) -> Result<Self> {
        pair::check_input(op, input, spread, images)?;
        let held = pair::ranges_held_by(pair::compute_dtype(images.pred.dtype()));
        let mixture = pair::channel_weights(input, images.channels());
        let over = images.over.as_ref().map(|over| over.stage(input.range, images.pred.dims()[0])).transpose()?;
        Ok(Self { input: input.clone(), spread, mixture, held, over })
    }

    /// Whether others make planes of the same size and number.
    pub(crate) fn scores_alike(&self, other: &Self) -> bool {
        self.input.crop_border == other.input.crop_border
            && self.mixture == other.mixture
            && self.clamp() == other.clamp()
    }

    /// The same images as they are, but for what is cropped.
    fn unchanged(&self) -> Self {
        let input = Input { crop_border: self.input.crop_border, ..Input::new(DataRange::Value(1.0)) };
        Self { input, spread: Spread::Unused, mixture: None, held: self.held.clone(), over: None }
    }

    /// What is cropped from either end of the axes of a plane.
    fn border(&self, axes: usize) -> [usize; 3] {
        let border = self.input.crop_border;
        [if axes == 3 { border } else { 0 }, border, border]
    }

    fn clamp(&self) -> Option<(f64, f64)> {
        match self.input.range {
            DataRange::Clamp(low, high) => Some((low, high)),
            _ => None,
        }
    }

    /// The planes of a batch that are scored: one a channel, or one an image.
    fn readers<'a, P: Pixel>(&self, pixels: &'a [P], layout: &Layout) -> candle_core::Result<Vec<Reader<'a, P::Real>>> {
        let planes = planes(pixels, layout, self.border(layout.dims().len() - 2))?;
        if let Some(over) = self.over.as_ref().filter(|over| layout.dims()[1] > over.channels) {
            return Ok(self.staged(composites(&planes, over)));
        }
        Ok(self.staged(planes))
    }

    /// Planes of color, clamped and mixed.
    fn staged<'a, T: Real, R: RowReader<T> + 'a>(&self, planes: Vec<R>) -> Vec<Reader<'a, T>> {
        let (low, high) = self.clamp().unwrap_or((f64::NEG_INFINITY, f64::INFINITY));
        let clamp = |pixels: R| Clamp { pixels, low: T::of(low), high: T::of(high) };
        let Some((weights, offset)) = self.mixture else {
            return match self.clamp() {
                None => planes.into_iter().map(|plane| Box::new(plane) as Reader<T>).collect(),
                Some(_) => planes.into_iter().map(|plane| Box::new(clamp(plane)) as Reader<T>).collect(),
            };
        };
        let (weights, offset) = (weights.map(T::of), T::of(offset));
        let (mut planes, mut mixed) = (planes.into_iter(), Vec::new());
        while let (Some(red), Some(green), Some(blue)) = (planes.next(), planes.next(), planes.next()) {
            let rgb = [red, green, blue];
            // Clamping to everything costs a copy of each row.
            mixed.push(match self.clamp() {
                None => Box::new(WeightedSum { planes: rgb, weights, offset }) as Reader<T>,
                Some(_) => Box::new(WeightedSum { planes: rgb.map(clamp), weights, offset }),
            });
        }
        mixed
    }

    /// The data range of each image.
    fn ranges<T: Real>(&self, images: usize, x: &[Reader<T>], y: &[Reader<T>], masks: Option<&Masks<T>>) -> Vec<f64> {
        if let Some(range) = self.input.range.fixed().filter(|_| !matches!(self.spread, Spread::Unused)) {
            return vec![range; images];
        }
        let of_images = |readers: &[Reader<T>]| -> Vec<f64> {
            let masks = masks.map_or(Vec::new(), |masks| masks.of_planes(readers.len()));
            let mut found = spread(readers, &masks, readers.len() / images);
            if self.input.range == DataRange::PerBatch {
                let all = found.iter().copied().fold(Default::default(), PixelSpread::join);
                found.fill(all);
            }
            found.into_iter().map(PixelSpread::size).collect()
        };
        let found = match self.spread {
            Spread::Unused => return vec![f64::NAN; images],
            Spread::Target => of_images(y),
            Spread::Larger => of_images(x).into_iter().zip(of_images(y)).map(|(x, y)| x.max(y)).collect(),
        };
        found.into_iter().map(|range| self.held_range(range)).collect()
    }

    /// Constant images have no spread: with range 1, two equal ones score 1 instead of 0/0.
    fn held_range(&self, range: f64) -> f64 {
        let range = if range == 0.0 { 1.0 } else { range };
        if self.held.contains(&range) { range } else { f64::NAN }
    }

    /// From the gradient with respect to the planes that were scored (dense, one after another), each times its factor, to the
    /// gradient with respect to the image batch.
    pub(crate) fn image_gradient<T: Computed>(
        &self,
        mut gradient: Vec<T>,
        factors: &[f64],
        image: &Tensor,
    ) -> candle_core::Result<Tensor> {
        let has_alpha = self.over.as_ref().is_some_and(|over| image.dims()[1] > over.channels);
        let plain = self.input.crop_border == 0 && self.clamp().is_none() && self.mixture.is_none() && !has_alpha;
        let storage = if plain && image.dtype() == T::DTYPE {
            scale(&mut gradient, factors);
            T::to_cpu_storage_owned(gradient)
        } else {
            T::stored_gradient(self, &gradient, factors, image)?
        };
        Ok(Tensor::from_storage(Storage::Cpu(storage), image.shape().clone(), BackpropOp::none(), false))
    }

    /// [`image_gradient`](Self::image_gradient) in the pixels' type, row by row.
    fn pixels_gradient<P: Pixel + WithDType>(
        &self,
        gradient: &[P::Real],
        factors: &[f64],
        image: &Tensor,
    ) -> candle_core::Result<CpuStorage>
    where
        P::Real: Computed,
    {
        let (storage, layout) = image.storage_and_layout();
        let Storage::Cpu(storage) = &*storage else { bail!("expected an image on the CPU") };
        let [depth, height, width] = plane_dims(layout.dims())?;
        let border = self.border(layout.dims().len() - 2);
        let inner = [0, 1, 2].map(|axis| [depth, height, width][axis] - 2 * border[axis]);
        let uncropped = Stages { input: Input::new(DataRange::Value(1.0)), ..self.unchanged() };
        let pixels = <P::Real as Computed>::readers(storage, layout, &uncropped)?;
        let over = self.over.as_ref().filter(|over| layout.dims()[1] > over.channels);
        let colors = match over {
            Some(_) => {
                <P::Real as Computed>::readers(storage, layout, &Stages { over: self.over.clone(), ..uncropped })?
            }
            None => Vec::new(),
        };
        let colors = if colors.is_empty() { &pixels } else { &colors };
        let make = |number: usize, out: &mut [P]| {
            let (plane, at) = (number / (depth * height), [number / height % depth, number % height]);
            let place = |axis: usize| at[axis].checked_sub(border[axis]).filter(|&line| line < inner[axis]);
            out.fill(P::default());
            let (Some(z), Some(y)) = (place(0), place(1)) else { return };
            // The gradient with respect to a plane of color.
            let of_color = |color: usize, columns: Range<usize>, slopes: &mut [P::Real]| {
                let scored = if self.mixture.is_some() { color / 3 } else { color };
                let row = &gradient[((scored * inner[0] + z) * inner[1] + y) * inner[2]..][..inner[2]];
                let weight = factors[scored] * self.mixture.map_or(1.0, |(weights, _)| weights[color % 3]);
                let (weight, row) = (P::Real::of(weight), &row[columns.start - border[2]..][..columns.len()]);
                slopes.iter_mut().zip(row).for_each(|(slope, &value)| *slope = value * weight);
                if let Some((low, high)) = self.clamp() {
                    clamp_adjoint(&*colors[color], at, columns, [low, high].map(P::Real::of), slopes);
                }
            };
            let mut slopes = [P::Real::default(); 256];
            for start in (border[2]..border[2] + inner[2]).step_by(slopes.len()) {
                let columns = start..(start + slopes.len()).min(border[2] + inner[2]);
                let slopes = &mut slopes[..columns.len()];
                match over {
                    None => of_color(plane, columns.clone(), slopes),
                    Some(over) => over_adjoint(over, (&pixels, plane), at, columns.clone(), slopes, of_color),
                }
                P::narrow(slopes, &mut out[columns]);
            }
        };
        let out = engine::rows(layout.shape().elem_count() / width, width, make);
        Ok(P::to_cpu_storage_owned(out))
    }
}

/// Colors over a background from planes of which every last one of an image is alpha.
fn composites<'a, P: Pixel>(planes: &[Plane<'a, P>], over: &Over) -> Vec<Composite<'a, P>> {
    let of_image = |(image, planes): (usize, &[Plane<'a, P>])| {
        let (colors, alpha) = (&planes[..over.channels], planes[over.channels]);
        let composite = |(channel, &color): (usize, &Plane<'a, P>)| Composite {
            color,
            alpha,
            background: P::Real::of(over.colors[image * over.channels + channel]),
            premultiplied: over.premultiplied,
            of_alpha: over.alpha.map(P::Real::of),
        };
        colors.iter().enumerate().map(composite).collect::<Vec<_>>()
    };
    planes.chunks_exact(over.channels + 1).enumerate().flat_map(of_image).collect()
}

/// From the gradients with respect to composited colors to that with respect to a plane of an image with alpha: `∂/∂c = α ∂/∂x` and
/// `∂/∂α = Σ (c - b) ∂/∂x`; of premultiplied colors `∂/∂c = ∂/∂x` and `∂/∂α = -Σ b ∂/∂x`.
fn over_adjoint<T: Real>(
    over: &Over,
    (pixels, plane): (&[Reader<T>], usize),
    at: [usize; 2],
    columns: Range<usize>,
    slopes: &mut [T],
    of_color: impl Fn(usize, Range<usize>, &mut [T]),
) {
    let (image, channel) = (plane / (over.channels + 1), plane % (over.channels + 1));
    let mut values = vec![T::default(); columns.len()];
    let zero = T::default();
    if channel < over.channels {
        of_color(image * over.channels + channel, columns.clone(), slopes);
        if !over.premultiplied {
            let [scale, offset] = over.alpha.map(T::of);
            pixels[image * (over.channels + 1) + over.channels].copy_row(at, columns, &mut values);
            for (slope, alpha) in slopes.iter_mut().zip(values) {
                // What does not count may be NaN.
                *slope = if *slope == zero { zero } else { *slope * (alpha * scale + offset) };
            }
        }
        return;
    }
    slopes.fill(zero);
    let mut of_one = vec![zero; columns.len()];
    for color in 0..over.channels {
        of_color(image * over.channels + color, columns.clone(), &mut of_one);
        let background = T::of(over.colors[image * over.channels + color]);
        pixels[image * (over.channels + 1) + color].copy_row(at, columns.clone(), &mut values);
        for ((sum, &slope), &color) in slopes.iter_mut().zip(&of_one).zip(&values) {
            let own = if over.premultiplied { zero } else { color };
            if slope != zero {
                *sum = *sum + slope * (own - background);
            }
        }
    }
    let scale = T::of(over.alpha[0]);
    slopes.iter_mut().for_each(|slope| *slope = *slope * scale);
}

/// The gradient of clamping is 1 within the bounds and on them, as in PyTorch; that of NaN is 1, too.
fn clamp_adjoint<T: Real>(
    pixels: &dyn RowReader<T>,
    at: [usize; 2],
    columns: Range<usize>,
    [low, high]: [T; 2],
    gradient: &mut [T],
) {
    let mut values = vec![T::default(); gradient.len()];
    pixels.copy_row(at, columns, &mut values);
    for (gradient, value) in gradient.iter_mut().zip(values) {
        if value < low || value > high {
            *gradient = T::default();
        }
    }
}

/// Multiplies dense planes by a factor each, where it is not 1.
pub(crate) fn scale<T: Real>(planes: &mut [T], factors: &[f64]) {
    if factors.iter().all(|&factor| factor == 1.0) {
        return;
    }
    let plane = planes.len() / factors.len();
    for (plane, &factor) in planes.chunks_exact_mut(plane.max(1)).zip(factors).filter(|(_, factor)| **factor != 1.0) {
        let factor = T::of(factor);
        plane.par_chunks_mut(1 << 15).for_each(|part| part.iter_mut().for_each(|value| *value = *value * factor));
    }
}

/// Every plane of an image batch, without a border.
fn planes<'a, P: Pixel>(
    pixels: &'a [P],
    layout: &Layout,
    border: [usize; 3],
) -> candle_core::Result<Vec<Plane<'a, P>>> {
    let dims = plane_dims(layout.dims())?;
    let (outer, inner) = layout.stride().split_at(2);
    let mut strides = [0; 3];
    strides[3 - inner.len()..].copy_from_slice(inner);
    let skipped: usize = (0..3).map(|axis| border[axis] * strides[axis]).sum();
    let inner_dims = [0, 1, 2].map(|axis| dims[axis].saturating_sub(2 * border[axis]));
    let plane = |at: usize| {
        let (image, channel) = (at / layout.dims()[1], at % layout.dims()[1]);
        let start = layout.start_offset() + image * outer[0] + channel * outer[1] + skipped;
        match pixels.get(start..).and_then(|pixels| Plane::new(pixels, inner_dims, strides)) {
            Some(plane) => Ok(plane),
            None => bail!("{layout:?} reaches beyond its {} elements", pixels.len()),
        }
    };
    (0..layout.dims()[0] * layout.dims()[1]).map(plane).collect()
}

/// Depth (1 of planes), height and width of the planes of a batch.
fn plane_dims(shape: &[usize]) -> candle_core::Result<[usize; 3]> {
    match *shape {
        [_, _, height, width] => Ok([1, height, width]),
        [_, _, depth, height, width] => Ok([depth, height, width]),
        _ => bail!("expected [N, C, H, W] or [N, C, D, H, W], got {shape:?}"),
    }
}

/// `sum + more`, in place.
pub(crate) fn add<T: Real>(sum: &mut Option<Vec<T>>, more: Option<Vec<T>>) {
    match (sum, more) {
        (Some(sum), Some(more)) => {
            let parts = sum.par_chunks_mut(1 << 15).zip(more.par_chunks(1 << 15));
            parts.for_each(|(sum, more)| sum.iter_mut().zip(more).for_each(|(sum, &more)| *sum = *sum + more));
        }
        (sum, more) => *sum = sum.take().or(more),
    }
}

/// How much the pixels of each image count, or of each of its channels.
struct Masks<'a, T: Real> {
    planes: Vec<Reader<'a, T>>,
    /// Whether all pixels of a plane count alike, with weight 1.
    ones: Vec<bool>,
}

impl<'a, T: Computed> Masks<'a, T> {
    fn new((storage, layout): Stored<'a>, stages: &Stages) -> candle_core::Result<Self> {
        let planes = T::readers(storage, layout, &stages.unchanged())?;
        let everywhere = planes[0].dims().map(|side| 0..side);
        let readers: Vec<_> = planes.iter().map(|plane| Some(&**plane)).collect();
        let mut ones = Vec::with_capacity(planes.len());
        for (spread, sum) in spread(&planes, &[], 1).into_iter().zip(weight_sums(&readers, &everywhere)) {
            let (low, high, sum) = (spread.low(), spread.high(), sum.unwrap_or_default());
            if low < 0.0 || !sum.is_finite() {
                let found = if low < 0.0 { low.to_string() } else { "one that is not finite".to_owned() };
                bail!("`mask` has a weight of {found}, expected finite weights that are not negative");
            }
            ones.push([low, high] == [1.0; 2]);
        }
        Ok(Self { planes, ones })
    }
}

impl<T: Real> Masks<'_, T> {
    /// The masks of `count` planes that are scored; none where all pixels count alike.
    fn of_planes(&self, count: usize) -> Vec<Option<&dyn RowReader<T>>> {
        let of_plane = |plane: usize| plane / (count / self.planes.len());
        (0..count).map(of_plane).map(|at| (!self.ones[at]).then(|| &*self.planes[at])).collect()
    }
}

/// The sum of the weights of each of `planes` in a region: its size where there is no mask.
pub(crate) fn weights_or_size<T: Real>(
    masks: &[Option<&dyn RowReader<T>>],
    planes: usize,
    region: &Region,
) -> Vec<f64> {
    let size = region.iter().map(|run| run.len()).product::<usize>() as f64;
    let mut sums = weight_sums(masks, region);
    sums.resize(planes, None);
    sums.into_iter().map(|sum| sum.unwrap_or(size)).collect()
}

/// Both batches as pairs of planes, image by image.
pub(crate) struct Planes<'a, T: Real> {
    x: Vec<Reader<'a, T>>,
    y: Vec<Reader<'a, T>>,
    masks: Option<Masks<'a, T>>,
    /// Images in the tensors.
    batch: usize,
    /// The data range of each image.
    ranges: Vec<f64>,
    images: usize,
    axes: usize,
}

impl<'a, T: Computed> Planes<'a, T> {
    pub(crate) fn new([x, y]: [Stored<'a>; 2], mask: Option<Stored<'a>>, stages: &Stages) -> candle_core::Result<Self> {
        let (images, axes) = (x.1.dims()[0], x.1.dims().len() - 2);
        let (x, y) = (T::readers(x.0, x.1, stages)?, T::readers(y.0, y.1, stages)?);
        let masks = mask.map(|mask| Masks::new(mask, stages)).transpose()?;
        let ranges = stages.ranges(images, &x, &y, masks.as_ref());
        Ok(Self { x, y, masks, batch: images, ranges, images, axes })
    }
}

impl<T: Real> Planes<'_, T> {
    /// Each channel as an image.
    pub(crate) fn by_channel(self) -> Self {
        let ranges = self.of_planes(&self.ranges);
        Self { ranges, images: self.x.len(), ..self }
    }

    pub(crate) fn images(&self) -> usize {
        self.images
    }

    /// Images in the tensors.
    pub(crate) fn batch(&self) -> usize {
        self.batch
    }

    /// How much the pixels of each plane count, of those where not all count alike; empty if there is none.
    pub(crate) fn masks(&self) -> Vec<Option<&dyn RowReader<T>>> {
        let masks = self.masks.as_ref().filter(|masks| masks.ones.contains(&false));
        masks.map_or_else(Vec::new, |masks| masks.of_planes(self.x.len()))
    }

    /// The sum of the weights of each plane in a region: its size where all pixels count alike.
    pub(crate) fn weights(&self, region: &Region) -> Vec<f64> {
        weights_or_size(&self.masks(), self.x.len(), region)
    }

    /// How many values of each image count, or the sum of their weights.
    pub(crate) fn values(&self) -> Vec<f64> {
        let everywhere = self.dims().map(|side| 0..side);
        self.weights(&everywhere).chunks(self.channels()).map(|planes| planes.iter().sum()).collect()
    }

    /// Planes of an image.
    pub(crate) fn channels(&self) -> usize {
        self.x.len() / self.images
    }

    /// Spatial axes: two, or three of volumes.
    pub(crate) fn axes(&self) -> usize {
        self.axes
    }

    pub(crate) fn dims(&self) -> [usize; 3] {
        self.x[0].dims()
    }

    /// The pairs, plane by plane.
    pub(crate) fn pairs(&self) -> Vec<[&dyn RowReader<T>; 2]> {
        self.x.iter().zip(&self.y).map(|(x, y)| [&**x, &**y]).collect()
    }

    /// The data range of each plane.
    pub(crate) fn ranges(&self) -> Vec<f64> {
        self.of_planes(&self.ranges)
    }

    /// A number for each plane from one for each image.
    pub(crate) fn of_planes(&self, of_images: &[f64]) -> Vec<f64> {
        of_images.iter().flat_map(|&number| std::iter::repeat_n(number, self.channels())).collect()
    }
}
