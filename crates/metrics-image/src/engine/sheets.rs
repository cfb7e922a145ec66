//! Filtered features of a tile, on the way to the last filter.
//!
//! A *sheet* is what lies at one line of the axis that is scanned: a row of a plane, row-filtered; of a volume, the tile's rows of a
//! slice, row- and column-filtered. A line buffer holds the sheets that the filter along the scanned axis reaches.

use std::ops::Range;

use super::basis::{BasisRows, PixelRows};
use super::border::Border;
use super::buffer::RowWriter;
use super::filter::{self, BLOCK, Block};
use super::line_buffer::LineBuffer;
use super::prefetch::Ahead;
use super::schedule::Window;
use super::scratch::Scratch;
use super::simd::{Array, Real};
use super::sums::{ERROR_RUN, Errors};
use crate::measure::Measure;

/// How the rows of a sheet lie in memory.
#[derive(Clone, Copy)]
pub(super) struct Shape {
    /// Length of a row of all fields.
    pub(super) row: usize,
    /// Distance from the start of one sheet to that of the next: of a volume, whole blocks of rows.
    pub(super) sheet: usize,
}

impl Shape {
    /// `rows` are those of a volume's sheet.
    pub(super) fn new<T: Real>(fields: usize, rows: Option<usize>, width: usize) -> Self {
        let (row, rows) = (fields * width, rows.map_or(1, |rows| rows.next_multiple_of(BLOCK)));
        Self { row, sheet: Scratch::<T>::spread(row * rows) }
    }
}

/// The rows of the tile: read, and row-filtered.
struct Rows<'a, M: Measure, T: Real> {
    basis: BasisRows<'a, M, T>,
    window: &'a Window<T>,
    /// Working memory of the row filter.
    features: Vec<T>,
    /// The rows whose pixels count into the errors, and where those go.
    owned: Range<usize>,
    errors: Option<(RowWriter<'a, Errors>, Vec<Errors>)>,
}

impl<M: Measure, T: Real> Rows<'_, M, T> {
    fn make(&mut self, at: [usize; 2], out: &mut [T]) {
        let mut errors = self.errors.as_mut().filter(|(writer, _)| self.owned.contains(&at[1]) && writer.wants(at));
        let (basis, ahead) = self.basis.read(at, errors.as_mut().map(|(_, runs)| &mut runs[..]));
        filter::feature_filter::<M, T>(self.window.arch, &self.window.taps[2], basis, ahead, &mut self.features, out);
        if let Some((writer, runs)) = errors {
            writer.write(at, self.basis.owned().start / ERROR_RUN, runs);
        }
    }

    fn make_outside(&mut self, out: &mut [T]) {
        let basis = self.basis.outside();
        filter::feature_filter::<M, T>(
            self.window.arch,
            &self.window.taps[2],
            basis,
            Ahead::default(),
            &mut self.features,
            out,
        );
    }
}

/// Rows of a slice, waiting for the column filter.
struct Slice<'a, T> {
    buffer: LineBuffer,
    memory: &'a mut [T],
    stride: usize,
}

/// The sheets of one tile.
pub(super) struct Sheets<'a, M: Measure, T: Real> {
    rows: Rows<'a, M, T>,
    /// Only of a volume.
    slice: Option<Slice<'a, T>>,
    buffer: LineBuffer,
    shape: Shape,
    memory: &'a mut [T],
    /// Rows of the map.
    lines: Range<usize>,
    /// The next sheet to make.
    next: usize,
}

/// What sheets are made of and for.
pub(super) struct Tile {
    /// Rows of the map; of a plane, all of the strip's.
    pub(super) lines: Range<usize>,
    /// Columns of the map, rounded up to whole vectors.
    pub(super) width: usize,
}

impl<'a, M: Measure, T: Real> Sheets<'a, M, T> {
    const FIELDS: usize = M::Fields::<T>::LEN;

    fn shape(window: &Window<T>, tile: &Tile) -> Shape {
        Shape::new::<T>(Self::FIELDS, window.is_volume().then(|| tile.lines.len()), tile.width)
    }

    fn slice_stride(width: usize) -> usize {
        Scratch::<T>::spread(Self::FIELDS * width)
    }

    /// Memory needed: for the sheets, and for the rows of a slice.
    pub(super) fn lens(window: &Window<T>, tile: &Tile) -> [usize; 2] {
        let axis = window.axis();
        let sheets = Self::shape(window, tile).sheet * LineBuffer::new(window.borders[axis]).count();
        let slice = Self::slice_stride(tile.width) * LineBuffer::new(window.borders[1]).count();
        [sheets, if window.is_volume() { slice } else { 0 }]
    }

