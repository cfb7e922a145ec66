//! The table and the map.

use metrics_core::{MetricCollection, Named, Reduction, Report, Result, Value};

use crate::toy::{Mae, batch, zeros};

fn report() -> Result<Report> {
    let mut metrics = MetricCollection::new()
        .with("mean", Mae::new(Reduction::Mean))?
        .with("größe", Mae::new(Reduction::Summary))?
        .with("each", Mae::new(Reduction::None))?;
    let pred = batch(&[0.25, 0.75]);
    metrics.update(&pred, &zeros(&pred))?;
    metrics.compute()
}

#[test]
fn the_table_is_aligned() -> Result<()> {
    let expected = "\
metric       value  count       std       min        p5    median       p95       max
mean      0.500000
größe     0.500000      2  0.250000  0.250000  0.275000  0.500000  0.725000  0.750000
each    (2 values)
";
    assert_eq!(report()?.to_string(), expected);
    Ok(())
}

#[test]
fn the_table_has_only_the_columns_it_needs() -> Result<()> {
    let mut values = Named::new();
    values.insert("psnr", Value::Scalar(f64::INFINITY))?;
    values.insert("ssim", Value::Scalar(0.98765))?;
    values.insert("tiny", Value::Scalar(1.25e-7))?;
    values.insert("nothing", Value::Scalar(f64::NAN))?;
    let expected = "\
metric      value
psnr          inf
ssim        0.988
tiny     1.250e-7
nothing       NaN
";
    assert_eq!(format!("{:.3}", Report::from(values)), expected);
    Ok(())
}

#[test]
fn json_keeps_the_order_and_the_values() -> Result<()> {
    let report = report()?;
    let json = serde_json::to_string(&report).expect("a map");
    assert_eq!(
        json,
        concat!(
            r#"{"mean":0.5,"größe":{"count":2,"mean":0.5,"std":0.25,"min":0.25,"max":0.75,"median":0.5,"#,
            r#""p5":0.275,"p95":0.725,"quantile_error":0.0},"each":[0.25,0.75]}"#
        )
    );
    assert_eq!(serde_json::from_str::<Report>(&json).expect("a report"), report);
    Ok(())
}

