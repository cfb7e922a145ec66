//! How many values lie where.

/// The most bins there are at a time.
const BINS: usize = 64;

/// Bins are not narrower than 2 to this power, nor than this many binary digits below the largest value: f32 scores
/// have no more digits, and what is closer together is equal but for rounding.
const FINEST: i32 = -60;
const DIGITS: i32 = 22;

/// A histogram of any number of values, whose range need not be known, in a few hundred bytes.
///
/// Bins are a power of two wide and start at multiples of their width. When a value is so far off that more than [`BINS`]
/// would be needed, neighbours are joined until it fits. The result depends on the values only, not on their order.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Histogram {
    /// The width of a bin is 2 to this power.
    exponent: i32,
    /// The first bin starts at this multiple of the width.
    first: i64,
    /// From the bin of the smallest value to that of the largest.
    counts: Vec<u64>,
    pub(crate) infinite: u64,
    pub(crate) negative_infinite: u64,
    pub(crate) nan: u64,
}

/// The values from `low` up to, but not including, `high`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Bin {
    pub(crate) low: f64,
    pub(crate) high: f64,
    pub(crate) count: u64,
}

impl Histogram {
    pub(crate) fn new() -> Self {
        Self { exponent: FINEST, first: 0, counts: Vec::new(), infinite: 0, negative_infinite: 0, nan: 0 }
    }

    pub(crate) fn add(&mut self, value: f64) {
        if value.is_nan() {
            self.nan += 1;
        } else if value == f64::INFINITY {
            self.infinite += 1;
        } else if value == f64::NEG_INFINITY {
            self.negative_infinite += 1;
        } else {
            self.add_finite(value);
        }
    }

    fn add_finite(&mut self, value: f64) {
        while self.exponent < exponent_of(value) - DIGITS {
            self.join_neighbours();
        }
        while !self.reaches(self.place(value), BINS) {
            self.join_neighbours();
        }
        let place = self.place(value);
        if self.counts.is_empty() {
            self.first = place;
        }
        if place < self.first {
            let missing = (self.first - place) as usize;
            self.counts.splice(..0, vec![0; missing]);
            self.first = place;
        }
        let index = (place - self.first) as usize;
        if index >= self.counts.len() {
            self.counts.resize(index + 1, 0);
        }
        self.counts[index] += 1;
    }

    /// Which bin the value belongs to, as a multiple of the width.
    fn place(&self, value: f64) -> i64 {
        match value * (-f64::from(self.exponent)).exp2() {
            0.0 if value < 0.0 => -1, // too small for a number, and still below zero
            scaled => scaled.floor() as i64,
        }
    }

    /// Whether the bins and this one would be at most so many.
    fn reaches(&self, place: i64, bins: usize) -> bool {
        let last = self.first + self.counts.len() as i64 - 1;
        self.counts.is_empty() || last.max(place) - self.first.min(place) < bins as i64
    }

    /// Makes bins twice as wide.
    fn join_neighbours(&mut self) {
        let first = self.first.div_euclid(2);
        let mut joined = vec![0; self.counts.len() / 2 + 1];
        for (place, count) in (self.first..).zip(&self.counts) {
            joined[(place.div_euclid(2) - first) as usize] += count;
        }
        joined.truncate(joined.iter().rposition(|&count| count > 0).map_or(0, |last| last + 1));
        (self.exponent, self.first, self.counts) = (self.exponent + 1, first, joined);
    }

    /// How many values were finite.
    pub(crate) fn finite(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// From the smallest to the largest value, without gaps; at most so many, which is at least 2, and of equal width.
    pub(crate) fn bins(&self, at_most: usize) -> Vec<Bin> {
        let mut coarse = self.clone();
        while coarse.counts.len() > at_most.max(2) {
            coarse.join_neighbours();
        }
        // The width itself may be too large for a number; its half is not.
        let half = f64::from(coarse.exponent - 1).exp2();
        let edge = |place: i64| place as f64 * half * 2.0;
        let bin = |(place, &count)| Bin { low: edge(place), high: edge(place + 1), count };
        (coarse.first..).zip(&coarse.counts).map(bin).collect()
    }
}

/// The power of two that is not larger than the value without its sign: of zero and the smallest numbers, any that is small.
fn exponent_of(value: f64) -> i32 {
    ((value.to_bits() >> 52) & 0x7ff) as i32 - 1023
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn of(values: &[f64]) -> Histogram {
        let mut histogram = Histogram::new();
        values.iter().for_each(|&value| histogram.add(value));
        histogram
    }

    /// Scores, and now and then anything that is finite.
    fn values() -> impl Strategy<Value = Vec<f64>> {
        let finite = any::<f64>().prop_filter("finite", |value| value.is_finite());
        let value = prop_oneof![8 => -1.0..1.0f64, 4 => 10.0..60.0f64, 1 => finite, 1 => Just(0.0)];
        prop::collection::vec(value, 1..200)
    }

    proptest! {
        #[test]
        fn every_value_is_in_its_bin(values in values(), at_most in 2usize..80) {
            let bins = of(&values).bins(at_most);
            prop_assert!(bins.len() <= at_most.min(BINS));
            for bin in &bins {
                let inside = values.iter().filter(|&&value| bin.low <= value && value < bin.high).count();
                prop_assert_eq!(bin.count, inside as u64);
            }
            prop_assert_eq!(bins.iter().map(|bin| bin.count).sum::<u64>(), values.len() as u64);
        }

        #[test]
        fn there_is_no_empty_bin_at_either_end_and_no_gap(values in values()) {
            let bins = of(&values).bins(BINS);
            prop_assert!(bins[0].count > 0 && bins[bins.len() - 1].count > 0);
            prop_assert!(bins.windows(2).all(|pair| pair[0].high == pair[1].low));
        }

        #[test]
        fn order_does_not_matter(values in values()) {
            let (mut backwards, mut sorted) = (values.clone(), values.clone());
            backwards.reverse();
            sorted.sort_by(f64::total_cmp);
            prop_assert_eq!(of(&values), of(&backwards));
            prop_assert_eq!(of(&values), of(&sorted));
        }
    }

    #[test]
    fn bins_are_as_narrow_as_the_spread_allows() {
        let values: Vec<f64> = (0..1000).map(|i| 0.9 + f64::from(i) * 1e-5).collect();
        let bins = of(&values).bins(BINS);
        assert!((BINS / 2..=BINS).contains(&bins.len()), "{}", bins.len());
    }

    #[test]
    fn what_is_not_finite_is_counted_apart() {
        let histogram = of(&[f64::INFINITY, 30.0, f64::NAN, f64::NEG_INFINITY, f64::INFINITY, -f64::NAN]);
        let Histogram { infinite, negative_infinite, nan, .. } = histogram;
        assert_eq!((infinite, negative_infinite, nan, histogram.finite()), (2, 1, 2, 1));
    }

    #[test]
    fn equal_values_are_one_bin_and_no_values_none() {
        assert_eq!(of(&[0.7; 100]).bins(BINS).len(), 1);
        assert_eq!(of(&[]).bins(BINS), []);
    }

    #[test]
    fn the_largest_numbers_have_a_place() {
        assert_eq!(of(&[f64::MAX, f64::MIN, 0.0, 5e-324]).finite(), 4);
    }
}
