//! Statistics on the host: plain numbers, checked.

use std::rc::Rc;

use super::{Field, Reduce};
use crate::{Error, NonFinite, Result};

/// One batch's numbers, in the order of a state's fields.
#[derive(Clone, Debug)]
pub(crate) struct HostBatch {
    pub(super) samples: usize,
    /// One for each sample; `None` where all are 1.
    pub(super) weights: Option<Vec<f64>>,
    /// One column for each field, of one row for each sample.
    pub(super) columns: Vec<Rc<[f64]>>,
    /// One for each part of the state.
    pub(super) parts: Vec<HostBatch>,
}

/// Which samples of a batch count, and how much.
pub(super) struct Included {
    /// One for each sample, 0 for those that are left out; `None` where all are 1.
    pub(super) weights: Option<Vec<f64>>,
    /// How many are not left out.
    pub(super) samples: u64,
    /// How many are left out because they are skipped.
    pub(super) skipped: u64,
}

impl HostBatch {
    /// Whether a state of this policy takes the batch.
    pub(super) fn check(&self, policy: NonFinite, fields: &[Field]) -> Result<()> {
        for (field, column) in fields.iter().zip(&self.columns) {
            if let Reduce::Count(below) = field.reduce {
                self.check_counts(&field.name, column, below)?;
                field.check_room(column.len() as u64)?;
            } else if policy == NonFinite::Error
                && let Some((sample, value)) = self.find(column, |x| !x.is_finite())
            {
                return Err(Error::NonFinite { field: field.name.clone(), sample, value });
            }
        }
        Ok(())
    }

    fn check_counts(&self, name: &str, column: &[f64], below: usize) -> Result<()> {
        let is_index = |x: f64| x >= 0.0 && x.fract() == 0.0 && x < below as f64;
        match self.find(column, |x| !is_index(x)) {
            None => Ok(()),
            Some((sample, x)) => {
                let message =
                    format!("the field `{name}` of sample {sample} has {x}, but must have integers below {below}");
                Err(Error::statistics(message))
            }
        }
    }

    /// The first number of a sample that counts for which this holds, and which sample it is.
    fn find(&self, column: &[f64], holds: impl Fn(f64) -> bool) -> Option<(usize, f64)> {
        let width = column.len() / self.samples;
        let counts = |at: usize| self.weight(at / width) != 0.0;
        let found = column.iter().enumerate().find(|&(at, &x)| holds(x) && counts(at));
        found.map(|(at, &x)| (at / width, x))
    }

    /// Whether the sample counts and has a number that is NaN or infinite.
    pub(super) fn is_bad(&self, sample: usize) -> bool {
        let row = |column: &'_ Rc<[f64]>| {
            let width = column.len() / self.samples;
            sample * width..(sample + 1) * width
        };
        self.weight(sample) != 0.0
            && !self.columns.iter().all(|column| column[row(column)].iter().all(|x| x.is_finite()))
    }

    /// Which samples count if these are skipped.
    pub(super) fn without(&self, skipped: &[usize]) -> Included {
        let mut weights = self.weights.clone();
        if !skipped.is_empty() {
            let weights = weights.get_or_insert_with(|| vec![1.0; self.samples]);
            skipped.iter().for_each(|&sample| weights[sample] = 0.0);
        }
        let left_out = weights.iter().flatten().filter(|weight| **weight == 0.0).count();
        Included { weights, samples: (self.samples - left_out) as u64, skipped: skipped.len() as u64 }
    }

    /// The same, with the weights of all samples times these factors.
    pub(super) fn reweighted(&self, factors: &[f64]) -> Self {
        let mut batch = self.clone();
        batch.reweigh(factors);
        batch
    }

    fn reweigh(&mut self, factors: &[f64]) {
        self.weights = Some(factors.iter().enumerate().map(|(sample, factor)| factor * self.weight(sample)).collect());
        self.parts.iter_mut().for_each(|part| part.reweigh(factors));
    }

    pub(super) fn weight(&self, sample: usize) -> f64 {
        self.weights.as_ref().map_or(1.0, |weights| weights[sample])
    }
}
