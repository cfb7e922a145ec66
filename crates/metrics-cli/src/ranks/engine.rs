//! MPI, or, in a build without it, an error that says how to get one.

use anyhow::Result;

#[cfg(feature = "mpi")]
pub(super) fn start() -> Result<metrics_core::Mpi> {
    Ok(metrics_core::Mpi::init()?)
}

#[cfg(feature = "mpi")]
pub(super) fn abort(mpi: &metrics_core::Mpi, code: u8) -> ! {
    mpi.abort(code.into())
}

#[cfg(not(feature = "mpi"))]
pub(super) fn start() -> Result<metrics_core::Solo> {
    let how = "cargo install --path crates/metrics-cli --features mpi";
    let message = format!("this image-metrics was built without MPI; `--mpi` needs one built with `{how}`");
    Err(crate::args::Usage(message).into())
}

#[cfg(not(feature = "mpi"))]
pub(super) fn abort(_: &metrics_core::Solo, code: u8) -> ! {
    std::process::exit(code.into())
}
