//! A batch of planes cut into tasks for the threads.

use std::ops::{AddAssign, Range};

use pulp::{Arch, Simd, WithSimd};
use rayon::prelude::*;

use super::super::plan::Plan;
use super::back::Outputs;
use super::derivatives::Goal;
use super::formula::Constants;
use super::pixels::{Pair, Pivot};
use super::plane::Pixel;
use super::pool::{Halves, Halving};
use super::score::Maps;
use super::scratch::Scratch;
use super::total::Errors;
use super::value::{Made, Subject, Sums};
use super::window::Window;
use super::{errors, gradient, value, volume, volume_gradient};

/// Pairs of planes of one size.
pub(super) struct Batch<'a, P: Pixel> {
    subjects: Vec<Subject<'a, P>>,
    window: &'a Window<P::Real>,
}

impl<'a, P: Pixel> Batch<'a, P> {
    pub(super) fn new(pairs: &[Pair<'a, P>], ranges: &[f64], plan: &Plan, window: &'a Window<P::Real>) -> Self {
        let subject = |(&pair, &range): (&Pair<'a, P>, &f64)| {
            let pivot = Pivot::of(&pair);
            Subject { pair, window, pivot, constants: Constants::new(plan.k1, plan.k2, plan.covariance, range, pivot) }
        };
        Self { subjects: pairs.iter().zip(ranges).map(subject).collect(), window }
    }

    /// The sums of each plane, its maps, and its two images halved.
    pub(super) fn values(&self, maps: Maps<P>, halves: Option<(Halving, [&mut [P::Real]; 2])>) -> Vec<Sums> {
        let bands = self.window.bands(false);
        let map_line = self.line(self.window.map_dims());
        let mut maps = maps.map(|map| cut(map, self.subjects.len(), map_line, &bands));
        let halving = halves.as_ref().map(|(halving, _)| *halving);
        let shares: Vec<_> = match &halving {
            Some(halving) => bands.iter().map(|band| self.share(halving, band, &bands)).collect(),
            None => bands.clone(),
        };
        let half_line = halving.map_or(0, |halving| self.line(halving.dims()));
        let halves = halves.map_or([None, None], |(_, halves)| halves.map(Some));
        let mut halves = halves.map(|half| cut(half, self.subjects.len(), half_line, &shares));
        let mut tasks = Vec::with_capacity(self.subjects.len() * bands.len());
        for subject in &self.subjects {
            for (lines, share) in bands.iter().zip(&shares) {
                let maps = maps.each_mut().map(|maps| maps.next().flatten());
                let halves = match (halving, halves.each_mut().map(|halves| halves.next().flatten())) {
                    (Some(halving), [Some(x), Some(y)]) => {
                        let start = if self.window.is_deep() { [share.start, 0] } else { [0, share.start] };
                        Some(Halves { halving, planes: [x, y], start })
                    }
                    _ => None,
                };
                tasks.push(ValueTask { subject, lines, made: Made { maps, halves } });
            }
        }
        run(tasks, bands.len())
    }

    /// The lines (slices, of a volume) of the halved planes that fall to a band.
    fn share(&self, halving: &Halving, band: &Range<usize>, bands: &[Range<usize>]) -> Range<usize> {
        let axis = if self.window.is_deep() { 0 } else { 1 };
        halving.share(axis, band, bands.last() == Some(band))
    }

    /// Pixels of a line (a slice, of a volume) of a dense plane.
    fn line(&self, dims: [usize; 3]) -> usize {
        if self.window.is_deep() { dims[1] * dims[2] } else { dims[2] }
    }

    /// The sums of each plane, and its gradients.
    pub(super) fn gradients(&self, goal: impl Fn(usize) -> Goal<'a, P>, outputs: Outputs<P>) -> Vec<Sums> {
        let bands = self.window.bands(true);
        let dims = self.window.borders.map(|border| border.input);
        let line = self.line(dims);
        let [first, second] = outputs.map(|output| cut(output, self.subjects.len(), line, &bands));
        let subjects = self.subjects.iter().enumerate();
        let lines = subjects.flat_map(|(plane, subject)| bands.iter().map(move |lines| (plane, subject, lines)));
        let tasks = lines.zip(first.zip(second)).map(|((plane, subject, lines), (dx, dy))| GradientTask {
            subject,
            goal: goal(plane),
            lines,
            outputs: [dx, dy],
        });
        run(tasks.collect(), bands.len())
    }
}

/// Dense planes cut into the bands of each; as many `None` if there are no planes.
fn cut<'o, T>(
    planes: Option<&'o mut [T]>,
    count: usize,
    line: usize,
    bands: &[Range<usize>],
) -> impl Iterator<Item = Option<&'o mut [T]>> {
    let mut rest = planes;
    let lens: Vec<usize> = bands.iter().map(|band| band.len() * line).collect();
    (0..count).flat_map(move |_| lens.clone()).map(move |len| {
        let (piece, after) = rest.take()?.split_at_mut(len);
        rest = Some(after);
        Some(piece)
    })
}

