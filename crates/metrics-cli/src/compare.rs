//! `image-metrics compare`.

use std::io::{self, Write};
use std::ops::ControlFlow;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use anyhow::{Context, Result};
use candle_core::Device;
use indicatif::ProgressBar;

use crate::args::{Color, CompareArgs, RunArgs, Usage};
use crate::draw::{Gathered, Maps};
use crate::fail_under;
use crate::load::Reading;
use crate::metrics::Scorer;
use crate::output::{Format, Line, Output};
use crate::pairs::{self, Pair};
use crate::progress;
use crate::resume::{Identity, Resume};
use crate::score::{self, Outcome, Time, Work};
use crate::tally::{Tally, Total};

/// The shell's code for a program that Ctrl-C ended.
const INTERRUPTED: u8 = 130;

pub(crate) fn run(args: &CompareArgs) -> Result<ExitCode> {
    let scorer = Scorer::new(&args.metrics, open_device(&args.run)?)?;
    fail_under::check(&args.output.fail_under, scorer.columns())?;
    let pairs = pairs::list(&args.pairs)?;
    if pairs.is_empty() {
        anyhow::bail!("there are no images in {}", args.pairs.reference.display());
    }
    let mut run = Run::new(args, &scorer, &pairs)?;
    let stop = interruption()?;
    run.refuse_lost_pairs();
    let compared = run.compare(&stop);
    run.end(compared, stop.load(Ordering::Relaxed))
}

fn open_device(args: &RunArgs) -> Result<Device> {
    let say = |line: &str| {
        if !args.quiet {
            let _ = writeln!(io::stderr(), "note: {line}");
        }
    };
    // A device that this build or this machine does not have is an argument that is wrong here.
    args.device.open(say).map_err(|error| Usage(error.to_string()).into())
}

/// A comparison under way.
struct Run<'a> {
    args: &'a CompareArgs,
    scorer: &'a Scorer,
    pairs: &'a [Pair],
    tally: Tally,
    output: Output<'a>,
    resume: Option<Resume>,
    progress: ProgressBar,
    time: Time,
    maps: Option<Maps>,
    /// What `--report` needs.
    gathered: Option<Gathered>,
    /// What the first failure was, without `--keep-going`.
    failure: Option<(String, String)>,
}

impl<'a> Run<'a> {
    fn new(args: &'a CompareArgs, scorer: &'a Scorer, pairs: &'a [Pair]) -> Result<Self> {
        let resume = args.run.resume.as_deref().map(|path| Resume::new(path, identity(args, scorer, pairs)));
        let earlier = resume.as_ref().map(|resume| resume.load(scorer)).transpose()?.flatten();
        let (tally, kept) = match earlier {
            Some((tally, written)) => (tally, Some(written)),
            None => (Tally::new(scorer), None),
        };
        let maps = args.output.maps.as_deref().map(|folder| Maps::new(folder, args, pairs)).transpose()?;
        let gathered = args.output.report.as_ref().map(|_| Gathered::new(scorer.columns()));
        let output = Output::open(&args.output, scorer.columns(), kept)?;
        let progress = progress::bar(pairs.len() as u64, tally.counts.done, args.run.quiet);
        let (time, failure) = (Time::default(), None);
        Ok(Self { args, scorer, pairs, tally, output, resume, progress, time, maps, gathered, failure })
    }

    /// Says at once which pairs cannot be, instead of after hours of work.
    fn refuse_lost_pairs(&mut self) {
        if self.args.run.keep_going {
            return;
        }
        let left = self.left();
        let lost: Vec<_> = left.iter().filter_map(|pair| Some((pair, pair.files.as_ref().err()?))).collect();
        let Some(((pair, error), others)) = lost.split_last() else { return };
        for (_, error) in others {
            self.say("error", error);
        }
        self.failure = Some((pair.name.clone(), (*error).clone()));
    }

