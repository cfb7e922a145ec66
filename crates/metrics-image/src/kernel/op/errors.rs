//! Sums of squared or absolute errors.

use candle_core::{CpuStorage, CustomOp2, Layout, Result, Shape, Tensor, WithDType};

use super::planes::{Images, Stored, numbers, with_images, with_views};
use crate::kernel::cpu;

/// `[N, C, …]` twice to `[2, N, C]` in f64: squared errors, then absolute ones.
pub(super) struct Errors;

impl Errors {
    fn forward<P: Stored>(&self, images: &Images<P>) -> Vec<f64> {
        let errors = cpu::errors(&images.pairs, &[], [None, None]);
        let squared = errors.iter().map(|errors| errors.squared);
        squared.chain(errors.iter().map(|errors| errors.absolute)).collect()
    }

    fn backward<P: Stored>(&self, images: &Images<P>, upstream: &[f64], wanted: [bool; 2]) -> [Option<Tensor>; 2] {
        let (squared, absolute) = upstream.split_at(images.pairs.len());
        let weights: Vec<_> = squared.iter().zip(absolute).map(|(&squared, &absolute)| [squared, absolute]).collect();
        let mut gradients = images.gradients(wanted);
        cpu::errors(&images.pairs, &weights, gradients.rooms());
        gradients.tensors(images.shape)
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
            let (n, c) = images.outer();
            Ok((f64::to_cpu_storage_owned(self.forward(&images)), (2, n, c).into()))
        })
    }

    fn bwd(&self, x: &Tensor, y: &Tensor, _: &Tensor, upstream: &Tensor) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let (upstream, wanted) = (numbers(upstream)?, [x.track_op(), y.track_op()]);
        let [dx, dy] =
            with_views(x, y, |x, y| with_images!(x, y, |images| Ok(self.backward(&images, &upstream, wanted))))?;
        Ok((dx, dy))
    }
}
