//! Several metrics together.

use metrics_core::{Error, Metric, MetricCollection, Reduction, Result, Value};

use crate::toy::{Mae, Mood, Moody, batch, zeros};

fn mean_and_spread() -> Result<MetricCollection> {
    MetricCollection::new().with("mean", Mae::new(Reduction::Mean))?.with("spread", Mae::new(Reduction::Summary))
}

fn update(metrics: &mut MetricCollection, errors: &[f32]) -> Result<()> {
    let pred = batch(errors);
    metrics.update(&pred, &zeros(&pred))
}

fn names(metrics: &MetricCollection) -> Vec<&str> {
    metrics.iter().map(|(name, _)| name).collect()
}

#[test]
fn members_are_updated_together_and_keep_their_order() -> Result<()> {
    let mut metrics = mean_and_spread()?;
    assert_eq!((metrics.len(), metrics.is_empty()), (2, false));
    update(&mut metrics, &[1.0, 2.0])?;

    let pred = batch(&[6.0]);
    let outputs = metrics.forward(&pred, &zeros(&pred))?;
    assert_eq!(outputs.names().collect::<Vec<_>>(), ["mean", "spread"]);
    assert_eq!(outputs.get("spread").expect("a value").to_scalar::<f32>()?, 6.0);

    let report = metrics.compute()?;
    assert_eq!(report.iter().map(|(name, _)| name).collect::<Vec<_>>(), ["mean", "spread"]);
    assert_eq!(report.get("mean"), Some(&Value::Scalar(3.0)));
    assert_eq!(report.scalar("spread"), Some(3.0));
    assert_eq!(report.get("median"), None);
    assert_eq!(metrics.get("mean").map(|metric| metric.updates()), Some(2));
    assert_eq!(metrics.state_bytes(), metrics.iter().map(|(_, metric)| metric.state_bytes()).sum::<usize>());
    Ok(())
}

#[test]
fn a_failing_member_leaves_all_as_they_were() -> Result<()> {
    for mood in [Mood::Refuses, Mood::Miscounts] {
        let mut metrics = MetricCollection::new()
            .with("before", Mae::new(Reduction::Summary))?
            .with("moody", Moody::new(mood))?
            .with("after", Mae::new(Reduction::None))?;
        update(&mut metrics, &[1.0])?;
        update(&mut metrics, &[2.0])?;
        let states =
            |metrics: &MetricCollection| metrics.iter().map(|(_, m)| format!("{:?}", m.state())).collect::<Vec<_>>();
        let before = states(&metrics);

        let pred = batch(&[3.0]);
        for error in [
            metrics.update(&pred, &zeros(&pred)).unwrap_err(),
            metrics.forward(&pred, &zeros(&pred)).map(drop).unwrap_err(),
        ] {
            let text = match mood {
                Mood::Refuses => "member `moody`: moody: `pred` came too late",
                Mood::Miscounts => "member `moody`: statistics: the declared field `zero` is missing",
            };
            assert_eq!(error.to_string(), text);
            assert_eq!(states(&metrics), before);
        }
    }
    Ok(())
}

#[test]
fn names_are_unique_and_not_empty() -> Result<()> {
    let mut metrics = mean_and_spread()?;
    let error = metrics.insert("mean", Mae::new(Reduction::Sum)).unwrap_err();
    assert!(matches!(&error, Error::DuplicateName { name } if name == "mean"));
    assert_eq!(error.to_string(), "the name `mean` is already taken");

    let mut metrics = metrics.prefix("val/");
    let error = metrics.insert("", Mae::new(Reduction::Sum)).unwrap_err();
    assert_eq!(error.to_string(), "insert: `name` is empty, but must tell the entries apart");
    let error = metrics.extend(mean_and_spread()?).unwrap_err();
    assert!(matches!(error, Error::DuplicateName { name } if name == "val/mean"));
    Ok(())
}

#[test]
fn prefixes_and_postfixes_hold_for_later_members_and_nest() -> Result<()> {
    let inner = mean_and_spread()?.prefix("set5/");
    let outer = MetricCollection::new()
        .prefix("val/")
        .with("mae", Mae::new(Reduction::Mean))?
        .extend(inner)?
        .postfix(" (luma)")
        .prefix("epoch 1: ");
    assert_eq!(
        names(&outer),
        ["epoch 1: val/mae (luma)", "epoch 1: val/set5/mean (luma)", "epoch 1: val/set5/spread (luma)"]
    );
    let outer = outer.with("late", Mae::new(Reduction::Mean))?;
    assert!(outer.get("epoch 1: val/late (luma)").is_some());
    Ok(())
}