    /// The pairs that no earlier run has done.
    fn left(&self) -> &'a [Pair] {
        let done = usize::try_from(self.tally.counts.done).unwrap_or(usize::MAX);
        self.pairs.get(done..).unwrap_or_default()
    }

    fn compare(&mut self, stop: &AtomicBool) -> Result<()> {
        if self.failure.is_some() {
            return Ok(());
        }
        score::quieten_panics();
        let (time, maps) = (std::mem::take(&mut self.time), self.maps.take());
        let jobs =
            self.args.run.jobs.map_or_else(|| thread::available_parallelism().map_or(1, usize::from), usize::from);
        let reading = reading(self.args);
        let mismatch = self.args.reading.resize_mismatch;
        let (scorer, maps) = (self.scorer.clone(), maps.as_ref());
        let work = Work { scorer, reading: &reading, mismatch, stop, time: &time, maps };
        let result = work.run(self.left(), jobs, |pair, outcome| self.take(pair, outcome));
        self.time = time;
        result
    }

    /// Adds what became of the next pair.
    fn take(&mut self, pair: &Pair, outcome: Outcome) -> Result<ControlFlow<()>> {
        if let Some(gathered) = &mut self.gathered {
            let values = if let Outcome::Scored(scores) = &outcome { &scores.values[..] } else { &[] };
            gathered.add(values, self.scorer.columns());
        }
        match outcome {
            Outcome::Scored(scores) => {
                self.output.pair(&pair.name, Line::Scores(&scores.values))?;
                self.tally.add(&pair.name, &scores, self.scorer.columns())?;
            }
            Outcome::Skipped(reason) => {
                self.say("note", &format!("left out: {reason}"));
                self.output.pair(&pair.name, Line::Error(&reason))?;
                self.tally.skip();
            }
            Outcome::Failed(error) if self.args.run.keep_going => {
                self.say("error", &error);
                self.output.pair(&pair.name, Line::Error(&error))?;
                self.tally.fail(&pair.name, error);
            }
            // It is not done: who repairs the file can resume with it.
            Outcome::Failed(error) => {
                self.failure = Some((pair.name.clone(), error));
                return Ok(ControlFlow::Break(()));
            }
        }
        self.progress.inc(1);
        if self.resume.as_ref().is_some_and(Resume::is_due) {
            self.save()?;
        }
        Ok(ControlFlow::Continue(()))
    }

    fn save(&mut self) -> Result<()> {
        let Some(resume) = &mut self.resume else { return Ok(()) };
        // Pairs whose lines are lost are not done.
        if self.output.is_broken() {
            return Ok(());
        }
        self.output.flush()?;
        resume.save(&self.tally, self.output.written())
    }

    /// Saves and prints what there is, whatever has happened.
    fn end(mut self, compared: Result<()>, interrupted: bool) -> Result<ExitCode> {
        self.progress.finish_and_clear();
        let saved = self.save();
        let failure = self.failure.take();
        if let Some((name, error)) = &failure {
            self.output.pair(name, Line::Error(error))?;
            self.tally.fail(name, error.clone());
        }
        let totals = self.tally.totals(self.scorer.columns())?;
        let printed = self.output.summary(&self.tally, &totals, self.pairs.len());
        let drawn = self.write_report(&totals);
        // Of several errors the first to happen tells most, and the others are told too.
        for error in [saved, printed, drawn].into_iter().filter_map(Result::err) {
            if compared.is_ok() {
                return Err(error);
            }
            self.say("error", &format!("{error:#}"));
        }
        compared?;
        self.notes(interrupted);
        if let Some((_, error)) = failure {
            anyhow::bail!(error);
        }
        if interrupted && !self.left().is_empty() {
            return Ok(ExitCode::from(INTERRUPTED));
        }
        let broken = fail_under::broken(&self.args.output.fail_under, self.scorer.columns(), &totals);
        broken.iter().for_each(|line| self.say("error", line));
        let fine = broken.is_empty() && self.tally.counts.failed == 0;
        Ok(if fine { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }

    fn write_report(&mut self, totals: &[Option<Total>]) -> Result<()> {
        let (Some(path), Some(gathered)) = (&self.args.output.report, self.gathered.take()) else { return Ok(()) };
        let (reading, columns) = (reading(self.args), self.scorer.columns());
        gathered.write(path, self.args, self.pairs, &reading, columns, (totals, &self.tally.counts))
    }

    fn notes(&self, interrupted: bool) {
        let (counts, pairs) = (&self.tally.counts, self.pairs.len());
        if counts.small > 0 {
            let (what, why) = (of_pairs(counts.small, counts.scored), self.scorer.too_small());
            self.say("note", &format!("ms_ssim is left out{what}: {why}"));
        }
        if counts.failed > 0 && self.args.run.keep_going {
            self.say("note", &format!("{} of {pairs} pairs could not be compared", counts.failed));
        }
        if interrupted && !self.left().is_empty() {
            self.say("note", &format!("interrupted after {} of {pairs} pairs", counts.done));
        }
        if self.args.run.timing {
            let seconds = |nanoseconds: u64| nanoseconds as f64 * 1e-9;
            let (loading, scoring) =
                (self.time.loading.load(Ordering::Relaxed), self.time.scoring.load(Ordering::Relaxed));
            let line = format!("{:.3} s of loading, {:.3} s of scoring", seconds(loading), seconds(scoring));
            self.say("note", &line);
        }
    }

    /// A line on standard error, above the bar; `--quiet` leaves errors.
    fn say(&self, kind: &str, line: &str) {
        if kind == "note" && self.args.run.quiet {
            return;
        }
        self.progress.suspend(|| {
            // There is nowhere left to say that standard error is gone.
            let _ = writeln!(io::stderr(), "{kind}: {}", line.replace('\n', " "));
        });
    }
}

fn of_pairs(some: u64, all: u64) -> String {
    if all == 1 { String::new() } else { format!(" of {some} of {all} pairs") }
}

fn reading(args: &CompareArgs) -> Reading {
    Reading {
        alpha: args.reading.alpha,
        data_range: args.metrics.data_range,
        max_pixels: args.reading.max_pixels,
        always_rgb: args.metrics.color != Color::Rgb,
    }
}

fn identity(args: &CompareArgs, scorer: &Scorer, pairs: &[Pair]) -> Identity {
    let format = Format::of(&args.output);
    let (reading, mismatch) = (reading(args), args.reading.resize_mismatch);
    let options = format!("{} {reading:?} {mismatch:?} {format:?}", scorer.fingerprint());
    Identity { pairs: pairs.len() as u64, list: pairs::fingerprint(pairs), options }
}

/// Becomes true at Ctrl-C. A second one ends the program at once.
fn interruption() -> Result<Arc<AtomicBool>> {
    let stop = Arc::new(AtomicBool::new(false));
    let flag = Arc::clone(&stop);
    let handler = move || {
        if flag.swap(true, Ordering::Relaxed) {
            std::process::exit(INTERRUPTED.into());
        }
    };
    ctrlc::set_handler(handler).context("cannot listen for Ctrl-C")?;
    Ok(stop)
}
