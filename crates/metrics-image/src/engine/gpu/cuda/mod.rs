//! Memory and launches on CUDA devices.

use candle_core::cuda_backend::cudarc::driver::{CudaView, DeviceRepr, DeviceSlice, LaunchConfig, PushKernelArg};
use candle_core::cuda_backend::{CudaStorageSlice, WrapErr};
use candle_core::{CudaDevice, CudaStorage, DType, Result, bail};
use half::{bf16, f16};

use super::{Arg, Buffer, Grid, View};

/// The name of a module and its text, which the build script makes from `kernels.cu`. Candle keeps modules by their names, so the text of
/// a version needs a name of its own.
macro_rules! module {
    ($pixels:literal) => {
        (
            concat!("metrics-image/", env!("CARGO_PKG_VERSION"), "/", $pixels),
            include_str!(concat!(env!("OUT_DIR"), "/", $pixels, ".ptx")),
        )
    };
}

/// The kernels for pixels of one type.
fn module(pixels: DType) -> Result<(&'static str, &'static str)> {
    Ok(match pixels {
        DType::U8 => module!("u8"),
        DType::F16 => module!("f16"),
        DType::BF16 => module!("bf16"),
        DType::F32 => module!("f32"),
        DType::F64 => module!("f64"),
        dtype => bail!("there are no kernels for {dtype:?}"),
    })
}

/// At least as much as the parameters of a launch take.
const PARAMS: usize = 2048;

/// Memory that is not cleared.
pub(super) fn alloc(device: &CudaDevice, dtype: DType, len: usize) -> Result<CudaStorage> {
    macro_rules! alloc {
        ($type:ty) => {
            // SAFETY: kernels write all of it before anything reads it.
            CudaStorage::wrap_cuda_slice(unsafe { device.alloc::<$type>(len)? }, device.clone())
        };
    }
    Ok(match dtype {
        DType::F16 => alloc!(f16),
        DType::BF16 => alloc!(bf16),
        DType::F32 => alloc!(f32),
        DType::F64 => alloc!(f64),
        dtype => bail!("no results in {dtype:?}"),
    })
}

/// Queues a kernel for pixels of one type on the stream of the device.
pub(super) fn launch(device: &CudaDevice, pixels: DType, name: &str, grid: Grid, args: Vec<Arg>) -> Result<()> {
    let (Ok(blocks), Ok(workers)) = (u32::try_from(grid.blocks), u32::try_from(grid.workers)) else {
        bail!("{name}: {} blocks are more than a GPU takes", grid.blocks)
    };
    let operands = args.into_iter().map(Operand::new).collect::<Result<Vec<_>>>()?;
    let (module, ptx) = module(pixels)?;
    let function = device.get_or_load_custom_func(name, module, ptx)?;
    let mut builder = function.builder();
    for operand in &operands {
        match operand {
            Operand::Memory(view) => builder.arg(view),
            Operand::Null(null) => builder.arg(null),
            Operand::Params(params) => builder.arg(&**params),
        };
    }
    let config = LaunchConfig { grid_dim: (blocks, 1, 1), block_dim: (workers, 1, 1), shared_mem_bytes: 0 };
    // SAFETY: these are the arguments that the kernel takes, and it stays within the views; both are tested in emulation.
    unsafe { builder.launch(config) }.w()?;
    Ok(())
}

/// An argument as the driver takes it.
enum Operand<'a> {
    Memory(CudaView<'a, u8>),
    Null(u64),
    Params(Box<Params>),
}

/// The parameters of a launch; the driver reads as many bytes as the kernel takes.
#[repr(C, align(8))]
struct Params([u8; PARAMS]);

// SAFETY: plain bytes.
unsafe impl DeviceRepr for Params {}

impl<'a> Operand<'a> {
    fn new(arg: Arg<'a>) -> Result<Self> {
        Ok(match arg {
            Arg::Read(view) => Self::Memory(memory(view)?),
            Arg::Write(storage) => Self::Memory(memory(View::of(storage)?)?),
            Arg::Absent => Self::Null(0),
            Arg::Params(bytes) => {
                let mut params = Box::new(Params([0; PARAMS]));
                params.0[..bytes.len()].copy_from_slice(bytes);
                Self::Params(params)
            }
        })
    }
}

/// The bytes of a view.
fn memory(view: View) -> Result<CudaView<u8>> {
    #[allow(irrefutable_let_patterns, reason = "a build may have one kind of device or several")]
    let Buffer::Cuda(storage) = view.buffer else { bail!("expected a buffer on a CUDA device") };
    macro_rules! bytes {
        ($slice:expr) => {{
            let view = $slice.slice(view.start..);
            let len = view.num_bytes();
            // SAFETY: any number is bytes.
            unsafe { view.transmute::<u8>(len) }
        }};
    }
    let bytes = match &storage.slice {
        CudaStorageSlice::U8(slice) => bytes!(slice),
        CudaStorageSlice::F16(slice) => bytes!(slice),
        CudaStorageSlice::BF16(slice) => bytes!(slice),
        CudaStorageSlice::F32(slice) => bytes!(slice),
        CudaStorageSlice::F64(slice) => bytes!(slice),
        _ => None,
    };
    match bytes {
        Some(bytes) => Ok(bytes),
        None => bail!("expected a buffer of u8, f16, bf16, f32 or f64"),
    }
}
