//! SSIM of a volume: slices are filtered like planes and wait in a ring to be filtered across depth.

use std::ops::Range;

use pulp::Arch;

use super::filter::{self, BLOCK, Lines};
use super::lanes::Real;
use super::pixels::Rows;
use super::ring::{Moments, Slots};
use super::score::Scores;
use super::scratch::Scratch;
use super::subject::Subject;
use super::total::ErrorRows;
use super::value::{Made, Sums};
use super::window::{Window, owned};

/// Walks a stretch of slices of the map; adds to the sums of each of its bands.
pub(super) fn walk<T: Real>(
    subject: &Subject<T>,
    slices: &Range<usize>,
    made: &mut Made<T>,
    sums: &mut [Sums],
    scratch: &mut Scratch<T>,
) {
    for [lines, columns] in subject.window.volume_tiles(false) {
        tile(subject, [slices.clone(), lines.clone(), columns.clone()], made, sums, scratch);
        if let Some(halves) = &mut made.halves {
            let Subject { window, sources, .. } = *subject;
            halves.tile(window.arch, sources, [slices, &lines, &columns], window.borders);
        }
    }
}

fn tile<T: Real>(
    subject: &Subject<T>,
    [slices, lines, columns]: [Range<usize>; 3],
    made: &mut Made<T>,
    sums: &mut [Sums],
    scratch: &mut Scratch<T>,
) {
    let window = subject.window;
    let [depth, down, along] = window.borders;
    let width = Scratch::<T>::padded(columns.len());
    let shape = Shape::new::<4>(lines.len(), width);
    let [pixels, ring, deep, scores] = scratch.cut([
        Rows::<T>::len(width, along),
        Moments::<T>::len(width, down),
        shape.slice * Slots::new(depth).count(),
        Scores::<T>::len(width),
    ]);
    let rows = Rows::new(subject, &columns, owned(&columns, along), width, pixels);
    let errors = made.errors.as_mut().map(ErrorRows::reborrow);
    let moments = Moments::new(rows, window, width, ring, owned(&lines, down), errors);
    let mut filtered = Slices::new(moments, window, shape, deep, lines.clone());
    let counted = [slices.clone(), lines.clone(), columns.clone()];
    let mut scores = Scores::new(subject, columns, width, counted, scores);
    filtered.start(slices.start);
    for start in slices.clone().step_by(BLOCK) {
        filtered.need(start);
        let block = start..(start + BLOCK).min(slices.end);
        for line in lines.clone() {
            filter::across(window.arch, &window.taps[0], filtered.rows(start, line), scores.lines());
            scores.score(block.len());
            for z in block.clone() {
                scores.count([z, line], z - start);
                scores.write(z - start, (z - slices.start) * down.output + line, &mut made.maps);
            }
        }
    }
    scores.add_to(sums);
}

/// How the rows of a tile's slice lie in memory.
#[derive(Clone, Copy)]
pub(super) struct Shape {
    /// Length of a row of all fields.
    pub(super) row: usize,
    /// Length of a slice: whole blocks of lines.
    pub(super) slice: usize,
}

impl Shape {
    pub(super) fn new<const F: usize>(lines: usize, width: usize) -> Self {
        Self { row: F * width, slice: F * width * lines.next_multiple_of(BLOCK) }
    }
}

/// Slices of moments of one tile, filtered along and down.
pub(super) struct Slices<'a, T> {
    arch: Arch,
    pub(super) moments: Moments<'a, T>,
    taps: &'a [T],
    slots: Slots,
    shape: Shape,
    memory: &'a mut [T],
    lines: Range<usize>,
    /// The next slice to read.
    next: usize,
}

impl<'a, T: Real> Slices<'a, T> {
    pub(super) fn new(
        moments: Moments<'a, T>,
        window: &'a Window<T>,
        shape: Shape,
        memory: &'a mut [T],
        lines: Range<usize>,
    ) -> Self {
        let (arch, taps, slots) = (window.arch, &window.taps[1], Slots::new(window.borders[0]));
        Self { arch, moments, taps, slots, shape, memory, lines, next: 0 }
    }

    /// Prepares for blocks of slices from output slice `z` on.
    pub(super) fn start(&mut self, z: usize) {
        self.next = self.slots.reads(z).start;
        self.moments.start(self.lines.start);
        let outside = &mut self.memory[self.slots.outside() * self.shape.slice..][..self.shape.slice];
        for row in outside.chunks_exact_mut(self.shape.row) {
            row.copy_from_slice(self.moments.outside());
        }
    }

    /// Reads what the block of output slices from `z` on needs.
    pub(super) fn need(&mut self, z: usize) {
        while self.next < self.slots.reads(z).end {
            let start = self.slots.row(self.next) * self.shape.slice;
            self.moments.start(self.lines.start);
            for line in self.lines.clone().step_by(BLOCK) {
                let start = start + (line - self.lines.start) * self.shape.row;
                let memory = &mut self.memory[start..][..BLOCK * self.shape.row];
                let lines = Lines { memory, line: self.shape.row, field: None };
                filter::across(self.arch, self.taps, self.moments.block(self.next, line), lines);
            }
            self.next += 1;
        }
    }

    /// Line `line` of the slices that the block of output slices from `z` on is made of.
    pub(super) fn rows(&mut self, z: usize, line: usize) -> filter::Rows<'_, T> {
        let memory = &self.memory[(line - self.lines.start) * self.shape.row..];
        filter::Rows { memory, fields: 4, len: self.shape.row, stride: self.shape.slice, rows: self.slots.block(z) }
    }
}
