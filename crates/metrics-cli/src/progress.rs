//! How far a run is, for who looks on.

use std::io::{self, IsTerminal};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// A bar with rate and time left, if standard error is a terminal and there is more than a moment's work.
pub(crate) fn bar(pairs: u64, done: u64, quiet: bool) -> ProgressBar {
    if quiet || pairs < 2 || !io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let template = "{bar:30} {pos}/{len} pairs, {per_sec}, {eta} left";
    let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
    let bar = ProgressBar::with_draw_target(Some(pairs), ProgressDrawTarget::stderr()).with_style(style);
    let bar = bar.with_position(done);
    bar.tick(); // it is there before the first pair is done
    bar
}
