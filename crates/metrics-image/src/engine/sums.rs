//! Sums in f64 of many numbers that come a register at a time.

use pulp::Simd;

use super::simd::{Lanes, Real};

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
    pub(super) fn add_row<T: Real, S: Simd>(&mut self, simd: S, row: &[T]) {
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

/// Columns whose errors are summed in the computing type before they become f64: few enough to lose nothing that matters.
///
/// Tiles start at multiples of it, so that a row has the same sum whichever scan makes it.
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
    /// The errors of each run of columns of part of a row, which starts at a multiple of [`ERROR_RUN`] columns.
    #[inline(always)]
    pub(super) fn of_row<T: Real, S: Simd>(simd: S, x: &[T], y: &[T], runs: &mut [Self]) {
        for ((x, y), run) in x.chunks(ERROR_RUN).zip(y.chunks(ERROR_RUN)).zip(runs) {
            let (mut squared, mut absolute) = (Lanes::<T, S>::zero(simd), Lanes::zero(simd));
            let whole = x.len() - x.len() % Lanes::<T, S>::COUNT;
            for at in (0..whole).step_by(Lanes::<T, S>::COUNT) {
                let error = Lanes::load(simd, x, at) - Lanes::load(simd, y, at);
                squared = error.mul_add(error, squared);
                absolute += error.abs();
            }
            *run = Self { squared: squared.sum().wide(), absolute: absolute.sum().wide() };
            for (x, y) in x[whole..].iter().zip(&y[whole..]) {
                let error = x.wide() - y.wide();
                *run += Self { squared: error * error, absolute: error.abs() };
            }
        }
    }

    /// The sum of the runs of a plane's rows: `runs` of them in a row.
    pub(super) fn of_plane(errors: &[Self], runs: usize) -> Self {
        errors.chunks(runs).map(|row| row.iter().copied().sum::<Self>()).sum()
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
