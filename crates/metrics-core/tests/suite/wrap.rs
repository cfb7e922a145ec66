//! Metrics made of metrics: what they compute, and that merging, saving, resetting and failing are those of any metric.

use candle_core::{Tensor, Var};
use metrics_core::{
    Accumulator, Aggregate, BootStrapper, Error, Formula, Growth, Metric, MetricCollection, MinMax, NonFinite,
    PerLabel, Reduction, Result, Running, Samples, Statistics, Summary, Value,
};

use crate::toy::{First, Kinds, Mae, Mood, Moody, batch, kinds, probe, samples, waiting, zeros};

const BATCHES: [&[f32]; 5] = [&[1.0, 3.0], &[10.0], &[2.0, 4.0, 9.0], &[0.5], &[7.0, 8.0]];

fn mean() -> Accumulator<Mae> {
    Mae::new(Reduction::Mean)
}

fn update(metric: &mut dyn Metric, errors: &[f32]) -> Result<()> {
    let pred = batch(errors);
    metric.update(&pred, &zeros(&pred))
}

fn updated<M: Metric>(mut metric: M, batches: &[&[f32]]) -> Result<M> {
    batches.iter().try_for_each(|errors| update(&mut metric, errors))?;
    Ok(metric)
}

fn scalar(metric: &dyn Metric, name: &str) -> Result<f64> {
    let Value::Group(report) = metric.compute()? else { panic!("not a group") };
    Ok(report.scalar(name).expect("a number"))
}

fn summary(metric: &dyn Metric) -> Result<Summary> {
    let Value::Summary(summary) = metric.compute()? else { panic!("not a summary") };
    Ok(summary)
}

/// All of them around a mean absolute error, in states that have parts of every kind.
fn every_wrapper() -> Result<Vec<Box<dyn Metric>>> {
    let summarised = Mae::new(Reduction::Summary);
    let formula = (Formula::of(mean()) + Formula::of(Running::new(mean(), 1)?)) / 2.0;
    Ok(vec![
        Box::new(Running::new(mean(), 2)?),
        Box::new(Running::new(Mae::new(Reduction::None), 3)?),
        Box::new(MinMax::new(mean())?),
        Box::new(BootStrapper::new(summarised, 8, 1)?),
        Box::new(Formula::of(mean()) / 2.0 - Formula::of(Mae::new(Reduction::Sum))),
        Box::new(MinMax::new(Running::new(BootStrapper::new(mean(), 3, 7)?, 2)?)?),
        Box::new(BootStrapper::new(Formula::of(mean()) + Formula::of(formula), 4, 2)?),
    ])
}

/// What a metric computes, so that NaN equals NaN: a replicate of few images may have none of the last update.
fn computed(metric: &dyn Metric) -> Result<String> {
    Ok(format!("{:?}", metric.compute()?))
}

#[test]
fn every_wrapper_is_saved_reset_cloned_and_queued() -> Result<()> {
    for wrapper in every_wrapper()? {
        let fresh = wrapper.save_state()?;
        let metric = updated(wrapper.clone(), &BATCHES)?;
        let checkpoint = metric.save_state()?;
        assert_eq!(metric.updates(), 5);

        let mut loaded = updated(wrapper.clone(), &BATCHES[..1])?;
        loaded.load_state(&checkpoint)?;
        assert_eq!(loaded.save_state()?, checkpoint);
        assert_eq!(computed(&loaded)?, computed(&metric)?);
        // What comes after is the same too.
        assert_eq!(computed(&updated(loaded, &BATCHES)?)?, computed(&updated(metric.clone(), &BATCHES)?)?);

        let queued = updated(waiting(wrapper.clone()), &BATCHES)?;
        assert_eq!(queued.state().waiting(), 5);
        assert_eq!(queued.save_state()?, checkpoint);

        let mut reset = metric.clone();
        reset.reset();
        assert_eq!(reset.save_state()?, fresh, "{reset:?}");
        assert!(matches!(reset.compute(), Err(Error::NoData { .. })));
        assert_eq!(metric.save_state()?, checkpoint);
    }
    Ok(())
}

#[test]
fn every_wrapper_is_a_member_and_fails_as_a_whole() -> Result<()> {
    let mut metrics = MetricCollection::new();
    for (index, wrapper) in every_wrapper()?.into_iter().enumerate() {
        metrics.insert(format!("{index}"), wrapper)?;
    }
    let add = |metrics: &mut MetricCollection, errors: &[f32]| {
        let pred = batch(errors);
        metrics.update(&pred, &zeros(&pred))
    };
    add(&mut metrics, BATCHES[0])?;
    let before = metrics.save_state()?;
    let report = metrics.compute()?;
    assert_eq!(report.len(), 7);

    let (pred, target) = (batch(&[1.0]), batch(&[1.0, 2.0]));
    assert!(metrics.update(&pred, &target).is_err() && metrics.forward(&pred, &target).is_err());
    assert_eq!(metrics.save_state()?, before);

    let bytes = metrics.to_bytes()?;
    let mut loaded = metrics.clone();
    loaded.reset();
    loaded.load_bytes(&bytes)?;
    assert_eq!(loaded.save_state()?, before);
    Ok(())
}

