//! Outputs get in the way of nothing: neither of what is read, nor of each other, nor of what somebody else has made.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result};
use tempfile::TempDir;

use crate::common::{PROGRAM, assert_lines, compare, corner, degraded, json, manifest, run, stderr, stdout};

/// A folder of two images and a list of them.
fn folder() -> Result<(TempDir, impl Fn(&str) -> String)> {
    let folder = TempDir::new()?;
    corner(32, 32)?.save(folder.path().join("a.png"))?;
    degraded(&corner(32, 32)?).save(folder.path().join("b.png"))?;
    fs::write(folder.path().join("list.csv"), "a.png,b.png\na.png,a.png\n")?;
    let path = folder.path().to_owned();
    Ok((folder, move |name: &str| path.join(name).to_string_lossy().into_owned()))
}

/// The names and contents of all files of a folder.
fn contents(folder: &Path) -> Result<Vec<(PathBuf, Vec<u8>)>> {
    let mut files = Vec::new();
    for entry in walkdir::WalkDir::new(folder).sort_by_file_name() {
        let entry = entry?;
        let content = if entry.file_type().is_file() { fs::read(entry.path())? } else { Vec::new() };
        files.push((entry.into_path(), content));
    }
    Ok(files)
}

#[test]
fn an_input_by_another_name_is_not_written() -> Result<()> {
    let (folder, path) = folder()?;
    fs::create_dir(path("maps"))?;
    for (file, link) in [("a.png", "a.csv"), ("list.csv", "list"), ("b.png", "maps/a.ssim.png")] {
        fs::hard_link(path(file), path(link))?;
    }
    let (a, b, list, link) = (path("a.png"), path("b.png"), path("list.csv"), path("a.csv"));
    let refused: [&[&str]; 8] = [
        &[&a, &b, "--csv", "--output", &link],
        &[&a, &b, "--report", &link],
        &[&a, &b, "--resume", &link],
        &[&list, "--csv", "--output", &link],
        &[&list, "--ndjson", "--output", &path("list")],
        &[&list, "--resume", &path("list")],
        &[&b, &a, "--maps", &path("maps")],
        &[&a, &b, "--json", "--output", &path("maps/../a.png")],
    ];
    let before = contents(folder.path())?;
    for arguments in refused {
        let assert = run(["compare", "--metrics", "ssim"].iter().chain(arguments)).code(2);
        assert_lines(&assert, 1, &["` would overwrite ", ", which this run reads"]);
        assert!(contents(folder.path())? == before, "{arguments:?}");
    }
    // A list on standard input is read too, and standard output may be a file.
    let mut command = Command::new(PROGRAM);
    command.args(["compare", "-", "--csv", "--output", &path("list")]).current_dir(folder.path());
    let output = command.stdin(fs::File::open(&list)?).output()?;
    let error = String::from_utf8(output.stderr)?;
    assert!(output.status.code() == Some(2) && error.contains("overwrite standard input"), "{error}");
    let mut command = Command::new(PROGRAM);
    let append = fs::OpenOptions::new().append(true).open(&b)?;
    let output = command.args(["compare", &a, &b, "--csv"]).stdout(append).output()?;
    let error = String::from_utf8(output.stderr)?;
    assert!(output.status.code() == Some(2) && error.contains("`standard output` would overwrite"), "{error}");
    assert!(contents(folder.path())? == before);
    Ok(())
}

#[test]
fn two_outputs_are_two_files() -> Result<()> {
    let (folder, path) = folder()?;
    fs::write(path("there"), "of somebody")?;
    fs::hard_link(path("there"), path("also"))?;
    let (list, new) = (path("list.csv"), path("new"));
    let refused: [&[&str]; 5] = [
        &["--output", &path("there"), "--report", &path("also")],
        &["--output", &path("there"), "--resume", &path("also")],
        &["--output", &new, "--maps", &new],
        &["--maps", &path("m"), "--output", &path("m/b.ssim.png")],
        &["--output", &new, "--resume", &path("./new")],
    ];
    let before = contents(folder.path())?;
    for arguments in refused {
        let assert =
            run(["compare", &list, "--metrics", "ssim", "--csv"].iter().copied().chain(arguments.iter().copied()));
        assert_lines(&assert.code(2), 1, &["would both write to "]);
        assert!(contents(folder.path())? == before, "{arguments:?}");
    }
    Ok(())
}

#[test]
fn other_links_to_an_output_keep_what_they_had() -> Result<()> {
    let (_folder, path) = folder()?;
    let list = path("list.csv");
    for format in ["--csv", "--ndjson", "--json"] {
        fs::write(path("old"), "of somebody")?;
        fs::hard_link(path("old"), path("out"))?;
        manifest(list.as_ref(), &["--metrics", "ssim", format, "--output", &path("out")]).success();
        assert_eq!(fs::read_to_string(path("old"))?, "of somebody", "{format}");
        assert!(fs::read_to_string(path("out"))?.contains("b.png"), "{format}");
        fs::remove_file(path("out"))?;
    }
    Ok(())
}

