//! Evaluation scopes: a mark on the thread that says "nothing here will be differentiated".

use std::cell::Cell;
use std::marker::PhantomData;

thread_local! {
    static DEPTH: Cell<usize> = const { Cell::new(0) };
}

/// Marks the current thread as evaluating, from [`enter`](Self::enter) until it is dropped.
///
/// Candle has no such mode, so its own operations take no notice. Code that wants to (the metrics and losses of
/// `metrics-image` do) asks [`is_eval`] and detaches its inputs. To keep a *model* from building a graph, build it with
/// [`eval_var_builder`](crate::eval_var_builder).
///
/// Guards nest: the thread is evaluating until the last one is gone, in whatever order they go. A panic that unwinds through a
/// guard ends its scope like any other exit. Other threads are not affected: a guard does not reach into threads started
/// inside its scope, and cannot be sent to one:
///
/// ```compile_fail,E0277
/// let guard = metrics_detach::EvalGuard::enter();
/// std::thread::spawn(move || drop(guard)); // error: `*const ()` cannot be sent between threads safely
/// ```
///
/// (For the same reason a future that holds one across an `.await` is not `Send`.)
///
/// ```
/// use metrics_detach::{EvalGuard, is_eval};
///
/// {
///     let _outer = EvalGuard::enter();
///     {
///         let _inner = EvalGuard::enter();
///     }
///     assert!(is_eval());
/// }
/// assert!(!is_eval());
/// ```
#[must_use = "the evaluation scope ends when the guard is dropped, so bind it: `let _eval = EvalGuard::enter();`"]
#[derive(Debug)]
pub struct EvalGuard {
    // A raw pointer makes the guard !Send and !Sync: its drop has to happen on the thread that it marked.
    _this_thread: PhantomData<*const ()>,
}

impl EvalGuard {
    /// Opens an evaluation scope on this thread; the returned guard closes it.
    pub fn enter() -> Self {
        DEPTH.with(|depth| depth.set(depth.get() + 1));
        Self { _this_thread: PhantomData }
    }
}

impl Drop for EvalGuard {
    fn drop(&mut self) {
        DEPTH.with(|depth| depth.set(depth.get() - 1));
    }
}

/// Whether this thread is inside an evaluation scope.
pub fn is_eval() -> bool {
    DEPTH.with(|depth| depth.get() > 0)
}

/// Runs `f` inside an evaluation scope and returns what it returns.
///
/// ```
/// use metrics_detach::{eval_scope, is_eval};
///
/// assert!(eval_scope(is_eval));
/// assert!(!is_eval());
/// ```
pub fn eval_scope<T>(f: impl FnOnce() -> T) -> T {
    let _eval = EvalGuard::enter();
    f()
}
