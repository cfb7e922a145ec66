//! One pass over a pair: means of SSIM and contrast, the terms of MS-SSIM, errors of pixels.

use std::sync::{Mutex, OnceLock, PoisonError};

use candle_core::{DType, Result, Shape, Storage};

use super::geometry::Geometry;
use super::launch::{Arg, View};
use super::op::{Gradients, Images, Operation, for_each};
use super::params::{Params, QUANTITIES, Weights};
use super::rows::Rows;
use super::walk::{Goal, Walk};
use crate::engine::backend::{Slopes, Wants};
use crate::measure::ssim::Plan;
use crate::pair::{Pair, Range};

/// Relative differences of slopes that come from a few roundings on their way, in f64 and in f32.
const NEAR: [f64; 2] = [8.0 * f64::EPSILON, 4.0 * f32::EPSILON as f64];

/// `[N, C, …]` twice to `[rows, N, C]`; see [`Rows`].
///
/// If an input tracks, the gradient for the slopes that are foreseen is made with the numbers, and the coarser scales of both
/// images (a third of their size in all) wait for backward.
pub(super) struct Pass {
    plan: Plan,
    range: Range,
    rows: Rows,
    tracked: [bool; 2],
    /// The foreseen derivative with respect to each quantity, if there is any.
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
        // There are a few more of them than an image can be halved.
        let row = |wanted: bool, row: usize| i32::try_from(row).ok().filter(|_| wanted).unwrap_or(-1);
        match (scale, self.rows.scored(scale)) {
            (0, _) => {
                let (errors, squared) = (self.rows.errors, self.rows.squared());
                [row(true, Rows::SSIM), row(true, Rows::CONTRAST), row(errors, squared), row(errors, squared + 1)]
            }
            (_, [ssim, contrast]) => [row(ssim, Rows::scale(scale)), row(contrast, Rows::scale(scale)), -1, -1],
        }
    }

    /// What this pass adds to the parameters of a launch at a scale.
    fn at(&self, scale: usize, params: Params<f64>) -> Params<f64> {
        let scored = self.rows.scored(scale).map(i32::from);
        Params { rows: self.rows(scale), scored, slopes: self.slopes.unwrap_or_default(), ..params }
    }

    /// The numbers of one scale, to `results`; and the gradient for what is foreseen, with them.
    fn measure(&self, images: &Images, scale: usize, results: &mut Storage) -> Result<()> {
        let errors = (self.rows.errors && scale == 0).into();
        let measuring = |params| Params { errors, sums: 1, ..self.at(scale, params) };
        let early = if scale == 0 && self.slopes.is_some() { self.tracked } else { [false; 2] };
        Walk::over(images, &self.plan, &self.range, |walk| {
            if early == [false; 2] {
                return walk.values(measuring, None)?.finish(images, results);
            }
            let mut sums = None;
            let gradients = for_each(early, |side| {
                let goal = Goal { side, ..Goal::default() };
                // The numbers come with the first.
                let first = sums.is_none();
                let refine = |params| if first { measuring(params) } else { self.at(scale, params) };
                let (gradient, made) = walk.gradient(refine, goal)?;
                sums.get_or_insert(made);
                Ok(gradient)
            })?;
            *self.early.lock().unwrap_or_else(PoisonError::into_inner) = Some(gradients);
            sums.map_or(Ok(()), |sums| sums.finish(images, results))
        })
    }

    /// The gradients at one scale, with what comes from the next coarser one; those that were made early are corrected.
    fn descend(
        &self,
        images: &Images,
        scale: usize,
        (upstream, wanted): (View, [bool; 2]),
        coarser: &Gradients,
        mut early: Gradients,
    ) -> Result<Gradients> {
        let halving = images.geometry.halving(self.rows.scales.odd_sides);
        Walk::over(images, &self.plan, &self.range, |walk| {
            for_each(wanted, |side| {
                let coarser = coarser[side].as_ref().map(View::of).transpose()?;
                let early = early[side].take();
                let weights = if early.is_some() { Weights::Corrected } else { Weights::Upstream };
                let refine = |params| Params {
                    weights: weights as i32,
                    coarse: halving.coarse,
                    coarse_lead: halving.coarse_lead,
                    repeat: halving.repeat,
                    add_coarser: coarser.is_some().into(),
                    near: if images.gpu.real() == DType::F64 { NEAR[0] } else { NEAR[1] },
                    ..self.at(scale, params)
                };
                let goal = Goal { side, weights: Some(upstream), coarser, early, ..Goal::default() };
                Ok(walk.gradient(refine, goal)?.0)
            })
        })
    }

    /// Both images at half the size.
    fn halve(&self, images: &Images) -> Result<Coarse> {
        let odd_sides = self.rows.scales.odd_sides;
        let (gpu, geometry) = (&images.gpu, images.geometry.halved(odd_sides));
        let grid = geometry.grid_of_pixels(gpu.threads())?;
        let mut halves = [gpu.alloc(gpu.real(), geometry.len())?, gpu.alloc(gpu.real(), geometry.len())?];
        let mut args = images.args();
        args.extend(halves.iter_mut().map(Arg::Write));
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
            coarser = self.descend(&images, scale, (upstream, wanted), &coarser, [None, None])?;
        }
        self.descend(images, 0, (upstream, wanted), &coarser, early)
    }
}
