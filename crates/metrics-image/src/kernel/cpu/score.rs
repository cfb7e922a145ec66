//! From moments to SSIM: the last step of every walk.

use std::ops::Range;

use pulp::Simd;

use super::filter::{BLOCK, Sink};
use super::formula::{Constants, Terms};
use super::lanes::{Lanes, Real};
use super::plane::Targets;
use super::total::{Total, add_rows};
use super::window::{Window, clip, common};

/// Takes blocks of moments of a run of map columns; keeps what SSIM and contrast lack of 1, and adds it up.
pub(super) struct Scores<'a, T> {
    pub(super) window: &'a Window<T>,
    pub(super) constants: &'a Constants<T>,
    pub(super) columns: Range<usize>,
    /// Columns, rounded up to whole vectors.
    pub(super) width: usize,
    /// The part of the map that counts into the sums; the rest is another tile's.
    pub(super) counted: [Range<usize>; 3],
    /// `BLOCK` rows of `1 - ssim`, as many of `1 - cs`.
    pub(super) losses: [&'a mut [T]; 2],
    pub(super) totals: [Total; 2],
}

impl<T: Real> Scores<'_, T> {
    /// Length of each of the rows of losses.
    pub(super) fn len(width: usize) -> usize {
        BLOCK * width
    }

    /// Keeps row `row` of a block.
    #[inline(always)]
    pub(super) fn keep<S: Simd>(&mut self, row: usize, at: usize, terms: &Terms<T, S>) {
        let loss = terms.loss();
        loss.ssim.store(self.losses[0], row * self.width + at);
        loss.contrast.store(self.losses[1], row * self.width + at);
    }

    /// Adds up row `row` of a block, which is line `y` of slice `z` of the map.
    pub(super) fn count(&mut self, [z, y]: [usize; 2], row: usize) {
        let [slices, lines, columns] = &self.counted;
        if !slices.contains(&z) || !lines.contains(&y) {
            return;
        }
        let start = row * self.width;
        let ssim = &self.losses[0][start..][clip(&self.columns, columns)];
        let counts = self.window.contrast_lines(0).contains(&z) && self.window.contrast_lines(1).contains(&y);
        let columns = if counts { common(columns, &self.window.contrast_lines(2)) } else { 0..0 };
        let contrast = &self.losses[1][start..][clip(&self.columns, &columns)];
        add_rows(self.window.arch, &mut self.totals, [ssim, contrast]);
    }

    /// Writes row `row` of a block to line `line` of the maps.
    pub(super) fn write(&mut self, row: usize, line: usize, maps: &mut Targets<T>) {
        let start = row * self.width;
        let map_width = self.window.borders[2].output;
        for (losses, map) in self.losses.iter_mut().zip(maps) {
            let Some(map) = map else { continue };
            let values = &mut losses[start..start + self.columns.len()];
            values.iter_mut().for_each(|loss| *loss = T::of(1.0) - *loss);
            map.write(line * map_width + self.columns.start, values);
        }
    }
}

impl<T: Real> Sink<T, 4> for Scores<'_, T> {
    #[inline(always)]
    fn put<S: Simd>(&mut self, simd: S, line: usize, at: usize, moments: [Lanes<T, S>; 4]) {
        let terms = Terms::new(simd, self.constants, moments);
        self.keep(line, at, &terms);
    }
}
