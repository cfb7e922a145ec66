//! One budget of memory for all threads that read files.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use anyhow::{Result, ensure};
use sysinfo::{MemoryRefreshKind, RefreshKind, System};

/// What a process may take where the system does not tell what is free, and what it may take at least.
const UNKNOWN: u64 = 4 << 30;
const LEAST: u64 = 1 << 28;

/// So many bytes for all threads together. Who asks first is served first, so that a large picture is not passed over for ever.
#[derive(Debug)]
pub(crate) struct Budget {
    total: u64,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    taken: u64,
    /// The number of the next thread to ask, and of the next to be served.
    next: u64,
    serving: u64,
}

/// A part of the budget, given back when this is dropped.
pub(crate) struct Permit {
    budget: Arc<Budget>,
    bytes: u64,
}

impl Budget {
    pub(crate) fn new(total: u64) -> Arc<Self> {
        Arc::new(Self { total, state: Mutex::default(), changed: Condvar::new() })
    }

    /// Three quarters of what the system, or the container that the process runs in, has free.
    pub(crate) fn of_free_memory() -> Arc<Self> {
        let memory = RefreshKind::nothing().with_memory(MemoryRefreshKind::nothing().with_ram());
        let system = System::new_with_specifics(memory);
        let free = match system.available_memory() {
            0 => UNKNOWN,
            free => free,
        };
        let free = system.cgroup_limits().map_or(free, |limits| free.min(limits.free_memory));
        Self::new((free / 4 * 3).max(LEAST))
    }

    /// Waits until so much is free. A thread asks once for all that a pair takes: threads that held a part while they wait for
    /// another could wait for each other.
    pub(super) fn take(self: &Arc<Self>, bytes: u64) -> Result<Permit> {
        let megabytes = |bytes: u64| bytes.div_ceil(1 << 20);
        ensure!(
            bytes <= self.total,
            "the pair takes up to {} MiB of memory, but `--max-memory` is {}",
            megabytes(bytes),
            megabytes(self.total)
        );
        let mut state = self.lock();
        let ticket = state.next;
        state.next += 1;
        while state.serving != ticket || state.taken + bytes > self.total {
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state.serving += 1;
        state.taken += bytes;
        self.changed.notify_all();
        Ok(Permit { budget: Arc::clone(self), bytes })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.budget.lock().taken -= self.bytes;
        self.budget.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::thread;

    use super::*;

    #[test]
    fn threads_together_stay_within_the_budget() {
        let (budget, taken, most) = (Budget::new(100), AtomicU64::new(0), AtomicU64::new(0));
        thread::scope(|scope| {
            for thread in 0..8u64 {
                let (budget, taken, most) = (&budget, &taken, &most);
                scope.spawn(move || {
                    for round in 0..200 {
                        let bytes = (thread * 37 + round * 11) % 100 + 1;
                        let permit = budget.take(bytes).unwrap();
                        most.fetch_max(taken.fetch_add(bytes, Ordering::SeqCst) + bytes, Ordering::SeqCst);
                        thread::yield_now();
                        taken.fetch_sub(bytes, Ordering::SeqCst);
                        drop(permit);
                    }
                });
            }
        });
        let most = most.into_inner();
        assert!((51..=100).contains(&most), "{most}");
        assert_eq!(budget.lock().taken, 0);
    }

    #[test]
    fn what_can_never_be_free_is_refused_at_once() {
        let budget = Budget::new(3 << 20);
        let held = budget.take(3 << 20).unwrap();
        let error = budget.take((3 << 20) + 1).err().unwrap().to_string();
        assert_eq!(error, "the pair takes up to 4 MiB of memory, but `--max-memory` is 3");
        drop(held);
    }
}
