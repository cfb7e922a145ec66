//! One field of a state: what is declared of it, and its data.

use std::fmt;

use super::MAX_COUNT;
use crate::exact::{ExactArray, ExactSum, WeightedSum, larger, smaller};
use crate::{Distribution, Error, Result};

/// How the numbers of a field are reduced over samples.
///
/// Every kind merges, is saved, synchronized, and waits on a device in the same way. Sums are exact, so that they do not depend on
/// the order of the samples or on how these were split.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Reduce {
    /// The exact sum of one number per sample, each times the sample's weight.
    Sum,
    /// The smallest of one number per sample.
    Min,
    /// The largest of one number per sample.
    Max,
    /// The number of the last sample. When two states are merged, the other's is taken to be the later one, and in a sync that of the
    /// last rank.
    Last,
    /// Every number, one per sample, in the order of the updates: 8 bytes a sample.
    Collect,
    /// Count, mean, standard deviation, minimum, maximum and quantiles of one number per sample.
    Summary,
    /// The exact sum of one array of this shape per sample, each times the sample's weight: a vector, a matrix.
    SumArrays(Vec<usize>),
    /// The exact sum `Σ w·x·xᵀ` of one vector `x` of this length per sample, of weight `w`: with [`Reduce::SumArrays`] of the same
    /// vectors, what a covariance is made of. It is exact where `w` is 1, and else where `x·xᵀ` neither overflows nor
    /// underflows.
    SumOuter(usize),
    /// How often each of the integers from 0 to below this occurs, of any number of them per sample: a histogram, or the cells of a
    /// confusion matrix. A sample of weight 0 is left out; other weights have no influence.
    Count(usize),
    /// Every array, one of this shape per sample, in the order of the updates: 8 bytes a number.
    CollectArrays(Vec<usize>),
}

impl Reduce {
    /// The shape of what one sample gives; `None` where it may be any.
    pub(super) fn shape(&self) -> Option<Vec<usize>> {
        match self {
            Self::Sum | Self::Min | Self::Max | Self::Last | Self::Collect | Self::Summary => Some(Vec::new()),
            Self::SumArrays(shape) | Self::CollectArrays(shape) => Some(shape.clone()),
            Self::SumOuter(length) => Some(vec![*length]),
            Self::Count(_) => None,
        }
    }

    /// Whether every sample's numbers are kept, so that the state grows.
    pub(super) fn collects(&self) -> bool {
        matches!(self, Self::Collect | Self::CollectArrays(_))
    }

    /// How many numbers one sample gives, where that is declared.
    pub(super) fn width(&self) -> usize {
        self.shape().map_or(0, |shape| product(&shape))
    }

    /// How many numbers are kept of all samples, or of each sample where they are collected.
    pub(super) fn length(&self) -> usize {
        match self {
            Self::SumArrays(shape) | Self::CollectArrays(shape) => product(shape),
            // On and above the diagonal.
            Self::SumOuter(length) => length.saturating_mul(length.saturating_add(1)) / 2,
            Self::Count(length) => *length,
            _ => 1,
        }
    }
}

/// More than there can be numbers where it does not fit.
fn product(shape: &[usize]) -> usize {
    shape.iter().fold(1, |product: usize, side| product.saturating_mul(*side))
}

impl fmt::Display for Reduce {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sum => f.pad("sum"),
            Self::Min => f.pad("min"),
            Self::Max => f.pad("max"),
            Self::Last => f.pad("last"),
            Self::Collect => f.pad("collect"),
            Self::Summary => f.pad("summary"),
            Self::SumArrays(shape) => write!(f, "sum of arrays {shape:?}"),
            Self::SumOuter(length) => write!(f, "sum of outer products of [{length}]"),
            Self::Count(length) => write!(f, "count below {length}"),
            Self::CollectArrays(shape) => write!(f, "collect arrays {shape:?}"),
        }
    }
}

/// A declared field.
#[derive(Clone, Debug)]
pub(crate) struct Field {
    pub(crate) name: String,
    pub(crate) reduce: Reduce,
    pub(crate) data: Data,
}

/// The data of a field.
#[derive(Clone, Debug)]
pub(crate) enum Data {
    Sum(Box<WeightedSum>),
    /// Of `Min` and `Max`.
    Number(f64),
    Summary(Box<Distribution>),
    Arrays(Box<ArraySum>),
    Counts(Vec<u64>),
    /// One row for each sample, or the last row.
    Rows(Vec<f64>),
}

