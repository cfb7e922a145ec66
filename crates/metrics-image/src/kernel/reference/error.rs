use candle_core::{D, Tensor};
use metrics_core::Result;

use crate::kernel::PixelError;
use crate::pair::{Pair, sum_dtype};

/// Sum of the errors of each image's pixels, `[N]`.
pub(super) fn sums(pair: &Pair, error: PixelError) -> Result<Tensor> {
    let difference = (&pair.pred - &pair.target)?;
    let errors = match error {
        PixelError::Squared => difference.sqr()?,
        // |d| = d · sign(d): the gradient at 0 is 0, as in PyTorch, where that of Candle's `abs` is 1.
        PixelError::Absolute => (&difference * difference.detach().sign()?)?,
    };
    Ok(errors.flatten_from(1)?.to_dtype(sum_dtype(errors.device()))?.sum(D::Minus1)?)
}
