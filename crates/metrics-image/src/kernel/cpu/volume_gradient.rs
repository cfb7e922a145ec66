//! The gradient of SSIM with respect to the voxels of a volume: as for a plane, with one more ring for the derivatives across
//! depth.

use std::ops::Range;

use super::back::Back;
use super::border::Border;
use super::derivatives::{Derive, Goal, Wanted};
use super::filter::{self, BLOCK, Lines};
use super::lanes::Real;
use super::pixels::Rows;
use super::plane::Targets;
use super::ring::{Moments, Slots};
use super::score::Scores;
use super::scratch::Scratch;
use super::subject::Subject;
use super::total::ErrorRows;
use super::value::Sums;
use super::volume::{Shape, Slices};
use super::window::clamp;

/// Walks a stretch of slices: makes the gradient with respect to its voxels, adds to the sums of each of its bands.
pub(super) fn walk<T: Real>(
    subject: &Subject<T>,
    goal: Goal<T>,
    slices: &Range<usize>,
    outputs: &mut Targets<T>,
    errors: &mut Option<ErrorRows>,
    sums: &mut [Sums],
    scratch: &mut Scratch<T>,
) {
    for [lines, columns] in subject.window.volume_tiles(true) {
        let tile = Tile { subject, goal, slices, lines, columns };
        let errors = errors.as_mut().map(ErrorRows::reborrow);
        match outputs {
            [Some(_), Some(_)] => tile.walk::<4>(Wanted::Both, outputs, errors, sums, scratch),
            [_, None] => tile.walk::<3>(Wanted::X, outputs, errors, sums, scratch),
            [None, _] => tile.walk::<3>(Wanted::Y, outputs, errors, sums, scratch),
        }
    }
}

/// A run of slices, lines and columns of the gradient.
struct Tile<'a, 'p, T> {
    subject: &'a Subject<'p, T>,
    goal: Goal<'a, T>,
    slices: &'a Range<usize>,
    lines: Range<usize>,
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
        let [depth, down, along] = window.borders;
        // The part of the map that the gradient of this tile depends on.
        let lines = down.adjoint().reads(self.lines.clone());
        let columns = along.adjoint().reads(self.columns.clone());
        let width = Scratch::<T>::padded(columns.len());
        let (shape, back_shape) = (Shape::new::<4>(lines.len(), width), Shape::new::<F>(lines.len() + 1, width));
        let [pixels, ring, deep, scores, weights, derivatives, slab, back] = scratch.cut([
            Rows::<T>::len(width, along),
            Moments::<T>::len(width, down),
            shape.slice * Slots::new(depth).count(),
            Scores::<T>::len(width),
            Derive::<T, F>::weights_len(width),
            back_shape.slice * Slots::of_blocks(depth.adjoint()).count(),
            back_shape.slice * BLOCK,
            Back::<T>::len(width, along, F),
        ]);
        let rows = Rows::new(self.subject, &columns, self.columns.clone(), width, pixels);
        let mut back = Back::new(self.subject, wanted, &self.columns, &columns, width, back, self.goal);
        let counted =
            [clamp(self.slices, depth.output), clamp(&self.lines, down.output), clamp(&self.columns, along.output)];
        let scores = Scores::new(self.subject, columns, width, counted, scores);
        let derive = Derive::<T, F>::new(scores, self.goal.weights, wanted, weights, derivatives);
        let moments = Moments::new(rows, window, width, ring, self.lines.clone(), errors);
        let moments = Slices::new(moments, window, shape, deep, lines.clone());
        let slots = Slots::of_blocks(depth.adjoint());
        let mut derivatives = Derivatives { derive, moments, slots, shape: back_shape, lines: lines.clone(), next: 0 };
        derivatives.start(self.slices.start);
        let mut read = vec![0; down.taps() + BLOCK - 1];
        // Beyond the lines of the map there is one of zeros.
        for slice in slab.chunks_mut(back_shape.slice) {
            slice[lines.len() * back_shape.row..][..back_shape.row].fill(T::default());
        }
        for start in self.slices.clone().step_by(BLOCK) {
            derivatives.need(start);
            derivatives.across(start, slab);
            for z in start..(start + BLOCK).min(self.slices.end) {
                let slice = &slab[(z - start) * back_shape.slice..][..back_shape.slice];
                for line in self.lines.clone().step_by(BLOCK) {
                    rows_of_block(down.adjoint(), line, &lines, &mut read);
                    let (len, stride) = (back_shape.row, back_shape.row);
                    let input = filter::Rows { memory: slice, fields: F, len, stride, rows: &read };
                    filter::across(window.arch, &window.taps[1], input, back.lines());
                    for y in line..(line + BLOCK).min(self.lines.end) {
                        let pixels = derivatives.moments.moments.pixels([z, y], &self.columns);
                        back.finish::<F>(y - line, pixels);
                        back.write([z, y], (z - self.slices.start) * down.input + y, pixels, outputs);
                    }
                }
            }
        }
        derivatives.derive.scores.add_to(sums);
    }
}

