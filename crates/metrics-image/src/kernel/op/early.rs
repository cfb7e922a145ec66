//! Gradients made together with the numbers of a pass.

use std::sync::{Mutex, MutexGuard, PoisonError};

use candle_core::{DType, Result, Tensor};

/// Gradients with respect to both images, of those that want one.
pub(super) type Gradients = [Option<Tensor>; 2];

/// Gradients that were made early, for the slopes that the caller foresaw: one image for each, until backward takes them.
pub(super) struct Early {
    /// The foreseen derivative with respect to each row of the pass, the same for all planes; empty if there is none.
    slopes: Vec<f64>,
    wanted: [bool; 2],
    gradients: Mutex<Option<Gradients>>,
}

impl Early {
    /// `slopes`: one for each row; without any, or if all are 0, nothing is made early.
    pub(super) fn new(slopes: Vec<f64>, wanted: [bool; 2]) -> Self {
        let any = slopes.iter().any(|&slope| slope != 0.0);
        Self { slopes, wanted: wanted.map(|wanted| wanted && any), gradients: Mutex::new(None) }
    }

    /// For which inputs to make gradients, and for which slopes; if any.
    pub(super) fn order(&self) -> Option<(&[f64], [bool; 2])> {
        self.wanted.contains(&true).then_some((&self.slopes, self.wanted))
    }

    pub(super) fn keep(&self, gradients: Gradients) {
        *self.lock() = Some(gradients);
    }

    /// What was made early, once, for the slopes that have come from above, `[rows, N, C]`; nothing if it cannot serve.
    pub(super) fn take(&self, upstream: &[f64], wanted: [bool; 2]) -> Result<Option<Gradients>> {
        let Some(gradients) = self.lock().take() else { return Ok(None) };
        let Some(made) = gradients.iter().flatten().next() else { return Ok(None) };
        let dtype = made.dtype();
        // The slopes come back through a few roundings.
        let near_one = |factor: f64| (factor - 1.0).abs() < 8.0 * f64::EPSILON;
        let round = |factor: f64| match dtype {
            DType::F64 => {
                if near_one(factor) {
                    1.0
                } else {
                    factor
                }
            }
            _ => f64::from(factor as f32),
        };
        let Some(factors) = self.factors(upstream, round) else { return Ok(None) };
        match dtype {
            _ if wanted != self.wanted => Ok(None),
            _ if factors.iter().all(|&factor| factor == 1.0) => Ok(Some(gradients)),
            DType::F32 | DType::F64 => {
                let [x, y] =
                    gradients.map(|gradient| gradient.map(|gradient| rescale(&gradient, &factors)).transpose());
                Ok(Some([x?, y?]))
            }
            // Rounded to half precision already, and perhaps to nothing.
            _ => Ok(None),
        }
    }

    /// By what the gradient of each plane has to be multiplied, if one factor does for all rows.
    fn factors(&self, upstream: &[f64], round: impl Fn(f64) -> f64) -> Option<Vec<f64>> {
        let planes = upstream.len() / self.slopes.len();
        let mut factors: Vec<Option<f64>> = vec![None; planes];
        for (&slope, upstream) in self.slopes.iter().zip(upstream.chunks(planes)) {
            for (known, &upstream) in factors.iter_mut().zip(upstream) {
                let factor = if slope == 0.0 { None } else { Some(round(upstream / slope)) };
                match (factor, *known) {
                    (None, _) if upstream == 0.0 => {}
                    (Some(_), None) => *known = factor,
                    (Some(factor), Some(known)) if factor == known => {}
                    _ => return None,
                }
            }
        }
        factors.into_iter().collect()
    }

    fn lock(&self) -> MutexGuard<'_, Option<Gradients>> {
        self.gradients.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Each plane times its factor.
fn rescale(gradient: &Tensor, factors: &[f64]) -> Result<Tensor> {
    if let [first, rest @ ..] = factors
        && rest.iter().all(|factor| factor == first)
    {
        return gradient.affine(*first, 0.0);
    }
    let mut shape = vec![1; gradient.rank()];
    shape[..2].copy_from_slice(&gradient.dims()[..2]);
    let factors = Tensor::from_slice(factors, shape, gradient.device())?.to_dtype(gradient.dtype())?;
    gradient.broadcast_mul(&factors)
}
