//! Sums of squared and of absolute errors.

use candle_core::{Result, Shape, Storage};

use super::launch::{Arg, View};
use super::op::{Gradients, Images, Operation, for_each};
use super::params::{Params, QUANTITIES, Weights};
use super::walk::Sums;

/// `[N, C, …]` twice to `[2, N, C]`: squared errors, then absolute ones.
pub(super) struct Errors;

/// Where squared and absolute errors stand among the results.
const ROWS: [i32; QUANTITIES] = [-1, -1, 0, 1];

impl Operation for Errors {
    const NAME: &'static str = "pixel-errors";

    fn forward(&self, images: &Images) -> Result<(Storage, Shape)> {
        let (gpu, (params, grid)) = (&images.gpu, images.geometry.runs()?);
        let params = Params { rows: ROWS, sums: 1, ..params };
        let mut sums = Sums::new(gpu, params, grid)?;
        let mut args = images.args();
        args.push(Arg::write(sums.partials.as_mut()));
        gpu.launch("errors", grid, args, &params)?;
        let mut rows = gpu.alloc(gpu.number(), 2 * images.geometry.planes())?;
        sums.finish(images, &mut rows)?;
        Ok((rows, (2, images.dims[0], images.dims[1]).into()))
    }

    fn backward(&self, images: &Images, upstream: View, wanted: [bool; 2]) -> Result<Gradients> {
        let (gpu, grid) = (&images.gpu, images.geometry.grid_of_pixels(images.gpu.threads())?);
        for_each(wanted, |side| {
            let sign = if side == 0 { 1.0 } else { -1.0 };
            let weights = Weights::Upstream as i32;
            let params = Params { sign, weights, rows: ROWS, ..images.geometry.params() };
            let mut gradient = gpu.alloc(gpu.dtype(), images.geometry.len())?;
            let mut args = images.args();
            args.extend([Arg::Read(upstream), Arg::Write(&mut gradient)]);
            gpu.launch("error_gradient", grid, args, &params)?;
            Ok(gradient)
        })
    }
}
