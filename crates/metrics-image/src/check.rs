//! The one place where a pair of images is checked.

use candle_core::{DType, Device, Tensor};
use metrics_core::{Error, Result};

/// Checks that `pred` and `target` are a pair that every function here can work on: equal shape `[N, C, H, W]` or
/// `[N, C, D, H, W]` with nothing of length 0, equal dtype among u8, f16, bf16, f32 and f64 (or a u8 target), same device.
pub(crate) fn pair(op: &str, pred: &Tensor, target: &Tensor) -> Result<()> {
    let fail = |message: String| Err(Error::argument(op, message));
    let (p, t) = (pred.dims(), target.dims());
    if p != t {
        return fail(format!("`pred` is {p:?} but `target` is {t:?}"));
    }
    match p {
        [_, _, _] => {
            return fail(format!(
                "`pred` is {p:?}, expected [N, C, H, W] or [N, C, D, H, W]; make one image a batch with `unsqueeze(0)`, \
                 or a batch of grey images [N, 1, H, W] with `unsqueeze(1)`"
            ));
        }
        [_, _, _, _] | [_, _, _, _, _] => {}
        _ => return fail(format!("`pred` is {p:?}, expected [N, C, H, W] or [N, C, D, H, W]")),
    }
    if p[0] == 0 {
        return fail(format!("`pred` is an empty batch, {p:?}; expected at least one image"));
    }
    if p.contains(&0) {
        return fail(format!("`pred` is {p:?}, expected every dimension to be at least 1"));
    }
    if pred.dtype() != target.dtype() && target.dtype() != DType::U8 {
        return fail(format!("`pred` is {:?} but `target` is {:?}", pred.dtype(), target.dtype()));
    }
    if !matches!(pred.dtype(), DType::U8 | DType::F16 | DType::BF16 | DType::F32 | DType::F64) {
        return fail(format!("`pred` is {:?}, expected u8, f16, bf16, f32 or f64", pred.dtype()));
    }
    if !pred.device().same_device(target.device()) {
        return fail(format!(
            "`pred` is on {:?} but `target` is on {:?}",
            pred.device().location(),
            target.device().location()
        ));
    }
    Ok(())
}

/// Checks that `mask` says how much each pixel of images of size `images` counts: `[N or 1, C or 1, …]` on their device.
pub(crate) fn mask(op: &str, mask: &Tensor, images: &[usize], device: &Device) -> Result<()> {
    let m = mask.dims();
    let fits = m.len() == images.len()
        && m[2..] == images[2..]
        && [0, 1].iter().all(|&axis| m[axis] == 1 || m[axis] == images[axis]);
    let problem = if !fits {
        let mut expected = images.to_vec();
        expected[1] = 1;
        format!("`mask` is {m:?}, expected {expected:?} or {images:?}")
    } else if !matches!(mask.dtype(), DType::U8 | DType::F16 | DType::BF16 | DType::F32 | DType::F64) {
        format!("`mask` is {:?}, expected u8, f16, bf16, f32 or f64", mask.dtype())
    } else if !mask.device().same_device(device) {
        format!("`mask` is on {:?} but `pred` is on {:?}", mask.device().location(), device.location())
    } else {
        return Ok(());
    };
    Err(Error::argument(op, problem))
}
