//! Halving the sides between two scales of MS-SSIM, and the way back.

use std::mem::MaybeUninit;
use std::ops::Range;

use pulp::{Arch, Simd, WithSimd};

use super::super::plan::OddSides;
use super::border::Border;
use super::filter::BLOCK;
use super::lanes::Real;
use super::plane::{Source, Sources};
use super::room::Room;

/// How the lines of one axis meet in pairs.
#[derive(Clone, Copy)]
struct Axis {
    input: usize,
    /// Lines before the first.
    lead: usize,
    /// Whether those are the first line again, not zeros.
    repeat: bool,
    /// Whether lines do not meet at all: the depth of a flat image.
    flat: bool,
}

impl Axis {
    fn output(self) -> usize {
        if self.flat { self.input } else { (self.input + self.lead) / 2 }
    }

    /// The lines that meet in output line `line`; `None` for zeros.
    fn met(self, line: usize) -> [Option<usize>; 2] {
        if self.flat {
            return [Some(line), None];
        }
        let first = if 2 * line < self.lead { self.repeat.then_some(0) } else { Some(2 * line - self.lead) };
        [first, Some(2 * line + 1 - self.lead)]
    }

    /// How many output lines are made of the input lines before `end`.
    fn made_of(self, end: usize) -> usize {
        if self.flat { end } else { (end + self.lead) / 2 }
    }

    /// The output line that input line `line` goes into and how many times, unless it is left out.
    fn goes(self, line: usize) -> Option<(usize, usize)> {
        if self.flat {
            return Some((line, 1));
        }
        let output = (line + self.lead) / 2;
        let times = if line == 0 && self.lead == 1 && self.repeat { 2 } else { 1 };
        (output < self.output()).then_some((output, times))
    }
}

/// Means of 2×2 (2×2×2) pixels.
#[derive(Clone, Copy)]
pub(super) struct Halving {
    axes: [Axis; 3],
}

impl Halving {
    pub(super) fn new(dims: [usize; 3], flat: bool, odd_sides: OddSides) -> Self {
        let first = usize::from(flat);
        let leads = odd_sides.lead(&dims[first..]);
        let repeat = odd_sides == OddSides::Replicate;
        let axis = |axis: usize| Axis {
            input: dims[axis],
            lead: if axis < first { 0 } else { leads[axis - first] },
            repeat,
            flat: axis < first,
        };
        Self { axes: [axis(0), axis(1), axis(2)] }
    }

    /// Sides of the result.
    pub(super) fn dims(&self) -> [usize; 3] {
        self.axes.map(Axis::output)
    }

    /// The result's lines that fall to a run of lines on `axis`, which starts at an even line; the last run takes what is left.
    pub(super) fn share(&self, axis: usize, run: &Range<usize>, last: bool) -> Range<usize> {
        let axis = self.axes[axis];
        if axis.flat {
            return run.clone();
        }
        run.start / 2..if last { axis.output() } else { run.end / 2 }
    }

    fn weight(&self) -> f64 {
        if self.axes[0].flat { 0.25 } else { 0.125 }
    }

    /// Writes a line of the result (its slice and its line are given), columns `columns`.
    #[inline(always)]
    fn row<T: Real>(
        &self,
        source: &dyn Source<T>,
        [z, y]: [usize; 2],
        columns: &Range<usize>,
        buffers: &mut [Vec<T>; 4],
        out: &mut [MaybeUninit<T>],
    ) {
        let [depth, down, along] = self.axes;
        let read = (2 * columns.start).saturating_sub(along.lead)..2 * columns.end - along.lead;
        let (mut rows, mut free) = ([&[][..]; 4], buffers.iter_mut().zip(0..));
        for z in depth.met(z).into_iter().flatten() {
            for y in down.met(y).into_iter().flatten() {
                if let Some((buffer, row)) = free.next() {
                    rows[row] = source.row([z, y], read.clone(), buffer);
                }
            }
        }
        let weight = T::of(self.weight());
        let mut out = out;
        if 2 * columns.start < along.lead {
            let sum = rows.iter().filter_map(|row| row.first()).fold(T::default(), |sum, &value| sum + value);
            out[0].write((if along.repeat { sum + sum } else { sum }) * weight);
            (rows, out) = (rows.map(|row| row.get(1..).unwrap_or_default()), &mut out[1..]);
        }
        average(rows, weight, out);
    }
}

/// Means of two neighbours each of one, two or four rows; those that are not there are empty.
#[inline(always)]
fn average<T: Real>([a, b, c, d]: [&[T]; 4], weight: T, out: &mut [MaybeUninit<T>]) {
    let (a, b, c, d) = (a.as_chunks::<2>().0, b.as_chunks::<2>().0, c.as_chunks::<2>().0, d.as_chunks::<2>().0);
    if b.is_empty() {
        for (mean, a) in out.iter_mut().zip(a) {
            mean.write((a[0] + a[1]) * weight);
        }
    } else if c.is_empty() {
        for (mean, (a, b)) in out.iter_mut().zip(a.iter().zip(b)) {
            mean.write(((a[0] + b[0]) + (a[1] + b[1])) * weight);
        }
    } else {
        for (mean, ((a, b), (c, d))) in out.iter_mut().zip(a.iter().zip(b).zip(c.iter().zip(d))) {
            mean.write(((a[0] + b[0] + c[0] + d[0]) + (a[1] + b[1] + c[1] + d[1])) * weight);
        }
    }
}

/// The gradient with respect to the pixels of the next coarser scale, which goes back to the pixels they are means of.
#[derive(Clone, Copy)]
pub(super) struct Coarser<'a, T> {
    /// A dense plane.
    pub(super) gradient: &'a [T],
    pub(super) halving: Halving,
}

