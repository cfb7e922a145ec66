//! The Candle operation of the CPU: scores of a pair of image batches, with the gradient made on the way.
//!
//! On a CPU a score is fused: [`FusedScore::fused`] gives the scores of all images and, for the inputs that track, the gradient of what
//! becomes of them, from reading the images once. The gradient waits in the operation until `bwd` takes it; what has come from above
//! scales it in place. On other devices a score is composed of the device's kernels and Candle's operations.

use std::any::Any;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use candle_core::op::BackpropOp;
use candle_core::{CpuStorage, CustomOp1, CustomOp2, DType, Layout, Shape, Storage, Tensor, Var, bail};
use metrics_core::{Error, Reduction, Result};
use metrics_detach::is_eval;

use crate::compare::Compare;
use crate::config::Input;
use crate::engine::backend::{self, Planar};
use crate::engine::{Gradients, Upstream as MapUpstream, reference};
use crate::pair::{self, Images, Pair, Spread, compute_dtype};
use crate::planes::{Computed, Planes, Stages, Stored, add, on_cpu, with_mask};

/// Numbers that are computed of each pair of images: a score, or several of one pass.
pub(crate) trait Score: Send + Sync + 'static {
    fn name(&self) -> &'static str;

    /// How many numbers.
    fn count(&self) -> usize {
        1
    }

    /// Whether to make the gradient together with the scores: not where it is as fast to make it when it is asked for.
    fn saves_gradient(&self) -> bool {
        self.count() == 1
    }

    /// The numbers of all images, `[count, N]` (`[N]` of one), of ordinary operations.
    fn composed(&self, pair: &Pair) -> Result<Tensor>;

    /// What the kernels of GPUs make of planes, if it is made of the sums of two maps.
    fn planar(&self) -> Option<Planar> {
        None
    }

    /// What becomes of `scale · number + offset`, by the fused kernels of the images' device, if it has any for this score.
    fn on_gpu(&self, pair: &Pair, output: Output, affine: [f64; 2]) -> Option<Result<Tensor>> {
        backend::planar(pair, self.planar()?, output, affine)
    }

    /// The score at every place, of ordinary operations, if there is one.
    fn composed_map(&self, _pair: &Pair) -> Result<Tensor> {
        Err(Error::argument(self.name(), "expected a score with a map"))
    }
}

/// The same numbers from the engine, computed in `T`.
pub(crate) trait FusedScore<T: Computed>: Score {
    /// The numbers of all images, `[count, N]`, and the gradient of their sum weighted by `upstream` (of the same shape), with
    /// respect to the pixels of the images that want one.
    fn fused(&self, planes: &Planes<T>, upstream: Option<&Upstream>) -> candle_core::Result<Fused<T>>;

    /// The score at every place, if it has one there.
    fn fused_map(&self, _planes: &Planes<T>) -> candle_core::Result<Mapped<T>> {
        bail!("{} has no map", self.name())
    }

    /// The gradients of the sum of the map weighted by `upstream`, dense planes one after another.
    fn map_gradients(
        &self,
        _planes: &Planes<T>,
        _upstream: &[T],
        _wanted: [bool; 2],
    ) -> candle_core::Result<[Option<Vec<T>>; 2]> {
        bail!("{} has no map", self.name())
    }
}

/// A score of any kind. The functions that take one are not generic, so that the engine is compiled in this crate alone, and not again
/// in every crate that has a metric.
pub(crate) trait AnyScore: FusedScore<f32> + FusedScore<f64> {}

impl<S: FusedScore<f32> + FusedScore<f64>> AnyScore for S {}

/// What a gradient is of, and with respect to what.
pub(crate) struct Upstream {
    /// The derivative with respect to each number.
    pub(crate) weights: Vec<f64>,
    /// Whether x and y want a gradient.
    pub(crate) wanted: [bool; 2],
}