#[test]
fn a_wrapped_metric_that_fails_changes_nothing() -> Result<()> {
    for mood in [Mood::Refuses, Mood::Miscounts] {
        let moody = || Moody::new(mood);
        let wrappers: [Box<dyn Metric>; 5] = [
            Box::new(Running::new(moody(), 2)?),
            Box::new(MinMax::new(moody())?),
            Box::new(BootStrapper::new(moody(), 4, 1)?),
            Box::new(Formula::of(mean()) + Formula::of(Running::new(moody(), 1)?)),
            Box::new(Running::new(MinMax::new(BootStrapper::new(Formula::of(moody()) * 2.0, 3, 1)?)?, 5)?),
        ];
        for wrapper in wrappers {
            let mut metrics =
                MetricCollection::new().with("before", mean())?.with("moody", wrapper)?.with("after", mean())?;
            let pred = batch(&[1.0, 2.0]);
            metrics.update(&pred, &zeros(&pred))?;
            metrics.forward(&pred, &zeros(&pred))?;
            let before = metrics.save_state()?;
            for failed in [
                metrics.update(&pred, &zeros(&pred)),
                metrics.forward(&pred, &zeros(&pred)).map(drop),
                metrics.update_with(&samples(&pred).weights(&[1.0, 2.0])),
            ] {
                assert!(matches!(failed, Err(Error::Member { name, .. }) if name == "moody"));
            }
            assert_eq!(metrics.save_state()?, before, "{:?}", metrics.get("moody"));
        }
    }
    Ok(())
}

#[test]
fn no_wrapper_keeps_a_graph() -> Result<()> {
    for mut wrapper in every_wrapper()? {
        let (pred, graph) = probe(&batch(&[0.5, 2.0]))?;
        let target = zeros(&pred);
        wrapper.update(&pred, &target)?;
        drop(wrapper.forward(&pred, &target)?);
        drop(pred);
        assert!(graph.upgrade().is_none(), "{wrapper:?}");
    }
    Ok(())
}

#[test]
fn running_forgets_what_is_old() -> Result<()> {
    let metric = updated(Running::new(mean(), 2)?, &BATCHES)?;
    assert_eq!(metric.compute()?, Value::Scalar((0.5 + 7.0 + 8.0) / 3.0));
    assert_eq!((metric.updates(), metric.state().samples()), (5, 9));
    let shorter = updated(Running::new(mean(), 9)?, &BATCHES)?;
    assert_eq!(shorter.compute()?, updated(mean(), &BATCHES)?.compute()?);
    assert_eq!(Running::new(Mae::new(Reduction::None), 2)?.growth(), Growth::Bounded);

    let error = Running::new(mean(), 0).unwrap_err();
    assert_eq!(error.to_string(), "Running: `window` is 0, but must be at least one update");
    Ok(())
}

#[test]
fn merged_running_metrics_end_with_the_other_one() -> Result<()> {
    let mut ours = updated(Running::new(mean(), 3)?, &BATCHES[..2])?;
    let theirs = updated(Running::new(mean(), 3)?, &BATCHES[2..])?;
    ours.merge(&theirs)?;
    assert_eq!(ours.compute()?, updated(Running::new(mean(), 3)?, &BATCHES)?.compute()?);
    let error = ours.merge(&Running::new(mean(), 4)?).unwrap_err();
    assert!(matches!(error, Error::Incompatible { .. }));
    Ok(())
}

#[test]
fn running_has_a_flat_size_once_its_window_is_full() -> Result<()> {
    let mut metric = updated(Running::new(Mae::new(Reduction::Summary), 3)?, &BATCHES[..3])?;
    let bytes = metric.state_bytes();
    for errors in BATCHES {
        update(&mut metric, errors)?;
        assert_eq!(metric.state_bytes(), bytes);
    }
    Ok(())
}

