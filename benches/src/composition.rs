//! SSIM composed from Candle's own operations: the usual formula, five filtered images, only windows inside the image.

use candle_core::{D, Result, Tensor};

const TAPS: usize = 11;

/// Ways to filter with 11 Gaussian taps of sigma 1.5 along both sides of an image.
#[derive(Clone, Copy, Debug)]
pub enum Composition {
    /// `conv2d` with one group for each channel, once for columns and once for rows.
    DepthwiseConv,
    /// `narrow`, `affine` and `add` for each tap.
    ShiftAdd,
    /// A product with a banded matrix on each side.
    BandedMatmul,
}

impl Composition {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::DepthwiseConv, Self::ShiftAdd, Self::BandedMatmul];

    /// SSIM of two batches of values in 0..1, a scalar.
    pub fn ssim(self, x: &Tensor, y: &Tensor) -> Result<Tensor> {
        let (mean_x, mean_y) = (self.filter(x)?, self.filter(y)?);
        let (xx, yy, xy) = (mean_x.sqr()?, mean_y.sqr()?, (&mean_x * &mean_y)?);
        let variance_x = (self.filter(&x.sqr()?)? - &xx)?;
        let variance_y = (self.filter(&y.sqr()?)? - &yy)?;
        let covariance = (self.filter(&(x * y)?)? - &xy)?;
        let (c1, c2) = (0.01f64.powi(2), 0.03f64.powi(2));
        let above = (xy.affine(2.0, c1)? * covariance.affine(2.0, c2)?)?;
        let below = ((xx + yy)?.affine(1.0, c1)? * (variance_x + variance_y)?.affine(1.0, c2)?)?;
        (above / below)?.mean_all()
    }

    fn filter(self, x: &Tensor) -> Result<Tensor> {
        match self {
            Self::DepthwiseConv => depthwise_conv(x),
            Self::ShiftAdd => shift_add(&shift_add(x, 2)?, 3),
            Self::BandedMatmul => banded_matmul(x),
        }
    }
}

fn taps() -> [f64; TAPS] {
    let weights: [f64; TAPS] = std::array::from_fn(|i| (-(i as f64 - 5.0).powi(2) / (2.0 * 1.5 * 1.5)).exp());
    let sum: f64 = weights.iter().sum();
    weights.map(|weight| weight / sum)
}

fn depthwise_conv(x: &Tensor) -> Result<Tensor> {
    let channels = x.dim(1)?;
    let taps = Tensor::new(&taps(), x.device())?.to_dtype(x.dtype())?;
    let kernel = |h, w| taps.reshape((1, 1, h, w))?.repeat((channels, 1, 1, 1));
    x.conv2d(&kernel(TAPS, 1)?, 0, 1, 1, channels)?.conv2d(&kernel(1, TAPS)?, 0, 1, 1, channels)
}

fn shift_add(x: &Tensor, axis: usize) -> Result<Tensor> {
    let side = x.dim(axis)? + 1 - TAPS;
    let term = |k, tap| x.narrow(axis, k, side)?.affine(tap, 0.0);
    let taps = taps();
    let first = term(0, taps[0])?;
    (1..TAPS).try_fold(first, |sum, k| sum + term(k, taps[k])?)
}

fn banded_matmul(x: &Tensor) -> Result<Tensor> {
    let (n, c, h, w) = x.dims4()?;
    let rows = x.reshape((n * c * h, w))?.matmul(&band(w, x)?)?.reshape((n * c, h, w + 1 - TAPS))?;
    let filtered = band(h, x)?.t()?.broadcast_matmul(&rows)?;
    filtered.reshape((n, c, h + 1 - TAPS, filtered.dim(D::Minus1)?))
}

/// The matrix that filters an axis of `side` pixels, `[side, side - 10]`.
fn band(side: usize, like: &Tensor) -> Result<Tensor> {
    let width = side + 1 - TAPS;
    let mut matrix = vec![0.0; side * width];
    for column in 0..width {
        for (k, tap) in taps().into_iter().enumerate() {
            matrix[(column + k) * width + column] = tap;
        }
    }
    Tensor::from_vec(matrix, (side, width), like.device())?.to_dtype(like.dtype())
}

#[cfg(test)]
mod tests {
    use metrics_image::{SsimConfig, ssim};

    use super::*;

    #[test]
    fn compositions_compute_ssim() -> anyhow::Result<()> {
        let (pred, target) = crate::images([2, 3, 40, 33])?;
        let expected = ssim(&pred, &target, &SsimConfig::wang2004(1.0))?.to_scalar::<f32>()?;
        for composition in Composition::ALL {
            let got = composition.ssim(&pred, &target)?.to_scalar::<f32>()?;
            // f32 moments of values near 0.5 are good to 1e-7, the smallest denominators are near 0.1.
            assert!((got - expected).abs() < 1e-5, "{composition:?}: {got}, not {expected}");
        }
        Ok(())
    }
}
