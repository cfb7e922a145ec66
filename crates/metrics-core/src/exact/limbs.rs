//! Schoolbook arithmetic on integers of many 64-bit limbs, least significant limb first: unsigned, and in two's complement
//! where sums are.

use std::cmp::Ordering;

/// Position of the highest bit that is set; `None` for zero.
pub(super) fn highest_bit(limbs: &[u64]) -> Option<usize> {
    let top = limbs.iter().rposition(|&limb| limb != 0)?;
    Some(64 * top + limbs[top].ilog2() as usize)
}

/// The bit at this position; beyond the top it is 0.
pub(super) fn bit(limbs: &[u64], position: usize) -> u64 {
    limbs.get(position / 64).map_or(0, |limb| (limb >> (position % 64)) & 1)
}

/// The 64 bits from position `from` upwards; those beyond the top are 0.
pub(super) fn bits_from(limbs: &[u64], from: usize) -> u64 {
    let limb = |i: usize| limbs.get(i).copied().unwrap_or(0);
    let (index, offset) = (from / 64, from % 64);
    // In two steps, because the offset may be 0 and a shift by the full width is not defined.
    (limb(index) >> offset) | ((limb(index + 1) << 1) << (63 - offset))
}

/// Whether any bit below position `end` is set.
pub(super) fn any_below(limbs: &[u64], end: usize) -> bool {
    let (whole, part) = limbs.split_at((end / 64).min(limbs.len()));
    whole.iter().any(|&limb| limb != 0) || part.first().is_some_and(|limb| limb & ((1 << (end % 64)) - 1) != 0)
}

/// `limbs = 2 · limbs + bit`, where the result fits.
pub(super) fn double_and_add(limbs: &mut [u64], bit: u64) {
    let mut carry = bit;
    for limb in limbs {
        (*limb, carry) = ((*limb << 1) | carry, *limb >> 63);
    }
}

/// Which of two numbers of the same length is larger.
pub(super) fn compare(ours: &[u64], theirs: &[u64]) -> Ordering {
    ours.iter().rev().cmp(theirs.iter().rev())
}

/// `limbs += ours · theirs`, where the result fits.
pub(super) fn add_product(limbs: &mut [u64], ours: &[u64], theirs: &[u64]) {
    for (i, &factor) in ours.iter().enumerate().filter(|(_, factor)| **factor != 0) {
        let mut carry = 0;
        for (j, limb) in limbs[i..].iter_mut().enumerate() {
            let word = theirs.get(j).copied().unwrap_or(0);
            let sum = u128::from(word) * u128::from(factor) + u128::from(*limb) + carry;
            (*limb, carry) = (sum as u64, sum >> 64);
        }
    }
}

/// `limbs += words`, or `limbs -= words` where `negative`, modulo the width of `limbs`.
#[inline]
pub(super) fn add(limbs: &mut [u64], words: impl IntoIterator<Item = u64>, negative: bool) {
    // Minus a number is its complement plus 1.
    let (flip, mut carry) = (0u64.wrapping_sub(negative.into()), negative);
    let mut limbs = limbs.iter_mut();
    for (word, limb) in words.into_iter().zip(limbs.by_ref()) {
        (*limb, carry) = limb.carrying_add(word ^ flip, carry);
    }
    for limb in limbs {
        if carry == negative {
            return;
        }
        (*limb, carry) = limb.carrying_add(flip, carry);
    }
}

/// What the limbs beyond the top of a number in two's complement would be.
pub(super) fn sign(limbs: &[u64]) -> u64 {
    limbs.last().map_or(0, |top| 0u64.wrapping_sub(top >> 63))
}

/// Writes the absolute value of a number in two's complement, and says whether it is negative. Both have the same length.
pub(super) fn magnitude(limbs: &[u64], magnitude: &mut [u64]) -> bool {
    let negative = sign(limbs) != 0;
    magnitude.fill(0);
    add(magnitude, limbs.iter().copied(), negative);
    negative
}