#[test]
fn min_and_max_are_those_of_the_batches() -> Result<()> {
    let metric = updated(MinMax::new(mean())?, &BATCHES)?;
    assert_eq!((scalar(&metric, "min")?, scalar(&metric, "max")?), (0.5, 10.0));
    assert_eq!(Value::Scalar(scalar(&metric, "value")?), updated(mean(), &BATCHES)?.compute()?);

    let mut ours = updated(MinMax::new(mean())?, &BATCHES[1..2])?;
    ours.merge(&updated(MinMax::new(mean())?, &[&[4.0]])?)?;
    assert_eq!((scalar(&ours, "min")?, scalar(&ours, "max")?, scalar(&ours, "value")?), (4.0, 10.0, 7.0));
    Ok(())
}

/// Whatever the dtype of the batch, and whether it waits.
#[test]
fn extremes_are_what_is_computed_of_a_batch_alone() -> Result<()> {
    let errors: [&[f32]; 2] = [&[0.1, 0.2, 0.7], &[1e-8, 1.0, 3.3]];
    let values = errors.map(|errors| updated(mean(), &[errors]).and_then(|metric| metric.compute()));
    let [least, most] = values.map(|value| value.ok().and_then(|value| value.scalar()).expect("a number"));
    let forward = mean().forward(&batch(errors[0]), &zeros(&batch(errors[0])))?.to_scalar::<f32>()?;
    assert_ne!(least, f64::from(forward), "the batch's own value is rounded to f32");
    for metric in [MinMax::new(mean())?, waiting(MinMax::new(mean())?)] {
        let metric = updated(metric, &errors)?;
        let extremes = [scalar(&metric, "min")?, scalar(&metric, "max")?];
        assert_eq!(extremes.map(f64::to_bits), [least, most].map(f64::to_bits));
    }
    Ok(())
}

#[test]
fn parts_that_do_not_fit_change_nothing() -> Result<()> {
    let mut formula = Formula::of(mean()) + Formula::of(Aggregate::mean("loss"));
    // Whatever the size of the batch, a number of the loop is of no sample.
    for pred in [batch(&[1.0, 2.0]), batch(&[1.0])] {
        let error = formula.update_with(&samples(&pred).number("loss", 1.0)).unwrap_err().to_string();
        assert_eq!(error, "Formula: `mean` is of a number of the loop, but must be of samples here");
    }
    let mut labels = PerLabel::new(Aggregate::mean("loss"), ["day"])?;
    let error = labels.update_with(&Samples::default().number("loss", 1.0).labels(&["day"])).unwrap_err().to_string();
    assert_eq!(error, "PerLabel: `mean` is of a number of the loop, but must be of samples here");
    let error = formula.state_mut().accumulate(Statistics::new(1)).unwrap_err().to_string();
    assert_eq!(error, "statistics: there are 0 parts, but the state has 2");
    assert_eq!(formula.save_state()?, (Formula::of(mean()) + Formula::of(Aggregate::mean("loss"))).save_state()?);
    Ok(())
}

#[test]
fn weights_of_images_reach_the_parts_that_are_of_images() -> Result<()> {
    let pred = batch(&[1.0, 5.0]);
    let mut metric = MinMax::new(mean())?;
    metric.update_with(&samples(&pred).weights(&[3.0, 1.0]))?;
    assert_eq!(["value", "min", "max"].map(|name| scalar(&metric, name).ok()), [Some(2.0); 3]);
    let mut formula = Formula::of(Running::new(mean(), 2)?) * 10.0;
    formula.update_with(&samples(&pred).weights(&[0.0, 1.0]))?;
    assert_eq!(formula.compute()?, Value::Scalar(50.0));
    Ok(())
}

#[test]
fn extremes_are_of_the_images_that_count() -> Result<()> {
    let pred = batch(&[1.0, f32::NAN, 5.0]);
    let target = zeros(&pred);
    let mut metric = MinMax::new(mean())?;
    metric.update_with(&samples(&pred).weights(&[3.0, 0.0, 1.0]))?;
    metric.update_with(&samples(&pred).weights(&[0.0; 3]))?; // none
    metric.update_with(&samples(&pred).weights(&[0.0, 0.0, 2.0]))?;
    let extremes = |metric: &dyn Metric| Ok::<_, Error>((scalar(metric, "min")?, scalar(metric, "max")?));
    assert_eq!((extremes(&metric)?, scalar(&metric, "value")?), ((2.0, 5.0), 18.0 / 6.0));

    let mut skipping = MinMax::new(Mae::with_policy(Reduction::Mean, NonFinite::Skip))?;
    skipping.update(&pred, &target)?;
    update(&mut skipping, &[f32::NAN])?;
    update(&mut skipping, &[7.0])?;
    assert_eq!((extremes(&skipping)?, skipping.skipped()), ((3.0, 7.0), 2));

    let mut labelled = PerLabel::new(MinMax::new(mean())?, ["good", "bad", "none"])?;
    labelled.update_with(&samples(&pred).labels(&["good", "bad", "good"]))?;
    labelled.update_with(&samples(&pred).labels(&["bad", "bad", "good"]))?;
    let Value::Group(report) = labelled.compute()? else { panic!("not a group") };
    let Some(good) = report.get("good") else { panic!("no such label") };
    assert_eq!(format!("{good:.1}"), "{value: 3.7, min: 3.0, max: 5.0}");
    let Some(none) = report.get("none") else { panic!("no such label") };
    assert_eq!(format!("{none:.1}"), "NaN");
    Ok(())
}