impl Upstream {
    /// The derivatives with respect to the sums of each plane's maps, from those of the plane's number, which has a share in that of
    /// its image.
    pub(crate) fn of_sums<T>(
        &self,
        derivatives: &[[f64; 2]],
        shares: &[f64],
        channels: usize,
    ) -> Gradients<'static, [f64; 2], T> {
        let of_plane = |(plane, derivatives): (usize, &[f64; 2])| {
            let weight = self.weights[plane / channels] * shares[plane];
            MapUpstream::Sums(derivatives.map(|derivative| if weight == 0.0 { 0.0 } else { weight * derivative }))
        };
        Gradients {
            upstream: derivatives.iter().enumerate().map(of_plane).collect(),
            errors: vec![Default::default(); derivatives.len()],
            wanted: self.wanted,
        }
    }
}

/// The share of each plane in the number of its image: equal ones of those that count.
pub(crate) fn shares(counts: impl Iterator<Item = bool>, channels: usize) -> Vec<f64> {
    let counts: Vec<bool> = counts.collect();
    let of_image = |counts: &[bool]| {
        let all = counts.iter().filter(|counts| **counts).count() as f64;
        counts.iter().map(|&counts| if counts { 1.0 / all } else { 0.0 }).collect::<Vec<_>>()
    };
    counts.chunks(channels).flat_map(of_image).collect()
}

/// The mean of each image's planes that count; NaN if there is none.
pub(crate) fn means(of_planes: &[f64], shares: &[f64], channels: usize) -> Vec<f64> {
    let of_image = |(planes, shares): (&[f64], &[f64])| {
        let counted = planes.iter().zip(shares).filter(|(_, share)| **share > 0.0);
        let count = counted.clone().count() as f64;
        counted.map(|(plane, _)| plane).sum::<f64>() / count
    };
    of_planes.chunks(channels).zip(shares.chunks(channels)).map(of_image).collect()
}

/// The numbers of each image, and dense planes of gradients.
pub(crate) struct Fused<T> {
    pub(crate) numbers: Vec<f64>,
    /// What the number is mixed of, one for each image: of a mixture, else nothing.
    pub(crate) terms: Vec<Vec<f64>>,
    pub(crate) gradients: [Option<Vec<T>>; 2],
}

impl<T> Fused<T> {
    pub(crate) fn new(numbers: Vec<f64>, gradients: [Option<Vec<T>>; 2]) -> Self {
        Self { numbers, terms: Vec::new(), gradients }
    }
}

/// A map, dense planes of `dims` one after another, and the mean of each image.
pub(crate) struct Mapped<T> {
    pub(crate) map: Vec<T>,
    pub(crate) dims: [usize; 3],
    pub(crate) means: Vec<f64>,
}

/// What becomes of the numbers of the images.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Output {
    /// As they are: `[count, N]`, or `[N]` if there is but one.
    PerImage,
    /// One number for each channel, `[N, C]`.
    PerChannel,
    /// Their mean.
    Mean,
    /// Their sum.
    Sum,
}

impl From<Reduction> for Output {
    fn from(reduction: Reduction) -> Self {
        match reduction {
            Reduction::Mean | Reduction::Summary => Self::Mean,
            Reduction::Sum => Self::Sum,
            Reduction::None => Self::PerImage,
        }
    }
}

impl Output {
    /// The derivative of the result with respect to each number.
    fn slope(self, images: usize) -> f64 {
        if self == Self::Mean { 1.0 / images as f64 } else { 1.0 }
    }

    fn of(self, numbers: &[f64], images: usize) -> Vec<f64> {
        match self {
            Self::PerImage | Self::PerChannel => numbers.to_vec(),
            Self::Mean => vec![numbers.iter().sum::<f64>() / images as f64],
            Self::Sum => vec![numbers.iter().sum()],
        }
    }
}

/// A score, and how the images that it is of are read.
pub(crate) struct Prepared<S> {
    pub(crate) score: S,
    pub(crate) images: Images,
    pub(crate) input: Input,
    pub(crate) spread: Spread,
}

