//! The device that `--device` names.

use anyhow::{Context, Result, bail};
use candle_core::{Device, utils};

/// Opens `cpu`, `cuda`, `cuda:N` or `metal`. An error says what was expected, or which feature a build needs.
pub(crate) fn open(name: &str) -> Result<Device> {
    let (kind, number) = name.split_once(':').unwrap_or((name, "0"));
    let device = match (kind, number.parse()) {
        ("cpu", Ok(0)) => return Ok(Device::Cpu),
        ("cuda", Ok(number)) if utils::cuda_is_available() => Device::new_cuda(number),
        ("metal", Ok(number)) if utils::metal_is_available() => Device::new_metal(number),
        ("cuda" | "metal", Ok(_)) => bail!("`{name}` is not in this build; build with `--features {kind}`"),
        _ => bail!("the device is `{name}`, expected `cpu`, `cuda`, `cuda:N` or `metal`"),
    };
    device.with_context(|| format!("the device `{name}` cannot be opened"))
}
