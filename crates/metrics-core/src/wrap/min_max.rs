//! [`MinMax`].

use std::sync::Arc;

use serde::Serialize;

use super::{check_one_number, emptied, group, one_number, part, scalar, value_or_nan};
use crate::state::{EXTREMES, ValueOfBatch};
use crate::{Accumulator, Definition, Metric, MetricInfo, Result, Samples, SharedPasses, State, Statistics, Value};

/// A metric, with the smallest and the largest value that a batch had.
///
/// Computes a group of three: `value`, of everything added; `min` and `max`, of what the metric computes of each batch alone, weights,
/// labels and [skipped samples](crate::NonFinite::Skip) considered. A batch without a sample that counts has no value, and a NaN among
/// the values makes `min` and `max` NaN.
/// Computing changes nothing, and merging gives the extremes of all batches.
///
/// ```
#[doc = include_str!("../../doc/mae.md")]
/// use candle_core::{Device, Tensor};
/// use metrics_core::{Metric, MinMax};
///
/// let mut metric = MinMax::new(Mae::new())?;
/// let target = Tensor::new(&[[0f32]], &Device::Cpu)?;
/// for error in [2f32, 1.0, 6.0] {
///     metric.update(&Tensor::new(&[[error]], &Device::Cpu)?, &target)?;
/// }
/// assert_eq!(format!("{:.1}", metric.compute()?), "{value: 3.0, min: 1.0, max: 6.0}");
/// # Ok::<(), metrics_core::Error>(())
/// ```
#[derive(Clone, Serialize)]
#[serde(tag = "wrapper")]
pub struct MinMax<M> {
    of: M,
}

impl<M: Metric + Clone + Serialize + 'static> MinMax<M> {
    /// Wraps a metric whose value is one number.
    ///
    /// # Errors
    /// For a metric that computes a group or one number for each sample.
    pub fn new(metric: M) -> Result<Accumulator<Self>> {
        check_one_number("MinMax", &metric)?;
        Accumulator::of(Self { of: emptied(metric) })
    }
}

impl<M: Metric + Clone + Serialize + 'static> Definition for MinMax<M> {
    fn name(&self) -> &'static str {
        self.of.name()
    }

    fn info(&self) -> MetricInfo {
        self.of.info()
    }

    fn states(&self) -> State {
        let metric = self.of.clone();
        let value = ValueOfBatch(Arc::new(move |state| scalar("MinMax", &metric, state)));
        State::extremes(self.of.state().clone(), value).grouped()
    }

    fn statistics(&self, samples: &Samples) -> Result<Statistics> {
        self.of.statistics(samples)
    }

    fn compute(&self, state: &State) -> Result<Value> {
        let value = value_or_nan(&self.of, part("MinMax", state, 0)?)?;
        one_number("MinMax", &self.of, &value)?;
        let extremes = part("MinMax", state, 1)?;
        let [min, max] = EXTREMES;
        let (least, most) = (Value::Scalar(extremes.min(min)?), Value::Scalar(extremes.max(max)?));
        group([("value".into(), value), (min.into(), least), (max.into(), most)])
    }

    fn share(&self, passes: &mut SharedPasses) {
        self.of.share(passes);
    }
}
