//! The life of one metric.

use metrics_core::{Error, Fingerprint, Growth, Measurement, Metric, Reduction, Result, Value};
use metrics_detach::Detached;

use crate::toy::{Mae, Mood, Moody, batch, zeros};

fn updated(metric: impl Metric + 'static, batches: &[&[f32]]) -> Result<Box<dyn Metric>> {
    let mut metric: Box<dyn Metric> = Box::new(metric);
    for errors in batches {
        let pred = batch(errors);
        metric.update(&pred, &zeros(&pred))?;
    }
    Ok(metric)
}

#[test]
fn each_reduction_gives_its_value() -> Result<()> {
    let compute = |reduction| updated(Mae::new(reduction), &[&[1.0, 2.0], &[6.0]])?.compute();
    assert_eq!(compute(Reduction::Mean)?, Value::Scalar(3.0));
    assert_eq!(compute(Reduction::Sum)?, Value::Scalar(9.0));
    assert_eq!(compute(Reduction::None)?, Value::PerImage(vec![1.0, 2.0, 6.0]));
    let Value::Summary(summary) = compute(Reduction::Summary)? else { panic!("not a summary") };
    assert_eq!((summary.count, summary.mean, summary.min, summary.max), (3, 3.0, 1.0, 6.0));
    assert_eq!(summary.std, (14f64 / 3.0).sqrt());
    Ok(())
}

#[test]
fn forward_gives_the_batch_and_accumulates() -> Result<()> {
    let mut metric = updated(Mae::new(Reduction::Mean), &[&[1.0, 2.0]])?;
    let pred = batch(&[6.0]);
    assert_eq!(metric.forward(&pred, &zeros(&pred))?.to_scalar::<f32>()?, 6.0);
    assert_eq!(metric.updates(), 2);
    assert_eq!(metric.compute()?, Value::Scalar(3.0));
    Ok(())
}

#[test]
fn compute_needs_an_update() -> Result<()> {
    let mut metric = updated(Mae::new(Reduction::Mean), &[&[1.0]])?;
    metric.reset();
    assert_eq!(metric.updates(), 0);
    let error = metric.compute().unwrap_err();
    assert!(matches!(&error, Error::NoData { metric } if metric == "mae"));
    assert_eq!(error.to_string(), "mae: there is no data yet: no image that counts was added");
    Ok(())
}

#[test]
fn a_clone_goes_its_own_way() -> Result<()> {
    let original = updated(Mae::new(Reduction::Mean), &[&[1.0]])?;
    let mut copy = original.clone();
    let pred = batch(&[3.0]);
    copy.update(&pred, &zeros(&pred))?;
    assert_eq!((original.updates(), copy.updates()), (1, 2));
    assert_eq!((original.compute()?, copy.compute()?), (Value::Scalar(1.0), Value::Scalar(2.0)));
    Ok(())
}

#[test]
fn a_boxed_metric_is_a_metric() -> Result<()> {
    let boxed = updated(Mae::new(Reduction::Mean), &[&[1.0]])?;
    let twice = updated(boxed, &[&[3.0]])?;
    assert_eq!(twice.compute()?, Value::Scalar(2.0));
    assert_eq!(format!("{twice:?}"), format!("{} after 2 updates", twice.fingerprint()));
    Ok(())
}

#[test]
fn merging_gives_the_same_bits_in_any_order() -> Result<()> {
    let batches: [&[f32]; 4] = [&[0.1, 1e-30], &[3e7], &[0.7, 0.2, 0.3], &[1e-3]];
    for reduction in [Reduction::Mean, Reduction::Sum, Reduction::Summary] {
        let whole = updated(Mae::new(reduction), &batches)?.compute()?;
        for order in [[0, 1, 2, 3], [3, 1, 0, 2], [2, 3, 1, 0]] {
            let mut merged = updated(Mae::new(reduction), &[])?;
            for index in order {
                merged.merge(&*updated(Mae::new(reduction), &[batches[index]])?)?;
            }
            assert_eq!(merged.updates(), 4);
            // Values are finite and positive here, so equality is equality of bits.
            assert_eq!(merged.compute()?, whole, "{reduction} in order {order:?}");
        }
    }
    Ok(())
}

