//! Metrics made of other metrics.
//!
//! Each is a [`Metric`] whose state has the states of others as its parts, so that it can be a member of a
//! collection, and is merged, saved and reset as any other. What the wrapped metrics had accumulated is forgotten.

mod bootstrapper;
mod formula;
mod min_max;
mod per_label;
mod running;

pub use bootstrapper::BootStrapper;
pub use formula::Formula;
pub use min_max::MinMax;
pub use per_label::PerLabel;
pub use running::Running;

use candle_core::Tensor;

use crate::metric::value_of;
use crate::{Error, Metric, Named, Report, Result, State, Value};

/// A metric that has seen nothing, and a state of what it declares.
fn emptied<M: Metric>(mut metric: M) -> (M, State) {
    metric.reset();
    let state = metric.state().clone();
    (metric, state)
}

/// A batch's value, if it is one number.
fn number<'a>(wrapper: &str, metric: &dyn Metric, value: &'a Tensor) -> Result<&'a Tensor> {
    if value.rank() == 0 {
        return Ok(value);
    }
    Err(not_one_number(wrapper, metric, &format!("{:?}", value.dims())))
}

/// The value of a state, if it is one number.
fn scalar(wrapper: &str, metric: &dyn Metric, state: &State) -> Result<f64> {
    let value = value_of(metric, state)?;
    value.scalar().ok_or_else(|| match value {
        Value::Group(_) => not_one_number(wrapper, metric, GROUP),
        _ => not_one_number(wrapper, metric, "one for each image"),
    })
}

/// The value of a state, or NaN if it has no image that counts: one of several values that are computed together.
fn value_or_nan(metric: &dyn Metric, state: &State) -> Result<Value> {
    match value_of(metric, state) {
        Err(Error::NoData { .. }) => Ok(Value::Scalar(f64::NAN)),
        value => value,
    }
}

const GROUP: &str = "a group of values";

/// Refuses a metric that computes a group, as far as that shows without any data.
fn check_no_group(wrapper: &str, metric: &dyn Metric) -> Result<()> {
    if metric.state().is_grouped() { Err(not_one_number(wrapper, metric, GROUP)) } else { Ok(()) }
}

fn not_one_number(wrapper: &str, metric: &dyn Metric, found: &str) -> Error {
    Error::argument(wrapper, format!("the value of `{}` is {found}, but must be one number", metric.name()))
}

/// Values by name.
fn group(values: impl IntoIterator<Item = (String, Value)>) -> Result<Value> {
    let mut named = Named::new();
    for (name, value) in values {
        named.insert(name, value)?;
    }
    Ok(Value::Group(Report::from(named)))
}

/// The part of a state for the wrapped metric of this index.
fn part<'a>(wrapper: &str, state: &'a State, index: usize) -> Result<&'a State> {
    let missing = || Error::argument(wrapper, format!("`state` has no part {index}: it is of another metric"));
    state.parts()?.get(index).ok_or_else(missing)
}
