//! Launches of VIFp; the kernels are in `vif.h`, `window.h` and `blur.h`.

use candle_core::{Layout, Result, Storage, bail};

use super::geometry::{Cut, Geometry, Windowed, padded};
use super::launch::{Arg, Grid, View};
use super::op::Images;
use super::params::{Params, QUANTITIES, Source, with};
use super::planar::Ranges;
use super::scan::Sums;
use crate::engine::Padding;
use crate::engine::backend::{Planar, Scales};
use crate::measure::ssim::Plan;

/// Both images at a coarser scale, dense planes one after another.
struct Coarser {
    layout: Layout,
    images: [Storage; 2],
}

/// Windows of all scales, and the variance of the noise and ε for images in 0..1.
struct Fidelity<'a> {
    windows: &'a [Vec<f64>],
    constants: [f64; 2],
    ranges: Ranges<'a>,
}

impl<'a> Fidelity<'a> {
    fn of(planar: &'a Planar, ranges: Ranges<'a>) -> Result<Self> {
        match planar {
            Planar::Vif { windows, sigma_n_sq, epsilon, .. } => {
                Ok(Self { windows, constants: [*sigma_n_sq, *epsilon], ranges })
            }
            Planar::Gmsd { .. } => bail!("vif: expected its constants, got {planar:?}"),
        }
    }

    /// The images at all scales but the first.
    fn coarser(&self, images: &Images) -> Result<Vec<Coarser>> {
        let mut scales: Vec<Coarser> = Vec::new();
        for number in 1..self.windows.len() {
            let next = self.blurred(number, &at(images, scales.last())?)?;
            scales.push(next);
        }
        Ok(scales)
    }

    /// The images at a scale from those at the one before.
    fn blurred(&self, number: usize, finer: &Images) -> Result<Coarser> {
        let (gpu, taps) = (&finer.gpu, &self.windows[number]);
        let &[count, channels, height, width] = finer.dims else { bail!("vif: expected planes, got {:?}", finer.dims) };
        let half = |side: usize| (side + 1).saturating_sub(taps.len()).div_ceil(2);
        let layout = Layout::contiguous((count, channels, half(height), half(width)));
        let geometry = Geometry::of([&layout, &layout])?;
        let (params, grid) = between(&geometry, &finer.geometry, taps)?;
        let mut images = [gpu.alloc(gpu.real(), geometry.len())?, gpu.alloc(gpu.real(), geometry.len())?];
        let mut args = finer.args();
        args.extend(images.iter_mut().map(Arg::Write));
        gpu.launch("vif_blur", grid, args, &params)?;
        Ok(Coarser { layout, images })
    }

    fn windowed(&self, number: usize, images: &Images) -> Result<Windowed> {
        let taps = vec![self.windows[number].clone(); 2];
        let plan = Plan { taps, padding: Padding::Valid, covariance: 1.0, k1: 0.0, k2: 0.0 };
        let mut windowed = images.geometry.windowed(&plan, Scales::ONE)?;
        windowed.usual = None;
        windowed.params.reals.constants = self.constants;
        windowed.params.reals.range = self.ranges.1;
        windowed.params.sizes.per_image = self.ranges.0.is_some().into();
        Ok(windowed)
    }

    /// The sums at one scale, and where a table is given the derivatives at each place.
    fn scan(
        &self,
        images: &Images,
        (params, grid): (&Params<f64>, Grid),
        partials: &mut Storage,
        derivatives: Option<(View, &mut Storage)>,
    ) -> Result<()> {
        let (table, derivatives) = derivatives.unzip();
        let mut args = images.args();
        args.extend([Arg::Absent, Arg::Absent, Arg::read(self.ranges.0), Arg::read(table), Arg::Absent]);
        args.extend([Arg::Write(partials), Arg::Absent, Arg::write(derivatives)]);
        images.gpu.launch("vif_value", grid, args, params)
    }

