//! Changed checkpoint files of every kind of metric: whatever a file claims, loading it gives an error and changes nothing, or it
//! gives a state with which everything works. `METRICS_MUTATIONS` says how many files; docs/robustness.md says how many there were.

mod file;
mod subjects;

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use candle_core::Tensor;
use metrics_core::{Checkpoint, CheckpointError, Error, Metric, Samples};

use file::{File, Random};
use subjects::{Subject, samples};

/// A few seconds.
const FILES: u64 = 4000;

/// More than all files, states and images of this test together.
const MEMORY: usize = 48 << 20;

/// No case takes as long, however slow the machine.
const CASE: Duration = Duration::from_secs(20);

#[test]
fn changed_files_are_refused_or_work() -> Result<()> {
    let files = std::env::var("METRICS_MUTATIONS").map_or(Ok(FILES), |files| files.parse())?;
    let subjects = subjects::all()?;
    let valid: Vec<File> = subjects.iter().map(|subject| File::of(&subject.bytes)).collect::<Result<_>>()?;
    // What the first use of each takes once.
    for subject in &subjects {
        ensure!(is_loaded(subject, &subject.bytes)?, "{:?} does not load what it saved", subject.metric);
    }
    let before = peak_bytes();
    let (mut loaded, mut summed) = (0, 0);
    for case in 0..files {
        let mut random = Random(case);
        let index = random.below(subjects.len());
        let mut bytes = file::changed(&valid, index, &mut random);
        if case % 2 == 0 {
            summed += u64::from(with_its_checksum(&mut bytes));
        }
        let start = Instant::now();
        let outcome = catch_unwind(AssertUnwindSafe(|| is_loaded(&subjects[index], &bytes)));
        let of_case = || format!("file {case}, of {:?}", subjects[index].metric);
        let outcome = outcome.map_err(|_| anyhow::anyhow!("a panic")).with_context(of_case)?;
        loaded += u64::from(outcome.with_context(of_case)?);
        ensure!(start.elapsed() < CASE, "{} took {:?}", of_case(), start.elapsed());
    }
    println!("of {files} files, {summed} got a checksum of their own, and {loaded} were loaded");
    // Neither all refused nor all taken, or nothing was tested.
    ensure!(files < 100 || (loaded > files / 50 && loaded < files * 4 / 5 && summed > files / 5));
    if let (Some(before), Some(after)) = (before, peak_bytes()) {
        ensure!(after < before + MEMORY, "from {before} to {after} bytes");
    }
    Ok(())
}

/// Gives changed bytes the checksum that they should have; whether they were such that it came to that.
fn with_its_checksum(bytes: &mut [u8]) -> bool {
    let Err(Error::Checkpoint { error: CheckpointError::Checksum { found, expected }, .. }) =
        Checkpoint::from_bytes(bytes)
    else {
        return false;
    };
    let at = bytes.windows(expected.len().max(1)).position(|window| window == expected.as_bytes());
    match at {
        Some(at) if expected.len() == found.len() => {
            bytes[at..at + found.len()].copy_from_slice(found.as_bytes());
            true
        }
        _ => false,
    }
}

/// Loads the file and does everything that can be done with what was loaded.
fn is_loaded(Subject { metric, batch, .. }: &Subject, bytes: &[u8]) -> Result<bool> {
    let mut loaded = metric.clone();
    let before = saved(&*loaded)?;
    let outcome = Checkpoint::from_bytes(bytes).and_then(|checkpoint| loaded.load_state(&checkpoint));
    if let Err(error) = outcome {
        ensure!(matches!(error, Error::Checkpoint { .. }) && !error.to_string().is_empty(), "{error}");
        ensure!(saved(&*loaded)? == before, "an error has changed the state");
        return Ok(false);
    }
    works(loaded.clone(), batch)?;
    let mut twice = loaded.clone();
    let merged = twice.merge(&*loaded);
    unless(merged.is_err(), || works(twice, batch))?;
    let mut into_valid = metric.clone();
    let merged = into_valid.merge(&*loaded);
    unless(merged.is_err(), || works(into_valid, batch))?;
    loaded.reset();
    let mut fresh = metric.clone();
    fresh.reset();
    ensure!(saved(&*loaded)? == saved(&*fresh)?, "a reset has left something");
    Ok(true)
}

fn unless(failed: bool, then: impl FnOnce() -> Result<()>) -> Result<()> {
    if failed { Ok(()) } else { then() }
}

fn works(mut metric: Box<dyn Metric>, [pred, target]: &[Tensor; 2]) -> Result<()> {
    round_trips(metric.clone())?;
    let _ = (metric.compute(), metric.state_bytes(), metric.memory().to_string());
    // Whether it is taken or refused.
    let _ = metric.update_with(&samples(pred, target));
    let _ = metric.update_with(&samples(pred, target).weights(&[0.0, 2.5]));
    let _ = metric.update_with(&Samples::new(pred, target).weights(&[0.0, 2.5]));
    let _ = metric.forward(pred, target);
    if let Ok(value) = metric.compute() {
        let _ = (format!("{value}"), serde_json::to_string(&value)?);
    }
    round_trips(metric)
}

/// What is saved can be loaded, and is the same then.
fn round_trips(mut metric: Box<dyn Metric>) -> Result<()> {
    let bytes = saved(&*metric)?;
    metric.reset();
    metric.load_state(&Checkpoint::from_bytes(&bytes)?)?;
    ensure!(saved(&*metric)? == bytes, "it is not the same once it is loaded");
    Ok(())
}

fn saved(metric: &dyn Metric) -> Result<Vec<u8>> {
    Ok(metric.save_state()?.to_bytes()?)
}

/// The most memory that the process has had, where the system tells.
fn peak_bytes() -> Option<usize> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    Some(line.trim_end_matches("kB").trim().parse::<usize>().ok()? * 1024)
}
