//! Numbers of the training loop as metrics.

use serde::Serialize;

use crate::samples::NumberSource;
use crate::{
    Accumulator, Definition, Error, Fingerprint, Metric, Number, Reduce, Result, Samples, State, Statistics, Value,
};

/// A number of the loop, such as the training loss or the learning rate, aggregated over updates.
///
/// As a member of a collection it takes the [number of its name](Samples::number), and is in its report and its checkpoint;
/// by itself it takes numbers by `add`. A number may have a weight, which counts in mean and sum; one of weight 0 is left out. Numbers on
/// a device are read back together, so that adding one does not wait for it.
///
/// ```
/// use candle_core::{Device, Tensor};
/// use metrics_core::{Aggregate, Metric, MetricCollection, Samples};
///
/// let mut metrics = MetricCollection::new()
///     .with("loss", Aggregate::mean("loss"))?
///     .with("worst loss", Aggregate::max("loss"))?
///     .with("rate", Aggregate::last("learning rate"))?;
/// for (loss, rate) in [(0.5f32, 1e-3), (0.25, 1e-4)] {
///     let loss = Tensor::new(loss, &Device::Cpu)?; // on any device, and with a graph: it is detached
///     metrics.update_with(&Samples::default().number("loss", &loss).number("learning rate", rate))?;
/// }
/// let report = metrics.compute()?;
/// let scalar = |name| report.scalar(name);
/// assert_eq!([scalar("loss"), scalar("worst loss"), scalar("rate")], [Some(0.375), Some(0.5), Some(1e-4)]);
///
/// let mut loss = Aggregate::sum("loss");
/// loss.add(0.5)?;
/// loss.add_weighted(0.25, 2.0)?;
/// assert_eq!(loss.compute()?.scalar(), Some(1.0));
/// # Ok::<(), metrics_core::Error>(())
/// ```
#[derive(Clone, Debug, Serialize)]
pub struct Aggregate {
    number: String,
    by: By,
}

#[derive(Clone, Copy, Debug, Serialize)]
enum By {
    Mean,
    Sum,
    Min,
    Max,
    Last,
}

impl Aggregate {
    /// The weighted mean, correctly rounded.
    pub fn mean(number: impl Into<String>) -> Accumulator<Self> {
        Self::by(number, By::Mean)
    }

    /// The weighted sum, correctly rounded.
    pub fn sum(number: impl Into<String>) -> Accumulator<Self> {
        Self::by(number, By::Sum)
    }

    /// The smallest.
    pub fn min(number: impl Into<String>) -> Accumulator<Self> {
        Self::by(number, By::Min)
    }

    /// The largest.
    pub fn max(number: impl Into<String>) -> Accumulator<Self> {
        Self::by(number, By::Max)
    }

    /// The last.
    pub fn last(number: impl Into<String>) -> Accumulator<Self> {
        Self::by(number, By::Last)
    }

    fn by(number: impl Into<String>, by: By) -> Accumulator<Self> {
        let aggregate = Self { number: number.into(), by };
        let fingerprint = Fingerprint::of_setting(aggregate.name(), "number", aggregate.number.as_str());
        Accumulator::with_fingerprint(aggregate, fingerprint)
    }
}

impl Accumulator<Aggregate> {
    /// Adds a number: plain, or a scalar tensor.
    ///
    /// # Errors
    /// For a tensor that is not one number.
    pub fn add(&mut self, number: impl Into<Number>) -> Result<()> {
        self.add_weighted(number, 1.0)
    }

    /// Adds a number with a weight.
    ///
    /// # Errors
    /// As [`add`](Self::add), and for a weight that is negative or not finite.
    pub fn add_weighted(&mut self, number: impl Into<Number>, weight: f64) -> Result<()> {
        let name = self.definition().number.clone();
        self.update_with(&Samples::default().weighted_number(&name, number, weight))
    }
}

const NUMBER: &str = "number";

impl Definition for Aggregate {
    fn name(&self) -> &'static str {
        match self.by {
            By::Mean => "mean",
            By::Sum => "sum",
            By::Min => "min",
            By::Max => "max",
            By::Last => "last",
        }
    }

    fn states(&self) -> State {
        State::new().with(
            NUMBER,
            match self.by {
                By::Mean | By::Sum => Reduce::Sum,
                By::Min => Reduce::Min,
                By::Max => Reduce::Max,
                By::Last => Reduce::Last,
            },
        )
    }

    fn statistics(&self, samples: &Samples) -> Result<Statistics> {
        let (number, weight) = samples.find_number(&self.number)?;
        let statistics = Statistics::new(1).of_number();
        let statistics = match number {
            NumberSource::Plain(number) => statistics.with_values(NUMBER, vec![*number]),
            NumberSource::Tensor(number) if number.elem_count() == 1 => statistics.with(NUMBER, &number.reshape(1)?),
            NumberSource::Tensor(number) => {
                let message = format!("the number `{}` is {:?}, but must be one number", self.number, number.dims());
                return Err(Error::argument("samples", message));
            }
        };
        statistics.with_weights(&[weight]).map_err(|_| {
            let message =
                format!("the weight of the number `{}` is {weight}, but must be finite and not negative", self.number);
            Error::argument("samples", message)
        })
    }

    fn compute(&self, state: &State) -> Result<Value> {
        Ok(Value::Scalar(match self.by {
            By::Mean => state.mean(NUMBER)?,
            By::Sum => state.sum(NUMBER)?,
            By::Min => state.min(NUMBER)?,
            By::Max => state.max(NUMBER)?,
            By::Last => state.last(NUMBER)?.unwrap_or(f64::NAN),
        }))
    }
}
