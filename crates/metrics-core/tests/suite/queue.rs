//! Updates that wait on a device. There is only the CPU here, which is made to be waited for.

use candle_core::{DType, Device, Tensor};
use metrics_core::{
    Accumulator, Error, Metric, MetricCollection, NonFinite, Reduce, Reduction, Result, State, Statistics, Value,
};

use crate::toy::{Mae, REDUCTIONS, batch, probe, samples, waiting, zeros};

const BATCHES: [&[f32]; 5] = [&[0.1, 1e-30], &[3e7], &[0.7, 0.2, 0.3], &[1e-3], &[5.0, 6.0]];

fn update(metric: &mut dyn Metric, errors: &[f32]) -> Result<()> {
    let pred = batch(errors);
    metric.update(&pred, &zeros(&pred))
}

fn updated(mut metric: Accumulator<Mae>) -> Result<Accumulator<Mae>> {
    BATCHES.iter().try_for_each(|errors| update(&mut metric, errors))?;
    Ok(metric)
}

#[test]
fn waiting_changes_no_bit() -> Result<()> {
    for reduction in REDUCTIONS {
        let plain = updated(Mae::new(reduction))?;
        for limit in [0, 1, 2, 3, 5, 6, 64] {
            let queued = updated(Mae::queued(reduction, limit))?;
            assert_eq!(queued.state().waiting(), if limit > 1 { BATCHES.len() % limit } else { 0 });
            assert_eq!((queued.updates(), queued.state().samples()), (5, 9));
            assert_eq!(queued.save_state()?, plain.save_state()?);
            assert_eq!(queued.compute()?, plain.compute()?);
            let mut merged = queued.clone();
            merged.merge(&queued)?;
            assert_eq!((merged.state().waiting(), merged.updates()), (0, 10));
            let mut twice = plain.clone();
            twice.merge(&plain)?;
            assert_eq!(merged.save_state()?, twice.save_state()?);
        }
    }
    Ok(())
}

#[test]
fn at_most_64_updates_wait() -> Result<()> {
    let mut metric = waiting(Mae::new(Reduction::Mean));
    for updates in 1..=200 {
        update(&mut metric, &[1.0])?;
        assert_eq!(metric.state().waiting(), updates % 64);
    }
    metric.reset();
    assert_eq!((metric.state().waiting(), metric.updates()), (0, 0));
    Ok(())
}

#[test]
fn nothing_waits_on_the_cpu() -> Result<()> {
    let metric = updated(Mae::new(Reduction::Mean))?;
    assert_eq!(metric.state().waiting(), 0);
    Ok(())
}

#[test]
fn what_waits_has_no_graph() -> Result<()> {
    let mut metric = Mae::queued(Reduction::Mean, 64);
    let (pred, graph) = probe(&batch(&[0.5, 2.0]))?;
    let target = zeros(&pred);
    metric.update(&pred, &target)?;
    drop(metric.forward(&pred, &target)?);
    drop(pred);
    assert_eq!(metric.state().waiting(), 2);
    assert!(graph.upgrade().is_none());
    Ok(())
}

#[test]
fn what_waits_counts_as_memory() -> Result<()> {
    let mut metric = Mae::queued(Reduction::Mean, 64);
    let before = metric.state_bytes();
    update(&mut metric, &[1.0, 2.0])?;
    assert!(metric.state_bytes() >= before + 2 * 4);
    metric.state_mut().drain()?;
    assert_eq!(metric.state_bytes(), before);
    Ok(())
}

#[test]
fn every_dtype_and_mixed_fields_keep_their_order() -> Result<()> {
    let mut state = State::new().with("a", Reduce::Collect).with("b", Reduce::Collect).queue_everywhere();
    for (index, dtype) in [DType::F16, DType::F32, DType::BF16, DType::F32, DType::F64].into_iter().enumerate() {
        let values = Tensor::new(&[index as f64, 0.5], &Device::Cpu)?.to_dtype(dtype)?;
        state.accumulate(Statistics::new(2).with("a", &values).with("b", &values))?;
    }
    assert_eq!(state.waiting(), 5);
    // Plain numbers have nothing to wait for, but come after those that wait.
    state.accumulate(Statistics::new(1).with_values("a", vec![5.0]).with_values("b", vec![6.0]))?;
    assert_eq!(state.waiting(), 0);
    assert_eq!(state.values("a")?, [0.0, 0.5, 1.0, 0.5, 2.0, 0.5, 3.0, 0.5, 4.0, 0.5, 5.0]);
    assert_eq!(state.values("b")?[10], 6.0);
    Ok(())
}

