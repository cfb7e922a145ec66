//! The [`Metric`] trait: a pure measure and a state.

use std::fmt;

use candle_core::Tensor;
use metrics_detach::{Detached, eval_scope, is_eval};
use serde::{Deserialize, Serialize};

use crate::fingerprint::apart;
use crate::state::StagedMerge;
use crate::{
    Agenda, Batch, Checkpoint, Contribution, Error, Fingerprint, Growth, MemoryReport, Reduction, Result, State, Value,
};

/// A metric of a batch of predictions against a batch of targets.
///
/// An author writes what is specific to the metric: what it is (`name`, `info`, `fingerprint`), what one batch gives
/// ([`measure`](Self::measure)), where the state is, and how a state becomes a value ([`finish`](Self::finish)).
/// Accumulating, merging and resetting come with it, and are not meant to be overridden: a collection works on
/// `measure` and the state directly. The [crate's example](crate#example) is a whole metric.
///
/// Every method that returns an error leaves the metric as it was.
pub trait Metric: CloneMetric + Send {
    /// A short name, e.g. `ssim`, for errors.
    fn name(&self) -> &'static str;

    /// What kind of number this is.
    fn info(&self) -> MetricInfo;

    /// Kind and configuration, never data: metrics with equal fingerprints may be merged.
    fn fingerprint(&self) -> Fingerprint;

    /// One batch's value, differentiable where the metric is, and what the batch adds to the state. Writes nothing.
    ///
    /// # Errors
    /// When an input is refused.
    fn measure(&self, pred: &Tensor, target: &Tensor) -> Result<Measurement>;

    /// Says what work [`measure_shared`](Self::measure_shared) will look for, so that the members of a collection can have it
    /// done together. A metric that shares nothing says nothing.
    fn announce(&self, agenda: &mut Agenda) {
        let _ = agenda;
    }

    /// As [`measure`](Self::measure), with work that may be shared with other metrics; the numbers are the same.
    ///
    /// # Errors
    /// As [`measure`](Self::measure).
    fn measure_shared(&self, batch: &Batch) -> Result<Measurement> {
        self.measure(batch.pred(), batch.target())
    }

    /// The accumulated data.
    fn state(&self) -> &State;

    /// The accumulated data, to be changed.
    fn state_mut(&mut self) -> &mut State;

    /// The value of a state that has an image that counts: [`State::images`] is at least 1. It is not called with any other, so it
    /// may divide by their number or take the first of their values.
    ///
    /// # Errors
    /// When the state is not one of this metric.
    fn finish(&self, state: &State) -> Result<Value>;

    /// Adds a batch. Never builds or keeps a graph.
    ///
    /// # Errors
    /// As [`measure`](Self::measure) and [`State::absorb`].
    fn update(&mut self, pred: &Tensor, target: &Tensor) -> Result<()> {
        let measurement = measure_detached(self, pred, target)?;
        self.state_mut().absorb(measurement.contribution)
    }

    /// Adds a batch of images that have weights, one for each, finite and not negative: see
    /// [`Contribution::with_weights`]. Never builds or keeps a graph.
    ///
    /// # Errors
    /// As [`update`](Self::update), and for weights that are negative, not finite, or not one for each image.
    fn update_weighted(&mut self, pred: &Tensor, target: &Tensor, weights: &[f64]) -> Result<()> {
        let measurement = measure_detached(self, pred, target)?;
        let contribution = self.by_weight(measurement.contribution, weights)?;
        self.state_mut().absorb(contribution)
    }

    /// Adds a batch of images that have labels, one for each. A metric without labels takes no notice of them: see
    /// [`PerLabel`](crate::PerLabel).
    ///
    /// # Errors
    /// As [`update`](Self::update), and for labels that are not known or not one for each image.
    fn update_labelled(&mut self, pred: &Tensor, target: &Tensor, labels: &[&str]) -> Result<()> {
        let measurement = measure_detached(self, pred, target)?;
        let contribution = self.by_label(measurement.contribution, labels)?;
        self.state_mut().absorb(contribution)
    }

