//! The scan: one tile of one strip, value or value and gradient, of a plane or of a volume.
//!
//! 1. Rows are read and row-filtered (of a volume, then column-filtered within each slice): [`Sheets`].
//! 2. Blocks of sheets are column-filtered, across the scanned axis, and scored: [`Scores`].
//! 3. For a gradient, the derivatives with respect to the filtered features wait in a line buffer of their own, and are filtered
//!    back by the adjoint filter, columns first and rows last: [`PixelGradient`].

use std::ops::Range;

use super::adjoint::PixelGradient;
use super::basis::BasisRows;
use super::buffer::{Region, RowWriter};
use super::downsample::CoarserTile;
use super::errors::ErrorSlopes;
use super::filter::{self, BLOCK, Block};
use super::line_buffer::LineBuffer;
use super::rows::{RowReader, pivot};
use super::schedule::{Window, owned};
use super::score::{Both, Derivatives, Inputs, One, Scores};
use super::scratch::Scratch;
use super::sheets::{Shape, Sheets, Tile, places_of_block};
use super::simd::{Array, Real};
use super::sums::Errors;
use crate::measure::{Measure, Side};

/// A pair of planes with all that is known of it before the scan.
pub(super) struct Subject<'a, M: Measure, T: Real> {
    pub(super) readers: [&'a dyn RowReader<T>; 2],
    /// How much each pixel counts, if not all count alike.
    pub(super) mask: Option<&'a dyn RowReader<T>>,
    pub(super) window: &'a Window<T>,
    pub(super) constants: M::Constants<T>,
    /// The maps that anybody wants.
    pub(super) wanted: M::Maps<bool>,
    /// Charbonnier's ε.
    pub(super) epsilon: Option<T>,
}

impl<'a, M: Measure, T: Real> Subject<'a, M, T> {
    pub(super) fn new(
        measure: &M,
        (readers, mask): ([&'a dyn RowReader<T>; 2], Option<&'a dyn RowReader<T>>),
        window: &'a Window<T>,
        range: f64,
        wanted: M::Maps<bool>,
        epsilon: Option<T>,
    ) -> Self {
        // Rounded first, so that what is subtracted is what is added again.
        let pivot = if M::PIVOT { readers.map(|reader| T::of(pivot(reader, mask)).wide()) } else { [0.0; 2] };
        let constants = measure.constants(range, pivot, window.total());
        Self { readers, mask, window, constants, wanted, epsilon }
    }
}

/// The derivatives of what the gradient is of, with respect to the maps.
///
/// `D` are numbers of which there is one for each map.
#[derive(Clone)]
pub(crate) enum Upstream<'a, D, T> {
    /// With respect to the sum of each map.
    Sums(D),
    /// With respect to each place of each map.
    Maps(Vec<Option<&'a dyn RowReader<T>>>),
}

/// What a scan makes of a tile besides sums.
pub(super) struct Outputs<'a, T: Real> {
    /// One for each map, or none.
    pub(super) maps: Vec<Option<RowWriter<'a, T>>>,
    pub(super) coarser: Option<CoarserTile<'a, T>>,
    pub(super) errors: Option<RowWriter<'a, Errors>>,
    /// The gradients with respect to x and y.
    pub(super) gradients: [Option<RowWriter<'a, T>>; 2],
}

/// The sums of a tile's maps: of the sum block of this number, and of those that follow.
pub(super) type TileSums<M> = (usize, Vec<<M as Measure>::Maps<f64>>);

/// What the gradient is of: the maps, and the errors of pixels by their sums.
pub(super) struct Objective<'a, D, T> {
    pub(super) upstream: Upstream<'a, D, T>,
    pub(super) errors: ErrorSlopes,
}

/// The sums of a region's maps and what else is wanted of it; with an objective, its gradient.
pub(super) fn scan<M: Measure, T: Real>(
    subject: &Subject<M, T>,
    objective: Option<&Objective<M::Maps<f64>, T>>,
    region: &Region,
    outputs: Outputs<T>,
    scratch: &mut Scratch<T>,
) -> TileSums<M> {
    match objective {
        None => value(subject, region, outputs, scratch),
        Some(objective) => gradient(subject, objective, region, outputs, scratch),
    }
}

