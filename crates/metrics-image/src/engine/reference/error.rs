use candle_core::{D, Tensor};
use metrics_core::Result;

use crate::compare::Compare;
use crate::pair::{Pair, sum_dtype};

/// Sum of the squared errors of each image's pixels, `[N]`.
pub(crate) fn squared(pair: &Pair) -> Result<Tensor> {
    sums(pair, |error| error.sqr())
}

/// Sum of the absolute errors of each image's pixels, `[N]`.
pub(crate) fn absolute(pair: &Pair) -> Result<Tensor> {
    // |e| = e · sign(e): the gradient at 0 is 0, as in PyTorch, where that of Candle's `abs` is 1.
    sums(pair, |error| error * error.detach().sign()?)
}

/// Sum of `√(e² + ε²)` over each image's pixels, `[N]`.
pub(crate) fn charbonnier(pair: &Pair, epsilon: f64) -> Result<Tensor> {
    sums(pair, |error| (error.sqr()? + epsilon * epsilon)?.sqrt())
}

/// How many values each image has, or the sum of their weights, `[N]`.
pub(crate) fn values(pair: &Pair) -> Result<Tensor> {
    let dtype = sum_dtype(pair.pred.device());
    Ok(match pair.full_mask()? {
        Some(mask) => mask.flatten_from(1)?.to_dtype(dtype)?.sum(D::Minus1)?,
        None => (Tensor::zeros(pair.pred.dim(0)?, dtype, pair.pred.device())? + pair.image_len() as f64)?,
    })
}

fn sums(pair: &Pair, of: impl Fn(&Tensor) -> candle_core::Result<Tensor>) -> Result<Tensor> {
    let pair = pair.to_float()?;
    let errors = match pair.full_mask()? {
        None => of(&(&pair.pred - &pair.target)?)?,
        Some(mask) => {
            let error = (counted(&pair.pred, &mask)? - counted(&pair.target, &mask)?)?;
            (of(&error)? * mask)?
        }
    };
    Ok(errors.flatten_from(1)?.to_dtype(sum_dtype(errors.device()))?.sum(D::Minus1)?)
}

/// `x` where `mask` is more than 0, else 0 whatever `x` is.
pub(super) fn counted(x: &Tensor, mask: &Tensor) -> Result<Tensor> {
    Ok(mask.above(0.0)?.where_cond(x, &x.zeros_like()?)?)
}
