//! The gradient of SSIM with respect to the pixels of a flat plane, in the same walk as the value.
//!
//! The derivatives with respect to the four filtered fields are made row by row as the moments become known, wait in a ring of
//! their own, and are filtered back, across and along, by the adjoint filter. With `α`, `β` the filtered derivatives with respect
//! to the mean and with respect to the mean square of `u`, the derivative with respect to the pixel `u` is `α + 2·u·β`; the same
//! for `v`; and since `u = x + y` and `v = x - y`, `d/dx = d/du + d/dv` and `d/dy = d/du - d/dv`. For one of the two inputs, three
//! fields do.

use std::ops::Range;

use super::back::Back;
use super::derivatives::{Derive, Goal, Wanted};
use super::filter::{self, BLOCK};
use super::lanes::Real;
use super::pixels::Rows;
use super::plane::Targets;
use super::ring::{Moments, Slots};
use super::score::Scores;
use super::scratch::Scratch;
use super::subject::Subject;
use super::total::ErrorRows;
use super::value::Sums;
use super::window::clamp;

/// Walks a stretch: makes the gradient with respect to its pixels, adds to the sums of each of its bands.
pub(super) fn walk<T: Real>(
    subject: &Subject<T>,
    goal: Goal<T>,
    lines: &Range<usize>,
    outputs: &mut Targets<T>,
    errors: &mut Option<ErrorRows>,
    sums: &mut [Sums],
    scratch: &mut Scratch<T>,
) {
    for columns in subject.window.tiles(true) {
        let tile = Tile { subject, goal, lines, columns };
        let errors = errors.as_mut().map(ErrorRows::reborrow);
        match outputs {
            [Some(_), Some(_)] => tile.walk::<4>(Wanted::Both, outputs, errors, sums, scratch),
            [_, None] => tile.walk::<3>(Wanted::X, outputs, errors, sums, scratch),
            [None, _] => tile.walk::<3>(Wanted::Y, outputs, errors, sums, scratch),
        }
    }
}

/// A run of lines and columns of the gradient.
struct Tile<'a, 'p, T> {
    subject: &'a Subject<'p, T>,
    goal: Goal<'a, T>,
    lines: &'a Range<usize>,
    columns: Range<usize>,
}

impl<T: Real> Tile<'_, '_, T> {
    fn walk<const F: usize>(
        &self,
        wanted: Wanted,
        outputs: &mut Targets<T>,
        errors: Option<ErrorRows>,
        sums: &mut [Sums],
        scratch: &mut Scratch<T>,
    ) {
        let window = self.subject.window;
        let [_, down, along] = window.borders;
        // The part of the map that the gradient of this tile depends on.
        let columns = along.adjoint().reads(self.columns.clone());
        let width = Scratch::<T>::padded(columns.len());
        let [pixels, ring, scores, weights, derivatives, back] = scratch.cut([
            Rows::<T>::len(width, along),
            Moments::<T>::len(width, down),
            Scores::<T>::len(width),
            Derive::<T, F>::weights_len(width),
            Derivatives::<T, F>::stride(width) * Slots::of_blocks(down.adjoint()).count(),
            Back::<T>::len(width, along, F),
        ]);
        let rows = Rows::new(self.subject, &columns, self.columns.clone(), width, pixels);
        let mut back = Back::new(self.subject, wanted, &self.columns, &columns, width, back, self.goal);
        let counted = [0..1, clamp(self.lines, down.output), clamp(&self.columns, along.output)];
        let scores = Scores::new(self.subject, columns, width, counted, scores);
        let derive = Derive::<T, F>::new(scores, self.goal.weights, wanted, weights, derivatives);
        let moments = Moments::new(rows, window, width, ring, self.lines.clone(), errors);
        let mut derivatives = Derivatives { derive, moments, slots: Slots::of_blocks(down.adjoint()), next: 0 };
        derivatives.start(self.lines.start);
        for start in self.lines.clone().step_by(BLOCK) {
            filter::across(window.arch, &window.taps[1], derivatives.block(start), back.lines());
            for line in start..(start + BLOCK).min(self.lines.end) {
                let pixels = derivatives.moments.pixels([0, line], &self.columns);
                back.finish::<F>(line - start, pixels);
                back.write([0, line], line - self.lines.start, pixels, outputs);
            }
        }
        derivatives.derive.scores.add_to(sums);
    }
}

/// Rows of derivatives waiting to be filtered back across.
struct Derivatives<'a, T, const F: usize> {
    derive: Derive<'a, T, F>,
    moments: Moments<'a, T>,
    slots: Slots,
    /// The next line of the map to make.
    next: usize,
}

impl<T: Real, const F: usize> Derivatives<'_, T, F> {
    /// Distance between rows in memory.
    fn stride(width: usize) -> usize {
        Scratch::<T>::spread(Derive::<T, F>::len(width))
    }

    /// Prepares for blocks of gradient lines from `line` on.
    fn start(&mut self, line: usize) {
        self.next = self.slots.reads(line).start;
        self.moments.start(self.next);
        let stride = Self::stride(self.derive.scores.width);
        self.derive.memory[self.slots.outside() * stride..][..stride].fill(T::default());
    }

    /// The derivatives that the block of gradient lines from `line` on is made of.
    fn block(&mut self, line: usize) -> filter::Rows<'_, T> {
        while self.next < self.slots.reads(line).end {
            self.make(self.next);
            self.next += BLOCK;
        }
        let width = self.derive.scores.width;
        let (len, stride) = (Derive::<T, F>::len(width), Self::stride(width));
        filter::Rows { memory: self.derive.memory, fields: F, len, stride, rows: self.slots.block(line) }
    }

    /// The derivatives at the block of map lines from `start` on.
    fn make(&mut self, start: usize) {
        let window = self.derive.scores.window;
        let stride = Self::stride(self.derive.scores.width);
        let lines = start..(start + BLOCK).min(window.borders[1].output);
        self.derive.starts = [None; BLOCK];
        for line in lines.clone() {
            self.derive.weigh([0, line], line - start);
            self.derive.starts[line - start] = Some(self.slots.row(line) * stride);
        }
        let moments = self.moments.block(0, start);
        filter::across(window.arch, &window.taps[1], moments, self.derive.scores.lines());
        self.derive.derive();
        for line in lines {
            self.derive.scores.count([0, line], line - start);
        }
    }
}
