//! The last leg of the way back: from derivatives with respect to the moments of a block of lines to derivatives with respect to
//! their pixels.

use std::ops::Range;

use pulp::Simd;

use super::border::{Border, Margins};
use super::derivatives::{Goal, Wanted};
use super::errors::add_slope;
use super::filter::{self, BLOCK, Lines, Sink};
use super::lanes::{Lanes, Real};
use super::pixels::Pivot;
use super::plane::Targets;
use super::scratch::Scratch;
use super::subject::Subject;
use super::window::Window;

/// Takes `BLOCK` lines of derivatives that have been filtered across, with room at both ends for what is outside the map.
pub(super) struct Back<'a, T> {
    window: &'a Window<T>,
    wanted: Wanted,
    pivot: Pivot<T>,
    /// Columns of the gradient.
    columns: Range<usize>,
    margins: Margins,
    rows: &'a mut [T],
    stride: usize,
    /// A row of the gradient with respect to x and with respect to y.
    gradient: [&'a mut [T]; 2],
    goal: Goal<'a, T>,
}

impl<'a, T: Real> Back<'a, T> {
    fn stride(width: usize, along: Border) -> usize {
        // The gradient may be wider than the map by all but one of the taps, and so much is read beyond it; then surplus lanes.
        Scratch::<T>::spread(width + 2 * along.taps() + Scratch::<T>::padded(1))
    }

    /// Memory for rows of `width` (already padded) of `fields` fields.
    pub(super) fn len(width: usize, along: Border, fields: usize) -> usize {
        (fields * BLOCK + 2) * Self::stride(width, along)
    }

    /// For the gradient at `columns` from the derivatives at `map_columns`.
    pub(super) fn new(
        subject: &'a Subject<T>,
        wanted: Wanted,
        columns: &Range<usize>,
        map_columns: &Range<usize>,
        width: usize,
        memory: &'a mut [T],
        goal: Goal<'a, T>,
    ) -> Self {
        let Subject { window, pivot, .. } = *subject;
        let stride = Self::stride(width, window.borders[2]);
        let (gradient, rows) = memory.split_at_mut(2 * stride);
        let margins = Margins::new(window.borders[2].adjoint(), columns, map_columns);
        let gradient = gradient.split_at_mut(stride).into();
        Self { window, wanted, pivot, columns: columns.clone(), margins, rows, stride, gradient, goal }
    }

    /// Where the derivatives go that have been filtered across.
    pub(super) fn lines(&mut self) -> Lines<'_, T> {
        let field = Some(BLOCK * self.stride);
        Lines { memory: &mut self.rows[self.margins.start..], line: self.stride, field }
    }

    /// Filters line `line` of the block along; the pixels of both images there are `x` and `y`.
    pub(super) fn finish<const F: usize>(&mut self, line: usize, [x, y]: [&[T]; 2]) {
        for field in 0..F {
            self.margins.fill(&mut self.rows[(field * BLOCK + line) * self.stride..][..self.stride], T::default());
        }
        let mut rows: [&[T]; F] = [&[]; F];
        for (field, row) in rows.iter_mut().enumerate() {
            *row = &self.rows[(field * BLOCK + line) * self.stride..][..self.stride];
        }
        let [dx, dy] = &mut self.gradient;
        let mut sink = Combine { wanted: self.wanted, pivot: self.pivot, x, y, dx, dy };
        filter::along(self.window.arch, &self.window.taps[2], rows, self.columns.len(), &mut sink);
    }

    /// Writes what [`finish`](Self::finish) made, line `y` of slice `z` of the plane, to line `line` of the outputs.
    pub(super) fn write(&mut self, [z, y]: [usize; 2], line: usize, pixels: [&[T]; 2], outputs: &mut Targets<T>) {
        let width = self.window.borders[2].input;
        let Goal { errors, coarser, .. } = self.goal;
        for (side, output) in outputs.iter_mut().enumerate() {
            let Some(output) = output else { continue };
            let gradient = &mut self.gradient[side][..self.columns.len()];
            self.window.fold([z, y], &self.columns, gradient, |value, factor| value / factor);
            if errors != [0.0; 2] {
                add_slope(self.window.arch, pixels, errors, side, gradient);
            }
            if let Some(coarser) = coarser[side] {
                coarser.add(self.window.arch, [z, y], &self.columns, gradient);
            }
            output.write(line * width + self.columns.start, gradient);
            output.fetch((line + BLOCK) * width + self.columns.start, gradient.len());
        }
    }
}

/// Takes filtered derivatives with respect to moments, makes derivatives with respect to pixels.
struct Combine<'a, T> {
    wanted: Wanted,
    pivot: Pivot<T>,
    x: &'a [T],
    y: &'a [T],
    dx: &'a mut [T],
    dy: &'a mut [T],
}

impl<T: Real, const F: usize> Sink<T, F> for Combine<'_, T> {
    #[inline(always)]
    fn put<S: Simd>(&mut self, simd: S, at: usize, fields: [Lanes<T, S>; F]) {
        let two = Lanes::splat(simd, T::of(2.0));
        let x = Lanes::load(simd, self.x, at) - Lanes::splat(simd, self.pivot.x);
        let y = Lanes::load(simd, self.y, at) - Lanes::splat(simd, self.pivot.y);
        let (u, v) = (two * (x + y), two * (x - y));
        match self.wanted {
            Wanted::Both => {
                let (du, dv) = (u.mul_add(fields[2], fields[0]), v.mul_add(fields[F - 1], fields[1]));
                (du + dv).store(self.dx, at);
                (du - dv).store(self.dy, at);
            }
            Wanted::X => v.mul_add(fields[2], u.mul_add(fields[1], fields[0])).store(self.dx, at),
            Wanted::Y => (-v).mul_add(fields[2], u.mul_add(fields[1], fields[0])).store(self.dy, at),
        }
    }
}
