//! From the sums of tiles to numbers of images, or one number of them all, and back to the derivatives with respect to the sums of planes.

use candle_core::{Result, Shape, Storage};

use super::geometry::{POOL_WORKERS, WORKERS};
use super::launch::{Arg, Grid, View};
use super::op::Images;
use super::params::{Params, Pool, QUANTITIES, with};
use super::scan::{Sums, with_ranges};
use crate::engine::backend::Scales;
use crate::op::Output;
use crate::pair::Range;

/// How results are made of sums.
pub(super) struct Pooling {
    pub(super) pool: Pool<f64>,
    pub(super) output: Output,
    pub(super) range: Range,
    /// How many there are with sums of their own.
    pub(super) scales: Scales,
}

impl Pooling {
    /// What the numbers of images add to the parameters of a launch.
    pub(super) fn refine(&self, params: &mut Params<f64>) {
        if self.output == Output::PerChannel {
            (params.sizes.images, params.sizes.group) = (params.sizes.planes, 1);
        }
        params.sizes.of_images = matches!(self.output, Output::PerImage | Output::PerChannel).into();
    }

    /// Derivatives with respect to all sums, to be written.
    pub(super) fn table(&self, images: &Images) -> Result<Storage> {
        images.gpu.alloc(images.gpu.number(), self.entries(images))
    }

    fn entries(&self, images: &Images) -> usize {
        QUANTITIES * self.scales.count * images.geometry.planes()
    }

    /// Rows, which are means and sums of planes, and numbers from the sums of tiles.
    pub(super) fn finish(
        &self,
        images: &Images,
        sums: &Sums,
        table: Option<&mut Storage>,
    ) -> Result<(Storage, Storage)> {
        let (gpu, mut params) = (&images.gpu, sums.params);
        let mut rows = gpu.alloc(gpu.number(), self.entries(images) + POOL_WORKERS)?;
        let mut numbers = gpu.alloc(gpu.number(), self.shape(images).elem_count())?;
        params.sizes.with = if table.is_some() { with::TABLE } else { 0 };
        with_ranges(&self.range, |ranges, _| {
            let mut args = vec![Arg::Read(View::of(&sums.partials)?), Arg::read(ranges)];
            args.extend([Arg::Write(&mut rows), Arg::write(table), Arg::Write(&mut numbers)]);
            let grid = Grid { blocks: 1, workers: POOL_WORKERS };
            gpu.launch_pool("finish", grid, args, &params, &self.pool)
        })?;
        Ok((rows, numbers))
    }

    /// Of the numbers.
    pub(super) fn shape(&self, images: &Images) -> Shape {
        let terms = self.pool.terms.unsigned_abs() as usize;
        match (self.output, self.pool.mixed != 0 || terms == 1) {
            (Output::Mean | Output::Sum, _) => ().into(),
            (Output::PerImage, true) => images.dims[0].into(),
            (Output::PerImage, false) => (terms, images.dims[0]).into(),
            (Output::PerChannel, true) => (images.dims[0], images.dims[1]).into(),
            (Output::PerChannel, false) => (terms, images.dims[0], images.dims[1]).into(),
        }
    }

    /// The derivatives with respect to all means and sums, from those with respect to the result.
    pub(super) fn distribute(&self, images: &Images, rows: &Storage, upstream: View) -> Result<Storage> {
        let gpu = &images.gpu;
        let mut params = images.geometry.params(self.scales);
        self.refine(&mut params);
        params.sizes.with = with::UPSTREAM;
        let mut table = self.table(images)?;
        with_ranges(&self.range, |ranges, _| {
            let args = vec![Arg::Read(View::of(rows)?), Arg::read(ranges), Arg::Read(upstream), Arg::Write(&mut table)];
            let grid = images.geometry.grid(Some(images.geometry.planes().div_ceil(WORKERS)), WORKERS)?;
            gpu.launch_pool("distribute", grid, args, &params, &self.pool)
        })?;
        Ok(table)
    }
}
