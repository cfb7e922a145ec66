//! The one Candle operation: scores of a pair of image batches, with the gradient made on the way.
//!
//! On a CPU a score is fused: [`Score::fused`] gives the scores of all images and, for the inputs that track, the gradient of what
//! becomes of them, from reading the images once. The gradient waits in the operation until `bwd` takes it; what has come from above
//! scales it in place. On other devices a score is composed of the device's kernels and Candle's operations.

use std::any::Any;
use std::sync::{Mutex, PoisonError};

use candle_core::op::BackpropOp;
use candle_core::{CpuStorage, CustomOp2, DType, Layout, Shape, Storage, Tensor, Var, bail};
use metrics_core::{Error, Reduction, Result};

use crate::config::Input;
use crate::engine::{Array, Batch, Gradients, Plane, RowReader, Upstream as MapUpstream};
use crate::measure::Measure;
use crate::pair::{self, Pair, Spread, compute_dtype};
use crate::planes::{Computed, Planes, Stages};

/// Numbers that are computed of each pair of images: a score, or several of one pass.
pub(crate) trait Score: Send + Sync + 'static {
    const NAME: &'static str;

    /// How many numbers.
    fn count(&self) -> usize {
        1
    }

    /// Whether to make the gradient together with the scores: not where it is as fast to make it when it is asked for.
    fn saves_gradient(&self) -> bool {
        self.count() == 1
    }

    /// The numbers of all images, `[count, N]`, and the gradient of their sum weighted by `upstream` (of the same shape), with
    /// respect to the pixels of the images that want one.
    fn fused<T: Computed>(&self, planes: &Planes<T>, upstream: Option<&Upstream>) -> candle_core::Result<Fused<T>>;

    /// The same numbers, `[count, N]` (`[N]` of one), of ordinary operations. `slope` is the derivative of what becomes of each of them.
    fn composed(&self, pair: &Pair, slope: f64) -> Result<Tensor>;
}

/// A score of any kind. The functions that take one are not generic, so that the engine is compiled in this crate alone, and not again
/// in every crate that has a metric.
pub(crate) trait AnyScore: Send + Sync {
    fn name(&self) -> &'static str;
    fn count(&self) -> usize;
    fn saves_gradient(&self) -> bool;
    fn fused_f32(&self, planes: &Planes<f32>, upstream: Option<&Upstream>) -> candle_core::Result<Fused<f32>>;
    fn fused_f64(&self, planes: &Planes<f64>, upstream: Option<&Upstream>) -> candle_core::Result<Fused<f64>>;
    fn composed(&self, pair: &Pair, slope: f64) -> Result<Tensor>;
}

impl<S: Score> AnyScore for S {
    fn name(&self) -> &'static str {
        S::NAME
    }
    fn count(&self) -> usize {
        Score::count(self)
    }
    fn saves_gradient(&self) -> bool {
        Score::saves_gradient(self)
    }
    fn fused_f32(&self, planes: &Planes<f32>, upstream: Option<&Upstream>) -> candle_core::Result<Fused<f32>> {
        self.fused(planes, upstream)
    }
    fn fused_f64(&self, planes: &Planes<f64>, upstream: Option<&Upstream>) -> candle_core::Result<Fused<f64>> {
        self.fused(planes, upstream)
    }
    fn composed(&self, pair: &Pair, slope: f64) -> Result<Tensor> {
        Score::composed(self, pair, slope)
    }
}

/// What a gradient is of, and with respect to what.
pub(crate) struct Upstream {
    /// The derivative with respect to each number.
    pub(crate) weights: Vec<f64>,
    /// Whether x and y want a gradient.
    pub(crate) wanted: [bool; 2],
}

