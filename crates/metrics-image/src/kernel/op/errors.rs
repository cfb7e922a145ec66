//! Sums of squared or absolute errors.

use candle_core::{CpuStorage, CustomOp2, Layout, Result, Shape, Tensor, WithDType};

use super::planes::{Images, Stored, numbers, outputs, tensors, with_images, with_views};
use crate::kernel::{PixelError, cpu};

/// `[N, C, …]` twice to `[N]` in f64.
pub(super) struct Errors {
    pub(super) error: PixelError,
}

impl Errors {
    fn forward<P: Stored>(&self, images: &Images<P>) -> Vec<f64> {
        let error = |errors: &cpu::Errors| match self.error {
            PixelError::Squared => errors.squared,
            PixelError::Absolute => errors.absolute,
        };
        cpu::errors(&images.pairs).chunks(images.shape[1]).map(|image| image.iter().map(error).sum()).collect()
    }

    fn backward<P: Stored>(&self, images: &Images<P>, upstream: &[f64], wanted: [bool; 2]) -> [Option<Tensor>; 2] {
        let weight = |&weight: &f64| match self.error {
            PixelError::Squared => [weight, 0.0],
            PixelError::Absolute => [0.0, weight],
        };
        let per_plane = upstream.iter().flat_map(|image| std::iter::repeat_n(image, images.shape[1]));
        let weights: Vec<_> = per_plane.map(weight).collect();
        let mut gradients = images.gradients(wanted);
        cpu::errors_and_gradient(&images.pairs, &weights, outputs(&mut gradients));
        tensors(gradients, images.shape)
    }
}

impl CustomOp2 for Errors {
    fn name(&self) -> &'static str {
        "pixel-errors"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_layout: &Layout,
        y: &CpuStorage,
        y_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        with_images!((x, x_layout), (y, y_layout), |images| {
            Ok((f64::to_cpu_storage_owned(self.forward(&images)), images.shape[0].into()))
        })
    }

    fn bwd(&self, x: &Tensor, y: &Tensor, _: &Tensor, upstream: &Tensor) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let (upstream, wanted) = (numbers(upstream)?, [x.track_op(), y.track_op()]);
        let [dx, dy] =
            with_views(x, y, |x, y| with_images!(x, y, |images| Ok(self.backward(&images, &upstream, wanted))))?;
        Ok((dx, dy))
    }
}
