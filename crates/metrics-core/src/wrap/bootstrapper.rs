//! [`BootStrapper`].

use serde::Serialize;

use super::{check_one_number, emptied, scalar};
use crate::state::MAX_REPLICATES;
use crate::{
    Accumulator, Definition, Distribution, Error, Metric, MetricInfo, Result, Samples, SharedPasses, State, Statistics,
    Value,
};

/// How much a metric's value would vary over other samples of as many samples: the bootstrap.
///
/// It keeps several replicates of the metric's state. Each counts every sample as often as it is drawn, a Poisson number of
/// mean 1 that is a function of the seed, the replicate and the sample's number in the stream alone, so the same samples in
/// the same order give the same bits, on every platform and however they are batched. Samples of weight 0 have no number, as if they
/// were not there. Computes the [summary](Value::Summary) of the replicates' values: `mean` and `std` are the bootstrap's estimate and
/// its standard error, `p5` and `p95` bound an interval that covers 90 %, and `count` is the number of replicates that have a value
/// at all.
///
/// The batch's own value, as `forward` gives it, is the metric's.
///
/// ```
#[doc = include_str!("../../doc/mae.md")]
/// use candle_core::{Device, Tensor};
/// use metrics_core::{BootStrapper, Metric};
///
/// let mut metric = BootStrapper::new(Mae::new(), 200, 42)?;
/// let pred = Tensor::arange(0f32, 64.0, &Device::Cpu)?.unsqueeze(1)?;
/// metric.update(&pred, &pred.zeros_like()?)?;
/// let Value::Summary(summary) = metric.compute()? else { unreachable!() };
/// // 64 evenly spread values: their mean is 31.5, with a standard error of about 18.5 / 8.
/// assert!(summary.p5 < 31.5 && 31.5 < summary.p95);
/// assert!((summary.std - 18.5 / 8.0).abs() < 0.5);
/// # Ok::<(), metrics_core::Error>(())
/// ```
#[derive(Clone, Serialize)]
#[serde(tag = "wrapper")]
pub struct BootStrapper<M> {
    of: M,
    replicates: usize,
    seed: u64,
    /// The number of the first sample, which parts of one data set do not have in common.
    #[serde(skip)]
    first: u64,
}

impl<M: Metric + Clone + Serialize + 'static> BootStrapper<M> {
    /// Wraps a metric that computes one number, with 2 to 65,536 replicates.
    ///
    /// # Errors
    /// For another number of replicates, and for a metric that computes a group or one number for each sample.
    pub fn new(metric: M, replicates: usize, seed: u64) -> Result<Accumulator<Self>> {
        if !(2..=MAX_REPLICATES).contains(&replicates) {
            let message = format!("`replicates` is {replicates}, but must be 2 to {MAX_REPLICATES}");
            return Err(Error::argument("BootStrapper", message));
        }
        check_one_number("BootStrapper", &metric)?;
        Accumulator::of(Self { of: emptied(metric), replicates, seed, first: 0 })
    }
}

impl<M: Metric + Clone + Serialize + 'static> Accumulator<BootStrapper<M>> {
    /// Numbers the samples from `sample` on instead of from 0; after the largest number comes 0. Parts of a data set that are to be
    /// merged start at different numbers, so that no two samples are drawn by the same number. What was accumulated is forgotten.
    pub fn first_sample(self, sample: u64) -> Self {
        let (fingerprint, limit) = (self.fingerprint().clone(), self.state().limit());
        Self::with_fingerprint(BootStrapper { first: sample, ..self.into_definition() }, fingerprint).queue_limit(limit)
    }
}

impl<M: Metric + Clone + Serialize + 'static> Definition for BootStrapper<M> {
    fn name(&self) -> &'static str {
        self.of.name()
    }

    fn info(&self) -> MetricInfo {
        self.of.info()
    }

    fn states(&self) -> State {
        State::resampled(self.of.state().clone(), self.replicates, self.seed, self.first)
    }

    fn statistics(&self, samples: &Samples) -> Result<Statistics> {
        self.of.statistics(samples)
    }

    fn compute(&self, state: &State) -> Result<Value> {
        let mut values = Distribution::new();
        for replicate in state.parts()? {
            match scalar("BootStrapper", &self.of, replicate) {
                Err(Error::NoData { .. }) => {}
                value => values.add(value?),
            }
        }
        Ok(Value::Summary(values.summary()))
    }

    fn share(&self, passes: &mut SharedPasses) {
        self.of.share(passes);
    }
}
