//! Images in .safetensors files.

use std::io::{BufRead, Read};

use anyhow::{Context, Result, bail, ensure};
use candle_core::Tensor;
use safetensors::tensor::Metadata;
use safetensors::{Dtype, SafeTensors};

use super::Look;
use super::array::{Arrangement, Stored};

/// The longest header. It is text that takes several times its length when it is read.
const LONGEST_HEADER: u64 = 1 << 20;

pub(super) fn look(file: &mut impl BufRead, length: u64, max_pixels: u64) -> Result<Look> {
    let mut start = [0; 8];
    file.read_exact(&mut start).context("the file is truncated")?;
    let size = u64::from_le_bytes(start);
    ensure!(size <= LONGEST_HEADER, "its header has {size} bytes, expected at most {LONGEST_HEADER}");
    let mut header = Vec::new();
    file.take(size).read_to_end(&mut header)?;
    ensure!(header.len() as u64 == size, "the file is truncated");
    let metadata: Metadata = serde_json::from_slice(&header).context("its header is damaged")?;
    let expected = size.saturating_add(8).saturating_add(metadata.data_len() as u64);
    ensure!(length == expected, "the file has {length} bytes, expected {expected} by its header");
    let info = metadata.info(&name(&metadata.offset_keys())?).context("its header is damaged")?;
    Ok(Arrangement::of(&info.shape, max_pixels)?.look(stored(info.dtype)?))
}

/// The only tensor of a file, or the one called `image`, as `[N, C, H, W]`.
pub(super) fn decode(bytes: &[u8], max_pixels: u64) -> Result<Tensor> {
    let tensors = SafeTensors::deserialize(bytes)?;
    let names: Vec<_> = tensors.names().into_iter().map(String::from).collect();
    let view = tensors.tensor(&name(&names)?)?;
    Arrangement::of(view.shape(), max_pixels)?.tensor(stored(view.dtype())?.numbers(view.data()))
}

/// The tensor that is the image.
fn name(names: &[String]) -> Result<String> {
    match names {
        [name] => Ok(name.clone()),
        names if names.iter().any(|name| name == "image") => Ok("image".into()),
        names => {
            bail!("it holds {} tensors and none is called `image`; expected one alone or one of that name", names.len())
        }
    }
}

fn stored(dtype: Dtype) -> Result<Stored> {
    Ok(match dtype {
        Dtype::U8 => Stored::U8,
        Dtype::U16 => Stored::U16,
        Dtype::F16 => Stored::F16,
        Dtype::BF16 => Stored::Bf16,
        Dtype::F32 => Stored::F32,
        Dtype::F64 => Stored::F64,
        dtype => bail!("its dtype is {dtype:?}, expected U8, U16, F16, BF16, F32 or F64"),
    })
}
