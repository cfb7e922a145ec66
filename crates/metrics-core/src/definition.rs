//! What an author writes of a metric.

use serde::{Deserialize, Serialize};

use crate::{Result, Samples, SharedPasses, State, Statistics, Value};

/// What a metric is: its settings, which are the fields of the type, its states, what a batch gives, and how states become a value.
///
/// An [`Accumulator`](crate::Accumulator) of it is a [`Metric`](crate::Metric): updates, merging, checkpoints and all else come with
/// it. Serialized, the settings are the metric's [fingerprint](crate::Fingerprint), so they hold no data.
///
/// The mean absolute error:
///
/// ```
/// use candle_core::{Device, Tensor};
/// use metrics_core::{Accumulator, Definition, Metric, Reduction, Result, Samples, State, Statistics};
/// use serde::Serialize;
///
/// #[derive(Clone, Serialize)]
/// struct Mae {
///     reduction: Reduction,
/// }
///
/// impl Definition for Mae {
///     fn name(&self) -> &'static str {
///         "mae"
///     }
///
///     fn states(&self) -> State {
///         State::scores(self.reduction)
///     }
///
///     fn statistics(&self, samples: &Samples) -> Result<Statistics> {
///         Statistics::scores(&(samples.pred()? - samples.target()?)?.abs()?.flatten_from(1)?.mean(1)?)
///     }
/// }
///
/// let mut mae = Accumulator::of(Mae { reduction: Reduction::Sum })?;
/// let pred = Tensor::new(&[[0.5f32, 0.5], [1.0, 0.0]], &Device::Cpu)?;
/// mae.update(&pred, &pred.zeros_like()?)?;
/// assert_eq!(mae.compute()?.scalar(), Some(1.0));
/// # Ok::<(), metrics_core::Error>(())
/// ```
pub trait Definition: Clone + Serialize + Send + Sync + 'static {
    /// A short name, e.g. `ssim`, for errors and fingerprints.
    fn name(&self) -> &'static str;

    /// What kind of number this is. By default nothing is known.
    fn info(&self) -> MetricInfo {
        MetricInfo::default()
    }

    /// The state that a metric begins with, and is reset to: see [`State::scores`] and [`State::with`].
    fn states(&self) -> State;

    /// What one batch adds to the state. Writes nothing.
    ///
    /// # Errors
    /// When an input is refused.
    fn statistics(&self, samples: &Samples) -> Result<Statistics>;

    /// The value of a state that has a sample that counts: [`State::samples`] is at least 1. It is not called with any other, so it
    /// may divide by their number or take the first of their values. By default the reduction of the scores; who computes
    /// something else of scores also gives the value of a batch, by [`Statistics::with_value`].
    ///
    /// # Errors
    /// When the state is not one of this metric.
    fn compute(&self, state: &State) -> Result<Value> {
        state.reduced()
    }

    /// Asks for passes over the data that the members of a collection can share. A metric that shares nothing asks for none.
    fn share(&self, passes: &mut SharedPasses) {
        let _ = passes;
    }
}

/// A definition that is made of a configuration, so that `Accumulator::new` takes the latter.
pub trait Configured: Definition {
    /// The settings.
    type Config;

    /// The metric of these settings.
    ///
    /// # Errors
    /// When they are refused.
    fn configured(config: Self::Config) -> Result<Self>;

    /// The settings.
    fn config(&self) -> &Self::Config;
}

/// What kind of number a metric computes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct MetricInfo {
    /// Whether `forward` gives a value with a gradient.
    pub differentiable: bool,
    /// Whether higher is better (`Some(true)`), lower is (`Some(false)`), or neither.
    pub higher_is_better: Option<bool>,
    /// The lowest value that [`compute`](crate::Metric::compute) can give, if there is one.
    pub lower: Option<f64>,
    /// The highest value that [`compute`](crate::Metric::compute) can give, if there is one.
    pub upper: Option<f64>,
}

impl MetricInfo {
    /// Describes a value with a gradient.
    pub fn differentiable() -> Self {
        Self { differentiable: true, ..Self::default() }
    }

    /// Says whether higher values are better, or lower ones.
    pub fn higher_is_better(self, higher: bool) -> Self {
        Self { higher_is_better: Some(higher), ..self }
    }

    /// Sets the bounds of the value, where there are any.
    pub fn bounds(self, lower: Option<f64>, upper: Option<f64>) -> Self {
        Self { lower, upper, ..self }
    }
}
