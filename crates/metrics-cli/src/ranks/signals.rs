//! Ctrl-C, and what a launcher sends when it ends a run.

use std::io::{self, Write};
use std::process::exit;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, Result};

use crate::compare::INTERRUPTED;

/// What a signal has to change.
#[derive(Default)]
pub(crate) struct Signals {
    /// Whether to begin no further pair.
    pub(super) stop: AtomicBool,
    /// Whether this rank has done its part. Who waits for ranks that may be gone can only end at once.
    pub(super) waits: AtomicBool,
}

impl Signals {
    pub(super) fn listen(rank: usize) -> Result<Arc<Self>> {
        let signals = Arc::<Self>::default();
        let seen = Arc::clone(&signals);
        let handler = move || {
            let again = seen.stop.swap(true, Ordering::SeqCst);
            let waits = seen.waits.load(Ordering::SeqCst);
            if waits {
                let line = "its part is done, but the run was ended while it waited for the others";
                let _ = writeln!(io::stderr(), "error: rank {rank}: {line}");
            }
            if waits || again {
                exit(INTERRUPTED.into());
            }
        };
        ctrlc::set_handler(handler).context("cannot listen for Ctrl-C")?;
        Ok(signals)
    }
}

/// A signal came before the rank was done.
#[derive(Debug)]
pub(super) struct Interrupted {
    pub(super) done: u64,
    pub(super) pairs: usize,
}

impl std::fmt::Display for Interrupted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "interrupted after {} of its {} pairs", self.done, self.pairs)
    }
}

impl std::error::Error for Interrupted {}