/// The rows, of those that hold `lines` and the one of zeros after them, that a block of output lines is made of.
fn rows_of_block(border: Border, output: usize, lines: &Range<usize>, rows: &mut [usize]) {
    for (at, row) in rows.iter_mut().enumerate() {
        // Surplus lines of the block may read any row.
        let place = |line: usize| line.saturating_sub(lines.start).min(lines.len() - 1);
        *row = border.line(output + at).map_or(lines.len(), place);
    }
}

/// Slices of derivatives waiting to be filtered back across depth.
struct Derivatives<'a, T, const F: usize> {
    derive: Derive<'a, T, F>,
    moments: Slices<'a, T>,
    slots: Slots,
    shape: Shape,
    /// Lines of the map.
    lines: Range<usize>,
    /// The next slice of the map to make.
    next: usize,
}

impl<T: Real, const F: usize> Derivatives<'_, T, F> {
    /// Prepares for blocks of gradient slices from `z` on.
    fn start(&mut self, z: usize) {
        self.next = self.slots.reads(z).start;
        self.moments.start(self.next);
        let slice = self.shape.slice;
        self.derive.memory[self.slots.outside() * slice..][..slice].fill(T::default());
    }

    /// Makes the derivatives that the block of gradient slices from `z` on depends on.
    fn need(&mut self, z: usize) {
        while self.next < self.slots.reads(z).end {
            self.moments.need(self.next);
            for line in self.lines.clone() {
                self.make(line);
            }
            self.next += BLOCK;
        }
    }

    /// The derivatives at line `line` of the next block of slices of the map.
    fn make(&mut self, line: usize) {
        let window = self.derive.scores.window;
        let slices = self.next..(self.next + BLOCK).min(window.borders[0].output);
        self.derive.starts = [None; BLOCK];
        for z in slices.clone() {
            self.derive.weigh([z, line], z - self.next);
            let start = self.slots.row(z) * self.shape.slice + (line - self.lines.start) * self.shape.row;
            self.derive.starts[z - self.next] = Some(start);
        }
        let moments = self.moments.rows(self.next, line);
        filter::across(window.arch, &window.taps[0], moments, self.derive.scores.lines());
        self.derive.derive();
        for z in slices {
            self.derive.scores.count([z, line], z - self.next);
        }
    }

    /// Filters across depth, into `BLOCK` slices.
    fn across(&mut self, z: usize, slab: &mut [T]) {
        let taps = &self.derive.scores.window.taps[0];
        for line in 0..self.lines.len() {
            let Shape { row, slice } = self.shape;
            let memory = &self.derive.memory[line * row..];
            let input = filter::Rows { memory, fields: F, len: row, stride: slice, rows: self.slots.block(z) };
            let output = Lines { memory: &mut slab[line * row..], line: slice, field: None };
            filter::across(self.derive.scores.window.arch, taps, input, output);
        }
    }
}
