//! Runs that end early, and what becomes of them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use tempfile::TempDir;

use crate::common::{PROGRAM, assert_lines, compare, corner, degraded, manifest, stdout};

/// Pairs enough that a run lasts some seconds, of which one cannot be read.
fn list(folder: &Path) -> Result<PathBuf> {
    let image = corner(320, 240)?;
    image.save(folder.join("a.png"))?;
    degraded(&image).save(folder.join("b.png"))?;
    let pair = |index: usize| match index {
        3 => "a.png,nobody.png\n".to_owned(),
        index if index % 3 == 0 => format!("a.png,a.png,same {index}\n"),
        index => format!("a.png,b.png,other {index}\n"),
    };
    let path = folder.join("list.csv");
    fs::write(&path, (0..1500).map(pair).collect::<String>())?;
    Ok(path)
}

fn start(list: &Path, options: &[&str]) -> Result<Child> {
    let mut command = Command::new(PROGRAM);
    command.arg("compare").arg(list).args(options).stdout(Stdio::piped()).stderr(Stdio::piped());
    Ok(command.spawn()?)
}

fn done(progress: &Path) -> Option<u64> {
    let saved: serde_json::Value = serde_json::from_slice(&fs::read(progress).ok()?).ok()?;
    saved["counts"]["done"].as_u64()
}

/// Waits until some pairs are done. The file is there before that.
fn wait_for(path: &Path) -> Result<()> {
    let start = Instant::now();
    while done(path).unwrap_or(0) == 0 {
        ensure!(start.elapsed() < Duration::from_secs(120), "{} does not come", path.display());
        sleep(Duration::from_millis(5));
    }
    Ok(())
}

#[test]
fn a_killed_run_goes_on_to_the_same_bytes() -> Result<()> {
    let folder = TempDir::new()?;
    let list = list(folder.path())?;
    let [progress, lines, whole] = ["progress", "lines", "whole"].map(|name| folder.path().join(name));
    let [progress_name, lines_name, whole_name] = [&progress, &lines, &whole].map(|path| path.to_string_lossy());
    let options = |output| ["--keep-going", "--metrics", "psnr,ssim,ms-ssim", "--ndjson", "--output", output];
    manifest(&list, &options(&whole_name)).code(1);
    let resumed = [&options(&lines_name)[..], &["--resume", &progress_name]].concat();

    let mut child = start(&list, &resumed)?;
    wait_for(&progress)?;
    child.kill()?; // SIGKILL
    ensure!(!child.wait()?.success());
    let done = done(&progress).unwrap_or(0);
    assert!(0 < done && done < 1500, "the run was to be killed in the middle, but it was at {done}");

    manifest(&list, &resumed).code(1);
    assert!(fs::read(&lines)? == fs::read(&whole)?, "what was resumed is not what was not interrupted");
    // Once more there is nothing to do but print.
    manifest(&list, &resumed).code(1);
    assert!(fs::read(&lines)? == fs::read(&whole)?, "a run that was done is not what it was");
    Ok(())
}

#[cfg(unix)]
#[test]
fn an_interrupted_run_prints_and_saves_what_is_done() -> Result<()> {
    let folder = TempDir::new()?;
    let list = list(folder.path())?;
    let progress = folder.path().join("progress");
    let name = progress.to_string_lossy();
    let options = ["--keep-going", "--metrics", "ssim", "--json"];
    let resumed = [&options[..], &["--resume", &name]].concat();

    let child = start(&list, &resumed)?;
    wait_for(&progress)?;
    Command::new("kill").args(["-INT", &child.id().to_string()]).status()?;
    let output = child.wait_with_output()?;
    let message = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(130), "{message}");
    assert!(message.contains("interrupted after") && message.contains("of 1500 pairs"), "{message}");
    let summary: serde_json::Value = serde_json::from_slice(&output.stdout)?;
    let scored = summary["scored"].as_u64().unwrap_or(0);
    assert!(0 < scored && scored < 1499, "{summary}");

    let rest = stdout(&manifest(&list, &resumed).code(1));
    assert_eq!(rest, stdout(&manifest(&list, &options).code(1)));
    Ok(())
}

