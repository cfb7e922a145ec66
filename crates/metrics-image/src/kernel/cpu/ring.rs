//! The last few rows of a tile, filtered along the row, waiting to be filtered across.

use std::ops::Range;

use pulp::Arch;

use super::ahead::Ahead;
use super::border::Border;
use super::filter::{self, BLOCK};
use super::lanes::Real;
use super::pixels::Rows;
use super::scratch::Scratch;
use super::total::ErrorRows;
use super::window::Window;

/// Which row of a ring holds which line.
pub(super) struct Slots {
    border: Border,
    /// Rows that hold lines; one more holds what is outside the image.
    lines: usize,
    rows: Vec<usize>,
}

impl Slots {
    /// For lines that come one by one as they are needed.
    pub(super) fn new(border: Border) -> Self {
        let block = border.taps() + BLOCK - 1;
        Self { border, lines: block, rows: vec![0; block] }
    }

    /// For lines that come in blocks, the last of which may hold more than is needed yet.
    pub(super) fn of_blocks(border: Border) -> Self {
        let slots = Self::new(border);
        Self { lines: slots.lines + BLOCK - 1, ..slots }
    }

    /// Rows of memory the ring takes.
    pub(super) fn count(&self) -> usize {
        self.lines + 1
    }

    pub(super) fn row(&self, line: usize) -> usize {
        line % self.lines
    }

    pub(super) fn outside(&self) -> usize {
        self.lines
    }

    /// The rows that a block of output lines from `output` on is made of.
    pub(super) fn block(&mut self, output: usize) -> &[usize] {
        for (at, row) in self.rows.iter_mut().enumerate() {
            *row = self.border.line(output + at).map_or(self.lines, |line| line % self.lines);
        }
        &self.rows
    }

    /// The input lines that a block of output lines reads.
    pub(super) fn reads(&self, output: usize) -> Range<usize> {
        self.border.reads(output..output + BLOCK)
    }
}

/// Moments of `u` and `v` along the rows of one tile.
pub(super) struct Moments<'a, T> {
    arch: Arch,
    rows: Rows<'a, T>,
    taps: &'a [T],
    slots: Slots,
    memory: &'a mut [T],
    /// Length of a row of all fields, and distance between rows.
    len: usize,
    stride: usize,
    /// The next line to read.
    next: usize,
    /// The lines whose pixels count into the errors, and those.
    owned: Range<usize>,
    errors: Option<ErrorRows<'a>>,
}

impl<'a, T: Real> Moments<'a, T> {
    /// Memory needed for rows of `width` (already padded).
    pub(super) fn len(width: usize, down: Border) -> usize {
        Scratch::<T>::spread(4 * width) * Slots::new(down).count()
    }

    pub(super) fn new(
        rows: Rows<'a, T>,
        window: &'a Window<T>,
        width: usize,
        memory: &'a mut [T],
        owned: Range<usize>,
        errors: Option<ErrorRows<'a>>,
    ) -> Self {
        let (arch, taps, slots) = (window.arch, &window.taps[2], Slots::new(window.borders[1]));
        Self {
            arch,
            rows,
            taps,
            slots,
            memory,
            len: 4 * width,
            stride: Scratch::<T>::spread(4 * width),
            next: 0,
            owned,
            errors,
        }
    }

    /// Prepares for blocks from output line `output` on.
    pub(super) fn start(&mut self, output: usize) {
        self.next = self.slots.reads(output).start;
        let [u, v] = self.rows.outside();
        let out = &mut self.memory[self.slots.outside() * self.stride..][..self.len];
        filter::moments_along(self.arch, self.taps, [u, v], Ahead::default(), out);
    }

    /// The row of what is outside the image.
    pub(super) fn outside(&self) -> &[T] {
        &self.memory[self.slots.outside() * self.stride..][..self.len]
    }

    /// Reads what the block of output lines from `output` on needs.
    pub(super) fn block(&mut self, z: usize, output: usize) -> filter::Rows<'_, T> {
        let reads = self.slots.reads(output);
        while self.next < reads.end {
            let owned = self.owned.contains(&self.next);
            let errors = self.errors.as_mut().filter(|_| owned).and_then(|errors| errors.row(z, self.next));
            let (row, ahead) = self.rows.read(z, self.next, errors);
            let out = &mut self.memory[self.slots.row(self.next) * self.stride..][..self.len];
            filter::moments_along(self.arch, self.taps, row, ahead, out);
            self.next += 1;
        }
        filter::Rows {
            memory: self.memory,
            fields: 4,
            len: self.len,
            stride: self.stride,
            rows: self.slots.block(output),
        }
    }

    /// Up to which line has been read.
    pub(super) fn read(&self) -> usize {
        self.next
    }

    /// The pixels of `columns` at a line that has been read before, and whatever up to the next whole vector.
    pub(super) fn pixels(&mut self, at: [usize; 2], columns: &Range<usize>) -> [&[T]; 2] {
        self.rows.pixels(at, columns)
    }
}
