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

use crate::config::Input;
use crate::engine::{Gradients, Upstream as MapUpstream};
use crate::measure::Measure;
use crate::pair::{self, Pair, Spread, compute_dtype};
use crate::planes::{Computed, Planes, Stages, Stored, on_cpu};

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

    /// What becomes of `scale · number + offset`, by the fused kernels of the images' device, if it has any for this score.
    fn on_gpu(&self, _pair: &Pair, _output: Output, _affine: [f64; 2]) -> Option<Result<Tensor>> {
        None
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
    /// The derivatives with respect to the sums of each plane's maps, from those of the plane's number. An image's number is the mean
    /// of those of its planes.
    pub(crate) fn of_sums<M: Measure<Maps<f64> = [f64; 2]>, T>(
        &self,
        derivatives: &[[f64; 2]],
        channels: usize,
    ) -> Gradients<'static, M, T> {
        let of_plane = |(plane, derivatives): (usize, &[f64; 2])| {
            let weight = self.weights[plane / channels] / channels as f64;
            MapUpstream::Sums(derivatives.map(|derivative| weight * derivative))
        };
        Gradients {
            upstream: derivatives.iter().enumerate().map(of_plane).collect(),
            errors: vec![[0.0; 2]; derivatives.len()],
            wanted: self.wanted,
        }
    }
}

/// The mean of each image's planes.
pub(crate) fn means(of_planes: &[f64], channels: usize) -> Vec<f64> {
    of_planes.chunks(channels).map(|planes| planes.iter().sum::<f64>() / channels as f64).collect()
}

