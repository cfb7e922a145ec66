//! Where a number lies on a scale of integers that is logarithmic towards 0 and, on both sides, towards 1.
//!
//! The bits of a positive `f64`, read as an integer, are such a scale towards 0: dropping `s` low bits leaves buckets of
//! relative width `2^(s - 52)`. From 0.5 to 2 the distance from 1, which is exact there, takes the place of the number.

/// The octaves between the smallest distance from 1, 2^-53, and one half.
const OCTAVES: u64 = 53;
const OCTAVE: u64 = 1 << 52;

/// The bits of 2^-53 and of larger distances, less this, start at one octave; distance 0 is at 0.
const DISTANCE_ORIGIN: u64 = 969 * OCTAVE;
const HALF: u64 = 0.5f64.to_bits();
const ONE: u64 = HALF + OCTAVES * OCTAVE;
const TWO: u64 = ONE + 1.0f64.to_bits() - DISTANCE_ORIGIN;
const END: u64 = TWO + f64::INFINITY.to_bits() - 2.0f64.to_bits();

/// The position of a finite number that is not negative.
pub(super) fn position(x: f64) -> u64 {
    if x < 0.5 {
        x.abs().to_bits()
    } else if x <= 1.0 {
        ONE - distance_position(1.0 - x)
    } else if x < 2.0 {
        ONE + distance_position(x - 1.0)
    } else {
        x.to_bits() - 2.0f64.to_bits() + TWO
    }
}

/// The middle of the numbers whose positions, without their `shift` low bits, are `bucket`: between the smallest and the
/// largest of them.
pub(super) fn middle(bucket: u64, shift: u32) -> f64 {
    let first = bucket << shift;
    let last = first | ((1 << shift) - 1);
    let (low, high) = (number(first), number(last.min(END - 1)));
    low + (high - low) / 2.0
}

/// Whether a bucket holds any number.
pub(super) fn is_in_range(bucket: u64, shift: u32) -> bool {
    bucket <= (END - 1) >> shift
}

fn distance_position(distance: f64) -> u64 {
    distance.to_bits().saturating_sub(DISTANCE_ORIGIN)
}

/// The number at a position; in the gap next to 1, 1.
fn number(position: u64) -> f64 {
    if position < HALF {
        f64::from_bits(position)
    } else if position < TWO {
        let distance = |offset: u64| if offset < OCTAVE { 0.0 } else { f64::from_bits(offset + DISTANCE_ORIGIN) };
        if position <= ONE { 1.0 - distance(ONE - position) } else { 1.0 + distance(position - ONE) }
    } else {
        f64::from_bits(position - TWO + 2.0f64.to_bits())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_has_its_own_place_in_order() {
        let around = |x: f64| [x.next_down(), x, x.next_up()];
        let smallest = f64::from_bits(1);
        let mut numbers = vec![0.0, smallest];
        for x in [1e-300, 2f64.powi(-53), 0.1, 0.5, 0.75, 0.999, 1.0, 1.0 + 1e-9, 1.5, 2.0, 3.0, 1e10, 1e300] {
            numbers.extend(around(x));
        }
        numbers.push(f64::MAX);
        assert!(numbers.iter().map(|&x| position(x)).is_sorted_by(|a, b| a < b));
        assert!(numbers.iter().all(|&x| middle(position(x), 0) == x && is_in_range(position(x), 0)));
        assert_eq!(position(f64::MAX), END - 1);
        assert!(!is_in_range(END, 0));
    }
}
