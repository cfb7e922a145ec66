//! The gradient of SSIM by the voxels of a volume: as for a plane, with one more ring for the derivatives across depth.

use std::ops::Range;

use pulp::Simd;

use super::back::{Back, Outputs};
use super::border::Border;
use super::derivatives::{Derive, Goal, Wanted};
use super::filter::{self, BLOCK};
use super::pixels::Rows;
use super::plane::Pixel;
use super::ring::{Moments, Slots};
use super::score::Scores;
use super::scratch::Scratch;
use super::total::Total;
use super::value::{Subject, Sums};
use super::volume::{Shape, Slices, Store};
use super::window::{clamp, volume_tiles};

/// The sums over a band of slices, and the gradient by their voxels.
#[inline(always)]
pub(super) fn band<P: Pixel, S: Simd>(
    simd: S,
    subject: &Subject<P>,
    goal: Goal<P>,
    slices: &Range<usize>,
    outputs: &mut Outputs<P>,
    scratch: &mut Scratch<P::Real>,
) -> Sums {
    let mut sums = Sums::default();
    let [_, down, along] = subject.window.borders;
    for [lines, columns] in volume_tiles(down.input, along.input) {
        let tile = Tile { subject, goal, slices, lines, columns };
        sums += match outputs {
            [Some(_), Some(_)] => tile.walk::<S, 4>(simd, Wanted::Both, outputs, scratch),
            [_, None] => tile.walk::<S, 3>(simd, Wanted::X, outputs, scratch),
            [None, _] => tile.walk::<S, 3>(simd, Wanted::Y, outputs, scratch),
        };
    }
    sums
}

/// A run of slices, lines and columns of the gradient.
struct Tile<'a, 'p, P: Pixel> {
    subject: &'a Subject<'p, P>,
    goal: Goal<'a, P>,
    slices: &'a Range<usize>,
    lines: Range<usize>,
    columns: Range<usize>,
}

