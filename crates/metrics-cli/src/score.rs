//! Threads that load and score pairs, and give the scores back in the order of the pairs.

use std::ops::ControlFlow;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::sync_channel;
use std::thread;
use std::time::Instant;

use anyhow::{Context, Result, anyhow};
use rayon::{ThreadPool, ThreadPoolBuildError, ThreadPoolBuilder};

use crate::args::Mismatch;
use crate::draw::Maps;
use crate::line;
use crate::load::{self, Loaded, Reading, SizesDiffer};
use crate::metrics::{Scorer, Scores};
use crate::output::Line;
use crate::pairs::Pair;

/// What became of a pair.
pub(crate) enum Outcome {
    Scored(Scores),
    /// Left out, as the user wants it.
    Skipped(String),
    Failed(String),
}

impl Outcome {
    pub(crate) fn line(&self) -> Line<'_> {
        match self {
            Self::Scored(scores) => Line::Scores(&scores.pair),
            Self::Skipped(reason) => Line::Skipped(reason),
            Self::Failed(error) => Line::Failed(error),
        }
    }
}

/// How pairs are worked on. Each thread has one of its own.
#[derive(Clone)]
pub(crate) struct Work<'a> {
    pub(crate) scorer: Scorer,
    pub(crate) reading: &'a Reading,
    pub(crate) mismatch: Mismatch,
    /// Whether to begin no further pair.
    pub(crate) stop: &'a AtomicBool,
    pub(crate) time: &'a Time,
    pub(crate) maps: Option<&'a Maps>,
}

/// Where the threads' time went, in nanoseconds.
#[derive(Default)]
pub(crate) struct Time {
    pub(crate) loading: AtomicU64,
    pub(crate) scoring: AtomicU64,
}

impl Time {
    pub(crate) fn to_bytes(&self) -> [u8; 16] {
        let [loading, scoring] = [&self.loading, &self.scoring].map(|time| time.load(Ordering::Relaxed));
        (u128::from(loading) << 64 | u128::from(scoring)).to_le_bytes()
    }

    /// Adds what [`to_bytes`](Self::to_bytes) of another gave.
    pub(crate) fn add(&self, bytes: &[u8]) {
        let Ok(bytes) = bytes.try_into() else { return };
        let both = u128::from_le_bytes(bytes);
        self.loading.fetch_add((both >> 64) as u64, Ordering::Relaxed);
        self.scoring.fetch_add(both as u64, Ordering::Relaxed);
    }
}

/// So many outcomes, a few numbers each, may wait for those of pairs before them.
const WAITING: usize = 8;

impl Work<'_> {
    /// Works on all pairs, and hands each and what became of it to `each`, in order, until that breaks or an error comes up.
    ///
    /// Pairs are dealt to the threads in turn, and collected in turn: that keeps the order, and a thread that is ahead waits, so
    /// that memory does not grow with the number of pairs.
    pub(crate) fn run(
        &self,
        pairs: &[Pair],
        jobs: usize,
        mut each: impl FnMut(&Pair, Outcome) -> Result<ControlFlow<()>>,
    ) -> Result<()> {
        let jobs = jobs.min(pairs.len()).max(1);
        let busy = jobs > 1 && jobs >= rayon::current_num_threads();
        thread::scope(|scope| {
            let mut results = Vec::new();
            for job in 0..jobs {
                let (sender, receiver) = sync_channel(WAITING);
                let dealt = pairs.iter().skip(job).step_by(jobs);
                let own = self.clone();
                let work = move || {
                    let _inline = busy.then(score_inline);
                    for pair in dealt.take_while(|_| !own.stop.load(Ordering::Relaxed)) {
                        // The other end is gone when no more is wanted.
                        if sender.send(own.outcome(pair)).is_err() {
                            break;
                        }
                    }
                };
                thread::Builder::new()
                    .name("scorer".into())
                    .spawn_scoped(scope, work)
                    .context("cannot start a thread")?;
                results.push(receiver);
            }
            for (pair, receiver) in pairs.iter().zip(results.iter().cycle()) {
                // A thread that was stopped sends nothing more; what others did of later pairs does not count.
                let Ok(outcome) = receiver.recv() else { break };
                if each(pair, outcome)?.is_break() {
                    break;
                }
            }
            Ok(())
        })
    }

    fn outcome(&self, pair: &Pair) -> Outcome {
        match caught(&pair.name, || self.score(pair)) {
            Ok((mut scores, images)) => {
                let drawn = self.maps.map(|maps| caught(&pair.name, || maps.draw(&pair.name, &images)));
                scores.pair.undrawn = drawn.and_then(Result::err).map(|error| line::of_error(&error));
                Outcome::Scored(scores)
            }
            Err(error) if self.mismatch == Mismatch::Skip && error.is::<SizesDiffer>() => {
                Outcome::Skipped(error.to_string())
            }
            Err(error) => Outcome::Failed(line::of_error(&error)),
        }
    }

    fn score(&self, pair: &Pair) -> Result<(Scores, Loaded)> {
        let files = pair.files.as_ref().map_err(|error| anyhow!("{error}"))?;
        let start = Instant::now();
        let images = load::pair(&files.reference, &files.test, self.reading)?;
        let loaded = Instant::now();
        let scores = self
            .scorer
            .score(&images)
            .with_context(|| format!("cannot compare {} with {}", files.test.display(), files.reference.display()));
        let nanoseconds = |from: Instant, to: Instant| u64::try_from((to - from).as_nanos()).unwrap_or(u64::MAX);
        self.time.loading.fetch_add(nanoseconds(start, loaded), Ordering::Relaxed);
        self.time.scoring.fetch_add(nanoseconds(loaded, Instant::now()), Ordering::Relaxed);
        Ok((scores?, images))
    }
}

/// Decoders read what strangers wrote. A bug in one of them is the end of a pair, not of the run.
pub(crate) fn caught<T>(name: &str, work: impl FnOnce() -> Result<T>) -> Result<T> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| {
        let texts = [panic.downcast_ref::<String>().map(String::as_str), panic.downcast_ref::<&str>().copied()];
        let text = texts.into_iter().flatten().next().unwrap_or("it does not say which");
        Err(anyhow!("the program has a bug that {name} brings up: {text}"))
    })
}

/// Lets this thread's kernels run on this thread alone, as long as what is returned is kept. When every processor has a pair of its
/// own, handing parts of one to other threads only makes them wait for each other.
fn score_inline() -> std::result::Result<ThreadPool, ThreadPoolBuildError> {
    ThreadPoolBuilder::new().num_threads(1).use_current_thread().build()
}

/// Keeps panics of the scoring threads off standard error: they become the pair's line.
pub(crate) fn quieten_panics() {
    let usual = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        // Rayon's threads have no name; the panic of one goes on in the thread that waits for it.
        if !matches!(thread::current().name(), Some("scorer") | None) {
            usual(info);
        }
    }));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_an_error_with_its_message() {
        let caught = |work: fn() -> Result<()>| caught("a.png", work).unwrap_err().to_string();
        let start = "the program has a bug that a.png brings up: ";
        assert_eq!(caught(|| panic!("index {} of 3", 7)), format!("{start}index 7 of 3"));
        assert_eq!(caught(|| panic!("no rows")), format!("{start}no rows"));
        assert_eq!(caught(|| std::panic::panic_any(7)), format!("{start}it does not say which"));
    }
}