/// The maps of a region, and what else is wanted of them.
fn value<M: Measure, T: Real>(
    subject: &Subject<M, T>,
    region: &Region,
    outputs: Outputs<T>,
    scratch: &mut Scratch<T>,
) -> TileSums<M> {
    let Outputs { mut maps, mut coarser, errors, .. } = outputs;
    let (window, axis, [slices, lines, columns]) = (subject.window, subject.window.axis(), region.clone());
    let [_, vertical, horizontal] = window.borders;
    let tile = Tile { lines: lines.clone(), width: Scratch::<T>::padded(columns.len()) };
    let [sheets, slice] = Sheets::<M, T>::lens(window, &tile);
    let [basis, sheets, slice, scores] =
        scratch.cut([BasisRows::<M, T>::len(tile.width, horizontal), sheets, slice, Scores::<M, T>::len(tile.width)]);
    let basis = BasisRows::new(subject, &columns, owned(&columns, horizontal), tile.width, basis);
    let mut sheets = Sheets::new(basis, window, &tile, [sheets, slice], owned(&lines, vertical), errors);
    let mut scores = Scores::new(subject, columns, tile.width, region.clone(), scores);
    let strip = &region[axis];
    sheets.start(strip.start);
    for start in strip.clone().step_by(BLOCK) {
        sheets.need(start);
        let block = start..(start + BLOCK).min(strip.end);
        for line in if axis == 0 { lines.clone() } else { 0..1 } {
            filter::column_filter(window.arch, &window.taps[axis], sheets.block(start, line), scores.block());
            scores.score(block.len());
            for at in block.clone() {
                let place = if axis == 0 { [at, line] } else { [slices.start, at] };
                scores.count(place, at - start);
                scores.write(at - start, place, &mut maps);
            }
        }
        if let Some(coarser) = &mut coarser {
            coarser.up_to(axis, window.arch, subject.readers, sheets.made());
        }
    }
    if let Some(coarser) = coarser {
        coarser.finish(window.arch, subject.readers);
    }
    scores.sums()
}

/// The gradient with respect to the pixels of a region, and the sums of the maps.
fn gradient<M: Measure, T: Real>(
    subject: &Subject<M, T>,
    objective: &Objective<M::Maps<f64>, T>,
    region: &Region,
    outputs: Outputs<T>,
    scratch: &mut Scratch<T>,
) -> TileSums<M> {
    match outputs.gradients {
        [Some(_), Some(_)] => Gradient { subject, objective, region, inputs: Both }.scan(outputs, scratch),
        [_, None] => Gradient { subject, objective, region, inputs: One(Side::X) }.scan(outputs, scratch),
        [None, _] => Gradient { subject, objective, region, inputs: One(Side::Y) }.scan(outputs, scratch),
    }
}

struct Gradient<'a, 'p, M: Measure, T: Real, I> {
    subject: &'a Subject<'p, M, T>,
    objective: &'a Objective<'p, M::Maps<f64>, T>,
    region: &'a Region,
    inputs: I,
}