/// A score of any kind, and the images that it is of.
pub(crate) type AnyPrepared = Prepared<Box<dyn AnyScore>>;

impl<S: AnyScore> Prepared<S> {
    pub(crate) fn any(self) -> AnyPrepared {
        let Self { score, images, input, spread } = self;
        Prepared { score: Box::new(score), images, input, spread }
    }
}

impl AnyPrepared {
    /// The score by other kernels than those of the CPU.
    fn on_device(self, op: &str, output: Output) -> Result<Tensor> {
        let Self { score, images, input, spread } = self;
        let pair = Pair::new(op, &input, spread, images)?;
        if let Some(fused) = score.on_gpu(&pair, output, [1.0, 0.0]) {
            return fused;
        }
        Ok(match output {
            Output::PerImage => score.composed(&pair)?,
            Output::PerChannel => score.composed(&pair.by_channel()?)?.reshape((pair.pred.dim(0)?, ()))?,
            Output::Mean => score.composed(&pair)?.mean_all()?,
            Output::Sum => score.composed(&pair)?.sum_all()?,
        })
    }
}

/// What becomes of the scores, in the widest dtype of the device.
pub(crate) fn apply(op: &str, prepared: AnyPrepared, output: Output) -> Result<Tensor> {
    Ok(apply_all(op, vec![prepared], output)?.0)
}

/// What becomes of the sum of some scores, and on a CPU what each is mixed of. Scores of the same tensors are one operation.
pub(crate) fn apply_all(op: &str, prepared: Vec<AnyPrepared>, output: Output) -> Result<(Tensor, Terms)> {
    let (mut sum, mut terms): (Option<Tensor>, _) = (None, Terms::new());
    let mut left = prepared.into_iter().peekable();
    while let Some(first) = left.next() {
        let part = if first.images.pred.device().is_cpu() {
            let pred = first.images.pred.id();
            let mut alike = vec![first];
            while let Some(next) = left.next_if(|next| next.images.pred.id() == pred) {
                alike.push(next);
            }
            let (part, more) = on_cpu_together(op, alike, output)?;
            terms.extend(more);
            part
        } else {
            first.on_device(op, output)?
        };
        sum = Some(sum.map_or(Ok(part.clone()), |sum| sum + &part)?);
    }
    Ok((sum.ok_or_else(|| Error::argument(op, "expected a score, got none"))?, terms))
}

/// Scores of the same tensors on a CPU.
fn on_cpu_together(op: &str, prepared: Vec<AnyPrepared>, output: Output) -> Result<(Tensor, Terms)> {
    let images = prepared[0].images.clone().checked()?;
    let wanted = [images.pred.track_op(), images.target.track_op()];
    let fused = Op::new(op, prepared, Request::Numbers(output), &images, wanted)?;
    let beside = Arc::clone(&fused.beside);
    let result = images.pred.apply_op2(&images.target, fused)?;
    Ok((result, beside.get().cloned().unwrap_or_default()))
}

/// The score at every place, `[N, C, …]`, in the dtype that is computed in.
pub(crate) fn map(op: &str, prepared: AnyPrepared) -> Result<Tensor> {
    Ok(mapped(op, prepared)?.0)
}

/// The map of a score, and the mean of each image, `[N]`, which is made on the way.
pub(crate) fn map_and_means(op: &str, prepared: AnyPrepared) -> Result<(Tensor, Tensor)> {
    let pair = prepared
        .images
        .mask
        .is_some()
        .then(|| Pair::new(op, &prepared.input, prepared.spread, prepared.images.clone().detached()));
    let pair = pair.transpose()?;
    let (map, means) = mapped(op, prepared)?;
    let means = match (means, pair) {
        (Some(made), Some(pair)) => {
            let weights = reference::place_weights(&map, &pair)?;
            map.apply_op1(Means { made, weights: Some(weights.to_dtype(map.dtype())?) })?
        }
        (Some(made), None) => map.apply_op1(Means { made, weights: None })?,
        (None, Some(pair)) => reference::weighted_means(&map, &pair)?,
        (None, None) => map.to_dtype(pair::sum_dtype(map.device()))?.flatten_from(1)?.mean(1)?,
    };
    Ok((map, means))
}

