//! Images in .safetensors files.

use std::io::Read;

use anyhow::{Context, Result, bail, ensure};
use candle_core::Tensor;
use safetensors::{Dtype, SafeTensors};

use super::{Stored, arranged};

/// So many bytes may a file have for each pixel allowed: four channels of f64.
const PIXEL: u64 = 32;
const HEADER: u64 = 1 << 20;

/// The only tensor of a file, or the one called `image`, as `[N, C, H, W]`.
pub(super) fn read(file: impl Read, max_pixels: u64) -> Result<Tensor> {
    let limit = max_pixels.saturating_mul(PIXEL).saturating_add(HEADER);
    let mut bytes = Vec::new();
    file.take(limit.saturating_add(1)).read_to_end(&mut bytes)?;
    ensure!(bytes.len() as u64 <= limit, "it has more than {limit} bytes, the most for `--max-pixels` {max_pixels}");
    let tensors = SafeTensors::deserialize(&bytes)?;
    let view = match tensors.names()[..] {
        [name] => tensors.tensor(name)?,
        ref names => tensors.tensor("image").with_context(|| {
            format!(
                "it holds {} tensors and none is called `image`; expected one alone or one of that name",
                names.len()
            )
        })?,
    };
    let stored = match view.dtype() {
        Dtype::U8 => Stored::U8,
        Dtype::U16 => Stored::U16,
        Dtype::F16 => Stored::F16,
        Dtype::BF16 => Stored::Bf16,
        Dtype::F32 => Stored::F32,
        Dtype::F64 => Stored::F64,
        dtype => bail!("its dtype is {dtype:?}, expected U8, U16, F16, BF16, F32 or F64"),
    };
    let arrangement = arranged(view.shape())?;
    arrangement.numbers(max_pixels)?;
    arrangement.tensor(stored.numbers(view.data()))
}
