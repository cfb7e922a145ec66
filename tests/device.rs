//! The GPU that tests are to run on as well.

use anyhow::{Context, Result, bail};
use candle_core::Device;

/// The device that `METRICS_TEST_DEVICE` names, `cuda` or `metal`; none if it is not set, or `cpu`.
///
/// A device that is asked for and missing is an error, so that a run without it cannot pass for one with it.
pub fn asked_for() -> Result<Option<Device>> {
    let name = std::env::var("METRICS_TEST_DEVICE").unwrap_or_default();
    Ok(Some(match name.as_str() {
        "" | "cpu" => return Ok(None),
        "cuda" => Device::new_cuda(0).context("METRICS_TEST_DEVICE=cuda: cannot open the first CUDA device")?,
        "metal" => Device::new_metal(0).context("METRICS_TEST_DEVICE=metal: cannot open the first Metal device")?,
        other => bail!("METRICS_TEST_DEVICE={other}: expected cpu, cuda or metal"),
    }))
}

/// Bytes of a GPU's memory that are in use, those of other programs included where the driver does not tell them apart.
pub fn used_bytes(device: &Device) -> Result<usize> {
    device.synchronize()?;
    match device {
        #[cfg(feature = "cuda")]
        Device::Cuda(device) => {
            let (free, total) = device.cuda_stream().context().mem_get_info()?;
            Ok(total - free)
        }
        #[cfg(feature = "metal")]
        Device::Metal(device) => Ok(device.metal_device().current_allocated_size()),
        other => bail!("this build does not know the memory of {other:?}"),
    }
}
