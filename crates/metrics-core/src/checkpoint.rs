//! Saved states: what is in a checkpoint, and how it becomes bytes and files.

mod file;
mod format;

#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::path::Path;

use crate::entries::{CheckpointError, Entries};
use crate::fingerprint::differing;
use crate::{Error, Fingerprint, Result, State};

/// The saved state of a metric or of a collection, with the fingerprint of what it belongs to.
///
/// As bytes and on disk, a file in the safetensors format: one tensor of 64-bit integers or floats for each part of each
/// field, and in the metadata the format's name and version, kind, configuration, number of updates, and a checksum over
/// everything. Everything comes back to the last bit, and equal states give equal bytes. The checksum, 64 bits of XXH3,
/// guards against accidents, not against attackers.
///
/// ```
/// use metrics_core::{Checkpoint, Metric};
#[doc = include_str!("../doc/mae.md")]
/// let mut mae = Mae::new();
/// mae.update(&Tensor::new(&[[3f32]], &Device::Cpu)?, &Tensor::new(&[[1f32]], &Device::Cpu)?)?;
/// let bytes = mae.save_state()?.to_bytes()?;
///
/// let mut resumed = Mae::new();
/// resumed.load_state(&Checkpoint::from_bytes(&bytes)?)?;
/// assert_eq!(resumed.compute()?, Value::Scalar(2.0));
/// # Ok::<(), metrics_core::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Checkpoint {
    fingerprint: Fingerprint,
    updates: u64,
    entries: Entries,
}

impl Checkpoint {
    /// Of the states of a metric, or of a collection's members, each under its name.
    pub(crate) fn new<'a>(
        fingerprint: Fingerprint,
        states: impl IntoIterator<Item = (Option<&'a str>, &'a State)>,
    ) -> Result<Self> {
        let (mut entries, mut updates) = (Entries::default(), 0);
        for (name, state) in states {
            updates = updates.max(state.updates());
            let mut writer = entries.writer();
            match name {
                Some(name) => state.save(&mut writer.scope(name))?,
                None => state.save(&mut writer)?,
            }
        }
        Ok(Self { fingerprint, updates, entries })
    }

    /// Of what kind and configuration the saved state is.
    pub fn fingerprint(&self) -> &Fingerprint {
        &self.fingerprint
    }

    /// How many updates the state has seen; of a collection, the most that any member has.
    pub fn updates(&self) -> u64 {
        self.updates
    }

    /// The states, of metrics that declare what `declared` declare, with the names under which they were saved.
    pub(crate) fn states<'a>(
        &self,
        fingerprint: &Fingerprint,
        declared: impl IntoIterator<Item = (Option<&'a str>, &'a State)>,
    ) -> Result<Vec<State>, CheckpointError> {
        if self.fingerprint != *fingerprint {
            let [found, expected] = differing(&self.fingerprint, fingerprint);
            return Err(CheckpointError::Configuration { found, expected });
        }
        let mut read = BTreeSet::new();
        let mut reader = self.entries.reader(&mut read);
        let mut states = Vec::new();
        for (name, declared) in declared {
            states.push(match name {
                Some(name) => declared.load(&mut reader.scope(name))?,
                None => declared.load(&mut reader)?,
            });
        }
        self.entries.check_all_read(&read)?;
        let expected = states.iter().map(State::updates).max().unwrap_or(0);
        if self.updates != expected {
            let (found, expected) = (self.updates.to_string(), expected.to_string());
            return Err(CheckpointError::Metadata { key: "updates", found, expected });
        }
        Ok(states)
    }

    /// As the content of a file.
    ///
    /// # Errors
    /// None is known, but encoding the header could fail.
    pub fn to_bytes(&self) -> Result<Vec<u8>> {
        format::encode(self).map_err(Error::from)
    }

    /// From the content of a file.
    ///
    /// # Errors
    /// [`Error::Checkpoint`] when it is truncated, foreign, changed, or of a newer version.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self> {
        format::decode(bytes).map_err(Error::from)
    }

    /// Writes a file, or replaces it as a whole: whatever happens meanwhile, there is either the old file or the new one.
    /// The new file is written beside it, under a temporary name, and made durable before it takes the old one's place.
    /// A process that is killed may leave the temporary file behind.
    ///
    /// # Errors
    /// [`Error::Checkpoint`] when the disk fails.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<()> {
        let bytes = self.to_bytes()?;
        replace(path.as_ref(), &bytes).map_err(|error| error.in_file(path.as_ref()))
    }

    /// Reads a file.
    ///
    /// # Errors
    /// As [`Checkpoint::from_bytes`], and when the file cannot be read; the error names it.
    pub fn load(path: impl AsRef<Path>) -> Result<Self> {
        let checkpoint = read(path.as_ref()).and_then(|bytes| format::decode(&bytes));
        checkpoint.map_err(|error| error.in_file(path.as_ref()))
    }
}

/// Writes a file, or replaces it as a whole.
pub(crate) fn replace(path: &Path, bytes: &[u8]) -> Result<(), CheckpointError> {
    file::replace(path, bytes).map_err(|error| CheckpointError::Io { action: "write", error })
}

pub(crate) fn read(path: &Path) -> Result<Vec<u8>, CheckpointError> {
    std::fs::read(path).map_err(|error| CheckpointError::Io { action: "read", error })
}