impl<P: Pixel> Tile<'_, '_, P> {
    #[inline(always)]
    fn walk<S: Simd, const F: usize>(
        &self,
        simd: S,
        wanted: Wanted,
        outputs: &mut Outputs<P>,
        scratch: &mut Scratch<P::Real>,
    ) -> Sums {
        let Subject { pair, window, pivot, constants } = self.subject;
        let [depth, down, along] = window.borders;
        // The part of the map that the gradient of this tile depends on.
        let lines = down.adjoint().reads(self.lines.clone());
        let columns = along.adjoint().reads(self.columns.clone());
        let width = Scratch::<P::Real>::padded(columns.len());
        let (pixels, block) = (Rows::<P>::len(width, along), Scores::<P::Real, S>::len(width));
        let (shape, back_shape) = (Shape::new::<4>(lines.len(), width), Shape::new::<F>(lines.len() + 1, width));
        let [a, b, u, v, ring, deep, derivatives, slab, w0, w1, l0, l1, back] = scratch.cut([
            pixels,
            pixels,
            pixels,
            pixels,
            Moments::<P>::len(width, down),
            shape.slice * Slots::count(depth),
            back_shape.slice * Slots::count(depth.adjoint()),
            back_shape.slice * BLOCK,
            block,
            block,
            block,
            block,
            Back::<P::Real>::len(width, along, F),
        ]);
        let rows = Rows::new(*pair, *pivot, along, &columns, self.columns.clone(), [a, b, u, v]);
        let mut back = Back::new(window, wanted, &self.columns, &columns, width, back, self.goal.coarser);
        let counted = [
            clamp(self.slices, depth.output),
            clamp(&self.lines, down.output),
            clamp(&self.columns, along.output),
        ];
        let (losses, totals) = ([l0, l1], [Total::default(); 2]);
        let scores = Scores { simd, window, constants, columns, width, counted, losses, totals };
        let (weights, weight_rows) = (self.goal.weights, [w0, w1]);
        let derive = Derive::<P, S, F> { scores, weights, wanted, weight_rows, memory: derivatives, starts: [None; BLOCK] };
        let moments = Moments::new(rows, &window.taps[2], down, width, ring, self.lines.clone());
        let moments =
            Slices::new(moments, &window.taps[1], Slots::new(depth), shape, deep, lines.clone(), self.slices.clone());
        let slots = Slots::new(depth.adjoint());
        let mut derivatives = Derivatives { derive, moments, slots, shape: back_shape, lines: lines.clone(), next: 0 };
        derivatives.start(simd, self.slices.start);
        let mut read = vec![0; down.taps() + BLOCK - 1];
        for start in self.slices.clone().step_by(BLOCK) {
            derivatives.need(simd, start);
            derivatives.across(simd, start, slab);
            for z in start..(start + BLOCK).min(self.slices.end) {
                let slice = &slab[(z - start) * back_shape.slice..][..back_shape.slice];
                for line in self.lines.clone().step_by(BLOCK) {
                    rows_of_block(down.adjoint(), line, &lines, &mut read);
                    let input = filter::Rows { memory: slice, len: back_shape.row, stride: back_shape.row, rows: &read };
                    filter::across::<_, _, F>(simd, &window.taps[1], input, &mut back);
                    for y in line..(line + BLOCK).min(self.lines.end) {
                        let (pixels, at) = derivatives.moments.moments.pixels(simd, [z, y], self.columns.start);
                        back.finish::<S, F>(simd, y - line, pixels, at);
                        back.write([z, y], (z - self.slices.start) * down.input + y, outputs);
                    }
                }
            }
        }
        Sums::new(derivatives.derive.scores.totals, derivatives.moments.moments.errors.value())
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
struct Derivatives<'a, P: Pixel, S: Simd, const F: usize> {
    derive: Derive<'a, P, S, F>,
    moments: Slices<'a, P>,
    slots: Slots,
    shape: Shape,
    /// Lines of the map.
    lines: Range<usize>,
    /// The next slice of the map to make.
    next: usize,
}

impl<P: Pixel, S: Simd, const F: usize> Derivatives<'_, P, S, F> {
    /// Prepares for blocks of gradient slices from `z` on.
    #[inline(always)]
    fn start(&mut self, simd: S, z: usize) {
        self.next = self.slots.reads(z).start;
        self.moments.start(simd, self.next);
    }

    /// Makes the derivatives that the block of gradient slices from `z` on depends on.
    #[inline(always)]
    fn need(&mut self, simd: S, z: usize) {
        while self.next < self.slots.reads(z).end {
            self.moments.need(simd, self.next);
            for line in self.lines.clone() {
                self.make(simd, line);
            }
            self.next += BLOCK;
        }
    }

    /// The derivatives at line `line` of the next block of slices of the map.
    #[inline(always)]
    fn make(&mut self, simd: S, line: usize) {
        let window = self.derive.scores.window;
        let slices = self.next..(self.next + BLOCK).min(window.borders[0].output);
        self.derive.starts = [None; BLOCK];
        for z in slices.clone() {
            self.derive.weigh([z, line], z - self.next);
            let start = self.slots.row(z) * self.shape.slice + (line - self.lines.start) * self.shape.row;
            self.derive.starts[z - self.next] = Some(start);
        }
        filter::across(simd, &window.taps[0], self.moments.rows(self.next, line), &mut self.derive);
        for z in slices {
            self.derive.scores.count([z, line], z - self.next);
        }
    }

    /// Filters across depth, into `BLOCK` slices.
    #[inline(always)]
    fn across(&mut self, simd: S, z: usize, slab: &mut [P::Real]) {
        let taps = &self.derive.scores.window.taps[0];
        for line in 0..self.lines.len() {
            let Shape { row, slice } = self.shape;
            let memory = &self.derive.memory[line * row..];
            let input = filter::Rows { memory, len: row, stride: slice, rows: self.slots.block(z) };
            let mut store = Store { memory: &mut slab[line * row..], stride: slice, row };
            filter::across::<_, _, F>(simd, taps, input, &mut store);
        }
    }
}
