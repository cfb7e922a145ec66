//! The program `image-metrics`; everything it does is in the library beside it.

use std::process::ExitCode;

fn main() -> ExitCode {
    metrics_cli::run()
}
