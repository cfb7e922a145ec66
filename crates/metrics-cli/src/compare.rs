//! `image-metrics compare`.

use std::ops::ControlFlow;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use anyhow::{Context, Result};
use candle_core::Device;

use crate::args::{Color, CompareArgs, OutputArgs, RunArgs, Usage};
use crate::draw::{Gathered, Maps};
use crate::fail_under;
use crate::identity::Identity;
use crate::line;
use crate::load::{Budget, Reading};
use crate::metrics::Scorer;
use crate::output::{Line, Output};
use crate::pairs::{self, List, Pair, PassedOver};
use crate::progress::Progress;
use crate::ranks;
use crate::resume::{Begun, Resume};
use crate::score::{self, Outcome, Time, Work};
use crate::tally::{Tally, Total};
use crate::targets;

/// The shell's code for a program that Ctrl-C ended.
pub(crate) const INTERRUPTED: u8 = 130;

pub(crate) fn run(args: &CompareArgs) -> Result<ExitCode> {
    if args.run.mpi {
        return ranks::run(args);
    }
    let (scorer, list) = prepare(args)?;
    targets::check(args, &list.pairs, args.run.resume.as_slice())?;
    let mut run = Run::new(args, &scorer, &list)?;
    let stop = interruption()?;
    run.refuse_lost_pairs();
    let compared = run.compare(&stop);
    run.end(compared, stop.load(Ordering::Relaxed))
}

fn open_device(args: &RunArgs) -> Result<Device> {
    let progress = Progress::hidden(args.quiet);
    // A device that this build or this machine does not have is an argument that is wrong here.
    args.device.open(|line| progress.note(line)).map_err(|error| Usage(error.to_string()).into())
}

/// What is to be measured, and of which pairs.
pub(crate) fn prepare(args: &CompareArgs) -> Result<(Scorer, List)> {
    let scorer = Scorer::new(&args.metrics, open_device(&args.run)?)?;
    fail_under::check(&args.output.fail_under, scorer.columns())?;
    Ok((scorer, pairs::list(&args.pairs)?))
}

/// A comparison under way.
pub(crate) struct Run<'a> {
    args: &'a CompareArgs,
    scorer: &'a Scorer,
    pub(crate) pairs: &'a [Pair],
    /// Of folders, what else is in them.
    passed_over: Option<&'a PassedOver>,
    pub(crate) tally: Tally,
    output: Output<'a>,
    resume: Option<Resume>,
    progress: Progress,
    pub(crate) time: Time,
    maps: Option<Maps>,
    /// What `--report` needs.
    gathered: Option<Gathered>,
    /// What the first failure was, without `--keep-going`.
    failure: Option<(String, String)>,
}

impl<'a> Run<'a> {
    pub(crate) fn new(args: &'a CompareArgs, scorer: &'a Scorer, list: &'a List) -> Result<Self> {
        let pairs = &list.pairs;
        let maps = args.output.maps.as_deref().map(|folder| Maps::new(folder, args, pairs)).transpose()?;
        let identity = || Identity::new(args, scorer, pairs).with_outputs(&args.output);
        let begun = Begun::load(args.run.resume.as_deref(), scorer, identity)?;
        targets::make_folder(&args.output)?; // where the other files may be too
        targets::check_writable(&args.output, begun.kept)?;
        begun.check()?;
        // Whatever is refused is refused before here, and all files are as they were.
        let output = Output::open(&args.output, scorer.columns(), begun.kept)?;
        let (resume, tally) = begun.save()?;
        let progress = Progress::of_pairs(pairs.len() as u64, tally.counts.done, args.run.quiet);
        let passed_over = list.passed_over.as_ref();
        Ok(Self { maps, resume, progress, passed_over, ..Self::bare(args, scorer, pairs, tally, output) })
    }

    /// What rank 0 makes of the parts of all.
    pub(crate) fn whole(args: &'a CompareArgs, scorer: &'a Scorer, list: &'a List) -> Result<Self> {
        let output = Output::open(&args.output, scorer.columns(), None)?;
        let passed_over = list.passed_over.as_ref();
        Ok(Self { passed_over, ..Self::bare(args, scorer, &list.pairs, Tally::new(scorer), output) })
    }

