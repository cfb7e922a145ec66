//! A place to run deep recursions: Candle walks a graph by recursion, and a metric that leaks its graph for an epoch is deeper
//! than the usual stacks of 8 MiB (main thread) or 2 MiB (others), where the walk would abort the process.

use std::{panic, thread};

/// Room for millions of nodes. Address space only: pages are committed when the recursion first touches them.
const LARGE_STACK: usize = if cfg!(target_pointer_width = "64") { 1 << 30 } else { 1 << 26 };

/// The smallest stack worth a thread of its own.
const SMALL_STACK: usize = 1 << 23;

/// Runs `f` on a thread with a large stack: as large as the system grants, and on the present thread if it grants none.
pub(crate) fn with_large_stack<T: Send>(f: impl Fn() -> T + Sync) -> T {
    let mut stack = LARGE_STACK;
    while stack >= SMALL_STACK {
        let result = thread::scope(|scope| {
            let thread = thread::Builder::new().stack_size(stack).spawn_scoped(scope, &f).ok()?;
            Some(thread.join().unwrap_or_else(|payload| panic::resume_unwind(payload)))
        });
        match result {
            Some(value) => return value,
            None => stack /= 2,
        }
    }
    f()
}

#[cfg(test)]
mod tests {
    use super::with_large_stack;

    #[test]
    fn the_result_and_a_panic_come_back() {
        assert_eq!(with_large_stack(|| 42), 42);
        let panicked = std::panic::catch_unwind(|| with_large_stack(|| panic!("from the walk")));
        assert_eq!(panicked.unwrap_err().downcast_ref(), Some(&"from the walk"));
    }
}