#[test]
fn fields_are_read_when_nothing_waits() -> Result<()> {
    let mut metric = updated(Mae::queued(Reduction::Sum, 64))?;
    let error = metric.state().sum("score").unwrap_err();
    let expected = "state: 5 updates wait on a device, but must be read back with `drain` first";
    assert_eq!(error.to_string(), expected);
    metric.state_mut().drain()?;
    assert_eq!(Value::Scalar(metric.state().sum("score")?), updated(Mae::new(Reduction::Sum))?.compute()?);
    Ok(())
}

#[test]
fn shapes_and_weights_are_checked_at_once() -> Result<()> {
    let mut metric = Mae::queued(Reduction::Mean, 64);
    assert!(metric.update(&batch(&[1.0]), &batch(&[1.0, 2.0])).is_err());
    let pred = batch(&[1.0]);
    assert!(metric.update_with(&samples(&pred).weights(&[-1.0])).is_err());
    assert_eq!((metric.state().waiting(), metric.updates()), (0, 0));
    Ok(())
}

#[test]
fn an_error_that_is_noticed_late_changes_nothing() -> Result<()> {
    let strict = || Mae::queued_with_policy(Reduction::Summary, 4, NonFinite::Error);
    let mut metrics = MetricCollection::new().with("plain", Mae::new(Reduction::Mean))?.with("strict", strict())?;
    let add = |metrics: &mut MetricCollection, error: f32| {
        let pred = batch(&[error]);
        metrics.update(&pred, &zeros(&pred))
    };
    add(&mut metrics, 1.0)?;
    add(&mut metrics, f32::NAN)?;
    add(&mut metrics, 2.0)?;
    let states = |metrics: &MetricCollection| {
        metrics.iter().map(|(_, m)| (m.updates(), m.state().waiting(), m.state_bytes())).collect::<Vec<_>>()
    };
    let before = states(&metrics);
    let empty = MetricCollection::new().with("plain", Mae::new(Reduction::Mean))?.with("strict", strict())?;
    for error in [
        add(&mut metrics, 3.0).unwrap_err(),
        metrics.compute().map(drop).unwrap_err(),
        metrics.save_state().map(drop).unwrap_err(),
        metrics.merge(&empty).unwrap_err(),
        empty.clone().merge(&metrics).unwrap_err(),
    ] {
        let inner = match error {
            Error::Member { name, error } if name == "strict" => *error,
            other => other,
        };
        assert!(matches!(inner, Error::NonFinite { sample: 0, .. }), "{inner}");
        assert_eq!(states(&metrics), before);
    }
    metrics.reset();
    add(&mut metrics, 1.0)?;
    assert_eq!(metrics.compute()?.scalar("strict"), Some(1.0));
    Ok(())
}

#[test]
fn skipped_samples_are_counted_when_they_are_read() -> Result<()> {
    let mut metric = Mae::queued_with_policy(Reduction::Mean, 64, NonFinite::Skip);
    update(&mut metric, &[1.0, f32::INFINITY])?;
    metric.state_mut().drain()?;
    assert_eq!((metric.skipped(), metric.state().samples(), metric.compute()?), (1, 1, Value::Scalar(1.0)));
    Ok(())
}

#[test]
fn a_limit_stays_when_samples_are_numbered_anew() -> Result<()> {
    let metric = Mae::queued(Reduction::Mean, 64);
    let mut metric = metrics_core::BootStrapper::new(metric, 2, 0)?.queue_limit(3).first_sample(5);
    for waiting in [1, 2, 0, 1] {
        update(&mut metric, &[1.0])?;
        assert_eq!(metric.state().waiting(), waiting);
    }
    Ok(())
}
