//! `image-metrics`: PSNR, SSIM and MS-SSIM of image files.
//!
//! ```text
//! image-metrics compare original.png restored.png
//! image-metrics compare --metrics psnr,ssim a.jpg b.png
//! ```
//!
//! Exit codes: 0 when the images were compared, 1 when they could not be, 2 for a wrong command line.

mod compare;
mod load;
#[cfg_attr(not(test), expect(dead_code, reason = "`compare` does not draw yet"))]
#[expect(unused_imports, reason = "`compare` does not draw yet")]
mod pictures;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// PSNR, SSIM and MS-SSIM of image files.
#[derive(Parser)]
#[command(name = "image-metrics", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Compare(compare::Args),
}

fn main() -> ExitCode {
    let result = match Cli::parse().command {
        Command::Compare(args) => compare::run(&args),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
