//! Reads the rows of a tile: pixels, the basis of the measure, and the border around them.

use std::ops::Range;

use pulp::{Arch, Scalar, Simd, WithSimd};

use super::border::{Border, Margins};
use super::prefetch::Ahead;
use super::rows::RowReader;
use super::scan::Subject;
use super::scratch::Scratch;
use super::simd::{Lanes, Real};
use super::sums::Errors;
use crate::measure::Measure;

/// Rows between the one that is read and the one that is prefetched.
const AHEAD: usize = 2;

/// Reads the columns that one tile of the map needs.
pub(super) struct BasisRows<'a, M: Measure, T: Real> {
    arch: Arch,
    readers: [&'a dyn RowReader<T>; 2],
    constants: M::Constants<T>,
    /// Columns fetched from the planes.
    fetch: Range<usize>,
    /// Of them, the columns that count into the errors.
    owned: Range<usize>,
    margins: Margins,
    pixels: [&'a mut [T]; 2],
    basis: [&'a mut [T]; 2],
}

impl<'a, M: Measure, T: Real> BasisRows<'a, M, T> {
    /// Memory needed for `width` map columns.
    pub(super) fn len(width: usize, border: Border) -> usize {
        4 * Self::row(width, border)
    }

    /// Length of each of the four buffers.
    fn row(width: usize, border: Border) -> usize {
        // Surplus lanes of the last vector read beyond the columns needed.
        Scratch::<T>::padded(width + border.taps() - 1) + Scratch::<T>::padded(1)
    }

    pub(super) fn new(
        subject: &Subject<'a, M, T>,
        columns: &Range<usize>,
        owned: Range<usize>,
        width: usize,
        memory: &'a mut [T],
    ) -> Self {
        let Subject { readers, window, constants, .. } = *subject;
        let (arch, border) = (window.arch, window.borders[2]);
        let row = Self::row(width, border);
        let (pixels, basis) = memory.split_at_mut(2 * row);
        let reads = border.reads(columns.clone());
        // Whole vectors where the image has the pixels: surplus ones do no harm.
        let room = row - border.position(columns, reads.start);
        let fetch = reads.start..(reads.start + reads.len().next_multiple_of(16).min(room)).min(border.input);
        let margins = Margins::new(border, columns, &fetch);
        let (pixels, basis) = (pixels.split_at_mut(row).into(), basis.split_at_mut(row).into());
        Self { arch, readers, constants, fetch, owned, margins, pixels, basis }
    }

    /// The columns that count into the errors.
    pub(super) fn owned(&self) -> &Range<usize> {
        &self.owned
    }

    /// The pixels of `columns` as they are in the images, and whatever up to the next whole vector.
    pub(super) fn pixels(&mut self, at: [usize; 2], columns: &Range<usize>) -> [&[T]; 2] {
        let whole = columns.start..columns.start + Scratch::<T>::padded(columns.len());
        let [a, b] = &mut self.pixels;
        let [x, y] = self.readers;
        if whole.end <= x.dims()[2] {
            return [x.row(at, whole.clone(), a), y.row(at, whole, b)];
        }
        x.copy_row(at, columns.clone(), &mut a[..columns.len()]);
        y.copy_row(at, columns.clone(), &mut b[..columns.len()]);
        [a, b]
    }

    /// The basis of a row with its border, and the memory of a row that will soon be read; the errors of the owned pixels go to
    /// `errors`, one for each run of columns.
    pub(super) fn read(&mut self, [z, y]: [usize; 2], errors: Option<&mut [Errors]>) -> ([&[T]; 2], Ahead<'a>) {
        let ([a, b], [u, v]) = (&mut self.pixels, &mut self.basis);
        let first = self.readers[0].row([z, y], self.fetch.clone(), a);
        let second = self.readers[1].row([z, y], self.fetch.clone(), b);
        let inside = self.margins.start..self.margins.start + first.len();
        let owned = self.owned.start - self.fetch.start..self.owned.end - self.fetch.start;
        self.arch.dispatch(MakeBasis::<M, T> {
            pixels: [first, second],
            constants: self.constants,
            basis: [&mut u[inside.clone()], &mut v[inside]],
            errors: errors.map(|errors| (errors, owned)),
        });
        let outside = Self::of_zeros(&self.constants);
        self.margins.fill(u, outside[0]);
        self.margins.fill(v, outside[1]);
        let ahead = self.readers.map(|reader| reader.bytes([z, y + AHEAD], self.fetch.clone()));
        ([u, v], Ahead::new(ahead))
    }

    /// The basis of a row of zeros outside the image.
    pub(super) fn outside(&mut self) -> [&[T]; 2] {
        let outside = Self::of_zeros(&self.constants);
        for (row, value) in self.basis.iter_mut().zip(outside) {
            row.fill(value);
        }
        let [u, v] = &self.basis;
        [u, v]
    }

    /// Rounded as vectors are.
    fn of_zeros(constants: &M::Constants<T>) -> [T; 2] {
        let zero = Lanes::zero(Scalar);
        M::basis(constants, zero, zero).map(Lanes::sum)
    }
}

struct MakeBasis<'a, M: Measure, T: Real> {
    pixels: [&'a [T]; 2],
    constants: M::Constants<T>,
    basis: [&'a mut [T]; 2],
    errors: Option<(&'a mut [Errors], Range<usize>)>,
}

impl<M: Measure, T: Real> WithSimd for MakeBasis<'_, M, T> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { pixels: [x, y], constants, basis: [u, v], errors } = self;
        if let Some((errors, owned)) = errors {
            Errors::of_row(simd, &x[owned.clone()], &y[owned], errors);
        }
        let len = x.len();
        let (y, u, v) = (&y[..len], &mut u[..len], &mut v[..len]);
        let whole = len - len % Lanes::<T, S>::COUNT;
        for at in (0..whole).step_by(Lanes::<T, S>::COUNT) {
            let [a, b] = M::basis(&constants, Lanes::load(simd, x, at), Lanes::load(simd, y, at));
            a.store(u, at);
            b.store(v, at);
        }
        // One by one, rounded as vectors are, so that a pixel's values do not depend on the tile it is read for.
        for at in whole..len {
            let [a, b] = M::basis(&constants, Lanes::splat(Scalar, x[at]), Lanes::splat(Scalar, y[at]));
            (u[at], v[at]) = (a.sum(), b.sum());
        }
    }
}