/// A sum of arrays, and the sum of their weights.
#[derive(Clone, Debug)]
pub(crate) struct ArraySum {
    pub(crate) sums: ExactArray,
    pub(crate) weight: ExactSum,
}

impl Data {
    /// Of no samples.
    fn empty(reduce: &Reduce) -> Self {
        match reduce {
            Reduce::Sum => Self::Sum(Box::default()),
            Reduce::Min => Self::Number(f64::INFINITY),
            Reduce::Max => Self::Number(f64::NEG_INFINITY),
            Reduce::Summary => Self::Summary(Box::default()),
            Reduce::SumArrays(_) | Reduce::SumOuter(_) => {
                Self::Arrays(Box::new(ArraySum { sums: ExactArray::new(reduce.length()), weight: ExactSum::new() }))
            }
            Reduce::Count(length) => Self::Counts(vec![0; *length]),
            Reduce::Last | Reduce::Collect | Reduce::CollectArrays(_) => Self::Rows(Vec::new()),
        }
    }
}

impl Field {
    pub(super) fn new(name: String, reduce: Reduce) -> Self {
        let data = Data::empty(&reduce);
        Self { name, reduce, data }
    }

    pub(super) fn reset(&mut self) {
        self.data = Data::empty(&self.reduce);
    }

    /// Whether so much more can be counted.
    pub(super) fn check_room(&self, added: u64) -> Result<()> {
        let Data::Counts(counts) = &self.data else { return Ok(()) };
        let total = counts.iter().fold(0u64, |total, count| total.saturating_add(*count));
        if total.saturating_add(added) <= MAX_COUNT {
            return Ok(());
        }
        let message = format!(
            "the field `{}` has counted {total} and is to count {added} more, but no more than {MAX_COUNT} in all",
            self.name
        );
        Err(Error::argument("state", message))
    }

    /// Whether another field can be merged.
    pub(super) fn check_room_for(&self, other: &Self) -> Result<()> {
        let Data::Counts(counts) = &other.data else { return Ok(()) };
        self.check_room(counts.iter().fold(0, |total, count| total.saturating_add(*count)))
    }

    /// Adds the rows of a column, one for each sample, times the weights where there are any. A weight of 0 leaves a row out.
    pub(super) fn accumulate(&mut self, column: &[f64], samples: usize, weights: Option<&[f64]>) {
        let width = column.len() / samples.max(1);
        let rows = (0..samples)
            .map(|sample| (&column[sample * width..][..width], weights.map_or(1.0, |weights| weights[sample])));
        let included = rows.filter(|(_, weight)| *weight != 0.0);
        match &mut self.data {
            Data::Sum(sum) => numbers(included).for_each(|(x, weight)| sum.add(x, weight)),
            Data::Number(number) => {
                let extreme = extreme(&self.reduce);
                *number = numbers(included).fold(*number, |number, (x, _)| extreme(number, x));
            }
            Data::Summary(distribution) => {
                numbers(included).for_each(|(x, weight)| distribution.add_weighted(x, weight))
            }
            Data::Arrays(arrays) => {
                let outer = matches!(self.reduce, Reduce::SumOuter(_));
                included.for_each(
                    |(row, weight)| if outer { arrays.add_outer(row, weight) } else { arrays.add(row, weight) },
                );
            }
            Data::Counts(counts) => numbers(included).for_each(|(x, _)| {
                // Checked before; conversion saturates.
                if let Some(count) = counts.get_mut(x as usize) {
                    *count = count.saturating_add(1);
                }
            }),
            Data::Rows(rows) if self.reduce == Reduce::Last => {
                replace_last(rows, numbers(included).map(|(x, _)| x).last())
            }
            Data::Rows(rows) => included.for_each(|(row, _)| rows.extend_from_slice(row)),
        }
    }