#[cfg(unix)]
#[test]
fn what_the_program_did_not_make_is_not_deleted() -> Result<()> {
    let (folder, path) = folder()?;
    std::os::unix::fs::symlink("nothing", path("dangling"))?;
    fs::create_dir(path("maps"))?;
    std::os::unix::fs::symlink("nothing", path("maps/b.ssim.png"))?;
    let list = path("list.csv");
    let before = contents(folder.path())?;
    for option in ["--output", "--report", "--resume"] {
        for format in ["--csv", "--json"] {
            let refused = manifest(list.as_ref(), &["--metrics", "ssim", format, option, &path("dangling")]).code(1);
            assert_lines(&refused, 1, &["dangling: it is a link to a file that is not there"]);
            assert!(contents(folder.path())? == before, "{option}");
        }
    }
    let drawn = manifest(list.as_ref(), &["--metrics", "ssim", "--json", "--maps", &path("maps")]).code(1);
    assert_lines(
        &drawn,
        1,
        &["there is no map of b.png: cannot write to ", "it is a link to a file that is not there"],
    );
    assert!(!fs::exists(path("nothing"))? && Path::new(&path("maps/b.ssim.png")).is_symlink());
    // A link to a file stays one.
    fs::write(path("file"), "")?;
    std::os::unix::fs::symlink("file", path("link"))?;
    for (option, format) in [("--output", "--csv"), ("--output", "--json"), ("--report", "--json")] {
        fs::write(path("file"), "")?;
        manifest(list.as_ref(), &["--metrics", "ssim", format, option, &path("link")]).success();
        assert!(Path::new(&path("link")).is_symlink() && fs::read_to_string(path("file"))?.contains("b.png"));
    }
    Ok(())
}

#[test]
fn a_resumed_run_has_the_outputs_of_the_first() -> Result<()> {
    let (folder, path) = folder()?;
    let (list, resume, out, other, maps) = (path("list.csv"), path("resume"), path("out"), path("other"), path("maps"));
    let options = ["--metrics", "ssim", "--ndjson", "--resume", &resume];
    manifest(list.as_ref(), &[&options[..], &["--output", &out]].concat()).success();
    fs::write(
        &other,
        "something quite different, of somebody else, which is longer than what the first run has written ".repeat(9),
    )?;
    let before = contents(folder.path())?;
    let refused: [(&[&str], String); 4] = [
        (&["--output", &other], format!("its run had `--output {out}`, this one has `--output {other}`")),
        (&[], format!("its run had `--output {out}`, this one has no `--output`")),
        (&["--output", "-"], format!("its run had `--output {out}`, this one has no `--output`")),
        (&["--output", &out, "--maps", &maps], format!("its run had no `--maps`, this one has `--maps {maps}`")),
    ];
    for (arguments, message) in refused {
        let assert = manifest(list.as_ref(), &[&options[..], arguments].concat()).code(1);
        assert_lines(&assert, 1, &[&message.replace(folder.path().to_str().context("UTF-8")?, &real(folder.path())?)]);
        assert!(contents(folder.path())? == before, "{arguments:?}");
        assert_eq!(stdout(&assert), "");
    }
    // From elsewhere it is the same file.
    let mut command = assert_cmd::Command::new(PROGRAM);
    command.current_dir(folder.path()).arg("compare").arg(&list).args(options).args(["--output", "./out"]);
    command.assert().success();
    assert!(contents(folder.path())? == before);
    Ok(())
}

fn real(path: &Path) -> Result<String> {
    Ok(fs::canonicalize(path)?.to_string_lossy().into_owned())
}

#[test]
fn maps_are_not_images_of_the_next_run() -> Result<()> {
    let folder = TempDir::new()?;
    let [a, b] = ["a", "b"].map(|name| folder.path().join(name));
    for side in [&a, &b] {
        fs::create_dir_all(side.join("deep"))?;
        corner(32, 32)?.save(side.join("deep/1.png"))?;
    }
    let into_a = ["--metrics", "ssim", "--json", "--maps", &a.to_string_lossy()];
    let first = json(&compare(&a, &b, &into_a).success())?;
    assert!(a.join("deep/1.ssim.png").is_file());
    for _ in 0..2 {
        let next = compare(&a, &b, &into_a).success();
        assert_lines(&next, 1, &["note: 1 file in the folders is not compared, of which 1 drawn by `--maps`"]);
        let next = json(&next)?;
        assert_eq!((&next["metrics"], &next["passed_over"]["maps"]), (&first["metrics"], &1.into()), "{next}");
    }
    // An image that is only called like a map is compared.
    for side in [&a, &b] {
        corner(32, 32)?.save(side.join("2.ssim.png"))?;
    }
    assert_eq!(json(&compare(&a, &b, &["--metrics", "ssim", "--json"]).success())?["scored"], 2);
    Ok(())
}

