//! A wide integer in two's complement: one representation for each number, so equal sums are equal bits.

use super::limbs;
use super::round::Leading;

/// A signed integer of `64 · LIMBS` bits, least significant limb first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct FixedPoint<const LIMBS: usize>([u64; LIMBS]);

impl<const LIMBS: usize> Default for FixedPoint<LIMBS> {
    fn default() -> Self {
        Self([0; LIMBS])
    }
}

impl<const LIMBS: usize> FixedPoint<LIMBS> {
    /// Adds `±words · 2^shift`; `shift` is less than `64 · (LIMBS - N)`.
    #[inline]
    pub(super) fn add<const N: usize>(&mut self, words: [u64; N], shift: usize, negative: bool) {
        let (limbs, offset) = (&mut self.0[shift / 64..], shift % 64);
        let mut spill = 0;
        let shifted = words.into_iter().chain([0]).map(|word| {
            let limb = (word << offset) | spill;
            // In two steps, because the offset may be 0 and a shift by the full width is not defined.
            spill = (word >> 1) >> (63 - offset);
            limb
        });
        limbs::add(limbs, shifted, negative);
    }

    /// Adds another number of the same width.
    pub(super) fn merge(&mut self, other: &Self) {
        limbs::add(&mut self.0, other.0, false);
    }

    /// Whether the number is negative, and its absolute value.
    pub(super) fn magnitude(&self) -> (bool, [u64; LIMBS]) {
        let mut magnitude = [0; LIMBS];
        (limbs::magnitude(&self.0, &mut magnitude), magnitude)
    }

    /// `2^exponent` times the number, divided by one that is not zero, correctly rounded.
    pub(super) fn quotient(&self, divisor: &[u64], exponent: i64) -> f64 {
        let (negative, magnitude) = self.magnitude();
        let quotient = Leading::of_quotient(&magnitude, divisor, exponent).map_or(0.0, Leading::round);
        // A quotient of zero has no sign here; one that rounds to zero keeps its own, as in IEEE 754.
        if negative { -quotient } else { quotient }
    }

    /// The limbs, least significant first.
    pub(super) fn limbs(&self) -> &[u64; LIMBS] {
        &self.0
    }

    /// The number of these limbs.
    pub(super) fn from_limbs(limbs: [u64; LIMBS]) -> Self {
        Self(limbs)
    }
}
