//! [`BootStrapper`].

use candle_core::Tensor;

use super::{check_scalar, emptied, scalar};
use crate::{Agenda, Batch, Distribution, Error, Fingerprint, Measurement, Metric, MetricInfo, Result, State, Value};

/// A state for each is made at once.
const MAX_REPLICATES: usize = 1 << 16;

/// How much a metric's value would vary over other samples of as many images: the bootstrap.
///
/// It keeps several replicates of the metric's state. Each counts every image as often as it is drawn, a Poisson number of
/// mean 1 that is a function of the seed, the replicate and the image's number in the stream alone, so the same images in
/// the same order give the same bits, on every platform and however they are batched. Computes the [summary](Value::Summary)
/// of the replicates' values: `mean` and `std` are the bootstrap's estimate and its standard error, `p5` and `p95` bound an
/// interval that covers 90 %, and `count` is the number of replicates that have an image at all.
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
#[derive(Clone, Debug)]
pub struct BootStrapper<M> {
    inner: M,
    replicates: usize,
    seed: u64,
    state: State,
}

impl<M: Metric + Clone + 'static> BootStrapper<M> {
    /// Of a metric that computes one number, with 2 to 65,536 replicates.
    ///
    /// # Errors
    /// For another number of replicates, and for a metric that computes something else.
    pub fn new(metric: M, replicates: usize, seed: u64) -> Result<Self> {
        if !(2..=MAX_REPLICATES).contains(&replicates) {
            let message = format!("`replicates` is {replicates}, but must be 2 to {MAX_REPLICATES}");
            return Err(Error::argument("BootStrapper", message));
        }
        let (inner, state) = emptied(metric);
        check_scalar("BootStrapper", &inner)?;
        Ok(Self { inner, replicates, seed, state: State::resampled(state, replicates, seed, 0) })
    }

    /// Numbers the images from `image` on instead of from 0. Parts of a data set that are to be merged are told where they
    /// start, so that no two images are drawn by the same number. What was accumulated is forgotten.
    pub fn first_image(mut self, image: u64) -> Self {
        self.state = State::resampled(self.inner.state().clone(), self.replicates, self.seed, image);
        self
    }
}

impl<M: Metric + Clone + 'static> Metric for BootStrapper<M> {
    fn name(&self) -> &'static str {
        self.inner.name()
    }

    fn info(&self) -> MetricInfo {
        MetricInfo { growth: self.state.growth(), ..self.inner.info() }
    }

    fn fingerprint(&self) -> Fingerprint {
        let (replicates, seed) = (self.replicates, self.seed);
        Fingerprint::new(
            "bootstrap",
            format!("replicates={replicates} seed={seed} of={}", self.inner.fingerprint().text()),
        )
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

    fn state(&self) -> &State {
        &self.state
    }

    fn state_mut(&mut self) -> &mut State {
        &mut self.state
    }

    fn finish(&self, state: &State) -> Result<Value> {
        let replicates = state.parts()?.iter().filter(|replicate| replicate.images() > 0);
        let values = replicates.map(|replicate| scalar("BootStrapper", &self.inner, replicate));
        Ok(Value::Summary(values.collect::<Result<Distribution>>()?.summary()))
    }
}
