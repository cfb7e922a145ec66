//! The last rows (of a volume: slices) of a tile, waiting for the column filter.

use std::ops::Range;

use super::border::Border;
use super::filter::BLOCK;

/// Which place of the line buffer holds which line of its axis.
pub(super) struct LineBuffer {
    border: Border,
    /// Places that hold lines; one more holds what is outside the image.
    lines: usize,
    places: Vec<usize>,
}

impl LineBuffer {
    /// For lines that come one by one as they are needed.
    pub(super) fn new(border: Border) -> Self {
        let block = border.taps() + BLOCK - 1;
        Self { border, lines: block, places: vec![0; block] }
    }

    /// For lines that come in blocks, the last of which may hold more than is needed yet.
    pub(super) fn of_blocks(border: Border) -> Self {
        let buffer = Self::new(border);
        Self { lines: buffer.lines + BLOCK - 1, ..buffer }
    }

    /// How many places there are.
    pub(super) fn count(&self) -> usize {
        self.lines + 1
    }

    /// The place of a line.
    pub(super) fn place(&self, line: usize) -> usize {
        line % self.lines
    }

    /// The place of what is outside the image.
    pub(super) fn outside(&self) -> usize {
        self.lines
    }

    /// The places that a block of output lines from `output` on is made of.
    pub(super) fn block(&mut self, output: usize) -> &[usize] {
        for (at, place) in self.places.iter_mut().enumerate() {
            *place = self.border.line(output + at).map_or(self.lines, |line| line % self.lines);
        }
        &self.places
    }

    /// The input lines that a block of output lines reads.
    pub(super) fn reads(&self, output: usize) -> Range<usize> {
        self.border.reads(output..output + BLOCK)
    }
}
