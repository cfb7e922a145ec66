//! The kernels that walk over images: what is common to their launches at one size of images.

use candle_core::{Result, Storage};

use super::geometry::{WORKERS, Windowed};
use super::launch::{Arg, Gpu, Grid, View};
use super::op::Images;
use super::params::{Params, QUANTITIES};
use crate::measure::ssim::Plan;
use crate::pair::Range;

/// Images under a window, with what the kernels need to know of them.
pub(super) struct Walk<'a, 'b> {
    images: &'a Images<'b>,
    windowed: Windowed,
    pivots: Storage,
    /// The data range, unless each image has its own.
    range: f64,
    ranges: Option<View<'a>>,
}

/// What is wanted of a gradient besides its parameters.
#[derive(Default)]
pub(super) struct Goal<'a> {
    /// By which image.
    pub(super) side: usize,
    /// The derivatives with respect to the rows.
    pub(super) weights: Option<View<'a>>,
    /// The derivative with respect to each place of a map.
    pub(super) map: Option<View<'a>>,
    /// The gradient with respect to the halved image.
    pub(super) coarser: Option<View<'a>>,
    /// What was made for the foreseen slopes, to be corrected.
    pub(super) early: Option<Storage>,
}

impl Walk<'_, '_> {
    /// Runs `f` with images under the window of a plan.
    pub(super) fn over<R>(
        images: &Images,
        plan: &Plan,
        range: &Range,
        f: impl FnOnce(&Walk) -> Result<R>,
    ) -> Result<R> {
        let (windowed, pivots) = (images.geometry.windowed(plan)?, pivots(images)?);
        match range {
            Range::Fixed(range) => f(&Walk { images, windowed, pivots, range: *range, ranges: None }),
            Range::PerImage(ranges) => {
                let (storage, layout) = ranges.storage_and_layout();
                let ranges = Some(View::from_layout(&storage, layout)?);
                f(&Walk { images, windowed, pivots, range: 0.0, ranges })
            }
        }
    }

    /// Scores, to sums and to a map. `refine` says what is wanted.
    pub(super) fn values(
        &self,
        refine: impl FnOnce(Params<f64>) -> Params<f64>,
        map: Option<&mut Storage>,
    ) -> Result<Sums> {
        let (params, grid) = self.windowed.cut(false, self.images.gpu.real(), self.images.gpu.bands())?;
        self.run("value", (refine(params), grid), &Goal::default(), [map, None])
    }

    /// A gradient, and the sums on the way.
    pub(super) fn gradient(
        &self,
        refine: impl FnOnce(Params<f64>) -> Params<f64>,
        mut goal: Goal,
    ) -> Result<(Storage, Sums)> {
        let gpu = &self.images.gpu;
        let (params, grid) = self.windowed.cut(true, gpu.real(), gpu.bands())?;
        let params = Params { sign: if goal.side == 0 { 1.0 } else { -1.0 }, ..refine(params) };
        let mut gradient = match goal.early.take() {
            Some(early) => early,
            None => gpu.alloc(gpu.dtype(), self.images.geometry.len())?,
        };
        let sums = self.run("gradient", (params, grid), &goal, [None, Some(&mut gradient)])?;
        Ok((gradient, sums))
    }

    fn run(
        &self,
        kernel: &str,
        (params, grid): (Params<f64>, Grid),
        goal: &Goal,
        [map, gradient]: [Option<&mut Storage>; 2],
    ) -> Result<Sums> {
        let gpu = &self.images.gpu;
        let params = Params { range: self.range, per_image: self.ranges.is_some().into(), ..params };
        let mut sums = Sums::new(gpu, params, grid)?;
        let mut args = self.images.args();
        args.push(Arg::Read(View::of(&self.pivots)?));
        args.extend([self.ranges, goal.weights, goal.map, goal.coarser].map(Arg::read));
        args.extend([sums.partials.as_mut(), map, gradient].map(Arg::write));
        let name = format!("{}{kernel}", self.windowed.family(gpu.real()));
        gpu.launch(&name, grid, args, &params)?;
        Ok(sums)
    }

    /// The dimensions of the map: slices, rows and columns.
    pub(super) fn map(&self) -> [usize; 3] {
        self.windowed.map()
    }
}

/// What is subtracted from the pixels of each plane, so that squares of large values do not eat up small variances: for all planes
/// of the first image, then of the second.
fn pivots(images: &Images) -> Result<Storage> {
    let (gpu, geometry) = (&images.gpu, &images.geometry);
    let grid = geometry.grid(geometry.planes().checked_mul(2), WORKERS)?;
    let mut pivots = gpu.alloc(gpu.real(), grid.blocks)?;
    let mut args = images.args();
    args.push(Arg::Write(&mut pivots));
    gpu.launch("pivot", grid, args, &geometry.params())?;
    Ok(pivots)
}

/// The sums of tiles, not yet put together.
pub(super) struct Sums {
    /// Two numbers for each quantity and block, if they were wanted.
    pub(super) partials: Option<Storage>,
    /// How the images were cut.
    params: Params<f64>,
}

impl Sums {
    /// Room for the sums of all blocks, if the parameters want any.
    pub(super) fn new(gpu: &Gpu, params: Params<f64>, grid: Grid) -> Result<Self> {
        let wanted = params.sums != 0;
        let partials = wanted.then(|| gpu.alloc(gpu.real(), 2 * QUANTITIES * grid.blocks)).transpose()?;
        Ok(Self { partials, params })
    }

    /// Puts them together, to the rows of the results that the parameters name.
    pub(super) fn finish(&self, images: &Images, results: &mut Storage) -> Result<()> {
        let (gpu, grid) = (&images.gpu, images.geometry.grid(Some(images.geometry.planes()), WORKERS)?);
        let partials = self.partials.as_ref().map(View::of).transpose()?;
        gpu.for_reals().launch("finish", grid, vec![Arg::read(partials), Arg::Write(results)], &self.params)
    }
}
