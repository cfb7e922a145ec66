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
    /// Adds `±mantissa · 2^shift`; `shift` is less than `64 · (LIMBS - 1)`.
    #[inline]
    pub(super) fn add(&mut self, mantissa: u64, shift: usize, negative: bool) {
        let offset = shift % 64;
        // The upper part in two steps, because the offset may be 0 and a shift by the full width is not defined.
        let words = [mantissa << offset, (mantissa >> 1) >> (63 - offset)];
        let limbs = &mut self.0[shift / 64..];
        if negative { subtract(limbs, words) } else { add(limbs, words) }
    }

    /// Adds `mantissa · 2^shift`; `shift` is less than `64 · (LIMBS - 2)`.
    #[inline]
    pub(super) fn add_wide(&mut self, mantissa: u128, shift: usize) {
        let offset = shift % 64;
        let (low, rest) = ((mantissa as u64) << offset, (mantissa >> 1) >> (63 - offset));
        add(&mut self.0[shift / 64..], [low, rest as u64, (rest >> 64) as u64]);
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
}

#[inline]
fn add<const N: usize>(limbs: &mut [u64], words: [u64; N]) {
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
fn subtract<const N: usize>(limbs: &mut [u64], words: [u64; N]) {
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
