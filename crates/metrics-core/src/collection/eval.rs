//! Collections restricted to evaluation.

use std::path::Path;

use metrics_detach::{Detached, eval_scope};

use crate::{Checkpoint, Collective, EvalOnly, Evaluate, MemoryReport, MetricCollection, Named, Result, Samples};

impl MetricCollection {
    /// This collection, restricted to evaluation: nothing that it returns tracks.
    pub fn eval_only(self) -> EvalOnly<Self> {
        EvalOnly::new(self)
    }
}

impl Evaluate for MetricCollection {
    type Outputs = Named<Detached>;

    fn eval_update(&mut self, samples: &Samples) -> Result<()> {
        self.update_with(samples)
    }

    fn eval_forward(&mut self, samples: &Samples) -> Result<Named<Detached>> {
        Ok(eval_scope(|| self.forward_with(samples))?.map(Detached::from))
    }

    fn eval_merge(&mut self, other: &Self) -> Result<()> {
        self.merge(other)
    }

    fn eval_reset(&mut self) {
        self.reset();
    }

    fn eval_load(&mut self, checkpoint: &Checkpoint) -> Result<()> {
        self.load_state(checkpoint)
    }

    fn eval_memory(&self) -> MemoryReport {
        self.memory()
    }
}

/// Errors are those of [`MetricCollection`]'s methods of the same names.
impl EvalOnly<MetricCollection> {
    /// As [`MetricCollection::load`].
    pub fn load(&mut self, path: impl AsRef<Path>) -> Result<()> {
        self.0.load(path)
    }

    /// As [`MetricCollection::load_bytes`].
    pub fn load_bytes(&mut self, bytes: &[u8]) -> Result<()> {
        self.0.load_bytes(bytes)
    }

    /// As [`MetricCollection::sync`].
    pub fn sync(&mut self, collective: &mut dyn Collective) -> Result<()> {
        self.0.sync(collective)
    }

    /// As [`MetricCollection::synced`].
    pub fn synced(&self, collective: &mut dyn Collective) -> Result<Self> {
        self.0.synced(collective).map(Self)
    }

    /// As [`MetricCollection::sync_by_key`].
    pub fn sync_by_key(&mut self, collective: &mut dyn Collective, keys: &[u64]) -> Result<()> {
        self.0.sync_by_key(collective, keys)
    }

    /// As [`MetricCollection::synced_by_key`].
    pub fn synced_by_key(&self, collective: &mut dyn Collective, keys: &[u64]) -> Result<Self> {
        self.0.synced_by_key(collective, keys).map(Self)
    }
}
