//! Standard error on a terminal: a bar while there is work, and nothing of it afterwards.

use std::fs::{self, File};
use std::io::Read;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use anyhow::{Context, Result};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};
use tempfile::TempDir;

use crate::common::{PROGRAM, corner, degraded, manifest, stderr, stdout};

const SIZE: Winsize = Winsize { ws_row: 24, ws_col: 100, ws_xpixel: 0, ws_ypixel: 0 };

/// A run whose standard error is a terminal.
struct Run {
    output: Output,
    /// What the terminal showed, after each piece that it was sent.
    screens: Vec<String>,
}

impl Run {
    fn last_screen(&self) -> &str {
        self.screens.last().map_or("", |screen| screen.trim_end())
    }

    fn showed(&self, text: &str) -> bool {
        self.screens.iter().any(|screen| screen.contains(text))
    }
}

/// A terminal from both sides: that of who looks at it, and that of programs.
fn terminal() -> Result<(File, File)> {
    let controller = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY)?;
    grantpt(&controller)?;
    unlockpt(&controller)?;
    tcsetwinsize(&controller, SIZE)?;
    let name = ptsname(&controller, Vec::new())?;
    let terminal = File::options().read(true).write(true).open(name.to_str()?)?;
    Ok((File::from(controller), terminal))
}

fn compare_on_a_terminal(list: &Path, options: &[&str]) -> Result<Run> {
    let (controller, terminal) = terminal()?;
    let mut command = Command::new(PROGRAM);
    command.arg("compare").arg(list).args(options).env("TERM", "xterm").env_remove("NO_COLOR");
    let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(terminal).spawn()?;
    drop(command); // and with it our end of the terminal, so that reading ends when the program does
    let screens = screens(controller);
    Ok(Run { output: child.wait_with_output()?, screens })
}

/// Reads until the last of those who write is gone: Linux says so with an error, others with the end of the file.
fn screens(mut controller: File) -> Vec<String> {
    let mut screen = vt100::Parser::new(SIZE.ws_row, SIZE.ws_col, 0);
    let (mut screens, mut bytes) = (Vec::new(), [0; 4096]);
    while let Ok(length @ 1..) = controller.read(&mut bytes) {
        // A bar that is redrawn comes as a whole or in pieces; every piece is looked at.
        for piece in bytes[..length].split_inclusive(|&byte| byte == b'\r') {
            screen.process(piece);
            screens.push(screen.screen().contents());
        }
    }
    screens
}

/// A list of three pairs, the last of which may be a missing file.
fn list(folder: &Path, third: &str) -> Result<std::path::PathBuf> {
    corner(64, 48)?.save(folder.join("a.png"))?;
    degraded(&corner(64, 48)?).save(folder.join("b.png"))?;
    let list = folder.join("list.csv");
    fs::write(&list, format!("a.png,a.png\na.png,b.png\na.png,{third}\n"))?;
    Ok(list)
}

#[test]
fn a_bar_counts_pairs_and_leaves_nothing() -> Result<()> {
    let folder = TempDir::new()?;
    let list = list(folder.path(), "b.png")?;
    let run = compare_on_a_terminal(&list, &["--metrics", "ssim"])?;
    assert!(run.output.status.success());
    for count in ["0/3 pairs", "1/3 pairs", "2/3 pairs", "3/3 pairs"] {
        assert!(run.showed(count), "no `{count}` on {:?}", run.screens);
    }
    assert_eq!(run.last_screen(), "");
    // What is printed is what a pipe gets.
    let piped = manifest(&list, &["--metrics", "ssim"]).success();
    assert_eq!(String::from_utf8(run.output.stdout)?, stdout(&piped));
    assert_eq!(stderr(&piped), "");
    Ok(())
}

