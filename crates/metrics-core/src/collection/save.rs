//! Collections as checkpoints and files.

use std::path::Path;

use crate::entries::CheckpointError;
use crate::{Checkpoint, Metric, MetricCollection, Result, State};

/// Saving and loading. Everything comes back to the last bit, and equal states give equal bytes.
///
/// ```
#[doc = include_str!("../../doc/mae.md")]
/// # let folder = tempfile::tempdir()?;
/// # let path = folder.path().join("metrics.safetensors");
/// use metrics_core::MetricCollection;
///
/// let build = || MetricCollection::new().with("mae", Mae::new());
/// let mut metrics = build()?;
/// metrics.update(&Tensor::new(&[[3f32]], &Device::Cpu)?, &Tensor::new(&[[1f32]], &Device::Cpu)?)?;
/// metrics.save(&path)?;
///
/// let mut resumed = build()?;
/// resumed.load(&path)?;
/// assert_eq!(resumed.compute()?, metrics.compute()?);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
impl MetricCollection {
    /// What all members have accumulated, to be saved.
    ///
    /// # Errors
    /// As [`Metric::save_state`].
    pub fn save_state(&self) -> Result<Checkpoint> {
        Checkpoint::new(self.fingerprint(), self.iter().map(|(name, metric)| (Some(name), metric.state())))
    }

    /// Replaces what all members have accumulated by what was saved.
    ///
    /// # Errors
    /// [`Error::Checkpoint`](crate::Error::Checkpoint) when it was saved from other members, names or configurations, or is
    /// not consistent; no member has changed then.
    pub fn load_state(&mut self, checkpoint: &Checkpoint) -> Result<()> {
        let states = self.loaded(checkpoint)?;
        self.replace_states(states);
        Ok(())
    }

    /// Saves to a file, which is replaced as a whole or not at all: see [`Checkpoint::save`].
    ///
    /// # Errors
    /// [`Error::Checkpoint`](crate::Error::Checkpoint) when the disk fails; the error names the file.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<()> {
        self.save_state()?.save(path)
    }

    /// Loads what [`save`](Self::save) saved.
    ///
    /// # Errors
    /// As [`load_state`](Self::load_state), and when the file is truncated, foreign, changed, or of a newer version; the
    /// error names the file, and no member has changed.
    pub fn load(&mut self, path: impl AsRef<Path>) -> Result<()> {
        let states = self.loaded(&Checkpoint::load(&path)?).map_err(|error| error.in_file(path.as_ref()))?;
        self.replace_states(states);
        Ok(())
    }

    /// As the content of a file that [`save`](Self::save) writes.
    ///
    /// # Errors
    /// As [`Metric::save_state`].
    pub fn to_bytes(&self) -> Result<Vec<u8>> {
        self.save_state()?.to_bytes()
    }

    /// Loads the content of a file that [`save`](Self::save) writes.
    ///
    /// # Errors
    /// As [`load`](Self::load).
    pub fn load_bytes(&mut self, bytes: &[u8]) -> Result<()> {
        self.load_state(&Checkpoint::from_bytes(bytes)?)
    }

    fn loaded(&self, checkpoint: &Checkpoint) -> Result<Vec<State>, CheckpointError> {
        checkpoint.states(&self.fingerprint(), self.iter().map(|(name, metric)| (Some(name), metric.state())))
    }

    pub(super) fn replace_states(&mut self, states: Vec<State>) {
        for ((_, metric), state) in self.members.iter_mut().zip(states) {
            *metric.state_mut() = state;
        }
    }
}
