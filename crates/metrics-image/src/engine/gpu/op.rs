//! Kernels as Candle operations: from storages and layouts to views, and back.

#[cfg(any(all(test, target_os = "linux"), feature = "cuda", feature = "metal"))]
use candle_core::backend::BackendStorage;
use candle_core::op::BackpropOp;
use candle_core::{CpuStorage, CustomOp2, DType, Device, Layout, Result, Shape, Storage, Tensor, bail};

use super::geometry::Geometry;
use super::launch::{Arg, Buffer, Engine, Gpu, View};
use crate::pair::Pair;

/// What is computed of a pair of images.
pub(super) trait Operation: Send + Sync + 'static {
    const NAME: &'static str;

    fn forward(&self, images: &Images) -> Result<(Storage, Shape)>;

    /// The gradients with respect to both images, of those that want one, from that with respect to the result.
    fn backward(&self, images: &Images, upstream: View, wanted: [bool; 2]) -> Result<Gradients>;
}

/// A gradient with respect to each of two images that wants one.
pub(super) type Gradients = [Option<Storage>; 2];

/// Makes something for each of two images that wants it.
pub(super) fn for_each(wanted: [bool; 2], mut make: impl FnMut(usize) -> Result<Storage>) -> Result<Gradients> {
    let mut made = |side: usize| wanted[side].then(|| make(side)).transpose();
    Ok([made(0)?, made(1)?])
}

/// Applies an operation to a pair.
pub(super) fn apply<O: Operation>(engine: Engine, pair: &Pair, operation: O) -> Result<Tensor> {
    pair.pred.apply_op2(&pair.target, Op { engine, operation })
}

/// Two batches of images on one device.
#[derive(Clone)]
pub(super) struct Images<'a> {
    pub(super) gpu: Gpu,
    pub(super) geometry: Geometry,
    /// Dimensions of the tensors.
    pub(super) dims: &'a [usize],
    views: [View<'a>; 2],
}

impl<'a> Images<'a> {
    fn new(
        engine: Engine,
        (device, dtype): (Device, DType),
        buffers: [Buffer<'a>; 2],
        layouts: [&'a Layout; 2],
    ) -> Result<Self> {
        let view = |at: usize| View { buffer: buffers[at], start: layouts[at].start_offset() };
        let gpu = Gpu::new(engine, device, dtype)?;
        Ok(Self { gpu, geometry: Geometry::of(layouts)?, dims: layouts[0].dims(), views: [view(0), view(1)] })
    }

    /// Other images on the same device, dense.
    pub(super) fn others(&self, images: &'a [Storage; 2], layout: &'a Layout) -> Result<Self> {
        let [x, y] = images;
        let (geometry, views) = (Geometry::of([layout, layout])?, [View::of(x)?, View::of(y)?]);
        Ok(Self { gpu: self.gpu.clone(), geometry, dims: layout.dims(), views })
    }

    /// Both images as the first arguments of a kernel.
    pub(super) fn args(&self) -> Vec<Arg<'a>> {
        self.views.map(Arg::Read).into()
    }
}

struct Op<O> {
    engine: Engine,
    operation: O,
}

impl<O: Operation> Op<O> {
    fn backward(&self, x: &Tensor, y: &Tensor, upstream: &Tensor) -> Result<Gradients> {
        let wanted = [x.track_op(), y.track_op()];
        let (x_storage, x_layout) = x.storage_and_layout();
        let (y_storage, y_layout) = y.storage_and_layout();
        let images = Images::new(
            self.engine,
            (x.device().clone(), x.dtype()),
            [Buffer::of(&x_storage)?, Buffer::of(&y_storage)?],
            [x_layout, y_layout],
        )?;
        let upstream = upstream.contiguous()?;
        let (storage, layout) = upstream.storage_and_layout();
        self.operation.backward(&images, View::from_layout(&storage, layout)?, wanted)
    }
}

/// Runs the operation on storages of one kind of device.
#[cfg(any(all(test, target_os = "linux"), feature = "cuda", feature = "metal"))]
macro_rules! forward {
    ($self:ident, $kind:ident, $device:expr, $x:ident, $x_layout:ident, $y:ident, $y_layout:ident) => {{
        let buffers = [Buffer::$kind($x), Buffer::$kind($y)];
        let images = Images::new($self.engine, ($device, $x.dtype()), buffers, [$x_layout, $y_layout])?;
        match $self.operation.forward(&images)? {
            (Storage::$kind(storage), shape) => Ok((storage, shape)),
            #[allow(unreachable_patterns)]
            _ => bail!("{}: the result is on another device", O::NAME),
        }
    }};
}

impl<O: Operation> CustomOp2 for Op<O> {
    fn name(&self) -> &'static str {
        O::NAME
    }

    #[cfg(all(test, target_os = "linux"))]
    fn cpu_fwd(&self, x: &CpuStorage, xl: &Layout, y: &CpuStorage, yl: &Layout) -> Result<(CpuStorage, Shape)> {
        forward!(self, Cpu, Device::Cpu, x, xl, y, yl)
    }

    #[cfg(not(all(test, target_os = "linux")))]
    fn cpu_fwd(&self, _: &CpuStorage, _: &Layout, _: &CpuStorage, _: &Layout) -> Result<(CpuStorage, Shape)> {
        bail!("{}: the kernels of GPUs run on the CPU in tests only", O::NAME)
    }

    #[cfg(feature = "cuda")]
    fn cuda_fwd(
        &self,
        x: &candle_core::CudaStorage,
        xl: &Layout,
        y: &candle_core::CudaStorage,
        yl: &Layout,
    ) -> Result<(candle_core::CudaStorage, Shape)> {
        forward!(self, Cuda, Device::Cuda(x.device().clone()), x, xl, y, yl)
    }

    #[cfg(feature = "metal")]
    fn metal_fwd(
        &self,
        x: &candle_core::MetalStorage,
        xl: &Layout,
        y: &candle_core::MetalStorage,
        yl: &Layout,
    ) -> Result<(candle_core::MetalStorage, Shape)> {
        forward!(self, Metal, Device::Metal(x.device().clone()), x, xl, y, yl)
    }

    fn bwd(&self, x: &Tensor, y: &Tensor, _: &Tensor, upstream: &Tensor) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let tensor = |storage| Tensor::from_storage(storage, x.shape().clone(), BackpropOp::none(), false);
        let [dx, dy] = self.backward(x, y, upstream)?.map(|gradient| gradient.map(tensor));
        Ok((dx, dy))
    }
}
