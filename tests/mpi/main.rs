//! Ranks under `mpirun`: the same values for any number of them, and no rank that waits for ever.

use std::io::Read;
use std::process::{Command, Output, Stdio};
use std::thread::{self, sleep};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use tempfile::TempDir;

/// Runs ranks that do `what`, which must end within a minute.
fn mpirun(ranks: usize, what: &str) -> Result<Output> {
    // Two mpiruns that start or end at once can take the folder away that both keep their sessions in.
    let sessions = TempDir::new()?;
    let mut command = Command::new("mpirun");
    command.env("TMPDIR", sessions.path());
    // Containers have one user, and machines fewer cores than ranks.
    command.args(["--allow-run-as-root", "--oversubscribe", "-n", &ranks.to_string()]);
    command.args([env!("CARGO_BIN_EXE_rank"), what]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().context("cannot start mpirun")?;
    let [stdout, stderr] = [
        drain(child.stdout.take().context("no standard output")?),
        drain(child.stderr.take().context("no standard error")?),
    ];
    let start = Instant::now();
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break status;
        }
        if start.elapsed() > Duration::from_secs(60) {
            child.kill()?;
            anyhow::bail!("{ranks} ranks that {what} do not end");
        }
        sleep(Duration::from_millis(10));
    };
    let join = |reader: thread::JoinHandle<Vec<u8>>| reader.join().unwrap_or_default();
    Ok(Output { status, stdout: join(stdout), stderr: join(stderr) })
}

fn drain(mut from: impl Read + Send + 'static) -> thread::JoinHandle<Vec<u8>> {
    thread::spawn(move || {
        let mut bytes = Vec::new();
        let _ = from.read_to_end(&mut bytes); // what there is
        bytes
    })
}

/// The lines that ranks print when they succeed.
fn lines(ranks: usize, what: &str) -> Result<Vec<String>> {
    let output = mpirun(ranks, what)?;
    ensure!(output.status.success(), "{what}: {}", String::from_utf8_lossy(&output.stderr));
    let mut lines: Vec<_> = String::from_utf8(output.stdout)?.lines().map(String::from).collect();
    lines.sort();
    Ok(lines)
}

#[test]
fn ranks_give_the_bits_of_one() -> Result<()> {
    let alone = Command::new(env!("CARGO_BIN_EXE_rank")).arg("sync").output()?;
    let alone = String::from_utf8(alone.stdout)?;
    assert!(alone.starts_with("{\"psnr\":") && alone.lines().count() == 1, "{alone}");
    for ranks in [1, 2, 4] {
        assert_eq!(lines(ranks, "sync")?, [alone.trim_end()], "{ranks} ranks");
    }
    Ok(())
}

#[test]
fn bytes_of_different_lengths_are_exchanged_in_pieces() -> Result<()> {
    for ranks in [1, 2, 4] {
        let expected: Vec<_> = (0..ranks).map(|rank| format!("rank {rank} of {ranks} has what all gave")).collect();
        assert_eq!(lines(ranks, "exchange")?, expected);
    }
    Ok(())
}

#[test]
fn a_difference_is_one_error_on_every_rank() -> Result<()> {
    for ranks in [2, 4] {
        let lines = lines(ranks, "differ")?;
        assert_eq!(lines.len(), ranks);
        let expected = format!("sync: rank {}: member `psnr` is psnr[", ranks - 1);
        assert!(lines.iter().all(|line| *line == lines[0] && line.starts_with(&expected)), "{lines:?}");
    }
    Ok(())
}

#[test]
fn a_process_starts_mpi_once() -> Result<()> {
    assert_eq!(lines(1, "twice")?, ["collective: MPI was started before, and a process can do so once"]);
    Ok(())
}

#[test]
fn a_rank_that_ends_early_ends_all() -> Result<()> {
    for (what, message) in [
        ("fail", "error: rank 3: this rank has no images"),
        ("panic", "this rank has a bug"),
        ("killed", "exited on signal 9 (Killed)"),
    ] {
        let output = mpirun(4, what)?;
        let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(!output.status.success(), "{what}: {stderr}");
        assert!(stderr.contains(message), "{what}: {stderr}");
        assert!(!stdout.contains("has waited"), "{what}: {stdout}");
    }
    Ok(())
}