impl<M: Measure, T: Real, I: Inputs<M>> Gradient<'_, '_, M, T, I> {
    fn scan(&self, outputs: Outputs<T>, scratch: &mut Scratch<T>) -> TileSums<M> {
        let Outputs { mut coarser, errors, mut gradients, .. } = outputs;
        let (subject, window, axis) = (self.subject, self.subject.window, self.subject.window.axis());
        let [slices, lines, columns] = self.region.clone();
        let [_, vertical, horizontal] = window.borders;
        // The part of the map that the gradient of this region depends on.
        let map_columns = horizontal.adjoint().reads(columns.clone());
        let map_lines = if axis == 0 { vertical.adjoint().reads(lines.clone()) } else { 0..vertical.output };
        let tile = Tile { lines: map_lines.clone(), width: Scratch::<T>::padded(map_columns.len()) };
        let fields = I::Fields::<T>::LEN;
        // One row more, of zeros, for what is beyond the map.
        let shape = Shape::new::<T>(fields, (axis == 0).then(|| map_lines.len() + 1), tile.width);
        let [sheets, slice] = Sheets::<M, T>::lens(window, &tile);
        let [basis, sheets, slice, scores, weights, derivatives, sheets_of_block, pixels] = scratch.cut([
            BasisRows::<M, T>::len(tile.width, horizontal),
            sheets,
            slice,
            Scores::<M, T>::len(tile.width),
            Derivatives::<M, T, I>::weights_len(tile.width),
            shape.sheet * LineBuffer::of_blocks(window.borders[axis].adjoint()).count(),
            if axis == 0 { shape.sheet * BLOCK } else { 0 },
            PixelGradient::<M, T, I>::len(tile.width, horizontal),
        ]);
        let basis = BasisRows::new(subject, &map_columns, columns.clone(), tile.width, basis);
        let mut pixels = PixelGradient::new(
            subject,
            self.inputs,
            [&columns, &map_columns],
            tile.width,
            pixels,
            self.objective.errors,
        );
        let counted = [0, 1, 2].map(|at| clamp(&self.region[at], window.borders[at].output));
        let scores = Scores::new(subject, map_columns, tile.width, counted, scores);
        let derivatives = Derivatives::new(scores, self.objective.upstream.clone(), self.inputs, weights, derivatives);
        let sheets = Sheets::new(basis, window, &tile, [sheets, slice], lines.clone(), errors);
        let buffer = LineBuffer::of_blocks(window.borders[axis].adjoint());
        let mut maps = MapSheets { derivatives, sheets, buffer, shape, lines: map_lines, next: 0 };
        let strip = &self.region[axis];
        maps.start(strip.start);
        let mut volume = VolumeAdjoint::new(sheets_of_block, shape, &maps.lines, window);
        for start in strip.clone().step_by(BLOCK) {
            maps.need(start);
            let block = start..(start + BLOCK).min(strip.end);
            if axis == 1 {
                filter::column_filter(window.arch, &window.adjoint_taps[1], maps.block(start, 0), pixels.block());
                for y in block {
                    let images = maps.sheets.pixels([slices.start, y], &columns);
                    pixels.finish(y - start, images);
                    pixels.write([slices.start, y], images, &mut gradients);
                }
            } else {
                volume.depth_filter(&mut maps, start);
                for z in block {
                    for first in lines.clone().step_by(BLOCK) {
                        let input = volume.rows(z - start, first, fields);
                        filter::column_filter(window.arch, &window.adjoint_taps[1], input, pixels.block());
                        for y in first..(first + BLOCK).min(lines.end) {
                            let images = maps.sheets.pixels([z, y], &columns);
                            pixels.finish(y - first, images);
                            pixels.write([z, y], images, &mut gradients);
                        }
                    }
                }
            }
            if let Some(coarser) = &mut coarser {
                coarser.up_to(axis, window.arch, subject.readers, maps.sheets.made());
            }
        }
        if let Some(coarser) = coarser {
            coarser.finish(window.arch, subject.readers);
        }
        maps.derivatives.scores.sums()
    }
}

/// The part of `run` below `len`.
fn clamp(run: &Range<usize>, len: usize) -> Range<usize> {
    run.start.min(len)..run.end.min(len)
}

/// Sheets of derivatives with respect to the filtered features, waiting for the adjoint column filter.
struct MapSheets<'a, M: Measure, T: Real, I> {
    derivatives: Derivatives<'a, M, T, I>,
    sheets: Sheets<'a, M, T>,
    buffer: LineBuffer,
    shape: Shape,
    /// Rows of the map in a sheet of a volume.
    lines: Range<usize>,
    /// The next line of the map to make, along the scanned axis.
    next: usize,
}

