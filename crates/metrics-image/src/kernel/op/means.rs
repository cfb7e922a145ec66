//! The mean SSIM or contrast of every plane.

use candle_core::{CpuStorage, CustomOp2, Layout, Result, Shape, Tensor, WithDType};

use super::planes::{Images, Stored, numbers, outputs, tensors, with_images, with_views};
use crate::kernel::{Plan, Score, cpu};

/// `[N, C, …]` twice to `[N, C]` in f64.
///
/// The gradient is made in backward, from the images: a score keeps its inputs alive and nothing else.
pub(super) struct Means {
    pub(super) plan: Plan,
    pub(super) ranges: Vec<f64>,
    pub(super) score: Score,
}

impl Means {
    fn forward<P: Stored>(&self, images: &Images<P>) -> Result<Vec<f64>> {
        let stats = cpu::stats(&images.pairs, &self.ranges, &self.plan);
        let stats = stats.ok_or_else(|| images.too_small(&self.plan))?;
        let score = |stats: cpu::PlaneStats| match self.score {
            Score::Ssim => stats.ssim,
            Score::Contrast => stats.contrast,
        };
        Ok(stats.into_iter().map(score).collect())
    }

    fn backward<P: Stored>(
        &self,
        images: &Images<P>,
        upstream: &[f64],
        wanted: [bool; 2],
    ) -> Result<[Option<Tensor>; 2]> {
        let weight = |&weight: &f64| match self.score {
            Score::Ssim => [weight, 0.0],
            Score::Contrast => [0.0, weight],
        };
        let weights: Vec<_> = upstream.iter().map(weight).collect();
        let mut gradients = images.gradients(wanted);
        cpu::stats_and_gradient(&images.pairs, &self.ranges, &self.plan, &weights, outputs(&mut gradients))
            .ok_or_else(|| images.too_small(&self.plan))?;
        Ok(tensors(gradients, images.shape))
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
        let (upstream, wanted) = (numbers(upstream)?, [x.track_op(), y.track_op()]);
        let [dx, dy] = with_views(x, y, |x, y| with_images!(x, y, |images| self.backward(&images, &upstream, wanted)))?;
        Ok((dx, dy))
    }
}
