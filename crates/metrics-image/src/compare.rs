//! Comparisons of a tensor with one number that stay on its device.
//!
//! Candle's own make the number a tensor on the host, convert it there and copy it to the device.

use candle_core::{DType, Result, Tensor};

/// Each is 1 where it holds and 0 elsewhere, in u8.
pub(crate) trait Compare {
    fn above(&self, bound: f64) -> Result<Tensor>;
    fn below(&self, bound: f64) -> Result<Tensor>;
    fn at_least(&self, bound: f64) -> Result<Tensor>;
    fn at_most(&self, bound: f64) -> Result<Tensor>;
    fn equals(&self, number: f64) -> Result<Tensor>;
}

impl Compare for Tensor {
    fn above(&self, bound: f64) -> Result<Tensor> {
        self.gt(&filled(self, bound)?)
    }

    fn below(&self, bound: f64) -> Result<Tensor> {
        self.lt(&filled(self, bound)?)
    }

    fn at_least(&self, bound: f64) -> Result<Tensor> {
        self.ge(&filled(self, bound)?)
    }

    fn at_most(&self, bound: f64) -> Result<Tensor> {
        self.le(&filled(self, bound)?)
    }

    fn equals(&self, number: f64) -> Result<Tensor> {
        self.eq(&filled(self, number)?)
    }
}

/// One number, of the shape, dtype and device of another tensor.
pub(crate) fn filled(like: &Tensor, value: f64) -> Result<Tensor> {
    match like.dtype() {
        DType::F64 => Tensor::full(value, like.shape(), like.device()),
        // Metal has no f64.
        dtype => Tensor::full(value as f32, like.shape(), like.device())?.to_dtype(dtype),
    }
}
