//! `image-metrics`: PSNR, SSIM, MS-SSIM, GMSD, VIFp, MAE and MSE of image files.
//!
//! ```text
//! image-metrics compare original.png restored.png
//! image-metrics compare originals/ restored/ --metrics psnr,ssim --csv
//! image-metrics compare pairs.csv --fail-under ssim=0.98
//! ```
//!
//! Exit codes: 0 when everything was compared, 1 when something could not be or a score is below `--fail-under`, 2 for a wrong
//! command line, 130 after Ctrl-C.
//!
//! | file | what is in it |
//! |---|---|
//! | `args.rs` | the command line |
//! | `pairs.rs` | from two files, two folders or a manifest to named pairs of files |
//! | `line.rs` | errors and names as one line |
//! | `load.rs` | from files to tensors, within limits |
//! | `device.rs` | `--device` |
//! | `metrics.rs` | from options to metrics, and the scores of one pair |
//! | `score.rs` | threads that load and score pairs, and give the scores back in order |
//! | `tally.rs` | what all pairs so far add up to |
//! | `files.rs` | how files are written: as a whole or not at all |
//! | `targets.rs` | which files are written, none of which may be one that is read |
//! | `output.rs` | table, JSON, CSV |
//! | `progress.rs` | what is said on standard error: a bar, notes, errors |
//! | `resume.rs`, `identity.rs` | a tally as a file, and what a run that goes on from it must have in common with it |
//! | `fail_under.rs` | thresholds |
//! | `pictures/` | heat maps, and a report as one page of HTML |
//! | `draw.rs` | what of a comparison becomes such pictures |
//! | `compare.rs` | `image-metrics compare`, made of all these |
//! | `ranks.rs`, `rows.rs` | the same by many processes, and what they tell rank 0 of each pair |
//! | `catalog.rs` | `image-metrics metrics` |

mod args;
mod catalog;
mod compare;
mod device;
mod draw;
mod fail_under;
mod files;
mod identity;
mod line;
mod load;
mod metrics;
mod output;
mod pairs;
mod pictures;
mod progress;
mod ranks;
mod resume;
mod rows;
mod score;
mod table;
mod tally;
mod targets;

use std::io::{self, Write};
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::{CommandFactory, Parser};

use args::{Cli, Command};

/// Runs the program on the arguments of the process.
pub fn run() -> ExitCode {
    let result = match Cli::parse().command {
        Command::Compare(args) => compare::run(&args),
        Command::Metrics => print(catalog::text().as_bytes()),
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "image-metrics", &mut script);
            // For bash, clap_complete 4.6 calls a program with a hyphen by one name and looks for another: clap#6421.
            let script = String::from_utf8_lossy(&script).replace("image__subcmd__metrics", "image__metrics");
            print(script.as_bytes())
        }
        Command::Man => man().and_then(|page| print(&page)),
    };
    result.unwrap_or_else(|error| {
        // When standard error is gone too, the exit code is all that is left to say it with.
        let _ = writeln!(io::stderr(), "error: {}", line::escaped(&line::of_error(&error)));
        if error.is::<args::Usage>() { ExitCode::from(2) } else { ExitCode::FAILURE }
    })
}

/// The way in for tests that damage files: what reads bytes that somebody else has written.
#[doc(hidden)]
pub mod fuzzing {
    pub use crate::load::numbers;
    pub use crate::pairs::fuzz as manifest;
}

fn print(bytes: &[u8]) -> Result<ExitCode> {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(bytes).and_then(|()| stdout.flush()) {
        // Who closes a pipe has read enough.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {}
        written => written.context("cannot write to standard output")?,
    }
    Ok(ExitCode::SUCCESS)
}

/// One page for the program and all its commands, as manual pages of programs with few commands are.
fn man() -> Result<Vec<u8>> {
    let mut command = Cli::command();
    command.build();
    let mut page = Vec::new();
    let man = clap_mangen::Man::new(command.clone());
    man.render_title(&mut page)?;
    man.render_name_section(&mut page)?;
    man.render_synopsis_section(&mut page)?;
    man.render_description_section(&mut page)?;
    man.render_options_section(&mut page)?;
    // Not its section of commands, which sends the reader to a page for each.
    for subcommand in command.get_subcommands().filter(|subcommand| subcommand.get_name() != "help") {
        let title = format!("image-metrics {}", subcommand.get_name()).to_uppercase();
        writeln!(page, ".SH {title}")?;
        let man = clap_mangen::Man::new(subcommand.clone());
        man.render_synopsis_section(&mut page)?;
        man.render_description_section(&mut page)?;
        man.render_options_section(&mut page)?;
    }
    Ok(page)
}
