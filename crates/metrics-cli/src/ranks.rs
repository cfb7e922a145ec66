//! `--mpi`: one comparison by many processes.
//!
//! Pairs are dealt to the ranks in turn. Each rank works on its own as a whole run does, with a file of rows for output and a file to
//! resume from; what the metrics have seen is synced at the end, and rank 0 goes through the rows of all in the order of the list.

mod engine;
mod signals;

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::atomic::Ordering;

use anyhow::{Context, Result, bail};
use metrics_core::Collective;
use tempfile::TempPath;

use crate::args::{CompareArgs, Usage};
use crate::compare::{INTERRUPTED, Run, prepare};
use crate::identity::Identity;
use crate::line;
use crate::metrics::Scorer;
use crate::output::Output;
use crate::pairs::{List, Pair};
use crate::resume::Begun;
use crate::rows;
use crate::targets;
use signals::{Interrupted, Signals};

pub(crate) fn run(args: &CompareArgs) -> Result<ExitCode> {
    let mut engine = engine::start()?;
    let (rank, world_size) = (engine.rank(), engine.world_size());
    let signals = Signals::listen(rank)?;
    compare(args, &mut engine, &signals).map_err(|error| {
        if world_size == 1 && !error.is::<Interrupted>() {
            return error;
        }
        // The others wait for this rank, or would: only all can end.
        let _ = writeln!(io::stderr(), "error: rank {rank}: {}", line::escaped(&line::of_error(&error)));
        engine::abort(&engine, if error.is::<Interrupted>() { INTERRUPTED } else { 1 })
    })
}

/// An error is of this rank alone; what all know, rank 0 has said.
pub(crate) fn compare(args: &CompareArgs, ranks: &mut dyn Collective, signals: &Signals) -> Result<ExitCode> {
    let listed = list(args, ranks.world_size());
    let listed = match agree(ranks, listed)? {
        Ok(listed) => listed,
        Err(code) => return Ok(code),
    };
    let (scorer, listed) = &listed;
    let pairs = &listed.pairs;
    if let Err(code) = agree_on_list(ranks, &Identity::new(args, scorer, pairs))? {
        return Ok(code);
    }
    let own: Vec<_> = pairs.iter().skip(ranks.rank()).step_by(ranks.world_size()).cloned().collect();
    let begun = begin(args, scorer, pairs, own.len(), (ranks.rank(), ranks.world_size()));
    // Only what all ranks can go on from is opened to be written.
    let begun = match agree(ranks, begun)? {
        Ok(begun) => begun,
        Err(code) => return Ok(code),
    };
    let start = || {
        let whole = (ranks.rank() == 0).then(|| Run::whole(args, scorer, listed)).transpose()?;
        Ok((whole, Part::new(args, scorer, (pairs, &own), begun, ranks.rank())?))
    };
    let started = start();
    let (mut whole, mut part) = match agree(ranks, started)? {
        Ok(started) => started,
        Err(code) => return Ok(code),
    };
    let left = left(ranks, part.run.done().0, pairs)?;
    if !args.run.keep_going && left.iter().any(|pair| pair.files.is_err()) {
        whole.iter_mut().for_each(|whole| whole.refuse(left.iter().copied()));
    } else {
        part.compare(signals)?;
        if let Err(code) = part.give(ranks, whole.as_mut())? {
            return Ok(code);
        }
    }
    whole.map_or(Ok(ExitCode::SUCCESS), |whole| whole.end(Ok(()), false))
}

fn list(args: &CompareArgs, ranks: usize) -> Result<(Scorer, List)> {
    if args.pairs.reference == Path::new("-") {
        return Err(Usage("`--mpi` needs a manifest that every rank can read, not standard input".into()).into());
    }
    let (scorer, list) = prepare(args)?;
    let progress = |path: &PathBuf| (0..ranks).flat_map(|rank| progress_files(path, rank)).collect::<Vec<_>>();
    targets::check(args, &list.pairs, &args.run.resume.as_ref().map(progress).unwrap_or_default())?;
    Ok((scorer, list))
}

/// What a rank goes on from: its progress, and its rows.
fn progress_files(path: &Path, rank: usize) -> [PathBuf; 2] {
    [beside(path, &format!(".rank-{rank}")), beside(path, &format!(".rank-{rank}.rows"))]
}

/// The pairs that no earlier run has done, of which this rank has `done` of its own.
fn left<'a>(ranks: &mut dyn Collective, done: u64, pairs: &'a [Pair]) -> Result<Vec<&'a Pair>> {
    let mut left = vec![false; pairs.len()];
    for (rank, bytes) in ranks.all_gather(&done.to_le_bytes())?.iter().enumerate() {
        let done = bytes.as_slice().try_into().map(u64::from_le_bytes).context("a rank gave no count")?;
        let own = left.iter_mut().skip(rank).step_by(ranks.world_size());
        own.skip(usize::try_from(done).unwrap_or(usize::MAX)).for_each(|left| *left = true);
    }
    Ok(pairs.iter().zip(left).filter_map(|(pair, left)| left.then_some(pair)).collect())
}

/// The part of one rank.
struct Part<'a> {
    run: Run<'a>,
    rows: PathBuf,
    /// Without `--resume` the rows are gone with the run.
    _temporary: Option<TempPath>,
}

