//! SSIM of a volume: slices are filtered like planes and wait in a ring to be filtered across depth.

use std::ops::Range;

use pulp::Simd;

use super::filter::{self, BLOCK, Sink};
use super::lanes::{Lanes, Real, groups_mut};
use super::pixels::Rows;
use super::plane::Pixel;
use super::ring::{Moments, Slots};
use super::score::{Maps, Scores};
use super::scratch::Scratch;
use super::total::Total;
use super::value::{Made, Subject, Sums};
use super::window::{owned, volume_tiles};

/// The sums over a band of slices of the map.
#[inline(always)]
pub(super) fn band<P: Pixel, S: Simd>(
    simd: S,
    subject: &Subject<P>,
    slices: &Range<usize>,
    made: &mut Made<P>,
    scratch: &mut Scratch<P::Real>,
) -> Sums {
    let mut sums = Sums::default();
    let [depth, height, width] = subject.window.map_dims();
    for [lines, columns] in volume_tiles(height, width) {
        sums += tile(simd, subject, [slices.clone(), lines.clone(), columns.clone()], &mut made.maps, scratch);
        if let Some(halves) = &mut made.halves {
            let slices = halves.halving.share(0, slices, slices.end == depth);
            let lines = halves.halving.share(1, &lines, lines.end == height);
            let columns = halves.halving.share(2, &columns, columns.end == width);
            halves.tile([&subject.pair.x, &subject.pair.y], [slices, lines, columns]);
        }
    }
    sums
}

#[inline(always)]
fn tile<P: Pixel, S: Simd>(
    simd: S,
    subject: &Subject<P>,
    [slices, lines, columns]: [Range<usize>; 3],
    maps: &mut Maps<P>,
    scratch: &mut Scratch<P::Real>,
) -> Sums {
    let Subject { pair, window, pivot, constants } = subject;
    let [depth, down, along] = window.borders;
    let width = Scratch::<P::Real>::padded(columns.len());
    let (pixels, block) = (Rows::<P>::len(width, along), Scores::<P::Real, S>::len(width));
    let shape = Shape::new::<4>(lines.len(), width);
    let [a, b, u, v, ring, deep, ssim, contrast] = scratch.cut([
        pixels,
        pixels,
        pixels,
        pixels,
        Moments::<P>::len(width, down),
        shape.slice * Slots::count(depth),
        block,
        block,
    ]);
    let rows = Rows::new(*pair, *pivot, along, &columns, owned(&columns, along), [a, b, u, v]);
    let moments = Moments::new(rows, &window.taps[2], down, width, ring, owned(&lines, down));
    let mut filtered =
        Slices::new(moments, &window.taps[1], Slots::new(depth), shape, deep, lines.clone(), owned(&slices, depth));
    let counted = [slices.clone(), lines.clone(), columns.clone()];
    let (losses, totals) = ([ssim, contrast], [Total::default(); 2]);
    let mut scores = Scores { simd, window, constants, columns, width, counted, losses, totals };
    filtered.start(simd, slices.start);
    for start in slices.clone().step_by(BLOCK) {
        filtered.need(simd, start);
        for line in lines.clone() {
            filter::across(simd, &window.taps[0], filtered.rows(start, line), &mut scores);
            for z in start..(start + BLOCK).min(slices.end) {
                scores.count([z, line], z - start);
                scores.write(z - start, (z - slices.start) * down.output + line, maps);
            }
        }
    }
    Sums::new(scores.totals, filtered.moments.errors.value())
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
pub(super) struct Slices<'a, P: Pixel> {
    pub(super) moments: Moments<'a, P>,
    taps: &'a [P::Real],
    slots: Slots,
    shape: Shape,
    memory: &'a mut [P::Real],
    lines: Range<usize>,
    /// The slices whose pixels count into the errors.
    owned: Range<usize>,
    /// The next slice to read.
    next: usize,
}

impl<'a, P: Pixel> Slices<'a, P> {
    pub(super) fn new(
        moments: Moments<'a, P>,
        taps: &'a [P::Real],
        slots: Slots,
        shape: Shape,
        memory: &'a mut [P::Real],
        lines: Range<usize>,
        owned: Range<usize>,
    ) -> Self {
        Self { moments, taps, slots, shape, memory, lines, owned, next: 0 }
    }

    /// Prepares for blocks of slices from output slice `z` on.
    #[inline(always)]
    pub(super) fn start<S: Simd>(&mut self, simd: S, z: usize) {
        self.next = self.slots.reads(z).start;
        self.moments.start(simd, self.lines.start);
        let outside = &mut self.memory[self.slots.outside() * self.shape.slice..][..self.shape.slice];
        for row in outside.chunks_exact_mut(self.shape.row) {
            row.copy_from_slice(self.moments.outside());
        }
    }

    /// Reads what the block of output slices from `z` on needs.
    #[inline(always)]
    pub(super) fn need<S: Simd>(&mut self, simd: S, z: usize) {
        while self.next < self.slots.reads(z).end {
            let start = self.slots.row(self.next) * self.shape.slice;
            self.moments.count_errors(self.owned.contains(&self.next));
            self.moments.start(simd, self.lines.start);
            for line in self.lines.clone().step_by(BLOCK) {
                let start = start + (line - self.lines.start) * self.shape.row;
                let memory = &mut self.memory[start..][..BLOCK * self.shape.row];
                let mut store = Store { memory, stride: self.shape.row, row: self.shape.row };
                filter::across::<_, _, 4>(simd, self.taps, self.moments.block(simd, self.next, line), &mut store);
            }
            self.next += 1;
        }
    }

    /// Line `line` of the slices that the block of output slices from `z` on is made of.
    #[inline(always)]
    pub(super) fn rows(&mut self, z: usize, line: usize) -> filter::Rows<'_, P::Real> {
        let memory = &self.memory[(line - self.lines.start) * self.shape.row..];
        filter::Rows { memory, len: self.shape.row, stride: self.shape.slice, rows: self.slots.block(z) }
    }
}

/// Keeps filtered fields, side by side, line by line `stride` apart.
pub(super) struct Store<'a, T> {
    pub(super) memory: &'a mut [T],
    pub(super) stride: usize,
    pub(super) row: usize,
}

impl<T: Real, S: Simd, const F: usize> Sink<T, S, F> for Store<'_, T> {
    #[inline(always)]
    fn put(&mut self, line: usize, at: usize, fields: [Lanes<T, S>; F]) {
        let row = &mut self.memory[line * self.stride..][..self.row];
        groups_mut::<T, S, F>(row)[at / Lanes::<T, S>::COUNT] = filter::vectors(fields);
    }
}
