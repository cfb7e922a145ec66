//! What all pairs so far add up to.

use anyhow::Result;
use metrics_core::Value;
use serde::{Deserialize, Serialize};

use crate::metrics::{Accumulated, Column, PairScores, Scorer};

/// So many failed pairs are listed by name, and it is said how many more there are; each was a line on standard error.
const LISTED: usize = 1000;

/// Scores and failures of the pairs so far.
#[derive(Clone)]
pub(crate) struct Tally {
    pub(crate) accumulated: Accumulated,
    pub(crate) counts: Counts,
}

/// What is counted besides the scores.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Counts {
    /// Pairs that were scored, skipped, or failed.
    pub(crate) done: u64,
    pub(crate) scored: u64,
    pub(crate) skipped: u64,
    pub(crate) failed: u64,
    /// Scored pairs that are too small for a column.
    pub(crate) small: Vec<u64>,
    /// Scored pairs of which there is no map, though there should be.
    pub(crate) undrawn: u64,
    /// Pairs of which a column is not a number.
    pub(crate) nan: Vec<u64>,
    /// The pair with the worst image by each column, the first of several.
    pub(crate) worst: Vec<Option<Worst>>,
    pub(crate) failures: Vec<Failure>,
}

impl Counts {
    /// How many failed that are not listed.
    pub(crate) fn unlisted(&self) -> u64 {
        self.failed.saturating_sub(self.failures.len() as u64)
    }

    /// Whether they can be of so many columns and a part of so many pairs.
    pub(crate) fn fit(&self, columns: usize, pairs: u64) -> bool {
        let sum = self.scored.checked_add(self.skipped).and_then(|sum| sum.checked_add(self.failed));
        let of_scored = |counts: &[u64]| counts.len() == columns && counts.iter().all(|&count| count <= self.scored);
        sum == Some(self.done)
            && self.done <= pairs
            && self.undrawn <= self.scored
            && of_scored(&self.small)
            && of_scored(&self.nan)
            && self.worst.len() == columns
            && self.failures.len() as u64 == self.failed.min(LISTED as u64)
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Worst {
    pub(crate) pair: String,
    /// The bits of the number, because JSON has no infinities.
    bits: u64,
}

impl Worst {
    fn new(pair: &str, value: f64) -> Self {
        Self { pair: pair.into(), bits: value.to_bits() }
    }

    pub(crate) fn value(&self) -> f64 {
        f64::from_bits(self.bits)
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Failure {
    pub(crate) pair: String,
    pub(crate) error: String,
}

/// A column over all pairs.
pub(crate) struct Total {
    pub(crate) value: Value,
    /// There is none of what is pooled.
    pub(crate) worst: Option<Worst>,
}

impl Total {
    /// The mean, or what is pooled.
    pub(crate) fn value(&self) -> f64 {
        self.value.scalar().unwrap_or(f64::NAN)
    }
}

impl Tally {
    pub(crate) fn new(scorer: &Scorer) -> Self {
        let columns = scorer.columns().len();
        let (worst, nan, small) = (vec![None; columns], vec![0; columns], vec![0; columns]);
        Self { accumulated: scorer.accumulated(), counts: Counts { worst, nan, small, ..Counts::default() } }
    }

    /// Counts a scored pair; what it adds to the metrics is for the caller to merge before, since that may fail.
    pub(crate) fn score(&mut self, pair: &str, scores: &PairScores, columns: &[Column]) {
        let counts = &mut self.counts;
        counts.done += 1;
        counts.scored += 1;
        counts.undrawn += u64::from(scores.undrawn.is_some());
        for ((nan, small), value) in counts.nan.iter_mut().zip(&mut counts.small).zip(&scores.values) {
            *nan += u64::from(value.is_some_and(f64::is_nan));
            *small += u64::from(value.is_none());
        }
        for ((worst, column), value) in counts.worst.iter_mut().zip(columns).zip(&scores.worst) {
            let Some(value) = value.filter(|_| column.is_per_pair()) else { continue };
            let worse = |than: &Worst| is_worse(value, than.value(), column.kind.higher_is_better());
            if worst.as_ref().is_none_or(worse) {
                *worst = Some(Worst::new(pair, value));
            }
        }
    }

    pub(crate) fn fail(&mut self, pair: &str, error: String) {
        self.counts.done += 1;
        self.counts.failed += 1;
        if self.counts.failures.len() < LISTED {
            self.counts.failures.push(Failure { pair: pair.into(), error });
        }
    }

    pub(crate) fn skip(&mut self) {
        self.counts.done += 1;
        self.counts.skipped += 1;
    }

    /// The value of each column, `None` where no pair has one.
    pub(crate) fn totals(&self, columns: &[Column]) -> Result<Vec<Option<Total>>> {
        let total = |(column, worst): (&Column, &Option<Worst>)| {
            let value = self.accumulated.value(column)?;
            Ok(value.map(|value| Total { value, worst: worst.clone() }))
        };
        columns.iter().zip(&self.counts.worst).map(total).collect()
    }
}

/// NaN is the worst there is.
pub(crate) fn is_worse(a: f64, than: f64, higher_is_better: bool) -> bool {
    match (a.is_nan(), than.is_nan()) {
        (_, true) => false,
        (true, false) => true,
        (false, false) if higher_is_better => a < than,
        (false, false) => a > than,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_that_cannot_be_do_not_fit() {
        let failure = Failure { pair: "a".into(), error: String::new() };
        let fine = Counts {
            done: 3,
            scored: 2,
            failed: 1,
            small: vec![0, 2],
            nan: vec![1, 0],
            worst: vec![None; 2],
            failures: vec![failure],
            ..Counts::default()
        };
        assert!(fine.fit(2, 3));
        let wrong = [
            fine.fit(2, 2),
            fine.fit(1, 3),
            Counts { done: 2, ..fine.clone() }.fit(2, 3),
            Counts { skipped: u64::MAX, ..fine.clone() }.fit(2, 3),
            Counts { undrawn: 3, ..fine.clone() }.fit(2, 3),
            Counts { small: vec![0, 3], ..fine.clone() }.fit(2, 3),
            Counts { nan: vec![0], ..fine.clone() }.fit(2, 3),
            Counts { worst: vec![], ..fine.clone() }.fit(2, 3),
            Counts { failures: vec![], ..fine.clone() }.fit(2, 3),
        ];
        assert!(!wrong.contains(&true), "{wrong:?}");
    }
}
