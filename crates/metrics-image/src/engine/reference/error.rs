use candle_core::{D, Tensor};
use metrics_core::Result;

use crate::pair::{Pair, sum_dtype};

/// Sum of the squared errors of each image's pixels, `[N]`.
pub(crate) fn squared(pair: &Pair) -> Result<Tensor> {
    let pair = pair.to_float()?;
    sums(&(&pair.pred - &pair.target)?.sqr()?)
}

/// Sum of the absolute errors of each image's pixels, `[N]`.
pub(crate) fn absolute(pair: &Pair) -> Result<Tensor> {
    let pair = pair.to_float()?;
    let difference = (&pair.pred - &pair.target)?;
    // |d| = d · sign(d): the gradient at 0 is 0, as in PyTorch, where that of Candle's `abs` is 1.
    sums(&(&difference * difference.detach().sign()?)?)
}

fn sums(errors: &Tensor) -> Result<Tensor> {
    Ok(errors.flatten_from(1)?.to_dtype(sum_dtype(errors.device()))?.sum(D::Minus1)?)
}