/// The map, and on a CPU the means that were made with it.
fn mapped(op: &str, prepared: AnyPrepared) -> Result<(Tensor, Option<Arc<OnceLock<Terms>>>)> {
    if !prepared.images.pred.device().is_cpu() {
        let Prepared { score, images, input, spread } = prepared;
        return Ok((score.composed_map(&Pair::new(op, &input, spread, images)?)?, None));
    }
    let images = prepared.images.clone().checked()?;
    let wanted = [images.pred.track_op(), images.target.track_op()];
    let fused = Op::new(op, vec![prepared], Request::Map, &images, wanted)?;
    let means = Arc::clone(&fused.beside);
    Ok((images.pred.apply_op2(&images.target, fused)?, Some(means)))
}

/// The scalar that [`apply_all`] gives of what is prepared of `pred`, and its gradient with respect to `pred`, without a graph.
///
/// `finish` makes one number of what comes out of the operation.
pub(crate) fn value_and_grad(
    op: &str,
    pred: &Tensor,
    prepare: &dyn Fn(&Tensor) -> Result<Vec<AnyPrepared>>,
    output: Output,
    finish: &dyn Fn(&Tensor) -> Result<Tensor>,
) -> Result<(Tensor, Tensor)> {
    let (pred, dtype) = (pred.detach(), compute_dtype(pred.dtype()));
    let prepared = prepare(&pred)?;
    // Not if they were made of `pred` by Candle's operations, which then take the gradient on.
    let is_scored = prepared.iter().all(|prepared| prepared.images.pred.id() == pred.id());
    if !(pred.device().is_cpu() && is_scored && !prepared.is_empty()) {
        if is_eval() {
            return Err(Error::argument(
                op,
                "there is an eval scope, expected none: this gradient is made through a graph",
            ));
        }
        let var = Var::from_tensor(&pred)?;
        let value = finish(&apply_all(op, prepare(&var)?, output)?.0)?.to_dtype(dtype)?;
        let gradient = value.backward()?.remove(&var);
        return Ok((value.detach(), gradient.map_or_else(|| pred.zeros_like(), Ok)?));
    }
    let images = prepared[0].images.clone().detached().checked()?;
    let fused = Op::new(op, prepared, Request::Numbers(output), &images, [true, false])?;
    let save = fused.saves_gradient();
    let (storage, shape) = on_cpu(&images.pred, &images.target, |x, y| fused.forward(x, y, save))?;
    let numbers = Var::from_tensor(&tensor(storage, shape))?;
    let value = finish(&numbers)?.to_dtype(dtype)?;
    let upstream = value.backward()?.remove(&numbers).map_or_else(|| numbers.zeros_like(), Ok)?;
    let [gradient, _] = fused.backward(&images.pred, &images.target, &upstream, fused.wanted)?;
    Ok((value.detach(), gradient.map_or_else(|| pred.zeros_like(), Ok)?))
}

/// A tensor of its own, without a graph.
fn tensor(storage: CpuStorage, shape: impl Into<Shape>) -> Tensor {
    Tensor::from_storage(Storage::Cpu(storage), shape, BackpropOp::none(), false)
}

/// What fused scores are to make.
#[derive(Clone, Copy, PartialEq)]
enum Request {
    Numbers(Output),
    /// The score at every place, and the mean of each image beside.
    Map,
}

/// Of each term one number for each image.
pub(crate) type Terms = Vec<Vec<f64>>;