#[test]
fn another_run_is_not_gone_on_from() -> Result<()> {
    let folder = TempDir::new()?;
    corner(32, 32)?.save(folder.path().join("a.png"))?;
    let [list, progress] = ["list.csv", "progress"].map(|name| folder.path().join(name));
    let name = progress.to_string_lossy();
    fs::write(&list, "a.png,a.png\n")?;
    let options = ["--metrics", "ssim", "--resume", name.as_ref()];
    let first = stdout(&manifest(&list, &options).success());
    assert_eq!(stdout(&manifest(&list, &options).success()), first);

    let other = manifest(&list, &["--metrics", "psnr", "--resume", &name]).code(1);
    assert_lines(&other, 1, &["cannot resume from ", "its run had `--metrics ssim`, this one has `--metrics psnr`"]);
    for (pairs, other) in [("a.png,a.png\na.png,a.png\n", "2 pairs"), ("a.png,b.png\n", "1 pair")] {
        fs::write(&list, pairs)?;
        let expected = format!("its run had a list of 1 pair, this one has another list of {other}");
        assert_lines(&manifest(&list, &options).code(1), 1, &[&expected]);
    }

    fs::write(&list, "a.png,a.png\n")?;
    let text = fs::read_to_string(&progress)?;
    fs::write(&progress, text.replacen("\"scored\":1", "\"scored\":2", 1))?;
    assert_lines(&manifest(&list, &options).code(1), 1, &["it is damaged"]);
    fs::write(&progress, &text[..text.len() / 2])?;
    assert_lines(&manifest(&list, &options).code(1), 1, &["it is not what `--resume` writes"]);
    Ok(())
}

#[test]
fn paths_are_tried_before_the_work() -> Result<()> {
    let folder = TempDir::new()?;
    corner(32, 32)?.save(folder.path().join("a.png"))?;
    let path = |name: &str| folder.path().join(name).to_string_lossy().into_owned();
    let (list, output) = (folder.path().join("list.csv"), path("output"));
    fs::write(&list, "a.png,a.png\n")?;
    fs::write(&output, "of another run")?;
    let options = ["--metrics", "ssim", "--csv", "--output", &output];
    for (option, file) in [("--report", path("nowhere/x")), ("--report", path("")), ("--resume", path("nowhere/x"))] {
        let refused = manifest(&list, &[&options[..], &[option, &file]].concat()).code(1);
        assert_lines(&refused, 1, &["error: cannot"]);
        assert_eq!(fs::read_to_string(&output)?, "of another run");
    }
    // A run of which nothing is done can be gone on from too.
    let progress = path("progress");
    fs::write(&list, "nobody.png,a.png\n")?;
    let resumed = [&options[..], &["--resume", &progress]].concat();
    manifest(&list, &resumed).code(1);
    assert_eq!(done(progress.as_ref()), Some(0));
    manifest(&list, &resumed).code(1);
    assert_eq!(fs::read_to_string(&output)?.lines().count(), 2);
    Ok(())
}

#[test]
fn failures_of_the_run_before_do_not_end_the_next() -> Result<()> {
    let folder = TempDir::new()?;
    let [a, b] = ["a", "b"].map(|name| folder.path().join(name));
    for (path, name) in [(&a, "1.png"), (&a, "2.png"), (&b, "2.png")] {
        fs::create_dir_all(path)?;
        corner(32, 32)?.save(path.join(name))?;
    }
    let progress = folder.path().join("progress").to_string_lossy().into_owned();
    let options = ["--metrics", "ssim", "--json", "--resume", &progress];
    let all = stdout(&compare(&a, &b, &[&options[..], &["--keep-going"]].concat()).code(1));
    assert_eq!(stdout(&compare(&a, &b, &options).code(1)), all);
    Ok(())
}
