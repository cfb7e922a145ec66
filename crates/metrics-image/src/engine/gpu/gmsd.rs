//! Launches of GMSD; the kernels are in `gmsd.h`.

use candle_core::{Result, Storage};

use super::launch::{Arg, Grid, View};
use super::op::Images;
use super::params::{Params, QUANTITIES};
use super::planar::Ranges;
use super::scan::Sums;

/// The sums of `d` and `d²`. `c` is that of images in 0..1.
pub(super) fn sums(images: &Images, c: f64, ranges: Ranges) -> Result<Sums> {
    let (gpu, (params, grid)) = (&images.gpu, cut(images, c, ranges)?);
    let mut partials = gpu.alloc(gpu.real(), 2 * QUANTITIES * grid.blocks)?;
    let mut args = images.args();
    args.extend([Arg::read(ranges.0), Arg::Write(&mut partials)]);
    gpu.launch("gmsd_value", grid, args, &params)?;
    Ok(Sums { partials, params })
}

/// The gradient with respect to an image, from the derivatives with respect to the sums of planes.
pub(super) fn gradient(images: &Images, c: f64, ranges: Ranges, side: usize, table: View) -> Result<Storage> {
    let (gpu, (mut params, grid)) = (&images.gpu, cut(images, c, ranges)?);
    params.reals.sign = if side == 0 { 1.0 } else { -1.0 };
    let mut gradient = gpu.alloc(gpu.real(), images.geometry.len())?;
    let mut args = images.args();
    args.extend([Arg::read(ranges.0), Arg::Read(table), Arg::Write(&mut gradient)]);
    gpu.launch("gmsd_gradient", grid, args, &params)?;
    Ok(gradient)
}

fn cut(images: &Images, c: f64, (ranges, range): Ranges) -> Result<(Params<f64>, Grid)> {
    let (mut params, grid) = images.geometry.in_squares()?;
    params.reals.constants[0] = c;
    params.reals.range = range;
    params.sizes.per_image = ranges.is_some().into();
    Ok((params, grid))
}
