//! Reading rows of two planes as their sum and difference around a pivot.
//!
//! Everything SSIM needs follows from the sum `u = x + y` and the difference `v = x - y`: with `P`, `Q` the variances of `u`, `v`
//! and `A`, `B` their squared means, `2·mx·my = (A - B) / 2`, `mx² + my² = (A + B) / 2`, `2·sxy = (P - Q) / 2` and
//! `sx² + sy² = (P + Q) / 2`. Two squares take the place of `x² + y²` and `x·y`, `P, Q ≥ 0` bounds the covariance, and two equal
//! images have `v = 0` and score exactly 1.

use std::ops::Range;

use pulp::Simd;

use super::border::{Border, Margins};
use super::lanes::{Lanes, Real};
use super::plane::{Pixel, Plane};
use super::total::ErrorTotal;

/// Rows between the one that is read and the one that is asked for.
const AHEAD: usize = 2;

/// What is subtracted from the pixels of a pair, so that squares of large values do not eat up small variances.
#[derive(Clone, Copy)]
pub(super) struct Pivot<T> {
    pub(super) x: T,
    pub(super) y: T,
}

impl<T: Real> Pivot<T> {
    pub(super) fn of<P: Pixel<Real = T>>(pair: &Pair<P>) -> Self {
        Self { x: T::of(pair.x.pivot()), y: T::of(pair.y.pivot()) }
    }
}

/// The same plane of two images.
#[derive(Clone, Copy)]
pub(crate) struct Pair<'a, P> {
    pub(crate) x: Plane<'a, P>,
    pub(crate) y: Plane<'a, P>,
}

/// Reads the columns that one run of map columns needs.
pub(super) struct Rows<'a, P: Pixel> {
    pair: Pair<'a, P>,
    pivot: Pivot<P::Real>,
    /// Columns fetched from the planes.
    fetch: Range<usize>,
    /// Of them, the columns that count into the errors.
    owned: Range<usize>,
    margins: Margins,
    buffers: [&'a mut [P::Real]; 2],
    u: &'a mut [P::Real],
    v: &'a mut [P::Real],
}

impl<'a, P: Pixel> Rows<'a, P> {
    /// Length of each of the four buffers for a run of `width` map columns.
    pub(super) fn len(width: usize, border: Border) -> usize {
        // Surplus lanes of the last vector read beyond the columns needed.
        super::scratch::Scratch::<P::Real>::padded(width + border.taps() - 1) + super::scratch::Scratch::<P::Real>::padded(1)
    }

    pub(super) fn new(
        pair: Pair<'a, P>,
        pivot: Pivot<P::Real>,
        border: Border,
        columns: &Range<usize>,
        owned: Range<usize>,
        [a, b, u, v]: [&'a mut [P::Real]; 4],
    ) -> Self {
        let reads = border.reads(columns.clone());
        // Whole vectors where the image has the pixels: surplus ones do no harm.
        let room = u.len() - border.position(columns, reads.start);
        let fetch = reads.start..(reads.start + reads.len().next_multiple_of(16).min(room)).min(border.input);
        let margins = Margins::new(border, columns, &fetch);
        Self { pair, pivot, fetch, owned, margins, buffers: [a, b], u, v }
    }

    /// Where the pixel of column `column` stands in the padded rows.
    pub(super) fn position(&self, column: usize) -> usize {
        self.margins.start + column - self.fetch.start
    }

    /// The padded rows of `u` and `v`; with `count`, the errors of the owned pixels too.
    #[inline(always)]
    pub(super) fn read<S: Simd>(&mut self, simd: S, z: usize, line: usize, errors: Option<&mut ErrorTotal>) -> [&[P::Real]; 2] {
        let [a, b] = &mut self.buffers;
        self.pair.x.prefetch(z, line + AHEAD, self.fetch.clone());
        self.pair.y.prefetch(z, line + AHEAD, self.fetch.clone());
        let x = self.pair.x.row(z, line, self.fetch.clone(), a);
        let y = self.pair.y.row(z, line, self.fetch.clone(), b);
        if let Some(errors) = errors {
            let owned = self.owned.start - self.fetch.start..self.owned.end - self.fetch.start;
            errors.add_rows(simd, &x[owned.clone()], &y[owned]);
        }
        let inside = self.margins.start..self.margins.start + x.len();
        centre(simd, [x, y], self.pivot, &mut self.u[inside.clone()], &mut self.v[inside]);
        let [u, v] = centred(P::Real::default(), P::Real::default(), self.pivot);
        self.margins.fill(self.u, u);
        self.margins.fill(self.v, v);
        [self.u, self.v]
    }

    /// The rows of a line of zeros outside the image.
    pub(super) fn outside(&mut self) -> [&[P::Real]; 2] {
        let [u, v] = centred(P::Real::default(), P::Real::default(), self.pivot);
        self.u.fill(u);
        self.v.fill(v);
        [self.u, self.v]
    }
}

/// Rounded as vectors are, so that a pixel's values do not depend on the tile it is read for.
#[inline(always)]
fn centred<T: Real>(x: T, y: T, pivot: Pivot<T>) -> [T; 2] {
    let (x, y) = (x - pivot.x, y - pivot.y);
    [x + y, x - y]
}

#[inline(always)]
fn centre<T: Real, S: Simd>(simd: S, [x, y]: [&[T]; 2], pivot: Pivot<T>, u: &mut [T], v: &mut [T]) {
    let (pivot_x, pivot_y) = (Lanes::splat(simd, pivot.x), Lanes::splat(simd, pivot.y));
    let len = x.len();
    let (y, u, v) = (&y[..len], &mut u[..len], &mut v[..len]);
    let mut at = 0;
    while at + Lanes::<T, S>::COUNT <= len {
        let x = Lanes::load(simd, x, at) - pivot_x;
        let y = Lanes::load(simd, y, at) - pivot_y;
        (x + y).store(u, at);
        (x - y).store(v, at);
        at += Lanes::<T, S>::COUNT;
    }
    for at in at..len {
        [u[at], v[at]] = centred(x[at], y[at], pivot);
    }
}
