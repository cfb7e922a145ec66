//! The kernels that walk over images: what is common to their launches at one size of images.

use candle_core::{Result, Storage};

use super::geometry::{WORKERS, Windowed};
use super::launch::{Arg, Gpu, Grid, View};
use super::op::Images;
use super::params::{Params, QUANTITIES};
use crate::kernel::Plan;
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
        let cut = self.windowed.cut(false, self.images.gpu.real());
        self.run("value", (refine(cut.0), cut.1), &Goal::default(), [map, None])
    }

    /// A gradient, and the sums on the way.
    pub(super) fn gradient(
        &self,
        refine: impl FnOnce(Params<f64>) -> Params<f64>,
        mut goal: Goal,
    ) -> Result<(Storage, Sums)> {
        let gpu = &self.images.gpu;
        let cut = self.windowed.cut(true, gpu.real());
        let params = Params { sign: if goal.side == 0 { 1.0 } else { -1.0 }, ..refine(cut.0) };
        let mut gradient = match goal.early.take() {
            Some(early) => early,
            None => gpu.alloc(gpu.dtype(), self.images.geometry.len())?,
        };
        let sums = self.run("gradient", (params, cut.1), &goal, [None, Some(&mut gradient)])?;
        Ok((gradient, sums))
    }

    fn run(
        &self,
        kernel: &str,
        (params, workers): (Params<f64>, usize),
        goal: &Goal,
        [map, gradient]: [Option<&mut Storage>; 2],
    ) -> Result<Sums> {
        let gpu = &self.images.gpu;
        let params = Params { range: self.range, per_image: self.ranges.is_some().into(), ..params };
        let tiles = params.tiles.iter().map(|&tiles| tiles as usize).product::<usize>();
        let blocks = self.images.geometry.planes() * tiles;
        let mut sums = Sums::new(gpu, params, blocks)?;
        let mut args = self.images.args();
        args.push(Arg::Read(View::of(&self.pivots)?));
        args.extend([self.ranges, goal.weights, goal.map, goal.coarser].map(Arg::read));
        args.extend([sums.partials.as_mut(), map, gradient].map(Arg::write));
        let name = format!("{}{kernel}", self.windowed.family(gpu.real()));
        gpu.launch(&name, Grid { blocks, workers }, args, &params)?;
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
    let (gpu, blocks) = (&images.gpu, 2 * images.geometry.planes());
    let mut pivots = gpu.alloc(gpu.real(), blocks)?;
    let mut args = images.args();
    args.push(Arg::Write(&mut pivots));
    gpu.launch("pivot", Grid { blocks, workers: WORKERS }, args, &images.geometry.params())?;
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
    /// Room for the sums of `blocks` blocks, if the parameters want any.
    pub(super) fn new(gpu: &Gpu, params: Params<f64>, blocks: usize) -> Result<Self> {
        let wanted = params.sums != 0;
        let partials = wanted.then(|| gpu.alloc(gpu.real(), 2 * QUANTITIES * blocks)).transpose()?;
        Ok(Self { partials, params })
    }

    /// Puts them together, to the rows of the results that the parameters name.
    pub(super) fn finish(&self, gpu: &Gpu, results: &mut Storage) -> Result<()> {
        let grid = Grid { blocks: self.params.planes as usize, workers: WORKERS };
        let partials = self.partials.as_ref().map(View::of).transpose()?;
        gpu.for_reals().launch("finish", grid, vec![Arg::read(partials), Arg::Write(results)], &self.params)
    }
}
