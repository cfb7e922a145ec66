//! What metrics hold, and what grows.

use candle_core::{Device, Tensor};
use metrics_core::{EvalOnly, Growth, MemoryReport, Metric, MetricCollection, MinMax, Reduction, Result, Running};
use metrics_detach::{Finding, RetentionMonitor};

use crate::toy::{Mae, batch, zeros};

fn metrics() -> Result<MetricCollection> {
    MetricCollection::new().with("mean", Mae::new(Reduction::Mean))?.with("each", Mae::new(Reduction::None))
}

#[test]
fn a_report_has_a_row_for_each_metric() -> Result<()> {
    let mut metrics = metrics()?;
    let empty = metrics.memory();
    let pred = batch(&[0.5, 1.0, 1.5]);
    metrics.update(&pred, &zeros(&pred))?;
    let memory = metrics.memory();
    let rows: Vec<_> = memory.iter().map(|(name, metric)| (name, metric.queue_bytes, metric.growth)).collect();
    assert_eq!(rows, [("mean", 0, Growth::Constant), ("each", 0, Growth::PerImage)]);

    let bytes = |memory: &MemoryReport, name| memory.get(name).map(|metric| metric.state_bytes);
    let grown = |name| Some(bytes(&memory, name)? - bytes(&empty, name)?);
    assert_eq!((grown("mean"), grown("each"), grown("none")), (Some(0), Some(3 * 8), None));
    assert_eq!((memory.state_bytes(), memory.queue_bytes()), (metrics.state_bytes(), 0));
    Ok(())
}

#[test]
fn eval_only_says_that_nothing_tracks() -> Result<()> {
    let metric = Mae::new(Reduction::Mean);
    assert!(metrics()?.memory().values_may_track() && metric.memory().values_may_track());
    assert!(!metrics()?.eval_only().memory().values_may_track());
    let memory = EvalOnly::new(metric.clone()).memory();
    assert_ne!(memory, metric.memory());
    assert_eq!(
        memory.iter().map(|(name, m)| (name, m.state_bytes)).collect::<Vec<_>>(),
        [("mae", metric.state_bytes())]
    );
    Ok(())
}

#[test]
fn json_keeps_a_report_as_it_is() -> Result<()> {
    let kept = Tensor::new(&[1f32], &Device::Cpu)?;
    for memory in [metrics()?.memory(), metrics()?.eval_only().memory().with_kept([&kept]), MemoryReport::default()] {
        let json = serde_json::to_string(&memory).expect("an object");
        assert_eq!(serde_json::from_str::<MemoryReport>(&json).expect("a report"), memory);
    }
    Ok(())
}

#[test]
fn a_window_that_fills_is_no_leak() -> Result<()> {
    let running = || Running::new(Mae::new(Reduction::Summary), 100);
    let mut metrics = MetricCollection::new().with("of late", MinMax::new(running()?)?)?;
    let mut monitor = RetentionMonitor::new();
    let pred = batch(&[0.5, 1.0]);
    for _ in 0..150 {
        metrics.update(&pred, &zeros(&pred))?;
        assert_eq!(monitor.check(&metrics.memory()), []);
    }
    assert!(metrics.memory().to_string().contains("bounded"), "{}", metrics.memory());
    Ok(())
}

/// A report of a metric that keeps every value and says that it does not grow.
fn denied(metric: &dyn Metric) -> MemoryReport {
    let json = serde_json::to_string(&metric.memory()).expect("an object");
    assert!(json.contains("per_image"), "{json}");
    serde_json::from_str(&json.replace("per_image", "constant")).expect("a report")
}

/// What a monitor finds in 30 updates of a metric that keeps every value, and the monitor.
fn watch(
    mut monitor: RetentionMonitor,
    report: impl Fn(&dyn Metric) -> MemoryReport,
) -> Result<(Vec<Finding>, RetentionMonitor)> {
    let mut metric = Mae::new(Reduction::None);
    let pred = batch(&[0.5, 1.0]);
    let mut findings = Vec::new();
    for _ in 0..30 {
        metric.update(&pred, &zeros(&pred))?;
        findings.extend(monitor.check(&report(&metric)));
    }
    Ok((findings, monitor))
}

#[test]
fn a_state_that_grows_against_its_word_is_a_warning() -> Result<()> {
    let (findings, monitor) = watch(RetentionMonitor::new(), denied)?;
    let [Finding::State { rise }] = findings[..] else { panic!("{findings:?}") };
    // Two images of 8 bytes, from the first to the last of 8 checks.
    assert_eq!((rise.to - rise.from, rise.checks), (7 * 16, 8));
    assert!(monitor.has_warned() && monitor.to_string().starts_with("state grew from "), "{monitor}");
    let text = findings[0].to_string();
    assert!(text.starts_with("what should take constant memory grows: "), "{text}");
    Ok(())
}

#[test]
fn a_state_that_grows_by_design_is_told_once() -> Result<()> {
    let (findings, monitor) = watch(RetentionMonitor::new(), |metric| metric.memory())?;
    assert_eq!(findings, [Finding::PerImage { holders: vec!["mae".into()] }]);
    assert_eq!(findings[0].to_string(), "8 bytes an image are kept, as configured, by `mae`");
    assert!(!findings[0].is_warning() && !monitor.has_warned());
    assert_eq!(monitor.to_string(), "flat over 20 checks");
    Ok(())
}

#[test]
fn calls_between_the_checks_are_passed_over() -> Result<()> {
    let (findings, monitor) = watch(RetentionMonitor::new().every(3).warm_up(2), denied)?;
    // Ten checks, of which 8 count.
    assert_eq!((findings.len(), monitor.checks(), monitor.is_conclusive()), (1, 8, true));
    let (findings, monitor) = watch(RetentionMonitor::new().every(4).warm_up(2), denied)?;
    assert_eq!((findings, monitor.checks(), monitor.is_conclusive()), (vec![], 6, false));
    assert_eq!(monitor.to_string(), "too few checks to tell: 6 after the warm-up");
    Ok(())
}

#[test]
fn everything_that_has_a_state_can_be_checked() -> Result<()> {
    let metrics = metrics()?;
    let mut monitor = RetentionMonitor::new();
    for report in [
        metrics.memory(),
        metrics.get("mean").expect("a member").memory(),
        metrics.clone().eval_only().memory(),
        EvalOnly::new(Mae::new(Reduction::Mean)).memory(),
    ] {
        assert!(report.get("mean").or(report.get("mae")).is_some_and(|metric| metric.state_bytes > 0));
        monitor.check(&report);
    }
    monitor.check(&metrics.eval_only().memory());
    assert_eq!((monitor.checks(), monitor.is_conclusive()), (0, false));
    Ok(())
}
