//! Quantiles in constant memory, mergeable, with a bound on their error.

mod scale;
mod side;

pub(crate) use side::Side;

/// The largest number of buckets, both signs together.
const LIMIT: usize = 1024;

/// Quantiles of any number of `f64` values, from at most 1024 buckets of 16 bytes.
///
/// A histogram of integer counts. As long as there are at most 1024 different values, each has its own bucket and
/// quantiles are exact. Then buckets are joined in pairs, everywhere at once, as often as it takes to have at most 1024
/// again. How often follows from the set of values alone, so neither their order nor how they were split and merged can
/// change a bit.
///
/// # Error
/// [`QuantileSketch::relative_error`] is the bound that holds at present: 0 while quantiles are exact, and half a bucket's
/// width after. It is relative to the value and, between 0.5 and 2, to the value's distance from 1 as well, because that is
/// what counts in scores whose best is 1: of an SSIM of 0.99, an error of 1 % is at most 0.0001. Values that span `k`
/// factors of two (from 0.5 to 2: whose distances from 1 do) have a bound between `k / 2048` and `k / 1024`, and no larger
/// one than their number allows: PSNR from 20 to 50 dB is within 0.1 %, SSIM from 0.5 to 0.9999 within 0.8 % of the distance
/// from 1.
///
/// ```
/// use metrics_core::QuantileSketch;
///
/// let mut sketch = QuantileSketch::new();
/// (0..=100).for_each(|x| sketch.add(f64::from(x)));
/// assert_eq!((sketch.quantile(0.5), sketch.quantile(0.05)), (50.0, 5.0));
/// assert_eq!(sketch.relative_error(), 0.0);
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct QuantileSketch {
    /// How many low bits of a value's position on the scale are dropped.
    pub(crate) shift: u32,
    /// By distance from zero.
    pub(crate) negative: Side,
    /// By distance from zero, zeros of both signs included.
    pub(crate) positive: Side,
    pub(crate) negative_infinities: u64,
    pub(crate) positive_infinities: u64,
    pub(crate) nans: u64,
}

impl QuantileSketch {
    /// The most that a sketch holds outside of itself, in bytes; spare capacity is not counted.
    pub(crate) const HEAP_BYTES: usize = LIMIT * side::BUCKET_BYTES;

    /// Creates a sketch of no values.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds one value.
    pub fn add(&mut self, x: f64) {
        if x.is_nan() {
            self.nans = self.nans.saturating_add(1);
        } else if x == f64::INFINITY {
            self.positive_infinities = self.positive_infinities.saturating_add(1);
        } else if x == f64::NEG_INFINITY {
            self.negative_infinities = self.negative_infinities.saturating_add(1);
        } else {
            self.add_finite(x);
        }
    }

    fn add_finite(&mut self, x: f64) {
        let position = scale::position(x.abs());
        loop {
            let full = self.buckets() >= LIMIT;
            let side = if x < 0.0 { &mut self.negative } else { &mut self.positive };
            if side.add(position >> self.shift, full) {
                return;
            }
            self.coarsen();
        }
    }

    /// Adds the values of another, as if they had been added here.
    pub fn merge(&mut self, other: &Self) {
        let shift = self.shift.max(other.shift);
        let (by_ours, by_theirs) = (shift - self.shift, shift - other.shift);
        self.negative = self.negative.merged(by_ours, &other.negative, by_theirs);
        self.positive = self.positive.merged(by_ours, &other.positive, by_theirs);
        self.shift = shift;
        while self.buckets() > LIMIT {
            self.coarsen();
        }
        self.negative.shrink();
        self.positive.shrink();
        self.negative_infinities = self.negative_infinities.saturating_add(other.negative_infinities);
        self.positive_infinities = self.positive_infinities.saturating_add(other.positive_infinities);
        self.nans = self.nans.saturating_add(other.nans);
    }

    /// How many values were added, NaN included, up to `u64::MAX`.
    pub fn count(&self) -> u64 {
        let counts = [self.negative.count(), self.positive.count(), self.negative_infinities, self.positive_infinities];
        counts.into_iter().fold(self.nans, u64::saturating_add)
    }

    /// The value below which the share `q` of all values lies, `0 <= q <= 1`: that of rank `q (n - 1)`, counted from 0,
    /// linear between the two values next to it, as in NumPy and PyTorch; between an infinity and a number, the infinity. NaN of no
    /// values, where a value was NaN, between two infinities, and for a `q` out of range.
    pub fn quantile(&self, q: f64) -> f64 {
        let count = self.count();
        if count == 0 || self.nans > 0 || !(0.0..=1.0).contains(&q) {
            return f64::NAN;
        }
        let rank = q * (count - 1) as f64;
        let lower = (rank as u64).min(count - 1);
        let (below, above) = (self.value_at(lower), self.value_at((lower + 1).min(count - 1)));
        let fraction = rank - lower as f64;
        match above - below {
            _ if fraction <= 0.0 || below == above => below,
            distance if distance.is_finite() => below + fraction * distance,
            _ => (1.0 - fraction) * below + fraction * above,
        }
    }

    /// The bound on the error of a value that a quantile is made of, relative to the value and, between 0.5 and 2, to its
    /// distance from 1. Subnormal numbers count as 2^-1022 here. Infinite where values span more than a thousand factors of
    /// two, so that a bucket has several.
    pub fn relative_error(&self) -> f64 {
        // A bucket of 2^shift positions spans 2^(shift - 52) of its lower end.
        match self.shift {
            0 => 0.0,
            shift @ ..=52 => 2f64.powi(shift as i32 - 53),
            _ => f64::INFINITY,
        }
    }

    /// The value of this rank, from 0.
    fn value_at(&self, rank: u64) -> f64 {
        let middle = |bucket: u64| scale::middle(bucket, self.shift);
        let below_zero = self.negative.buckets().rev().map(|(bucket, count)| (-middle(bucket), count));
        let above_zero = self.positive.buckets().map(|(bucket, count)| (middle(bucket), count));
        let mut seen = self.negative_infinities;
        if rank < seen {
            return f64::NEG_INFINITY;
        }
        for (value, count) in below_zero.chain(above_zero) {
            seen = seen.saturating_add(count);
            if rank < seen {
                return value;
            }
        }
        f64::INFINITY
    }

    fn buckets(&self) -> usize {
        self.negative.len() + self.positive.len()
    }

    /// Joins buckets in pairs.
    fn coarsen(&mut self) {
        self.shift += 1;
        self.negative.coarsen();
        self.positive.coarsen();
    }

    /// What is wrong with a sketch of this many values that was read from somewhere.
    pub(crate) fn problem(&self, values: u64) -> Option<String> {
        if self.shift >= u64::BITS {
            return Some(format!("its resolution is {}, but is below 64", self.shift));
        }
        if self.buckets() > LIMIT {
            return Some(format!("it has {} buckets, but at most {LIMIT} are kept", self.buckets()));
        }
        if !self.negative.is_valid(self.shift) || !self.positive.is_valid(self.shift) {
            return Some("its buckets are empty, not in order or beyond the range of f64".into());
        }
        let finite = self.negative.buckets().chain(self.positive.buckets()).map(|(_, count)| count);
        let mut counts = finite.chain([self.negative_infinities, self.positive_infinities, self.nans]);
        let total = counts.try_fold(0u64, |sum, count| sum.checked_add(count));
        (total != Some(values)).then(|| format!("its counts do not add up to {values} samples"))
    }
}