    /// One rank's part: of all pairs its own, and what it had done earlier. It says nothing of pairs, which rank 0 does.
    pub(crate) fn part(
        args: &'a CompareArgs,
        scorer: &'a Scorer,
        (pairs, own): (&[Pair], &'a [Pair]),
        output: Output<'a>,
        (resume, tally): (Option<Resume>, Tally),
        rank: usize,
    ) -> Result<Self> {
        let maps = args.output.maps.as_deref().map(|folder| Maps::new(folder, args, pairs)).transpose()?;
        let progress = Progress::of_rank(rank, args.run.quiet);
        Ok(Self { maps, resume, progress, gathered: None, ..Self::bare(args, scorer, own, tally, output) })
    }

    fn bare(args: &'a CompareArgs, scorer: &'a Scorer, pairs: &'a [Pair], tally: Tally, output: Output<'a>) -> Self {
        let gathered = args.output.report.as_ref().map(|_| Gathered::new(scorer.columns()));
        let (time, progress) = (Time::default(), Progress::hidden(args.run.quiet));
        let (resume, maps, failure, passed_over) = (None, None, None, None);
        Self { args, scorer, pairs, passed_over, tally, output, resume, progress, time, maps, gathered, failure }
    }

    /// Says at once which pairs cannot be, instead of after hours of work.
    pub(crate) fn refuse_lost_pairs(&mut self) {
        if !self.args.run.keep_going {
            self.refuse(self.left());
        }
    }

    /// Refuses those that cannot be.
    pub(crate) fn refuse<'b>(&mut self, pairs: impl IntoIterator<Item = &'b Pair>) {
        let lost = pairs.into_iter().filter_map(|pair| Some((pair, pair.files.as_ref().err()?)));
        let lost: Vec<_> = lost.collect();
        let Some(((pair, error), others)) = lost.split_last() else { return };
        for (_, error) in others {
            self.progress.error(error);
        }
        self.failure = Some((pair.name.clone(), (*error).clone()));
    }