impl<M: Measure, T: Real, I: Inputs<M>> MapSheets<'_, M, T, I> {
    /// Prepares for blocks of the gradient from line `line` of the scanned axis on.
    fn start(&mut self, line: usize) {
        self.next = self.buffer.reads(line).start;
        self.sheets.start(self.next);
        self.derivatives.memory[self.buffer.outside() * self.shape.sheet..][..self.shape.sheet].fill(T::default());
    }

    /// Makes the sheets that the block of the gradient from `line` on depends on.
    fn need(&mut self, line: usize) {
        let window = self.derivatives.scores.window();
        while self.next < self.buffer.reads(line).end {
            self.sheets.need(self.next);
            for line in if window.is_volume() { self.lines.clone() } else { 0..1 } {
                self.make(line);
            }
            self.next += BLOCK;
        }
    }

    /// Row `line` of the next block of sheets.
    fn make(&mut self, line: usize) {
        let window = self.derivatives.scores.window();
        let axis = window.axis();
        let block = self.next..(self.next + BLOCK).min(window.borders[axis].output);
        let place = |at: usize| if axis == 0 { [at, line] } else { [0, at] };
        let row = if axis == 0 { (line - self.lines.start) * self.shape.row } else { 0 };
        self.derivatives.starts = [None; BLOCK];
        for at in block.clone() {
            self.derivatives.weigh(place(at), at - self.next);
            self.derivatives.starts[at - self.next] = Some(self.buffer.place(at) * self.shape.sheet + row);
        }
        let filtered = self.sheets.block(self.next, line);
        filter::column_filter(window.arch, &window.taps[axis], filtered, self.derivatives.scores.block());
        self.derivatives.make();
        for at in block {
            self.derivatives.scores.count(place(at), at - self.next);
        }
    }

    /// Row `row` of the sheets that the block of the gradient from `line` on is made of.
    fn block(&mut self, line: usize, row: usize) -> filter::Rows<'_, T> {
        let Shape { row: len, sheet } = self.shape;
        let memory = &self.derivatives.memory[row * len..];
        filter::Rows { memory, fields: I::Fields::<T>::LEN, len, stride: sheet, rows: self.buffer.block(line) }
    }
}

/// Of a volume: `BLOCK` sheets after the adjoint filter over depth.
struct VolumeAdjoint<'a, T> {
    sheets_of_block: &'a mut [T],
    shape: Shape,
    lines: Range<usize>,
    window: &'a Window<T>,
    places: Vec<usize>,
}

impl<'a, T: Real> VolumeAdjoint<'a, T> {
    fn new(sheets_of_block: &'a mut [T], shape: Shape, lines: &Range<usize>, window: &'a Window<T>) -> Self {
        // Beyond the rows of the map there is one of zeros.
        for sheet in sheets_of_block.chunks_exact_mut(shape.sheet) {
            sheet[lines.len() * shape.row..][..shape.row].fill(T::default());
        }
        let places = vec![0; window.borders[1].taps() + BLOCK - 1];
        Self { sheets_of_block, shape, lines: lines.clone(), window, places }
    }

    fn depth_filter<M: Measure, I: Inputs<M>>(&mut self, maps: &mut MapSheets<'_, M, T, I>, z: usize) {
        for row in 0..self.lines.len() {
            let memory = &mut self.sheets_of_block[row * self.shape.row..];
            let output = Block { memory, row: self.shape.sheet, field: None };
            filter::column_filter(self.window.arch, &self.window.adjoint_taps[0], maps.block(z, row), output);
        }
    }

    /// The rows of a sheet that a block of rows of the gradient from `first` on is made of.
    fn rows(&mut self, sheet: usize, first: usize, fields: usize) -> filter::Rows<'_, T> {
        places_of_block(self.window.borders[1].adjoint(), first, &self.lines, &mut self.places);
        let (memory, len) = (&self.sheets_of_block[sheet * self.shape.sheet..][..self.shape.sheet], self.shape.row);
        filter::Rows { memory, fields, len, stride: len, rows: &self.places }
    }
}