#[test]
fn merging_collected_values_appends_them() -> Result<()> {
    let mut ours = updated(Mae::new(Reduction::None), &[&[1.0, 2.0]])?;
    ours.merge(&*updated(Mae::new(Reduction::None), &[&[6.0]])?)?;
    assert_eq!(ours.compute()?, Value::PerImage(vec![1.0, 2.0, 6.0]));
    Ok(())
}

#[test]
fn merging_refuses_another_kind_or_configuration() -> Result<()> {
    let mut mean = updated(Mae::new(Reduction::Mean), &[&[1.0]])?;
    let sum = updated(Mae::new(Reduction::Sum), &[&[1.0]])?;
    let error = mean.merge(&*sum).unwrap_err();
    assert!(matches!(error, Error::Incompatible { .. }));
    assert_eq!(error.to_string(), "cannot merge mae[reduction=sum] into mae[reduction=mean]");

    assert!(mean.merge(&Moody::new(Mood::Refuses)).is_err());
    assert_eq!((mean.updates(), mean.compute()?), (1, Value::Scalar(1.0)));
    Ok(())
}

#[test]
fn a_failed_batch_changes_nothing() -> Result<()> {
    for mood in [Mood::Refuses, Mood::Miscounts] {
        let mut metric = updated(Moody::new(mood), &[&[1.0], &[2.0]])?;
        let pred = batch(&[3.0]);
        assert!(metric.update(&pred, &zeros(&pred)).is_err());
        assert!(metric.forward(&pred, &zeros(&pred)).is_err());
        assert_eq!((metric.updates(), metric.state().images()), (2, 2), "{mood:?}");
    }
    Ok(())
}

#[test]
fn memory_grows_only_where_every_value_is_kept() -> Result<()> {
    for (reduction, growth, bytes, fixed) in [
        (Reduction::Mean, Growth::Constant, 0, 1200),
        (Reduction::Sum, Growth::Constant, 0, 1200),
        (Reduction::Summary, Growth::Constant, 0, 19 * 1024),
        (Reduction::None, Growth::PerImage, 3 * 8, 300),
    ] {
        let before = Mae::new(reduction).state_bytes();
        let metric = updated(Mae::new(reduction), &[&[1.0, 2.0], &[6.0]])?;
        assert_eq!(metric.info().growth, growth);
        assert_eq!(metric.state_bytes() - before, bytes, "{reduction}");
        assert!(before < fixed, "{reduction}: {before} bytes");
    }
    Ok(())
}

#[test]
fn fingerprints_tell_configurations_apart() -> serde_json::Result<()> {
    let fingerprint = Fingerprint::new("ab", "c");
    assert_eq!((fingerprint.kind(), fingerprint.config()), ("ab", "c"));
    assert_ne!(fingerprint, Fingerprint::new("a", "bc"));
    assert_eq!(fingerprint.to_string(), "ab[c]");

    let text = serde_json::to_string(&fingerprint)?;
    assert_eq!(text, r#"{"kind":"ab","config":"c"}"#);
    assert_eq!(serde_json::from_str::<Fingerprint>(&text)?, fingerprint);
    Ok(())
}

#[test]
fn a_batch_has_the_value_that_would_be_computed_of_it_alone() -> Result<()> {
    let pred = batch(&[0.5, 1.5, 4.0]);
    for reduction in [Reduction::Mean, Reduction::Sum, Reduction::None, Reduction::Summary] {
        let mut metric = Mae::new(reduction);
        let value = metric.forward(&pred, &zeros(&pred))?;
        let computed = match metric.compute()? {
            Value::Scalar(value) => vec![value],
            Value::PerImage(values) => values,
            Value::Summary(summary) => vec![summary.mean],
            Value::Group(_) => unreachable!("it has no groups"),
        };
        assert_eq!(Detached::from(value).to_vec_f64()?, computed, "{reduction}");
    }
    let error = Measurement::for_reduction("mae", &pred, Reduction::Mean).unwrap_err().to_string();
    assert_eq!(error, "contribution: the field `mae` is [3, 4], but must have one number per image");
    Ok(())
}
