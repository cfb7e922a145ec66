//! Many pairs.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use tempfile::TempDir;

use crate::common::{PROGRAM, corner};

/// Pairs scored and the most memory the run has held, in kibibytes.
#[cfg(target_os = "linux")]
fn run(folder: &Path, pairs: usize) -> Result<(u64, u64)> {
    let list = folder.join("list.csv");
    fs::write(&list, "a.png,a.png\n".repeat(pairs))?;
    let mut command = Command::new(PROGRAM);
    // As many threads on every machine, because each holds a pair.
    command.arg("compare").arg(&list).args(["--metrics", "psnr,ssim", "--jobs", "2", "--ndjson"]);
    let mut child = command.stdout(Stdio::piped()).spawn()?;
    let status = format!("/proc/{}/status", child.id());
    let (mut last, mut peak) = (String::new(), 0);
    for line in std::io::BufRead::lines(std::io::BufReader::new(child.stdout.take().context("no output")?)) {
        last = line?;
        // The process is there until the summary is read; the high-water mark is Linux' own.
        if let Ok(status) = fs::read_to_string(&status) {
            let mark =
                status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.trim().split(' ').next()?.parse().ok());
            peak = mark.unwrap_or(peak);
        }
    }
    ensure!(child.wait()?.success());
    let summary: serde_json::Value = serde_json::from_str(&last)?;
    Ok((summary["summary"]["scored"].as_u64().context("no summary")?, peak))
}

#[cfg(target_os = "linux")]
#[test]
fn memory_does_not_grow_with_the_number_of_pairs() -> Result<()> {
    let folder = TempDir::new()?;
    corner(64, 64)?.save(folder.path().join("a.png"))?;
    let (scored, few) = run(folder.path(), 100)?;
    ensure!(scored == 100 && few > 0);
    let (scored, many) = run(folder.path(), 2_000)?;
    assert_eq!(scored, 2_000);
    // A pair's two images alone are 96 KiB as f32: kept, the other 1,900 would be 178 MiB. A pair's name and paths are a fraction of
    // a kibibyte, and allocators round generously.
    assert!(many < few + 8 * 1024, "{few} KiB with 100 pairs, {many} KiB with 2,000");
    Ok(())
}
