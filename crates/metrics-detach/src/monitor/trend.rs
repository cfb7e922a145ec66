//! Whether a number keeps growing.

use serde::{Deserialize, Serialize};

/// The most spans that are remembered.
const SPANS: usize = 16;

/// How many of the latest spans are looked at.
pub(super) const LATEST: usize = 8;

/// A number that keeps growing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Rise {
    /// The lowest value at the beginning.
    pub from: usize,
    /// The lowest value at the end.
    pub to: usize,
    /// The number of checks in between.
    pub checks: u64,
}

/// The course of a number over the whole run in constant memory: the lowest value of each span of checks. All spans have
/// one length; when there is no room for another, neighbours are joined, so that the length doubles.
#[derive(Clone, Debug)]
pub(super) struct Trend {
    /// Of the full spans, oldest first.
    lowest: [usize; SPANS],
    full: usize,
    /// Checks in a span.
    length: u64,
    /// Of the span that is not full yet: its lowest value, and its checks.
    open: (usize, u64),
}

impl Trend {
    pub(super) fn new() -> Self {
        Self { lowest: [0; SPANS], full: 0, length: 1, open: (usize::MAX, 0) }
    }

    pub(super) fn push(&mut self, value: usize) {
        let (lowest, checks) = (self.open.0.min(value), self.open.1 + 1);
        self.open = (lowest, checks);
        if checks < self.length {
            return;
        }
        self.lowest[self.full] = lowest;
        self.full += 1;
        self.open = (usize::MAX, 0);
        if self.full == SPANS {
            for i in 0..SPANS / 2 {
                self.lowest[i] = self.lowest[2 * i].min(self.lowest[2 * i + 1]);
            }
            (self.full, self.length) = (SPANS / 2, 2 * self.length);
        }
    }

    /// Whether there are enough checks to tell.
    pub(super) fn is_known(&self) -> bool {
        self.full >= LATEST
    }

    /// The rise over the latest spans, if each one's lowest value is above that of the one before, and the last is above
    /// the first by more than `allowance`.
    pub(super) fn rise(&self, allowance: usize) -> Option<Rise> {
        let latest = &self.lowest[self.full.checked_sub(LATEST)?..self.full];
        let (from, to) = (latest[0], latest[LATEST - 1]);
        let grows = latest.is_sorted_by(|before, after| before < after) && to - from > allowance;
        grows.then(|| Rise { from, to, checks: LATEST as u64 * self.length })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The number of the first check after which the numbers are found to grow.
    fn found(values: impl IntoIterator<Item = usize>, allowance: usize) -> Option<usize> {
        let mut trend = Trend::new();
        let grows = |value| {
            trend.push(value);
            trend.rise(allowance).is_some()
        };
        values.into_iter().position(grows).map(|index| index + 1)
    }

    #[test]
    fn growth_at_every_check_is_found_after_eight() {
        assert_eq!(found((0..100).map(|i| 22 * i), 0), Some(8));
        assert_eq!(found((0..7).map(|i| 22 * i), 0), None);
        assert_eq!(found((0..100).map(|i| 22 * i), 22 * 8), Some(16), "in spans of one check it rises by 22 * 7 only");
    }

    #[test]
    fn growth_is_told_with_its_size() {
        let mut trend = Trend::new();
        (0..16).for_each(|i| trend.push(100 + i));
        assert_eq!(trend.rise(0), Some(Rise { from: 100, to: 114, checks: 16 }));
        assert_eq!(trend.rise(14), None);
    }

    #[test]
    fn growth_in_rare_steps_is_found_once_the_spans_are_long_enough() {
        let at = found((0..10_000).map(|i| i / 50), 0).expect("it grows");
        assert_eq!(at, 8 * 64, "spans of 32 checks do not all see a rise every 50");
    }

    #[test]
    fn growth_under_noise_is_found() {
        // A leak of 3 a check under a saw-tooth of 100.
        let at = found((0..10_000).map(|i| 3 * i + 100 * (i % 7)), 0).expect("it grows");
        assert!(at <= 200, "{at}");
    }

    #[test]
    fn what_settles_is_not_growth() {
        assert_eq!(found([7; 10_000], 0), None);
        assert_eq!(found((0..10_000).map(|i| i % 50), 50), None, "a saw-tooth");
        assert_eq!(found((0..10_000).map(|i| i % 5), 0), None, "a short saw-tooth, without any allowance");
        let steps = |i| [20, 400, 3000].iter().filter(|&&at| i >= at).count();
        assert_eq!(found((0..10_000).map(|i| 1000 * steps(i)), 0), None, "data that are loaded at three times");
        assert_eq!(found((0..10_000).rev(), 0), None, "a number that shrinks");
        assert_eq!(found((0..10_000).map(|i| if i < 5 { 100 * i } else { 500 }), 0), None, "a start");
    }

    #[test]
    fn growth_that_ends_is_forgotten() {
        let mut trend = Trend::new();
        (0..100).for_each(|i| trend.push(i));
        assert!(trend.rise(0).is_some());
        (0..1000).for_each(|_| trend.push(99));
        assert!(trend.rise(0).is_none());
    }
}
