use candle_core::{D, Tensor};
use metrics_core::Result;

use crate::pair::{Pair, sum_dtype};

/// Sum of squared differences of each image, `[N]`.
pub(crate) fn squared_error(pair: &Pair) -> Result<Tensor> {
    sum_images(&(&pair.pred - &pair.target)?.sqr()?)
}

/// Sum of absolute differences of each image, `[N]`.
pub(crate) fn absolute_error(pair: &Pair) -> Result<Tensor> {
    let difference = (&pair.pred - &pair.target)?;
    // |d| = d · sign(d): the gradient at 0 is 0, as in PyTorch, where that of Candle's `abs` is 1.
    sum_images(&(&difference * difference.detach().sign()?)?)
}

fn sum_images(x: &Tensor) -> Result<Tensor> {
    Ok(x.flatten_from(1)?.to_dtype(sum_dtype(x.device()))?.sum(D::Minus1)?)
}
