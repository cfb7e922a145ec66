//! Metrics that can only evaluate.

use std::path::Path;

use candle_core::Tensor;
use metrics_detach::{Detached, eval_scope};

use crate::{
    Checkpoint, Fingerprint, MemoryReport, Metric, MetricCollection, MetricInfo, Named, Plan, Report, Result, Value,
};

/// A metric or a collection restricted to evaluation: nothing that it returns tracks, and its type says so.
///
/// Inputs are detached on the way in, members run in an eval scope, and [`forward`](EvalOnly::forward) gives
/// [`Detached`] values, so neither the metric nor what is kept of its results can hold a model's graph.
///
/// It gives no access to what it wraps, short of [`into_inner`](EvalOnly::into_inner).
#[derive(Clone, Debug)]
pub struct EvalOnly<M>(M);

impl<M> EvalOnly<M> {
    /// Restricts a metric or a collection, with the data it has.
    pub fn new(inner: M) -> Self {
        Self(inner)
    }

    /// Lifts the restriction.
    pub fn into_inner(self) -> M {
        self.0
    }

    pub(crate) fn inner(&self) -> &M {
        &self.0
    }

    pub(crate) fn inner_mut(&mut self) -> &mut M {
        &mut self.0
    }
}

/// A metric. Errors are those of [`Metric`]'s methods of the same names.
impl<M: Metric> EvalOnly<M> {
    /// As [`Metric::name`].
    pub fn name(&self) -> &'static str {
        self.0.name()
    }

    /// As [`Metric::update`].
    pub fn update(&mut self, pred: &Tensor, target: &Tensor) -> Result<()> {
        self.0.update(pred, target)
    }

    /// As [`Metric::update_weighted`].
    pub fn update_weighted(&mut self, pred: &Tensor, target: &Tensor, weights: &[f64]) -> Result<()> {
        self.0.update_weighted(pred, target, weights)
    }

    /// As [`Metric::update_labelled`].
    pub fn update_labelled(&mut self, pred: &Tensor, target: &Tensor, labels: &[&str]) -> Result<()> {
        self.0.update_labelled(pred, target, labels)
    }

    /// Adds a batch, and returns the value of this batch alone, without a graph.
    ///
    /// # Errors
    /// As [`Metric::forward`].
    pub fn forward(&mut self, pred: &Tensor, target: &Tensor) -> Result<Detached> {
        eval_scope(|| self.0.forward(pred, target)).map(Detached::from)
    }

    /// As [`Metric::forward_labelled`], without a graph.
    pub fn forward_labelled(&mut self, pred: &Tensor, target: &Tensor, labels: &[&str]) -> Result<Detached> {
        eval_scope(|| self.0.forward_labelled(pred, target, labels)).map(Detached::from)
    }

    /// As [`Metric::compute`].
    pub fn compute(&self) -> Result<Value> {
        self.0.compute()
    }

    /// As [`Metric::reset`].
    pub fn reset(&mut self) {
        self.0.reset();
    }

    /// As [`Metric::merge`].
    pub fn merge(&mut self, other: &Self) -> Result<()>
    where
        M: 'static,
    {
        self.0.merge(&other.0)
    }

    /// As [`Metric::save_state`].
    pub fn save_state(&self) -> Result<Checkpoint> {
        self.0.save_state()
    }

    /// As [`Metric::load_state`].
    pub fn load_state(&mut self, checkpoint: &Checkpoint) -> Result<()> {
        self.0.load_state(checkpoint)
    }

    /// As [`Metric::info`], but never differentiable.
    pub fn info(&self) -> MetricInfo {
        MetricInfo { differentiable: false, ..self.0.info() }
    }

    /// As [`Metric::fingerprint`].
    pub fn fingerprint(&self) -> Fingerprint {
        self.0.fingerprint()
    }

    /// As [`Metric::updates`].
    pub fn updates(&self) -> u64 {
        self.0.updates()
    }

    /// As [`Metric::skipped`].
    pub fn skipped(&self) -> u64 {
        self.0.skipped()
    }

    /// As [`Metric::state_bytes`].
    pub fn state_bytes(&self) -> usize {
        self.0.state_bytes()
    }

    /// As [`Metric::memory`]; what `forward` returns never tracks.
    pub fn memory(&self) -> MemoryReport {
        self.0.memory().tracking(false)
    }
}

