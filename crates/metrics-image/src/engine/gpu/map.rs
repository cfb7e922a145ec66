//! SSIM or contrast at every pixel.

use candle_core::{Result, Shape, Storage};

use super::launch::View;
use super::op::{Gradients, Images, Operation, for_each};
use super::params::Params;
use super::walk::{Goal, Walk};
use crate::engine::backend::Score;
use crate::measure::ssim::Plan;
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
        Walk::over(images, &self.plan, &self.range, |walk| {
            let mut shape = images.dims.to_vec();
            let [slices, rows, columns] = walk.map();
            match &mut shape[2..] {
                [height, width] => (*height, *width) = (slices, columns),
                sides => sides.copy_from_slice(&[slices, rows, columns]),
            }
            let mut map = images.gpu.alloc(images.gpu.real(), shape.iter().product())?;
            walk.values(|params| self.of(params), Some(&mut map))?;
            Ok((map, shape.into()))
        })
    }

    fn backward(&self, images: &Images, upstream: View, wanted: [bool; 2]) -> Result<Gradients> {
        Walk::over(images, &self.plan, &self.range, |walk| {
            for_each(wanted, |side| {
                let goal = Goal { side, map: Some(upstream), ..Goal::default() };
                Ok(walk.gradient(|params| self.of(params), goal)?.0)
            })
        })
    }
}