    /// The pairs that no earlier run has done.
    fn left(&self) -> &'a [Pair] {
        let done = usize::try_from(self.tally.counts.done).unwrap_or(usize::MAX);
        self.pairs.get(done..).unwrap_or_default()
    }

    pub(crate) fn compare(&mut self, stop: &AtomicBool) -> Result<()> {
        if self.failure.is_some() {
            return Ok(());
        }
        score::quieten_panics();
        let (time, maps) = (std::mem::take(&mut self.time), self.maps.take());
        let jobs =
            self.args.run.jobs.map_or_else(|| thread::available_parallelism().map_or(1, usize::from), usize::from);
        let reading = reading(self.args, self.scorer);
        let mismatch = self.args.reading.resize_mismatch;
        let (scorer, maps) = (self.scorer.clone(), maps.as_ref());
        let work = Work { scorer, reading: &reading, mismatch, stop, time: &time, maps };
        let result = work.run(self.left(), jobs, |pair, outcome| self.take(pair, outcome));
        self.time = time;
        result
    }

    /// Adds what became of the next pair.
    fn take(&mut self, pair: &Pair, outcome: Outcome) -> Result<ControlFlow<()>> {
        // Before the pair is counted and its line written: what is saved after an error is then without it.
        if let Outcome::Scored(scores) = &outcome {
            self.tally.accumulated.merge(&scores.accumulated)?;
        }
        if self.note(pair, outcome.line())?.is_break() || self.is_unread() {
            return Ok(ControlFlow::Break(()));
        }
        self.progress.step(self.tally.counts.done, self.pairs.len());
        if self.resume.as_ref().is_some_and(Resume::is_due) {
            self.save()?;
        }
        Ok(ControlFlow::Continue(()))
    }

    /// Whether nobody reads the numbers any more, and nothing else was asked for.
    fn is_unread(&self) -> bool {
        let OutputArgs { report, maps, fail_under, .. } = &self.args.output;
        self.output.is_closed() && report.is_none() && maps.is_none() && fail_under.is_empty()
    }

    /// Writes and counts what became of the next pair, unless it ends the run.
    fn note(&mut self, pair: &Pair, line: Line) -> Result<ControlFlow<()>> {
        if let (Line::Failed(error), false) = (line, self.args.run.keep_going) {
            // It is not done: who repairs the file can resume with it.
            self.failure = Some((pair.name.clone(), error.into()));
            return Ok(ControlFlow::Break(()));
        }
        self.note_done(pair, line)?;
        Ok(ControlFlow::Continue(()))
    }

    /// Writes and counts what became of the next pair.
    pub(crate) fn note_done(&mut self, pair: &Pair, line: Line) -> Result<()> {
        if let Some(gathered) = &mut self.gathered {
            let scores = if let Line::Scores(scores) = line { Some(scores) } else { None };
            gathered.add(scores, self.scorer.columns());
        }
        match line {
            Line::Scores(scores) => scores.undrawn.iter().for_each(|error| self.progress.error_of_pair(error)),
            Line::Skipped(reason) => self.progress.note_of_pair(&format!("left out: {reason}")),
            Line::Failed(error) => self.progress.error_of_pair(error),
        }
        self.output.pair(&pair.name, line)?;
        match line {
            Line::Scores(scores) => self.tally.score(&pair.name, scores, self.scorer.columns()),
            Line::Skipped(_) => self.tally.skip(),
            Line::Failed(error) => self.tally.fail(&pair.name, error.into()),
        }
        Ok(())
    }

    pub(crate) fn save(&mut self) -> Result<()> {
        let Some(resume) = &mut self.resume else { return Ok(()) };
        // Pairs whose lines are lost are not done.
        if self.output.is_broken() {
            return Ok(());
        }
        self.output.flush()?;
        resume.save(&self.tally, self.output.written())
    }

    pub(crate) fn flush(&mut self) -> Result<()> {
        self.output.flush()
    }

    /// Why a pair could not be compared, without `--keep-going`.
    pub(crate) fn take_failure(&mut self) -> Option<String> {
        self.failure.take().map(|(_, error)| error)
    }

    /// How many pairs are done, and of how many.
    pub(crate) fn done(&self) -> (u64, usize) {
        (self.tally.counts.done, self.pairs.len())
    }

    /// Saves and prints what there is, whatever has happened.
    pub(crate) fn end(mut self, compared: Result<()>, interrupted: bool) -> Result<ExitCode> {
        self.progress.end();
        let saved = self.save();
        let failure = self.failure.take();
        if let Some((name, error)) = &failure {
            self.output.pair(name, Line::Failed(error))?;
            self.tally.fail(name, error.clone());
        }
        let totals = self.tally.totals(self.scorer.columns())?;
        let printed = self.output.summary(&self.tally, &totals, (self.pairs.len(), self.passed_over));
        let drawn = self.write_report(&totals);
        // Of several errors the first to happen tells most, and the others are told too.
        for error in [saved, printed, drawn].into_iter().filter_map(Result::err) {
            if compared.is_ok() {
                return Err(error);
            }
            self.progress.error(&line::of_error(&error));
        }
        compared?;
        if self.is_unread() && failure.is_none() {
            return Ok(if self.tally.counts.failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE });
        }
        self.notes(interrupted);
        if let Some((_, error)) = failure {
            anyhow::bail!(error);
        }
        if interrupted && !self.left().is_empty() {
            return Ok(ExitCode::from(INTERRUPTED));
        }
        let broken = fail_under::broken(&self.args.output.fail_under, self.scorer.columns(), &totals);
        broken.iter().for_each(|line| self.progress.error(line));
        let counts = &self.tally.counts;
        let fine = broken.is_empty() && counts.failed == 0 && counts.undrawn == 0;
        Ok(if fine { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }

    fn write_report(&mut self, totals: &[Option<Total>]) -> Result<()> {
        let (Some(path), Some(gathered)) = (&self.args.output.report, self.gathered.take()) else { return Ok(()) };
        let (reading, columns) = (reading(self.args, self.scorer), self.scorer.columns());
        let found = (totals, &self.tally.counts, self.passed_over);
        gathered.write(path, self.args, self.pairs, &reading, columns, found)
    }

    fn note_nan(&self) {
        let counts = &self.tally.counts;
        for ((column, &count), worst) in self.scorer.columns().iter().zip(&counts.nan).zip(&counts.worst) {
            // Nothing is worse than NaN, so the worst is the first that is.
            if let (1.., Some(worst)) = (count, worst) {
                self.progress.note(&format!("{} is NaN for {}", column.name, some_pairs(count, &worst.pair)));
            }
        }
    }

    fn notes(&self, interrupted: bool) {
        let (counts, pairs) = (&self.tally.counts, self.pairs.len());
        if let Some(passed_over) = self.passed_over.filter(|passed_over| passed_over.is_notable()) {
            self.progress.note(&passed_over.to_string());
        }
        let columns = self.scorer.columns();
        for (index, (column, &small)) in columns.iter().zip(&counts.small).enumerate() {
            // The channels of a metric are equally small.
            if small > 0 && columns[..index].iter().all(|before| before.kind != column.kind) {
                let (what, why) = (of_pairs(small, counts.scored), self.scorer.too_small(column.kind));
                self.progress.note(&format!("{} is left out{what}: {why}", column.kind.name()));
            }
        }
        self.note_nan();
        if counts.scored == 0 && counts.failed == 0 && counts.skipped > 0 {
            self.progress.note("no pair was compared: all were left out");
        }
        if counts.failed > 0 && self.args.run.keep_going {
            self.progress.note(&format!("{} of {pairs} pairs could not be compared", counts.failed));
        }
        if interrupted && !self.left().is_empty() {
            self.progress.note(&format!("interrupted after {} of {pairs} pairs", counts.done));
        }
        if self.args.run.timing {
            let seconds = |nanoseconds: u64| nanoseconds as f64 * 1e-9;
            let (loading, scoring) =
                (self.time.loading.load(Ordering::Relaxed), self.time.scoring.load(Ordering::Relaxed));
            let line = format!("{:.3} s of loading, {:.3} s of scoring", seconds(loading), seconds(scoring));
            self.progress.note(&line);
        }
    }
}