/// The numbers of each image, and dense planes of gradients.
pub(crate) struct Fused<T> {
    pub(crate) numbers: Vec<f64>,
    pub(crate) gradients: [Option<Vec<T>>; 2],
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

/// A score, and the images that it is of.
pub(crate) struct Prepared<S> {
    pub(crate) score: S,
    pub(crate) pred: Tensor,
    pub(crate) target: Tensor,
    pub(crate) input: Input,
    pub(crate) spread: Spread,
}

/// A score of any kind, and the images that it is of.
pub(crate) type AnyPrepared = Prepared<Box<dyn AnyScore>>;

impl<S: AnyScore> Prepared<S> {
    pub(crate) fn any(self) -> AnyPrepared {
        let Self { score, pred, target, input, spread } = self;
        Prepared { score: Box::new(score), pred, target, input, spread }
    }
}

/// What becomes of the scores, in the widest dtype of the device.
pub(crate) fn apply(op: &str, prepared: AnyPrepared, output: Output) -> Result<Tensor> {
    let Prepared { score, pred, target, input, spread } = prepared;
    let (pred, target) = pair::checked(op, &pred, &target)?;
    if pred.device().is_cpu() {
        let stages = Stages::new(op, &input, spread, &pred)?;
        let op = Op::new(score, stages, Request::Numbers(output), [pred.track_op(), target.track_op()]);
        return Ok(pred.apply_op2(&target, op)?);
    }
    let pair = Pair::new(op, &input, spread, &pred, &target)?;
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

/// The score at every place, `[N, C, …]`, in the dtype that is computed in.
pub(crate) fn map(op: &str, prepared: AnyPrepared) -> Result<Tensor> {
    Ok(mapped(op, prepared)?.0)
}

/// The map of a score, and the mean of each image, `[N]`, which is made on the way.
pub(crate) fn map_and_means(op: &str, prepared: AnyPrepared) -> Result<(Tensor, Tensor)> {
    let (map, means) = mapped(op, prepared)?;
    let means = match means {
        Some(means) => map.apply_op1(means)?,
        None => map.to_dtype(pair::sum_dtype(map.device()))?.flatten_from(1)?.mean(1)?,
    };
    Ok((map, means))
}

/// The map, and on a CPU the means that were made with it.
fn mapped(op: &str, prepared: AnyPrepared) -> Result<(Tensor, Option<Means>)> {
    let Prepared { score, pred, target, input, spread } = prepared;
    let (pred, target) = pair::checked(op, &pred, &target)?;
    if !pred.device().is_cpu() {
        return Ok((score.composed_map(&Pair::new(op, &input, spread, &pred, &target)?)?, None));
    }
    let stages = Stages::new(op, &input, spread, &pred)?;
    let fused = Op::new(score, stages, Request::Map, [pred.track_op(), target.track_op()]);
    let means = Means(Arc::clone(&fused.means));
    Ok((pred.apply_op2(&target, fused)?, Some(means)))
}

/// The scalar that [`apply`] gives, and its gradient with respect to `pred`, without a graph.
///
/// `finish` makes one number of what comes out of the operation.
pub(crate) fn value_and_grad(
    op: &str,
    prepared: AnyPrepared,
    output: Output,
    finish: &dyn Fn(&Tensor) -> Result<Tensor>,
) -> Result<(Tensor, Tensor)> {
    let dtype = compute_dtype(prepared.pred.dtype());
    let Prepared { score, pred, target, input, spread } = prepared;
    let (pred, target) = pair::checked(op, &pred.detach(), &target.detach())?;
    if !pred.device().is_cpu() {
        let var = Var::from_tensor(&pred)?;
        let prepared = Prepared { score, pred: var.as_tensor().clone(), target, input, spread };
        let value = finish(&apply(op, prepared, output)?)?.to_dtype(dtype)?;
        let gradient = value.backward()?.remove(&var);
        return Ok((value.detach(), gradient.map_or_else(|| pred.zeros_like(), Ok)?));
    }
    let stages = Stages::new(op, &input, spread, &pred)?;
    let fused = Op::new(score, stages, Request::Numbers(output), [true, false]);
    let (storage, shape) = on_cpu(&pred, &target, |x, y| fused.forward(x, y, fused.score.saves_gradient()))?;
    let numbers = Var::from_tensor(&tensor(storage, shape))?;
    let value = finish(&numbers)?.to_dtype(dtype)?;
    let upstream = value.backward()?.remove(&numbers).map_or_else(|| numbers.zeros_like(), Ok)?;
    let [gradient, _] = fused.backward(&pred, &target, &upstream, fused.wanted)?;
    Ok((value.detach(), gradient.map_or_else(|| pred.zeros_like(), Ok)?))
}

/// A tensor of its own, without a graph.
fn tensor(storage: CpuStorage, shape: impl Into<Shape>) -> Tensor {
    Tensor::from_storage(Storage::Cpu(storage), shape, BackpropOp::none(), false)
}

/// What a fused score is to make.
#[derive(Clone, Copy, PartialEq)]
enum Request {
    Numbers(Output),
    /// The score at every place, and the mean of each image beside.
    Map,
}

/// A fused score as a Candle operation.
struct Op {
    score: Box<dyn AnyScore>,
    stages: Stages,
    request: Request,
    /// The inputs that want a gradient.
    wanted: [bool; 2],
    /// `[Option<Vec<T>>; 2]`, the gradients for an upstream of 1, until backward takes them.
    saved: Mutex<Option<Box<dyn Any + Send>>>,
    /// The mean of each image, beside a map.
    means: Arc<OnceLock<Vec<f64>>>,
}

impl Op {
    fn new(score: Box<dyn AnyScore>, stages: Stages, request: Request, wanted: [bool; 2]) -> Self {
        Self { score, stages, request, wanted, saved: Mutex::default(), means: Arc::default() }
    }

    fn planes<'a, T: Computed>(&self, x: Stored<'a>, y: Stored<'a>) -> candle_core::Result<Planes<'a, T>> {
        let planes = Planes::new(x, y, &self.stages)?;
        Ok(if self.request == Request::Numbers(Output::PerChannel) { planes.by_channel() } else { planes })
    }

    fn forward(&self, x: Stored, y: Stored, save: bool) -> candle_core::Result<(CpuStorage, Shape)> {
        match x.0 {
            CpuStorage::F64(_) => self.made(&self.planes::<f64>(x, y)?, x.1.dims()[0], save),
            _ => self.made(&self.planes::<f32>(x, y)?, x.1.dims()[0], save),
        }
    }

    fn made<T: Computed>(
        &self,
        planes: &Planes<T>,
        images: usize,
        save: bool,
    ) -> candle_core::Result<(CpuStorage, Shape)> {
        match self.request {
            Request::Numbers(output) => self.scored(planes, output, images, save),
            Request::Map => self.mapped(planes),
        }
    }

    fn mapped<T: Computed>(&self, planes: &Planes<T>) -> candle_core::Result<(CpuStorage, Shape)> {
        let Mapped { map, dims: [depth, height, width], means } = T::score(&*self.score).fused_map(planes)?;
        // Nothing was in it: an operation is applied once.
        let _ = self.means.set(means);
        let (images, channels) = (planes.images(), planes.channels());
        let shape: Shape = match planes.axes() {
            2 => (images, channels, height, width).into(),
            _ => (images, channels, depth, height, width).into(),
        };
        Ok((T::to_cpu_storage_owned(map), shape))
    }

    fn scored<T: Computed>(
        &self,
        planes: &Planes<T>,
        output: Output,
        images: usize,
        save: bool,
    ) -> candle_core::Result<(CpuStorage, Shape)> {
        let scored = planes.images();
        let weights = vec![output.slope(images); self.score.count() * scored];
        let upstream = Upstream { weights, wanted: self.wanted };
        let Fused { numbers, gradients } = T::score(&*self.score).fused(planes, save.then_some(&upstream))?;
        if save {
            *self.saved.lock().unwrap_or_else(PoisonError::into_inner) = Some(Box::new(gradients));
        }
        let shape: Shape = match (output, self.score.count()) {
            (Output::PerImage, 1) => images.into(),
            (Output::PerImage, count) => (count, images).into(),
            (Output::PerChannel, _) => (images, scored / images).into(),
            (Output::Mean | Output::Sum, _) => ().into(),
        };
        Ok((CpuStorage::F64(output.of(&numbers, scored)), shape))
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
        let ([dx, dy], factors) = on_cpu(x, y, |x, y| {
            let planes = self.planes::<T>(x, y)?;
            let Request::Numbers(output) = self.request else {
                let gradients = T::score(&*self.score).map_gradients(&planes, &upstream.to_vec1::<T>()?, wanted)?;
                return Ok((gradients, vec![1.0; planes.ranges().len()]));
            };
            let upstream: Vec<f64> = upstream.to_dtype(DType::F64)?.to_vec1()?;
            let of_image = |number: usize| *upstream.get(number).unwrap_or(&upstream[0]);
            if let Some(saved) = self.take_saved().filter(|_| wanted == self.wanted) {
                let factors: Vec<_> = (0..planes.images()).map(of_image).collect();
                return Ok((saved, planes.of_planes(&factors)));
            }
            let slope = output.slope(x.1.dims()[0]);
            let weights = (0..self.score.count() * planes.images()).map(|number| slope * of_image(number)).collect();
            let made = T::score(&*self.score).fused(&planes, Some(&Upstream { weights, wanted }))?.gradients;
            Ok((made, vec![1.0; planes.ranges().len()]))
        })?;
        let finish = |gradient: Option<Vec<T>>, image: &Tensor| {
            gradient.map(|gradient| self.stages.image_gradient(gradient, &factors, image)).transpose()
        };
        Ok([finish(dx, x)?, finish(dy, y)?])
    }

    fn take_saved<T: Computed>(&self) -> Option<[Option<Vec<T>>; 2]> {
        let saved = self.saved.lock().unwrap_or_else(PoisonError::into_inner).take()?;
        saved.downcast().ok().map(|saved| *saved)
    }
}

impl CustomOp2 for Op {
    fn name(&self) -> &'static str {
        self.score.name()
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_layout: &Layout,
        y: &CpuStorage,
        y_layout: &Layout,
    ) -> candle_core::Result<(CpuStorage, Shape)> {
        let save = self.wanted.contains(&true) && self.score.saves_gradient();
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
struct Means(Arc<OnceLock<Vec<f64>>>);

impl CustomOp1 for Means {
    fn name(&self) -> &'static str {
        "mean of a map"
    }

    fn cpu_fwd(&self, _: &CpuStorage, layout: &Layout) -> candle_core::Result<(CpuStorage, Shape)> {
        let Some(means) = self.0.get() else { bail!("the map of {:?} has no means", layout.dims()) };
        Ok((CpuStorage::F64(means.clone()), means.len().into()))
    }

    fn bwd(&self, map: &Tensor, _: &Tensor, upstream: &Tensor) -> candle_core::Result<Option<Tensor>> {
        let mut of_images = vec![1; map.rank()];
        of_images[0] = map.dim(0)?;
        let places = map.elem_count() / of_images[0];
        let slope = upstream.affine(1.0 / places as f64, 0.0)?.to_dtype(map.dtype())?;
        Ok(Some(slope.reshape(of_images)?.broadcast_as(map.shape())?))
    }
}
