//! Samples with weights.

use candle_core::{DType, Tensor, Var};
use metrics_core::{
    Accumulator, BootStrapper, Error, Formula, Metric, MetricCollection, MinMax, NonFinite, PerLabel, Reduce,
    Reduction, Result, Running, Samples, State, Statistics, Value,
};
use metrics_detach::{Detached, eval_scope};

use crate::toy::{First, Mae, REDUCTIONS, batch, samples, zeros};

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

/// The gradient of a value with respect to the first number of each sample.
fn gradient(value: &Tensor, pred: &Var) -> Result<Vec<f32>> {
    let gradients = value.sum_all()?.backward()?;
    let gradient = gradients.get(pred).expect("a gradient of the prediction");
    Ok(gradient.get_on_dim(1, 0)?.to_vec1()?)
}

#[test]
fn the_value_of_a_weighted_batch_has_its_gradient() -> Result<()> {
    let pred = Var::from_tensor(&batch(&[1.0, f32::NAN, 5.0]))?;
    let weights = [3.0, 0.0, 1.0];
    // Each sample's score is the mean of 4 absolute values of positive numbers; what is left out has no part in it.
    for (reduction, expected, scores) in [
        (Reduction::Mean, &[2.0][..], [0.75, 0.0, 0.25]),
        (Reduction::Sum, &[8.0], [3.0, 0.0, 1.0]),
        (Reduction::Summary, &[2.0], [0.75, 0.0, 0.25]),
        (Reduction::None, &[1.0, 5.0], [1.0, 0.0, 1.0]),
    ] {
        let mut metric = Mae::new(reduction);
        let value = metric.forward_with(&samples(&pred).weights(&weights))?;
        assert_eq!(Detached::from(&value).to_vec_f64()?, expected, "{reduction}");
        assert_eq!(gradient(&value, &pred)?, scores.map(|score| score / 4.0), "{reduction}");
        let computed = match metric.compute()? {
            Value::PerImage(values) => values,
            value => vec![value.scalar().expect("one number")],
        };
        assert_eq!(computed, expected, "as is computed of the batch alone");

        let value = eval_scope(|| metric.forward_with(&samples(&pred).weights(&weights)))?;
        assert!(!value.track_op());
        assert_eq!(Detached::from(value).to_vec_f64()?, expected);

        // Where nothing counts there is no value.
        let none = Detached::from(metric.forward_with(&samples(&pred).weights(&[0.0; 3]))?).to_vec_f64()?;
        assert!(if reduction == Reduction::None { none.is_empty() } else { none[..].iter().all(|x| x.is_nan()) });
        assert_eq!((metric.updates(), metric.state().samples()), (3, 4));

        let error = metric.forward_with(&samples(&pred).weights(&weights[..2])).unwrap_err().to_string();
        assert_eq!(error, "weights: `weights` has length 2, but the batch has 3 samples");
        assert_eq!(metric.updates(), 3);
    }
    Ok(())
}

#[test]
fn wrappers_have_the_weighted_value_of_what_they_wrap() -> Result<()> {
    let mean = || Mae::new(Reduction::Mean);
    let wrappers: [(Box<dyn Metric>, f64); 7] = [
        (Box::new(Running::new(mean(), 2)?), 2.0),
        (Box::new(MinMax::new(mean())?), 2.0),
        (Box::new(BootStrapper::new(mean(), 20, 1)?), 2.0),
        (Box::new(PerLabel::new(mean(), ["a", "b"])?), 2.0),
        (Box::new(Running::new(PerLabel::new(MinMax::new(mean())?, ["a", "b"])?, 2)?), 2.0),
        (Box::new(Formula::of(mean()) * 2.0 - 1.0), 3.0),
        (Box::new(Formula::of(Running::new(mean(), 1)?) + Formula::of(Mae::new(Reduction::Sum))), 10.0),
    ];
    let pred = Var::from_tensor(&batch(&[1.0, f32::NAN, 5.0]))?;
    let samples = samples(&pred).weights(&[3.0, 0.0, 1.0]).labels(&["a", "b", "b"]);
    for (mut metric, expected) in wrappers {
        let value = metric.forward_with(&samples)?;
        assert!(Detached::from(&value).to_f64()? == expected && gradient(&value, &pred)?[1] == 0.0, "{metric:?}");
        let detached = eval_scope(|| metric.forward_with(&samples))?;
        assert!(!detached.track_op() && Detached::from(detached).to_f64()? == expected, "{metric:?}");
        assert_eq!((metric.updates(), metric.state().samples()), (2, 4), "{metric:?}");
    }
    Ok(())
}

