//! The program `image-metrics`; everything it does is in the library beside it.

use std::process::ExitCode;

/// Images are a few megabytes, which glibc gives back to the system with every pair and asks for again.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    metrics_cli::run()
}
