//! [`Running`].

use serde::Serialize;

use super::emptied;
use crate::{
    Accumulator, Definition, Error, Metric, MetricInfo, Result, Samples, SharedPasses, State, Statistics, Value,
};

/// A metric over the last few updates.
///
/// It keeps a state for each of them, also for one whose samples all have weight 0; what [was skipped](Metric::skipped) is counted
/// over all updates. Merging takes the other's updates to be the later ones.
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
#[derive(Clone, Serialize)]
#[serde(tag = "wrapper")]
pub struct Running<M> {
    of: M,
    window: usize,
}

impl<M: Metric + Clone + Serialize + 'static> Running<M> {
    /// Creates a metric over the last `window` updates.
    ///
    /// # Errors
    /// When `window` is 0.
    pub fn new(metric: M, window: usize) -> Result<Accumulator<Self>> {
        if window == 0 {
            return Err(Error::argument("Running", "`window` is 0, but must be at least one update"));
        }
        Accumulator::of(Self { of: emptied(metric), window })
    }
}

impl<M: Metric + Clone + Serialize + 'static> Definition for Running<M> {
    fn name(&self) -> &'static str {
        self.of.name()
    }

    fn info(&self) -> MetricInfo {
        self.of.info()
    }

    fn states(&self) -> State {
        State::recent(self.of.state().clone(), self.window)
    }

    fn statistics(&self, samples: &Samples) -> Result<Statistics> {
        self.of.statistics(samples)
    }

    fn compute(&self, state: &State) -> Result<Value> {
        self.of.compute_of(&state.together()?)
    }

    fn share(&self, passes: &mut SharedPasses) {
        self.of.share(passes);
    }
}