/// What is saved of the gradients with respect to both images.
type Saved<T> = Vec<OfImages<T>>;

/// Dense planes of gradients with respect to each image that wants one.
type OfImages<T> = [Option<Vec<T>>; 2];

/// Scores of one pair of images, of which the sum is wanted, as a Candle operation.
struct Op {
    /// The scores, and what is done to pixels before.
    parts: Vec<(Box<dyn AnyScore>, Stages)>,
    mask: Option<Tensor>,
    request: Request,
    /// The inputs that want a gradient.
    wanted: [bool; 2],
    /// `Saved<T>`, of each part the gradients for an upstream of 1, until backward takes them.
    saved: Mutex<Option<Box<dyn Any + Send>>>,
    /// The terms of the parts; of a map, the mean of each image.
    beside: Arc<OnceLock<Terms>>,
}

impl Op {
    fn new(op: &str, prepared: Vec<AnyPrepared>, request: Request, images: &Images, wanted: [bool; 2]) -> Result<Self> {
        let part =
            |Prepared { score, input, spread, .. }: AnyPrepared| Ok((score, Stages::new(op, &input, spread, images)?));
        let parts = prepared.into_iter().map(part).collect::<Result<Vec<_>>>()?;
        let (mask, saved, beside) = (images.mask.clone(), Mutex::default(), Arc::default());
        Ok(Self { parts, mask, request, wanted, saved, beside })
    }

    fn saves_gradient(&self) -> bool {
        self.parts.iter().any(|(score, _)| score.saves_gradient())
    }

    /// Runs `f` on the planes as each part reads them.
    fn with_planes<T: Computed>(
        &self,
        x: Stored,
        y: Stored,
        mut f: impl FnMut(&dyn FusedScore<T>, &Stages, &Planes<T>) -> candle_core::Result<()>,
    ) -> candle_core::Result<()> {
        with_mask(self.mask.as_ref(), |mask| {
            for (score, stages) in &self.parts {
                let planes = Planes::new([x, y], mask, stages)?;
                let by_channel = self.request == Request::Numbers(Output::PerChannel);
                let planes = if by_channel { planes.by_channel() } else { planes };
                f(T::score(&**score), stages, &planes)?;
            }
            Ok(())
        })
    }

    fn forward(&self, x: Stored, y: Stored, save: bool) -> candle_core::Result<(CpuStorage, Shape)> {
        match x.0 {
            CpuStorage::F64(_) => self.made::<f64>(x, y, save),
            _ => self.made::<f32>(x, y, save),
        }
    }

    fn made<T: Computed>(&self, x: Stored, y: Stored, save: bool) -> candle_core::Result<(CpuStorage, Shape)> {
        match self.request {
            Request::Numbers(output) => self.scored::<T>([x, y], output, save),
            Request::Map => self.mapped::<T>(x, y),
        }
    }

    fn mapped<T: Computed>(&self, x: Stored, y: Stored) -> candle_core::Result<(CpuStorage, Shape)> {
        let mut made = None;
        self.with_planes::<T>(x, y, |score, _, planes| {
            let Mapped { map, dims: [depth, height, width], means } = score.fused_map(planes)?;
            // Nothing was in it: an operation is applied once.
            let _ = self.beside.set(vec![means]);
            let (images, channels) = (planes.images(), planes.channels());
            let shape: Shape = match planes.axes() {
                2 => (images, channels, height, width).into(),
                _ => (images, channels, depth, height, width).into(),
            };
            made = Some((T::to_cpu_storage_owned(map), shape));
            Ok(())
        })?;
        made.ok_or_else(|| candle_core::Error::msg("expected a score, got none"))
    }

