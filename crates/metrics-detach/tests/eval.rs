//! Evaluation scopes: nesting, panics, threads.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread;

use metrics_detach::{EvalGuard, eval_scope, is_eval};

#[test]
fn scopes_nest() {
    assert!(!is_eval());
    let outer = EvalGuard::enter();
    assert!(is_eval());
    assert!(eval_scope(|| eval_scope(is_eval)));
    assert!(is_eval());
    drop(outer);
    assert!(!is_eval());
}

#[test]
fn guards_may_go_in_any_order() {
    let first = EvalGuard::enter();
    let second = EvalGuard::enter();
    drop(first);
    assert!(is_eval(), "the second guard is still there");
    drop(second);
    assert!(!is_eval());
}

#[test]
fn a_panic_in_a_nested_scope_ends_that_scope_only() {
    let outer = EvalGuard::enter();
    let panicked = catch_unwind(|| {
        let _inner = EvalGuard::enter();
        eval_scope(|| panic!("inside three scopes"))
    });
    assert!(panicked.is_err());
    assert!(is_eval(), "the outer scope goes on");
    drop(outer);
    assert!(!is_eval());
}

#[test]
fn a_panic_that_moves_the_outer_guard_ends_every_scope() {
    let outer = EvalGuard::enter();
    let panicked = catch_unwind(AssertUnwindSafe(move || {
        let _outer = outer;
        eval_scope(|| panic!("inside both scopes"))
    }));
    assert!(panicked.is_err());
    assert!(!is_eval());
}

#[test]
fn other_threads_are_not_affected() {
    let _here = EvalGuard::enter();
    let seen_there = thread::spawn(|| (is_eval(), eval_scope(is_eval), is_eval())).join().expect("no panic");
    assert_eq!(seen_there, (false, true, false));
    assert!(is_eval());
}

#[test]
fn an_early_return_ends_the_scope() {
    fn fails() -> Result<(), &'static str> {
        let _eval = EvalGuard::enter();
        Err("no data")?;
        Ok(())
    }
    assert!(fails().is_err());
    assert!(!is_eval());
}

#[test]
fn a_scope_returns_its_value() {
    let failed: Result<u8, &str> = eval_scope(|| Err("no data"));
    assert_eq!(failed, Err("no data"));
}
