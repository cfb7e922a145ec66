//! Per-image values and what becomes of them.

use candle_core::{DType, Tensor};
use metrics_core::{Reduction, Result};

use crate::pair::Pair;

/// One value for each image, `[N]`, in the widest dtype of the device, and the dtype that the caller gets.
pub(crate) struct Scores {
    pub(crate) wide: Tensor,
    pub(crate) dtype: DType,
}

impl Scores {
    /// The values in the caller's dtype.
    pub(crate) fn per_image(&self) -> Result<Tensor> {
        Ok(self.wide.to_dtype(self.dtype)?)
    }

    /// One batch's value: a scalar, or `[N]` for [`Reduction::None`]. A summary's scalar is its mean.
    pub(crate) fn reduce(&self, reduction: Reduction) -> Result<Tensor> {
        let reduced = match reduction {
            Reduction::Mean | Reduction::Summary => self.wide.mean_all()?,
            Reduction::Sum => self.wide.sum_all()?,
            Reduction::None => self.wide.clone(),
        };
        Ok(reduced.to_dtype(self.dtype)?)
    }

    /// `scale * value + offset` for every image.
    pub(crate) fn affine(&self, scale: f64, offset: f64) -> Result<Self> {
        Ok(Self { wide: self.wide.affine(scale, offset)?, dtype: self.dtype })
    }
}

/// The derivative of what [`Scores::reduce`] gives with respect to the score of each image of a pair.
pub(crate) fn slope(reduction: Reduction, pair: &Pair) -> f64 {
    match reduction {
        Reduction::Mean | Reduction::Summary => 1.0 / pair.pred.dims()[0] as f64,
        Reduction::Sum | Reduction::None => 1.0,
    }
}
