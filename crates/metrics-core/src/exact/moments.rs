//! Mean, standard deviation, minimum and maximum of a stream of values, mergeable and exact until they are read.

use super::fixed::FixedPoint;
use super::round::Leading;
use super::{ExactSum, WeightedSum, integer_and_shift, larger, limbs, smaller};

/// 6294 bits for a square times a weight, in units of 2^-1074 cubed, and room for 2^105 of them.
pub(super) const SQUARE_LIMBS: usize = 100;

/// Limbs of `Σw Σwx²` and of `(Σwx)²`.
const SPREAD_LIMBS: usize = 134;

/// The exact sum and sum of squares of any number of weighted `f64` values, with their count and extremes, in 2 KiB.
///
/// Squares are accumulated as integers, like the sum, so nothing cancels: mean and standard deviation are correctly
/// rounded, whatever the offset of the values, and do not depend on the order of the values or on how they were split
/// and merged.
///
/// ```
/// use metrics_core::exact::Moments;
///
/// let moments: Moments = [1e8, 1e8 + 1.0, 1e8 + 2.0].into_iter().collect();
/// assert_eq!(moments.mean(), 1e8 + 1.0);
/// assert_eq!(moments.std(), (2f64 / 3.0).sqrt());
/// ```
#[derive(Clone, Debug)]
pub struct Moments {
    pub(super) count: u64,
    pub(super) sum: WeightedSum,
    pub(super) squares: FixedPoint<SQUARE_LIMBS>,
    pub(super) min: f64,
    pub(super) max: f64,
}

impl Default for Moments {
    fn default() -> Self {
        let (sum, squares) = (WeightedSum::new(), FixedPoint::default());
        Self { count: 0, sum, squares, min: f64::INFINITY, max: f64::NEG_INFINITY }
    }
}

impl Moments {
    /// Creates moments of no values.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds one value.
    pub fn add(&mut self, x: f64) {
        self.add_weighted(x, 1.0);
    }

    /// Adds one value that counts as often as `weight` says, which must be finite and not negative. Of weight 0 it is left
    /// out; any other weight has no influence on count, minimum and maximum.
    pub fn add_weighted(&mut self, x: f64, weight: f64) {
        if weight == 0.0 {
            return;
        }
        self.count = self.count.saturating_add(1);
        self.sum.add(x, weight);
        self.min = smaller(self.min, x);
        self.max = larger(self.max, x);
        if x.is_finite() && weight.is_finite() {
            let (mantissa, shift) = integer_and_shift(x);
            let (factor, factor_shift) = integer_and_shift(weight);
            let (square, factor) = (u128::from(mantissa).pow(2), u128::from(factor));
            let low = (square & u128::from(u64::MAX)) * factor;
            let high = (square >> 64) * factor + (low >> 64);
            self.squares.add([low as u64, high as u64, (high >> 64) as u64], 2 * shift + factor_shift, false);
        }
    }

    /// Adds the values of another, as if they had been added here.
    pub fn merge(&mut self, other: &Self) {
        self.count = self.count.saturating_add(other.count);
        self.sum.merge(&other.sum);
        self.squares.merge(&other.squares);
        self.min = smaller(self.min, other.min);
        self.max = larger(self.max, other.max);
    }

    /// How many values were added, up to `u64::MAX`.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// `Σwx / Σw`, correctly rounded; NaN of no values.
    pub fn mean(&self) -> f64 {
        self.sum.mean()
    }

    /// The smallest value; NaN if any was NaN, `+inf` of no values.
    pub fn min(&self) -> f64 {
        self.min
    }

    /// The largest value; NaN if any was NaN, `-inf` of no values.
    pub fn max(&self) -> f64 {
        self.max
    }

    /// Population standard deviation, `sqrt((Σw Σwx² - (Σwx)²) / (Σw)²)`, correctly rounded; NaN of no values, and where a
    /// value was not finite.
    pub fn std(&self) -> f64 {
        if self.count == 0 || self.sum.is_special() {
            return f64::NAN;
        }
        let weight = self.sum.weight().magnitude();
        let mut weight_squared = [0; SPREAD_LIMBS];
        limbs::add_product(&mut weight_squared, &weight, &weight);

        // Spread and squared weight are in units of 2^-1074 to the powers 4 and 2.
        let variance = Leading::of_quotient(&self.spread(&weight), &weight_squared, -2 * ExactSum::FRACTION);
        variance.map_or(0.0, |variance| variance.square_root().round())
    }

    /// `Σw Σwx² - (Σwx)²`, exactly. It is never negative (Cauchy-Schwarz).
    fn spread(&self, weight: &[u64]) -> [u64; SPREAD_LIMBS] {
        let mut spread = [0; SPREAD_LIMBS];
        limbs::add_product(&mut spread, weight, self.squares.limbs());

        let sum = self.sum.magnitude();
        let mut square = [0; SPREAD_LIMBS];
        limbs::add_product(&mut square, &sum, &sum);
        limbs::add(&mut spread, square, true);
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
