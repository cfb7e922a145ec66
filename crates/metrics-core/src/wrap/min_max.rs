use candle_core::Tensor;

use super::{emptied, group, number, part};
use crate::{Agenda, Batch, Contribution, Fingerprint, Measurement, Metric, MetricInfo, Reduce, Result, State, Value};

/// A metric, with the smallest and the largest value that a batch had.
///
/// Computes a group of three: `value`, of everything added; `min` and `max`, of the batches' own values, as `forward` gives
/// them. A NaN among these makes both NaN. Computing changes nothing, and merging gives the extremes of all batches.
///
/// ```
#[doc = include_str!("../../doc/mae.md")]
/// use candle_core::{Device, Tensor};
/// use metrics_core::{Metric, MinMax};
///
/// let mut metric = MinMax::new(Mae::new());
/// let target = Tensor::new(&[[0f32]], &Device::Cpu)?;
/// for error in [2f32, 1.0, 6.0] {
///     metric.update(&Tensor::new(&[[error]], &Device::Cpu)?, &target)?;
/// }
/// assert_eq!(format!("{:.1}", metric.compute()?), "{value: 3.0, min: 1.0, max: 6.0}");
/// # Ok::<(), metrics_core::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct MinMax<M> {
    inner: M,
    state: State,
}

impl<M: Metric> MinMax<M> {
    /// Of a metric whose value is one number.
    pub fn new(metric: M) -> Self {
        let (inner, state) = emptied(metric);
        let extremes = State::new().with("min", Reduce::Min).with("max", Reduce::Max);
        Self { inner, state: State::of_parts(vec![state, extremes]) }
    }
}

impl<M: Metric + Clone + 'static> Metric for MinMax<M> {
    fn name(&self) -> &'static str {
        self.inner.name()
    }

    fn info(&self) -> MetricInfo {
        MetricInfo { growth: self.state.growth(), ..self.inner.info() }
    }

    fn fingerprint(&self) -> Fingerprint {
        Fingerprint::new("min_max", format!("of={}", self.inner.fingerprint().text()))
    }

    fn measure(&self, pred: &Tensor, target: &Tensor) -> Result<Measurement> {
        self.measure_shared(&Batch::of(self, pred, target))
    }

    fn announce(&self, agenda: &mut Agenda) {
        self.inner.announce(agenda);
    }

    fn measure_shared(&self, batch: &Batch) -> Result<Measurement> {
        let Measurement { value, contribution } = self.inner.measure_shared(batch)?;
        let number = number("MinMax", &self.inner, &value)?.detach().reshape(1)?;
        let extremes = Contribution::of_update().with("min", &number).with("max", &number);
        let whole = Contribution::new(contribution.images());
        Ok(Measurement { value, contribution: whole.with_part(contribution).with_part(extremes) })
    }

    fn state(&self) -> &State {
        &self.state
    }

    fn state_mut(&mut self) -> &mut State {
        &mut self.state
    }

    fn finish(&self, state: &State) -> Result<Value> {
        let value = self.inner.finish(part("MinMax", state, 0)?)?;
        let extremes = part("MinMax", state, 1)?;
        let (min, max) = (Value::Scalar(extremes.min("min")?), Value::Scalar(extremes.max("max")?));
        group([("value".into(), value), ("min".into(), min), ("max".into(), max)])
    }
}
