//! What can be wrong with a checkpoint, one variant per way.

use std::io;

/// Why a checkpoint cannot be written or read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CheckpointError {
    /// The disk failed, or there is no such file.
    #[error("cannot {action} it: {error}")]
    Io {
        /// What was being done.
        action: &'static str,
        /// The system's error.
        #[source]
        error: io::Error,
    },

    /// It is longer or shorter than it says, as after a copy that was cut off.
    #[error("it has {found} bytes, but its header says {expected}")]
    Size {
        /// How many bytes there are.
        found: u64,
        /// How many there should be.
        expected: u64,
    },

    /// It does not start as a file in the safetensors format.
    #[error("it has no header of the safetensors format: {message}")]
    Header {
        /// What the parser says.
        message: String,
    },

    /// It is not the JSON that a [`Tracker`](crate::Tracker) is saved as.
    #[error("it is not a tracker's JSON: {message}")]
    Json {
        /// What the parser says.
        message: String,
    },

    /// It is in the safetensors format, but was not written by this crate.
    #[error("its format is {found}, but must be `{expected}`")]
    Foreign {
        /// The format that it names, if it names one.
        found: String,
        /// The format of checkpoints.
        expected: &'static str,
    },

    /// It was written by a version of this crate that knew another format.
    #[error("its format has version {found}, but this program reads version {expected}")]
    Version {
        /// The version of the format that it names.
        found: String,
        /// The version that is understood.
        expected: u64,
    },

    /// An entry of the metadata is not what it must be.
    #[error("its metadata has {found} for `{key}`, but must have {expected}")]
    Metadata {
        /// Which entry.
        key: &'static str,
        /// What it is.
        found: String,
        /// What was expected.
        expected: String,
    },

    /// The content is not what was written.
    #[error("its content has the checksum {found}, but was written with {expected}: it has been changed since")]
    Checksum {
        /// The checksum of the content.
        found: String,
        /// The checksum in the metadata.
        expected: String,
    },

    /// It belongs to a metric of another kind or configuration, or to a collection with other members.
    #[error("it is of {found}, but must be of {expected}")]
    Configuration {
        /// The kind and settings that it has; of many settings, those that differ.
        found: String,
        /// The same of what it was to be loaded into.
        expected: String,
    },

    /// An entry that the state declares is missing.
    #[error("the entry `{entry}` is missing")]
    Missing {
        /// Which entry.
        entry: String,
    },

    /// There is an entry that the state does not declare.
    #[error("the entry `{entry}` is not declared")]
    Unexpected {
        /// Which entry.
        entry: String,
    },

    /// An entry has the wrong type or shape.
    #[error("the entry `{entry}` is {found}, but must be {expected}")]
    Entry {
        /// Which entry.
        entry: String,
        /// Its type and shape.
        found: String,
        /// The type and shape that were expected.
        expected: String,
    },

    /// An entry's numbers cannot be those of a state.
    #[error("the entry `{entry}` cannot be: {message}")]
    Value {
        /// Which entry.
        entry: String,
        /// What is wrong.
        message: String,
    },
}
