//! Images made for tests.

use candle_core::{DType, Device, Result, Shape, Tensor};

/// A smooth pattern with some noise, in 0..=1, the same for the same seed.
pub fn textured(shape: impl Into<Shape>, seed: u64, dtype: DType) -> Result<Tensor> {
    let shape = shape.into();
    let width = shape.dims().last().copied().unwrap_or(1);
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let pixels: Vec<f64> = (0..shape.elem_count())
        .map(|i| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let noise = (state >> 11) as f64 / (1u64 << 53) as f64;
            let (row, column) = ((i / width) as f64, (i % width) as f64);
            0.5 + 0.25 * (column / 5.0 + seed as f64).sin() * (row / 7.0).cos() + 0.3 * (noise - 0.5)
        })
        .collect();
    Tensor::from_vec(pixels, shape, &Device::Cpu)?.to_dtype(dtype)
}
