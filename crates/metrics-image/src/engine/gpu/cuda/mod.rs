//! Memory and launches on CUDA devices.

use std::sync::{Arc, PoisonError, RwLock};

use candle_core::cuda_backend::cudarc::driver::{
    CudaContext, CudaFunction, CudaModule, CudaView, DeviceRepr, DeviceSlice, LaunchConfig, PushKernelArg,
};
use candle_core::cuda_backend::cudarc::nvrtc::Ptx;
use candle_core::cuda_backend::{CudaStorageSlice, WrapErr};
use candle_core::{CudaDevice, CudaStorage, DType, Result, bail};
use half::{bf16, f16};

use super::{Arg, Buffer, Grid, View};

/// Kernels that are loaded together.
struct Module {
    name: &'static str,
    ptx: &'static str,
    /// Machine code for GPUs of [`CAPABILITY`]; empty if the build did not know any.
    cubin: &'static [u8],
}

// `MODULES` and `CAPABILITY`, by the build script.
include!(concat!(env!("OUT_DIR"), "/modules.rs"));

/// A module in a context.
struct Loaded {
    context: Arc<CudaContext>,
    name: &'static str,
    module: Arc<CudaModule>,
}

/// What has been loaded so far: a program has few GPUs and modules.
static LOADED: RwLock<Vec<Loaded>> = RwLock::new(Vec::new());

/// The kernel of this name. Its module is loaded when it is first asked for, as machine code if there is some for the GPU, else as PTX,
/// which the driver compiles.
fn function(device: &CudaDevice, pixels: DType, name: &str) -> Result<CudaFunction> {
    let (wanted, stream) = (module(pixels, name)?, device.cuda_stream());
    let context = stream.context();
    // Candle's devices of one GPU have contexts of their own in name only.
    let is_wanted = |loaded: &&Loaded| loaded.name == wanted.name && *loaded.context == **context;
    if let Some(known) = LOADED.read().unwrap_or_else(PoisonError::into_inner).iter().find(is_wanted) {
        return known.module.load_function(name).w();
    }
    // Other kernels go on meanwhile; what two threads load twice does no harm.
    let module = wanted.load(context)?;
    let function = module.load_function(name).w()?;
    let loaded = Loaded { context: context.clone(), name: wanted.name, module };
    LOADED.write().unwrap_or_else(PoisonError::into_inner).push(loaded);
    Ok(function)
}

impl Module {
    fn load(&self, context: &Arc<CudaContext>) -> Result<Arc<CudaModule>> {
        if runs_machine_code(context)?
            && let Ok(module) = context.load_module(Ptx::from_binary(self.cubin.to_vec()))
        {
            return Ok(module);
        }
        context.load_module(Ptx::from_src(self.ptx)).w()
    }
}

fn module(pixels: DType, name: &str) -> Result<&'static Module> {
    let kernel = name.strip_suffix(pixels.as_str()).unwrap_or(name).trim_end_matches('_');
    let part = ["7", "9", "11"].into_iter().find(|taps| kernel.ends_with(&format!("_{taps}"))).unwrap_or("any");
    let wanted = match kernel {
        "finish" | "distribute" => "pool".to_owned(),
        _ if kernel.starts_with("gmsd") => "gmsd".to_owned(),
        _ if kernel.starts_with("vif") => "vif".to_owned(),
        _ => format!("{}_{part}", pixels.as_str()),
    };
    match MODULES.iter().find(|module| module.name == wanted) {
        Some(module) => Ok(module),
        None => bail!("there are no kernels for {pixels:?}"),
    }
}

/// Machine code runs on GPUs of the same generation, from its own on.
fn runs_machine_code(context: &CudaContext) -> Result<bool> {
    let (major, minor) = context.compute_capability().w()?;
    let fits = |capability: u32| {
        (i64::from(capability / 10), i64::from(capability % 10)) <= (major.into(), minor.into())
            && i64::from(capability / 10) == i64::from(major)
    };
    Ok(CAPABILITY.is_some_and(fits))
}

/// At least as much as the parameters of a launch take.
const PARAMS: usize = 2048;
const _: () =
    assert!(size_of::<super::params::Params<f64>>() <= PARAMS && size_of::<super::params::Pool<f64>>() <= PARAMS);

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
    let (function, stream) = (function(device, pixels, name)?, device.cuda_stream());
    let mut builder = stream.launch_builder(&function);
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
