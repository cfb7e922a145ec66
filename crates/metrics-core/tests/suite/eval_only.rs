//! Metrics that can only evaluate.

use candle_core::{Device, Var};
use metrics_core::{EvalOnly, Metric, MetricCollection, Reduction, Result, Value};
use metrics_detach::Detached;

use crate::toy::{Mae, batch, probe, zeros};

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
