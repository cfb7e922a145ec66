//! SSIM or contrast at every pixel.

use candle_core::{Result, Shape, Storage};

use super::launch::View;
use super::op::{Images, Operation, with_range};
use super::params::Params;
use super::pass::{self, Gradient};
use crate::kernel::{Plan, Score};
use crate::pair::Range;

/// `[N, C, …]` twice to a map of the images' dtype.
pub(super) struct Map {
    pub(super) plan: Plan,
    pub(super) range: Range,
    pub(super) score: Score,
}

impl Map {
    /// For the kernels, what is wanted.
    fn of(&self, params: Params<f64>) -> Params<f64> {
        let map_of = match self.score {
            Score::Ssim => 0,
            Score::Contrast => 1,
        };
        Params { map_of, ..params }
    }
}

impl Operation for Map {
    const NAME: &'static str = "ssim-map";

    fn forward(&self, images: &Images) -> Result<(Storage, Shape)> {
        let windowed = images.geometry.windowed(&self.plan)?;
        let mut shape = images.dims.to_vec();
        let [slices, rows, columns] = windowed.map();
        match &mut shape[2..] {
            [height, width] => (*height, *width) = (slices, columns),
            sides => sides.copy_from_slice(&[slices, rows, columns]),
        }
        let mut map = images.gpu.alloc(images.gpu.real(), shape.iter().product())?;
        let pivots = pass::pivots(images)?;
        with_range(&self.range, |range, ranges| {
            let launch = pass::Launch { images, windowed: &windowed, pivots: &pivots, range, ranges };
            launch.values(|params| self.of(params), None, Some(&mut map))
        })?;
        Ok((map, shape.into()))
    }

    fn backward(&self, images: &Images, upstream: View, wanted: [bool; 2]) -> Result<[Option<Storage>; 2]> {
        let windowed = images.geometry.windowed(&self.plan)?;
        let pivots = pass::pivots(images)?;
        with_range(&self.range, |range, ranges| {
            let launch = pass::Launch { images, windowed: &windowed, pivots: &pivots, range, ranges };
            let mut gradients = [None, None];
            for (side, gradient) in gradients.iter_mut().enumerate().filter(|(side, _)| wanted[*side]) {
                let mut made = images.gpu.alloc(images.gpu.dtype(), images.geometry.len())?;
                let goal = Gradient { side, map: Some(upstream), ..Gradient::default() };
                launch.gradient(|params| self.of(params), goal, None, &mut made)?;
                *gradient = Some(made);
            }
            Ok(gradients)
        })
    }
}
