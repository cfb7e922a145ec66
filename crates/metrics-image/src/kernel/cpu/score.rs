//! From moments to SSIM: the last step of every walk.

use std::ops::Range;

use pulp::Simd;

use super::filter::{BLOCK, Sink};
use super::formula::{Constants, Terms};
use super::lanes::{Lanes, Real};
use super::plane::Pixel;
use super::total::Total;
use super::window::{Window, clip, common};

/// Where the maps of SSIM and of contrast go, if they are wanted: dense slices or lines of the task's part.
pub(super) type Maps<'a, P> = [Option<&'a mut [P]>; 2];

/// Takes blocks of moments of a run of map columns; keeps what SSIM and contrast lack of 1, and adds it up.
pub(super) struct Scores<'a, T: Real, S: Simd> {
    pub(super) simd: S,
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

impl<T: Real, S: Simd> Scores<'_, T, S> {
    /// Length of each of the rows of losses.
    pub(super) fn len(width: usize) -> usize {
        BLOCK * width
    }

    /// Keeps row `row` of a block.
    #[inline(always)]
    pub(super) fn keep(&mut self, row: usize, at: usize, terms: &Terms<T, S>) {
        let loss = terms.loss();
        loss.ssim.store(self.losses[0], row * self.width + at);
        loss.contrast.store(self.losses[1], row * self.width + at);
    }

    /// Adds up row `row` of a block, which is line `y` of slice `z` of the map.
    #[inline(always)]
    pub(super) fn count(&mut self, [z, y]: [usize; 2], row: usize) {
        let [slices, lines, columns] = &self.counted;
        if !slices.contains(&z) || !lines.contains(&y) {
            return;
        }
        let start = row * self.width;
        self.totals[0].add_row(self.simd, &self.losses[0][start..][clip(&self.columns, columns)]);
        if self.window.contrast_lines(0).contains(&z) && self.window.contrast_lines(1).contains(&y) {
            let columns = common(columns, &self.window.contrast_lines(2));
            self.totals[1].add_row(self.simd, &self.losses[1][start..][clip(&self.columns, &columns)]);
        }
    }

    /// Writes row `row` of a block to line `line` of the maps.
    #[inline(always)]
    pub(super) fn write<P: Pixel<Real = T>>(&mut self, row: usize, line: usize, maps: &mut Maps<P>) {
        let start = row * self.width;
        let map_width = self.window.borders[2].output;
        for (losses, map) in self.losses.iter_mut().zip(maps) {
            let Some(map) = map else { continue };
            let values = &mut losses[start..start + self.columns.len()];
            values.iter_mut().for_each(|loss| *loss = T::of(1.0 - loss.wide()));
            P::narrow(values, &mut map[line * map_width..][self.columns.clone()]);
        }
    }
}

impl<T: Real, S: Simd> Sink<T, S, 4> for Scores<'_, T, S> {
    #[inline(always)]
    fn put(&mut self, line: usize, at: usize, moments: [Lanes<T, S>; 4]) {
        let terms = Terms::new(self.simd, self.constants, moments);
        self.keep(line, at, &terms);
    }
}
