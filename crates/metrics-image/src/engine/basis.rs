//! Reads the rows of a tile: pixels, the basis of the measure, and the border around them.

use std::ops::Range;

use pulp::{Arch, Scalar, Simd, WithSimd};

use super::border::{Border, Margins};
use super::prefetch::Ahead;
use super::rows::RowReader;
use super::scan::Subject;
use super::scratch::Scratch;
use super::simd::{Array, Lanes, Real};
use super::sums::Errors;
use crate::measure::Measure;

/// Rows between the one that is read and the one that is prefetched.
const AHEAD: usize = 2;

/// Part of a row of both images, and how much each pixel counts if not all count alike.
#[derive(Clone, Copy)]
pub(super) struct PixelRows<'a, T> {
    pub(super) images: [&'a [T]; 2],
    pub(super) weights: Option<&'a [T]>,
}

/// Reads the columns that one tile of the map needs.
pub(super) struct BasisRows<'a, M: Measure, T: Real> {
    arch: Arch,
    readers: [&'a dyn RowReader<T>; 2],
    mask: Option<&'a dyn RowReader<T>>,
    constants: M::Constants<T>,
    /// Charbonnier's ε.
    epsilon: Option<T>,
    /// Columns fetched from the planes.
    fetch: Range<usize>,
    /// Of them, the columns that count into the errors.
    owned: Range<usize>,
    margins: Margins,
    /// A row of both images and of the mask.
    pixels: [&'a mut [T]; 3],
    /// A row of each part of the basis, `row` numbers apart.
    basis: &'a mut [T],
    row: usize,
}

impl<'a, M: Measure, T: Real> BasisRows<'a, M, T> {
    const PARTS: usize = M::Basis::<T>::LEN;

    /// Memory needed for `width` map columns.
    pub(super) fn len(width: usize, border: Border) -> usize {
        (3 + Self::PARTS) * Self::row(width, border)
    }

    /// Length of each of the buffers.
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
        let Subject { readers, mask, window, constants, epsilon, .. } = *subject;
        let (arch, border) = (window.arch, window.borders[2]);
        let row = Self::row(width, border);
        let (pixels, basis) = memory.split_at_mut(3 * row);
        let reads = border.reads(columns.clone());
        // Whole vectors where the image has the pixels: surplus ones do no harm.
        let room = row - border.position(columns, reads.start);
        let fetch = reads.start..(reads.start + reads.len().next_multiple_of(16).min(room)).min(border.input);
        let margins = Margins::new(border, columns, &fetch);
        let (x, rest) = pixels.split_at_mut(row);
        let (y, weights) = rest.split_at_mut(row);
        Self { arch, readers, mask, constants, epsilon, fetch, owned, margins, pixels: [x, y, weights], basis, row }
    }

    /// The columns that count into the errors.
    pub(super) fn owned(&self) -> &Range<usize> {
        &self.owned
    }

    /// The pixels of `columns` as they are in the images, and whatever up to the next whole vector.
    pub(super) fn pixels(&mut self, at: [usize; 2], columns: &Range<usize>) -> PixelRows<'_, T> {
        let whole = columns.start..columns.start + Scratch::<T>::padded(columns.len());
        let is_inside = whole.end <= self.readers[0].dims()[2];
        let [a, b, c] = &mut self.pixels;
        let [x, y] = self.readers;
        PixelRows {
            images: [part(x, at, columns, &whole, is_inside, a), part(y, at, columns, &whole, is_inside, b)],
            weights: self.mask.map(|mask| part(mask, at, columns, &whole, is_inside, c)),
        }
    }

    /// The basis of a row with its border, and the memory of a row that will soon be read; the errors of the owned pixels go to
    /// `errors`, one for each run of columns.
    pub(super) fn read(&mut self, [z, y]: [usize; 2], errors: Option<&mut [Errors]>) -> (M::Basis<&[T]>, Ahead<'a>) {
        let [a, b, c] = &mut self.pixels;
        let first = self.readers[0].row([z, y], self.fetch.clone(), a);
        let second = self.readers[1].row([z, y], self.fetch.clone(), b);
        let weights = self.mask.map(|mask| mask.row([z, y], self.fetch.clone(), c));
        let owned = self.owned.start - self.fetch.start..self.owned.end - self.fetch.start;
        self.arch.dispatch(MakeBasis::<M, T> {
            pixels: PixelRows { images: [first, second], weights },
            constants: self.constants,
            basis: &mut self.basis[self.margins.start..],
            row: self.row,
            errors: errors.map(|errors| (errors, owned, self.epsilon)),
        });
        let outside = Self::of_zeros(&self.constants);
        for (part, row) in self.basis.chunks_exact_mut(self.row).enumerate() {
            self.margins.fill(row, outside.get(part));
        }
        let ahead = self.readers.map(|reader| reader.bytes([z, y + AHEAD], self.fetch.clone()));
        (self.rows(), Ahead::new(ahead))
    }

    fn rows(&self) -> M::Basis<&[T]> {
        let mut rows = M::Basis::filled(&[][..]);
        self.basis.chunks_exact(self.row).enumerate().for_each(|(part, row)| rows.set(part, row));
        rows
    }

    /// The basis of a row of zeros outside the image.
    pub(super) fn outside(&mut self) -> M::Basis<&[T]> {
        let outside = Self::of_zeros(&self.constants);
        self.basis.chunks_exact_mut(self.row).enumerate().for_each(|(part, row)| row.fill(outside.get(part)));
        self.rows()
    }

    /// Rounded as vectors are. Zeros beyond the border count with weight 1.
    fn of_zeros(constants: &M::Constants<T>) -> M::Basis<T> {
        let zero = Lanes::zero(Scalar);
        sums::<M, T>(M::basis(constants, [zero, zero], Lanes::splat(Scalar, T::of(1.0))))
    }
}