    /// What a measured batch adds to the state when its images have these weights: see [`Contribution::with_weights`].
    ///
    /// # Errors
    /// None here; weights are checked when the contribution is absorbed. A metric that looks at the weights itself may have some.
    fn by_weight(&self, contribution: Contribution, weights: &[f64]) -> Result<Contribution> {
        Ok(contribution.with_weights(weights.to_vec()))
    }

    /// What a measured batch adds to the state when its images have these labels: the same, unless the metric tells labels
    /// apart.
    ///
    /// # Errors
    /// For labels that are not known or not one for each image.
    fn by_label(&self, contribution: Contribution, labels: &[&str]) -> Result<Contribution> {
        let _ = labels;
        Ok(contribution)
    }

    /// Adds a batch, and returns the value of this batch alone: differentiable outside of an eval scope, detached
    /// within one. The state keeps no graph in either case.
    ///
    /// # Errors
    /// As [`measure`](Self::measure) and [`State::absorb`].
    fn forward(&mut self, pred: &Tensor, target: &Tensor) -> Result<Tensor> {
        let Measurement { value, contribution } = measure_in_scope(self, pred, target)?;
        self.state_mut().absorb(contribution)?;
        Ok(value)
    }

    /// As [`forward`](Self::forward), with a label for each image as in [`update_labelled`](Self::update_labelled). The value is of
    /// all images, whatever their labels.
    ///
    /// # Errors
    /// As [`update_labelled`](Self::update_labelled).
    fn forward_labelled(&mut self, pred: &Tensor, target: &Tensor, labels: &[&str]) -> Result<Tensor> {
        let Measurement { value, contribution } = measure_in_scope(self, pred, target)?;
        let contribution = self.by_label(contribution, labels)?;
        self.state_mut().absorb(contribution)?;
        Ok(value)
    }

    /// The value of everything added so far.
    ///
    /// # Errors
    /// [`Error::NoData`] before the first image that counts: an image of weight 0, or one that is skipped, does not. And what is
    /// noticed late of values that wait on a device: see [`State::absorb`].
    fn compute(&self) -> Result<Value> {
        value_of(self, &*self.state().drained()?)
    }

    /// Forgets everything added so far.
    fn reset(&mut self) {
        self.state_mut().reset();
    }

    /// How many batches were added.
    fn updates(&self) -> u64 {
        self.state().updates()
    }

    /// How many images were left out because a number was NaN or infinite: see [`NonFinite::Skip`](crate::NonFinite::Skip).
    fn skipped(&self) -> u64 {
        self.state().skipped()
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
    /// None without values that wait on a device; see [`State::absorb`] for those.
    fn save_state(&self) -> Result<Checkpoint> {
        Checkpoint::new(self.fingerprint(), [(None, self.state())])
    }

    /// Replaces what the metric has accumulated by what was saved.
    ///
    /// # Errors
    /// [`Error::Checkpoint`] when it was saved from another kind or configuration, or is not consistent; the metric has not
    /// changed then.
    fn load_state(&mut self, checkpoint: &Checkpoint) -> Result<()> {
        let states = checkpoint.states(&self.fingerprint(), [(None, self.state())])?;
        states.into_iter().for_each(|state| *self.state_mut() = state);
        Ok(())
    }
}

/// One batch, measured.
#[derive(Clone, Debug)]
pub struct Measurement {
    /// The value of the batch alone: a scalar, or `[images]` where the metric gives one number per image.
    pub value: Tensor,
    /// What the batch adds to the state.
    pub contribution: Contribution,
}

impl Measurement {
    /// Of one number for each image, `[images]`, which goes into the field of a [`State::for_reduction`]. The batch's value is what the
    /// reduction makes of them: their sum, their mean, also for a summary, or, for [`Reduction::None`], the numbers as they are.
    ///
    /// # Errors
    /// When `per_image` is not a list.
    pub fn for_reduction(name: impl Into<String>, per_image: &Tensor, reduction: Reduction) -> Result<Self> {
        let name = name.into();
        let &[images] = per_image.dims() else {
            let message = format!("the field `{name}` is {:?}, but must have one number per image", per_image.dims());
            return Err(Error::contribution(message));
        };
        let value = match reduction {
            Reduction::Mean | Reduction::Summary => per_image.mean_all()?,
            Reduction::Sum => per_image.sum_all()?,
            Reduction::None => per_image.clone(),
        };
        Ok(Self { value, contribution: Contribution::new(images).with(name, per_image) })
    }