#[test]
fn json_keeps_what_is_not_finite() -> Result<()> {
    let mut values = Named::new();
    values.insert("psnr", Value::Scalar(f64::INFINITY))?;
    values.insert("each", Value::PerImage(vec![f64::NEG_INFINITY, 30.0, f64::NAN]))?;
    let json = serde_json::to_string(&Report::from(values)).expect("a map");
    assert_eq!(json, r#"{"psnr":"inf","each":["-inf",30.0,"NaN"]}"#);

    let report: Report = serde_json::from_str(&json).expect("a report");
    assert_eq!(report.scalar("psnr"), Some(f64::INFINITY));
    let Some(Value::PerImage(values)) = report.get("each") else { panic!("not a list") };
    assert_eq!(values[..2], [f64::NEG_INFINITY, 30.0]);
    assert!(values[2].is_nan());
    Ok(())
}

#[test]
fn json_that_is_no_report_is_refused() {
    let error = |json: &str| serde_json::from_str::<Report>(json).expect_err("not a report").to_string();
    assert!(error(r#"{"a": 1, "a": 2}"#).starts_with("the name `a` is already taken"));
    assert!(error("[1]").contains("expected a map from the names of metrics to their values"));
    assert!(error(r#"{"a": "infinite"}"#).contains("did not match any variant of untagged enum Value"));
}

#[test]
fn values_are_text_and_numbers() -> Result<()> {
    let report = report()?;
    let text = |name: &str| format!("{:.2}", report.get(name).expect("a value"));
    assert_eq!(text("mean"), "0.50");
    assert_eq!(text("größe"), "0.50 ± 0.25 (0.25 .. 0.75, median 0.50, 5 % 0.28, 95 % 0.72, n = 2)");
    assert_eq!(text("each"), "[0.25, 0.75]");
    assert_eq!((report.scalar("mean"), report.scalar("größe"), report.scalar("each")), (Some(0.5), Some(0.5), None));
    assert_eq!((report.len(), report.into_iter().count()), (3, 3));
    Ok(())
}

#[test]
fn groups_are_found_by_path_and_nest() -> Result<()> {
    let mut inner = Named::new();
    inner.insert("day", Value::Scalar(0.5))?;
    inner.insert("night", Value::Scalar(f64::NEG_INFINITY))?;
    let mut outer = Named::new();
    outer.insert("ssim", Value::Group(Report::from(inner)))?;
    outer.insert("each", Value::PerImage(vec![1.0]))?;
    let mut values = Named::new();
    values.insert("val/all", Value::Group(Report::from(outer)))?;
    let report = Report::from(values);

    assert_eq!(report.scalar("val/all/ssim/day"), Some(0.5));
    assert_eq!(report.get("val/all/each"), Some(&Value::PerImage(vec![1.0])));
    for absent in ["val/all/ssim/dusk", "val/all/ssim/", "val/all/ssimday", "ssim/day", "val"] {
        assert_eq!(report.get(absent), None, "{absent}");
    }
    assert_eq!(
        report.get("val/all").map(|group| format!("{group:.1}")),
        Some("{ssim: {day: 0.5, night: -inf}, each: [1.0]}".into())
    );
    let expected = "\
metric                   value
val/all/ssim/day          0.50
val/all/ssim/night        -inf
val/all/each        (1 values)
";
    assert_eq!(format!("{report:.2}"), expected);

    let json = serde_json::to_string(&report).expect("a map");
    assert_eq!(json, r#"{"val/all":{"ssim":{"day":0.5,"night":"-inf"},"each":[1.0]}}"#);
    assert_eq!(serde_json::from_str::<Report>(&json).expect("a report"), report);
    Ok(())
}

#[test]
fn arrays_keep_their_shape() -> Result<()> {
    let mut values = Named::new();
    values.insert("matrix", Value::Array { shape: vec![2, 2], values: vec![1.0, f64::NAN, f64::INFINITY, -0.5] })?;
    let report = Report::from(values);
    assert_eq!(report.scalar("matrix"), None);
    assert_eq!(format!("{:.1}", report.get("matrix").expect("a value")), "[1.0, NaN, inf, -0.5]");
    assert_eq!(report.to_string(), "metric       value\nmatrix  (4 values)\n");
    let json = serde_json::to_string(&report).expect("a map");
    assert_eq!(json, r#"{"matrix":{"shape":[2,2],"values":[1.0,"NaN","inf",-0.5]}}"#);
    let report: Report = serde_json::from_str(&json).expect("a report");
    let Some(Value::Array { shape, values }) = report.get("matrix") else { panic!("no array") };
    assert_eq!((&shape[..], values[0], values[2..].to_vec()), (&[2, 2][..], 1.0, vec![f64::INFINITY, -0.5]));
    assert!(values[1].is_nan());
    Ok(())
}

#[test]
fn a_name_cannot_break_the_table() -> Result<()> {
    let mut values = Named::new();
    values.insert("two\nlines", Value::Scalar(1.0))?;
    values.insert("\u{1b}[31mred", Value::Scalar(2.0))?;
    let expected = "\
metric         value
two\\nlines       1.0
\\u{1b}[31mred    2.0
";
    assert_eq!(format!("{:.1}", Report::from(values)), expected);
    Ok(())
}

#[test]
fn quantiles_that_are_approximations_are_marked() -> Result<()> {
    let of = |images: u16| -> Result<Report> {
        let mut metrics = MetricCollection::new().with("mae", Mae::new(Reduction::Summary))?;
        let pred = batch(&(0..images).map(|i| 1.0 + f32::from(i).sqrt()).collect::<Vec<_>>());
        metrics.update(&pred, &zeros(&pred))?;
        metrics.compute()
    };
    let error = |report: &Report| match report.get("mae") {
        Some(Value::Summary(summary)) => summary.quantile_error,
        value => panic!("no summary: {value:?}"),
    };
    let (exact, approximate) = (of(1024)?, of(1025)?);
    assert_eq!(error(&exact), 0.0);
    assert!(!exact.to_string().contains('≈') && !format!("{}", exact.get("mae").expect("a value")).contains('≈'));
    assert!(error(&approximate) > 0.0 && error(&approximate) < 0.01, "{}", error(&approximate));
    // Median and the two quantiles, and nothing else.
    assert_eq!(approximate.to_string().matches('≈').count(), 3, "{approximate}");
    assert_eq!(format!("{}", approximate.get("mae").expect("a value")).matches('≈').count(), 3);
    Ok(())
}
