//! Fields, reductions, and statistics that do not fit.

use candle_core::{DType, Device, Tensor};
use metrics_core::{Error, Formula, Growth, Metric, Reduce, Reduction, Result, State, Statistics, Value};

use crate::toy::{Mae, batch, zeros};

const ALL: [(&str, Reduce); 5] = [
    ("sum", Reduce::Sum),
    ("min", Reduce::Min),
    ("max", Reduce::Max),
    ("all", Reduce::Collect),
    ("summary", Reduce::Summary),
];

fn state() -> State {
    ALL.into_iter().fold(State::new(), |state, (name, reduce)| state.with(name, reduce))
}

fn statistics(values: &[f64]) -> Statistics {
    let empty = Statistics::new(values.len());
    ALL.into_iter().fold(empty, |statistics, (name, _)| statistics.with_values(name, values.to_vec()))
}

#[test]
fn every_reduction_reduces() -> Result<()> {
    let mut state = state();
    state.accumulate(statistics(&[3.0, 1.0]))?;
    state.accumulate(statistics(&[2.0]))?;
    assert_eq!((state.updates(), state.samples()), (2, 3));
    assert_eq!((state.sum("sum")?, state.mean("sum")?), (6.0, 2.0));
    assert_eq!((state.min("min")?, state.max("max")?), (1.0, 3.0));
    assert_eq!(state.values("all")?, [3.0, 1.0, 2.0]);
    let summary = state.summary("summary")?;
    assert_eq!((summary.count, summary.mean, summary.std), (3, 2.0, (2f64 / 3.0).sqrt()));
    Ok(())
}

#[test]
fn reset_forgets_everything() -> Result<()> {
    let mut state = state();
    let fresh = format!("{state:?}");
    let bytes = state.bytes();
    state.accumulate(statistics(&[3.0, 1.0]))?;
    assert_eq!(state.bytes(), bytes + 2 * 8);
    state.reset();
    assert_eq!(format!("{state:?}"), fresh);
    assert_eq!(state.growth(), Growth::PerImage);
    Ok(())
}

#[test]
fn nan_is_not_lost() -> Result<()> {
    for values in [[1.0, f64::NAN], [f64::NAN, 1.0]] {
        let mut state = state();
        state.accumulate(statistics(&values))?;
        state.accumulate(statistics(&[2.0]))?;
        assert!(state.sum("sum")?.is_nan() && state.min("min")?.is_nan() && state.max("max")?.is_nan());
    }
    Ok(())
}

#[test]
fn every_float_dtype_is_read_back() -> Result<()> {
    for dtype in [DType::F16, DType::BF16, DType::F32, DType::F64] {
        let values = Tensor::new(&[0.5f64, -3.0], &Device::Cpu)?.to_dtype(dtype)?;
        let mut state = State::scores(Reduction::None);
        state.accumulate(Statistics::new(2).with("score", &values))?;
        assert_eq!(state.reduced()?, Value::PerImage(vec![0.5, -3.0]));
    }
    Ok(())
}

#[test]
fn statistics_that_do_not_fit_change_nothing() -> Result<()> {
    let tensor = |dtype| Tensor::ones((2, 1), dtype, &Device::Cpu);
    let empty = || Statistics::new(2);
    let values = || vec![1.0, 2.0];
    let cases = [
        (Statistics::new(0), "statistics: a batch must have at least one sample"),
        (empty().with_values("a", values()), "statistics: the declared field `b` is missing"),
        (
            empty().with_values("a", values()).with_values("b", values()).with_values("c", values()),
            "statistics: the field `c` is not declared; there is `a`, `b`",
        ),
        (
            empty().with_values("a", values()).with_values("b", values()).with_values("a", values()),
            "statistics: the field `a` was given twice",
        ),
        (
            empty().with_values("a", values()).with_values("b", vec![1.0]),
            "statistics: the field `b` is [1], but one number per sample is [2]",
        ),
        (
            empty().with_values("a", values()).with("b", tensor(DType::F32)?),
            "statistics: the field `b` is [2, 1], but one number per sample is [2]",
        ),
        (
            empty().with_values("a", values()).with("b", tensor(DType::U8)?.flatten_all()?),
            "statistics: the field `b` is u8, but must have floats",
        ),
    ];
    for (statistics, message) in cases {
        let mut state = State::new().with("a", Reduce::Sum).with("b", Reduce::Sum);
        let error = state.accumulate(statistics).unwrap_err();
        assert!(matches!(error, Error::Statistics { .. }));
        assert_eq!(error.to_string(), message);
        assert_eq!((state.updates(), state.samples(), state.sum("a")?), (0, 0, 0.0), "{message}");
    }
    Ok(())
}