    pub(super) fn new(
        basis: BasisRows<'a, M, T>,
        window: &'a Window<T>,
        tile: &Tile,
        [memory, slice]: [&'a mut [T]; 2],
        owned: Range<usize>,
        errors: Option<RowWriter<'a, Errors>>,
    ) -> Self {
        let runs = basis.owned().len().div_ceil(ERROR_RUN);
        let errors = errors.map(|writer| (writer, vec![Errors::default(); runs]));
        let stride = Self::slice_stride(tile.width);
        let slice =
            window.is_volume().then(|| Slice { buffer: LineBuffer::new(window.borders[1]), memory: slice, stride });
        Self {
            rows: Rows { basis, window, features: Vec::new(), owned, errors },
            slice,
            buffer: LineBuffer::new(window.borders[window.axis()]),
            shape: Self::shape(window, tile),
            memory,
            lines: tile.lines.clone(),
            next: 0,
        }
    }

    /// Prepares for blocks of the map from line `output` of the scanned axis on.
    pub(super) fn start(&mut self, output: usize) {
        self.next = self.buffer.reads(output).start;
        let row = self.shape.row;
        let outside = &mut self.memory[self.buffer.outside() * self.shape.sheet..][..self.shape.sheet];
        self.rows.make_outside(&mut outside[..row]);
        let (first, rest) = outside.split_at_mut(row);
        rest.chunks_exact_mut(row).for_each(|rest| rest.copy_from_slice(first));
        if let Some(Slice { buffer, memory, stride }) = &mut self.slice {
            memory[buffer.outside() * *stride..][..row].copy_from_slice(first);
        }
    }

    /// Makes the sheets that the block of the map from `output` on needs.
    pub(super) fn need(&mut self, output: usize) {
        while self.next < self.buffer.reads(output).end {
            let sheet = &mut self.memory[self.buffer.place(self.next) * self.shape.sheet..][..self.shape.sheet];
            match &mut self.slice {
                None => self.rows.make([0, self.next], &mut sheet[..self.shape.row]),
                Some(slice) => slice.filter(&mut self.rows, self.next, &self.lines, self.shape.row, sheet),
            }
            self.next += 1;
        }
    }

    /// Row `line` of the map (of a plane there is but one in a sheet), in the sheets that the block from `output` on is made of.
    pub(super) fn block(&mut self, output: usize, line: usize) -> filter::Rows<'_, T> {
        let Shape { row, sheet } = self.shape;
        let memory = &self.memory[if self.slice.is_some() { (line - self.lines.start) * row } else { 0 }..];
        filter::Rows { memory, fields: Self::FIELDS, len: row, stride: sheet, rows: self.buffer.block(output) }
    }

    /// Up to which line of the scanned axis sheets have been made.
    pub(super) fn made(&self) -> usize {
        self.next
    }

    /// The pixels of `columns`, and whatever up to the next whole vector.
    pub(super) fn pixels(&mut self, at: [usize; 2], columns: &Range<usize>) -> PixelRows<'_, T> {
        self.rows.basis.pixels(at, columns)
    }
}

impl<T: Real> Slice<'_, T> {
    /// Filters `lines` of the map in slice `z`.
    fn filter<M: Measure>(
        &mut self,
        rows: &mut Rows<'_, M, T>,
        z: usize,
        lines: &Range<usize>,
        row: usize,
        sheet: &mut [T],
    ) {
        let Self { buffer, memory, stride } = self;
        let mut next = buffer.reads(lines.start).start;
        for start in lines.clone().step_by(BLOCK) {
            while next < buffer.reads(start).end {
                rows.make([z, next], &mut memory[buffer.place(next) * *stride..][..row]);
                next += 1;
            }
            let fields = M::Fields::<T>::LEN;
            let input = filter::Rows { memory, fields, len: row, stride: *stride, rows: buffer.block(start) };
            let output = Block { memory: &mut sheet[(start - lines.start) * row..][..BLOCK * row], row, field: None };
            filter::column_filter(rows.window.arch, &rows.window.taps[1], input, output);
        }
    }
}

/// The places, of those that hold `lines` and the one of zeros after them, that a block of output lines is made of.
pub(super) fn places_of_block(border: Border, output: usize, lines: &Range<usize>, places: &mut [usize]) {
    for (at, place) in places.iter_mut().enumerate() {
        // Surplus lines of the block may read any row.
        let clamped = |line: usize| line.saturating_sub(lines.start).min(lines.len() - 1);
        *place = border.line(output + at).map_or(lines.len(), clamped);
    }
}
