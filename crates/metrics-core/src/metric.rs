//! The [`Metric`] trait: what can be done with every metric.

use std::fmt;

use candle_core::Tensor;
use metrics_detach::{Detached, eval_scope, is_eval};
use serde::{Serialize, Serializer};

use crate::fingerprint::differing;
use crate::state::StagedMerge;
use crate::{
    Checkpoint, Error, Fingerprint, Growth, MemoryReport, MetricInfo, Result, Samples, SharedPasses, State, Statistics,
    Value,
};

/// A metric of samples: what can be done with every [`Accumulator`](crate::Accumulator), whatever it accumulates.
///
/// Only accumulators implement it, and boxes of it. An author writes a [`Definition`](crate::Definition).
///
/// Every method that returns an error leaves the metric as it was.
pub trait Metric: sealed::Sealed + Send + Sync {
    /// A short name, e.g. `ssim`, for errors.
    fn name(&self) -> &'static str;

    /// What kind of number this is.
    fn info(&self) -> MetricInfo;

    /// Kind and configuration, never data: metrics with equal fingerprints may be merged.
    fn fingerprint(&self) -> &Fingerprint;

    /// What a batch adds to the state, without the weights of the samples.
    #[doc(hidden)]
    fn statistics(&self, samples: &Samples) -> Result<Statistics>;

    /// The value of a state of this metric in which nothing waits.
    ///
    /// # Errors
    /// [`Error::NoData`] when it has no sample that counts; and when the state is not one of this metric.
    #[doc(hidden)]
    fn compute_of(&self, state: &State) -> Result<Value>;

    /// Asks for passes over the data that the members of a collection can share.
    #[doc(hidden)]
    fn share(&self, passes: &mut SharedPasses);

    /// The accumulated data.
    fn state(&self) -> &State;

    #[doc(hidden)]
    fn state_mut(&mut self) -> &mut State;

    /// A boxed copy, with its state.
    fn clone_box(&self) -> Box<dyn Metric>;

    /// Adds a batch. Never builds or keeps a graph.
    ///
    /// # Errors
    /// When the metric refuses an input, and as [`State::accumulate`].
    fn update(&mut self, pred: &Tensor, target: &Tensor) -> Result<()> {
        self.update_with(&Samples::new(pred, target))
    }

    /// Adds a batch whose samples may have weights or labels. Never builds or keeps a graph.
    ///
    /// # Errors
    /// As [`update`](Self::update); for weights that are negative, not finite, or not one for each sample; and for labels that are
    /// missing, not known or not one for each sample, where the metric needs them.
    fn update_with(&mut self, samples: &Samples) -> Result<()> {
        let samples = samples.detached();
        let statistics = eval_scope(|| self.statistics(&samples))?;
        self.state_mut().accumulate(statistics.weighted(samples.sample_weights())?)
    }

    /// Adds a batch, and returns the value of this batch alone: differentiable outside of an eval scope, detached
    /// within one. The state keeps no graph in either case.
    ///
    /// The value is that of the samples that count. So with [`NonFinite::Skip`](crate::NonFinite::Skip) it waits for the device, and so
    /// it does where the value has no formula of its own and is computed of a state.
    ///
    /// # Errors
    /// As [`update`](Self::update).
    fn forward(&mut self, pred: &Tensor, target: &Tensor) -> Result<Tensor> {
        self.forward_with(&Samples::new(pred, target))
    }

    /// As [`forward`](Self::forward), with a batch whose samples may have weights or labels. The value is that of the weighted samples,
    /// whatever their labels.
    ///
    /// # Errors
    /// As [`update_with`](Self::update_with); and for weights where the value has a gradient that does not take them into account.
    fn forward_with(&mut self, samples: &Samples) -> Result<Tensor> {
        let (statistics, value) = statistics_with_value(self, samples)?;
        self.state_mut().accumulate(statistics)?;
        Ok(value)
    }

    /// The value of everything added so far.
    ///
    /// # Errors
    /// [`Error::NoData`] before the first sample that counts: a sample of weight 0, or one that is skipped, does not. And what is
    /// noticed late of values that wait on a device: see [`State::accumulate`].
    fn compute(&self) -> Result<Value> {
        self.compute_of(&*self.state().drained()?)
    }

    /// Forgets everything added so far.
    fn reset(&mut self) {
        self.state_mut().reset();
    }

    /// How many batches were added.
    fn updates(&self) -> u64 {
        self.state().updates()
    }

    /// How many samples were left out because a number was NaN or infinite: see [`NonFinite::Skip`](crate::NonFinite::Skip).
    fn skipped(&self) -> u64 {
        self.state().skipped()
    }

