//! Count, mean, standard deviation, minimum and maximum of a stream of values, mergeable and exact until they are read.

use super::fixed::FixedPoint;
use super::{ExactSum, SUM_LIMBS, integer_and_shift, larger, limbs, round, smaller};
use crate::value::Summary;

/// 4196 bits for the square of one `f64`, in units of 2^-1074 squared, and room for 2^91 of them.
const SQUARE_LIMBS: usize = 67;

/// Limbs of `n Σx²` and of `(Σx)²`.
const SPREAD_LIMBS: usize = 2 * SUM_LIMBS;

/// Limbs of fraction of a variance: two for the division by `n²`, and two to keep 128 bits of what it leaves.
const VARIANCE_FRACTION: usize = 4;

/// Limbs of the root of a variance, and room for the upper part of a shifted limb.
const ROOT_LIMBS: usize = (VARIANCE_FRACTION + SPREAD_LIMBS) / 2 + 1;

/// The exact sum and sum of squares of any number of `f64` values, with their count and extremes, in less than 1 KiB.
///
/// Squares are accumulated as integers, like the sum, so nothing cancels: mean and standard deviation are correctly
/// rounded, whatever the offset of the values, and do not depend on the order of the values or on how they were split
/// and merged.
///
/// ```
/// use metrics_core::exact::Moments;
///
/// let summary = [1e8, 1e8 + 1.0, 1e8 + 2.0].into_iter().collect::<Moments>().summary();
/// assert_eq!(summary.mean, 1e8 + 1.0);
/// assert_eq!(summary.std, (2f64 / 3.0).sqrt());
/// ```
#[derive(Clone, Debug)]
pub struct Moments {
    count: u64,
    sum: ExactSum,
    squares: FixedPoint<SQUARE_LIMBS>,
    min: f64,
    max: f64,
}

impl Default for Moments {
    fn default() -> Self {
        let (sum, squares) = (ExactSum::new(), FixedPoint::default());
        Self { count: 0, sum, squares, min: f64::INFINITY, max: f64::NEG_INFINITY }
    }
}

impl Moments {
    /// No values yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds one value.
    pub fn add(&mut self, x: f64) {
        self.count += 1;
        self.sum.add(x);
        self.min = smaller(self.min, x);
        self.max = larger(self.max, x);
        if x.is_finite() {
            let (mantissa, shift) = integer_and_shift(x);
            self.squares.add_wide(u128::from(mantissa).pow(2), 2 * shift);
        }
    }

    /// Adds the values of another, as if they had been added here.
    pub fn merge(&mut self, other: &Self) {
        self.count += other.count;
        self.sum.merge(&other.sum);
        self.squares.merge(&other.squares);
        self.min = smaller(self.min, other.min);
        self.max = larger(self.max, other.max);
    }

    /// How many values were added.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// What was added, in five numbers. Of no values: count 0, mean and standard deviation NaN, minimum `+inf`, maximum
    /// `-inf`.
    pub fn summary(&self) -> Summary {
        Summary { count: self.count, mean: self.sum.mean(self.count), std: self.std(), min: self.min, max: self.max }
    }

    /// Population standard deviation, `sqrt((n Σx² - (Σx)²) / n²)`, correctly rounded; NaN where a value was not
    /// finite.
    fn std(&self) -> f64 {
        if self.count == 0 || self.sum.special.value().is_some() {
            return f64::NAN;
        }
        let mut variance = [0; VARIANCE_FRACTION + SPREAD_LIMBS];
        variance[VARIANCE_FRACTION..].copy_from_slice(&self.spread());
        let remainders = [limbs::divide(&mut variance, self.count), limbs::divide(&mut variance, self.count)];
        let Some(highest) = limbs::highest_bit(&variance) else { return 0.0 };

        // The root of the leading 128 bits has 64, more than an f64 holds; whether anything is left over decides ties,
        // and goes into the lowest of them. The number of bits dropped is even, because the root halves it.
        let dropped = highest.saturating_sub(127).next_multiple_of(2);
        let leading = limbs::wide_bits_from(&variance, dropped);
        let root = leading.isqrt();
        let inexact = root * root != leading || limbs::any_below(&variance, dropped) || remainders != [0, 0];

        let mut std = FixedPoint::<ROOT_LIMBS>::default();
        std.add(root as u64 | u64::from(inexact), dropped / 2, false);
        round(&std.magnitude().1, VARIANCE_FRACTION / 2)
    }

    /// `n Σx² - (Σx)²`, exactly. It is never negative (Cauchy-Schwarz).
    fn spread(&self) -> [u64; SPREAD_LIMBS] {
        let mut spread = [0; SPREAD_LIMBS];
        limbs::add_product(&mut spread, &self.squares.magnitude().1, self.count);

        let sum = self.sum.finite.magnitude().1;
        let mut square = [0; SPREAD_LIMBS];
        for (i, &limb) in sum.iter().enumerate() {
            limbs::add_product(&mut square[i..], &sum, limb);
        }
        limbs::subtract(&mut spread, &square);
        spread
    }
}

impl FromIterator<f64> for Moments {
    fn from_iter<I: IntoIterator<Item = f64>>(values: I) -> Self {
        let mut moments = Self::new();
        values.into_iter().for_each(|x| moments.add(x));
        moments
    }
}