    /// Adds the data of a field that is reduced in the same way.
    pub(super) fn merge(&mut self, other: &Self) -> Result<()> {
        if self.reduce != other.reduce {
            let [ours, theirs] = [self, other].map(|field| format!("a field of kind {}", field.reduce));
            return Err(Error::Incompatible { ours, theirs });
        }
        match (&mut self.data, &other.data) {
            (Data::Sum(ours), Data::Sum(theirs)) => ours.merge(theirs),
            (Data::Number(ours), Data::Number(theirs)) => *ours = extreme(&self.reduce)(*ours, *theirs),
            (Data::Summary(ours), Data::Summary(theirs)) => ours.merge(theirs),
            (Data::Arrays(ours), Data::Arrays(theirs)) => {
                ours.sums.merge(&theirs.sums)?;
                ours.weight.merge(&theirs.weight);
            }
            (Data::Counts(ours), Data::Counts(theirs)) => {
                ours.iter_mut().zip(theirs).for_each(|(ours, theirs)| *ours = ours.saturating_add(*theirs));
            }
            (Data::Rows(ours), Data::Rows(theirs)) if self.reduce == Reduce::Last => {
                replace_last(ours, theirs.last().copied());
            }
            (Data::Rows(ours), Data::Rows(theirs)) => ours.extend(theirs),
            _ => {}
        }
        Ok(())
    }

    /// Memory outside of the field itself, but for its name.
    pub(super) fn bytes(&self) -> usize {
        match &self.data {
            Data::Sum(sum) => size_of_val(&**sum),
            Data::Number(_) => 0,
            // In full from the start, so that it does not seem to grow.
            Data::Summary(distribution) => size_of_val(&**distribution) + Distribution::HEAP_BYTES,
            Data::Arrays(arrays) => size_of_val(&**arrays) + arrays.sums.bytes(),
            Data::Counts(counts) => size_of_val(counts.as_slice()),
            Data::Rows(rows) => size_of_val(rows.as_slice()),
        }
    }
}

impl ArraySum {
    fn add(&mut self, row: &[f64], weight: f64) {
        row.iter().enumerate().for_each(|(index, &x)| self.sums.add_product(index, x, weight));
        self.weight.add(weight);
    }

    /// The products are symmetric, so those above the diagonal are enough.
    fn add_outer(&mut self, row: &[f64], weight: f64) {
        let pairs = row.iter().enumerate().flat_map(|(i, &x)| row[i..].iter().map(move |&y| (x, y)));
        for (index, (x, y)) in pairs.enumerate() {
            if weight == 1.0 {
                self.sums.add_product(index, x, y);
                continue;
            }
            let product = x * y;
            self.sums.add_product(index, product, weight);
            // What the product rounds off; it is no number where the product is not finite.
            let rest = x.mul_add(y, -product);
            if rest != 0.0 && rest.is_finite() {
                self.sums.add_product(index, rest, weight);
            }
        }
        self.weight.add(weight);
    }
}

fn numbers<'a>(rows: impl Iterator<Item = (&'a [f64], f64)>) -> impl Iterator<Item = (f64, f64)> {
    rows.flat_map(|(row, weight)| row.iter().map(move |&x| (x, weight)))
}

/// Which of two numbers stays.
fn extreme(reduce: &Reduce) -> fn(f64, f64) -> f64 {
    if *reduce == Reduce::Min { smaller } else { larger }
}

fn replace_last(rows: &mut Vec<f64>, last: Option<f64>) {
    if let Some(last) = last {
        *rows = vec![last];
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_fields_of_one_kind_are_merged() {
        let kinds = [
            Reduce::Sum,
            Reduce::Min,
            Reduce::Max,
            Reduce::Last,
            Reduce::Collect,
            Reduce::Summary,
            Reduce::SumArrays(vec![1]),
            Reduce::SumArrays(vec![1, 1]),
            Reduce::SumOuter(1),
            Reduce::Count(3),
            Reduce::Count(4),
            Reduce::CollectArrays(vec![1]),
        ];
        for ours in &kinds {
            let mut field = Field::new("field".into(), ours.clone());
            field.accumulate(&[2.0], 1, None);
            let before = format!("{field:?}");
            for theirs in kinds.iter().filter(|theirs| *theirs != ours) {
                let other = Field::new("field".into(), theirs.clone());
                let error = field.merge(&other).expect_err("they differ").to_string();
                assert_eq!(error, format!("cannot merge a field of kind {theirs} into a field of kind {ours}"));
                assert_eq!(format!("{field:?}"), before);
            }
            field.merge(&Field::new("field".into(), ours.clone())).expect("an empty field of the same kind");
            assert_eq!(format!("{field:?}"), before);
        }
    }
}