#[test]
fn no_wrapper_asks_for_the_value_of_nothing() -> Result<()> {
    let wrappers: [Box<dyn Metric>; 8] = [
        Box::new(First::new()),
        Box::new(Running::new(First::new(), 1)?),
        Box::new(MinMax::new(First::new())?),
        Box::new(MinMax::new(First::with_policy(NonFinite::Skip))?),
        Box::new(BootStrapper::new(First::new(), 40, 1)?),
        Box::new(Formula::of(First::new()) + 1.0),
        Box::new(PerLabel::new(MinMax::new(First::new())?, ["a", "b", "none"])?),
        Box::new(BootStrapper::new(Formula::of(First::new()) + Formula::of(Running::new(First::new(), 1)?), 40, 1)?),
    ];
    let pred = batch(&[1.0]);
    for mut metric in wrappers {
        metric.update_with(&samples(&pred).labels(&["a"]))?;
        metric.compute()?;
        // A last update of nothing that counts.
        if metric.update_with(&samples(&pred).weights(&[0.0])).is_ok() {
            let value = metric.compute();
            assert!(matches!(value, Ok(_) | Err(Error::NoData { .. })), "{value:?} of {metric:?}");
        }
        metric.reset();
        if metric.update_with(&samples(&pred).weights(&[0.0])).is_ok() {
            assert_eq!((metric.updates(), metric.state().samples()), (1, 0), "{metric:?}");
            assert!(matches!(metric.compute(), Err(Error::NoData { .. })), "{metric:?}");
        }
    }
    let mut labelled = PerLabel::new(First::new(), ["a", "none"])?;
    labelled.update_with(&samples(&pred).labels(&["a"]))?;
    assert_eq!(format!("{:.1}", labelled.compute()?), "{a: 1.0, none: NaN}");
    let mut running = updated(MinMax::new(Running::new(First::new(), 1)?)?, &[&[2.0]])?;
    running.update_with(&samples(&pred).weights(&[0.0]))?;
    assert_eq!(format!("{:.1}", running.compute()?), "{value: NaN, min: 2.0, max: 2.0}");
    Ok(())
}

#[test]
fn weights_count_in_every_wrapper() -> Result<()> {
    let pred = batch(&[1.0, 2.0, 6.0]);
    for mut wrapper in every_wrapper()? {
        wrapper.update_with(&samples(&pred).weights(&[0.0, 1.0, 3.0]))?;
        assert_eq!(wrapper.state().samples(), 2, "{wrapper:?}");
    }
    Ok(())
}

#[test]
fn images_of_weight_0_have_no_number() -> Result<()> {
    let bootstrap = || BootStrapper::new(mean(), 50, 1);
    let plain = updated(bootstrap()?, &BATCHES)?;
    let mut padded = bootstrap()?;
    for errors in BATCHES {
        let pred = batch(&[&[100.0], errors, &[f32::NAN]].concat());
        let mut weights = vec![1.0; errors.len() + 2];
        (weights[0], weights[errors.len() + 1]) = (0.0, 0.0);
        padded.update_with(&samples(&pred).weights(&weights))?;
    }
    assert_eq!(padded.save_state()?, plain.save_state()?);
    assert_eq!(summary(&padded)?, summary(&plain)?);
    Ok(())
}

#[test]
fn images_may_be_numbered_from_any_number() -> Result<()> {
    for first in [1 << 56, 1 << 57, u64::MAX - 1, u64::MAX] {
        let bootstrap = || Ok::<_, Error>(BootStrapper::new(mean(), 20, 1)?.first_sample(first));
        let metric = updated(bootstrap()?, &BATCHES)?;
        let mut loaded = bootstrap()?;
        loaded.load_state(&metric.save_state()?)?;
        assert_eq!(loaded.save_state()?, metric.save_state()?);
        let mut merged = updated(bootstrap()?, &BATCHES[..2])?;
        merged.merge(&updated(bootstrap()?.first_sample(first.wrapping_add(3)), &BATCHES[2..])?)?;
        assert_eq!(summary(&merged)?, summary(&metric)?, "from {first} on");
        let whole = updated(bootstrap()?, &[&BATCHES.concat()])?;
        assert_eq!(summary(&whole)?, summary(&metric)?);
    }
    Ok(())
}

