//! Launches of the scans over images at all scales: sums, maps and gradients.

use candle_core::{Result, Storage};

use super::geometry::{Cut, Windowed};
use super::launch::{Arg, Grid, View};
use super::op::Images;
use super::params::{Params, QUANTITIES, Source, with};
use crate::engine::backend::Scales;
use crate::measure::ssim::Plan;
use crate::pair::Range;

/// Images under a window, with what the kernels need to know of them.
pub(super) struct Scan<'a, 'b> {
    images: &'a Images<'b>,
    windowed: Windowed,
    /// Both images at all coarser scales.
    coarse: [Option<View<'a>>; 2],
    ranges: Option<View<'a>>,
}

/// The gradient with respect to one image, in the type that pixels are computed in: of the images themselves, and of all coarser
/// scales, which have not come down to the images yet.
pub(super) struct ScaleGradients {
    pub(super) fine: Storage,
    pub(super) coarse: Option<Storage>,
}

/// What a gradient is of.
#[derive(Clone, Copy)]
pub(super) enum Upstream<'a> {
    /// The same for all planes, from the parameters.
    Parameters(Source),
    /// A table of numbers.
    Table(View<'a>),
    /// A number for each place of a map.
    Map(View<'a>),
}

/// The sums of tiles, not yet put together.
pub(super) struct Sums {
    pub(super) partials: Storage,
    /// How the images were cut.
    pub(super) params: Params<f64>,
}

/// Runs `f` with the data range of the parameters, or a view of those of the images.
pub(super) fn with_ranges<R>(range: &Range, f: impl FnOnce(Option<View>, f64) -> Result<R>) -> Result<R> {
    match range {
        Range::Fixed(range) => f(None, *range),
        Range::PerImage(ranges) => {
            let (storage, layout) = ranges.storage_and_layout();
            f(Some(View::from_layout(&storage, layout)?), 1.0)
        }
    }
}

impl<'a, 'b> Scan<'a, 'b> {
    /// `refine` says what is wanted besides the means.
    pub(super) fn new(
        images: &'a Images<'b>,
        (plan, scales): (&Plan, Scales),
        (ranges, range): (Option<View<'a>>, f64),
        coarse: Option<&'a [Storage; 2]>,
        refine: impl FnOnce(&mut Params<f64>),
    ) -> Result<Self> {
        let mut windowed = images.geometry.windowed(plan, scales)?;
        windowed.params.sizes.per_image = ranges.is_some().into();
        windowed.params.reals.range = range;
        refine(&mut windowed.params);
        let coarse = match coarse {
            Some([x, y]) => [Some(View::of(x)?), Some(View::of(y)?)],
            None => [None, None],
        };
        Ok(Self { images, windowed, coarse, ranges })
    }

    /// Sums of scores, and a map if one is wanted.
    pub(super) fn values(&self, map: Option<&mut Storage>) -> Result<Sums> {
        let (mut params, grid) = self.cut(Cut::Values)?;
        params.sizes.with = if map.is_some() { with::MAP } else { 0 };
        let mut partials = self.partials(grid)?;
        let mut args = self.args();
        let name = match self.windowed.usual {
            Some(taps) => {
                args.extend([Arg::Write(&mut partials), Arg::write(map)]);
                format!("{}_{taps}", if self.is_plain() { "value" } else { "pass" })
            }
            None => {
                args.extend([Arg::Absent, Arg::Absent, Arg::Write(&mut partials), Arg::write(map), Arg::Absent]);
                format!("{}_value", self.family())
            }
        };
        self.images.gpu.launch(&name, grid, args, &params)?;
        Ok(Sums { partials, params })
    }

    /// The gradient with respect to an image, and the sums on the way.
    pub(super) fn gradient(&self, side: usize, upstream: Upstream) -> Result<(ScaleGradients, Sums)> {
        let gpu = &self.images.gpu;
        let len = self.images.geometry.coarse_len(&self.windowed.params);
        let mut gradients = ScaleGradients {
            fine: gpu.alloc(gpu.real(), self.images.geometry.len())?,
            coarse: (len > 0).then(|| gpu.alloc(gpu.real(), len)).transpose()?,
        };
        let (source, table, map) = match upstream {
            Upstream::Parameters(source) => (source, None, None),
            Upstream::Table(table) => (Source::Table, Some(table), None),
            Upstream::Map(map) => (Source::Known, None, Some(map)),
        };
        let refine = |params: &mut Params<f64>| {
            params.sizes.upstream = source as i32;
            params.reals.sign = if side == 0 { 1.0 } else { -1.0 };
        };
        let sums = match self.windowed.usual {
            Some(taps) => {
                let (mut params, grid) = self.cut(Cut::Gradient)?;
                refine(&mut params);
                let mut partials = self.partials(grid)?;
                let mut args = self.args();
                args.extend([Arg::read(table), Arg::read(map), Arg::Write(&mut partials)]);
                args.extend([Arg::Write(&mut gradients.fine), Arg::write(gradients.coarse.as_mut())]);
                let name = format!("{}gradient_{taps}", if self.is_plain() { "" } else { "pass_" });
                gpu.launch(&name, grid, args, &params)?;
                Sums { partials, params }
            }
            None => self.in_two_passes(&mut gradients, table, map, refine)?,
        };
        Ok((gradients, sums))
    }

    /// Values with the derivatives at each place, and those filtered back.
    fn in_two_passes(
        &self,
        gradients: &mut ScaleGradients,
        table: Option<View>,
        map: Option<View>,
        refine: impl Fn(&mut Params<f64>),
    ) -> Result<Sums> {
        let gpu = &self.images.gpu;
        let (mut params, grid) = self.cut(Cut::Values)?;
        refine(&mut params);
        params.sizes.with = with::DERIVATIVES | if map.is_some() { with::UPSTREAM } else { 0 };
        let mut partials = self.partials(grid)?;
        let mut derivatives = gpu.alloc(gpu.real(), 3 * usize::try_from(params.sizes.fields).unwrap_or_default())?;
        let mut args = self.args();
        args.extend([Arg::read(table), Arg::read(map), Arg::Write(&mut partials), Arg::Absent]);
        args.push(Arg::Write(&mut derivatives));
        gpu.launch(&format!("{}_value", self.family()), grid, args, &params)?;

        let (mut cut, grid) = self.cut(Cut::Adjoint)?;
        refine(&mut cut);
        let mut args = self.args();
        args.extend([Arg::read(table), Arg::Read(View::of(&derivatives)?)]);
        args.extend([Arg::Write(&mut gradients.fine), Arg::write(gradients.coarse.as_mut())]);
        gpu.launch(&format!("{}_adjoint", self.family()), grid, args, &cut)?;
        Ok(Sums { partials, params })
    }

    fn cut(&self, cut: Cut) -> Result<(Params<f64>, Grid)> {
        self.windowed.cut(cut, self.images.gpu.real(), self.images.gpu.strips())
    }

    fn partials(&self, grid: Grid) -> Result<Storage> {
        self.images.gpu.alloc(self.images.gpu.real(), 2 * QUANTITIES * grid.blocks)
    }

    /// Whether nothing is wanted but means, and the gradient of those.
    fn is_plain(&self) -> bool {
        self.windowed.params.sizes.errors == 0 && self.windowed.params.sizes.map_of < 0
    }

    /// How the names of the kernels begin; see `kernels.h`.
    fn family(&self) -> &'static str {
        if self.images.geometry.is_flat() { "wide" } else { "deep" }
    }

    fn args(&self) -> Vec<Arg<'a>> {
        let mut args = self.images.args();
        args.extend([self.coarse[0], self.coarse[1], self.ranges].map(Arg::read));
        args
    }

    /// The dimensions of the map: slices, rows and columns.
    pub(super) fn map_dims(&self) -> [usize; 3] {
        self.windowed.params.sizes.scale[0].map.map(|side| side.unsigned_abs() as usize)
    }
}

/// Both images at all coarser scales, if there are any.
pub(super) fn pyramid(images: &Images, scales: Scales) -> Result<Option<[Storage; 2]>> {
    let (gpu, params) = (&images.gpu, images.geometry.params(scales));
    let len = images.geometry.coarse_len(&params);
    if scales.count < 2 {
        return Ok(None);
    }
    let mut coarse = [gpu.alloc(gpu.real(), len)?, gpu.alloc(gpu.real(), len)?];
    let mut finest = 0;
    while finest + 1 < params.sizes.scales {
        let (levels, params, grid) = images.geometry.pyramid(&params, finest)?;
        let mut args = images.args();
        args.extend(coarse.iter_mut().map(Arg::Write));
        gpu.launch(if images.geometry.is_flat() { "pyramid" } else { "halve" }, grid, args, &params)?;
        finest += levels;
    }
    Ok(Some(coarse))
}
