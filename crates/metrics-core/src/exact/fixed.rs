//! A wide integer in two's complement: one representation for each number, so equal sums are equal bits.

use super::limbs;

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
        if negative { subtract(limbs, shifted) } else { add(limbs, shifted) }
    }

    /// Adds another number of the same width.
    pub(super) fn merge(&mut self, other: &Self) {
        add(&mut self.0, other.0);
    }

    /// Whether the number is negative, and its absolute value.
    pub(super) fn magnitude(&self) -> (bool, [u64; LIMBS]) {
        let negative = self.0.last().is_some_and(|top| top >> 63 == 1);
        let mut magnitude = self.0;
        if negative {
            magnitude = [0; LIMBS];
            limbs::subtract(&mut magnitude, &self.0);
        }
        (negative, magnitude)
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

#[inline]
fn add(limbs: &mut [u64], words: impl IntoIterator<Item = u64>) {
    let mut carry = false;
    let mut limbs = limbs.iter_mut();
    for (word, limb) in words.into_iter().zip(limbs.by_ref()) {
        let (sum, first) = limb.overflowing_add(word);
        let (sum, second) = sum.overflowing_add(carry.into());
        (*limb, carry) = (sum, first | second);
    }
    for limb in limbs {
        if !carry {
            return;
        }
        (*limb, carry) = limb.overflowing_add(1);
    }
}

#[inline]
fn subtract(limbs: &mut [u64], words: impl IntoIterator<Item = u64>) {
    let mut borrow = false;
    let mut limbs = limbs.iter_mut();
    for (word, limb) in words.into_iter().zip(limbs.by_ref()) {
        let (difference, first) = limb.overflowing_sub(word);
        let (difference, second) = difference.overflowing_sub(borrow.into());
        (*limb, borrow) = (difference, first | second);
    }
    for limb in limbs {
        if !borrow {
            return;
        }
        (*limb, borrow) = limb.overflowing_sub(1);
    }
}
