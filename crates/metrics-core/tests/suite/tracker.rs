//! Reports of many steps.

use metrics_core::{CheckpointError, Error, Named, Report, Result, Tracker, Value};

fn report(psnr: f64) -> Report {
    let mut values = Named::new();
    values.insert("psnr", Value::Scalar(psnr)).expect("a new name");
    values.insert("each", Value::PerImage(vec![psnr])).expect("a new name");
    Report::from(values)
}

fn tracker(values: &[(u64, f64)]) -> Result<Tracker> {
    let mut tracker = Tracker::new();
    values.iter().try_for_each(|&(step, psnr)| tracker.record(step, report(psnr)))?;
    Ok(tracker)
}

#[test]
fn the_best_step_is_never_nan() -> Result<()> {
    let tracker = tracker(&[(10, f64::NAN), (0, 20.0), (20, 31.0), (40, f64::NAN), (30, 31.0)])?;
    assert_eq!(tracker.best("psnr", true), Some((20, 31.0)));
    assert_eq!(tracker.best("psnr", false), Some((0, 20.0)));
    assert_eq!((tracker.best("ssim", true), tracker.best("each", true)), (None, None));
    assert_eq!(tracker.iter().map(|(step, _)| step).collect::<Vec<_>>(), [0, 10, 20, 30, 40]);
    assert_eq!((tracker.len(), tracker.get(30)), (5, Some(&report(31.0))));
    Ok(())
}

#[test]
fn only_nan_has_no_best() -> Result<()> {
    assert_eq!(tracker(&[(0, f64::NAN)])?.best("psnr", true), None);
    assert_eq!(tracker(&[(0, f64::NEG_INFINITY), (1, f64::NAN)])?.best("psnr", true), Some((0, f64::NEG_INFINITY)));
    Ok(())
}

#[test]
fn a_step_is_recorded_once() -> Result<()> {
    let mut ours = tracker(&[(0, 1.0), (2, 3.0)])?;
    let before = ours.clone();
    let error = ours.record(2, report(4.0)).unwrap_err();
    assert_eq!(error.to_string(), "Tracker: `step` is 2, but that is recorded already");
    assert!(ours.merge(&tracker(&[(1, 5.0), (2, 3.0)])?).is_err());
    assert_eq!(ours, before);
    ours.merge(&tracker(&[(1, 5.0), (3, 0.0)])?)?;
    assert_eq!(ours.best("psnr", true), Some((1, 5.0)));
    Ok(())
}

#[test]
fn files_keep_every_bit() -> Result<()> {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("tracker.json");
    let saved = tracker(&[(0, 0.1 + 0.2), (1, f64::INFINITY), (2, 5e-324), (u64::MAX, 1.0 / 3.0)])?;
    saved.save(&path)?;
    assert_eq!(Tracker::load(&path)?, saved);

    std::fs::write(&path, b"[[0,{}],[0,{}]]").expect("it is written");
    let Err(Error::Checkpoint { name, error: CheckpointError::Json { message } }) = Tracker::load(&path) else {
        panic!("it was loaded")
    };
    assert_eq!(name, format!("checkpoint `{}`", path.display()));
    assert!(message.starts_with("Tracker: `step` is 0, but that is recorded already"), "{message}");
    Ok(())
}

#[test]
fn many_steps_and_names_are_loaded_in_no_time() {
    let start = std::time::Instant::now();
    let steps: Vec<_> = (0..400_000).rev().map(|step| format!("[{step},{{}}]")).collect();
    let tracker: Tracker = serde_json::from_str(&format!("[{}]", steps.join(","))).expect("steps");
    assert_eq!((tracker.len(), tracker.iter().next().map(|(step, _)| step)), (400_000, Some(0)));
    let names: Vec<_> = (0..200_000).map(|name| format!("\"{name:020}\":1")).collect();
    let report: Report = serde_json::from_str(&format!("{{{}}}", names.join(","))).expect("a report");
    assert_eq!(report.len(), 200_000);
    let twice = serde_json::from_str::<Report>("{\"a\":1,\"b\":2,\"a\":3}").expect_err("a name is there twice");
    assert!(twice.to_string().starts_with("the name `a` is already taken"), "{twice}");
    // Each would take minutes if it were searched or moved for every one.
    assert!(start.elapsed() < std::time::Duration::from_secs(30), "{:?}", start.elapsed());
}
