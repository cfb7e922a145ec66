//! Sums in f64 of many numbers that come a register at a time.

use pulp::Simd;

use super::basis::PixelRows;
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

/// Sums over pixels, of errors `e = x - y` weighted by how much a pixel counts.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Errors {
    /// Of `e²`.
    pub(crate) squared: f64,
    /// Of `|e|`.
    pub(crate) absolute: f64,
    /// Of `√(e² + ε²)`, if there is an ε.
    pub(crate) charbonnier: f64,
}

impl Errors {
    /// The errors of each run of columns of part of a row, which starts at a multiple of [`ERROR_RUN`] columns.
    #[inline(always)]
    pub(super) fn of_row<T: Real, S: Simd>(simd: S, pixels: PixelRows<T>, epsilon: Option<T>, runs: &mut [Self]) {
        // A loop for each case: what is not asked for costs nothing.
        match (pixels.weights, epsilon) {
            (None, None) => Self::of_runs::<T, S, false, false>(simd, pixels, T::default(), runs),
            (None, Some(epsilon)) => Self::of_runs::<T, S, false, true>(simd, pixels, epsilon, runs),
            (Some(_), None) => Self::of_runs::<T, S, true, false>(simd, pixels, T::default(), runs),
            (Some(_), Some(epsilon)) => Self::of_runs::<T, S, true, true>(simd, pixels, epsilon, runs),
        }
    }

    #[inline(always)]
    fn of_runs<T: Real, S: Simd, const WEIGHTED: bool, const CHARBONNIER: bool>(
        simd: S,
        PixelRows { images: [x, y], weights }: PixelRows<T>,
        epsilon: T,
        runs: &mut [Self],
    ) {
        let (starts, weights) = ((0..x.len()).step_by(ERROR_RUN), weights.unwrap_or(x));
        for (start, run) in starts.zip(runs) {
            let end = (start + ERROR_RUN).min(x.len());
            let (x, y, weights) = (&x[start..end], &y[start..end], &weights[start..end]);
            let mut sums = [Lanes::<T, S>::zero(simd); 3];
            let whole = x.len() - x.len() % Lanes::<T, S>::COUNT;
            for at in (0..whole).step_by(Lanes::<T, S>::COUNT) {
                let mut error = Lanes::load(simd, x, at) - Lanes::load(simd, y, at);
                let zero = error.like(0.0);
                if WEIGHTED {
                    let weight = Lanes::load(simd, weights, at);
                    // What does not count may be NaN.
                    error = zero.if_less(weight, error, zero);
                    sums[0] = (error * weight).mul_add(error, sums[0]);
                    sums[1] = error.abs().mul_add(weight, sums[1]);
                    if CHARBONNIER {
                        sums[2] = charbonnier(error, epsilon).mul_add(weight, sums[2]);
                    }
                } else {
                    sums[0] = error.mul_add(error, sums[0]);
                    sums[1] += error.abs();
                    if CHARBONNIER {
                        sums[2] += charbonnier(error, epsilon);
                    }
                }
            }
            let [squared, absolute, charbonnier] = sums.map(|sum| sum.sum().wide());
            *run = Self { squared, absolute, charbonnier };
            for at in whole..x.len() {
                let weight = if WEIGHTED { weights[at].wide() } else { 1.0 };
                if weight > 0.0 {
                    let (error, epsilon) = (x[at].wide() - y[at].wide(), epsilon.wide());
                    let root = if CHARBONNIER { (error * error + epsilon * epsilon).sqrt() } else { 0.0 };
                    let (squared, absolute) = (weight * error * error, weight * error.abs());
                    *run += Self { squared, absolute, charbonnier: weight * root };
                }
            }
        }
    }

    /// The sum of the runs of a plane's rows: `runs` of them in a row.
    pub(super) fn of_plane(errors: &[Self], runs: usize) -> Self {
        errors.chunks(runs).map(|row| row.iter().copied().sum::<Self>()).sum()
    }
}

/// `√(e² + ε²)`.
#[inline(always)]
pub(super) fn charbonnier<T: Real, S: Simd>(error: Lanes<T, S>, epsilon: T) -> Lanes<T, S> {
    let epsilon = error.with_all(epsilon);
    error.mul_add(error, epsilon * epsilon).sqrt()
}

impl std::ops::AddAssign for Errors {
    fn add_assign(&mut self, other: Self) {
        self.squared += other.squared;
        self.absolute += other.absolute;
        self.charbonnier += other.charbonnier;
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
