//! From wide integers to the nearest `f64`: quotients and their square roots, rounded once.

use std::cmp::Ordering;

use super::limbs;

/// The leading bits of a positive number, `bits · 2^exponent`, and whether anything below them was cut off.
pub(super) struct Leading {
    bits: u128,
    exponent: i64,
    inexact: bool,
}

impl Leading {
    /// Of `2^exponent · magnitude`, 128 bits; `None` of zero.
    pub(super) fn of(magnitude: &[u64], exponent: i64) -> Option<Self> {
        let lowest = limbs::highest_bit(magnitude)?.saturating_sub(127);
        let [low, high] = [lowest, lowest + 64].map(|from| u128::from(limbs::bits_from(magnitude, from)));
        let bits = low | (high << 64);
        let (up, inexact) = (bits.leading_zeros(), limbs::any_below(magnitude, lowest));
        Some(Self { bits: bits << up, exponent: exponent + lowest as i64 - i64::from(up), inexact })
    }

    /// Of `2^exponent · dividend / divisor`, at least 127 bits; `None` of zero. The divisor is not zero.
    pub(super) fn of_quotient(dividend: &[u64], divisor: &[u64], exponent: i64) -> Option<Self> {
        let (top, divisor_top) = (limbs::highest_bit(dividend)?, limbs::highest_bit(divisor)?);
        let divisor: Vec<_> = divisor.iter().copied().chain([0]).collect();

        // Long division, bit by bit. The remainder starts as the dividend's leading bits, one fewer than the divisor has.
        let mut remainder = vec![0; divisor.len()];
        let start = top as i64 - divisor_top as i64;
        let next = |position: i64| usize::try_from(position).map_or(0, |position| limbs::bit(dividend, position));
        for (limb, offset) in remainder.iter_mut().zip((0i64..).step_by(64)) {
            let from = start + 1 + offset;
            *limb = match usize::try_from(from) {
                Ok(from) => limbs::bits_from(dividend, from),
                Err(_) if from > -64 => limbs::bits_from(dividend, 0) << -from,
                Err(_) => 0,
            };
        }
        let mut bits = 0;
        for position in (start - 127..=start).rev() {
            limbs::double_and_add(&mut remainder, next(position));
            let fits = limbs::compare(&remainder, &divisor) != Ordering::Less;
            if fits {
                limbs::add(&mut remainder, divisor.iter().copied(), true);
            }
            bits = (bits << 1) | u128::from(fits);
        }
        let unread = usize::try_from(start - 127).unwrap_or(0);
        let inexact = limbs::highest_bit(&remainder).is_some() || limbs::any_below(dividend, unread);
        Some(Self { bits, exponent: exponent + start - 127, inexact })
    }

    /// Of the square root, at least 63 bits.
    pub(super) fn square_root(self) -> Self {
        // The root halves the exponent.
        let odd = self.exponent.rem_euclid(2);
        let bits = self.bits >> odd;
        let root = bits.isqrt();
        let inexact = self.inexact || bits << odd != self.bits || root * root != bits;
        Self { bits: root, exponent: (self.exponent + odd) / 2, inexact }
    }

    /// The nearest `f64`, ties to even; infinite beyond the largest.
    pub(super) fn round(self) -> f64 {
        let top = self.exponent + i64::from(self.bits.ilog2());
        let lowest_kept = (top - 52).max(-1074);
        let dropped = u32::try_from(lowest_kept - self.exponent).unwrap_or(0);
        let mantissa = self.bits.checked_shr(dropped).unwrap_or(0) as u64;
        let rest = self.bits.wrapping_sub(u128::from(mantissa).checked_shl(dropped).unwrap_or(0));
        let half = dropped.checked_sub(1).and_then(|below| 1u128.checked_shl(below));
        let up = match half.map_or(Ordering::Less, |half| rest.cmp(&half)) {
            Ordering::Less => false,
            Ordering::Equal => self.inexact || mantissa & 1 == 1,
            Ordering::Greater => true,
        };
        // The exponent field counts the shift, and the mantissa's leading bit, where there is one, adds the 1 that tells a
        // normal number from a subnormal one. A carry out of the mantissa lands in the exponent, where it belongs.
        let shift = (lowest_kept + 1074).min(2047) as u64;
        f64::from_bits(((shift << 52) + mantissa + u64::from(up)).min(f64::INFINITY.to_bits()))
    }
}