#[test]
fn all_outputs_may_be_in_the_folder_of_the_maps() -> Result<()> {
    let (_folder, path) = folder()?;
    let [maps, out, report, progress] = ["new/maps", "new/maps/out", "new/maps/r.html", "new/maps/progress"].map(&path);
    let options = ["--metrics", "ssim", "--csv", "--maps", &maps, "--output", &out];
    manifest(path("list.csv").as_ref(), &[&options[..], &["--report", &report]].concat()).success();
    manifest(path("list.csv").as_ref(), &[&options[..], &["--resume", &progress]].concat()).success();
    let names: Vec<_> =
        contents(maps.as_ref())?.iter().skip(1).map(|(path, _)| path.file_name().map(Into::into)).collect();
    assert_eq!(names, ["a.ssim.png", "b.ssim.png", "out", "progress", "r.html"].map(|name| Some(PathBuf::from(name))));
    Ok(())
}

#[cfg(target_os = "linux")]
#[test]
fn maps_that_cannot_be_written_are_known_before_the_work() -> Result<()> {
    let (_folder, path) = folder()?;
    let refused = manifest(path("list.csv").as_ref(), &["--csv", "--maps", "/proc"]).code(1);
    assert_lines(&refused, 1, &["cannot write to the folder /proc: "]);
    assert_eq!(stdout(&refused), "");
    Ok(())
}

#[cfg(unix)]
#[test]
fn who_reads_no_further_ends_the_run_quietly() -> Result<()> {
    let (_folder, path) = folder()?;
    let many = path("many.csv");
    fs::write(&many, "a.png,b.png\n".repeat(3000))?;
    for format in [&["--csv"][..], &["--ndjson"], &["--json"], &[]] {
        let (reader, writer) = std::io::pipe()?;
        drop(reader);
        let mut command = Command::new(PROGRAM);
        command.args(["compare", &many, "--metrics", "psnr"]).args(format).stdout(writer);
        let output = command.output()?;
        assert!(output.status.success() && output.stderr.is_empty(), "{format:?} {output:?}");
    }
    // A pair that fails is still an error.
    fs::write(path("gone.csv"), "a.png,gone.png\n")?;
    let (reader, writer) = std::io::pipe()?;
    drop(reader);
    let output = Command::new(PROGRAM).args(["compare", &path("gone.csv"), "--json"]).stdout(writer).output()?;
    let error = String::from_utf8(output.stderr)?;
    assert!(output.status.code() == Some(1) && error.contains("gone.png"), "{error}");
    // What else is asked for is still made, and the exit code is that of all pairs.
    let (reader, writer) = std::io::pipe()?;
    drop(reader);
    let mut command = Command::new(PROGRAM);
    command.args(["compare", &path("list.csv"), "--metrics", "psnr", "--ndjson", "--fail-under", "psnr=99"]);
    let output = command.args(["--report", &path("report.html")]).stdout(writer).output()?;
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert!(fs::read_to_string(path("report.html"))?.contains("2 of 2 pairs were scored"));
    Ok(())
}

#[test]
fn a_hyphen_is_standard_output() -> Result<()> {
    let (folder, path) = folder()?;
    let list = path("list.csv");
    let run = |arguments: &[&str]| {
        let mut command = assert_cmd::Command::new(PROGRAM);
        command.current_dir(folder.path()).args(["compare", &list, "--metrics", "ssim"]).args(arguments).assert()
    };
    assert_eq!(stdout(&run(&["--csv", "--output", "-"]).success()), stdout(&run(&["--csv"]).success()));
    assert!(stdout(&run(&["--report", "-", "--output", &path("out")]).success()).starts_with("<!DOCTYPE html>"));
    for (arguments, message) in [
        (&["--report", "-"][..], "give `--output FILE`"),
        (&["--resume", "-"], "`--resume` needs a file"),
        (&["--maps", "-"], "`--maps` needs a folder"),
    ] {
        assert_lines(&run(arguments).code(2), 1, &[message]);
    }
    assert!(!fs::exists(path("-"))?);
    Ok(())
}

#[cfg(target_os = "linux")]
#[test]
fn a_log_that_the_shell_appends_to_is_not_replaced() -> Result<()> {
    let (_folder, path) = folder()?;
    fs::write(path("log"), "before\n")?;
    let log = || fs::OpenOptions::new().append(true).open(path("log"));
    let mut command = Command::new(PROGRAM);
    command.args(["compare", &path("list.csv"), "--metrics", "ssim", "--csv", "--output", "/dev/stdout"]);
    assert!(command.stdout(log()?).stderr(Stdio::null()).status()?.success());
    let text = fs::read_to_string(path("log"))?;
    assert!(text.starts_with("before\npair,ssim,error\nb.png,") && text.lines().count() == 4, "{text}");
    Ok(())
}

#[cfg(unix)]
#[test]
fn pipes_and_folders_are_not_what_progress_is_saved_in() -> Result<()> {
    let (_folder, path) = folder()?;
    assert!(Command::new("mkfifo").arg(path("pipe")).status()?.success());
    let resumed = |file: &str| manifest(path("list.csv").as_ref(), &["--metrics", "ssim", "--resume", file]).code(1);
    assert_lines(&resumed(&path("pipe")), 1, &["pipe: it is not a regular file"]);
    assert_lines(&resumed(&path("")), 1, &["it is not a regular file"]);
    let text = stderr(&resumed("/dev/zero"));
    assert!(text.contains("/dev/zero: it is not a regular file"), "{text}");
    Ok(())
}
