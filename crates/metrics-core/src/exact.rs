//! Sums without rounding: the same bits whatever the order, the number of threads or the split over processes.
//!
//! Floating-point addition is not associative, so a running `f64` sum depends on who added what first. [`ExactSum`]
//! holds the sum as one wide integer instead, and rounds when it is read. [`WeightedSum`] does the same for products,
//! [`Moments`] for squares, and [`ExactArray`] for large vectors and matrices.

mod array;
mod fixed;
mod limbs;
mod moments;
mod order;
mod round;
mod weighted;
mod words;

pub use array::ExactArray;
pub use moments::Moments;
pub(crate) use order::{larger, smaller};
pub use weighted::WeightedSum;

use fixed::FixedPoint;

/// 2098 bits for one `f64`, and room for 2^77 of the largest before the sign is reached.
const SUM_LIMBS: usize = 34;

/// The exact sum of any number of `f64` values, in 280 bytes.
///
/// A superaccumulator: an integer in units of 2^-1074, the smallest positive `f64`, that covers the whole range of
/// `f64`, subnormals included, so that adding a finite value never rounds. The sum is rounded once, to nearest with
/// ties to even, when it is read. Hence the result does not depend on the order of the additions, nor on how they were
/// split into partial sums and merged.
///
/// Infinities and NaN follow IEEE 754, again in any order: an infinity wins over finite values, infinities of both
/// signs give NaN, NaN gives NaN. A sum of zero is `+0.0`, whatever the signs of the zeros that went in.
///
/// ```
/// use metrics_core::exact::ExactSum;
///
/// let sum: ExactSum = [1e300, 1.0, -1e300].into_iter().collect();
/// assert_eq!(sum.value(), 1.0);
/// assert_eq!(sum.mean(3), 1.0 / 3.0);
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ExactSum {
    finite: FixedPoint<SUM_LIMBS>,
    special: Special,
}

/// Which values that are not finite went into a sum.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Special {
    nan: bool,
    positive_infinity: bool,
    negative_infinity: bool,
}

impl ExactSum {
    /// The unit is 2 to minus this.
    const FRACTION: i64 = 1074;

    /// The empty sum, 0.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds one value: a few nanoseconds, unless the sum changes its sign.
    #[inline]
    pub fn add(&mut self, x: f64) {
        if !x.is_finite() {
            return self.special.note(x);
        }
        let (mantissa, shift) = integer_and_shift(x);
        self.finite.add([mantissa], shift, x.is_sign_negative());
    }

    /// Adds another sum, as if its values had been added here.
    pub fn merge(&mut self, other: &Self) {
        self.finite.merge(&other.finite);
        self.special.merge(other.special);
    }

    /// The sum, correctly rounded: the `f64` nearest to it, or an infinity if it is beyond the largest `f64`.
    pub fn value(&self) -> f64 {
        self.mean(1)
    }

    /// The sum divided by `count`, correctly rounded: one rounding for both. NaN when `count` is 0.
    pub fn mean(&self, count: u64) -> f64 {
        if count == 0 {
            return f64::NAN;
        }
        self.special.value().unwrap_or_else(|| self.finite.quotient(&[count], -Self::FRACTION))
    }

    /// The absolute value of the finite part, in units of 2^-1074.
    fn magnitude(&self) -> [u64; SUM_LIMBS] {
        self.finite.magnitude().1
    }
}

impl Extend<f64> for ExactSum {
    fn extend<I: IntoIterator<Item = f64>>(&mut self, values: I) {
        values.into_iter().for_each(|x| self.add(x));
    }
}

impl FromIterator<f64> for ExactSum {
    fn from_iter<I: IntoIterator<Item = f64>>(values: I) -> Self {
        let mut sum = Self::new();
        sum.extend(values);
        sum
    }
}

impl Special {
    #[cold]
    fn note(&mut self, x: f64) {
        self.merge(Self {
            nan: x.is_nan(),
            positive_infinity: x == f64::INFINITY,
            negative_infinity: x == f64::NEG_INFINITY,
        });
    }

    fn merge(&mut self, other: Self) {
        self.nan |= other.nan;
        self.positive_infinity |= other.positive_infinity;
        self.negative_infinity |= other.negative_infinity;
    }

    /// The sum, if it is not finite.
    fn value(self) -> Option<f64> {
        match self {
            Self { nan: false, positive_infinity: false, negative_infinity: false } => None,
            Self { nan: false, positive_infinity: true, negative_infinity: false } => Some(f64::INFINITY),
            Self { nan: false, positive_infinity: false, negative_infinity: true } => Some(f64::NEG_INFINITY),
            _ => Some(f64::NAN),
        }
    }
}

/// `(m, s)` with `|x| = m · 2^s` in units of 2^-1074, for a finite `x`; `m` has at most 53 bits and `s` is at most 2045.
#[inline]
fn integer_and_shift(x: f64) -> (u64, usize) {
    let bits = x.to_bits();
    let exponent = (bits >> 52) & 0x7ff;
    let normal = u64::from(exponent != 0);
    let mantissa = (bits & ((1 << 52) - 1)) | (normal << 52);
    (mantissa, (exponent - normal) as usize)
}