#[test]
fn extending_keeps_the_data() -> Result<()> {
    let mut inner = mean_and_spread()?;
    update(&mut inner, &[2.0, 4.0])?;
    let outer = MetricCollection::new().extend(inner.prefix("x/"))?;
    assert_eq!(outer.compute()?.scalar("x/mean"), Some(3.0));
    Ok(())
}

#[test]
fn merging_gives_the_same_bits_in_any_order() -> Result<()> {
    let batches: [&[f32]; 3] = [&[0.1, 1e-30], &[3e7], &[0.7, 0.2, 0.3]];
    let mut whole = mean_and_spread()?;
    let mut parts = Vec::new();
    for errors in batches {
        update(&mut whole, errors)?;
        let mut part = mean_and_spread()?;
        update(&mut part, errors)?;
        parts.push(part);
    }
    for order in [[0, 1, 2], [2, 0, 1], [1, 2, 0]] {
        let mut merged = mean_and_spread()?;
        order.iter().try_for_each(|&index| merged.merge(&parts[index]))?;
        // Values are finite and positive here, so equality is equality of bits.
        assert_eq!(merged.compute()?, whole.compute()?);
    }
    Ok(())
}

#[test]
fn merging_matches_names_and_checks_all_before_it_writes() -> Result<()> {
    let mut ours = mean_and_spread()?;
    update(&mut ours, &[1.0])?;
    let before = ours.compute()?;

    let fewer = MetricCollection::new().with("mean", Mae::new(Reduction::Mean))?;
    let more = mean_and_spread()?.with("more", Mae::new(Reduction::Mean))?;
    let mut other =
        MetricCollection::new().with("mean", Mae::new(Reduction::Mean))?.with("spread", Mae::new(Reduction::Sum))?;
    update(&mut other, &[5.0])?;

    assert_eq!(ours.merge(&fewer).unwrap_err().to_string(), "there is no `spread`; there is `mean`");
    assert_eq!(ours.merge(&more).unwrap_err().to_string(), "there is no `more`; there is `mean`, `spread`");
    let error = ours.merge(&other).unwrap_err().to_string();
    assert!(error.starts_with("member `spread`: cannot merge mae[reduction=\"sum\"] into "), "{error}");
    assert_eq!(ours.compute()?, before);

    let mut swapped = MetricCollection::new()
        .with("spread", Mae::new(Reduction::Summary))?
        .with("mean", Mae::new(Reduction::Mean))?;
    update(&mut swapped, &[3.0])?;
    ours.merge(&swapped)?;
    assert_eq!(ours.compute()?.scalar("mean"), Some(2.0));
    Ok(())
}

#[test]
fn clone_reset_and_compute_before_update() -> Result<()> {
    let mut metrics = mean_and_spread()?;
    update(&mut metrics, &[1.0])?;
    let copy = metrics.clone();
    metrics.reset();
    assert_eq!(copy.compute()?.scalar("mean"), Some(1.0));
    let error = metrics.compute().unwrap_err().to_string();
    assert_eq!(error, "member `mean`: mae: there is no data yet: no sample that counts was added");
    assert!(MetricCollection::new().compute()?.is_empty());
    Ok(())
}

#[test]
fn the_fingerprint_lists_names_and_configurations() -> Result<()> {
    let fingerprint = mean_and_spread()?.fingerprint();
    assert_eq!(fingerprint.kind(), "collection");
    let members = "mean.mae.reduction=\"mean\" spread.mae.reduction=\"summary\"";
    assert_eq!(fingerprint.to_string(), format!("collection[{members}]"));
    assert_ne!(fingerprint, mean_and_spread()?.prefix("x/").fingerprint());
    // The order of members does not matter, for a checkpoint has them by name.
    let turned = MetricCollection::new()
        .with("spread", Mae::new(Reduction::Summary))?
        .with("mean", Mae::new(Reduction::Mean))?;
    assert_eq!(fingerprint, turned.fingerprint());
    Ok(())
}

#[test]
fn a_boxed_metric_can_be_a_member_and_be_sent() -> Result<()> {
    let boxed: Box<dyn Metric> = Box::new(Mae::new(Reduction::Mean));
    let mut metrics = MetricCollection::new().with("boxed", boxed)?;
    let thread = std::thread::spawn(move || update(&mut metrics, &[2.0]).and_then(|()| metrics.compute()));
    assert_eq!(thread.join().expect("no panic")?.scalar("boxed"), Some(2.0));
    Ok(())
}