    fn scored<T: Computed>(
        &self,
        [x, y]: [Stored; 2],
        output: Output,
        save: bool,
    ) -> candle_core::Result<(CpuStorage, Shape)> {
        let images = x.1.dims()[0];
        let (mut sum, mut terms, mut saved) = (Vec::new(), Terms::new(), Saved::<T>::new());
        let (mut scored, mut count) = (images, 1);
        self.with_planes::<T>(x, y, |score, _, planes| {
            (scored, count) = (planes.images(), score.count());
            let weights = vec![output.slope(images); count * scored];
            let upstream = Upstream { weights, wanted: self.wanted };
            let made = score.fused(planes, save.then_some(&upstream))?;
            add_numbers(&mut sum, made.numbers);
            terms.extend(made.terms);
            saved.push(made.gradients);
            Ok(())
        })?;
        if save {
            let saved = self.joined(saved);
            *self.saved.lock().unwrap_or_else(PoisonError::into_inner) = Some(Box::new(saved));
        }
        // Nothing was in it: an operation is applied once.
        let _ = self.beside.set(terms.iter().map(|term| output.of(term, images)).collect());
        let shape: Shape = match (output, count) {
            (Output::PerImage, 1) => images.into(),
            (Output::PerImage, count) => (count, images).into(),
            (Output::PerChannel, _) => (images, scored / images).into(),
            (Output::Mean | Output::Sum, _) => ().into(),
        };
        Ok((CpuStorage::F64(output.of(&sum, scored)), shape))
    }

    /// Gradients of parts that score the same planes become one.
    fn joined<T: Computed>(&self, saved: Saved<T>) -> Saved<T> {
        let mut joined: Saved<T> = Vec::with_capacity(saved.len());
        for (number, mut gradients) in saved.into_iter().enumerate() {
            let stages = &self.parts[number].1;
            if let Some(first) = self.parts[..number].iter().position(|(_, other)| other.scores_alike(stages)) {
                for (sum, gradient) in joined[first].iter_mut().zip(&mut gradients) {
                    add(sum, gradient.take());
                }
            }
            joined.push(gradients);
        }
        joined
    }

    fn backward(
        &self,
        x: &Tensor,
        y: &Tensor,
        upstream: &Tensor,
        wanted: [bool; 2],
    ) -> candle_core::Result<[Option<Tensor>; 2]> {
        match x.dtype() {
            DType::F64 => self.gradients::<f64>(x, y, upstream, wanted),
            _ => self.gradients::<f32>(x, y, upstream, wanted),
        }
    }

    fn gradients<T: Computed>(
        &self,
        x: &Tensor,
        y: &Tensor,
        upstream: &Tensor,
        wanted: [bool; 2],
    ) -> candle_core::Result<[Option<Tensor>; 2]> {
        let upstream = upstream.flatten_all()?;
        let mut saved = self.take_saved().filter(|_| wanted == self.wanted).map(Vec::into_iter);
        let mut made = Vec::with_capacity(self.parts.len());
        on_cpu(x, y, |x, y| {
            self.with_planes::<T>(x, y, |score, _, planes| {
                let ready = saved.as_mut().and_then(Iterator::next);
                made.push(self.planes_gradients(score, planes, &upstream, wanted, ready)?);
                Ok(())
            })
        })?;
        let mut sums = [None, None];
        for ((_, stages), (gradients, factors)) in self.parts.iter().zip(made) {
            for (side, (gradient, image)) in gradients.into_iter().zip([x, y]).enumerate() {
                let Some(gradient) = gradient else { continue };
                let gradient = stages.image_gradient(gradient, &factors, image)?;
                sums[side] = Some(sums[side].take().map_or(Ok(gradient.clone()), |sum: Tensor| sum + &gradient)?);
            }
        }
        Ok(sums)
    }

