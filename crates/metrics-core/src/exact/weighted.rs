//! Sums of products without rounding.

use super::fixed::FixedPoint;
use super::{ExactSum, Special, integer_and_shift};

/// 4196 bits for the product of two `f64`, in units of 2^-1074 squared, and room for 2^91 of them.
pub(super) const PRODUCT_LIMBS: usize = 67;

/// The exact weighted sum of any number of `f64` values, and the exact sum of their weights, in less than 1 KiB.
///
/// Each product is taken as an integer of 106 bits, so it is exact, and so is the sum: [`WeightedSum::mean`] is `Σwx / Σw`
/// rounded once, whatever the order of the values and however they were split and merged. Products that a `f64` cannot hold
/// are no exception.
///
/// ```
/// use metrics_core::exact::WeightedSum;
///
/// let mut sum = WeightedSum::new();
/// sum.add(1.0, 0.1);
/// sum.add(4.0, 0.2);
/// // 0.1 and 0.2 stand for the nearest f64; the second is exactly twice the first.
/// assert_eq!(sum.mean(), 3.0);
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WeightedSum {
    pub(super) products: FixedPoint<PRODUCT_LIMBS>,
    pub(super) weight: ExactSum,
    pub(super) special: Special,
}

impl WeightedSum {
    /// The empty sum, 0.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds `weight · x`. A weight of 0 adds nothing, even where `x` is not finite. Infinities and NaN follow IEEE 754
    /// otherwise, as in [`ExactSum`].
    #[inline]
    pub fn add(&mut self, x: f64, weight: f64) {
        if weight == 0.0 {
            return;
        }
        self.weight.add(weight);
        if !(x.is_finite() && weight.is_finite()) {
            return self.special.note(x * weight);
        }
        let [(mantissa, shift), (factor, factor_shift)] = [x, weight].map(integer_and_shift);
        let product = u128::from(mantissa) * u128::from(factor);
        let negative = x.is_sign_negative() != weight.is_sign_negative();
        self.products.add([product as u64, (product >> 64) as u64], shift + factor_shift, negative);
    }

    /// Adds another sum, as if its values had been added here.
    pub fn merge(&mut self, other: &Self) {
        self.products.merge(&other.products);
        self.weight.merge(&other.weight);
        self.special.merge(other.special);
    }

    /// `Σwx`, correctly rounded.
    pub fn value(&self) -> f64 {
        self.divided_by(&[1], 0)
    }

    /// `Σwx / Σw`, correctly rounded: one rounding for both. NaN where the weights' sum is 0 or not finite.
    pub fn mean(&self) -> f64 {
        if self.weight.special != Special::default() {
            return f64::NAN;
        }
        let (negative, weight) = self.weight.finite.magnitude();
        let mean = self.divided_by(&weight, ExactSum::FRACTION);
        if negative { -mean } else { mean }
    }

    /// The sum of the weights.
    pub fn weight(&self) -> &ExactSum {
        &self.weight
    }

    fn divided_by(&self, divisor: &[u64], fraction: i64) -> f64 {
        if divisor.iter().all(|&limb| limb == 0) {
            return f64::NAN;
        }
        let quotient = || self.products.quotient(divisor, fraction - 2 * ExactSum::FRACTION);
        self.special.value().unwrap_or_else(quotient)
    }

    pub(super) fn is_special(&self) -> bool {
        self.special.value().is_some()
    }

    /// `|Σwx|` in units of 2^-1074 squared.
    pub(super) fn magnitude(&self) -> [u64; PRODUCT_LIMBS] {
        self.products.magnitude().1
    }
}