/// Part of a row and, if that `is_inside` the plane, what follows it up to the next whole vector.
fn part<'b, T: Real>(
    reader: &'b dyn RowReader<T>,
    at: [usize; 2],
    columns: &Range<usize>,
    whole: &Range<usize>,
    is_inside: bool,
    buffer: &'b mut [T],
) -> &'b [T] {
    if is_inside {
        return reader.row(at, whole.clone(), buffer);
    }
    reader.copy_row(at, columns.clone(), &mut buffer[..columns.len()]);
    buffer
}

/// Numbers from vectors of one lane.
#[inline(always)]
fn sums<M: Measure, T: Real>(basis: M::Basis<Lanes<T, Scalar>>) -> M::Basis<T> {
    let mut numbers = M::Basis::filled(T::default());
    for part in 0..M::Basis::<T>::LEN {
        numbers.set(part, basis.get(part).sum());
    }
    numbers
}

struct MakeBasis<'a, M: Measure, T: Real> {
    pixels: PixelRows<'a, T>,
    constants: M::Constants<T>,
    basis: &'a mut [T],
    row: usize,
    errors: Option<(&'a mut [Errors], Range<usize>, Option<T>)>,
}

impl<M: Measure, T: Real> WithSimd for MakeBasis<'_, M, T> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { pixels, constants, basis, row, errors } = self;
        let PixelRows { images: [x, y], weights } = pixels;
        if let Some((errors, owned, epsilon)) = errors {
            let weights = weights.map(|weights| &weights[owned.clone()]);
            let images = [&x[owned.clone()], &y[owned]];
            Errors::of_row(simd, PixelRows { images, weights }, epsilon, errors);
        }
        let len = x.len();
        let (y, weights) = (&y[..len], weights.map_or(x, |weights| &weights[..len]));
        let whole = len - len % Lanes::<T, S>::COUNT;
        for at in (0..whole).step_by(Lanes::<T, S>::COUNT) {
            let weight = if M::WEIGHTED { Lanes::load(simd, weights, at) } else { Lanes::zero(simd) };
            let made = M::basis(&constants, [Lanes::load(simd, x, at), Lanes::load(simd, y, at)], weight);
            for part in 0..M::Basis::<T>::LEN {
                made.get(part).store(basis, part * row + at);
            }
        }
        // One by one, rounded as vectors are, so that a pixel's values do not depend on the tile it is read for.
        for at in whole..len {
            let one = |row: &[T]| Lanes::splat(Scalar, row[at]);
            let made = sums::<M, T>(M::basis(&constants, [one(x), one(y)], one(weights)));
            for part in 0..M::Basis::<T>::LEN {
                basis[part * row + at] = made.get(part);
            }
        }
    }
}