    /// The gradient at one scale, of that alone.
    fn gradient(&self, number: usize, images: &Images, side: usize, table: View) -> Result<Storage> {
        let (gpu, windowed) = (&images.gpu, self.windowed(number, images)?);
        let (mut params, grid) = windowed.cut(Cut::Values, gpu.real(), gpu.strips())?;
        let refine = |params: &mut Params<f64>| {
            params.sizes.upstream = Source::Table as i32;
            params.sizes.with = with::DERIVATIVES;
            params.reals.sign = if side == 0 { 1.0 } else { -1.0 };
        };
        refine(&mut params);
        let mut partials = gpu.alloc(gpu.real(), 2 * QUANTITIES * grid.blocks)?;
        let mut derivatives = gpu.alloc(gpu.real(), 3 * usize::try_from(params.sizes.fields).unwrap_or_default())?;
        self.scan(images, (&params, grid), &mut partials, Some((table, &mut derivatives)))?;

        let (mut params, grid) = windowed.cut(Cut::Adjoint, gpu.real(), gpu.strips())?;
        refine(&mut params);
        let mut gradient = gpu.alloc(gpu.real(), images.geometry.len())?;
        let mut args = images.args();
        args.extend([Arg::Absent, Arg::Absent, Arg::read(self.ranges.0), Arg::Read(table)]);
        args.extend([Arg::Read(View::of(&derivatives)?), Arg::Write(&mut gradient), Arg::Absent]);
        gpu.launch("vif_adjoint", grid, args, &params)?;
        Ok(gradient)
    }
}

/// The sums of both logarithms, at all scales.
pub(super) fn sums(planar: &Planar, images: &Images, ranges: Ranges) -> Result<Sums> {
    let fidelity = Fidelity::of(planar, ranges)?;
    let (gpu, coarser) = (&images.gpu, fidelity.coarser(images)?);
    let (mut cuts, mut blocks) = (Vec::new(), 0);
    for number in 0..fidelity.windows.len() {
        let images = at(images, number.checked_sub(1).map(|number| &coarser[number]))?;
        let (mut params, grid) = fidelity.windowed(number, &images)?.cut(Cut::Values, gpu.real(), gpu.strips())?;
        params.sizes.scale[0].first = images.geometry.blocks(Some(blocks))?;
        blocks += grid.blocks;
        cuts.push((images, params, grid));
    }
    images.geometry.blocks(Some(blocks))?; // which kernels count
    let mut partials = gpu.alloc(gpu.real(), 2 * QUANTITIES * blocks)?;
    let mut all = images.geometry.params(Scales::ONE);
    for (number, (images, params, grid)) in cuts.iter().enumerate() {
        fidelity.scan(images, (params, *grid), &mut partials, None)?;
        all.sizes.scale[number] = params.sizes.scale[0];
        all.sizes.scales = number as i32 + 1;
    }
    Ok(Sums { partials, params: all })
}

/// The gradient with respect to an image: from the coarsest scale to the finest, what comes down to each is added to its own.
pub(super) fn gradient(planar: &Planar, images: &Images, ranges: Ranges, side: usize, table: View) -> Result<Storage> {
    let fidelity = Fidelity::of(planar, ranges)?;
    // Made anew, so that a score does not keep them.
    let (gpu, scales) = (&images.gpu, fidelity.coarser(images)?);
    let mut below: Option<(Storage, Geometry)> = None;
    for number in (0..fidelity.windows.len()).rev() {
        let images = at(images, number.checked_sub(1).map(|number| &scales[number]))?;
        let mut gradient = fidelity.gradient(number, &images, side, table)?;
        if let Some((coarser, geometry)) = &below {
            let (params, grid) = between(&images.geometry, geometry, &fidelity.windows[number + 1])?;
            let args = vec![Arg::Read(View::of(coarser)?), Arg::Write(&mut gradient)];
            gpu.launch("vif_blur_adjoint", grid, args, &params)?;
        }
        below = Some((gradient, images.geometry));
    }
    match below {
        Some((gradient, _)) => Ok(gradient),
        None => bail!("vif: expected a scale, got none"),
    }
}

/// The images at a scale.
fn at<'a>(images: &Images<'a>, scale: Option<&'a Coarser>) -> Result<Images<'a>> {
    scale.map_or_else(|| Ok(images.clone()), |scale| images.others(&scale.images, &scale.layout))
}

/// For blocks that write one scale line by line and read the next, or the one before, through a window.
fn between(written: &Geometry, read: &Geometry, taps: &[f64]) -> Result<(Params<f64>, Grid)> {
    let (mut params, grid) = written.in_lines(written.params(Scales::ONE))?;
    params.sizes.scale[1] = read.params(Scales::ONE).sizes.scale[0];
    params.sizes.window = [taps.len() as i32, 1, taps.len() as i32];
    params.reals.taps = [padded(taps), padded(&[1.0]), padded(taps)];
    Ok((params, grid))
}
