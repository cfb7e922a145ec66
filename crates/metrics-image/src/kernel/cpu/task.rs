//! A batch of planes cut into tasks for the threads.

use std::ops::Range;

use rayon::prelude::*;

use super::super::plan::Plan;
use super::derivatives::Goal;
use super::formula::Constants;
use super::lanes::Real;
use super::pixel::Pixel;
use super::pixels::Pivot;
use super::plane::{Pair, Sources, Target, Targets};
use super::pool::{Halves, Halving};
use super::room::Room;
use super::scratch::Scratch;
use super::subject::Subject;
use super::total::{ErrorRows, Errors};
use super::value::{Made, Sums};
use super::window::{Window, arch, owned};
use super::{errors, gradient, value, volume, volume_gradient};

/// With fewer pixels than these, waking another thread takes longer than the work: some 15 µs.
const TOO_FEW: usize = 1 << 13;
const TOO_FEW_FOR_ERRORS: usize = 1 << 17;

/// Dense planes, one after another, for each of two results, if it is wanted.
pub(super) type Planes<'a, P> = [Option<Room<'a, P>>; 2];

/// Pairs of planes of one size.
pub(super) struct Batch<'a, T> {
    subjects: Vec<Subject<'a, T>>,
    window: &'a Window<T>,
}

impl<'a, T: Real> Batch<'a, T> {
    pub(super) fn new<P: Pixel<Real = T>>(
        pairs: &'a [Pair<P>],
        ranges: &[f64],
        plan: &Plan,
        window: &'a Window<T>,
    ) -> Self {
        let subject = |(pair, &range): (&'a Pair<P>, &f64)| {
            let sources = Sources::from(pair);
            let pivot = Pivot::of(sources);
            Subject { sources, window, pivot, constants: Constants::new(plan, range, pivot) }
        };
        Self { subjects: pairs.iter().zip(ranges).map(subject).collect(), window }
    }

    /// The sums of each plane, and its maps.
    pub(super) fn values<P: Pixel<Real = T>>(&self, maps: Planes<P>, errors: Option<&mut [Errors]>) -> Vec<Sums> {
        let stretches = self.stretches(false);
        let mut maps = self.cut(maps, self.window.map_dims(), &stretches);
        let mut errors = self.cut_errors(errors, &stretches);
        let tasks = self.each(&stretches).map(|(_, subject, lines)| {
            let maps = maps.next().unwrap_or_default();
            (subject, lines, Made { maps, halves: None, errors: errors.next().flatten() })
        });
        self.run_values(tasks.collect())
    }

    /// The sums of each plane, and its two images halved.
    pub(super) fn halve(
        &self,
        halving: Halving,
        [mut x, mut y]: [Room<'_, T>; 2],
        errors: Option<&mut [Errors]>,
    ) -> Vec<Sums> {
        let stretches = self.stretches(false);
        let (axis, line) = (self.window.axis(), self.line(halving.dims()));
        let mut errors = self.cut_errors(errors, &stretches);
        let tasks = self.each(&stretches).map(|(_, subject, lines)| {
            let share = halving.share(axis, lines, stretches.last() == Some(lines));
            let planes = [&mut x, &mut y].map(|half| half.cut(share.len() * line));
            let start = if axis == 0 { [share.start, 0] } else { [0, share.start] };
            let halves = Some(Halves::new(halving, planes, start));
            (subject, lines, Made { maps: [None, None], halves, errors: errors.next().flatten() })
        });
        self.run_values(tasks.collect())
    }

    fn run_values(&self, tasks: Vec<(&Subject<T>, &Range<usize>, Made<T>)>) -> Vec<Sums> {
        self.run(tasks, |(subject, lines, mut made), scratch| {
            let mut sums = self.no_sums(lines);
            let walk = if self.window.is_deep() { volume::walk } else { value::walk };
            walk(subject, lines, &mut made, &mut sums, scratch);
            sums
        })
    }

    /// The sums of each plane, and its gradients.
    pub(super) fn gradients<'g, P: Pixel<Real = T>>(
        &self,
        goal: impl Fn(usize) -> Goal<'g, T>,
        gradients: Planes<P>,
        errors: Option<&mut [Errors]>,
    ) -> Vec<Sums> {
        let stretches = self.stretches(true);
        let mut gradients = self.cut(gradients, self.window.borders.map(|border| border.input), &stretches);
        let mut errors = self.cut_errors(errors, &stretches);
        let tasks = self.each(&stretches).map(|(plane, subject, lines)| {
            (subject, lines, goal(plane), gradients.next().unwrap_or_default(), errors.next().flatten())
        });
        self.run(tasks.collect(), |(subject, lines, goal, mut gradients, mut errors), scratch| {
            let mut sums = self.no_sums(lines);
            let walk = if self.window.is_deep() { volume_gradient::walk } else { gradient::walk };
            walk(subject, goal, lines, &mut gradients, &mut errors, &mut sums, scratch);
            sums
        })
    }

    /// Sums for each band of a stretch.
    fn no_sums(&self, stretch: &Range<usize>) -> Vec<Sums> {
        vec![Sums::default(); self.window.bands_of(stretch)]
    }

