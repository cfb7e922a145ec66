//! [`BootStrapper`].

use candle_core::Tensor;

use super::{check_no_group, emptied, number, scalar};
use crate::state::MAX_REPLICATES;
use crate::{
    Agenda, Batch, Contribution, Distribution, Error, Fingerprint, Measurement, Metric, MetricInfo, Result, State,
    Value,
};

/// How much a metric's value would vary over other samples of as many images: the bootstrap.
///
/// It keeps several replicates of the metric's state. Each counts every image as often as it is drawn, a Poisson number of
/// mean 1 that is a function of the seed, the replicate and the image's number in the stream alone, so the same images in
/// the same order give the same bits, on every platform and however they are batched. Images of weight 0 have no number, as if they
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
    /// For another number of replicates, and for a metric that computes a group. One that computes a value for each image is refused
    /// at the first update.
    pub fn new(metric: M, replicates: usize, seed: u64) -> Result<Self> {
        if !(2..=MAX_REPLICATES).contains(&replicates) {
            let message = format!("`replicates` is {replicates}, but must be 2 to {MAX_REPLICATES}");
            return Err(Error::argument("BootStrapper", message));
        }
        let (inner, state) = emptied(metric);
        check_no_group("BootStrapper", &inner)?;
        Ok(Self { inner, replicates, seed, state: State::resampled(state, replicates, seed, 0)? })
    }

    /// Numbers the images from `image` on instead of from 0; after the largest number comes 0. Parts of a data set that are to be
    /// merged are told where they start, so that no two images are drawn by the same number. What was accumulated is forgotten.
    pub fn first_image(mut self, image: u64) -> Self {
        self.state.number_from(image);
        self
    }
}

/// A measurement whose value is one number.
fn checked(metric: &dyn Metric, measurement: Measurement) -> Result<Measurement> {
    number("BootStrapper", metric, &measurement.value)?;
    Ok(measurement)
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
        checked(&self.inner, self.inner.measure(pred, target)?)
    }

    fn announce(&self, agenda: &mut Agenda) {
        self.inner.announce(agenda);
    }

    fn measure_shared(&self, batch: &Batch) -> Result<Measurement> {
        checked(&self.inner, self.inner.measure_shared(batch)?)
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
        let mut values = Distribution::new();
        for replicate in state.parts()? {
            match scalar("BootStrapper", &self.inner, replicate) {
                Err(Error::NoData { .. }) => {}
                value => values.add(value?),
            }
        }
        Ok(Value::Summary(values.summary()))
    }
}
