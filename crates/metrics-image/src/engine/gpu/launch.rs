//! Memory and launches, on whichever device.

#[cfg(all(test, target_os = "linux"))]
use candle_core::CpuStorage;
#[cfg(feature = "cuda")]
use candle_core::CudaStorage;
#[cfg(feature = "metal")]
use candle_core::MetalStorage;
use candle_core::{DType, Device, Layout, Result, Storage, bail};

use super::geometry::Strips;
use super::params::{AsBytes, Params, Pool};

/// Where kernels run.
#[derive(Clone, Copy, Debug)]
pub(super) enum Engine {
    /// On the GPU that holds the images.
    Device,
    /// On the CPU, for tests.
    #[cfg(all(test, target_os = "linux"))]
    Emulated(kernel_emulation::Dialect, Strips),
}

/// A buffer from some element on.
#[derive(Clone, Copy)]
pub(in crate::engine) struct View<'a> {
    pub(in crate::engine) buffer: Buffer<'a>,
    pub(in crate::engine) start: usize,
}

/// Memory of a device that this build has kernels for.
#[derive(Clone, Copy)]
pub(in crate::engine) enum Buffer<'a> {
    #[cfg(all(test, target_os = "linux"))]
    Cpu(&'a CpuStorage),
    #[cfg(feature = "cuda")]
    Cuda(&'a CudaStorage),
    #[cfg(feature = "metal")]
    Metal(&'a MetalStorage),
}

impl<'a> Buffer<'a> {
    pub(super) fn of(storage: &'a Storage) -> Result<Self> {
        match storage {
            #[cfg(all(test, target_os = "linux"))]
            Storage::Cpu(storage) => Ok(Self::Cpu(storage)),
            #[cfg(feature = "cuda")]
            Storage::Cuda(storage) => Ok(Self::Cuda(storage)),
            #[cfg(feature = "metal")]
            Storage::Metal(storage) => Ok(Self::Metal(storage)),
            #[allow(unreachable_patterns, reason = "a test build with both features has them all")]
            storage => bail!("there are no GPU kernels for {:?} in this build", storage.device()),
        }
    }
}

impl<'a> View<'a> {
    /// All of a storage.
    pub(in crate::engine) fn of(storage: &'a Storage) -> Result<Self> {
        Ok(Self { buffer: Buffer::of(storage)?, start: 0 })
    }

    /// The elements of a contiguous tensor, or the first ones of another.
    pub(super) fn from_layout(storage: &'a Storage, layout: &Layout) -> Result<Self> {
        Ok(Self { buffer: Buffer::of(storage)?, start: layout.start_offset() })
    }
}

/// An argument of a kernel.
pub(in crate::engine) enum Arg<'a> {
    Read(View<'a>),
    Write(&'a mut Storage),
    /// A buffer that this launch does not touch.
    Absent,
    /// The parameters, as they lie in memory.
    Params(&'a [u8]),
}

impl<'a> Arg<'a> {
    pub(super) fn read(view: Option<View<'a>>) -> Self {
        view.map_or(Self::Absent, Self::Read)
    }

    pub(super) fn write(storage: Option<&'a mut Storage>) -> Self {
        storage.map_or(Self::Absent, Self::Write)
    }
}

/// How many blocks of how many threads.
#[derive(Clone, Copy)]
pub(in crate::engine) struct Grid {
    pub(in crate::engine) blocks: usize,
    pub(in crate::engine) workers: usize,
}

/// A device with the kernels for pixels of one type.
#[derive(Clone)]
pub(super) struct Gpu {
    engine: Engine,
    device: Device,
    /// Of the pixels.
    dtype: DType,
}

impl Gpu {
    pub(super) fn new(engine: Engine, device: Device, dtype: DType) -> Result<Self> {
        match dtype {
            DType::U8 | DType::F16 | DType::BF16 | DType::F32 | DType::F64 => Ok(Self { engine, device, dtype }),
            dtype => bail!("expected images among u8, f16, bf16, f32 and f64, got {dtype:?}"),
        }
    }

    pub(super) fn dtype(&self) -> DType {
        self.dtype
    }

    /// The dtype that pixels are computed in.
    pub(super) fn real(&self) -> DType {
        if self.dtype == DType::F64 { DType::F64 } else { DType::F32 }
    }

    /// The dtype of results.
    pub(super) fn number(&self) -> DType {
        match self.engine {
            Engine::Device => crate::pair::sum_dtype(&self.device),
            #[cfg(all(test, target_os = "linux"))]
            Engine::Emulated(kernel_emulation::Dialect::Cuda, _) => DType::F64,
            #[cfg(all(test, target_os = "linux"))]
            Engine::Emulated(kernel_emulation::Dialect::Metal, _) => DType::F32,
        }
    }

    /// How many slices a block goes through.
    pub(super) fn strips(&self) -> Strips {
        match self.engine {
            Engine::Device => Strips::Device,
            #[cfg(all(test, target_os = "linux"))]
            Engine::Emulated(_, strips) => strips,
        }
    }

    /// Memory for `len` numbers, to be written before it is read.
    pub(super) fn alloc(&self, dtype: DType, len: usize) -> Result<Storage> {
        match &self.device {
            #[cfg(feature = "cuda")]
            Device::Cuda(device) => Ok(Storage::Cuda(super::cuda::alloc(device, dtype, len)?)),
            #[cfg(feature = "metal")]
            Device::Metal(device) => Ok(Storage::Metal(super::metal::alloc(device, dtype, len)?)),
            #[cfg(all(test, target_os = "linux"))]
            Device::Cpu => Ok(Storage::Cpu(emulated::alloc(dtype, len)?)),
            device => bail!("there is no memory for GPU kernels on {device:?}, {dtype:?}, {len}"),
        }
    }

    /// Runs the kernel of this name for the type of the pixels; parameters come last.
    pub(super) fn launch(&self, kernel: &str, grid: Grid, args: Vec<Arg>, params: &Params<f64>) -> Result<()> {
        let narrow = params.narrow();
        let params = Arg::Params(if self.real() == DType::F64 { params.bytes() } else { narrow.bytes() });
        self.run(kernel, self.dtype, grid, args.into_iter().chain([params]).collect())
    }

    /// Runs a kernel for sums, of the type that pixels are computed in.
    pub(super) fn launch_pool(
        &self,
        kernel: &str,
        grid: Grid,
        args: Vec<Arg>,
        params: &Params<f64>,
        pool: &Pool<f64>,
    ) -> Result<()> {
        let (narrow, narrow_pool) = (params.narrow(), pool.narrow());
        let params = if self.real() == DType::F64 { params.bytes() } else { narrow.bytes() };
        let pool = if self.number() == DType::F64 { pool.bytes() } else { narrow_pool.bytes() };
        self.run(kernel, self.real(), grid, args.into_iter().chain([params, pool].map(Arg::Params)).collect())
    }

    fn run(&self, kernel: &str, dtype: DType, grid: Grid, args: Vec<Arg>) -> Result<()> {
        let name = &format!("{kernel}_{}", dtype.as_str());
        if grid.blocks == 0 {
            return Ok(());
        }
        match (self.engine, &self.device) {
            #[cfg(feature = "cuda")]
            (Engine::Device, Device::Cuda(device)) => super::cuda::launch(device, dtype, name, grid, args),
            #[cfg(feature = "metal")]
            (Engine::Device, Device::Metal(device)) => super::metal::launch(device, name, grid, args),
            #[cfg(all(test, target_os = "linux"))]
            (Engine::Emulated(dialect, _), Device::Cpu) => emulated::launch(dialect, name, grid, args),
            (engine, device) => bail!("{name}: there are no kernels for {device:?} ({engine:?})"),
        }
    }
}

#[cfg(all(test, target_os = "linux"))]
mod emulated {
    use candle_core::{CpuStorage, DType, Result, Storage, WithDType, bail};
    use half::{bf16, f16};
    use kernel_emulation::Dialect;
    use pulp::bytemuck::{cast_slice, cast_slice_mut};

    use super::{Arg, Buffer, Grid};

    /// Filled with what no kernel writes.
    pub(super) fn alloc(dtype: DType, len: usize) -> Result<CpuStorage> {
        Ok(match dtype {
            DType::F32 => f32::to_cpu_storage_owned(vec![f32::NAN; len]),
            DType::F64 => f64::to_cpu_storage_owned(vec![f64::NAN; len]),
            DType::F16 => f16::to_cpu_storage_owned(vec![f16::NAN; len]),
            DType::BF16 => bf16::to_cpu_storage_owned(vec![bf16::NAN; len]),
            dtype => bail!("no results in {dtype:?}"),
        })
    }

    pub(super) fn launch(dialect: Dialect, name: &str, grid: Grid, args: Vec<Arg>) -> Result<()> {
        let mut args = args.into_iter().map(convert).collect::<Result<Vec<_>>>()?;
        let (Ok(blocks), Ok(workers)) = (u32::try_from(grid.blocks), u32::try_from(grid.workers)) else {
            bail!("{name}: {} blocks are more than a GPU takes", grid.blocks)
        };
        // SAFETY: the kernels of this family take these arguments, as they do on a GPU.
        unsafe { kernel_emulation::launch(dialect, name, blocks, workers, &mut args) }.map_err(candle_core::Error::msg)
    }

    fn convert(arg: Arg) -> Result<kernel_emulation::Arg> {
        Ok(match arg {
            Arg::Read(view) => match view.buffer {
                Buffer::Cpu(CpuStorage::U8(all)) => kernel_emulation::Arg::Read(&all[view.start..]),
                Buffer::Cpu(CpuStorage::F16(all)) => kernel_emulation::Arg::Read(cast_slice(&all[view.start..])),
                Buffer::Cpu(CpuStorage::BF16(all)) => kernel_emulation::Arg::Read(cast_slice(&all[view.start..])),
                Buffer::Cpu(CpuStorage::F32(all)) => kernel_emulation::Arg::Read(cast_slice(&all[view.start..])),
                Buffer::Cpu(CpuStorage::F64(all)) => kernel_emulation::Arg::Read(cast_slice(&all[view.start..])),
                _ => bail!("expected a buffer on the CPU of u8, f16, bf16, f32 or f64"),
            },
            Arg::Write(Storage::Cpu(CpuStorage::F16(all))) => kernel_emulation::Arg::Write(cast_slice_mut(all)),
            Arg::Write(Storage::Cpu(CpuStorage::BF16(all))) => kernel_emulation::Arg::Write(cast_slice_mut(all)),
            Arg::Write(Storage::Cpu(CpuStorage::F32(all))) => kernel_emulation::Arg::Write(cast_slice_mut(all)),
            Arg::Write(Storage::Cpu(CpuStorage::F64(all))) => kernel_emulation::Arg::Write(cast_slice_mut(all)),
            Arg::Write(_) => bail!("expected a float buffer on the CPU"),
            Arg::Absent => kernel_emulation::Arg::Absent,
            Arg::Params(bytes) => kernel_emulation::Arg::Value(bytes),
        })
    }
}
