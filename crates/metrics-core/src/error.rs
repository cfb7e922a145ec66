//! What can go wrong, one variant per way.

use std::path::Path;

use crate::entries::CheckpointError;

/// `std::result::Result` with this crate's [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// An error of a metric, a state or a collection. Whatever was being changed is as it was before the call.
///
/// It converts into [`candle_core::Error`], so `?` works in functions that return Candle's `Result`, as well as in
/// those that return `anyhow::Result` or a boxed error. A message says all there is, an error within another included, which is
/// also its [`source`](std::error::Error::source): print the message of the outermost error, and look for causes in the chain.
/// Candle's error has the message alone.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// An argument was refused; the message names it, says what it is and what was expected.
    #[error("{op}: {message}")]
    Argument {
        /// The function or type that refused it.
        op: String,
        /// Which argument, what it is, what was expected.
        message: String,
    },

    /// A value was asked for before there was any: no sample was added, or only such as do not count, of weight 0 or skipped.
    #[error("{metric}: there is no data yet: no sample that counts was added")]
    NoData {
        /// The metric's name.
        metric: String,
    },

    /// A name that must be unique is taken.
    #[error("the name `{name}` is already taken")]
    DuplicateName {
        /// The name that was to be added.
        name: String,
    },

    /// Nothing has this name.
    #[error("there is no `{name}`; there is {}", list(known))]
    UnknownName {
        /// The name that was asked for.
        name: String,
        /// The names that exist.
        known: Vec<String>,
    },

    /// Two things that should be merged do not measure the same.
    #[error("cannot merge {theirs} into {ours}")]
    Incompatible {
        /// Kind and settings, or layout, of the one that was to be changed; of many settings, those that differ.
        ours: String,
        /// The same of the one that was to be merged into it.
        theirs: String,
    },

    /// A metric gave fields that its state does not declare, or left some out.
    #[error("statistics: {message}")]
    Statistics {
        /// Which field, and what is wrong with it.
        message: String,
    },

    /// A number is NaN or infinite, and the state declares [`NonFinite::Error`](crate::NonFinite::Error).
    #[error("the field `{field}` of sample {sample} of the batch is {value}, but must be finite")]
    NonFinite {
        /// The field of the state.
        field: String,
        /// Which sample of its batch, from 0.
        sample: usize,
        /// The number.
        value: f64,
    },

    /// A saved state cannot be written or read.
    #[error("{name}: {error}")]
    Checkpoint {
        /// The file, or that it is not known which.
        name: String,
        /// What is wrong with it.
        #[source]
        error: CheckpointError,
    },

    /// The states of several processes cannot be put together. Every process gets the same error.
    #[error("sync: rank {rank}: {message}")]
    Sync {
        /// The first process that is in the way.
        rank: usize,
        /// What is wrong with its state, or why it has none.
        message: String,
    },

    /// Processes could not exchange what they have.
    #[error("collective: {message}")]
    Collective {
        /// What the engine says.
        message: String,
    },

    /// A member of a collection failed.
    #[error("member `{name}`: {error}")]
    Member {
        /// The member's name in the collection.
        name: String,
        /// Its error.
        #[source]
        error: Box<Error>,
    },

    /// A tensor operation failed.
    #[error(transparent)]
    Candle(#[from] candle_core::Error),
}

impl Error {
    /// An [`Error::Argument`].
    ///
    /// ```
    /// # use metrics_core::Error;
    /// let error = Error::argument("ssim", "`sigma` is 0, but must be positive");
    /// assert_eq!(error.to_string(), "ssim: `sigma` is 0, but must be positive");
    /// ```
    pub fn argument(op: impl Into<String>, message: impl Into<String>) -> Self {
        Self::Argument { op: op.into(), message: message.into() }
    }

    pub(crate) fn statistics(message: impl Into<String>) -> Self {
        Self::Statistics { message: message.into() }
    }

    pub(crate) fn sync(rank: usize, message: impl Into<String>) -> Self {
        Self::Sync { rank, message: message.into() }
    }

    /// An [`Error::Collective`], for engines.
    pub fn collective(message: impl Into<String>) -> Self {
        Self::Collective { message: message.into() }
    }

    /// Says which member of a collection failed.
    pub(crate) fn in_member(self, name: &str) -> Self {
        Self::Member { name: name.into(), error: Box::new(self) }
    }
}

impl CheckpointError {
    /// Says which file it is about.
    pub(crate) fn in_file(self, path: &Path) -> Error {
        Error::Checkpoint { name: format!("checkpoint `{}`", path.display()), error: self }
    }
}

impl From<CheckpointError> for Error {
    fn from(error: CheckpointError) -> Self {
        Self::Checkpoint { name: "checkpoint".into(), error }
    }
}

impl From<Error> for candle_core::Error {
    fn from(error: Error) -> Self {
        match error {
            Error::Candle(error) => error,
            error => Self::wrap(error),
        }
    }
}

/// `` `a`, `b` ``, or `nothing`.
pub(crate) fn list<S: AsRef<str>>(names: &[S]) -> String {
    let quoted: Vec<_> = names.iter().map(|name| format!("`{}`", name.as_ref())).collect();
    if quoted.is_empty() { "nothing".into() } else { quoted.join(", ") }
}
