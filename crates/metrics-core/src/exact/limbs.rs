//! Schoolbook arithmetic on unsigned integers of many 64-bit limbs, least significant limb first.

/// Position of the highest bit that is set; `None` for zero.
pub(super) fn highest_bit(limbs: &[u64]) -> Option<usize> {
    let top = limbs.iter().rposition(|&limb| limb != 0)?;
    Some(64 * top + limbs[top].ilog2() as usize)
}

/// The 64 bits from position `from` upwards; those beyond the top are 0.
pub(super) fn bits_from(limbs: &[u64], from: usize) -> u64 {
    let limb = |i: usize| limbs.get(i).copied().unwrap_or(0);
    let (index, offset) = (from / 64, from % 64);
    // In two steps, because the offset may be 0 and a shift by the full width is not defined.
    (limb(index) >> offset) | ((limb(index + 1) << 1) << (63 - offset))
}

/// The 128 bits from position `from` upwards.
pub(super) fn wide_bits_from(limbs: &[u64], from: usize) -> u128 {
    u128::from(bits_from(limbs, from)) | (u128::from(bits_from(limbs, from + 64)) << 64)
}

/// Whether any bit below position `end` is set.
pub(super) fn any_below(limbs: &[u64], end: usize) -> bool {
    let (whole, part) = limbs.split_at(end / 64);
    whole.iter().any(|&limb| limb != 0) || part.first().is_some_and(|limb| limb & ((1 << (end % 64)) - 1) != 0)
}

/// `limbs /= divisor`; returns the remainder. The divisor is not 0.
pub(super) fn divide(limbs: &mut [u64], divisor: u64) -> u64 {
    let divisor = u128::from(divisor);
    let mut remainder = 0;
    for limb in limbs.iter_mut().rev() {
        let dividend = (remainder << 64) | u128::from(*limb);
        // The quotient fits one limb because the remainder is less than the divisor.
        (*limb, remainder) = ((dividend / divisor) as u64, dividend % divisor);
    }
    remainder as u64
}

/// `limbs += multiplicand · factor`, where the result fits.
pub(super) fn add_product(limbs: &mut [u64], multiplicand: &[u64], factor: u64) {
    let mut carry = 0;
    for (i, limb) in limbs.iter_mut().enumerate() {
        let word = multiplicand.get(i).copied().unwrap_or(0);
        let sum = u128::from(word) * u128::from(factor) + u128::from(*limb) + carry;
        (*limb, carry) = (sum as u64, sum >> 64);
    }
}

/// `limbs -= other`, modulo the width of `limbs`. Both have the same length.
pub(super) fn subtract(limbs: &mut [u64], other: &[u64]) {
    let mut borrow = false;
    for (limb, &word) in limbs.iter_mut().zip(other) {
        let (difference, first) = limb.overflowing_sub(word);
        let (difference, second) = difference.overflowing_sub(borrow.into());
        (*limb, borrow) = (difference, first | second);
    }
}