#[test]
fn labels_may_have_any_text() -> Result<()> {
    let labels = ["a/b", "a%2Fb", "%", "..", " ", "\n", "__metadata__", "counters", "%part000", "größe"];
    let build = || -> Result<_> {
        let labelled = PerLabel::new(mean(), labels)?;
        labels.iter().try_fold(MetricCollection::new(), |metrics, name| metrics.with(name, labelled.clone()))
    };
    let mut metrics = build()?;
    let pred = batch(&[0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0]);
    metrics.update_with(&samples(&pred).labels(&labels))?;
    let mut loaded = build()?;
    loaded.load_bytes(&metrics.to_bytes()?)?;
    let report = loaded.compute()?;
    for name in labels {
        for (value, label) in (0..).zip(labels) {
            assert_eq!(report.scalar(&format!("{name}/{label}")), Some(f64::from(value)), "{name:?}/{label:?}");
        }
    }
    assert_eq!(report.to_string().lines().count(), 1 + labels.len() * labels.len());
    Ok(())
}

#[test]
fn images_that_are_skipped_are_counted_once() -> Result<()> {
    let skipping = || Mae::with_policy(Reduction::Mean, NonFinite::Skip);
    let pred = batch(&[1.0, f32::NAN, f32::NAN, 4.0, f32::NAN]);
    let wrappers: [Box<dyn Metric>; 4] = [
        Box::new(PerLabel::new(skipping(), ["a", "b"])?),
        Box::new(Running::new(PerLabel::new(MinMax::new(skipping())?, ["a", "b"])?, 1)?),
        Box::new(Formula::of(skipping()) + Formula::of(mean()) * Formula::of(skipping())),
        Box::new(MinMax::new(Running::new(skipping(), 3)?)?),
    ];
    for mut wrapper in wrappers {
        wrapper.update_with(&samples(&pred).labels(&["a", "a", "b", "b", "b"]))?;
        assert_eq!((wrapper.skipped(), wrapper.state().samples()), (3, 2), "{wrapper:?}");
    }
    Ok(())
}

#[test]
fn wrappers_wait_as_what_they_wrap() -> Result<()> {
    let queued = || Mae::queued(Reduction::Mean, 2);
    let wrappers: [Box<dyn Metric>; 4] = [
        Box::new(Running::new(queued(), 3)?),
        Box::new(MinMax::new(queued())?),
        Box::new(BootStrapper::new(queued(), 3, 1)?),
        Box::new(Formula::of(queued()) / 2.0),
    ];
    for mut wrapper in wrappers {
        let waiting = [0; 4].map(|_| update(&mut *wrapper, &[1.0]).map(|()| wrapper.state().waiting()).ok());
        assert_eq!(waiting, [Some(1), Some(0), Some(1), Some(0)], "{wrapper:?}");
    }
    Ok(())
}

#[test]
fn the_bootstrap_numbers_images_within_other_wrappers() -> Result<()> {
    let bootstrap = || BootStrapper::new(mean(), 200, 1);
    let plain = updated(bootstrap()?, &BATCHES)?;
    let mut running = updated(Running::new(bootstrap()?, 5)?, &BATCHES)?;
    assert_eq!(running.compute()?, plain.compute()?);

    let mut loaded = Running::new(bootstrap()?, 5)?;
    loaded.load_state(&running.save_state()?)?;
    let mut merged = updated(Running::new(bootstrap()?, 5)?, &BATCHES[..2])?;
    merged.merge(&updated(Running::new(bootstrap()?.first_sample(3), 5)?, &BATCHES[2..])?)?;
    for metric in [&mut running, &mut loaded, &mut merged] {
        update(metric, &[6.0, 2.5])?;
    }
    assert_eq!(summary(&loaded)?, summary(&running)?);
    assert_eq!(summary(&merged)?, summary(&running)?);
    running.reset();
    assert_eq!(updated(running, &BATCHES)?.compute()?, plain.compute()?);
    Ok(())
}

