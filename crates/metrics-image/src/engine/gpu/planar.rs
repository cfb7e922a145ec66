//! GMSD and VIFp: scores of planes that are made of two sums each. Their gradient waits for the sums, and is another pass.

use std::sync::OnceLock;

use candle_core::{Result, Shape, Storage};

use super::launch::View;
use super::op::{Gradients, Images, Operation, for_each};
use super::params::{GMSD, Pool, VIF};
use super::pooling::Pooling;
use super::scan::{Sums, with_ranges};
use super::{gmsd, vif};
use crate::engine::OddSides;
use crate::engine::backend::{Planar, Scales};
use crate::op::Output;
use crate::pair::Pair;

/// The data ranges of the images, or that of all.
pub(super) type Ranges<'a> = (Option<View<'a>>, f64);

/// `[N, C, H, W]` twice, in the type that is computed in, to a number for each image or one for all.
pub(super) struct PlaneScores {
    planar: Planar,
    pooling: Pooling,
    tracked: bool,
    /// The sums of planes, for the way back.
    rows: OnceLock<Storage>,
}

impl PlaneScores {
    pub(super) fn new(planar: Planar, pair: &Pair, output: Output, [scale, offset]: [f64; 2]) -> Result<Self> {
        let (images, _, height, width) = pair.pred.dims4()?;
        let (kind, constants, scales) = match &planar {
            Planar::Gmsd { sample, .. } => {
                let places = (height.div_ceil(2) * width.div_ceil(2)) as f64;
                (GMSD, [places, if *sample { (places - 1.0).max(1.0) } else { places }], 1)
            }
            Planar::Vif { windows, added, .. } => (VIF, [*added, 0.0], windows.len()),
        };
        let mut pool = Pool::new(output, images);
        pool.terms = 1;
        (pool.kinds[0], pool.constants) = (kind as i32, constants);
        (pool.weights[0], pool.offset, pool.mixed) = (scale, offset, 1);
        // Nothing but their number is asked for.
        let scales = Scales { count: scales, odd_sides: OddSides::Drop };
        let pooling = Pooling { pool, output, range: pair.range.clone(), scales };
        let tracked = pair.pred.track_op() || pair.target.track_op();
        Ok(Self { planar, pooling, tracked, rows: OnceLock::new() })
    }

    fn sums(&self, images: &Images) -> Result<Sums> {
        let mut sums = with_ranges(&self.pooling.range, |ranges, range| match &self.planar {
            Planar::Gmsd { c, .. } => gmsd::sums(images, *c, (ranges, range)),
            Planar::Vif { .. } => vif::sums(&self.planar, images, (ranges, range)),
        })?;
        self.pooling.refine(&mut sums.params);
        Ok(sums)
    }
}

impl Operation for PlaneScores {
    const NAME: &'static str = "planar";

    fn forward(&self, images: &Images) -> Result<(Storage, Shape)> {
        let (rows, numbers) = self.pooling.finish(images, &self.sums(images)?, None)?;
        if self.tracked {
            self.rows.get_or_init(|| rows);
        }
        Ok((numbers, self.pooling.shape(images)))
    }

    fn backward(&self, images: &Images, upstream: View, wanted: [bool; 2]) -> Result<Gradients> {
        let Some(rows) = self.rows.get() else {
            candle_core::bail!("{}: no gradient was asked for in the forward pass", Self::NAME)
        };
        let table = self.pooling.distribute(images, rows, upstream)?;
        let table = View::of(&table)?;
        with_ranges(&self.pooling.range, |ranges, range| {
            for_each(wanted, |side| match &self.planar {
                Planar::Gmsd { c, .. } => gmsd::gradient(images, *c, (ranges, range), side, table),
                Planar::Vif { .. } => vif::gradient(&self.planar, images, (ranges, range), side, table),
            })
        })
    }
}
