//! From Candle's storage to planes, and back.

use candle_core::op::BackpropOp;
use candle_core::{CpuStorage, DType, Layout, Result, Storage, Tensor, WithDType, bail};

use crate::kernel::cpu::{Fresh, Pair, Pixel, Plane, Room};
use crate::kernel::{Plan, cpu};
use crate::pair::Range;

/// Runs `$body` with the images in two storages of one dtype.
macro_rules! with_images {
    ($x:expr, $y:expr, |$images:ident| $body:expr) => {
        match ($x.0, $y.0) {
            (CpuStorage::F32(x), CpuStorage::F32(y)) => with_images!(x, $x.1, y, $y.1, |$images| $body),
            (CpuStorage::F64(x), CpuStorage::F64(y)) => with_images!(x, $x.1, y, $y.1, |$images| $body),
            (CpuStorage::F16(x), CpuStorage::F16(y)) => with_images!(x, $x.1, y, $y.1, |$images| $body),
            (CpuStorage::BF16(x), CpuStorage::BF16(y)) => with_images!(x, $x.1, y, $y.1, |$images| $body),
            (CpuStorage::U8(x), CpuStorage::U8(y)) => with_images!(x, $x.1, y, $y.1, |$images| $body),
            _ => candle_core::bail!("expected two images of one dtype among u8, f16, bf16, f32 and f64"),
        }
    };
    ($x:expr, $x_layout:expr, $y:expr, $y_layout:expr, |$images:ident| $body:expr) => {{
        let $images = $crate::kernel::op::planes::Images::new(($x, $x_layout), ($y, $y_layout))?;
        $body
    }};
}
pub(super) use with_images;

/// A type that kernels read and tensors hold, computed in a type of the same kind.
pub(super) trait Stored: Pixel<Real: Pixel<Real = Self::Real>> + WithDType {}
impl<P: Pixel<Real: Pixel<Real = P::Real>> + WithDType> Stored for P {}

/// Two batches of images, `[N, C, …]`, as pairs of planes, image by image.
pub(super) struct Images<'a, P> {
    pub(super) pairs: Vec<Pair<'a, P>>,
    /// Shape of the tensors.
    pub(super) shape: &'a [usize],
    /// Depth (1 for flat images), height and width of a plane.
    pub(super) dims: [usize; 3],
}

impl<'a, P: Pixel> Images<'a, P> {
    pub(super) fn new(x: (&'a [P], &'a Layout), y: (&'a [P], &'a Layout)) -> Result<Self> {
        let (shape, dims) = (x.1.dims(), plane_dims(x.1.dims())?);
        let pairs = planes(x.0, x.1)?.into_iter().zip(planes(y.0, y.1)?).map(|(x, y)| Pair { x, y }).collect();
        Ok(Self { pairs, shape, dims })
    }

    /// `[N, C]`.
    pub(super) fn outer(&self) -> (usize, usize) {
        (self.shape[0], self.shape[1])
    }

    /// A gradient for each input that wants one, to be filled.
    pub(super) fn gradients(&self, wanted: [bool; 2]) -> Wanted<P> {
        Wanted::new(wanted, self.shape.iter().product())
    }

    /// Why a kernel returned nothing.
    pub(super) fn too_small(&self, plan: &Plan) -> candle_core::Error {
        let window: Vec<usize> = plan.taps.iter().map(Vec::len).collect();
        candle_core::Error::msg(format!("images {:?} are too small for a window of {window:?}", self.shape))
    }
}

/// Pairs of dense planes that lie one after another.
pub(super) fn dense<'a, P: Pixel>(x: &'a [P], y: &'a [P], dims: [usize; 3]) -> Result<Vec<Pair<'a, P>>> {
    let len = dims.iter().product();
    let pair = |(x, y)| match (Plane::dense(x, dims), Plane::dense(y, dims)) {
        (Some(x), Some(y)) => Ok(Pair { x, y }),
        _ => bail!("planes of {len} elements are not {dims:?}"),
    };
    x.chunks_exact(len).zip(y.chunks_exact(len)).map(pair).collect()
}