/// The numbers of each image, and dense planes of gradients.
pub(crate) struct Fused<T> {
    pub(crate) numbers: Vec<f64>,
    pub(crate) gradients: [Option<Vec<T>>; 2],
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

impl<S: Score> Prepared<S> {
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
        let wanted = [pred.track_op(), target.track_op()];
        let stages = Stages::new(op, &input, spread, &pred)?;
        return Ok(pred.apply_op2(&target, Op { score, stages, output, wanted, saved: Mutex::default() })?);
    }
    let pair = Pair::new(op, &input, spread, &pred, &target)?;
    let images = pair.pred.dim(0)?;
    let pair = if output == Output::PerChannel { pair.by_channel()? } else { pair };
    let numbers = score.composed(&pair, output.slope(images))?;
    Ok(match output {
        Output::PerImage => numbers,
        Output::PerChannel => numbers.reshape((images, ()))?,
        Output::Mean => numbers.mean_all()?,
        Output::Sum => numbers.sum_all()?,
    })
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
    let fused = Op { score, stages, output, wanted: [true, false], saved: Mutex::default() };
    let (storage, shape) = {
        let ((x, x_layout), (y, y_layout)) = (pred.storage_and_layout(), target.storage_and_layout());
        let (Storage::Cpu(x), Storage::Cpu(y)) = (&*x, &*y) else {
            return Err(Error::argument(op, "expected two tensors on the CPU"));
        };
        fused.forward(x, x_layout, y, y_layout, fused.score.saves_gradient())?
    };
    let numbers = Var::from_tensor(&tensor(storage, shape))?;
    let value = finish(&numbers)?.to_dtype(dtype)?;
    let upstream = value.backward()?.remove(&numbers).map_or_else(|| numbers.zeros_like(), Ok)?;
    let [gradient, _] = fused.backward(&pred, &target, &upstream.flatten_all()?.to_vec1()?, fused.wanted)?;
    Ok((value.detach(), gradient.map_or_else(|| pred.zeros_like(), Ok)?))
}

/// A tensor of its own, without a graph.
fn tensor(storage: CpuStorage, shape: impl Into<Shape>) -> Tensor {
    Tensor::from_storage(Storage::Cpu(storage), shape, BackpropOp::none(), false)
}

/// A fused score as a Candle operation.
struct Op {
    score: Box<dyn AnyScore>,
    stages: Stages,
    output: Output,
    /// The inputs that want a gradient.
    wanted: [bool; 2],
    /// `[Option<Vec<T>>; 2]`, the gradients for an upstream of 1, until backward takes them.
    saved: Mutex<Option<Box<dyn Any + Send>>>,
}

