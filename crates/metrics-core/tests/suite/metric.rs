//! The life of one metric.

use candle_core::{DType, Tensor, Var};
use metrics_core::{
    Accumulator, Configured, Definition, Error, EvalOnly, Fingerprint, Growth, Metric, MetricCollection, MetricInfo,
    MinMax, Named, NonFinite, Reduce, Reduction, Result, Samples, State, Statistics, Value,
};
use metrics_detach::Detached;
use serde::Serialize;
use serde_json::json;

use crate::toy::{Mae, Mood, Moody, REDUCTIONS, batch, zeros};

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
    assert_eq!(error.to_string(), "mae: there is no data yet: no sample that counts was added");
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
    assert_eq!(error.to_string(), "cannot merge mae[reduction=\"sum\"] into mae[reduction=\"mean\"]");

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
        assert_eq!((metric.updates(), metric.state().samples()), (2, 2), "{mood:?}");
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
        assert_eq!(metric.growth(), growth);
        assert_eq!(metric.state_bytes() - before, bytes, "{reduction}");
        assert!(before < fixed, "{reduction}: {before} bytes");
    }
    Ok(())
}

#[test]
fn fingerprints_are_the_settings_and_nothing_else() -> Result<()> {
    let fingerprint = |settings: serde_json::Value| Fingerprint::of("ab", &settings);
    let nested = fingerprint(json!({"window": {"sigma": 0.5, "size": null}, "by": "a b", "list": [1, 2.5]}))?;
    assert_eq!(nested.kind(), "ab");
    assert_eq!(nested.to_string(), r#"ab[by="a b" list=[1,2.5] window.sigma=0.5 window.size=null]"#);
    assert_eq!(Fingerprint::of("ab", &())?.to_string(), "ab[]");
    assert_eq!(Fingerprint::of("ab", &1.5)?.to_string(), "ab[value=1.5]");
    assert_eq!(fingerprint(json!({"a": 1, "b": 2}))?, fingerprint(json!({"b": 2, "a": 1}))?);
    for other in [json!({"a": 1}), json!({"a": 1, "b": 3}), json!({"a": {"b": 2}}), json!(1)] {
        assert_ne!(fingerprint(json!({"a": 1, "b": 2}))?, fingerprint(other)?);
    }
    assert_ne!(Fingerprint::of("a", &())?, Fingerprint::of("b", &())?);
    let unequal = Fingerprint::of("ab", &std::collections::HashMap::from([(vec![1], 2)])).unwrap_err().to_string();
    assert!(unequal.starts_with("ab: its settings cannot be serialized: "), "{unequal}");

    let text = serde_json::to_string(&nested).expect("a map");
    assert_eq!(text, r#"{"ab":{"by":"a b","list":[1,2.5],"window":{"sigma":0.5,"size":null}}}"#);
    assert_eq!(serde_json::from_str::<Fingerprint>(&text).expect("a fingerprint"), nested);

    let metric = updated(Mae::new(Reduction::Mean), &[&[1.0]])?;
    assert_eq!(metric.fingerprint(), Mae::with_policy(Reduction::Mean, NonFinite::Skip).fingerprint());
    assert_eq!(serde_json::to_string(&metric).expect("a map"), r#"{"mae":{"reduction":"mean"}}"#);
    Ok(())
}

#[test]
fn an_accumulator_shows_its_definition_and_how_far_it_is() -> Result<()> {
    let mut metric = Mae::new(Reduction::Sum);
    let pred = batch(&[1.0]);
    metric.update(&pred, &zeros(&pred))?;
    assert_eq!(format!("{metric:?}"), r#"mae[reduction="sum"] after 1 updates"#);
    assert_eq!(serde_json::to_string(metric.definition()).expect("a map"), r#"{"reduction":"sum"}"#);
    let info = metric.info();
    assert_eq!((info.differentiable, info.higher_is_better), (true, Some(false)));
    assert_eq!((info.lower, info.upper), (Some(0.0), None));
    let json = serde_json::to_string(&info).expect("a map");
    assert_eq!(serde_json::from_str::<MetricInfo>(&json).expect("an info"), info);
    Ok(())
}

/// Settings within a configuration, and two states.
#[derive(Clone, Serialize)]
struct Ratio {
    config: RatioConfig,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
struct RatioConfig {
    scale: f64,
}

impl Definition for Ratio {
    fn name(&self) -> &'static str {
        "ratio"
    }

    fn states(&self) -> State {
        State::new().with("error", Reduce::Sum).with("size", Reduce::Sum)
    }

    fn statistics(&self, samples: &Samples) -> Result<Statistics> {
        let rows = |tensor: &Tensor| tensor.abs()?.flatten_from(1)?.sum(1);
        let error = rows(&(samples.pred()? - samples.target()?)?)?;
        Ok(Statistics::new(error.dim(0)?).with("error", &error).with("size", &rows(samples.target()?)?))
    }

    fn compute(&self, state: &State) -> Result<Value> {
        Ok(Value::Scalar(self.config.scale * state.sum("error")? / state.sum("size")?))
    }
}

impl Configured for Ratio {
    type Config = RatioConfig;

    fn configured(config: RatioConfig) -> Result<Self> {
        if config.scale > 0.0 { Ok(Self { config }) } else { Err(Error::argument("ratio", "`scale` must be positive")) }
    }

    fn config(&self) -> &RatioConfig {
        &self.config
    }
}

#[test]
fn a_metric_of_a_configuration() -> Result<()> {
    let ratio = |scale| Accumulator::<Ratio>::new(RatioConfig { scale });
    let mut percent = ratio(100.0)?;
    assert_eq!((percent.config().scale, percent.info()), (100.0, MetricInfo::default()));
    assert_eq!(percent.fingerprint().to_string(), "ratio[config.scale=100.0]");
    assert_eq!(ratio(0.0).unwrap_err().to_string(), "ratio: `scale` must be positive");
    let pred = Var::from_tensor(&batch(&[1.0, 3.0]))?;
    // The value of a batch is computed of its state, without a gradient.
    let value = percent.forward_with(&Samples::new(&pred, &batch(&[2.0, 2.0])).weights(&[3.0, 1.0]))?;
    assert_eq!((value.dtype(), value.track_op(), value.to_scalar::<f32>()?), (DType::F32, false, 50.0));
    assert_eq!(percent.compute()?, Value::Scalar(50.0));
    let wide = pred.to_dtype(DType::F64)?;
    assert_eq!(percent.forward(&wide, &(&wide * 4.0)?)?.to_scalar::<f64>()?, 75.0);
    let none = percent.forward_with(&Samples::new(&pred, &batch(&[2.0, 2.0])).weights(&[0.0, 0.0]))?;
    assert!(none.to_scalar::<f32>()?.is_nan());
    assert_eq!((percent.updates(), percent.state().samples()), (3, 4));
    Ok(())
}

/// Sum and mean of the errors.
#[derive(Clone, Serialize)]
struct Both;

impl Definition for Both {
    fn name(&self) -> &'static str {
        "both"
    }

    fn states(&self) -> State {
        State::new().with("score", Reduce::Sum)
    }

    fn statistics(&self, samples: &Samples) -> Result<Statistics> {
        Statistics::scores(&(samples.pred()? - samples.target()?)?.abs()?.flatten_from(1)?.mean(1)?)
    }

    fn compute(&self, state: &State) -> Result<Value> {
        let mut values = Named::new();
        values.insert("sum", Value::Scalar(state.sum("score")?))?;
        values.insert("mean", Value::Scalar(state.mean("score")?))?;
        Ok(Value::Group(values.into()))
    }
}

#[test]
fn a_group_of_values_is_updated_only() -> Result<()> {
    let mut both = Accumulator::of(Both)?;
    let pred = batch(&[1.0, 3.0]);
    let message =
        "both: it computes several values, so that a batch has no single one: use `update` instead of `forward`";
    assert_eq!(both.forward(&pred, &zeros(&pred)).unwrap_err().to_string(), message);
    assert_eq!(both.updates(), 0);
    let mut metrics = MetricCollection::new().with("both", both)?;
    metrics.update(&pred, &zeros(&pred))?;
    assert!(metrics.forward(&pred, &zeros(&pred)).is_err());
    assert_eq!(format!("{:.1}", metrics.compute()?), "metric     value\nboth/sum     4.0\nboth/mean    2.0\n");
    Ok(())
}

#[test]
fn what_samples_lack_is_told() {
    let pred = batch(&[1.0]);
    for (samples, missing) in [(Samples::default(), "pred"), (Samples::from(&pred), "target")] {
        let error = Mae::new(Reduction::Mean).update_with(&samples).unwrap_err().to_string();
        assert_eq!(error, format!("samples: there is no `{missing}`, but this metric needs it"));
    }
    let mut metric = Mae::new(Reduction::Mean);
    metric.update_with(&(&pred, &zeros(&pred)).into()).expect("both are there");
    assert_eq!(metric.updates(), 1);
}

#[test]
fn metrics_are_sent_and_shared() {
    fn is_send_and_sync<T: Send + Sync>() {}
    is_send_and_sync::<Box<dyn Metric>>();
    is_send_and_sync::<MetricCollection>();
    is_send_and_sync::<EvalOnly<MetricCollection>>();
    is_send_and_sync::<Accumulator<MinMax<Accumulator<Mae>>>>();
    is_send_and_sync::<State>();
}

#[test]
fn a_batch_has_the_value_that_would_be_computed_of_it_alone() -> Result<()> {
    let pred = batch(&[0.5, 1.5, 4.0]);
    for reduction in REDUCTIONS {
        let mut metric = Mae::new(reduction);
        let value = metric.forward(&pred, &zeros(&pred))?;
        let computed = match metric.compute()? {
            Value::Scalar(value) => vec![value],
            Value::PerImage(values) => values,
            Value::Summary(summary) => vec![summary.mean],
            other => unreachable!("it computes no {other:?}"),
        };
        assert_eq!(Detached::from(value).to_vec_f64()?, computed, "{reduction}");
    }
    let error = Statistics::scores(&pred).unwrap_err().to_string();
    assert_eq!(error, "statistics: `scores` is [3, 4], but must have one number per sample");
    Ok(())
}