/// How many pairs, and one of them.
fn some_pairs(count: u64, first: &str) -> String {
    if count == 1 { format!("1 pair: {first}") } else { format!("{count} pairs, first {first}") }
}

fn of_pairs(some: u64, all: u64) -> String {
    if all == 1 { String::new() } else { format!(" of {some} of {all} pairs") }
}

fn reading(args: &CompareArgs, scorer: &Scorer) -> Reading {
    Reading {
        alpha: args.reading.alpha,
        data_range: args.metrics.data_range,
        max_pixels: args.reading.max_pixels,
        always_rgb: args.metrics.color != Color::Rgb,
        wide: scorer.has_f64(),
        memory: args.reading.max_memory.map_or_else(Budget::of_free_memory, |mebibytes| Budget::new(mebibytes << 20)),
    }
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

#[cfg(test)]
mod tests {
    use candle_core::{DType, Tensor};
    use clap::Parser;
    use tempfile::TempDir;

    use super::*;
    use crate::args::{Cli, Command};

    fn arguments(words: &[&str]) -> Result<CompareArgs> {
        match Cli::try_parse_from(["image-metrics", "compare", "a", "b"].iter().chain(words))?.command {
            Command::Compare(args) => Ok(*args),
            _ => anyhow::bail!("another command"),
        }
    }

    #[test]
    fn a_pair_that_cannot_be_merged_is_not_counted() -> Result<()> {
        let folder = TempDir::new()?;
        let [out, progress] = ["out", "progress"].map(|name| folder.path().join(name).display().to_string());
        let args = arguments(&["--csv", "--color", "per-channel", "--output", &out, "--resume", &progress])?;
        let scorer = Scorer::new(&args.metrics, Device::Cpu)?;
        let pair = Pair { name: "a".into(), files: Err(String::new()) };
        let list = List::from(vec![pair.clone(), pair.clone()]);
        let mut run = Run::new(&args, &scorer, &list)?;
        let image = Tensor::ones((1, 3, 16, 16), DType::F32, &Device::Cpu)?;
        assert!(run.take(&pair, Outcome::Scored(scorer.score_images(&image, &image)?))?.is_continue());
        run.save()?;
        let before = (run.tally.counts.clone(), run.tally.accumulated.to_bytes()?, run.output.written());

        // Those of another configuration do not add up with these; its first channels would.
        let mut other = scorer.score_images(&image, &image)?;
        other.accumulated.spoil_last(&Scorer::new(&arguments(&["--crop-border", "1"])?.metrics, Device::Cpu)?);
        assert!(run.take(&pair, Outcome::Scored(other)).is_err());
        assert!((run.tally.counts.clone(), run.tally.accumulated.to_bytes()?, run.output.written()) == before);
        run.save()?;
        let begun = Begun::load(Some(progress.as_ref()), &scorer, || {
            Identity::new(&args, &scorer, &list.pairs).with_outputs(&args.output)
        })?;
        assert_eq!((begun.kept, begun.save()?.1.counts.done), (Some(before.2), 1));
        Ok(())
    }
}