#[test]
fn lines_stand_above_the_bar() -> Result<()> {
    let folder = TempDir::new()?;
    let list = list(folder.path(), "b.png")?;
    fs::write(&list, "a.png,nobody.png\na.png,a.png\na.png,b.png\n")?;
    let run = compare_on_a_terminal(&list, &["--metrics", "ssim", "--keep-going"])?;
    assert_eq!(run.output.status.code(), Some(1));
    let both = |screen: &String| {
        let (error, bar) = (screen.find("error: cannot read"), screen.find("3/3 pairs"));
        error.is_some() && error < bar
    };
    assert!(run.screens.iter().any(both), "{:?}", run.screens);
    let last = run.last_screen();
    assert!(last.starts_with("error: cannot read") && last.ends_with("1 of 3 pairs could not be compared"), "{last}");
    assert!(!last.contains("/3 pairs,"), "{last}");
    Ok(())
}

#[test]
fn an_error_ends_the_bar() -> Result<()> {
    let folder = TempDir::new()?;
    let list = list(folder.path(), "nobody.png")?;
    let run = compare_on_a_terminal(&list, &["--metrics", "ssim", "--csv"])?;
    assert_eq!(run.output.status.code(), Some(1));
    assert!(run.showed("2/3 pairs"), "{:?}", run.screens);
    let last = run.last_screen();
    assert!(last.starts_with("error: cannot read") && last.contains("nobody.png"), "{last}");
    assert!(!last.contains("/3 pairs"), "{last}");
    let printed = String::from_utf8(run.output.stdout)?;
    assert_eq!(printed.lines().count(), 4, "{printed}");
    assert!(!printed.contains('\x1b') && !printed.contains("pairs"), "{printed}");
    Ok(())
}

#[test]
fn quiet_leaves_only_errors() -> Result<()> {
    let folder = TempDir::new()?;
    let list = list(folder.path(), "b.png")?;
    let run = compare_on_a_terminal(&list, &["--quiet"])?;
    assert!(run.output.status.success());
    assert_eq!(run.screens.concat(), "", "not even the note that the images are too small for MS-SSIM");
    assert!(compare_on_a_terminal(&list, &[])?.showed("note: ms_ssim is left out"), "there is one without `--quiet`");
    fs::remove_file(folder.path().join("b.png")).context("the list is of this file")?;
    let run = compare_on_a_terminal(&list, &["--quiet"])?;
    assert!(run.last_screen().starts_with("error: cannot read"), "{:?}", run.screens);
    Ok(())
}

#[test]
fn one_pair_is_not_worth_a_bar() -> Result<()> {
    let folder = TempDir::new()?;
    let list = list(folder.path(), "b.png")?;
    fs::write(&list, "a.png,b.png\n")?;
    let run = compare_on_a_terminal(&list, &["--metrics", "ssim"])?;
    assert!(run.output.status.success() && run.screens.concat().is_empty(), "{:?}", run.screens);
    Ok(())
}

#[test]
fn a_terminal_is_sent_no_name_that_it_obeys() -> Result<()> {
    let folder = TempDir::new()?;
    let list = list(folder.path(), "b.png")?;
    fs::write(&list, "a.png,b.png,\"x\u{1b}[31m\u{9b}2J\n=y\"\na.png,\u{1b}[31m.png\n")?;
    for format in [&["--csv"][..], &["--ndjson"], &["--json"], &[]] {
        let (mut controller, terminal) = terminal()?;
        let mut command = Command::new(PROGRAM);
        command.arg("compare").arg(&list).args(["--metrics", "ssim", "--keep-going"]).args(format);
        let mut child = command.stdin(Stdio::null()).stdout(terminal).stderr(Stdio::null()).spawn()?;
        drop(command);
        let (mut shown, mut bytes) = (Vec::new(), [0; 4096]);
        while let Ok(length @ 1..) = controller.read(&mut bytes) {
            shown.extend(&bytes[..length]);
        }
        child.wait()?;
        let shown = String::from_utf8(shown)?;
        assert!(shown.contains("31m") && shown.contains("=y"), "{shown:?}");
        assert!(shown.chars().all(|c| !c.is_control() || matches!(c, '\r' | '\n')), "{format:?} {shown:?}");
    }
    // What is no terminal gets names as they are.
    let piped = stdout(&manifest(&list, &["--metrics", "ssim", "--keep-going", "--csv"]).code(1));
    assert!(piped.contains("\"x\u{1b}[31m\u{9b}2J\n=y\""), "{piped:?}");
    Ok(())
}