/// What a rank begins with; nothing is written yet.
fn begin(
    args: &CompareArgs,
    scorer: &Scorer,
    pairs: &[Pair],
    own: usize,
    (rank, ranks): (usize, usize),
) -> Result<Begun> {
    let files = args.run.resume.as_deref().map(|path| progress_files(path, rank));
    let identity = || Identity::new(args, scorer, pairs).with_outputs(&args.output).of_rank(rank, ranks, own);
    let begun = Begun::load(files.as_ref().map(|[progress, _]| progress.as_path()), scorer, identity)?;
    targets::make_folder(&args.output)?;
    begun.check()?;
    if let Some([_, rows]) = &files {
        targets::check_file(rows)?;
    }
    if rank == 0 {
        targets::check_writable(&args.output, None)?;
    }
    Ok(begun)
}

impl<'a> Part<'a> {
    fn new(
        args: &'a CompareArgs,
        scorer: &'a Scorer,
        (pairs, own): (&[Pair], &'a [Pair]),
        begun: Begun,
        rank: usize,
    ) -> Result<Self> {
        let (rows, temporary) = match args.run.resume.as_deref() {
            Some(path) => {
                let [_, rows] = progress_files(path, rank);
                (rows, None)
            }
            None => {
                let file = tempfile::NamedTempFile::new().context("cannot make a temporary file")?.into_temp_path();
                (file.to_path_buf(), Some(file))
            }
        };
        let output = Output::rows(&rows, scorer.columns(), begun.kept)?;
        let run = Run::part(args, scorer, (pairs, own), output, begun.save()?, rank)?;
        Ok(Self { run, rows, _temporary: temporary })
    }

    /// Compares the pairs. A failure ends the run for all: the others would only wait for what is in vain.
    fn compare(&mut self, signals: &Signals) -> Result<()> {
        let compared = self.run.compare(&signals.stop);
        let saved = self.run.save();
        compared.and(saved)?;
        self.run.flush()?;
        if let Some(error) = self.run.take_failure() {
            bail!(error);
        }
        signals.waits.store(true, Ordering::SeqCst);
        if signals.stop.load(Ordering::SeqCst) {
            let (done, pairs) = self.run.done();
            return Err(Interrupted { done, pairs }.into());
        }
        Ok(())
    }

    /// Gives rank 0 what there is, for the whole run.
    fn give(&mut self, ranks: &mut dyn Collective, whole: Option<&mut Run>) -> Result<Result<(), ExitCode>> {
        let rows = fs::read(&self.rows).with_context(|| format!("cannot read {}", self.rows.display()))?;
        let synced = self.run.tally.accumulated.sync(ranks);
        if let Err(code) = agree(ranks, synced)? {
            return Ok(Err(code));
        }
        let rows = ranks.gather(&rows)?;
        let times = ranks.gather(&self.run.time.to_bytes())?;
        if let Some(whole) = whole {
            whole.tally.accumulated = self.run.tally.accumulated.clone();
            times.iter().for_each(|bytes| whole.time.add(bytes));
            for (row, pair) in rows::in_order(&rows, whole.pairs.len())?.iter().zip(whole.pairs) {
                // A rank has failures in its rows only if it went on, now or in the run that it is resumed from.
                row.with_line(|line| whole.note_done(pair, line))?;
            }
        }
        Ok(Ok(()))
    }
}

/// The path with something at its end.
fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut path = path.as_os_str().to_owned();
    path.push(suffix);
    path.into()
}

/// Hands back the value, if all ranks have one; else rank 0 says what is wrong, and each gets the code to end with.
fn agree<T>(ranks: &mut dyn Collective, result: Result<T>) -> Result<Result<T, ExitCode>> {
    let text = match &result {
        Ok(_) => String::new(),
        Err(error) => format!("{}{}", if error.is::<Usage>() { '2' } else { '1' }, line::of_error(error)),
    };
    let texts = ranks.all_gather(text.as_bytes())?;
    let failed: Vec<_> =
        texts.iter().enumerate().filter_map(|(rank, text)| Some((rank, text.split_first()?))).collect();
    let value = match (failed.first(), result) {
        (None, Ok(value)) => return Ok(Ok(value)),
        (first, _) => first.map(|(_, (code, _))| **code),
    };
    if ranks.rank() > 0 {
        return Ok(Err(ExitCode::SUCCESS)); // rank 0 has the code of the whole
    }
    let all_the_same = texts.iter().all(|text| *text == texts[0]);
    for (rank, (_, error)) in failed.iter().take(if all_the_same { 1 } else { failed.len() }) {
        let which = if all_the_same { String::new() } else { format!("rank {rank}: ") };
        let _ = writeln!(io::stderr(), "error: {which}{}", line::escaped(&String::from_utf8_lossy(error)));
    }
    Ok(Err(if value == Some(b'2') { ExitCode::from(2) } else { ExitCode::FAILURE }))
}

/// Whether all ranks see the same files and measure the same.
fn agree_on_list(ranks: &mut dyn Collective, ours: &Identity) -> Result<Result<(), ExitCode>> {
    let texts = ranks.all_gather(&serde_json::to_vec(ours)?)?;
    let all = texts.iter().map(|text| serde_json::from_slice(text)).collect::<serde_json::Result<Vec<Identity>>>()?;
    let other = all.iter().enumerate().find_map(|(rank, other)| Some((rank, other.difference(&all[0])?)));
    let same = match other {
        None => Ok(()),
        Some((rank, [theirs, first])) => Err(anyhow::anyhow!("rank {rank} has {theirs}, rank 0 has {first}")),
    };
    agree(ranks, same)
}

#[cfg(test)]
mod tests;
