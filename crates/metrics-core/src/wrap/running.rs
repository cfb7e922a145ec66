//! [`Running`].

use candle_core::Tensor;

use super::emptied;
use crate::metric::value_of;
use crate::{Agenda, Batch, Contribution, Error, Fingerprint, Measurement, Metric, MetricInfo, Result, State, Value};

/// A metric over the last few updates.
///
/// It keeps a state for each of them, also for one whose images all have weight 0; what [was skipped](Metric::skipped) is counted over all updates. Merging takes the other's updates to be the later ones.
///
/// ```
#[doc = include_str!("../../doc/mae.md")]
/// use candle_core::{Device, Tensor};
/// use metrics_core::{Metric, Running};
///
/// let mut metric = Running::new(Mae::new(), 2)?;
/// let target = Tensor::new(&[[0f32]], &Device::Cpu)?;
/// for error in [100f32, 1.0, 3.0] {
///     metric.update(&Tensor::new(&[[error]], &Device::Cpu)?, &target)?;
/// }
/// assert_eq!(metric.compute()?, Value::Scalar(2.0));
/// # Ok::<(), metrics_core::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Running<M> {
    inner: M,
    window: usize,
    state: State,
}

impl<M: Metric> Running<M> {
    /// A metric over the last `window` updates.
    ///
    /// # Errors
    /// When `window` is 0.
    pub fn new(metric: M, window: usize) -> Result<Self> {
        if window == 0 {
            return Err(Error::argument("Running", "`window` is 0, but must be at least one update"));
        }
        let (inner, state) = emptied(metric);
        Ok(Self { inner, window, state: State::recent(state, window) })
    }
}

impl<M: Metric + Clone + 'static> Metric for Running<M> {
    fn name(&self) -> &'static str {
        self.inner.name()
    }

    fn info(&self) -> MetricInfo {
        MetricInfo { growth: self.state.growth(), ..self.inner.info() }
    }

    fn fingerprint(&self) -> Fingerprint {
        Fingerprint::new("running", format!("window={} of={}", self.window, self.inner.fingerprint().text()))
    }

    fn measure(&self, pred: &Tensor, target: &Tensor) -> Result<Measurement> {
        self.inner.measure(pred, target)
    }

    fn announce(&self, agenda: &mut Agenda) {
        self.inner.announce(agenda);
    }

    fn measure_shared(&self, batch: &Batch) -> Result<Measurement> {
        self.inner.measure_shared(batch)
    }

    fn by_weight(&self, contribution: Contribution, weights: &[f64]) -> Result<Contribution> {
        self.inner.by_weight(contribution, weights)
    }

    fn by_label(&self, contribution: Contribution, labels: &[&str]) -> Result<Contribution> {
        self.inner.by_label(contribution, labels)
    }

    fn state(&self) -> &State {
        &self.state
    }

    fn state_mut(&mut self) -> &mut State {
        &mut self.state
    }

    fn finish(&self, state: &State) -> Result<Value> {
        value_of(&self.inner, &state.together()?)
    }
}
