//! Fields, reductions, and contributions that do not fit.

use candle_core::{DType, Device, Tensor};
use metrics_core::{Contribution, Error, Growth, Reduce, Reduction, Result, State, Value};

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

fn contribution(values: &[f64]) -> Contribution {
    let empty = Contribution::new(values.len());
    ALL.into_iter().fold(empty, |contribution, (name, _)| contribution.with_values(name, values.to_vec()))
}

#[test]
fn every_reduction_reduces() -> Result<()> {
    let mut state = state();
    state.absorb(contribution(&[3.0, 1.0]))?;
    state.absorb(contribution(&[2.0]))?;
    assert_eq!((state.updates(), state.images()), (2, 3));
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
    state.absorb(contribution(&[3.0, 1.0]))?;
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
        state.absorb(contribution(&values))?;
        state.absorb(contribution(&[2.0]))?;
        assert!(state.sum("sum")?.is_nan() && state.min("min")?.is_nan() && state.max("max")?.is_nan());
    }
    Ok(())
}

#[test]
fn every_float_dtype_is_read_back() -> Result<()> {
    for dtype in [DType::F16, DType::BF16, DType::F32, DType::F64] {
        let values = Tensor::new(&[0.5f64, -3.0], &Device::Cpu)?.to_dtype(dtype)?;
        let mut state = State::for_reduction("x", Reduction::None);
        state.absorb(Contribution::new(2).with("x", &values))?;
        assert_eq!(state.reduced("x", Reduction::None)?, Value::PerImage(vec![0.5, -3.0]));
    }
    Ok(())
}

#[test]
fn contributions_that_do_not_fit_change_nothing() -> Result<()> {
    let tensor = |dtype| Tensor::ones((2, 1), dtype, &Device::Cpu);
    let empty = || Contribution::new(2);
    let values = || vec![1.0, 2.0];
    let cases = [
        (Contribution::new(0), "contribution: a batch must have at least one image"),
        (empty().with_values("a", values()), "contribution: the declared field `b` is missing"),
        (
            empty().with_values("a", values()).with_values("b", values()).with_values("c", values()),
            "contribution: the field `c` is not declared; there is `a`, `b`",
        ),
        (
            empty().with_values("a", values()).with_values("b", values()).with_values("a", values()),
            "contribution: the field `a` was given twice",
        ),
        (
            empty().with_values("a", values()).with_values("b", vec![1.0]),
            "contribution: the field `b` is [1], but one number per image is [2]",
        ),
        (
            empty().with_values("a", values()).with("b", tensor(DType::F32)?),
            "contribution: the field `b` is [2, 1], but one number per image is [2]",
        ),
        (
            empty().with_values("a", values()).with("b", tensor(DType::U8)?.flatten_all()?),
            "contribution: the field `b` is u8, but must be a float tensor",
        ),
    ];
    for (contribution, message) in cases {
        let mut state = State::new().with("a", Reduce::Sum).with("b", Reduce::Sum);
        let error = state.absorb(contribution).unwrap_err();
        assert!(matches!(error, Error::Contribution { .. }));
        assert_eq!(error.to_string(), message);
        assert_eq!((state.updates(), state.images(), state.sum("a")?), (0, 0, 0.0), "{message}");
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
    assert_eq!(state.reduced("worst", Reduction::Mean).map_err(text), Err(wrong.into()));
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
    state.absorb(contribution(&[2.0]).with_weights(vec![0.0]))?;
    let mut parts = State::of_parts(vec![State::for_reduction("x", Reduction::Summary), State::new()]);
    let x = || Contribution::new(1).with_values("x", vec![1.0]);
    parts.absorb(Contribution::new(1).with_part(x()).with_part(Contribution::new(1)))?;
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
    let error = parts.absorb(Contribution::new(1).with_part(x()).with_part(Contribution::new(1))).unwrap_err();
    assert!(error.to_string().starts_with("state: it has counted 72057594037927936 and is to count 1 more"));

    let mut many = State::new();
    let error = many.absorb(Contribution::new(usize::MAX)).unwrap_err().to_string();
    assert!(error.starts_with("state: it has counted 0 and is to count 18446744073709551615 more"), "{error}");
    many.absorb(Contribution::new(1 << 55))?;
    assert_eq!(many.images(), 1 << 55);
    Ok(())
}

#[test]
fn replicates_are_made_at_once_so_there_is_a_limit() {
    for replicates in [0, 65_537, usize::MAX] {
        let error = State::resampled(State::new(), replicates, 0, 0).unwrap_err().to_string();
        assert_eq!(error, format!("resampled: `replicates` is {replicates}, but must be 1 to 65536"));
    }
}
