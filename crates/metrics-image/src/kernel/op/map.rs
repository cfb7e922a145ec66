//! SSIM or contrast at every pixel.

use candle_core::{CpuStorage, CustomOp2, Layout, Result, Shape, Storage, Tensor, bail};

use super::planes::{Images, Stored, planes, with_images, with_views};
use crate::kernel::cpu::Fresh;
use crate::kernel::{Padding, Plan, Score, cpu};

/// `[N, C, …]` twice to a map of the images' dtype.
pub(super) struct Map {
    pub(super) plan: Plan,
    pub(super) ranges: Vec<f64>,
    pub(super) score: Score,
}

impl Map {
    /// The one of SSIM and contrast that is wanted, in the order of the kernels.
    fn only<T>(&self, wanted: T) -> [Option<T>; 2] {
        match self.score {
            Score::Ssim => [Some(wanted), None],
            Score::Contrast => [None, Some(wanted)],
        }
    }

    fn walk(&self) -> cpu::Walk<'_> {
        let scored = [self.score == Score::Ssim, self.score == Score::Contrast];
        cpu::Walk { plan: &self.plan, ranges: &self.ranges, scored, errors: false }
    }

    fn shape(&self, images: &[usize]) -> Vec<usize> {
        let side = |(&side, taps): (&usize, &Vec<f64>)| match self.plan.padding {
            Padding::Valid => (side + 1).saturating_sub(taps.len()),
            Padding::Reflect | Padding::Zero => side,
        };
        let (outer, sides) = images.split_at(2);
        outer.iter().copied().chain(sides.iter().zip(&self.plan.taps).map(side)).collect()
    }

    fn forward<P: Stored>(&self, images: &Images<P>) -> Result<(CpuStorage, Shape)> {
        let shape = Shape::from(self.shape(images.shape));
        let mut map = Fresh::new(shape.elem_count());
        self.walk().map(&images.pairs, self.only(map.room())).ok_or_else(|| images.too_small(&self.plan))?;
        Ok((P::to_cpu_storage_owned(map.filled()), shape))
    }

    fn backward<P: Stored>(
        &self,
        images: &Images<P>,
        upstream: &Tensor,
        wanted: [bool; 2],
    ) -> Result<[Option<Tensor>; 2]> {
        let (storage, layout) = upstream.storage_and_layout();
        let Storage::Cpu(storage) = &*storage else { bail!("expected the gradient of a map on the CPU") };
        let upstream = planes(storage.as_slice::<P>()?, layout)?;
        let mut gradients = images.gradients(wanted);
        let upstream = self.only(&upstream[..]);
        self.walk()
            .map_gradient(&images.pairs, upstream, gradients.rooms())
            .ok_or_else(|| images.too_small(&self.plan))?;
        Ok(gradients.tensors(images.shape))
    }
}

impl CustomOp2 for Map {
    fn name(&self) -> &'static str {
        "ssim-map"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_layout: &Layout,
        y: &CpuStorage,
        y_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        with_images!((x, x_layout), (y, y_layout), |images| self.forward(&images))
    }

    fn bwd(&self, x: &Tensor, y: &Tensor, _: &Tensor, upstream: &Tensor) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let wanted = [x.track_op(), y.track_op()];
        let [dx, dy] = with_views(x, y, |x, y| with_images!(x, y, |images| self.backward(&images, upstream, wanted)))?;
        Ok((dx, dy))
    }
}