/// A collection. Errors are those of [`MetricCollection`]'s methods of the same names.
impl EvalOnly<MetricCollection> {
    /// As [`MetricCollection::update`].
    pub fn update(&mut self, pred: &Tensor, target: &Tensor) -> Result<()> {
        self.0.update(pred, target)
    }

    /// As [`MetricCollection::update_weighted`].
    pub fn update_weighted(&mut self, pred: &Tensor, target: &Tensor, weights: &[f64]) -> Result<()> {
        self.0.update_weighted(pred, target, weights)
    }

    /// As [`MetricCollection::update_labelled`].
    pub fn update_labelled(&mut self, pred: &Tensor, target: &Tensor, labels: &[&str]) -> Result<()> {
        self.0.update_labelled(pred, target, labels)
    }

    /// Adds a batch to every member, and returns each one's value of this batch alone, without a graph.
    ///
    /// # Errors
    /// As [`MetricCollection::forward`].
    pub fn forward(&mut self, pred: &Tensor, target: &Tensor) -> Result<Named<Detached>> {
        let outputs = eval_scope(|| self.0.forward(pred, target))?;
        Ok(outputs.map(Detached::from))
    }

    /// As [`MetricCollection::forward_labelled`], without a graph.
    pub fn forward_labelled(&mut self, pred: &Tensor, target: &Tensor, labels: &[&str]) -> Result<Named<Detached>> {
        let outputs = eval_scope(|| self.0.forward_labelled(pred, target, labels))?;
        Ok(outputs.map(Detached::from))
    }

    /// As [`MetricCollection::compute`].
    pub fn compute(&self) -> Result<Report> {
        self.0.compute()
    }

    /// As [`MetricCollection::reset`].
    pub fn reset(&mut self) {
        self.0.reset();
    }

    /// As [`MetricCollection::merge`].
    pub fn merge(&mut self, other: &Self) -> Result<()> {
        self.0.merge(&other.0)
    }

    /// As [`MetricCollection::save_state`].
    pub fn save_state(&self) -> Result<Checkpoint> {
        self.0.save_state()
    }

    /// As [`MetricCollection::load_state`].
    pub fn load_state(&mut self, checkpoint: &Checkpoint) -> Result<()> {
        self.0.load_state(checkpoint)
    }

    /// As [`MetricCollection::save`].
    pub fn save(&self, path: impl AsRef<Path>) -> Result<()> {
        self.0.save(path)
    }

    /// As [`MetricCollection::load`].
    pub fn load(&mut self, path: impl AsRef<Path>) -> Result<()> {
        self.0.load(path)
    }

    /// As [`MetricCollection::to_bytes`].
    pub fn to_bytes(&self) -> Result<Vec<u8>> {
        self.0.to_bytes()
    }

    /// As [`MetricCollection::load_bytes`].
    pub fn load_bytes(&mut self, bytes: &[u8]) -> Result<()> {
        self.0.load_bytes(bytes)
    }

    /// As [`MetricCollection::plan`].
    pub fn plan(&self) -> Plan {
        self.0.plan()
    }

    /// As [`MetricCollection::len`].
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// As [`MetricCollection::is_empty`].
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// As [`MetricCollection::updates`].
    pub fn updates(&self) -> u64 {
        self.0.updates()
    }

    /// As [`MetricCollection::fingerprint`].
    pub fn fingerprint(&self) -> Fingerprint {
        self.0.fingerprint()
    }

    /// As [`MetricCollection::state_bytes`].
    pub fn state_bytes(&self) -> usize {
        self.0.state_bytes()
    }

    /// As [`MetricCollection::memory`]; what `forward` returns never tracks.
    pub fn memory(&self) -> MemoryReport {
        self.0.memory().tracking(false)
    }
}
