//! One pass over a pair: means of SSIM and contrast, the terms of MS-SSIM, errors of pixels.

use std::sync::{Mutex, OnceLock, PoisonError};

use candle_core::{DType, Result, Shape, Storage};

use super::geometry::{Geometry, WORKERS, Windowed};
use super::launch::{Arg, Gpu, Grid, View};
use super::op::{Images, Operation, with_range};
use super::params::{Params, QUANTITIES, Weights};
use crate::kernel::rows::Rows;
use crate::kernel::{Plan, Slopes, Wants};
use crate::pair::{Pair, Range};

/// Relative differences of slopes that come from a few roundings on their way, in f64 and in f32.
const NEAR: [f64; 2] = [8.0 * f64::EPSILON, 4.0 * f32::EPSILON as f64];

/// A gradient for each input that wants one.
type Gradients = [Option<Storage>; 2];

/// `[N, C, …]` twice to `[rows, N, C]`; see [`Rows`].
///
/// If an input tracks, the gradient for the slopes that are foreseen is made with the numbers, and the coarser scales of both images (a
/// third of their size in all) wait for backward.
pub(super) struct Pass {
    plan: Plan,
    range: Range,
    rows: Rows,
    tracked: [bool; 2],
    /// The foreseen derivative by each quantity, if there is any.
    slopes: Option<[f64; QUANTITIES]>,
    /// What was made for them, until backward takes it.
    early: Mutex<Option<Gradients>>,
    pyramid: OnceLock<Vec<Coarse>>,
}

/// Both images at one of the coarser scales.
struct Coarse {
    geometry: Geometry,
    images: [Storage; 2],
}

impl Pass {
    pub(super) fn new(pair: &Pair, plan: &Plan, wants: Wants, slopes: Option<Slopes>) -> (Rows, Self) {
        let rows = Rows::new(wants);
        let foreseen = rows.foreseen(slopes);
        let mut by_quantity = [0.0; QUANTITIES];
        by_quantity[..foreseen.len()].copy_from_slice(&foreseen);
        let slopes = foreseen.iter().any(|&slope| slope != 0.0).then_some(by_quantity);
        let (tracked, range) = ([pair.pred.track_op(), pair.target.track_op()], pair.range.clone());
        let (early, pyramid) = (Mutex::default(), OnceLock::new());
        (rows, Self { plan: plan.clone(), range, rows, tracked, slopes, early, pyramid })
    }

    /// Where the quantities of a scale stand among the rows.
    fn rows(&self, scale: usize) -> [i32; QUANTITIES] {
        let row = |wanted: bool, row: usize| if wanted { row as i32 } else { -1 };
        match (scale, self.rows.scored(scale)) {
            (0, _) => {
                let (errors, squared) = (self.rows.errors, self.rows.squared());
                [Rows::SSIM as i32, Rows::CONTRAST as i32, row(errors, squared), row(errors, squared + 1)]
            }
            (_, [ssim, contrast]) => [row(ssim, Rows::scale(scale)), row(contrast, Rows::scale(scale)), -1, -1],
        }
    }

    /// What this pass adds to the parameters of a launch at a scale.
    fn at(&self, scale: usize, params: Params<f64>) -> Params<f64> {
        let scored = self.rows.scored(scale).map(i32::from);
        Params { rows: self.rows(scale), scored, slopes: self.slopes.unwrap_or_default(), ..params }
    }

    /// The numbers of one scale, to `results`.
    fn measure(&self, images: &Images, scale: usize, results: &mut Storage) -> Result<()> {
        let windowed = images.geometry.windowed(&self.plan)?;
        let pivots = pivots(images)?;
        with_range(&self.range, |range, ranges| {
            let launch = Launch { images, windowed: &windowed, pivots: &pivots, range, ranges };
            let errors = (self.rows.errors && scale == 0).into();
            let weights = Weights::Foreseen as i32;
            let params = |params| Params { errors, sums: 1, weights, ..self.at(scale, params) };
            let early = if scale == 0 && self.slopes.is_some() { self.tracked } else { [false; 2] };
            let mut partials = None;
            let mut gradients = [None, None];
            for (side, gradient) in gradients.iter_mut().enumerate().filter(|(side, _)| early[*side]) {
                let mut made = images.gpu.alloc(images.gpu.dtype(), images.geometry.len())?;
                let goal = Gradient { side, ..Gradient::default() };
                match &partials {
                    None => partials = Some(launch.gradient_and_values(params, goal, &mut made)?),
                    Some(_) => launch.gradient(|params| self.at(scale, params), goal, None, &mut made)?,
                }
                *gradient = Some(made);
            }
            if partials.is_some() {
                *self.early.lock().unwrap_or_else(PoisonError::into_inner) = Some(gradients);
            }
            let (partials, cut) = match partials {
                Some(partials) => partials,
                None => launch.sums(params)?,
            };
            finish(&images.gpu, &partials, results, &cut)
        })
    }

