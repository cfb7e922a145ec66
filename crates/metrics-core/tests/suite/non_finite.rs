//! What becomes of NaN and infinities.

use metrics_core::{Error, NonFinite, Reduce, Reduction, Result, State, Statistics};

fn statistics(values: &[f64]) -> Statistics {
    Statistics::new(values.len()).with_values("x", values.to_vec()).with_values("n", vec![1.0; values.len()])
}

fn state(policy: NonFinite) -> State {
    State::new().with("x", Reduce::Sum).with("n", Reduce::Sum).non_finite(policy)
}

#[test]
fn propagate_is_the_default() -> Result<()> {
    let mut state = State::scores(Reduction::Mean);
    state.accumulate(Statistics::new(2).with_values("score", vec![1.0, f64::NAN]))?;
    assert!(state.mean("score")?.is_nan());
    assert_eq!((state.samples(), state.skipped()), (2, 0));
    Ok(())
}

#[test]
fn skip_leaves_a_sample_out_of_every_field_and_counts_it() -> Result<()> {
    let mut skipping = state(NonFinite::Skip);
    skipping.accumulate(statistics(&[1.0, f64::NAN, 3.0, f64::INFINITY]).with_weights(&[1.0, 2.0, 2.0, 0.0])?)?;
    assert_eq!((skipping.sum("x")?, skipping.sum("n")?), (7.0, 3.0));
    assert_eq!((skipping.updates(), skipping.samples(), skipping.skipped()), (1, 2, 1));

    skipping.merge(&skipping.clone())?;
    assert_eq!(skipping.skipped(), 2);
    skipping.reset();
    assert_eq!((skipping.samples(), skipping.skipped()), (0, 0));
    Ok(())
}

#[test]
fn error_names_field_and_sample_and_changes_nothing() -> Result<()> {
    let mut strict = state(NonFinite::Error);
    strict.accumulate(statistics(&[1.0]))?;
    let error = strict.accumulate(statistics(&[2.0, f64::NEG_INFINITY])).unwrap_err();
    assert!(matches!(&error, Error::NonFinite { field, sample: 1, .. } if field == "x"));
    assert_eq!(error.to_string(), "the field `x` of sample 1 of the batch is -inf, but must be finite");
    assert_eq!((strict.updates(), strict.sum("x")?), (1, 1.0));
    strict.accumulate(statistics(&[2.0, f64::NAN]).with_weights(&[1.0, 0.0])?)?;
    assert_eq!(strict.sum("x")?, 3.0);
    Ok(())
}

#[test]
fn the_policy_is_part_of_the_declaration() {
    let error = state(NonFinite::Skip).merge(&state(NonFinite::Propagate)).unwrap_err();
    let expected = "cannot merge state[x: sum, n: sum] into state[x: sum, n: sum; non-finite: skip]";
    assert_eq!(error.to_string(), expected);
}

#[test]
fn policies_are_text() -> Result<()> {
    for policy in [NonFinite::Propagate, NonFinite::Skip, NonFinite::Error] {
        assert_eq!(policy.to_string().parse::<NonFinite>()?, policy);
        assert_eq!(serde_json::to_string(&policy).expect("text"), format!("\"{policy}\""));
    }
    let error = "ignore".parse::<NonFinite>().unwrap_err();
    assert_eq!(error.to_string(), "non_finite: `ignore` is not one of `propagate`, `skip`, `error`");
    Ok(())
}