    /// With a value that holds no graph. A metric with weights of its own may track although its inputs do not.
    pub(crate) fn detached(self) -> Self {
        Self { value: Detached::from(self.value).into_inner(), ..self }
    }
}

/// What kind of number a metric computes.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct MetricInfo {
    /// Whether `forward` gives a value with a gradient.
    pub differentiable: bool,
    /// Whether higher is better (`Some(true)`), lower is (`Some(false)`), or neither.
    pub higher_is_better: Option<bool>,
    /// The lowest value that [`compute`](Metric::compute) can give, if there is one.
    pub lower: Option<f64>,
    /// The highest value that [`compute`](Metric::compute) can give, if there is one.
    pub upper: Option<f64>,
    /// How the state grows.
    pub growth: Growth,
}

/// Makes `Box<dyn Metric>` cloneable. Every metric that is `Clone` has it.
pub trait CloneMetric {
    /// A boxed copy, with its state.
    fn clone_box(&self) -> Box<dyn Metric>;
}

impl<M: Metric + Clone + 'static> CloneMetric for M {
    fn clone_box(&self) -> Box<dyn Metric> {
        Box::new(self.clone())
    }
}

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

impl Metric for Box<dyn Metric> {
    fn name(&self) -> &'static str {
        (**self).name()
    }

    fn info(&self) -> MetricInfo {
        (**self).info()
    }

    fn fingerprint(&self) -> Fingerprint {
        (**self).fingerprint()
    }

    fn measure(&self, pred: &Tensor, target: &Tensor) -> Result<Measurement> {
        (**self).measure(pred, target)
    }

    fn announce(&self, agenda: &mut Agenda) {
        (**self).announce(agenda);
    }

    fn measure_shared(&self, batch: &Batch) -> Result<Measurement> {
        (**self).measure_shared(batch)
    }

    fn by_weight(&self, contribution: Contribution, weights: &[f64]) -> Result<Contribution> {
        (**self).by_weight(contribution, weights)
    }

    fn by_label(&self, contribution: Contribution, labels: &[&str]) -> Result<Contribution> {
        (**self).by_label(contribution, labels)
    }

    fn state(&self) -> &State {
        (**self).state()
    }

    fn state_mut(&mut self) -> &mut State {
        (**self).state_mut()
    }

    fn finish(&self, state: &State) -> Result<Value> {
        (**self).finish(state)
    }
}

/// What a metric computes of a state of its own or of a part, if it has an image that counts.
pub(crate) fn value_of<M: Metric + ?Sized>(metric: &M, state: &State) -> Result<Value> {
    if state.images() == 0 {
        return Err(Error::NoData { metric: metric.name().into() });
    }
    metric.finish(state)
}

/// Measures the tensors without their graph.
fn measure_detached<M: Metric + ?Sized>(metric: &M, pred: &Tensor, target: &Tensor) -> Result<Measurement> {
    let (pred, target) = (Detached::from(pred), Detached::from(target));
    eval_scope(|| metric.measure(&pred, &target))
}

/// Measures the tensors as they are, or, in an eval scope, without their graph.
pub(crate) fn measure_in_scope<M: Metric + ?Sized>(metric: &M, pred: &Tensor, target: &Tensor) -> Result<Measurement> {
    if !is_eval() {
        return metric.measure(pred, target);
    }
    metric.measure(&Detached::from(pred), &Detached::from(target)).map(Measurement::detached)
}

/// Checks a merge, so that nothing is left to fail.
pub(crate) fn stage_merge<'a, M: Metric + ?Sized>(ours: &M, theirs: &'a dyn Metric) -> Result<StagedMerge<'a>> {
    let (fingerprint, other) = (ours.fingerprint(), theirs.fingerprint());
    if fingerprint != other {
        let [ours, theirs] = apart(&fingerprint.text(), &other.text());
        return Err(Error::Incompatible { ours, theirs });
    }
    ours.state().stage_merge(theirs.state())
}