    /// The gradients at one scale, with what comes from the next coarser one.
    fn descend(
        &self,
        images: &Images,
        scale: usize,
        upstream: View,
        wanted: [bool; 2],
        coarser: &Gradients,
        early: Gradients,
    ) -> Result<Gradients> {
        let windowed = images.geometry.windowed(&self.plan)?;
        let pivots = pivots(images)?;
        let halving = images.geometry.halving(self.rows.scales.odd_sides);
        with_range(&self.range, |range, ranges| {
            let launch = Launch { images, windowed: &windowed, pivots: &pivots, range, ranges };
            let mut gradients = [None, None];
            for (side, early) in early.into_iter().enumerate().filter(|(side, _)| wanted[*side]) {
                let weights = if early.is_some() { Weights::Corrected } else { Weights::Upstream };
                let coarser = coarser[side].as_ref().map(View::of).transpose()?;
                let params = |params| Params {
                    weights: weights as i32,
                    coarse: halving.coarse,
                    coarse_lead: halving.coarse_lead,
                    repeat: halving.repeat,
                    add_coarser: coarser.is_some().into(),
                    near: if images.gpu.real() == DType::F64 { NEAR[0] } else { NEAR[1] },
                    ..self.at(scale, params)
                };
                let mut made = match early {
                    Some(early) => early,
                    None => images.gpu.alloc(images.gpu.dtype(), images.geometry.len())?,
                };
                let goal = Gradient { side, weights: Some(upstream), coarser, ..Gradient::default() };
                launch.gradient(params, goal, None, &mut made)?;
                gradients[side] = Some(made);
            }
            Ok(gradients)
        })
    }

    /// Both images at half the size.
    fn halve(&self, images: &Images) -> Result<Coarse> {
        let odd_sides = self.rows.scales.odd_sides;
        let (gpu, geometry) = (&images.gpu, images.geometry.halved(odd_sides));
        let mut halves = [gpu.alloc(gpu.real(), geometry.len())?, gpu.alloc(gpu.real(), geometry.len())?];
        let mut args = images.args();
        args.extend(halves.iter_mut().map(Arg::Write));
        let grid = Grid { blocks: geometry.len().div_ceil(WORKERS), workers: WORKERS };
        gpu.launch("halve", grid, args, &images.geometry.halving(odd_sides))?;
        Ok(Coarse { geometry, images: halves })
    }
}

impl Operation for Pass {
    const NAME: &'static str = "ssim-pass";

    fn forward(&self, images: &Images) -> Result<(Storage, Shape)> {
        let planes = images.geometry.planes();
        let mut results = images.gpu.alloc(images.gpu.number(), self.rows.count() * planes)?;
        self.measure(images, 0, &mut results)?;
        let mut pyramid: Vec<Coarse> = Vec::new();
        for scale in 1..self.rows.scales.count {
            let coarse = match pyramid.last() {
                None => self.halve(images)?,
                Some(finer) => self.halve(&images.coarser(finer.geometry, &finer.images)?)?,
            };
            self.measure(&images.coarser(coarse.geometry, &coarse.images)?, scale, &mut results)?;
            pyramid.push(coarse);
        }
        if self.tracked.contains(&true) {
            self.pyramid.get_or_init(|| pyramid);
        }
        Ok((results, (self.rows.count(), images.dims[0], images.dims[1]).into()))
    }

    fn backward(&self, images: &Images, upstream: View, wanted: [bool; 2]) -> Result<Gradients> {
        let early = self.early.lock().unwrap_or_else(PoisonError::into_inner).take().unwrap_or_default();
        let mut coarser = [None, None];
        let pyramid = self.pyramid.get().map_or(&[][..], Vec::as_slice);
        for (scale, coarse) in pyramid.iter().enumerate().rev().map(|(at, coarse)| (at + 1, coarse)) {
            let images = images.coarser(coarse.geometry, &coarse.images)?;
            coarser = self.descend(&images, scale, upstream, wanted, &coarser, [None, None])?;
        }
        self.descend(images, 0, upstream, wanted, &coarser, early)
    }
}

/// What is wanted of a gradient kernel besides its parameters.
#[derive(Clone, Copy, Default)]
pub(super) struct Gradient<'a> {
    /// By which image.
    pub(super) side: usize,
    /// The derivatives by the rows.
    pub(super) weights: Option<View<'a>>,
    /// The derivative by each pixel of a map.
    pub(super) map: Option<View<'a>>,
    /// The gradient by the halved image.
    pub(super) coarser: Option<View<'a>>,
}