#[test]
fn the_bootstrap_depends_on_the_images_and_the_seed_alone() -> Result<()> {
    let bootstrap = |seed| BootStrapper::new(mean(), 50, seed);
    let whole = summary(&updated(bootstrap(1)?, &[&[1.0, 3.0, 10.0, 2.0, 4.0, 9.0, 0.5, 7.0, 8.0]])?)?;
    assert_eq!(summary(&updated(bootstrap(1)?, &BATCHES)?)?, whole);
    assert_ne!(summary(&updated(bootstrap(2)?, &BATCHES)?)?, whole);
    assert_eq!(whole.count, 50);

    // Shards that are told where they start.
    let mut ours = updated(bootstrap(1)?, &BATCHES[..2])?;
    ours.merge(&updated(bootstrap(1)?.first_sample(3), &BATCHES[2..])?)?;
    assert_eq!(summary(&ours)?, whole);
    update(&mut ours, &[6.0])?;
    assert_eq!(summary(&ours)?, summary(&updated(updated(bootstrap(1)?, &BATCHES)?, &[&[6.0]])?)?);

    // Replicates are made at once, so there is a limit.
    for replicates in [0, 1, 65_537, usize::MAX] {
        let error = BootStrapper::new(mean(), replicates, 0).unwrap_err().to_string();
        assert_eq!(error, format!("BootStrapper: `replicates` is {replicates}, but must be 2 to 65536"));
    }
    let moved = updated(bootstrap(1)?, &BATCHES)?.first_sample(3);
    assert_eq!((moved.updates(), moved.fingerprint()), (0, bootstrap(1)?.fingerprint()));
    Ok(())
}

#[test]
fn the_bootstrap_finds_the_standard_error() -> Result<()> {
    let errors: Vec<_> = (0..400u16).map(f32::from).collect();
    let found = summary(&updated(BootStrapper::new(mean(), 2000, 3)?, &[&errors])?)?;
    // Of 0..400: standard deviation 115.47, so the mean's standard error is 5.774. The bootstrap's own standard errors are
    // 5.774 / sqrt(2000) = 0.13 for the mean and 5.774 / sqrt(4000) = 0.09 for the deviation; four of them.
    assert!((found.mean - 199.5).abs() < 0.52, "{}", found.mean);
    assert!((found.std - 5.774).abs() < 0.37, "{}", found.std);
    // A normal distribution's 5 % quantile is 1.645 standard deviations from the mean.
    assert!((found.p5 - (199.5 - 1.645 * 5.774)).abs() < 1.5, "{}", found.p5);
    Ok(())
}

#[test]
fn the_bootstrap_counts_skipped_images_once() -> Result<()> {
    let mut metric = BootStrapper::new(Mae::with_policy(Reduction::Mean, NonFinite::Skip), 20, 5)?;
    update(&mut metric, &[1.0, f32::NAN, 2.0])?;
    assert!(metric.skipped() == 1 && summary(&metric)?.mean.is_finite());
    // However often an image is drawn, and by two replicates not at all.
    let mut metric = BootStrapper::new(Mae::with_policy(Reduction::Mean, NonFinite::Skip), 2, 5)?;
    update(&mut metric, &[f32::NAN; 20])?;
    assert_eq!((metric.skipped(), metric.state().samples()), (20, 0));
    Ok(())
}

#[test]
fn labels_have_values_of_their_own() -> Result<()> {
    let mut metrics = MetricCollection::new()
        .with("all", mean())?
        .with("each", PerLabel::new(mean(), ["day", "night", "dusk"])?)?
        .with("last", Running::new(PerLabel::new(Mae::new(Reduction::Sum), ["night", "day", "dusk"])?, 1)?)?;
    let pred = batch(&[1.0, 2.0, 6.0]);
    metrics.update_with(&samples(&pred).labels(&["day", "night", "day"]))?;
    let pred = batch(&[4.0]);
    metrics.update_with(&samples(&pred).labels(&["night"]))?;

    let report = metrics.compute()?;
    let value = |name: &str| report.scalar(name).expect("a number");
    assert_eq!((value("all"), value("each/day"), value("each/night")), (3.25, 3.5, 3.0));
    assert!(value("each/dusk").is_nan());
    assert!(value("last/night") == 4.0 && value("last/day").is_nan());
    assert_eq!(
        format!("{report:.2}"),
        "metric      value\nall          3.25\neach/day     3.50\neach/night   3.00\neach/dusk     NaN\n\
         last/night   4.00\nlast/day      NaN\nlast/dusk     NaN\n"
    );
    let mut twice = metrics.clone();
    twice.merge(&metrics)?;
    assert_eq!(twice.compute()?.scalar("each/day"), Some(3.5));
    Ok(())
}

