//! Metrics that can only evaluate.

use std::ops::Deref;

use candle_core::Tensor;
use metrics_detach::{Detached, eval_scope};

use crate::{Checkpoint, MemoryReport, Metric, MetricInfo, Result, Samples};

/// A metric or a collection restricted to evaluation: nothing that it returns tracks, and its type says so.
///
/// Inputs are detached on the way in, members run in an eval scope, and [`forward`](EvalOnly::forward) gives
/// [`Detached`] values, so neither the metric nor its results can hold a model's graph.
///
/// What only reads is that of the metric or collection within: `compute`, `get`, `iter`, `updates`, `save` and so on. It gives no way to
/// change what is within other than the methods here, short of [`into_inner`](EvalOnly::into_inner).
#[derive(Clone, Debug)]
pub struct EvalOnly<M>(pub(crate) M);

/// What can be restricted to evaluation: a [`Metric`] or a [`MetricCollection`](crate::MetricCollection).
pub trait Evaluate {
    /// What `forward` gives, without a graph.
    type Outputs;

    #[doc(hidden)]
    fn eval_update(&mut self, samples: &Samples) -> Result<()>;
    #[doc(hidden)]
    fn eval_forward(&mut self, samples: &Samples) -> Result<Self::Outputs>;
    #[doc(hidden)]
    fn eval_merge(&mut self, other: &Self) -> Result<()>;
    #[doc(hidden)]
    fn eval_reset(&mut self);
    #[doc(hidden)]
    fn eval_load(&mut self, checkpoint: &Checkpoint) -> Result<()>;
    #[doc(hidden)]
    fn eval_memory(&self) -> MemoryReport;
}

impl<M: Metric + 'static> Evaluate for M {
    type Outputs = Detached;

    fn eval_update(&mut self, samples: &Samples) -> Result<()> {
        Metric::update_with(self, samples)
    }

    fn eval_forward(&mut self, samples: &Samples) -> Result<Detached> {
        eval_scope(|| self.forward_with(samples)).map(Detached::from)
    }

    fn eval_merge(&mut self, other: &Self) -> Result<()> {
        Metric::merge(self, other)
    }

    fn eval_reset(&mut self) {
        Metric::reset(self);
    }

    fn eval_load(&mut self, checkpoint: &Checkpoint) -> Result<()> {
        Metric::load_state(self, checkpoint)
    }

    fn eval_memory(&self) -> MemoryReport {
        Metric::memory(self)
    }
}

/// Errors are those of the methods of the same names of what is within.
impl<M: Evaluate> EvalOnly<M> {
    /// Restricts a metric or a collection, with the data it has.
    pub fn new(inner: M) -> Self {
        Self(inner)
    }

    /// Lifts the restriction.
    pub fn into_inner(self) -> M {
        self.0
    }

    /// Adds a batch.
    pub fn update(&mut self, pred: &Tensor, target: &Tensor) -> Result<()> {
        self.update_with(&Samples::new(pred, target))
    }

    /// Adds a batch whose samples may have weights, labels and numbers.
    pub fn update_with(&mut self, samples: &Samples) -> Result<()> {
        self.0.eval_update(samples)
    }

    /// Adds a batch, and returns the values of this batch alone, without a graph.
    pub fn forward(&mut self, pred: &Tensor, target: &Tensor) -> Result<M::Outputs> {
        self.forward_with(&Samples::new(pred, target))
    }

    /// As [`forward`](Self::forward), with a batch whose samples may have weights, labels and numbers.
    pub fn forward_with(&mut self, samples: &Samples) -> Result<M::Outputs> {
        self.0.eval_forward(samples)
    }

    /// Forgets everything added so far.
    pub fn reset(&mut self) {
        self.0.eval_reset();
    }

    /// Adds everything that another has accumulated.
    pub fn merge(&mut self, other: &Self) -> Result<()> {
        self.0.eval_merge(&other.0)
    }

    /// Replaces what was accumulated by what was saved.
    pub fn load_state(&mut self, checkpoint: &Checkpoint) -> Result<()> {
        self.0.eval_load(checkpoint)
    }

    /// What is held in memory; what `forward` returns never tracks.
    pub fn memory(&self) -> MemoryReport {
        self.0.eval_memory().tracking(false)
    }
}

impl<M: Metric> EvalOnly<M> {
    /// What kind of number this is: never differentiable.
    pub fn info(&self) -> MetricInfo {
        MetricInfo { differentiable: false, ..self.0.info() }
    }
}

impl<M> Deref for EvalOnly<M> {
    type Target = M;

    fn deref(&self) -> &M {
        &self.0
    }
}