    /// The gradients with respect to the planes that a part scores, and factors that each plane is still to be multiplied by.
    fn planes_gradients<T: Computed>(
        &self,
        score: &dyn FusedScore<T>,
        planes: &Planes<T>,
        upstream: &Tensor,
        wanted: [bool; 2],
        ready: Option<OfImages<T>>,
    ) -> candle_core::Result<(OfImages<T>, Vec<f64>)> {
        let ones = vec![1.0; planes.ranges().len()];
        let Request::Numbers(output) = self.request else {
            return Ok((score.map_gradients(planes, &upstream.to_vec1::<T>()?, wanted)?, ones));
        };
        let upstream: Vec<f64> = upstream.to_dtype(DType::F64)?.to_vec1()?;
        let of_image = |number: usize| *upstream.get(number).unwrap_or(&upstream[0]);
        if let Some(ready) = ready {
            let factors: Vec<_> = (0..planes.images()).map(of_image).collect();
            return Ok((ready, planes.of_planes(&factors)));
        }
        let slope = output.slope(planes.batch());
        let weights = (0..score.count() * planes.images()).map(|number| slope * of_image(number)).collect();
        Ok((score.fused(planes, Some(&Upstream { weights, wanted }))?.gradients, ones))
    }

    fn take_saved<T: Computed>(&self) -> Option<Saved<T>> {
        let saved = self.saved.lock().unwrap_or_else(PoisonError::into_inner).take()?;
        saved.downcast().ok().map(|saved| *saved)
    }
}

/// Adds the numbers of a part to those of the parts before it.
fn add_numbers(sum: &mut Vec<f64>, numbers: Vec<f64>) {
    if sum.is_empty() {
        *sum = numbers;
    } else {
        sum.iter_mut().zip(numbers).for_each(|(sum, number)| *sum += number);
    }
}

impl CustomOp2 for Op {
    fn name(&self) -> &'static str {
        self.parts.first().map_or("score", |(score, _)| score.name())
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_layout: &Layout,
        y: &CpuStorage,
        y_layout: &Layout,
    ) -> candle_core::Result<(CpuStorage, Shape)> {
        let save = self.wanted.contains(&true) && self.saves_gradient();
        self.forward((x, x_layout), (y, y_layout), save)
    }

    fn bwd(
        &self,
        x: &Tensor,
        y: &Tensor,
        _: &Tensor,
        upstream: &Tensor,
    ) -> candle_core::Result<(Option<Tensor>, Option<Tensor>)> {
        let [dx, dy] = self.backward(x, y, upstream, [x.track_op(), y.track_op()])?;
        Ok((dx, dy))
    }
}

/// The mean of each image's map, which was made with the map, as a Candle operation on that.
struct Means {
    made: Arc<OnceLock<Terms>>,
    /// How much each place counts, if there is a mask.
    weights: Option<Tensor>,
}

impl CustomOp1 for Means {
    fn name(&self) -> &'static str {
        "mean of a map"
    }

    fn cpu_fwd(&self, _: &CpuStorage, layout: &Layout) -> candle_core::Result<(CpuStorage, Shape)> {
        let made = self.made.get().map(Vec::as_slice);
        let Some([means]) = made else { bail!("the map of {:?} has no means", layout.dims()) };
        Ok((CpuStorage::F64(means.clone()), means.len().into()))
    }

    fn bwd(&self, map: &Tensor, _: &Tensor, upstream: &Tensor) -> candle_core::Result<Option<Tensor>> {
        let mut of_images = vec![1; map.rank()];
        of_images[0] = map.dim(0)?;
        let Some(weights) = &self.weights else {
            let places = map.elem_count() / of_images[0];
            let slope = upstream.affine(1.0 / places as f64, 0.0)?.to_dtype(map.dtype())?;
            return Ok(Some(slope.reshape(of_images)?.broadcast_as(map.shape())?));
        };
        let sums = weights.flatten_from(1)?.to_dtype(upstream.dtype())?.sum(1)?;
        // An image without weight has no gradient.
        let slope = (upstream * sums.above(0.0)?.where_cond(&sums.recip()?, &sums.zeros_like()?)?)?;
        Ok(Some(slope.to_dtype(map.dtype())?.reshape(of_images)?.broadcast_mul(weights)?))
    }
}