#[test]
fn a_labelled_batch_has_one_differentiable_value() -> Result<()> {
    let mut metrics = MetricCollection::new().with("each", PerLabel::new(mean(), ["day", "night"])?)?;
    let pred = Var::from_tensor(&batch(&[1.0, 2.0]))?;
    let labels = ["day", "night"];
    let outputs = metrics.forward_with(&samples(&pred).labels(&labels))?;
    let value = outputs.get("each").expect("a value");
    assert_eq!(value.to_scalar::<f32>()?, 1.5);
    assert!(value.backward()?.get(&pred).is_some());
    assert_eq!(metrics.compute()?.scalar("each/night"), Some(2.0));

    let before = metrics.save_state()?;
    assert!(metrics.forward(&pred, &zeros(&pred)).is_err());
    assert!(metrics.forward_with(&samples(&pred).labels(&labels[..1])).is_err());
    assert_eq!(metrics.save_state()?, before);
    let detached = metrics.eval_only().forward_with(&samples(&pred).labels(&labels))?;
    assert!(detached.iter().all(|(_, value)| !value.track_op()));

    let mut metric = PerLabel::new(mean(), labels)?;
    assert!(metric.forward_with(&samples(&pred).labels(&labels))?.track_op());
    assert_eq!(scalar(&metric, "day")?, 1.0);
    Ok(())
}

#[test]
fn labels_go_around_other_wrappers() -> Result<()> {
    let mut metric = PerLabel::new(BootStrapper::new(mean(), 100, 1)?, ["a", "b"])?;
    let pred = batch(&[1.0, 5.0, 1.0, 5.0, 1.0]);
    metric.update_with(&samples(&pred).labels(&["a", "b", "a", "b", "a"]))?;
    let Value::Group(report) = metric.compute()? else { panic!("not a group") };
    for (label, value) in [("a", 1.0), ("b", 5.0)] {
        let Some(Value::Summary(summary)) = report.get(label) else { panic!("not a summary") };
        // Whichever images are drawn, all of a label are alike.
        assert_eq!((summary.mean, summary.std, summary.p5, summary.p95), (value, 0.0, value, value));
    }
    Ok(())
}

#[test]
fn labels_that_do_not_fit_change_nothing() -> Result<()> {
    let mut metrics =
        MetricCollection::new().with("all", mean())?.with("each", PerLabel::new(mean(), ["day", "night"])?)?;
    let pred = batch(&[1.0, 2.0]);
    let before = metrics.save_state()?;
    for (labels, message) in [
        (&["day"][..], "PerLabel: `labels` has length 1, but the batch has 2 samples"),
        (&["day", "noon"], "PerLabel: `labels` has `noon`, but must have `day`, `night`"),
    ] {
        let error = metrics.update_with(&samples(&pred).labels(labels)).unwrap_err();
        assert_eq!(error.to_string(), format!("member `each`: {message}"));
    }
    let error = metrics.update(&pred, &zeros(&pred)).unwrap_err().to_string();
    let expected = "PerLabel: the samples have no labels, but must have: see `Samples::labels`";
    assert_eq!(error, format!("member `each`: {expected}"));
    assert_eq!(metrics.save_state()?, before);

    let refused = |labels: &[&str]| PerLabel::new(mean(), labels.iter().copied()).unwrap_err().to_string();
    assert_eq!(refused(&[]), "PerLabel: `labels` has none, but must have at least one");
    assert_eq!(refused(&["a", ""]), "PerLabel: label 1 of `labels` is empty, but must tell samples apart");
    assert_eq!(refused(&["a", "a"]), "PerLabel: `labels` has `a` twice, but each label once is enough");
    Ok(())
}

#[test]
fn formulas_compute_what_they_say() -> Result<()> {
    let a = || Formula::of(mean());
    let b = || Formula::of(Mae::new(Reduction::Sum));
    // The mean is 2, the sum 6.
    for (formula, value) in [
        (a() + b(), 8.0),
        (a() - b(), -4.0),
        (a() * b(), 12.0),
        (b() / a(), 3.0),
        (-a(), -2.0),
        ((a() - b()).abs(), 4.0),
        (1.0 - a(), -1.0),
        (12.0 / b() + 0.5, 2.5),
        ((a() + 1.0) * 2.0 - 3.0 * (b() - a()) / 4.0, 3.0),
    ] {
        let formula = updated(formula, &[&[1.0, 2.0], &[3.0]])?;
        assert_eq!(formula.compute()?, Value::Scalar(value), "{}", formula.fingerprint());
    }
    Ok(())
}

#[test]
fn a_formula_is_differentiable() -> Result<()> {
    let mut formula = 3.0 * Formula::of(mean()) - Formula::of(mean()) / 2.0;
    assert!(formula.info().differentiable);
    let pred = Var::from_tensor(&batch(&[0.5, 2.0]))?;
    let value = formula.forward(&pred, &zeros(&pred))?;
    assert_eq!(value.to_scalar::<f32>()?, 2.5 * 1.25);
    let gradients = value.backward()?;
    let gradient: &Tensor = gradients.get(&pred).expect("a gradient of the prediction");
    // 2.5 times that of the mean of 8 absolute values of positive numbers.
    assert_eq!(gradient.flatten_all()?.to_vec1::<f32>()?, [2.5 / 8.0; 8]);
    Ok(())
}

