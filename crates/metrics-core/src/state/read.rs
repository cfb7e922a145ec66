//! Reading what a state has accumulated.

use super::accumulator::Accumulator;
use super::{Reduce, State};
use crate::error::list;
use crate::{Error, Reduction, Result, Summary, Value};

/// Reading fields. Each of these fails when there is no such field, when it was declared with another
/// reduction, or while contributions wait on a device, which [`State::drain`] reads back.
impl State {
    /// The sum of a [`Reduce::Sum`] field over all images, each times its weight, correctly rounded; 0 of no images.
    pub fn sum(&self, name: &str) -> Result<f64> {
        match self.field(name)? {
            Accumulator::Sum(sum) => Ok(sum.value()),
            other => Err(wrong_kind(name, other.reduce(), Reduce::Sum)),
        }
    }

    /// The weighted mean of a [`Reduce::Sum`] field over all images, rounded once; NaN of no images.
    pub fn mean(&self, name: &str) -> Result<f64> {
        match self.field(name)? {
            Accumulator::Sum(sum) => Ok(sum.mean()),
            other => Err(wrong_kind(name, other.reduce(), Reduce::Sum)),
        }
    }

    /// The smallest value of a [`Reduce::Min`] field; NaN if any was NaN, `+inf` of no images.
    pub fn min(&self, name: &str) -> Result<f64> {
        match self.field(name)? {
            Accumulator::Min(min) => Ok(*min),
            other => Err(wrong_kind(name, other.reduce(), Reduce::Min)),
        }
    }

    /// The largest value of a [`Reduce::Max`] field; NaN if any was NaN, `-inf` of no images.
    pub fn max(&self, name: &str) -> Result<f64> {
        match self.field(name)? {
            Accumulator::Max(max) => Ok(*max),
            other => Err(wrong_kind(name, other.reduce(), Reduce::Max)),
        }
    }

    /// Every value of a [`Reduce::Collect`] field, in the order of the updates.
    pub fn values(&self, name: &str) -> Result<&[f64]> {
        match self.field(name)? {
            Accumulator::Collect(values) => Ok(values),
            other => Err(wrong_kind(name, other.reduce(), Reduce::Collect)),
        }
    }

    /// The distribution of a [`Reduce::Summary`] field over all images.
    pub fn summary(&self, name: &str) -> Result<Summary> {
        match self.field(name)? {
            Accumulator::Summary(distribution) => Ok(distribution.summary()),
            other => Err(wrong_kind(name, other.reduce(), Reduce::Summary)),
        }
    }

    /// The value of a field declared by [`State::for_reduction`] with the same reduction.
    pub fn reduced(&self, name: &str, reduction: Reduction) -> Result<Value> {
        Ok(match reduction {
            Reduction::Mean => Value::Scalar(self.mean(name)?),
            Reduction::Sum => Value::Scalar(self.sum(name)?),
            Reduction::None => Value::PerImage(self.values(name)?.to_vec()),
            Reduction::Summary => Value::Summary(self.summary(name)?),
        })
    }

    pub(super) fn check_drained(&self) -> Result<()> {
        if self.waiting() == 0 {
            return Ok(());
        }
        let message = format!("{} updates wait on a device, but must be read back with `drain` first", self.waiting());
        Err(Error::argument("state", message))
    }

    fn field(&self, name: &str) -> Result<&Accumulator> {
        self.check_drained()?;
        let field = self.fields.iter().find(|field| field.name == name);
        field.map(|field| &field.accumulator).ok_or_else(|| {
            Error::argument("state", format!("there is no field `{name}`; there is {}", list(&self.names())))
        })
    }
}

fn wrong_kind(name: &str, declared: Reduce, asked: Reduce) -> Error {
    Error::argument("state", format!("the field `{name}` is declared as {declared}, but was read as {asked}"))
}
