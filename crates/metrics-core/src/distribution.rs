//! Everything that a [`Summary`] shows, in constant memory.

use crate::exact::Moments;
use crate::{QuantileSketch, Summary};

/// How one number per sample is distributed: [exact moments](Moments) and a [sketch of the quantiles](QuantileSketch), in at
/// most 19 KiB, mergeable in any order.
///
/// ```
/// use metrics_core::Distribution;
///
/// let summary = [0.5, 0.75, 1.0].into_iter().collect::<Distribution>().summary();
/// assert_eq!((summary.count, summary.mean, summary.median), (3, 0.75, 0.75));
/// ```
#[derive(Clone, Debug, Default)]
pub struct Distribution {
    pub(crate) moments: Moments,
    pub(crate) sketch: QuantileSketch,
}

impl Distribution {
    /// The most memory that it holds outside of itself, in bytes.
    pub(crate) const HEAP_BYTES: usize = QuantileSketch::HEAP_BYTES;

    /// Creates a distribution of no values.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds one value.
    pub fn add(&mut self, x: f64) {
        self.add_weighted(x, 1.0);
    }

    /// Adds one value whose weight, which must be finite and not negative, counts in mean and standard deviation. Of weight
    /// 0 it is left out; any other has no influence on count, minimum, maximum and quantiles, which are of the samples.
    pub fn add_weighted(&mut self, x: f64, weight: f64) {
        if weight != 0.0 {
            self.moments.add_weighted(x, weight);
            self.sketch.add(x);
        }
    }

    /// Adds the values of another, as if they had been added here.
    pub fn merge(&mut self, other: &Self) {
        self.moments.merge(&other.moments);
        self.sketch.merge(&other.sketch);
    }

    /// How many values were added, up to `u64::MAX`.
    pub fn count(&self) -> u64 {
        self.moments.count()
    }

    /// The sketch that quantiles are read from, with the bound on their error.
    pub fn sketch(&self) -> &QuantileSketch {
        &self.sketch
    }

    /// What was added, in eight numbers and the error of three of them. Of no values: count 0, minimum `+inf`, maximum `-inf`, the others NaN.
    pub fn summary(&self) -> Summary {
        let (min, max) = (self.moments.min(), self.moments.max());
        // The middle of an outer bucket may lie beyond all values. Of no values, the quantiles are NaN and stay so.
        let quantile = |q| self.sketch.quantile(q);
        let within = |x: f64| {
            if x < min {
                min
            } else if x > max {
                max
            } else {
                x
            }
        };
        let [p5, median, p95] = [0.05, 0.5, 0.95].map(|q| within(quantile(q)));
        let (mean, std, quantile_error) = (self.moments.mean(), self.moments.std(), self.sketch.relative_error());
        Summary { count: self.count(), mean, std, min, max, median, p5, p95, quantile_error }
    }
}

impl FromIterator<f64> for Distribution {
    fn from_iter<I: IntoIterator<Item = f64>>(values: I) -> Self {
        let mut distribution = Self::new();
        values.into_iter().for_each(|x| distribution.add(x));
        distribution
    }
}
