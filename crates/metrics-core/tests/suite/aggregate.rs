//! Numbers of the loop.

use candle_core::{DType, Device, Tensor, Var};
use metrics_core::{
    Accumulator, Aggregate, Checkpoint, Error, Formula, Metric, MetricCollection, MinMax, Reduction, Result, Running,
    Samples, Value,
};

use crate::toy::{Mae, Mood, Moody, batch, probe, samples, waiting};

fn all() -> [Accumulator<Aggregate>; 5] {
    [
        Aggregate::mean("loss"),
        Aggregate::sum("loss"),
        Aggregate::min("loss"),
        Aggregate::max("loss"),
        Aggregate::last("loss"),
    ]
}

fn values(metrics: &[Accumulator<Aggregate>]) -> Vec<f64> {
    metrics.iter().map(|metric| metric.compute().expect("it has numbers").scalar().expect("a number")).collect()
}

#[test]
fn each_way_to_aggregate_has_its_value() -> Result<()> {
    let mut metrics = all();
    for metric in &mut metrics {
        assert!(matches!(metric.compute(), Err(Error::NoData { .. })));
        [0.5, -2.0, 4.0, 1.0].iter().try_for_each(|number| metric.add(*number))?;
        assert_eq!((metric.updates(), metric.state().samples()), (4, 4));
    }
    assert_eq!(values(&metrics), [0.875, 3.5, -2.0, 4.0, 1.0]);
    assert_eq!(metrics.each_ref().map(|metric| metric.name()), ["mean", "sum", "min", "max", "last"]);
    assert_eq!(metrics[0].fingerprint().to_string(), r#"mean[number="loss"]"#);
    assert_ne!(metrics[0].fingerprint(), Aggregate::mean("rate").fingerprint());

    // A weight counts in mean and sum; a number of weight 0 is left out.
    for metric in &mut metrics {
        metric.reset();
        metric.add_weighted(1.0, 3.0)?;
        metric.add_weighted(5.0, 1.0)?;
        metric.add_weighted(f64::NAN, 0.0)?;
        assert_eq!((metric.updates(), metric.state().samples()), (3, 2));
    }
    assert_eq!(values(&metrics), [2.0, 8.0, 1.0, 5.0, 5.0]);
    metrics.iter_mut().try_for_each(|metric| metric.add(f64::NAN))?;
    assert!(values(&metrics).iter().all(|value| value.is_nan()));
    Ok(())
}

#[test]
fn sums_and_means_of_numbers_are_exact() -> Result<()> {
    let mut metrics = all();
    for number in [1e300, 1.0, 2.0, -1e300] {
        metrics.iter_mut().try_for_each(|metric| metric.add(number))?;
    }
    assert_eq!(values(&metrics), [0.75, 3.0, -1e300, 1e300, -1e300]);
    let [mut ours, mut theirs] = [(); 2].map(|()| Aggregate::last("loss"));
    ours.add(1.0)?;
    ours.merge(&theirs)?;
    assert_eq!(ours.compute()?, Value::Scalar(1.0));
    theirs.add(2.0)?;
    ours.merge(&theirs)?;
    assert_eq!((ours.compute()?, ours.updates()), (Value::Scalar(2.0), 2));
    assert!(ours.merge(&Aggregate::max("loss")).is_err() && ours.merge(&Aggregate::last("rate")).is_err());
    Ok(())
}

#[test]
fn tensors_are_numbers_and_keep_no_graph() -> Result<()> {
    for mut metric in all().into_iter().chain(all().map(waiting)) {
        let (loss, graph) = probe(&Tensor::new(&[0.25f32], &Device::Cpu)?)?;
        metric.add(&loss)?;
        let samples = Samples::default().number("loss", &loss);
        assert!(!metric.forward_with(&samples)?.track_op(), "a number of the loop is no value to train with");
        drop(loss);
        assert!(graph.upgrade().is_none());
        for dtype in [DType::F16, DType::BF16, DType::F64] {
            metric.add(&Tensor::full(0.25f32, (), &Device::Cpu)?.to_dtype(dtype)?)?;
        }
        metric.add(Var::zeros((1, 1), DType::F32, &Device::Cpu)?.as_tensor())?;
        let before = metric.save_state()?;
        for (wrong, message) in [
            (Tensor::zeros(2, DType::F32, &Device::Cpu)?, "samples: the number `loss` is [2], but must be one number"),
            (
                Tensor::zeros((1, 0), DType::F32, &Device::Cpu)?,
                "samples: the number `loss` is [1, 0], but must be one number",
            ),
            (Tensor::new(3u32, &Device::Cpu)?, "statistics: the field `number` is u32, but must have floats"),
        ] {
            assert_eq!(metric.add(&wrong).unwrap_err().to_string(), message);
        }
        assert_eq!(metric.save_state()?, before);
        assert_eq!((metric.updates(), metric.state().samples()), (6, 6));
    }
    let mut mean = waiting(Aggregate::mean("loss"));
    mean.add(&Tensor::new(1f32, &Device::Cpu)?)?;
    assert_eq!(mean.state().waiting(), 1);
    assert_eq!(mean.compute()?, Value::Scalar(1.0));
    // A plain number has nothing to wait for.
    mean.add(2.0)?;
    assert_eq!((mean.state().waiting(), mean.compute()?), (0, Value::Scalar(1.5)));
    Ok(())
}

fn of_a_loop() -> Result<MetricCollection> {
    MetricCollection::new()
        .with("mae", Mae::new(Reduction::Mean))?
        .with("loss", Aggregate::mean("loss"))?
        .with("loss of late", Running::new(Aggregate::mean("loss"), 2)?)?
        .with("losses", MinMax::new(Aggregate::mean("loss"))?)?
        .with("ratio", Formula::of(Aggregate::sum("loss")) / Formula::of(Aggregate::last("rate")))?
        .with("rate", Running::new(Aggregate::last("rate"), 3)?)
}

#[test]
fn a_collection_has_numbers_beside_its_metrics() -> Result<()> {
    let mut metrics = of_a_loop()?;
    let pred = batch(&[1.0, 5.0]);
    for (loss, rate, weight) in [(4.0, 1.0, 1.0), (1.0, 0.5, 1.0), (2.0, 0.25, 3.0)] {
        // The weights of samples do not concern the numbers.
        let samples = samples(&pred).weights(&[3.0, 1.0]).weighted_number("loss", loss, weight);
        let values = metrics.forward_with(&samples.number("rate", rate))?;
        assert_eq!(values.get("loss").expect("a value").to_scalar::<f32>()?, loss as f32);
        assert_eq!(values.get("mae").expect("a value").to_scalar::<f32>()?, 2.0);
        assert_eq!(values.get("ratio").expect("a value").to_scalar::<f32>()?, (weight * loss / rate) as f32);
    }
    let report = metrics.compute()?;
    let expected = "\
metric        value
mae            2.00
loss           2.20
loss of late   1.75
losses/value   2.20
losses/min     1.00
losses/max     4.00
ratio         44.00
rate           0.25
";
    assert_eq!(format!("{report:.2}"), expected);

    let mut loaded = of_a_loop()?;
    loaded.load_state(&Checkpoint::from_bytes(&metrics.to_bytes()?)?)?;
    assert_eq!(loaded.save_state()?, metrics.save_state()?);
    assert_eq!(loaded.compute()?, report);

    let mut twice = metrics.clone();
    twice.merge(&metrics)?;
    assert_eq!((twice.compute()?.scalar("loss"), twice.compute()?.scalar("rate")), (Some(2.2), Some(0.25)));
    Ok(())
}

#[test]
fn a_number_that_is_missing_changes_nothing() -> Result<()> {
    let mut metrics = of_a_loop()?;
    let pred = batch(&[1.0]);
    for (samples, text) in [
        (samples(&pred), "member `loss`: samples: there is no number `loss`; there is nothing"),
        (
            samples(&pred).number("Loss", 1.0).number("rate", 2.0),
            "member `loss`: samples: there is no number `loss`; there is `Loss`, `rate`",
        ),
        (samples(&pred).number("loss", 1.0), "member `ratio`: samples: there is no number `rate`; there is `loss`"),
    ] {
        assert_eq!(metrics.update_with(&samples).unwrap_err().to_string(), text);
        assert_eq!(metrics.forward_with(&samples).unwrap_err().to_string(), text);
        assert_eq!(metrics.updates(), 0);
    }
    let numbers = Samples::default().number("loss", 1.0).number("rate", 2.0);
    let error = metrics.update_with(&numbers).unwrap_err().to_string();
    assert_eq!(error, "member `mae`: samples: there is no `pred`, but this metric needs it");

    let mut moody =
        MetricCollection::new().with("loss", Aggregate::sum("loss"))?.with("moody", Moody::new(Mood::Refuses))?;
    let loss = samples(&pred).number("loss", 1.0);
    moody.update_with(&loss)?;
    moody.update_with(&loss)?;
    assert!(moody.update_with(&loss).is_err());
    assert_eq!(moody.get("loss").expect("a member").compute()?, Value::Scalar(2.0));
    Ok(())
}

#[test]
fn a_number_is_given_once_and_with_a_weight() {
    let mut loss = Aggregate::mean("loss");
    let error = loss.update_with(&Samples::default().number("loss", 1.0).number("loss", 2.0)).unwrap_err().to_string();
    assert_eq!(error, "samples: the number `loss` was given twice");
    for weight in [-1.0, f64::NAN, f64::INFINITY] {
        let error = loss.add_weighted(1.0, weight).unwrap_err().to_string();
        let expected = format!("the weight of the number `loss` is {weight}, but must be finite and not negative");
        assert_eq!(error, format!("samples: {expected}"));
    }
    assert_eq!(loss.updates(), 0);
}
