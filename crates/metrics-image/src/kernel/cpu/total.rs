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

/// Sums of errors over rows of pixels.
#[derive(Clone, Copy, Default)]
pub(super) struct ErrorTotal {
    squared: Total,
    absolute: Total,
}

impl ErrorTotal {
    #[inline(always)]
    pub(super) fn add_rows<T: Real, S: Simd>(&mut self, simd: S, x: &[T], y: &[T]) {
        // Short runs, so that sums in T lose nothing that matters.
        let run = 16 * Lanes::<T, S>::COUNT;
        for (x, y) in x.chunks(run).zip(y.chunks(run)) {
            self.add_run(simd, x, y);
        }
    }

    #[inline(always)]
    fn add_run<T: Real, S: Simd>(&mut self, simd: S, x: &[T], y: &[T]) {
        let (mut squared, mut absolute) = (Lanes::zero(simd), Lanes::zero(simd));
        let mut at = 0;
        while at + Lanes::<T, S>::COUNT <= x.len() {
            let error = Lanes::load(simd, x, at) - Lanes::load(simd, y, at);
            squared = error.mul_add(error, squared);
            absolute += error.abs();
            at += Lanes::<T, S>::COUNT;
        }
        self.squared.add(squared);
        self.absolute.add(absolute);
        for at in at..x.len() {
            let error = x[at].wide() - y[at].wide();
            self.squared.lanes[0] += error * error;
            self.absolute.lanes[0] += error.abs();
        }
    }

    pub(super) fn value(&self) -> Errors {
        Errors { squared: self.squared.value(), absolute: self.absolute.value() }
    }
}

/// Sums over the pixels of a plane.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Errors {
    /// Of `(x - y)²`.
    pub(crate) squared: f64,
    /// Of `|x - y|`.
    pub(crate) absolute: f64,
}

impl std::ops::AddAssign for Errors {
    fn add_assign(&mut self, other: Self) {
        self.squared += other.squared;
        self.absolute += other.absolute;
    }
}
