//! [`Finding`]: what a monitor noticed.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::Rise;
use crate::stats::show_bytes;

/// What a [`RetentionMonitor`](crate::RetentionMonitor) noticed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Finding {
    /// The graphs behind the kept values have more and more nodes.
    Graph {
        /// In nodes.
        rise: Rise,
        /// Bytes that they keep alive at present; a lower bound, see [`GraphStats`](crate::GraphStats).
        bytes: usize,
    },
    /// Holders that declare [`Growth::Constant`](crate::Growth::Constant) need more and more memory.
    State {
        /// In bytes.
        rise: Rise,
    },
    /// The process needs more and more memory: see [`resident_bytes`](crate::resident_bytes).
    Process {
        /// In bytes.
        rise: Rise,
    },
    /// Holders keep every value, as they are told to. Not a warning.
    PerImage {
        /// Their names.
        holders: Vec<String>,
    },
}

impl Finding {
    /// Whether memory is lost, rather than used as configured.
    pub fn is_warning(&self) -> bool {
        !matches!(self, Self::PerImage { .. })
    }
}

/// What was noticed, and where to look.
impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = |rise: &Rise| {
            let (from, to) = (show_bytes(rise.from), show_bytes(rise.to));
            format!("{from} to {to} in {} checks", rise.checks)
        };
        match self {
            Self::Graph { rise: Rise { from, to, checks }, bytes } => write!(
                f,
                "the kept values hold a growing graph: {from} to {to} nodes in {checks} checks, {} alive; \
                 keep `Detached` values or numbers",
                show_bytes(*bytes)
            ),
            Self::State { rise } => {
                write!(f, "what should take constant memory grows: {}", bytes(rise))
            }
            Self::Process { rise } => write!(f, "the process keeps growing: {}", bytes(rise)),
            Self::PerImage { holders } => {
                write!(f, "8 bytes an image are kept, as configured, by `{}`", holders.join("`, `"))
            }
        }
    }
}
