//! [`MinMax`].

use candle_core::Tensor;

use super::{check_no_group, emptied, group, number, part, scalar, value_or_nan};
use crate::{
    Agenda, Batch, Contribution, Error, Fingerprint, Measurement, Metric, MetricInfo, Reduce, Result, State, Value,
};

/// A metric, with the smallest and the largest value that a batch had.
///
/// Computes a group of three: `value`, of everything added; `min` and `max`, of the batches' own values. That is what `forward`
/// gives, or, of a batch whose images have weights or labels or may be [skipped](crate::NonFinite::Skip), what the metric computes
/// of that batch alone; a batch without an image that counts is none. A NaN among the values makes `min` and `max` NaN.
/// Computing changes nothing, and merging gives the extremes of all batches.
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
        Self { inner, state: State::of_parts(vec![state, extremes]).grouped() }
    }
}

impl<M: Metric + Clone + 'static> MinMax<M> {
    /// What the metric computes of one batch, read back from its device.
    fn extremes(&self, contribution: &Contribution) -> Result<Contribution> {
        let mut state = self.inner.state().clone();
        state.absorb(contribution.clone())?;
        state.drain()?;
        let counts = state.images() > 0;
        let value = if counts { scalar("MinMax", &self.inner, &state)? } else { f64::NAN };
        let extremes = Contribution::of_update().with_values("min", vec![value]).with_values("max", vec![value]);
        Ok(extremes.with_weights(vec![f64::from(u8::from(counts))]))
    }
}

/// A contribution to the metric's state, and one to the extremes.
fn whole(of_metric: Contribution, extremes: Contribution) -> Contribution {
    Contribution::new(of_metric.images()).with_part(of_metric).with_part(extremes)
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
        check_no_group("MinMax", &self.inner)?;
        let Measurement { value, contribution } = self.inner.measure_shared(batch)?;
        let number = number("MinMax", &self.inner, &value)?.detach().reshape(1)?;
        let extremes = if self.inner.state().may_skip() {
            self.extremes(&contribution)?
        } else {
            Contribution::of_update().with("min", &number).with("max", &number)
        };
        Ok(Measurement { value, contribution: whole(contribution, extremes) })
    }

    /// The extremes are of the weighted images.
    fn by_weight(&self, contribution: Contribution, weights: &[f64]) -> Result<Contribution> {
        let Some(of_metric) = contribution.parts().first() else {
            return Err(Error::argument("MinMax", "`contribution` has no parts, but must be what `measure` gives"));
        };
        let of_metric = self.inner.by_weight(of_metric.clone(), weights)?;
        let extremes = self.extremes(&of_metric)?;
        Ok(whole(of_metric, extremes).with_weights_of_parts(weights))
    }

    fn state(&self) -> &State {
        &self.state
    }

    fn state_mut(&mut self) -> &mut State {
        &mut self.state
    }

    fn finish(&self, state: &State) -> Result<Value> {
        let value = value_or_nan(&self.inner, part("MinMax", state, 0)?)?;
        let extremes = part("MinMax", state, 1)?;
        let (min, max) = (Value::Scalar(extremes.min("min")?), Value::Scalar(extremes.max("max")?));
        group([("value".into(), value), ("min".into(), min), ("max".into(), max)])
    }
}