#[test]
fn labels_and_weights_go_together() -> Result<()> {
    let mut metrics = MetricCollection::new()
        .with("all", Mae::new(Reduction::Mean))?
        .with("each", PerLabel::new(Mae::new(Reduction::Mean), ["day", "night", "dusk"])?)?
        .with("sums", PerLabel::new(Mae::new(Reduction::Sum), ["day", "night", "dusk"])?)?;
    let pred = batch(&[1.0, 5.0, 2.0, f32::NAN]);
    let labels = ["day", "day", "night", "dusk"];
    metrics.update_with(&samples(&pred).weights(&[3.0, 1.0, 0.5, 0.0]).labels(&labels))?;
    let report = metrics.compute()?;
    let value = |name: &str| report.scalar(name).expect("a number");
    assert_eq!((value("all"), value("each/day"), value("each/night")), (9.0 / 4.5, 2.0, 2.0));
    assert_eq!((value("sums/day"), value("sums/night")), (8.0, 1.0));
    assert!(value("each/dusk").is_nan() && value("sums/dusk").is_nan());
    let before = metrics.save_state()?;
    for samples in [samples(&pred).weights(&[1.0; 4]), samples(&pred).weights(&[1.0; 3]).labels(&labels)] {
        assert!(metrics.update_with(&samples).is_err() && metrics.forward_with(&samples).is_err());
    }
    assert_eq!(metrics.save_state()?, before);
    Ok(())
}

#[test]
fn a_given_value_with_a_gradient_has_no_weights() -> Result<()> {
    let pred = Var::from_tensor(&batch(&[1.0, 5.0]))?;
    let mut metric = First::new();
    let plain = metric.forward(&pred, &zeros(&pred))?;
    assert!(plain.track_op() && plain.to_scalar::<f32>()? == 1.0);
    let message = "weights or skipped samples leave its value without a gradient: give no weights and finite samples, \
         or update in an eval scope";
    for wrapper in [Box::new(metric) as Box<dyn Metric>, Box::new(MinMax::new(First::new())?)] {
        let (mut metric, before) = (wrapper.clone(), wrapper.updates());
        let error = metric.forward_with(&samples(&pred).weights(&[0.0, 2.0])).unwrap_err().to_string();
        assert_eq!((error, metric.updates()), (format!("first: {message}"), before));
        // Without a gradient it is what is computed of the samples that count.
        let value = eval_scope(|| metric.forward_with(&samples(&pred).weights(&[0.0, 2.0])))?;
        assert!(!value.track_op() && value.to_scalar::<f32>()? == 5.0);
        let value = metric.forward_with(&samples(&pred.detach()).weights(&[0.0, 2.0]))?;
        assert_eq!((value.to_scalar::<f32>()?, metric.updates()), (5.0, before + 2));
        metric.update_with(&samples(&pred).weights(&[0.0, 2.0]))?;
    }
    Ok(())
}

#[test]
fn a_batch_has_the_value_that_is_computed_of_it() -> Result<()> {
    // Without the samples that are skipped, with their gradient and their weights.
    for (reduction, plain, weighted) in [(Reduction::Mean, 2.0, 2.5), (Reduction::Sum, 4.0, 10.0)] {
        let pred = Var::from_tensor(&batch(&[1.0, f32::NAN, 3.0]))?;
        for (weights, expected) in [(None, plain), (Some([1.0, 7.0, 3.0]), weighted)] {
            let mut metric = Mae::with_policy(reduction, NonFinite::Skip);
            let target = zeros(&pred);
            let samples = Samples::new(&pred, &target);
            let samples = weights.as_ref().map_or(samples.clone(), |weights| samples.weights(weights));
            let value = metric.forward_with(&samples)?;
            assert_eq!((f64::from(value.to_scalar::<f32>()?), metric.compute()?.scalar()), (expected, Some(expected)));
            assert!(value.backward()?.get(&pred).is_some());
        }
    }
    // In f32, whatever the predictions are: 512 ones are too many for bf16, and 1e-300 is no f32.
    let pred = batch(&[1.0; 512]).to_dtype(DType::BF16)?;
    let mut metric = Mae::new(Reduction::Sum);
    assert_eq!(metric.forward(&pred, &zeros(&pred))?.to_scalar::<f32>()?, 512.0);
    let pred = batch(&[2.0, 4.0]);
    let value = Mae::new(Reduction::Mean).forward_with(&samples(&pred).weights(&[1e-300, 1e-300]))?;
    assert_eq!(value.to_scalar::<f32>()?, 3.0);
    Ok(())
}