/// Runs the tasks of all planes, and adds up those of each plane in order.
fn run<T: Task>(tasks: Vec<T>, per_plane: usize) -> Vec<T::Output> {
    let arch = Arch::new();
    let parts: Vec<T::Output> = tasks
        .into_par_iter()
        .map_init(Scratch::default, |scratch, task| arch.dispatch(Run { task, scratch }))
        .collect();
    let add = |parts: &[T::Output]| {
        let mut sum = T::Output::default();
        parts.iter().for_each(|&part| sum += part);
        sum
    };
    parts.chunks(per_plane).map(add).collect()
}

trait Task: Send {
    type Pixel: Pixel;
    type Output: Copy + Default + Send + AddAssign;

    fn run<S: Simd>(self, simd: S, scratch: &mut Scratch<<Self::Pixel as Pixel>::Real>) -> Self::Output;
}

struct Run<'s, T: Task> {
    task: T,
    scratch: &'s mut Scratch<<T::Pixel as Pixel>::Real>,
}

impl<T: Task> WithSimd for Run<'_, T> {
    type Output = T::Output;

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) -> T::Output {
        self.task.run(simd, self.scratch)
    }
}

struct ValueTask<'a, P: Pixel> {
    subject: &'a Subject<'a, P>,
    lines: &'a Range<usize>,
    made: Made<'a, P>,
}

impl<P: Pixel> Task for ValueTask<'_, P> {
    type Pixel = P;
    type Output = Sums;

    #[inline(always)]
    fn run<S: Simd>(mut self, simd: S, scratch: &mut Scratch<P::Real>) -> Sums {
        if self.subject.window.is_deep() {
            volume::band(simd, self.subject, self.lines, &mut self.made, scratch)
        } else {
            value::band(simd, self.subject, self.lines, &mut self.made, scratch)
        }
    }
}

struct GradientTask<'a, P: Pixel> {
    subject: &'a Subject<'a, P>,
    goal: Goal<'a, P>,
    lines: &'a Range<usize>,
    outputs: Outputs<'a, P>,
}

impl<P: Pixel> Task for GradientTask<'_, P> {
    type Pixel = P;
    type Output = Sums;

    #[inline(always)]
    fn run<S: Simd>(mut self, simd: S, scratch: &mut Scratch<P::Real>) -> Sums {
        if self.subject.window.is_deep() {
            volume_gradient::band(simd, self.subject, self.goal, self.lines, &mut self.outputs, scratch)
        } else {
            gradient::band(simd, self.subject, self.goal, self.lines, &mut self.outputs, scratch)
        }
    }
}

struct ErrorsTask<'a, P: Pixel> {
    pair: &'a Pair<'a, P>,
    lines: &'a Range<usize>,
    weights: [f64; 2],
    outputs: Outputs<'a, P>,
}

impl<P: Pixel> Task for ErrorsTask<'_, P> {
    type Pixel = P;
    type Output = Errors;

    #[inline(always)]
    fn run<S: Simd>(mut self, simd: S, _: &mut Scratch<P::Real>) -> Errors {
        errors::band(simd, self.pair, self.lines, self.weights, &mut self.outputs)
    }
}

/// The errors of each pair of planes, and their gradients.
pub(super) fn pixel_errors<P: Pixel>(
    pairs: &[Pair<P>],
    dims: [usize; 3],
    weights: impl Fn(usize) -> [f64; 2],
    outputs: Outputs<P>,
) -> Vec<Errors> {
    let bands = errors::bands(dims);
    let mut outputs = outputs.map(|output| cut(output, pairs.len(), dims[2], &bands));
    let mut tasks = Vec::with_capacity(pairs.len() * bands.len());
    for (plane, pair) in pairs.iter().enumerate() {
        for lines in &bands {
            let outputs = outputs.each_mut().map(|outputs| outputs.next().flatten());
            tasks.push(ErrorsTask { pair, lines, weights: weights(plane), outputs });
        }
    }
    run(tasks, bands.len())
}
