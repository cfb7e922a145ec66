//! Metrics made of other metrics.
//!
//! Each is a [`Definition`](crate::Definition) whose state has the states of others as its parts, so that it can be a member of a
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

use crate::{Error, Metric, Named, Reduction, Report, Result, State, Value};

/// A metric that has seen nothing.
fn emptied<M: Metric>(mut metric: M) -> M {
    metric.reset();
    metric
}

/// The value of a state, if it is one number.
fn scalar(wrapper: &str, metric: &dyn Metric, state: &State) -> Result<f64> {
    one_number(wrapper, metric, &metric.compute_of(state)?)
}

fn one_number(wrapper: &str, metric: &dyn Metric, value: &Value) -> Result<f64> {
    value.scalar().ok_or_else(|| match value {
        Value::Group(_) => not_one_number(wrapper, metric, GROUP),
        Value::Array { shape, .. } => not_one_number(wrapper, metric, &format!("an array {shape:?}")),
        _ => not_one_number(wrapper, metric, PER_SAMPLE),
    })
}

/// The value of a state, or NaN if it has no sample that counts: one of several values that are computed together.
fn value_or_nan(metric: &dyn Metric, state: &State) -> Result<Value> {
    match metric.compute_of(state) {
        Err(Error::NoData { .. }) => Ok(Value::Scalar(f64::NAN)),
        value => value,
    }
}

const GROUP: &str = "a group of values";
const PER_SAMPLE: &str = "one for each sample";

/// Refuses a metric whose value is not one number, as far as that shows without any data.
fn check_one_number(wrapper: &str, metric: &dyn Metric) -> Result<()> {
    if metric.state().is_grouped() {
        return Err(not_one_number(wrapper, metric, GROUP));
    }
    if metric.state().reduction() == Some(Reduction::None) {
        return Err(not_one_number(wrapper, metric, PER_SAMPLE));
    }
    Ok(())
}

fn not_one_number(wrapper: &str, metric: &dyn Metric, found: &str) -> Error {
    Error::argument(wrapper, format!("the value of `{}` is {found}, but must be one number", metric.name()))
}

/// Refuses a number of the loop where samples are.
fn of_number_of_the_loop(wrapper: &str, metric: &dyn Metric) -> Error {
    let message = format!("`{}` is of a number of the loop, but must be of samples here", metric.name());
    Error::argument(wrapper, message)
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
