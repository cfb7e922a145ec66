//! SSIM or contrast at every pixel.

use candle_core::{Result, Shape, Storage};

use super::launch::View;
use super::op::{Gradients, Images, Operation, for_each};
use super::params::{CONTRAST, Params, SSIM};
use super::scan::{Scan, Upstream, with_ranges};
use crate::engine::backend::{Scales, Score};
use crate::measure::ssim::Plan;
use crate::pair::Range;

/// `[N, C, …]` twice to a map of the images' dtype.
pub(super) struct Map {
    pub(super) plan: Plan,
    pub(super) range: Range,
    pub(super) score: Score,
}

impl Map {
    fn with_scan<R>(&self, images: &Images, f: impl FnOnce(&Scan) -> Result<R>) -> Result<R> {
        let map_of = match self.score {
            Score::Ssim => SSIM,
            Score::Contrast => CONTRAST,
        };
        let refine = |params: &mut Params<f64>| params.sizes.map_of = map_of as i32;
        with_ranges(&self.range, |ranges, range| {
            f(&Scan::new(images, (&self.plan, Scales::ONE), (ranges, range), None, refine)?)
        })
    }
}

impl Operation for Map {
    const NAME: &'static str = "ssim-map";

    fn forward(&self, images: &Images) -> Result<(Storage, Shape)> {
        self.with_scan(images, |scan| {
            let mut shape = images.dims.to_vec();
            let [slices, rows, columns] = scan.map_dims();
            match &mut shape[2..] {
                [height, width] => (*height, *width) = (slices, columns),
                sides => sides.copy_from_slice(&[slices, rows, columns]),
            }
            let mut map = images.gpu.alloc(images.gpu.real(), shape.iter().product())?;
            scan.values(Some(&mut map))?;
            Ok((map, shape.into()))
        })
    }

    fn backward(&self, images: &Images, upstream: View, wanted: [bool; 2]) -> Result<Gradients> {
        self.with_scan(images, |scan| {
            // A map has the type that is computed in, as has its gradient.
            for_each(wanted, |side| Ok(scan.gradient(side, Upstream::Map(upstream))?.0.fine))
        })
    }
}