impl Op {
    fn planes<'a, T: Computed>(
        &self,
        x: (&'a CpuStorage, &'a Layout),
        y: (&'a CpuStorage, &'a Layout),
    ) -> candle_core::Result<Planes<'a, T>> {
        let planes = Planes::new(x, y, &self.stages)?;
        Ok(if self.output == Output::PerChannel { planes.by_channel() } else { planes })
    }

    fn forward(
        &self,
        x: &CpuStorage,
        x_layout: &Layout,
        y: &CpuStorage,
        y_layout: &Layout,
        save: bool,
    ) -> candle_core::Result<(CpuStorage, Shape)> {
        let (x, y) = ((x, x_layout), (y, y_layout));
        match x.0 {
            CpuStorage::F64(_) => self.scored::<f64>(x, y, save),
            _ => self.scored::<f32>(x, y, save),
        }
    }

    fn scored<T: Computed>(
        &self,
        x: (&CpuStorage, &Layout),
        y: (&CpuStorage, &Layout),
        save: bool,
    ) -> candle_core::Result<(CpuStorage, Shape)> {
        let images = x.1.dims()[0];
        let planes = self.planes::<T>(x, y)?;
        let numbers = self.score.count() * planes.images();
        let upstream = Upstream { weights: vec![self.output.slope(images); numbers], wanted: self.wanted };
        let Fused { numbers, gradients } = T::fused(&*self.score, &planes, save.then_some(&upstream))?;
        if save {
            *self.saved.lock().unwrap_or_else(PoisonError::into_inner) = Some(Box::new(gradients));
        }
        let shape: Shape = match (self.output, self.score.count()) {
            (Output::PerImage, 1) => images.into(),
            (Output::PerImage, count) => (count, images).into(),
            (Output::PerChannel, _) => (images, planes.images() / images).into(),
            (Output::Mean | Output::Sum, _) => ().into(),
        };
        Ok((CpuStorage::F64(self.output.of(&numbers, planes.images())), shape))
    }

    fn backward(
        &self,
        x: &Tensor,
        y: &Tensor,
        upstream: &[f64],
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
        upstream: &[f64],
        wanted: [bool; 2],
    ) -> candle_core::Result<[Option<Tensor>; 2]> {
        let ((x_storage, x_layout), (y_storage, y_layout)) = (x.storage_and_layout(), y.storage_and_layout());
        let (Storage::Cpu(x_storage), Storage::Cpu(y_storage)) = (&*x_storage, &*y_storage) else {
            bail!("expected two tensors on the CPU")
        };
        let planes = self.planes::<T>((x_storage, x_layout), (y_storage, y_layout))?;
        let saved = self.saved.lock().unwrap_or_else(PoisonError::into_inner).take();
        let saved = saved.and_then(|saved| saved.downcast::<[Option<Vec<T>>; 2]>().ok());
        let of_image = |number: usize| *upstream.get(number).unwrap_or(&upstream[0]);
        let (gradients, factors) = match saved {
            Some(saved) if wanted == self.wanted => (*saved, (0..planes.images()).map(of_image).collect()),
            _ => {
                let slope = self.output.slope(x_layout.dims()[0]);
                let numbers = self.score.count() * planes.images();
                let weights = (0..numbers).map(|number| slope * of_image(number)).collect();
                let made = T::fused(&*self.score, &planes, Some(&Upstream { weights, wanted }))?.gradients;
                (made, vec![1.0; planes.images()])
            }
        };
        let factors = planes.of_planes(&factors);
        let [dx, dy] = gradients;
        let finish = |gradient: Option<Vec<T>>, image: &Tensor| {
            gradient.map(|gradient| self.stages.image_gradient(gradient, &factors, image)).transpose()
        };
        Ok([finish(dx, x)?, finish(dy, y)?])
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
        self.forward(x, x_layout, y, y_layout, save)
    }

    fn bwd(
        &self,
        x: &Tensor,
        y: &Tensor,
        _: &Tensor,
        upstream: &Tensor,
    ) -> candle_core::Result<(Option<Tensor>, Option<Tensor>)> {
        let upstream = upstream.flatten_all()?.to_dtype(DType::F64)?.to_vec1()?;
        let [dx, dy] = self.backward(x, y, &upstream, [x.track_op(), y.track_op()])?;
        Ok((dx, dy))
    }
}

/// A map of a measure at every place, `[N, C, …]`, in the dtype that is computed in; `composed` makes it on other devices.
pub(crate) fn map<M: Measure + Send + 'static, S>(
    op: &str,
    prepared: Prepared<S>,
    measure: M,
    number: usize,
    composed: impl FnOnce(&Pair) -> Result<Tensor>,
) -> Result<Tensor> {
    let Prepared { pred, target, input, spread, .. } = prepared;
    let (pred, target) = pair::checked(op, &pred, &target)?;
    if !pred.device().is_cpu() {
        return composed(&Pair::new(op, &input, spread, &pred, &target)?);
    }
    let stages = Stages::new(op, &input, spread, &pred)?;
    Ok(pred.apply_op2(&target, Map { measure, number, stages })?)
}

/// A map as a Candle operation.
struct Map<M> {
    measure: M,
    number: usize,
    stages: Stages,
}