    /// How the state grows.
    fn growth(&self) -> Growth {
        self.state().growth()
    }

    /// Memory held by the state, in bytes.
    fn state_bytes(&self) -> usize {
        self.state().bytes()
    }

    /// What this metric holds in memory, as one row under its [`name`](Self::name).
    fn memory(&self) -> MemoryReport {
        crate::memory::report(std::iter::once((self.name(), self)))
    }

    /// Adds everything that another metric has accumulated.
    ///
    /// # Errors
    /// [`Error::Incompatible`] when it is of another kind or configuration; and as [`State::merge`].
    fn merge(&mut self, other: &dyn Metric) -> Result<()> {
        let staged = stage_merge(self, other)?;
        self.state_mut().commit_merge(staged)
    }

    /// What the metric has accumulated, to be saved.
    ///
    /// # Errors
    /// None without values that wait on a device; see [`State::accumulate`] for those.
    fn save_state(&self) -> Result<Checkpoint> {
        Checkpoint::new(self.fingerprint().clone(), [(None, self.state())])
    }

    /// Replaces what the metric has accumulated by what was saved.
    ///
    /// # Errors
    /// [`Error::Checkpoint`] when it was saved from another kind or configuration, or is not consistent; the metric has not
    /// changed then.
    fn load_state(&mut self, checkpoint: &Checkpoint) -> Result<()> {
        let states = checkpoint.states(self.fingerprint(), [(None, self.state())])?;
        states.into_iter().for_each(|state| *self.state_mut() = state);
        Ok(())
    }
}

/// Keeps others from implementing [`Metric`].
pub(crate) mod sealed {
    pub trait Sealed {}
}

impl sealed::Sealed for Box<dyn Metric> {}

impl Clone for Box<dyn Metric> {
    fn clone(&self) -> Self {
        (**self).clone_box()
    }
}

impl fmt::Debug for dyn Metric + '_ {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} after {} updates", self.fingerprint(), self.updates())
    }
}

/// Kind and settings.
impl Serialize for dyn Metric + '_ {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.fingerprint().serialize(serializer)
    }
}

impl Metric for Box<dyn Metric> {
    fn name(&self) -> &'static str {
        (**self).name()
    }

    fn info(&self) -> MetricInfo {
        (**self).info()
    }

    fn fingerprint(&self) -> &Fingerprint {
        (**self).fingerprint()
    }

    fn statistics(&self, samples: &Samples) -> Result<Statistics> {
        (**self).statistics(samples)
    }

    fn compute_of(&self, state: &State) -> Result<Value> {
        (**self).compute_of(state)
    }

    fn share(&self, passes: &mut SharedPasses) {
        (**self).share(passes);
    }

    fn state(&self) -> &State {
        (**self).state()
    }

    fn state_mut(&mut self) -> &mut State {
        (**self).state_mut()
    }

    fn clone_box(&self) -> Self {
        self.clone()
    }
}

/// A batch's weighted statistics and its value, which has a gradient outside of an eval scope only. A metric with weights of its own may
/// track although its inputs do not.
pub(crate) fn statistics_with_value<M: Metric + ?Sized>(metric: &M, samples: &Samples) -> Result<(Statistics, Tensor)> {
    let samples = if is_eval() { samples.detached() } else { samples.clone() }.wanting_value();
    let mut statistics = metric.statistics(&samples)?;
    let value = statistics.take_known().ok_or_else(|| Error::statistics("there is no value of the batch"))?;
    let value = if is_eval() { Detached::from(value).into_inner() } else { value };
    Ok((statistics.weighted(samples.sample_weights())?, value))
}

/// Checks a merge, so that nothing is left to fail.
pub(crate) fn stage_merge<'a, M: Metric + ?Sized>(ours: &M, theirs: &'a dyn Metric) -> Result<StagedMerge<'a>> {
    let (fingerprint, other) = (ours.fingerprint(), theirs.fingerprint());
    if fingerprint != other {
        let [ours, theirs] = differing(fingerprint, other);
        return Err(Error::Incompatible { ours, theirs });
    }
    ours.state().stage_merge(theirs.state())
}

/// The passes that these metrics ask for, under these names.
pub(crate) fn shared_passes<'a>(metrics: impl IntoIterator<Item = (&'a str, &'a dyn Metric)>) -> SharedPasses {
    let mut passes = SharedPasses::default();
    for (name, metric) in metrics {
        passes.set_member(name);
        metric.share(&mut passes);
    }
    passes
}
