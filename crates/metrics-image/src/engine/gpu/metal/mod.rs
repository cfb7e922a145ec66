//! Memory and launches on Metal devices.

use std::collections::HashMap;
use std::sync::{Mutex, OnceLock, PoisonError};

use candle_core::backend::BackendStorage;
use candle_core::metal_backend::DeviceId;
use candle_core::{DType, MetalDevice, MetalError, MetalStorage, Result, bail};
use candle_metal_kernels::metal::{ComputeCommandEncoder, ComputePipeline, Library};
use objc2_metal::{MTLCompileOptions, MTLMathMode, MTLSize};

use super::{Arg, Buffer, Grid, View};

/// Compiled when a device first needs it: what is Metal's own around the text that is shared with CUDA.
const SOURCE: &str = concat!(
    include_str!("dialect.metal"),
    include_str!("../base.h"),
    include_str!("../../../measure/ssim.h"),
    include_str!("../tile.h"),
    include_str!("../../../measure/gmsd.h"),
    include_str!("../../../measure/vif.h"),
    include_str!("../scan.h"),
    include_str!("../window.h"),
    include_str!("../blur.h"),
    include_str!("../pyramid.h"),
    include_str!("../pixel.h"),
    include_str!("../pool.h"),
    include_str!("../kernels.h"),
    include_str!("kernels.metal"),
);

/// Memory that is not cleared.
pub(super) fn alloc(device: &MetalDevice, dtype: DType, len: usize) -> Result<MetalStorage> {
    let buffer = device.new_buffer(len, dtype, "metrics-image")?;
    Ok(MetalStorage::new(buffer, device.clone(), len, dtype))
}

/// Encodes a kernel into the commands of the device.
pub(super) fn launch(device: &MetalDevice, name: &str, grid: Grid, args: Vec<Arg>) -> Result<()> {
    let pipeline = pipeline(device, name)?;
    let guard = device.command_encoder()?;
    let encoder: &ComputeCommandEncoder = guard.as_ref();
    encoder.set_compute_pipeline_state(&pipeline);
    for (index, arg) in args.into_iter().enumerate() {
        match arg {
            // Candle orders launches by what each says that it reads and writes.
            Arg::Read(view) => {
                bind(view, |storage, offset| encoder.set_input_buffer(index, Some(storage.buffer()), offset))?
            }
            Arg::Write(storage) => bind(View::of(storage)?, |storage, offset| {
                encoder.set_output_buffer(index, Some(storage.buffer()), offset);
            })?,
            Arg::Absent => encoder.set_input_buffer(index, None, 0),
            Arg::Params(bytes) => encoder.set_bytes_directly(index, bytes.len(), bytes.as_ptr().cast()),
        }
    }
    let line = |width| MTLSize { width, height: 1, depth: 1 };
    encoder.dispatch_thread_groups(line(grid.blocks), line(grid.workers));
    Ok(())
}

fn bind(view: View, set: impl FnOnce(&MetalStorage, usize)) -> Result<()> {
    #[allow(irrefutable_let_patterns, reason = "a build may have one kind of device or several")]
    let Buffer::Metal(storage) = view.buffer else { bail!("expected a buffer on a Metal device") };
    set(storage, view.start * storage.dtype().size_in_bytes());
    Ok(())
}

/// Compiled kernels of one device.
struct Kernels {
    library: Library,
    pipelines: HashMap<String, ComputePipeline>,
}

fn pipeline(device: &MetalDevice, name: &str) -> Result<ComputePipeline> {
    static DEVICES: OnceLock<Mutex<HashMap<DeviceId, Kernels>>> = OnceLock::new();
    let mut devices = DEVICES.get_or_init(Mutex::default).lock().unwrap_or_else(PoisonError::into_inner);
    let kernels = match devices.entry(device.id()) {
        std::collections::hash_map::Entry::Occupied(known) => known.into_mut(),
        std::collections::hash_map::Entry::Vacant(new) => new.insert(Kernels::compile(device)?),
    };
    kernels.pipeline(device, name)
}

impl Kernels {
    fn compile(device: &MetalDevice) -> Result<Self> {
        let options = MTLCompileOptions::new();
        // Sums in pairs rest on the rounding of single operations, and NaN has to stay NaN.
        options.setMathMode(MTLMathMode::Safe);
        let library =
            device.metal_device().new_library_with_source(SOURCE, Some(&options)).map_err(MetalError::from)?;
        Ok(Self { library, pipelines: HashMap::new() })
    }

    fn pipeline(&mut self, device: &MetalDevice, name: &str) -> Result<ComputePipeline> {
        if let Some(pipeline) = self.pipelines.get(name) {
            return Ok(pipeline.clone());
        }
        let function = self.library.get_function(name, None).map_err(MetalError::from)?;
        let metal = device.metal_device();
        let pipeline = metal.new_compute_pipeline_state_with_function(&function).map_err(MetalError::from)?;
        self.pipelines.insert(name.to_owned(), pipeline.clone());
        Ok(pipeline)
    }
}