impl<M: Measure> Map<M> {
    fn made<T: Computed>(
        &self,
        x: (&CpuStorage, &Layout),
        y: (&CpuStorage, &Layout),
    ) -> candle_core::Result<(CpuStorage, Shape)> {
        let planes = Planes::<T>::new(x, y, &self.stages)?;
        let (pairs, ranges) = (planes.pairs(), planes.ranges());
        let mut maps = M::Maps::filled(false);
        maps.set(self.number, true);
        let scanned = Batch { wanted: maps, maps, ..Batch::new(&self.measure, &pairs, &ranges) }.scan(None);
        let map = scanned.and_then(|mut scanned| scanned.maps[self.number].take());
        let Some(map) = map else { bail!("{:?} is too small for the window", x.1.dims()) };
        let [depth, height, width] = self.map_dims(&planes)?;
        let (images, channels) = (planes.images(), planes.channels());
        let shape: Shape = match planes.axes() {
            2 => (images, channels, height, width).into(),
            _ => (images, channels, depth, height, width).into(),
        };
        Ok((T::to_cpu_storage_owned(map), shape))
    }

    fn map_dims<T: Computed>(&self, planes: &Planes<T>) -> candle_core::Result<[usize; 3]> {
        match self.measure.filters().map_dims(planes.dims()) {
            Some(dims) => Ok(dims),
            None => bail!("{:?} is too small for the window", planes.dims()),
        }
    }

    fn gradients<T: Computed>(
        &self,
        x: &Tensor,
        y: &Tensor,
        upstream: &Tensor,
    ) -> candle_core::Result<[Option<Tensor>; 2]> {
        let upstream = upstream.contiguous()?;
        let (x_storage, x_layout) = x.storage_and_layout();
        let (y_storage, y_layout) = y.storage_and_layout();
        let (upstream, upstream_layout) = upstream.storage_and_layout();
        let (Storage::Cpu(x_storage), Storage::Cpu(y_storage), Storage::Cpu(upstream)) =
            (&*x_storage, &*y_storage, &*upstream)
        else {
            bail!("expected three tensors on the CPU")
        };
        let planes = Planes::<T>::new((x_storage, x_layout), (y_storage, y_layout), &self.stages)?;
        let (pairs, ranges, dims) = (planes.pairs(), planes.ranges(), self.map_dims(&planes)?);
        let weights = &upstream.as_slice::<T>()?[upstream_layout.start_offset()..];
        let weights: Vec<_> = weights
            .chunks_exact(dims.iter().product())
            .take(pairs.len())
            .filter_map(|weights| Plane::dense(weights, dims))
            .collect();
        let maps = |plane| {
            (0..M::Maps::<T>::LEN).map(|map| (map == self.number).then_some(plane as &dyn RowReader<T>)).collect()
        };
        let gradients = Gradients {
            upstream: weights.iter().map(|plane| MapUpstream::Maps(maps(plane))).collect(),
            errors: vec![[0.0; 2]; pairs.len()],
            wanted: [x.track_op(), y.track_op()],
        };
        let Some(scanned) = Batch::new(&self.measure, &pairs, &ranges).scan(Some(&gradients)) else {
            bail!("{:?} is too small for the window", x.dims())
        };
        let factors = vec![1.0; pairs.len()];
        let [dx, dy] = scanned.gradients;
        let finish = |gradient: Option<Vec<T>>, image: &Tensor| {
            gradient.map(|gradient| self.stages.image_gradient(gradient, &factors, image)).transpose()
        };
        Ok([finish(dx, x)?, finish(dy, y)?])
    }
}

impl<M: Measure + Send> CustomOp2 for Map<M> {
    fn name(&self) -> &'static str {
        "map"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_layout: &Layout,
        y: &CpuStorage,
        y_layout: &Layout,
    ) -> candle_core::Result<(CpuStorage, Shape)> {
        match x {
            CpuStorage::F64(_) => self.made::<f64>((x, x_layout), (y, y_layout)),
            _ => self.made::<f32>((x, x_layout), (y, y_layout)),
        }
    }

    fn bwd(
        &self,
        x: &Tensor,
        y: &Tensor,
        _: &Tensor,
        upstream: &Tensor,
    ) -> candle_core::Result<(Option<Tensor>, Option<Tensor>)> {
        let [dx, dy] = match x.dtype() {
            DType::F64 => self.gradients::<f64>(x, y, upstream)?,
            _ => self.gradients::<f32>(x, y, upstream)?,
        };
        Ok((dx, dy))
    }
}
