//! Sums in f64 of many numbers that come a register at a time.

use pulp::{Arch, Simd, WithSimd};

use super::lanes::{Lanes, Real};

/// The most lanes a register has: f32 in 512 bits.
const MOST_LANES: usize = 16;

/// One f64 sum per lane; which numbers meet in which lane depends on their place in the row only.
#[derive(Clone, Copy, Default)]
pub(super) struct Total {
    lanes: [f64; MOST_LANES],
}

impl Total {
    pub(super) fn value(&self) -> f64 {
        self.lanes.iter().sum()
    }

    #[inline(always)]
    fn add<T: Real, S: Simd>(&mut self, vector: Lanes<T, S>) {
        const { assert!(Lanes::<T, S>::COUNT <= MOST_LANES) };
        let vector = [vector.vector()];
        let values: &[T] = pulp::bytemuck::cast_slice(&vector);
        for lane in 0..Lanes::<T, S>::COUNT {
            self.lanes[lane] += values[lane].wide();
        }
    }

    /// Adds a short row, in `T` but for its last step.
    #[inline(always)]
    fn add_row<T: Real, S: Simd>(&mut self, simd: S, row: &[T]) {
        // Four sums, for an addition takes as long as four can be begun.
        let mut sums = [Lanes::<T, S>::zero(simd); 4];
        let (vectors, rest) = row.split_at(row.len() - row.len() % Lanes::<T, S>::COUNT);
        let (fours, ones) = T::vectors::<S>(vectors).as_chunks::<4>();
        for four in fours {
            for (sum, &vector) in sums.iter_mut().zip(four) {
                *sum += Lanes::new(simd, vector);
            }
        }
        for &vector in ones {
            sums[0] += Lanes::new(simd, vector);
        }
        self.add((sums[0] + sums[1]) + (sums[2] + sums[3]));
        for value in rest {
            self.lanes[0] += value.wide();
        }
    }
}

/// Adds a short row to each of two sums.
pub(super) fn add_rows<T: Real>(arch: Arch, totals: &mut [Total; 2], rows: [&[T]; 2]) {
    arch.dispatch(AddRows { totals, rows });
}

struct AddRows<'a, T> {
    totals: &'a mut [Total; 2],
    rows: [&'a [T]; 2],
}

impl<T: Real> WithSimd for AddRows<'_, T> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let [first, second] = self.totals;
        first.add_row(simd, self.rows[0]);
        second.add_row(simd, self.rows[1]);
    }
}

/// Columns whose errors are summed in the computing type before they become f64: few enough to lose nothing that matters.
///
/// Tiles start at multiples of it, so that a row has the same sum whichever walk makes it.
pub(super) const ERROR_RUN: usize = 64;

/// Sums over pixels.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Errors {
    /// Of `(x - y)²`.
    pub(crate) squared: f64,
    /// Of `|x - y|`.
    pub(crate) absolute: f64,
}

impl Errors {
    /// Adds part of a row, which starts at a multiple of [`ERROR_RUN`] columns.
    #[inline(always)]
    pub(super) fn add_row<T: Real, S: Simd>(&mut self, simd: S, x: &[T], y: &[T]) {
        for (x, y) in x.chunks(ERROR_RUN).zip(y.chunks(ERROR_RUN)) {
            let (mut squared, mut absolute) = (Lanes::<T, S>::zero(simd), Lanes::zero(simd));
            let whole = x.len() - x.len() % Lanes::<T, S>::COUNT;
            for at in (0..whole).step_by(Lanes::<T, S>::COUNT) {
                let error = Lanes::load(simd, x, at) - Lanes::load(simd, y, at);
                squared = error.mul_add(error, squared);
                absolute += error.abs();
            }
            let mut rest = Self { squared: squared.sum().wide(), absolute: absolute.sum().wide() };
            for (x, y) in x[whole..].iter().zip(&y[whole..]) {
                let error = x.wide() - y.wide();
                rest += Self { squared: error * error, absolute: error.abs() };
            }
            *self += rest;
        }
    }
}

impl std::ops::AddAssign for Errors {
    fn add_assign(&mut self, other: Self) {
        self.squared += other.squared;
        self.absolute += other.absolute;
    }
}

impl std::iter::Sum for Errors {
    fn sum<I: Iterator<Item = Self>>(errors: I) -> Self {
        errors.fold(Self::default(), |mut sum, errors| {
            sum += errors;
            sum
        })
    }
}

/// The errors of the rows of a band, each row by itself: summed up in their order, they do not depend on bands and tiles.
pub(super) struct ErrorRows<'a> {
    rows: &'a mut [Errors],
    /// The first row, counted through all slices.
    first: usize,
    /// Rows of a slice.
    height: usize,
}

impl<'a> ErrorRows<'a> {
    /// The rows from line `line` of slice `z` on.
    pub(super) fn new(rows: &'a mut [Errors], [z, line]: [usize; 2], height: usize) -> Self {
        Self { rows, first: z * height + line, height }
    }

    /// A line's errors, if the line is one of the band's.
    pub(super) fn row(&mut self, z: usize, line: usize) -> Option<&mut Errors> {
        self.rows.get_mut((z * self.height + line).checked_sub(self.first)?)
    }

    pub(super) fn reborrow(&mut self) -> ErrorRows<'_> {
        ErrorRows { rows: self.rows, ..*self }
    }
}
