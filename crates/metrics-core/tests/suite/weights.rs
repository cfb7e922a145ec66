//! Samples with weights.

use candle_core::Var;
use metrics_core::{
    Accumulator, Error, Formula, Metric, MetricCollection, NonFinite, Reduce, Reduction, Result, Running, State,
    Statistics, Value,
};
use metrics_detach::eval_scope;

use crate::toy::{Mae, REDUCTIONS, batch, samples, zeros};

fn weighted(reduction: Reduction, errors: &[f32], weights: &[f64]) -> Result<Accumulator<Mae>> {
    let (mut metric, pred) = (Mae::new(reduction), batch(errors));
    metric.update_with(&samples(&pred).weights(weights))?;
    Ok(metric)
}

#[test]
fn each_reduction_has_its_meaning() -> Result<()> {
    let compute = |reduction| weighted(reduction, &[1.0, 5.0, 7.0], &[3.0, 1.0, 0.0])?.compute();
    assert_eq!(compute(Reduction::Mean)?, Value::Scalar(2.0));
    assert_eq!(compute(Reduction::Sum)?, Value::Scalar(8.0));
    assert_eq!(compute(Reduction::None)?, Value::PerImage(vec![1.0, 5.0]));
    let Value::Summary(summary) = compute(Reduction::Summary)? else { panic!("not a summary") };
    assert_eq!((summary.count, summary.mean, summary.std, summary.max), (2, 2.0, 3f64.sqrt(), 5.0));
    Ok(())
}

#[test]
fn extremes_leave_out_weight_zero() -> Result<()> {
    let mut state = State::new().with("min", Reduce::Min).with("max", Reduce::Max);
    let values = || vec![1.0, 2.0, 3.0];
    let statistics = Statistics::new(3).with_values("min", values()).with_values("max", values());
    state.accumulate(statistics.with_weights(&[0.0, 0.1, 0.0])?)?;
    assert_eq!((state.min("min")?, state.max("max")?, state.samples()), (2.0, 2.0, 1));
    Ok(())
}

#[test]
fn weights_of_one_change_no_bit() -> Result<()> {
    let errors = [0.1, 0.7, 1e-20, 3e7];
    for reduction in REDUCTIONS {
        let pred = batch(&errors);
        let mut plain = Mae::new(reduction);
        plain.update(&pred, &zeros(&pred))?;
        // Values are finite and positive here, so equality is equality of bits.
        assert_eq!(weighted(reduction, &errors, &[1.0; 4])?.compute()?, plain.compute()?);
    }
    Ok(())
}

#[test]
fn a_collection_weighs_every_member() -> Result<()> {
    let mut metrics =
        MetricCollection::new().with("mean", Mae::new(Reduction::Mean))?.with("sum", Mae::new(Reduction::Sum))?;
    let pred = batch(&[1.0, 5.0]);
    metrics.update_with(&samples(&pred).weights(&[3.0, 1.0]))?;
    metrics.update(&pred, &zeros(&pred))?;
    assert_eq!(metrics.compute()?.scalar("mean"), Some(14.0 / 6.0));
    assert_eq!(metrics.compute()?.scalar("sum"), Some(14.0));
    Ok(())
}

#[test]
fn weights_that_are_none_change_nothing() -> Result<()> {
    let mut metrics = MetricCollection::new().with("mean", Mae::new(Reduction::Mean))?;
    let pred = batch(&[1.0, 5.0]);
    let expected = |sample: usize, weight: &str| {
        format!("weights: the weight of sample {sample} is {weight}, but must be finite and not negative")
    };
    for (weights, message) in [
        (&[1.0][..], "weights: `weights` has length 1, but the batch has 2 samples".to_string()),
        (&[1.0, -0.5], expected(1, "-0.5")),
        (&[f64::NAN, 1.0], expected(0, "NaN")),
        (&[1.0, f64::INFINITY], expected(1, "inf")),
    ] {
        let error = metrics.update_with(&samples(&pred).weights(weights)).unwrap_err();
        assert_eq!(error.to_string(), format!("member `mean`: {message}"));
        assert_eq!(metrics.get("mean").map(|metric| metric.updates()), Some(0));
    }
    Ok(())
}

#[test]
fn weights_are_multiplied_and_each_is_checked() -> Result<()> {
    let statistics = || Statistics::new(2).with_values("score", vec![1.0, 10.0]).with_weights(&[2.0, 0.5]);
    let mut state = State::scores(Reduction::Sum);
    state.accumulate(statistics()?.with_weights(&[3.0, 4.0])?)?;
    assert_eq!(state.sum("score")?, 26.0);
    let error = statistics()?.with_weights(&[-1.0, 1.0]).unwrap_err();
    let expected = "weights: the weight of sample 0 is -1, but must be finite and not negative";
    assert_eq!(error.to_string(), expected);
    let error = statistics()?.with_weights(&[1.0, 1e308])?.with_weights(&[1.0, 9.0]).unwrap_err();
    assert_eq!(error.to_string(), "weights: the weights of sample 1 multiply to more than an f64 holds");
    assert_eq!((state.sum("score")?, state.updates()), (26.0, 1));
    Ok(())
}

#[test]
fn samples_that_do_not_count_are_no_data() -> Result<()> {
    let pred = batch(&[f32::NAN, f32::INFINITY]);
    for reduction in REDUCTIONS {
        let mut metrics = MetricCollection::new()
            .with("weighted", Mae::new(reduction))?
            .with("skipped", Mae::with_policy(reduction, NonFinite::Skip))?
            .with("queued", Mae::queued(reduction, 9))?;
        metrics.update_with(&samples(&pred).weights(&[0.0, 0.0]))?;
        for (name, metric) in metrics.iter() {
            assert!(matches!(metric.compute(), Err(Error::NoData { metric }) if metric == "mae"), "{name} {reduction}");
            assert_eq!((metric.updates(), metric.state().samples(), metric.skipped()), (1, 0, 0));
        }
        let error = metrics.compute().unwrap_err().to_string();
        assert_eq!(error, "member `weighted`: mae: there is no data yet: no sample that counts was added");

        let mut skipping = Mae::with_policy(reduction, NonFinite::Skip);
        skipping.update(&pred, &zeros(&pred))?;
        assert!(matches!(skipping.compute(), Err(Error::NoData { .. })) && skipping.skipped() == 2);
    }
    Ok(())
}