impl<T: Real> Coarser<'_, T> {
    /// Adds its part to `columns`, which start at an even one, of line `y` of slice `z`.
    pub(super) fn add(&self, arch: Arch, [z, y]: [usize; 2], columns: &Range<usize>, row: &mut [T]) {
        let [depth, down, along] = self.halving.axes;
        let (Some((z, times_z)), Some((y, times_y))) = (depth.goes(z), down.goes(y)) else { return };
        let weight = T::of(self.halving.weight() * (times_z * times_y) as f64);
        let line = &self.gradient[(z * down.output() + y) * along.output()..][..along.output()];
        let (mut line, mut row) = (&line[columns.start / 2..], row);
        if along.lead == 1 {
            // The first column's partner is before it.
            let times = if columns.start == 0 && along.repeat { T::of(2.0) } else { T::of(1.0) };
            row[0] = row[0] + line[0] * weight * times;
            (line, row) = (&line[1..], &mut row[1..]);
        }
        arch.dispatch(AddTwice { line, weight, row });
    }
}

/// Adds each number to two neighbours; a last one without partner gets its own, if there is one.
struct AddTwice<'a, T> {
    line: &'a [T],
    weight: T,
    row: &'a mut [T],
}

impl<T: Real> WithSimd for AddTwice<'_, T> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let (pairs, last) = self.row.as_chunks_mut();
        for ([a, b], &value) in pairs.iter_mut().zip(self.line) {
            *a = *a + value * self.weight;
            *b = *b + value * self.weight;
        }
        if let ([last], Some(&value)) = (last, self.line.get(pairs.len())) {
            *last = *last + value * self.weight;
        }
    }
}

/// Where the halved planes of `x` and `y` go: the task's part of a dense plane each, from slice and line `start` of it on.
pub(super) struct Halves<'a, T> {
    halving: Halving,
    planes: [Room<'a, T>; 2],
    start: [usize; 2],
    /// Rows that had to be copied.
    buffers: [Vec<T>; 4],
}

impl<'a, T: Real> Halves<'a, T> {
    pub(super) fn new(halving: Halving, planes: [Room<'a, T>; 2], start: [usize; 2]) -> Self {
        Self { halving, planes, start, buffers: [const { Vec::new() }; 4] }
    }

    /// Halves the part of two planes that falls to a run of slices, of lines and of columns of the result of a walk.
    pub(super) fn tile(&mut self, arch: Arch, sources: Sources<T>, runs: [&Range<usize>; 3], borders: [Border; 3]) {
        let [slices, lines, columns] = [0, 1, 2].map(|axis| {
            let last = runs[axis].end == borders[axis].output;
            self.halving.share(axis, runs[axis], last)
        });
        self.halve(arch, sources, [slices, lines, columns]);
    }

    /// The part that falls to a tile of a flat plane, to be halved line by line.
    pub(super) fn of_tile(
        &mut self,
        lines: &Range<usize>,
        columns: &Range<usize>,
        [down, along]: [Border; 2],
    ) -> HalvesOfTile<'_, 'a, T> {
        let lines = self.halving.share(1, lines, lines.end == down.output);
        let columns = self.halving.share(2, columns, columns.end == along.output);
        HalvesOfTile { halves: self, lines, columns }
    }

    fn halve(&mut self, arch: Arch, sources: Sources<T>, runs: [Range<usize>; 3]) {
        // Twice as many columns as are made, and one more where they do not start with a pair.
        let needed = 2 * runs[2].len() + 1;
        for buffer in self.buffers.iter_mut().filter(|buffer| buffer.len() < needed) {
            buffer.resize(needed, T::default());
        }
        arch.dispatch(Halve { halves: self, sources, runs });
    }
}

/// Halves slices, lines and columns of the result.
struct Halve<'h, 'a, T> {
    halves: &'h mut Halves<'a, T>,
    sources: Sources<'h, T>,
    runs: [Range<usize>; 3],
}

impl<T: Real> WithSimd for Halve<'_, '_, T> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let Halves { halving, planes, start, buffers } = self.halves;
        let ([_, height, width], [slices, lines, columns]) = (halving.dims(), self.runs);
        for (source, out) in [self.sources.x, self.sources.y].into_iter().zip(planes) {
            for z in slices.clone() {
                for y in lines.clone() {
                    let line = (z - start[0]) * height + y - start[1];
                    out.fetch((line + BLOCK / 2) * width + columns.start, columns.len());
                    let out = out.places(line * width + columns.start, columns.len());
                    halving.row(source, [z, y], &columns, buffers, out);
                }
            }
        }
    }
}

/// The part of a halved plane that falls to a tile, made while the lines that it is made of are at hand.
pub(super) struct HalvesOfTile<'h, 'a, T> {
    halves: &'h mut Halves<'a, T>,
    /// What is left to make.
    lines: Range<usize>,
    columns: Range<usize>,
}

impl<T: Real> HalvesOfTile<'_, '_, T> {
    /// Halves what is made of lines before `read`.
    pub(super) fn up_to(&mut self, arch: Arch, sources: Sources<T>, read: usize) {
        let end = self.halves.halving.axes[1].made_of(read).clamp(self.lines.start, self.lines.end);
        self.halves.halve(arch, sources, [0..1, self.lines.start..end, self.columns.clone()]);
        self.lines.start = end;
    }

    /// Halves the rest.
    pub(super) fn finish(&mut self, arch: Arch, sources: Sources<T>) {
        self.halves.halve(arch, sources, [0..1, self.lines.clone(), self.columns.clone()]);
    }
}
