//! The mean SSIM or contrast of every plane.

use std::sync::{Mutex, MutexGuard, PoisonError};

use candle_core::{CpuStorage, CustomOp2, DType, Layout, Result, Shape, Tensor, WithDType};

use super::planes::{Images, Stored, numbers, outputs, tensors, with_images, with_views};
use crate::kernel::{Plan, Score, cpu};

/// `[N, C, …]` twice to `[N, C]` in f64.
pub(super) struct Means {
    pub(super) plan: Plan,
    pub(super) ranges: Vec<f64>,
    pub(super) score: Score,
    pub(super) early: Early,
}

/// Gradients made together with the means, where an input tracks: one image for each, until backward takes them.
pub(super) struct Early {
    /// For which derivative of the final result by each mean.
    slope: f64,
    wanted: [bool; 2],
    gradients: Mutex<Option<Gradients>>,
}

type Gradients = [Option<Tensor>; 2];

impl Early {
    pub(super) fn new(slope: f64, wanted: [bool; 2]) -> Self {
        // A slope of 0 says nothing of any other.
        let wanted = wanted.map(|wanted| wanted && slope != 0.0);
        Self { slope, wanted, gradients: Mutex::new(None) }
    }

    /// What was made early, once, for the slopes that have come from above; nothing if it cannot serve.
    fn take(&self, slopes: &[f64], wanted: [bool; 2]) -> Result<Option<Gradients>> {
        let Some(gradients) = self.lock().take() else { return Ok(None) };
        let factors: Vec<_> = slopes.iter().map(|slope| slope / self.slope).collect();
        let Some(made) = gradients.iter().flatten().next() else { return Ok(None) };
        let one = match made.dtype() {
            DType::F64 => factors.iter().all(|&factor| factor == 1.0),
            _ => factors.iter().all(|&factor| factor as f32 == 1.0),
        };
        match made.dtype() {
            _ if wanted != self.wanted => Ok(None),
            _ if one => Ok(Some(gradients)),
            DType::F32 | DType::F64 => {
                let [x, y] =
                    gradients.map(|gradient| gradient.map(|gradient| rescale(&gradient, &factors)).transpose());
                Ok(Some([x?, y?]))
            }
            // Rounded to half precision already, and perhaps to nothing.
            _ => Ok(None),
        }
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

impl Means {
    fn forward<P: Stored>(&self, images: &Images<P>) -> Result<Vec<f64>> {
        let stats = if self.early.wanted.contains(&true) {
            let slopes = vec![self.early.slope; images.pairs.len()];
            let (stats, gradients) = self.gradients(images, &slopes, self.early.wanted)?;
            *self.early.lock() = Some(gradients);
            stats
        } else {
            cpu::stats(&images.pairs, &self.ranges, &self.plan).ok_or_else(|| images.too_small(&self.plan))?
        };
        let score = |stats: cpu::PlaneStats| match self.score {
            Score::Ssim => stats.ssim,
            Score::Contrast => stats.contrast,
        };
        Ok(stats.into_iter().map(score).collect())
    }

    fn gradients<P: Stored>(
        &self,
        images: &Images<P>,
        slopes: &[f64],
        wanted: [bool; 2],
    ) -> Result<(Vec<cpu::PlaneStats>, Gradients)> {
        let weight = |&slope: &f64| match self.score {
            Score::Ssim => [slope, 0.0],
            Score::Contrast => [0.0, slope],
        };
        let weights: Vec<_> = slopes.iter().map(weight).collect();
        let mut gradients = images.gradients(wanted);
        let stats = cpu::stats_and_gradient(&images.pairs, &self.ranges, &self.plan, &weights, outputs(&mut gradients));
        Ok((stats.ok_or_else(|| images.too_small(&self.plan))?, tensors(gradients, images.shape)))
    }
}

impl CustomOp2 for Means {
    fn name(&self) -> &'static str {
        "ssim-means"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_layout: &Layout,
        y: &CpuStorage,
        y_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        with_images!((x, x_layout), (y, y_layout), |images| {
            Ok((f64::to_cpu_storage_owned(self.forward(&images)?), images.outer().into()))
        })
    }

    fn bwd(&self, x: &Tensor, y: &Tensor, _: &Tensor, upstream: &Tensor) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let (slopes, wanted) = (numbers(upstream)?, [x.track_op(), y.track_op()]);
        let gradients = match self.early.take(&slopes, wanted)? {
            Some(gradients) => gradients,
            None => {
                with_views(x, y, |x, y| with_images!(x, y, |images| Ok(self.gradients(&images, &slopes, wanted)?.1)))?
            }
        };
        Ok(gradients.into())
    }
}