/// Every plane of an image tensor.
pub(super) fn planes<'a, P: Pixel>(pixels: &'a [P], layout: &Layout) -> Result<Vec<Plane<'a, P>>> {
    let dims = plane_dims(layout.dims())?;
    let (outer, inner) = layout.stride().split_at(2);
    let mut strides = [0; 3];
    strides[3 - inner.len()..].copy_from_slice(inner);
    let plane = |at: usize| {
        let (image, channel) = (at / layout.dims()[1], at % layout.dims()[1]);
        let start = layout.start_offset() + image * outer[0] + channel * outer[1];
        match pixels.get(start..).and_then(|pixels| Plane::new(pixels, dims, strides)) {
            Some(plane) => Ok(plane),
            None => bail!("{layout:?} reaches beyond its {} elements", pixels.len()),
        }
    };
    (0..layout.dims()[0] * layout.dims()[1]).map(plane).collect()
}

fn plane_dims(shape: &[usize]) -> Result<[usize; 3]> {
    match *shape {
        [_, _, height, width] => Ok([1, height, width]),
        [_, _, depth, height, width] => Ok([depth, height, width]),
        _ => bail!("expected [N, C, H, W] or [N, C, D, H, W], got {shape:?}"),
    }
}

/// The data range of each plane.
pub(super) fn ranges(range: &Range, shape: &[usize]) -> Result<Vec<f64>> {
    let (images, channels) = (shape[0], shape[1]);
    match range {
        Range::Fixed(range) => Ok(vec![*range; images * channels]),
        Range::PerImage(ranges) => {
            let ranges = numbers(ranges)?;
            Ok(ranges.into_iter().flat_map(|range| std::iter::repeat_n(range, channels)).collect())
        }
    }
}

/// A result for each of two inputs that wants one.
pub(super) struct Wanted<P>([Option<Fresh<P>>; 2]);

impl<P: Copy> Wanted<P> {
    pub(super) fn new(wanted: [bool; 2], len: usize) -> Self {
        Self(wanted.map(|wanted| wanted.then(|| Fresh::new(len))))
    }

    /// Where kernels write.
    pub(super) fn rooms(&mut self) -> [Option<Room<'_, P>>; 2] {
        self.0.each_mut().map(|fresh| fresh.as_mut().map(Fresh::room))
    }

    pub(super) fn filled(self) -> [Option<Vec<P>>; 2] {
        self.0.map(|fresh| fresh.map(Fresh::filled))
    }
}

impl<P: WithDType> Wanted<P> {
    /// As tensors of this shape, without a graph.
    pub(super) fn tensors(self, shape: &[usize]) -> [Option<Tensor>; 2] {
        self.filled().map(|values| {
            let storage = Storage::Cpu(P::to_cpu_storage_owned(values?));
            Some(Tensor::from_storage(storage, shape, BackpropOp::none(), false))
        })
    }
}

/// The numbers of a tensor of any float dtype and layout, in row-major order.
pub(super) fn numbers(x: &Tensor) -> Result<Vec<f64>> {
    x.flatten_all()?.to_dtype(DType::F64)?.to_vec1()
}

/// A view of a tensor on the CPU.
pub(super) type View<'a> = (&'a CpuStorage, &'a Layout);

/// Runs `f` on two tensors on the CPU.
pub(super) fn with_views<R>(x: &Tensor, y: &Tensor, f: impl FnOnce(View, View) -> Result<R>) -> Result<R> {
    let (x, x_layout) = x.storage_and_layout();
    let (y, y_layout) = y.storage_and_layout();
    match (&*x, &*y) {
        (Storage::Cpu(x), Storage::Cpu(y)) => f((x, x_layout), (y, y_layout)),
        _ => bail!("expected two tensors on the CPU"),
    }
}

/// Sizes of the planes of each scale of MS-SSIM.
pub(super) fn scale_dims(dims: [usize; 3], plan: &Plan, odd_sides: crate::OddSides, scales: usize) -> Vec<[usize; 3]> {
    std::iter::successors(Some(dims), |&dims| Some(cpu::halved(dims, plan, odd_sides))).take(scales).collect()
}
