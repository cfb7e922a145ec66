//! Halving the sides between two scales of MS-SSIM, and the way back.

use std::ops::Range;

use super::super::plan::OddSides;
use super::lanes::Real;
use super::plane::{Source, Sources};

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

    /// Writes line `line` (slice and line of the result) of a plane, from column `columns.start` to `columns.end`.
    #[inline(always)]
    pub(super) fn row<T: Real>(
        &self,
        source: &dyn Source<T>,
        [z, y]: [usize; 2],
        columns: &Range<usize>,
        buffers: &mut [Vec<T>; 2],
        out: &mut [T],
    ) {
        let [depth, down, along] = self.axes;
        let read = (2 * columns.start).saturating_sub(along.lead)..2 * columns.end - along.lead;
        let [sums, buffer] = buffers;
        sums.clear();
        sums.resize(read.len(), T::default());
        buffer.resize(read.len(), T::default());
        for z in depth.met(z).into_iter().flatten() {
            for y in down.met(y).into_iter().flatten() {
                add(sums, source.row([z, y], read.clone(), buffer));
            }
        }
        let weight = T::of(self.weight());
        let (mut sums, mut out) = (&sums[..], out);
        if 2 * columns.start < along.lead {
            out[0] = (if along.repeat { sums[0] + sums[0] } else { sums[0] }) * weight;
            (sums, out) = (&sums[1..], &mut out[1..]);
        }
        for (mean, [a, b]) in out.iter_mut().zip(sums.as_chunks().0) {
            *mean = (*a + *b) * weight;
        }
    }
}

#[inline(always)]
fn add<T: Real>(sums: &mut [T], row: &[T]) {
    for (sum, &value) in sums.iter_mut().zip(row) {
        *sum = *sum + value;
    }
}

/// The gradient by the pixels of the next coarser scale, which goes back to the pixels they are means of.
#[derive(Clone, Copy)]
pub(super) struct Coarser<'a, T> {
    /// A dense plane.
    pub(super) gradient: &'a [T],
    pub(super) halving: Halving,
}

impl<T: Real> Coarser<'_, T> {
    /// Adds its part to `columns` of line `y` of slice `z`.
    #[inline(always)]
    pub(super) fn add(&self, [z, y]: [usize; 2], columns: &Range<usize>, row: &mut [T]) {
        let [depth, down, along] = self.halving.axes;
        let (Some((z, times_z)), Some((y, times_y))) = (depth.goes(z), down.goes(y)) else { return };
        let weight = self.halving.weight() * (times_z * times_y) as f64;
        let line = &self.gradient[(z * down.output() + y) * along.output()..][..along.output()];
        for (value, x) in row.iter_mut().zip(columns.clone()) {
            if let Some((x, times)) = along.goes(x) {
                *value = *value + line[x] * T::of(weight * times as f64);
            }
        }
    }
}

/// Where the halved planes of `x` and `y` go: the task's part of a dense plane each, from slice and line `start` of it on.
pub(super) struct Halves<'a, T> {
    pub(super) halving: Halving,
    pub(super) planes: [&'a mut [T]; 2],
    pub(super) start: [usize; 2],
}

impl<T: Real> Halves<'_, T> {
    /// Halves the part of two planes that falls to a tile.
    #[inline(always)]
    pub(super) fn tile(&mut self, sources: Sources<T>, [slices, lines, columns]: [Range<usize>; 3]) {
        let [_, height, width] = self.halving.dims();
        let mut buffers = [Vec::new(), Vec::new()];
        for (source, out) in [sources.x, sources.y].into_iter().zip(&mut self.planes) {
            for z in slices.clone() {
                for y in lines.clone() {
                    let line = (z - self.start[0]) * height + y - self.start[1];
                    self.halving.row(source, [z, y], &columns, &mut buffers, &mut out[line * width..][columns.clone()]);
                }
            }
        }
    }
}
