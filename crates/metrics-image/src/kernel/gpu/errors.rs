//! Sums of squared and of absolute errors.

use candle_core::{Result, Shape, Storage};

use super::geometry::WORKERS;
use super::launch::{Arg, Grid, View};
use super::op::{Gradients, Images, Operation, for_each};
use super::params::{Params, Weights};
use super::walk::Sums;

/// `[N, C, …]` twice to `[2, N, C]`: squared errors, then absolute ones.
pub(super) struct Errors;

fn params(images: &Images) -> Params<f64> {
    Params { rows: [-1, -1, 0, 1], sums: 1, ..images.geometry.params() }
}

impl Operation for Errors {
    const NAME: &'static str = "pixel-errors";

    fn forward(&self, images: &Images) -> Result<(Storage, Shape)> {
        let (gpu, params) = (&images.gpu, params(images));
        let blocks = images.geometry.planes() * params.tiles[2] as usize;
        let mut sums = Sums::new(gpu, params, blocks)?;
        let mut args = images.args();
        args.push(Arg::write(sums.partials.as_mut()));
        gpu.launch("errors", Grid { blocks, workers: WORKERS }, args, &params)?;
        let mut rows = gpu.alloc(gpu.number(), 2 * images.geometry.planes())?;
        sums.finish(gpu, &mut rows)?;
        Ok((rows, (2, images.dims[0], images.dims[1]).into()))
    }

    fn backward(&self, images: &Images, upstream: View, wanted: [bool; 2]) -> Result<Gradients> {
        let (gpu, len) = (&images.gpu, images.geometry.len());
        for_each(wanted, |side| {
            let sign = if side == 0 { 1.0 } else { -1.0 };
            let params = Params { sign, weights: Weights::Upstream as i32, ..params(images) };
            let mut gradient = gpu.alloc(gpu.dtype(), len)?;
            let mut args = images.args();
            args.extend([Arg::Read(upstream), Arg::Write(&mut gradient)]);
            let grid = Grid { blocks: len.div_ceil(WORKERS), workers: WORKERS };
            gpu.launch("error_gradient", grid, args, &params)?;
            Ok(gradient)
        })
    }
}
