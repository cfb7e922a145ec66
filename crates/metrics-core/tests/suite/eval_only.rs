//! Metrics that can only evaluate.

use candle_core::{Device, Var};
use metrics_core::{EvalOnly, Growth, Metric, MetricCollection, NonFinite, Reduction, Result, Value};
use metrics_detach::Detached;

use crate::toy::{Mae, batch, probe, samples, zeros};

#[test]
fn a_metric_returns_nothing_that_tracks() -> Result<()> {
    // The weight tracks even where the inputs do not.
    let weight = Var::new(&[2f32], &Device::Cpu)?;
    let mut metric = EvalOnly::new(Mae::weighted(weight));
    let (pred, graph) = probe(&batch(&[1.0, 3.0]))?;
    let value: Detached = metric.forward(&pred, &zeros(&pred))?;
    assert!(!value.track_op());
    drop(pred);
    assert!(graph.upgrade().is_none());

    assert_eq!(value.to_scalar::<f32>()?, 4.0);
    assert_eq!(metric.compute()?, Value::Scalar(4.0));
    assert!(!metric.info().differentiable);
    Ok(())
}

#[test]
fn a_metric_accumulates_as_ever() -> Result<()> {
    let mut metric = EvalOnly::new(Mae::new(Reduction::Mean));
    let pred = batch(&[1.0, 3.0]);
    metric.update(&pred, &zeros(&pred))?;
    metric.merge(&metric.clone())?;
    assert_eq!((metric.updates(), metric.compute()?), (2, Value::Scalar(2.0)));
    assert_eq!(metric.fingerprint(), Mae::new(Reduction::Mean).fingerprint());
    assert_eq!(metric.state_bytes(), Mae::new(Reduction::Mean).state_bytes());
    metric.reset();
    assert!(metric.compute().is_err());
    assert_eq!(metric.into_inner().updates(), 0);
    Ok(())
}

#[test]
fn a_collection_returns_nothing_that_tracks() -> Result<()> {
    let weight = Var::new(&[2f32], &Device::Cpu)?;
    let mut metrics = MetricCollection::new()
        .with("plain", Mae::new(Reduction::Mean))?
        .with("weighted", Mae::weighted(weight))?
        .eval_only();
    let (pred, graph) = probe(&batch(&[1.0, 3.0]))?;
    let target = zeros(&pred);
    metrics.update(&pred, &target)?;
    let values = metrics.forward(&pred, &target)?;
    assert_eq!(values.names().collect::<Vec<_>>(), ["plain", "weighted"]);
    assert!(values.iter().all(|(_, value)| !value.track_op()));
    let numbers = values.to_f64()?;
    assert_eq!(numbers.iter().collect::<Vec<_>>(), [("plain", &2.0), ("weighted", &4.0)]);
    drop(pred);
    assert!(graph.upgrade().is_none());

    metrics.merge(&metrics.clone())?;
    let report = metrics.compute()?;
    assert_eq!((report.scalar("plain"), report.scalar("weighted")), (Some(2.0), Some(4.0)));
    metrics.reset();
    assert!(metrics.compute().is_err());
    let (fingerprint, bytes) = (metrics.fingerprint(), metrics.state_bytes());
    let inner = metrics.into_inner();
    assert_eq!((inner.fingerprint(), inner.state_bytes()), (fingerprint, bytes));
    Ok(())
}

#[test]
fn what_only_reads_is_that_of_what_is_within() -> Result<()> {
    let skipping = Mae::with_policy(Reduction::Mean, NonFinite::Skip);
    let inner = MetricCollection::new().with("mae", Mae::new(Reduction::Sum))?.with("skipping", skipping)?;
    let mut metrics = inner.clone().eval_only();
    let pred = batch(&[1.0, f32::NAN, 3.0]);
    metrics.update_with(&samples(&pred).weights(&[1.0, 1.0, 2.0]))?;
    assert_eq!(metrics.iter().map(|(name, _)| name).collect::<Vec<_>>(), ["mae", "skipping"]);
    let skipping = metrics.get("skipping").expect("a member");
    assert_eq!((skipping.skipped(), skipping.compute()?), (1, Value::Scalar(7.0 / 3.0)));
    assert!(metrics.get("other").is_none());
    assert_eq!((metrics.skipped(), metrics.updates(), metrics.len(), metrics.is_empty()), (1, 1, 2, false));
    assert_eq!((metrics.plan(), metrics.fingerprint()), (inner.plan(), inner.fingerprint()));
    assert_eq!(metrics.plan().passes().len(), 2);

    let mut loaded = inner.eval_only();
    loaded.load_bytes(&metrics.to_bytes()?)?;
    assert_eq!(loaded.save_state()?, metrics.save_state()?);
    loaded.reset();
    loaded.load_state(&metrics.save_state()?)?;
    assert_eq!(loaded.compute()?.scalar("skipping"), Some(7.0 / 3.0));
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("metrics.safetensors");
    metrics.save(&path)?;
    loaded.load(&path)?;
    assert_eq!(loaded.to_bytes()?, metrics.to_bytes()?);

    let mut metric = EvalOnly::new(Mae::with_policy(Reduction::Mean, NonFinite::Skip));
    let value = metric.forward_with(&samples(&pred).weights(&[1.0, 0.0, 3.0]))?;
    assert_eq!((value.to_f64()?, metric.skipped(), metric.state().samples()), (2.5, 0, 2));
    assert_eq!((metric.name(), metric.growth()), ("mae", Growth::Constant));
    let mut other = EvalOnly::new(Mae::with_policy(Reduction::Mean, NonFinite::Skip));
    other.load_state(&metric.save_state()?)?;
    assert_eq!(other.compute()?, metric.compute()?);
    Ok(())
}
