//! Reading rows of two planes as their sum and difference around a pivot.
//!
//! Everything SSIM needs follows from the sum `u = x + y` and the difference `v = x - y`: with `P`, `Q` the variances of `u`, `v`
//! and `A`, `B` their squared means, `2·mx·my = (A - B) / 2`, `mx² + my² = (A + B) / 2`, `2·sxy = (P - Q) / 2` and
//! `sx² + sy² = (P + Q) / 2`. Two squares take the place of `x² + y²` and `x·y`, `P, Q ≥ 0` bounds the covariance, and two equal
//! images have `v = 0` and score exactly 1.

use std::ops::Range;

use pulp::{Arch, Simd, WithSimd};

use super::ahead::Ahead;
use super::border::{Border, Margins};
use super::lanes::{Lanes, Real};
use super::plane::Sources;
use super::scratch::Scratch;
use super::subject::Subject;
use super::total::Errors;

/// Rows between the one that is read and the one that is asked for.
const AHEAD: usize = 2;

/// What is subtracted from the pixels of a pair, so that squares of large values do not eat up small variances.
#[derive(Clone, Copy)]
pub(super) struct Pivot<T> {
    pub(super) x: T,
    pub(super) y: T,
}

impl<T: Real> Pivot<T> {
    pub(super) fn of(sources: Sources<T>) -> Self {
        Self { x: T::of(sources.x.pivot()), y: T::of(sources.y.pivot()) }
    }
}

/// Reads the columns that one run of map columns needs.
pub(super) struct Rows<'a, T> {
    arch: Arch,
    sources: Sources<'a, T>,
    pivot: Pivot<T>,
    /// Columns fetched from the planes.
    fetch: Range<usize>,
    /// Of them, the columns that count into the errors.
    owned: Range<usize>,
    margins: Margins,
    buffers: [&'a mut [T]; 2],
    u: &'a mut [T],
    v: &'a mut [T],
}

impl<'a, T: Real> Rows<'a, T> {
    /// Memory needed for a run of `width` map columns.
    pub(super) fn len(width: usize, border: Border) -> usize {
        4 * Self::row(width, border)
    }

    /// Length of each of the four buffers.
    fn row(width: usize, border: Border) -> usize {
        // Surplus lanes of the last vector read beyond the columns needed.
        Scratch::<T>::padded(width + border.taps() - 1) + Scratch::<T>::padded(1)
    }

    pub(super) fn new(
        subject: &Subject<'a, T>,
        columns: &Range<usize>,
        owned: Range<usize>,
        width: usize,
        memory: &'a mut [T],
    ) -> Self {
        let Subject { sources, window, pivot, .. } = *subject;
        let (arch, border) = (window.arch, window.borders[2]);
        let row = Self::row(width, border);
        let (pixels, centred) = memory.split_at_mut(2 * row);
        let ((a, b), (u, v)) = (pixels.split_at_mut(row), centred.split_at_mut(row));
        let reads = border.reads(columns.clone());
        // Whole vectors where the image has the pixels: surplus ones do no harm.
        let room = u.len() - border.position(columns, reads.start);
        let fetch = reads.start..(reads.start + reads.len().next_multiple_of(16).min(room)).min(border.input);
        let margins = Margins::new(border, columns, &fetch);
        Self { arch, sources, pivot, fetch, owned, margins, buffers: [a, b], u, v }
    }

    /// The pixels of `columns` as they are in the images, and whatever up to the next whole vector.
    pub(super) fn pixels(&mut self, at: [usize; 2], columns: &Range<usize>) -> [&[T]; 2] {
        let whole = columns.start..columns.start + Scratch::<T>::padded(columns.len());
        let [a, b] = &mut self.buffers;
        let Sources { x, y } = self.sources;
        if whole.end <= x.width() {
            return [x.row(at, whole.clone(), a), y.row(at, whole, b)];
        }
        x.copy_row(at, columns.clone(), &mut a[..columns.len()]);
        y.copy_row(at, columns.clone(), &mut b[..columns.len()]);
        [a, b]
    }

    /// The padded rows of `u` and `v`, and the memory that a row soon to come will be read from; the errors of the owned pixels are
    /// added to `errors`.
    pub(super) fn read(&mut self, z: usize, line: usize, errors: Option<&mut Errors>) -> ([&[T]; 2], Ahead<'a>) {
        let [a, b] = &mut self.buffers;
        let x = self.sources.x.row([z, line], self.fetch.clone(), a);
        let y = self.sources.y.row([z, line], self.fetch.clone(), b);
        let inside = self.margins.start..self.margins.start + x.len();
        let (u, v) = (&mut self.u[inside.clone()], &mut self.v[inside]);
        let owned = self.owned.start - self.fetch.start..self.owned.end - self.fetch.start;
        self.arch.dispatch(Centre { x, y, pivot: self.pivot, u, v, errors: errors.map(|errors| (errors, owned)) });
        let [u, v] = centred(T::default(), T::default(), self.pivot);
        self.margins.fill(self.u, u);
        self.margins.fill(self.v, v);
        let soon = [z, line + AHEAD];
        let ahead = [self.sources.x, self.sources.y].map(|source| source.bytes(soon, self.fetch.clone()));
        ([self.u, self.v], Ahead(ahead))
    }

    /// The rows of a line of zeros outside the image.
    pub(super) fn outside(&mut self) -> [&[T]; 2] {
        let [u, v] = centred(T::default(), T::default(), self.pivot);
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

struct Centre<'a, T> {
    x: &'a [T],
    y: &'a [T],
    pivot: Pivot<T>,
    u: &'a mut [T],
    v: &'a mut [T],
    errors: Option<(&'a mut Errors, Range<usize>)>,
}

impl<T: Real> WithSimd for Centre<'_, T> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        if let Some((errors, owned)) = self.errors {
            errors.add_row(simd, &self.x[owned.clone()], &self.y[owned]);
        }
        let (pivot_x, pivot_y) = (Lanes::splat(simd, self.pivot.x), Lanes::splat(simd, self.pivot.y));
        let len = self.x.len();
        let (x, y, u, v) = (self.x, &self.y[..len], &mut self.u[..len], &mut self.v[..len]);
        let mut at = 0;
        while at + Lanes::<T, S>::COUNT <= len {
            let x = Lanes::load(simd, x, at) - pivot_x;
            let y = Lanes::load(simd, y, at) - pivot_y;
            (x + y).store(u, at);
            (x - y).store(v, at);
            at += Lanes::<T, S>::COUNT;
        }
        for at in at..len {
            [u[at], v[at]] = centred(x[at], y[at], self.pivot);
        }
    }
}
