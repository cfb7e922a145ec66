//! From moments to SSIM: the last step of every walk.

use std::ops::Range;

use pulp::{Simd, WithSimd};

use super::filter::{BLOCK, Lines};
use super::formula::{Constants, Terms};
use super::lanes::{Lanes, Real};
use super::plane::Targets;
use super::subject::Subject;
use super::total::{Total, add_rows};
use super::value::Sums;
use super::window::{Window, clip, common};

/// Takes blocks of moments of a run of map columns; keeps what SSIM and contrast lack of 1, and adds it up.
pub(super) struct Scores<'a, T> {
    pub(super) window: &'a Window<T>,
    constants: &'a Constants<T>,
    pub(super) columns: Range<usize>,
    /// Columns, rounded up to whole vectors.
    pub(super) width: usize,
    /// The part of the map that counts into the sums; the rest is another tile's.
    counted: [Range<usize>; 3],
    /// `BLOCK` lines of a row for each of the four moments.
    moments: &'a mut [T],
    /// `BLOCK` rows of `1 - ssim`, as many of `1 - cs`.
    losses: [&'a mut [T]; 2],
    /// Of each band.
    totals: Vec<[Total; 2]>,
    /// Lines of a band.
    band: usize,
}

impl<'a, T: Real> Scores<'a, T> {
    /// Memory needed for rows of `width` (already padded): four moments, two losses.
    pub(super) fn len(width: usize) -> usize {
        6 * BLOCK * width
    }

    pub(super) fn new(
        subject: &'a Subject<T>,
        columns: Range<usize>,
        width: usize,
        counted: [Range<usize>; 3],
        memory: &'a mut [T],
    ) -> Self {
        let Subject { window, constants, .. } = subject;
        let (moments, losses) = memory.split_at_mut(4 * BLOCK * width);
        let losses = losses.split_at_mut(BLOCK * width).into();
        let band = window.bands().next().map_or(1, |band| band.len());
        let totals = vec![[Total::default(); 2]; counted[window.axis()].len().div_ceil(band)];
        Self { window, constants, columns, width, counted, moments, losses, totals, band }
    }

    /// Where the moments of a block go.
    pub(super) fn lines(&mut self) -> Lines<'_, T> {
        Lines { memory: self.moments, line: 4 * self.width, field: Some(self.width) }
    }

    /// Makes losses of the first `count` lines of a block.
    pub(super) fn score(&mut self, count: usize) {
        self.window.arch.dispatch(Score { count, scores: self });
    }

    /// The terms of the formula at position `at` of line `line` of the block; of its losses, those that are to be kept.
    #[inline(always)]
    pub(super) fn terms<S: Simd>(
        &mut self,
        simd: S,
        [ssim, contrast]: [bool; 2],
        line: usize,
        at: usize,
    ) -> Terms<T, S> {
        let moment = |moment| Lanes::load(simd, self.moments, (4 * line + moment) * self.width + at);
        let terms = Terms::new(simd, self.constants, [moment(0), moment(1), moment(2), moment(3)]);
        let loss = terms.loss();
        if ssim {
            loss.ssim.store(self.losses[0], line * self.width + at);
        }
        if contrast {
            loss.contrast.store(self.losses[1], line * self.width + at);
        }
        terms
    }

    /// Adds up row `row` of a block, which is line `y` of slice `z` of the map.
    pub(super) fn count(&mut self, [z, y]: [usize; 2], row: usize) {
        let [slices, lines, columns] = &self.counted;
        if !slices.contains(&z) || !lines.contains(&y) {
            return;
        }
        let start = row * self.width;
        let [ssim, contrast] = self.window.scored;
        let ssim = &self.losses[0][start..][if ssim { clip(&self.columns, columns) } else { 0..0 }];
        let inside = self.window.contrast_lines(0).contains(&z) && self.window.contrast_lines(1).contains(&y);
        let columns = if contrast && inside { common(columns, &self.window.contrast_lines(2)) } else { 0..0 };
        let contrast = &self.losses[1][start..][clip(&self.columns, &columns)];
        let axis = self.window.axis();
        let totals = &mut self.totals[([z, y][axis] - self.counted[axis].start) / self.band];
        add_rows(self.window.arch, totals, [ssim, contrast]);
    }

    /// Adds the sums of each band to `sums`.
    pub(super) fn add_to(&self, sums: &mut [Sums]) {
        for (sums, &totals) in sums.iter_mut().zip(&self.totals) {
            *sums += Sums::new(totals);
        }
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
            map.fetch((line + BLOCK) * map_width + self.columns.start, values.len());
        }
    }
}

struct Score<'a, 's, T> {
    count: usize,
    scores: &'a mut Scores<'s, T>,
}

impl<T: Real> WithSimd for Score<'_, '_, T> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        // A loop for each case, in which the compiler leaves out what is not wanted: contrast alone needs half of the formula.
        match self.scores.window.scored {
            [true, true] => self.score(simd, [true, true]),
            [true, false] => self.score(simd, [true, false]),
            [false, true] => self.score(simd, [false, true]),
            [false, false] => {}
        }
    }
}

impl<T: Real> Score<'_, '_, T> {
    #[inline(always)]
    fn score<S: Simd>(self, simd: S, scored: [bool; 2]) {
        for line in 0..self.count {
            for at in (0..self.scores.width).step_by(Lanes::<T, S>::COUNT) {
                self.scores.terms(simd, scored, line, at);
            }
        }
    }
}
