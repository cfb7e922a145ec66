//! One field of a state.

use std::fmt;

use crate::exact::{WeightedSum, larger, smaller};
use crate::{Distribution, Error, Result};

/// How a field of per-image numbers is reduced.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Reduce {
    /// Their exact sum, each times its image's weight.
    Sum,
    /// The smallest.
    Min,
    /// The largest.
    Max,
    /// All of them, in the order of the updates: 8 bytes an image.
    Collect,
    /// Count, mean, standard deviation, minimum, maximum and quantiles.
    Summary,
}

impl fmt::Display for Reduce {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Sum => "sum",
            Self::Min => "min",
            Self::Max => "max",
            Self::Collect => "collect",
            Self::Summary => "summary",
        })
    }
}

/// The data of a field.
#[derive(Clone, Debug)]
pub(super) enum Accumulator {
    Sum(Box<WeightedSum>),
    Min(f64),
    Max(f64),
    Collect(Vec<f64>),
    Summary(Box<Distribution>),
}

impl Accumulator {
    pub(super) fn new(reduce: Reduce) -> Self {
        match reduce {
            Reduce::Sum => Self::Sum(Box::default()),
            Reduce::Min => Self::Min(f64::INFINITY),
            Reduce::Max => Self::Max(f64::NEG_INFINITY),
            Reduce::Collect => Self::Collect(Vec::new()),
            Reduce::Summary => Self::Summary(Box::default()),
        }
    }

    pub(super) fn reduce(&self) -> Reduce {
        match self {
            Self::Sum(_) => Reduce::Sum,
            Self::Min(_) => Reduce::Min,
            Self::Max(_) => Reduce::Max,
            Self::Collect(_) => Reduce::Collect,
            Self::Summary(_) => Reduce::Summary,
        }
    }

    pub(super) fn reset(&mut self) {
        *self = Self::new(self.reduce());
    }

    /// Adds a column of numbers, times the weights where there are any. A weight of 0 leaves a number out.
    pub(super) fn absorb(&mut self, column: &[f64], weights: Option<&[f64]>) {
        let weight = |image: usize| weights.map_or(1.0, |weights| weights[image]);
        let weighted = column.iter().enumerate().map(|(image, &x)| (x, weight(image)));
        let kept = weighted.filter(|(_, weight)| *weight != 0.0);
        match self {
            Self::Sum(sum) => kept.for_each(|(x, weight)| sum.add(x, weight)),
            Self::Min(min) => *min = kept.fold(*min, |min, (x, _)| smaller(min, x)),
            Self::Max(max) => *max = kept.fold(*max, |max, (x, _)| larger(max, x)),
            Self::Collect(values) => values.extend(kept.map(|(x, _)| x)),
            Self::Summary(distribution) => kept.for_each(|(x, weight)| distribution.add_weighted(x, weight)),
        }
    }

    /// Adds the data of a field that is reduced in the same way.
    pub(super) fn merge(&mut self, other: &Self) -> Result<()> {
        match (self, other) {
            (Self::Sum(ours), Self::Sum(theirs)) => ours.merge(theirs),
            (Self::Min(ours), Self::Min(theirs)) => *ours = smaller(*ours, *theirs),
            (Self::Max(ours), Self::Max(theirs)) => *ours = larger(*ours, *theirs),
            (Self::Collect(ours), Self::Collect(theirs)) => ours.extend(theirs),
            (Self::Summary(ours), Self::Summary(theirs)) => ours.merge(theirs),
            (ours, theirs) => {
                let [ours, theirs] = [ours, theirs].map(|field| format!("a field of kind {}", field.reduce()));
                return Err(Error::Incompatible { ours, theirs });
            }
        }
        Ok(())
    }

    /// Memory outside of the enum itself.
    pub(super) fn bytes(&self) -> usize {
        match self {
            Self::Sum(sum) => size_of_val(&**sum),
            Self::Min(_) | Self::Max(_) => 0,
            Self::Collect(values) => size_of_val(values.as_slice()),
            // In full from the start, so that it does not seem to grow.
            Self::Summary(distribution) => size_of_val(&**distribution) + Distribution::HEAP_BYTES,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_fields_of_one_kind_are_merged() {
        let kinds = [Reduce::Sum, Reduce::Min, Reduce::Max, Reduce::Collect, Reduce::Summary];
        for ours in kinds {
            let mut field = Accumulator::new(ours);
            field.absorb(&[2.0], None);
            let before = format!("{field:?}");
            for theirs in kinds.into_iter().filter(|theirs| *theirs != ours) {
                let error = field.merge(&Accumulator::new(theirs)).expect_err("they differ").to_string();
                assert_eq!(error, format!("cannot merge a field of kind {theirs} into a field of kind {ours}"));
                assert_eq!(format!("{field:?}"), before);
            }
            field.merge(&Accumulator::new(ours)).expect("an empty field of the same kind");
            assert_eq!(format!("{field:?}"), before);
        }
    }
}
