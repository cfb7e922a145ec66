//! What a run says on standard error: how far it is, notes and errors.

use std::io::{self, IsTerminal, Write};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::line::escaped;

/// A rank has no bar; it says this often how far it is.
const SAID: Duration = Duration::from_secs(10);

pub(crate) struct Progress {
    /// Errors only.
    quiet: bool,
    bar: ProgressBar,
    /// Which rank this is, and when it last said how far it is.
    rank: Option<(usize, Instant)>,
}

impl Progress {
    /// Lines alone.
    pub(crate) fn hidden(quiet: bool) -> Self {
        Self { quiet, bar: ProgressBar::hidden(), rank: None }
    }

    /// With a bar if standard error is a terminal and there is more than a moment's work.
    pub(crate) fn of_pairs(pairs: u64, done: u64, quiet: bool) -> Self {
        if quiet || pairs < 2 || !io::stderr().is_terminal() {
            return Self::hidden(quiet);
        }
        Self { bar: bar(pairs, done), ..Self::hidden(quiet) }
    }

    /// Of one rank, which leaves lines about pairs to rank 0.
    pub(crate) fn of_rank(rank: usize, quiet: bool) -> Self {
        Self { rank: Some((rank, Instant::now())), ..Self::hidden(quiet) }
    }

    /// One more pair is done, now `done` of `pairs`.
    pub(crate) fn step(&mut self, done: u64, pairs: usize) {
        self.bar.inc(1);
        let Some((rank, said)) = self.rank.filter(|(_, said)| said.elapsed() >= SAID) else { return };
        self.note(&format!("rank {rank}: {done} of its {pairs} pairs"));
        self.rank = Some((rank, said + said.elapsed()));
    }

    /// Takes the bar away.
    pub(crate) fn end(&self) {
        self.bar.finish_and_clear();
    }

    pub(crate) fn note(&self, line: &str) {
        if !self.quiet {
            self.say("note", line);
        }
    }

    pub(crate) fn error(&self, line: &str) {
        self.say("error", line);
    }

    /// See [`of_rank`](Self::of_rank).
    pub(crate) fn note_of_pair(&self, line: &str) {
        if self.rank.is_none() {
            self.note(line);
        }
    }

    /// See [`of_rank`](Self::of_rank).
    pub(crate) fn error_of_pair(&self, line: &str) {
        if self.rank.is_none() {
            self.error(line);
        }
    }

    /// A line above the bar.
    fn say(&self, kind: &str, line: &str) {
        self.bar.suspend(|| {
            // There is nowhere left to say that standard error is gone.
            let _ = writeln!(io::stderr(), "{kind}: {}", escaped(line));
        });
    }
}

/// A bar with rate and time left.
fn bar(pairs: u64, done: u64) -> ProgressBar {
    let template = "{bar:30} {pos}/{len} pairs, {per_sec}, {eta} left";
    let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
    let bar = ProgressBar::with_draw_target(Some(pairs), ProgressDrawTarget::stderr()).with_style(style);
    let bar = bar.with_position(done);
    bar.tick(); // it is there before the first pair is done
    bar
}
