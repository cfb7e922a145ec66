//! Errors in functions of other crates' types.

use std::error::Error as _;
use std::io;

use metrics_core::{CheckpointError, Error, Metric, MetricCollection, Reduction};

use crate::toy::{Mae, batch};

fn refused() -> Result<(), Error> {
    let mut metrics = MetricCollection::new().with("error", Mae::new(Reduction::Mean))?;
    metrics.update(&batch(&[1.0]), &batch(&[1.0, 2.0]))
}

/// Without the backtrace that Candle appends where the environment asks for one.
fn first_line(error: impl std::error::Error) -> String {
    error.to_string().lines().next().unwrap_or_default().into()
}

const REFUSED: &str = "member `error`: mae: `pred` is [1, 4] but `target` is [2, 4]";

#[test]
fn question_mark_in_a_function_of_candle() {
    fn candle() -> candle_core::Result<()> {
        Ok(refused()?)
    }
    assert_eq!(first_line(candle().unwrap_err()), REFUSED);
}

#[test]
fn question_mark_in_a_function_of_anyhow() {
    fn anyhow() -> anyhow::Result<()> {
        Ok(refused()?)
    }
    let error = anyhow().unwrap_err();
    assert_eq!(error.to_string(), REFUSED);
    let Some(Error::Member { name, error: inner }) = error.downcast_ref() else { panic!("{error:?}") };
    assert_eq!(name, "error");
    assert!(matches!(&**inner, Error::Argument { op, .. } if op == "mae"));
}

#[test]
fn the_cause_of_a_failed_save_is_the_end_of_the_chain() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("nowhere/file");
    let error = MetricCollection::new().save(&path).unwrap_err();
    let checkpoint = error.source().and_then(|cause| cause.downcast_ref::<CheckpointError>()).expect("a cause");
    let cause = checkpoint.source().and_then(|cause| cause.downcast_ref::<io::Error>()).expect("a cause");
    assert_eq!(cause.kind(), io::ErrorKind::NotFound);
    assert_eq!(error.to_string(), format!("checkpoint `{}`: cannot write it: {cause}", path.display()));
    assert_eq!(checkpoint.to_string(), format!("cannot write it: {cause}"));

    let error = anyhow::Error::from(error).context("after the epoch");
    assert!(error.chain().any(|cause| cause.is::<io::Error>()));
}

#[test]
fn the_error_of_a_member_is_a_cause() {
    let error = refused().unwrap_err();
    let cause = error.source().expect("a cause").to_string();
    assert_eq!(error.to_string(), format!("member `error`: {cause}"));
}

#[test]
fn a_candle_error_comes_through_unchanged() {
    let original = batch(&[1.0]).reshape((3, 3)).unwrap_err();
    let text = original.to_string();
    let ours = Error::from(original);
    assert!(matches!(ours, Error::Candle(_)));
    assert_eq!(ours.to_string(), text);
    assert_eq!(candle_core::Error::from(ours).to_string(), text);
}

#[test]
fn errors_can_be_sent() {
    fn sendable<T: Send + Sync + 'static>(_: &T) {}
    sendable(&Mae::new(Reduction::Mean).compute().unwrap_err());
}
