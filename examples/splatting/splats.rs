//! Gaussian splats in the plane, drawn with Candle's operations.

use candle_core::{Device, Result, Tensor, Var};
use candle_nn::ops::sigmoid;
use rand::Rng;
use rand::rngs::StdRng;

/// Along one axis of the image, of 2 in all: what a splat measures at first.
const FIRST_SIGMA: f64 = 0.07;

/// N splats. Pixels are at -1..=1 along both axes.
pub(crate) struct Splats {
    /// x and y, `[N, 2]`.
    center: Var,
    /// Logarithms of the standard deviations along the splat's own two axes, `[N, 2]`.
    log_sigma: Var,
    /// From the x axis to the splat's first, in radians, `[N, 1]`.
    angle: Var,
    /// Before a sigmoid, `[N, 3]`.
    color: Var,
    /// Logarithm of the density at the center, `[N, 1]`.
    log_density: Var,
    /// Of each pixel, `[6, H · W]`.
    monomials: Tensor,
    side: usize,
}

impl Splats {
    /// Gray splats at random places, which draw a square of `side` pixels.
    pub(crate) fn random(number: usize, side: usize, rng: &mut StdRng, device: &Device) -> Result<Self> {
        let mut uniform = |width: usize, low: f32, high: f32| {
            let values: Vec<f32> = (0..number * width).map(|_| rng.random_range(low..high)).collect();
            Var::from_tensor(&Tensor::from_vec(values, (number, width), device)?)
        };
        let log_sigma = FIRST_SIGMA.ln() as f32;
        Ok(Self {
            center: uniform(2, -0.9, 0.9)?,
            log_sigma: uniform(2, log_sigma - 0.1, log_sigma + 0.1)?,
            angle: uniform(1, 0.0, 3.0)?,
            color: uniform(3, -0.1, 0.1)?,
            log_density: uniform(1, -0.1, 0.1)?,
            monomials: monomials(side, device)?,
            side,
        })
    }

    pub(crate) fn vars(&self) -> Vec<Var> {
        [&self.center, &self.log_sigma, &self.angle, &self.color, &self.log_density].map(Var::clone).to_vec()
    }

    /// Premultiplied RGBA, `[1, 4, side, side]`, with values in 0..=1.
    ///
    /// All splats lie in one layer: their densities add up to d, alpha is 1 - exp(-d), and the color is their mean by density. That
    /// needs no order of the splats, unlike compositing one over another as 3-D Gaussian splatting does.
    pub(crate) fn draw(&self) -> Result<Tensor> {
        let densities = self.exponents()?.matmul(&self.monomials)?.exp()?; // [N, H · W]
        let ones = self.log_density.ones_like()?;
        let sums = Tensor::cat(&[&sigmoid(&self.color)?, &ones], 1)?.t()?.matmul(&densities)?; // [4, H · W]
        let (color, density) = (sums.narrow(0, 0, 3)?, sums.narrow(0, 3, 1)?);
        let alpha = density.neg()?.exp()?.affine(-1.0, 1.0)?;
        let color = color.broadcast_mul(&(&alpha / density.affine(1.0, 1e-8)?)?)?;
        Tensor::cat(&[color, alpha], 0)?.reshape((1, 4, self.side, self.side))
    }

    /// The logarithm of each splat's density as a polynomial of x and y, `[N, 6]`: one product with the monomials of all pixels then
    /// evaluates `log density - (a dx² + 2 b dx dy + c dy²) / 2`.
    fn exponents(&self) -> Result<Tensor> {
        let inverse = (self.log_sigma.as_tensor() * -2.0)?.exp()?; // 1 / σ²
        let (along, across) = (inverse.narrow(1, 0, 1)?, inverse.narrow(1, 1, 1)?);
        let (cos, sin) = (self.angle.cos()?, self.angle.sin()?);
        let (cos2, sin2) = (cos.sqr()?, sin.sqr()?);
        let a = ((&cos2 * &along)? + (&sin2 * &across)?)?;
        let b = (cos * sin)?.mul(&(&along - &across)?)?;
        let c = ((sin2 * along)? + (cos2 * across)?)?;
        let (x, y) = (self.center.narrow(1, 0, 1)?, self.center.narrow(1, 1, 1)?);
        let linear_x = ((&a * &x)? + (&b * &y)?)?;
        let linear_y = ((&b * &x)? + (&c * &y)?)?;
        let constant = (self.log_density.as_tensor() - (((x * &linear_x)? + (y * &linear_y)?)? * 0.5)?)?;
        Tensor::cat(&[(a * -0.5)?, b.neg()?, (c * -0.5)?, linear_x, linear_y, constant], 1)
    }
}

/// x², x y, y², x, y and 1 of each pixel.
fn monomials(side: usize, device: &Device) -> Result<Tensor> {
    let at = |pixel: usize| (2 * pixel + 1) as f32 / side as f32 - 1.0;
    let pixels = (0..side * side).map(|pixel| (at(pixel % side), at(pixel / side)));
    let rows: Vec<f32> = pixels.flat_map(|(x, y)| [x * x, x * y, y * y, x, y, 1.0]).collect();
    Tensor::from_vec(rows, (side * side, 6), device)?.t()?.contiguous()
}