#[test]
fn reading_says_what_is_wrong() {
    let state = State::new().with("sse", Reduce::Sum).with("worst", Reduce::Max);
    let text = |error: Error| error.to_string();
    assert_eq!(state.sum("see").map_err(text), Err("state: there is no field `see`; there is `sse`, `worst`".into()));
    let wrong = "state: the field `sse` is declared as sum, but was read as ";
    assert_eq!(state.min("sse").map_err(text), Err(format!("{wrong}min")));
    assert_eq!(state.max("sse").map_err(text), Err(format!("{wrong}max")));
    assert_eq!(state.values("sse").map_err(text), Err(format!("{wrong}collect")));
    assert_eq!(state.summary("sse").map_err(text), Err(format!("{wrong}summary")));
    let wrong = "state: the field `worst` is declared as max, but was read as sum";
    assert_eq!(state.mean("worst").map_err(text), Err(wrong.into()));
    let fields =
        "state: it has no scores that are reduced: declare it by `State::scores`, or compute the value of its fields";
    assert_eq!(state.reduced().map_err(text), Err(fields.into()));
}

#[test]
fn merging_needs_the_same_fields() -> Result<()> {
    let mut ours = State::new().with("a", Reduce::Sum).with("b", Reduce::Max);
    let theirs = State::new().with("a", Reduce::Sum).with("b", Reduce::Min);
    let error = ours.merge(&theirs).unwrap_err();
    assert_eq!(error.to_string(), "cannot merge state[a: sum, b: min] into state[a: sum, b: max]");
    ours.merge(&ours.clone())?;
    assert_eq!(ours.updates(), 0);
    Ok(())
}

#[test]
fn declaring_a_field_again_replaces_it() -> Result<()> {
    let state = State::new().with("a", Reduce::Sum).with("a", Reduce::Max);
    assert_eq!(state.max("a")?, f64::NEG_INFINITY);
    Ok(())
}

#[test]
fn reductions_are_text() -> Result<()> {
    for reduction in [Reduction::Mean, Reduction::Sum, Reduction::None, Reduction::Summary] {
        assert_eq!(reduction.to_string().parse::<Reduction>()?, reduction);
        let json = serde_json::to_string(&reduction).expect("text");
        assert_eq!(json, format!("\"{reduction}\""));
        assert_eq!(serde_json::from_str::<Reduction>(&json).expect("a reduction"), reduction);
    }
    let error = "median".parse::<Reduction>().unwrap_err();
    assert_eq!(error.to_string(), "reduction: `median` is not one of `mean`, `sum`, `none`, `summary`");
    Ok(())
}

#[test]
fn counters_do_not_overflow() -> Result<()> {
    let mut state = state();
    state.accumulate(statistics(&[2.0]).with_weights(&[0.0])?)?;
    let mut formula = Formula::of(Mae::new(Reduction::Summary)) + Formula::of(Mae::new(Reduction::Mean));
    let pred = batch(&[1.0]);
    formula.update(&pred, &zeros(&pred))?;
    let mut parts = formula.state().clone();
    for state in [&mut state, &mut parts] {
        let mut merged = 0;
        let error = loop {
            let before = format!("{state:?}");
            match state.merge(&state.clone()) {
                Ok(()) => merged += 1,
                Err(error) => {
                    assert_eq!(format!("{state:?}"), before);
                    break error.to_string();
                }
            }
        };
        assert_eq!((merged, state.updates()), (56, 1 << 56));
        let expected = "state: it has counted 72057594037927936 and is to count 72057594037927936 more, but no more than 72057594037927936 in all";
        assert_eq!(error, expected);
    }
    *formula.state_mut() = parts;
    let error = formula.update(&pred, &zeros(&pred)).unwrap_err().to_string();
    assert!(error.starts_with("state: it has counted 72057594037927936 and is to count 1 more"), "{error}");
    assert_eq!(formula.updates(), 1 << 56);

    let mut many = State::new();
    let error = many.accumulate(Statistics::new(usize::MAX)).unwrap_err().to_string();
    assert!(error.starts_with("state: it has counted 0 and is to count 18446744073709551615 more"), "{error}");
    many.accumulate(Statistics::new(1 << 55))?;
    assert_eq!(many.samples(), 1 << 55);
    Ok(())
}
