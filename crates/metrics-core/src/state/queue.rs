//! Statistics that wait on a device, so that an update does not wait for it.

use super::Statistics;

/// The default number of updates that are read back together.
const LIMIT: usize = 64;

/// Statistics whose tensors are not on the CPU, in the order of the updates.
#[derive(Clone, Debug)]
pub(super) struct Queue {
    waiting: Vec<Statistics>,
    limit: usize,
    /// Whether tensors on the CPU wait too, for tests.
    everywhere: bool,
}

impl Default for Queue {
    fn default() -> Self {
        Self { waiting: Vec::new(), limit: LIMIT, everywhere: false }
    }
}

impl Queue {
    /// The same, empty.
    pub(super) fn emptied(&self) -> Self {
        Self { waiting: Vec::new(), ..*self }
    }

    pub(super) fn set_limit(&mut self, updates: usize) {
        self.limit = updates;
    }

    pub(super) fn limit(&self) -> usize {
        self.limit
    }

    pub(super) fn set_everywhere(&mut self) {
        self.everywhere = true;
    }

    /// Whether these statistics are to wait too. If not, they and those that wait are to be read back.
    pub(super) fn takes(&self, statistics: &Statistics) -> bool {
        let waits = statistics.tensors().any(|tensor| self.everywhere || !tensor.device().is_cpu());
        waits && self.waiting.len() + 1 < self.limit
    }

    pub(super) fn push(&mut self, statistics: Statistics) {
        self.waiting.push(statistics);
    }

    pub(super) fn clear(&mut self) {
        self.waiting.clear();
    }

    pub(super) fn waiting(&self) -> &[Statistics] {
        &self.waiting
    }

    pub(super) fn updates(&self) -> u64 {
        self.waiting.len() as u64
    }

    /// How many updates wait, and how many samples they have, those of weight 0 included.
    pub(super) fn all(&self) -> (u64, u64) {
        let samples = self.waiting.iter().map(|statistics| statistics.samples() as u64);
        (self.updates(), samples.fold(0, u64::saturating_add))
    }

    /// Samples of a weight above 0.
    pub(super) fn samples(&self) -> u64 {
        self.waiting.iter().map(|statistics| statistics.weighted_samples() as u64).sum()
    }

    pub(super) fn bytes(&self) -> usize {
        self.waiting.iter().map(Statistics::bytes).sum()
    }
}