/// What the launches of the pass kernels at one scale have in common.
pub(super) struct Launch<'a, 'b> {
    pub(super) images: &'a Images<'b>,
    pub(super) windowed: &'a Windowed,
    pub(super) pivots: &'a Storage,
    pub(super) range: f64,
    pub(super) ranges: Option<View<'a>>,
}

impl Launch<'_, '_> {
    /// The images, cut for values or for a gradient, and the threads of a block.
    fn cut(&self, gradient: bool) -> (Params<f64>, usize) {
        self.windowed.cut(gradient, self.images.gpu.real())
    }

    /// Scores, to the partial sums of the tiles and to a map.
    pub(super) fn values(
        &self,
        params: impl FnOnce(Params<f64>) -> Params<f64>,
        partials: Option<&mut Storage>,
        map: Option<&mut Storage>,
    ) -> Result<()> {
        self.run("value", false, params, Gradient::default(), [partials, map, None])
    }

    /// Partial sums of the tiles, and how the images were cut for them.
    fn sums(&self, params: impl FnOnce(Params<f64>) -> Params<f64>) -> Result<(Storage, Params<f64>)> {
        let cut = params(self.cut(false).0);
        let mut partials = partials(&self.images.gpu, self.blocks(&cut))?;
        self.values(|_| cut, Some(&mut partials), None)?;
        Ok((partials, cut))
    }

    /// A gradient; and the partial sums of the tiles, if they are wanted.
    pub(super) fn gradient(
        &self,
        params: impl FnOnce(Params<f64>) -> Params<f64>,
        goal: Gradient,
        partials: Option<&mut Storage>,
        gradient: &mut Storage,
    ) -> Result<()> {
        let sign = if goal.side == 0 { 1.0 } else { -1.0 };
        let params = |cut| Params { sign, ..params(cut) };
        self.run("gradient", true, params, goal, [partials, None, Some(gradient)])
    }

    /// A gradient with the partial sums of its tiles, and how the images were cut for them.
    fn gradient_and_values(
        &self,
        params: impl FnOnce(Params<f64>) -> Params<f64>,
        goal: Gradient,
        gradient: &mut Storage,
    ) -> Result<(Storage, Params<f64>)> {
        let cut = params(self.cut(true).0);
        let mut partials = partials(&self.images.gpu, self.blocks(&cut))?;
        self.gradient(|_| cut, goal, Some(&mut partials), gradient)?;
        Ok((partials, cut))
    }

    fn blocks(&self, cut: &Params<f64>) -> usize {
        self.images.geometry.planes() * cut.tiles.iter().map(|&tiles| tiles as usize).product::<usize>()
    }

    fn run(
        &self,
        kernel: &str,
        of_gradient: bool,
        params: impl FnOnce(Params<f64>) -> Params<f64>,
        goal: Gradient,
        written: [Option<&mut Storage>; 3],
    ) -> Result<()> {
        let (cut, workers) = self.cut(of_gradient);
        let params = Params { range: self.range, per_image: self.ranges.is_some().into(), ..params(cut) };
        let mut args = self.images.args();
        args.push(Arg::Read(View::of(self.pivots)?));
        args.extend([self.ranges, goal.weights, goal.map, goal.coarser].map(Arg::read));
        args.extend(written.map(Arg::write));
        let grid = Grid { blocks: self.blocks(&params), workers };
        let gpu = &self.images.gpu;
        gpu.launch(&format!("{}{kernel}", self.windowed.family(gpu.real())), grid, args, &params)
    }
}

/// What is subtracted from the pixels of each plane, so that squares of large values do not eat up small variances: for all planes of
/// the first image, then of the second.
pub(super) fn pivots(images: &Images) -> Result<Storage> {
    let (gpu, blocks) = (&images.gpu, 2 * images.geometry.planes());
    let mut pivots = gpu.alloc(gpu.real(), blocks)?;
    let mut args = images.args();
    args.push(Arg::Write(&mut pivots));
    gpu.launch("pivot", Grid { blocks, workers: WORKERS }, args, &images.geometry.params())?;
    Ok(pivots)
}

/// Room for the sums of each block: two numbers for each quantity.
pub(super) fn partials(gpu: &Gpu, blocks: usize) -> Result<Storage> {
    gpu.alloc(gpu.real(), 2 * QUANTITIES * blocks)
}

/// From partial sums to the rows of the results.
pub(super) fn finish(gpu: &Gpu, partials: &Storage, results: &mut Storage, params: &Params<f64>) -> Result<()> {
    let grid = Grid { blocks: params.planes as usize, workers: WORKERS };
    gpu.for_reals().launch("finish", grid, vec![Arg::Read(View::of(partials)?), Arg::Write(results)], params)
}
