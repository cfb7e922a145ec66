//! Reading what a state has accumulated.

use super::statistics::SCORE;
use super::{ArraySum, Data, Field, Reduce, State};
use crate::error::list;
use crate::exact::WeightedSum;
use crate::{Error, Reduction, Result, Summary, Value};

/// Reading fields. Each of these fails when there is no such field, when it was declared with another
/// reduction, or while statistics wait on a device, which [`State::drain`] reads back.
impl State {
    /// The sum of a [`Reduce::Sum`] field over all samples, each times its weight, correctly rounded; 0 of no samples.
    pub fn sum(&self, name: &str) -> Result<f64> {
        self.weighted_sum(name).map(WeightedSum::value)
    }

    /// The weighted mean of a [`Reduce::Sum`] field over all samples, rounded once; NaN of no samples.
    pub fn mean(&self, name: &str) -> Result<f64> {
        self.weighted_sum(name).map(WeightedSum::mean)
    }

    /// The smallest value of a [`Reduce::Min`] field; NaN if any was NaN, `+inf` of no samples.
    pub fn min(&self, name: &str) -> Result<f64> {
        self.number(name, &Reduce::Min)
    }

    /// The largest value of a [`Reduce::Max`] field; NaN if any was NaN, `-inf` of no samples.
    pub fn max(&self, name: &str) -> Result<f64> {
        self.number(name, &Reduce::Max)
    }

    /// The last value of a [`Reduce::Last`] field, if there is one.
    pub fn last(&self, name: &str) -> Result<Option<f64>> {
        match self.field(name)? {
            Field { reduce: Reduce::Last, data: Data::Rows(last), .. } => Ok(last.last().copied()),
            other => Err(wrong_kind(other, "last")),
        }
    }

    /// Every number of a [`Reduce::Collect`] or [`Reduce::CollectArrays`] field, in the order of the updates.
    pub fn values(&self, name: &str) -> Result<&[f64]> {
        match self.field(name)? {
            Field { reduce: Reduce::Collect | Reduce::CollectArrays(_), data: Data::Rows(values), .. } => Ok(values),
            other => Err(wrong_kind(other, "collect")),
        }
    }

    /// The distribution of a [`Reduce::Summary`] field over all samples.
    pub fn summary(&self, name: &str) -> Result<Summary> {
        match self.field(name)? {
            Field { data: Data::Summary(distribution), .. } => Ok(distribution.summary()),
            other => Err(wrong_kind(other, "summary")),
        }
    }

    /// The sums of a [`Reduce::SumArrays`] or [`Reduce::SumOuter`] field in row-major order, each correctly rounded.
    pub fn array_sum(&self, name: &str) -> Result<Vec<f64>> {
        let (arrays, reduce) = self.arrays(name)?;
        let sums = arrays.sums.values();
        let &Reduce::SumOuter(length) = reduce else { return Ok(sums) };
        // Row `i` above the diagonal begins after rows of `length`, `length - 1`, ... numbers.
        let above = |i: usize, j: usize| sums[i * length - i * i.saturating_sub(1) / 2 + j - i];
        let square = (0..length).flat_map(|i| (0..length).map(move |j| (i.min(j), i.max(j))));
        Ok(square.map(|(i, j)| above(i, j)).collect())
    }

    /// The sums of [`State::array_sum`] divided by the sum of the samples' weights; NaN of no samples.
    pub fn array_mean(&self, name: &str) -> Result<Vec<f64>> {
        let weight = self.arrays(name)?.0.weight.value();
        Ok(self.array_sum(name)?.into_iter().map(|sum| sum / weight).collect())
    }

    /// How often each integer of a [`Reduce::Count`] field occurred.
    pub fn counts(&self, name: &str) -> Result<&[u64]> {
        match self.field(name)? {
            Field { data: Data::Counts(counts), .. } => Ok(counts),
            other => Err(wrong_kind(other, "count")),
        }
    }

    /// The value of a state that was declared by [`State::scores`].
    pub fn reduced(&self) -> Result<Value> {
        let Some(reduction) = self.reduction else {
            let message =
                "it has no scores that are reduced: declare it by `State::scores`, or compute the value of its fields";
            return Err(Error::argument("state", message));
        };
        Ok(match reduction {
            Reduction::Mean => Value::Scalar(self.mean(SCORE)?),
            Reduction::Sum => Value::Scalar(self.sum(SCORE)?),
            Reduction::None => Value::PerImage(self.values(SCORE)?.to_vec()),
            Reduction::Summary => Value::Summary(self.summary(SCORE)?),
        })
    }

    /// How the scores are reduced, where the state was declared by [`State::scores`] or keeps the last updates of one that was.
    pub(crate) fn reduction(&self) -> Option<Reduction> {
        if self.is_recent() { self.inner().and_then(Self::reduction) } else { self.reduction }
    }

    fn weighted_sum(&self, name: &str) -> Result<&WeightedSum> {
        match self.field(name)? {
            Field { data: Data::Sum(sum), .. } => Ok(sum),
            other => Err(wrong_kind(other, "sum")),
        }
    }

    fn number(&self, name: &str, asked: &Reduce) -> Result<f64> {
        match self.field(name)? {
            Field { reduce, data: Data::Number(number), .. } if reduce == asked => Ok(*number),
            other => Err(wrong_kind(other, &asked.to_string())),
        }
    }

    fn arrays(&self, name: &str) -> Result<(&ArraySum, &Reduce)> {
        match self.field(name)? {
            Field { data: Data::Arrays(arrays), reduce, .. } => Ok((arrays, reduce)),
            other => Err(wrong_kind(other, "sum of arrays")),
        }
    }

    pub(super) fn check_drained(&self) -> Result<()> {
        if self.waiting() == 0 {
            return Ok(());
        }
        let message = format!("{} updates wait on a device, but must be read back with `drain` first", self.waiting());
        Err(Error::argument("state", message))
    }

    fn field(&self, name: &str) -> Result<&Field> {
        self.check_drained()?;
        self.fields.iter().find(|field| field.name == name).ok_or_else(|| {
            let names: Vec<_> = self.fields.iter().map(|field| &field.name).collect();
            Error::argument("state", format!("there is no field `{name}`; there is {}", list(&names)))
        })
    }
}

fn wrong_kind(Field { name, reduce, .. }: &Field, asked: &str) -> Error {
    Error::argument("state", format!("the field `{name}` is declared as {reduce}, but was read as {asked}"))
}