    /// Runs the tasks of all planes in parallel, or on this thread alone if they are small, and adds up the bands of each plane in
    /// order.
    fn run<K: Send>(&self, tasks: Vec<K>, task: impl Fn(K, &mut Scratch<T>) -> Vec<Sums> + Sync) -> Vec<Sums> {
        let bands: Vec<Sums> = if self.threads() == 1 {
            let mut scratch = Scratch::default();
            tasks.into_iter().flat_map(|part| task(part, &mut scratch)).collect()
        } else {
            // One by one, so that a thread that is done takes over any that is left.
            let parts =
                tasks.into_par_iter().with_max_len(1).map_init(Scratch::default, |scratch, part| task(part, scratch));
            parts.flatten_iter().collect()
        };
        let add = |bands: &[Sums]| {
            let mut sum = Sums::default();
            bands.iter().for_each(|&band| sum += band);
            sum
        };
        bands.chunks(self.window.bands().count()).map(add).collect()
    }

    /// Rows of errors of all planes, one after another, cut into stretches.
    fn cut_errors<'e>(
        &self,
        errors: Option<&'e mut [Errors]>,
        stretches: &[Range<usize>],
    ) -> impl Iterator<Item = Option<ErrorRows<'e>>> {
        let ([_, height, _], axis) = (self.window.borders.map(|border| border.input), self.window.axis());
        let per_line = if axis == 0 { height } else { 1 };
        let stretches: Vec<_> = stretches.iter().map(|lines| owned(lines, self.window.borders[axis])).collect();
        let (planes, mut errors) = (self.subjects.len(), errors);
        (0..planes).flat_map(move |_| stretches.clone()).map(move |lines| {
            let (rows, rest) = errors.take()?.split_at_mut(lines.len() * per_line);
            errors = Some(rest);
            let start = if axis == 0 { [lines.start, 0] } else { [0, lines.start] };
            Some(ErrorRows::new(rows, start, height))
        })
    }

    /// The stretches of all planes in order, with the plane and its number.
    fn each<'b>(
        &'b self,
        stretches: &'b [Range<usize>],
    ) -> impl Iterator<Item = (usize, &'b Subject<'a, T>, &'b Range<usize>)> {
        let planes = self.subjects.iter().enumerate();
        planes.flat_map(move |(plane, subject)| stretches.iter().map(move |lines| (plane, subject, lines)))
    }

    fn stretches(&self, of_gradient: bool) -> Vec<Range<usize>> {
        self.window.stretches(self.subjects.len(), self.threads(), of_gradient)
    }

    /// How many threads the work is worth.
    fn threads(&self) -> usize {
        let pixels: usize = self.window.borders.iter().map(|border| border.input).product();
        if self.subjects.len() * pixels < TOO_FEW { 1 } else { rayon::current_num_threads() }
    }

    /// Pixels of one line of the axis that is cut.
    fn line(&self, dims: [usize; 3]) -> usize {
        dims[self.window.axis() + 1..].iter().product()
    }

    fn cut<'o, P: Pixel<Real = T>>(
        &self,
        planes: Planes<'o, P>,
        dims: [usize; 3],
        stretches: &[Range<usize>],
    ) -> impl Iterator<Item = Targets<'o, T>> {
        cut(planes, self.subjects.len(), self.line(dims), stretches)
    }
}

/// Two results cut into the same runs of lines of `count` planes each.
fn cut<'o, P: Pixel>(
    mut planes: Planes<'o, P>,
    count: usize,
    line: usize,
    runs: &[Range<usize>],
) -> impl Iterator<Item = Targets<'o, P::Real>> {
    let lens: Vec<usize> = runs.iter().map(|run| run.len() * line).collect();
    (0..count).flat_map(move |_| lens.clone()).map(move |len| {
        let cut =
            |room: &mut Option<Room<'o, P>>| Some(Box::new(room.as_mut()?.cut(len)) as Box<dyn Target<P::Real> + 'o>);
        planes.each_mut().map(cut)
    })
}

/// The errors of the rows of each pair of planes, and their gradients.
pub(super) fn pixel_errors<P: Pixel>(
    pairs: &[Pair<P>],
    dims: [usize; 3],
    weights: impl Fn(usize) -> [f64; 2],
    gradients: Planes<P>,
    mut rows: &mut [Errors],
) {
    let (bands, arch) = (errors::bands(dims), arch());
    let mut gradients = cut(gradients, pairs.len(), dims[2], &bands);
    let mut tasks = Vec::with_capacity(pairs.len() * bands.len());
    for (plane, pair) in pairs.iter().enumerate() {
        for lines in &bands {
            let gradients = gradients.next().unwrap_or_default();
            let (band, rest) = std::mem::take(&mut rows).split_at_mut(lines.len());
            rows = rest;
            tasks.push(errors::Band {
                sources: pair.into(),
                dims,
                lines,
                weights: weights(plane),
                gradients,
                rows: band,
            });
        }
    }
    if pairs.len() * dims.iter().product::<usize>() < TOO_FEW_FOR_ERRORS {
        tasks.into_iter().for_each(|band| band.run(arch));
    } else {
        tasks.into_par_iter().for_each(|band| band.run(arch));
    }
}