#[test]
fn formulas_are_told_apart() -> Result<()> {
    let a = || Formula::of(mean());
    let formula = ((a() - 1.0) * -a()).abs();
    let mae = r#"{"mae":{"reduction":"mean"}}"#;
    let product = format!(r#"[{{"minus":[{mae},"1.0"]}},{{"negative":{mae}}}]"#);
    assert_eq!(formula.fingerprint().to_string(), format!("formula[value.absolute.times={product}]"));
    // However long a formula is, and whatever its numbers are.
    let long = |last| (0..200).fold(a(), |sum, _| sum + 1.5) + last;
    assert!(long(1.0).merge(&long(2.0)).is_err() && long(f64::NAN).merge(&long(f64::INFINITY)).is_err());
    assert!(long(1.0).merge(&long(1.0)).is_ok());
    let mut difference = a() - Formula::of(Mae::new(Reduction::Sum));
    assert!(difference.merge(&(Formula::of(Mae::new(Reduction::Sum)) - a())).is_err());
    Ok(())
}

#[test]
fn values_that_are_no_number_are_refused() -> Result<()> {
    let pred = batch(&[1.0, 2.0]);
    let message = |wrapper, found| format!("{wrapper}: the value of `mae` is {found}, but must be one number");
    let error = |result: Result<Box<dyn Metric>>| result.map(drop).unwrap_err().to_string();
    let min_max = |metric: Box<dyn Metric>| error(MinMax::new(metric).map(|metric| Box::new(metric) as _));
    let bootstrap =
        |metric: Box<dyn Metric>| error(BootStrapper::new(metric, 2, 0).map(|metric| Box::new(metric) as _));
    let formula = |metric: Box<dyn Metric>| {
        let mut formula = Formula::of(mean()) + Formula::of(metric);
        let forward = formula.forward(&pred, &zeros(&pred)).unwrap_err().to_string();
        let error = formula.update(&pred, &zeros(&pred)).unwrap_err().to_string();
        assert_eq!((&forward, formula.updates()), (&error, 0));
        error
    };
    let labelled = || PerLabel::new(mean(), ["a"]);
    type Build = fn() -> Result<Box<dyn Metric>>;
    let cases: [(Build, &str); 6] = [
        (|| Ok(Box::new(Mae::new(Reduction::None))), "one for each sample"),
        (|| Ok(Box::new(Running::new(Mae::new(Reduction::None), 2)?)), "one for each sample"),
        (|| Ok(Box::new(MinMax::new(mean())?)), "a group of values"),
        (|| Ok(Box::new(Running::new(MinMax::new(mean())?, 2)?)), "a group of values"),
        (|| Ok(Box::new(PerLabel::new(mean(), ["a"])?)), "a group of values"),
        (|| Ok(Box::new(Running::new(PerLabel::new(mean(), ["a"])?, 2)?)), "a group of values"),
    ];
    for (metric, found) in cases {
        assert_eq!(min_max(metric()?), message("MinMax", found));
        assert_eq!(bootstrap(metric()?), message("BootStrapper", found));
        assert_eq!(formula(metric()?), message("Formula", found));
    }

    let expected =
        "PerLabel: `mae` cannot be told apart: there is a `PerLabel` in it, around which only `Running` may go";
    for metric in [Box::new(labelled()?) as Box<dyn Metric>, Box::new(Running::new(labelled()?, 2)?)] {
        assert_eq!(PerLabel::new(metric, ["b"]).unwrap_err().to_string(), expected);
    }
    assert_eq!(
        updated(Running::new(Mae::new(Reduction::None), 2)?, &[&[1.0, 2.0]])?.compute()?,
        Value::PerImage(vec![1.0, 2.0])
    );
    Ok(())
}

/// What is computed of an array shows when it is.
#[test]
fn an_array_is_no_number() -> Result<()> {
    let message = |wrapper| format!("{wrapper}: the value of `kinds` is an array [3, 3], but must be one number");
    let wrappers: [(Box<dyn Metric>, &str); 3] = [
        (Box::new(MinMax::new(Kinds::new())?), "MinMax"),
        (Box::new(BootStrapper::new(Kinds::new(), 4, 1)?), "BootStrapper"),
        (Box::new(Formula::of(Kinds::new()) * 2.0), "Formula"),
    ];
    for (mut metric, wrapper) in wrappers {
        metric.update_with(&kinds(&[1.0, 2.0]))?;
        assert_eq!(metric.compute().unwrap_err().to_string(), message(wrapper));
    }
    Ok(())
}
