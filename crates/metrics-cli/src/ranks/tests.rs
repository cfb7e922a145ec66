//! Ranks that are threads: whatever is written, it is what a single run writes.

use std::fs;
use std::path::Path;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use anyhow::{Context, Result};
use clap::Parser;
use image::RgbImage;
use metrics_core::Threads;
use tempfile::TempDir;

use super::{Signals, compare};
use crate::args::{Cli, Command, CompareArgs};
use crate::compare::{Run, prepare};

const PAIRS: u32 = 23;

/// A list of pairs, of which some are too small for MS-SSIM, two are of different sizes, and one cannot be read.
fn list(folder: &Path, broken: bool) -> Result<()> {
    let mut list = String::new();
    for pair in 0..PAIRS {
        let side = if pair % 9 == 4 { 40 } else { 176 + pair % 3 };
        let image = |seed: u32, side: u32| {
            RgbImage::from_fn(side, side, |x, y| {
                let noise = (x * 7919 + y * 104_729 + seed * 15_485_863) % 251;
                image::Rgb([x as u8, (y + pair) as u8, (noise * (seed + 1) / 24) as u8])
            })
        };
        image(0, side).save(folder.join(format!("{pair}-a.png")))?;
        image(pair, side + u32::from(pair % 11 == 8)).save(folder.join(format!("{pair}-b.png")))?;
        list += &format!("{pair}-a.png,{pair}-b.png,pair {pair}\n");
    }
    if broken {
        fs::write(folder.join("13-a.png"), "not a picture")?;
    }
    fs::write(folder.join("list.csv"), list)?;
    Ok(())
}

fn arguments(folder: &Path, options: &[&str]) -> Result<CompareArgs> {
    let list = folder.join("list.csv").display().to_string();
    let command = ["image-metrics", "compare", &list, "--jobs", "2"].into_iter().chain(options.iter().copied());
    match Cli::try_parse_from(command)?.command {
        Command::Compare(args) => Ok(*args),
        _ => anyhow::bail!("another command"),
    }
}

fn alone(args: &CompareArgs) -> Result<ExitCode> {
    let (scorer, list) = prepare(args)?;
    let mut run = Run::new(args, &scorer, &list)?;
    run.refuse_lost_pairs();
    let compared = run.compare(&AtomicBool::new(false));
    run.end(compared, false)
}

/// What each rank ends with.
fn by_ranks(ranks: usize, args: impl Fn(usize) -> CompareArgs + Sync) -> Vec<Result<ExitCode>> {
    let args = &args;
    thread::scope(|scope| {
        let work = |(rank, mut member)| scope.spawn(move || compare(&args(rank), &mut member, &Signals::default()));
        let members: Vec<_> = Threads::group(ranks).into_iter().enumerate().map(work).collect();
        members.into_iter().map(|rank| rank.join().expect("a rank that does not panic")).collect()
    })
}

fn assert_codes(codes: Vec<Result<ExitCode>>, first: ExitCode) {
    for (rank, code) in codes.into_iter().enumerate() {
        let expected = if rank == 0 { first } else { ExitCode::SUCCESS };
        // Codes can only be shown.
        assert_eq!(format!("{:?}", code.expect("a code")), format!("{expected:?}"), "rank {rank}");
    }
}

#[test]
fn any_number_of_ranks_writes_what_one_run_writes() -> Result<()> {
    let folder = TempDir::new()?;
    list(folder.path(), true)?;
    let [one, many] = ["one", "many"].map(|name| folder.path().join(name).display().to_string());
    for format in [&["--json"][..], &["--csv"], &["--ndjson"], &[]] {
        let options = |output| {
            let common = ["--output", output, "--keep-going", "--resize-mismatch", "skip", "--preset", "torchmetrics"];
            [format, &common, &["--fail-under", "ssim=0.1"]].concat()
        };
        let code = alone(&arguments(folder.path(), &options(&one))?)?;
        for ranks in [1, 2, 5, 30] {
            let args = options(&many);
            let codes = by_ranks(ranks, |_| arguments(folder.path(), &args).expect("options that are right"));
            assert_codes(codes, code);
            let (one, many) = (fs::read_to_string(&one)?, fs::read_to_string(&many)?);
            assert!(one == many, "{ranks} ranks, {format:?}:\n{many}\ninstead of\n{one}");
            assert!(one.lines().count() > 4, "{one}");
        }
    }
    Ok(())
}

#[test]
fn reports_and_maps_are_the_same() -> Result<()> {
    let folder = TempDir::new()?;
    list(folder.path(), false)?;
    let name = |name: &str| folder.path().join(name).display().to_string();
    let options = |report: &str, maps: &str| {
        let options = [name("out"), name(report), name(maps)];
        let [output, report, maps] = &options;
        let options = [
            "--output",
            output,
            "--report",
            report,
            "--maps",
            maps,
            "--metrics",
            "psnr,ssim",
            "--resize-mismatch",
            "skip",
        ];
        arguments(folder.path(), &options).expect("options that are right")
    };
    let code = alone(&options("one.html", "one"))?;
    assert_codes(by_ranks(3, |_| options("many.html", "many")), code);
    assert!(fs::read(name("one.html"))? == fs::read(name("many.html"))?, "the reports differ");
    let files = |folder: &str| -> Result<Vec<_>> {
        let mut files: Vec<_> = fs::read_dir(name(folder))?.map(|file| Ok(file?.path())).collect::<Result<_>>()?;
        files.sort();
        files.iter().map(|file| Ok((file.file_name().context("no name")?.to_owned(), fs::read(file)?))).collect()
    };
    assert!(files("one")? == files("many")?, "the maps differ");
    assert_eq!(files("one")?.len(), 21);
    Ok(())
}

#[test]
fn a_failure_ends_all_and_a_new_run_goes_on() -> Result<()> {
    let folder = TempDir::new()?;
    list(folder.path(), true)?;
    let [one, many, resume] = ["one", "many", "resume"].map(|name| folder.path().join(name).display().to_string());
    let options = ["--metrics", "psnr,ssim", "--resize-mismatch", "skip", "--ndjson", "--output"];
    let resumed = [&options[..], &[&many, "--resume", &resume]].concat();
    let run = || by_ranks(4, |_| arguments(folder.path(), &resumed).expect("options that are right"));

    let errors: Vec<_> = run().into_iter().map(|code| format!("{:#}", code.expect_err("pair 13 is broken"))).collect();
    assert!(errors[1].contains("13-a.png"), "{errors:?}"); // 13 = 1 + 3 · 4
    for rank in [0, 2, 3] {
        assert!(errors[rank].starts_with("collective: rank "), "{errors:?}");
    }
    let saved: serde_json::Value = serde_json::from_slice(&fs::read(folder.path().join("resume.rank-1"))?)?;
    assert_eq!(saved["counts"]["done"], 3);

    list(folder.path(), false)?;
    assert_codes(run(), ExitCode::SUCCESS);
    let code = alone(&arguments(folder.path(), &[&options[..], &[&one]].concat())?)?;
    assert_eq!(format!("{code:?}"), format!("{:?}", ExitCode::SUCCESS));
    assert!(fs::read(&one)? == fs::read(&many)?, "what was resumed is not what was not interrupted");
    // Once more there is nothing to do but write, and with other ranks there would be other parts.
    assert_codes(run(), ExitCode::SUCCESS);
    assert!(fs::read(&one)? == fs::read(&many)?, "a run that was done is not what it was");
    assert_codes(
        by_ranks(3, |_| arguments(folder.path(), &resumed).expect("options that are right")),
        ExitCode::FAILURE,
    );
    Ok(())
}

#[test]
fn what_is_wrong_is_found_by_all() -> Result<()> {
    let folder = TempDir::new()?;
    list(folder.path(), false)?;
    let output = folder.path().join("out").display().to_string();
    let options = |options: &[&str]| {
        arguments(folder.path(), &[options, &["--output", &output]].concat()).expect("options that clap accepts")
    };
    // Usage, on all ranks; other options or other files on one; and a disk that refuses.
    assert_codes(by_ranks(3, |_| options(&["--metrics", "psnr", "--fail-under", "ssim=1"])), ExitCode::from(2));
    let differ = |rank| options(if rank == 1 { &["--crop-border", "1"] } else { &[] });
    assert_codes(by_ranks(3, differ), ExitCode::FAILURE);
    let no_folder = |rank| options(if rank == 2 { &["--resume", "/dev/null/there"] } else { &[] });
    assert_codes(by_ranks(3, no_folder), ExitCode::FAILURE);
    // A file that is not there is known to all before any work.
    fs::remove_file(folder.path().join("3-a.png"))?;
    let missing = || options(&["--metrics", "psnr", "--resize-mismatch", "skip"]);
    let error = alone(&missing()).expect_err("a file is not there").to_string();
    assert!(error.contains("3-a.png"), "{error}");
    // In a list, files are looked for when their turn comes: the rank that has the pair says so, and all end.
    let errors = by_ranks(3, |_| missing());
    let errors: Vec<_> = errors.into_iter().map(|code| format!("{:#}", code.expect_err("a rank failed"))).collect();
    assert!(errors[0].contains("3-a.png"), "{errors:?}"); // 3 = 0 + 1 · 3
    assert!(errors[1..].iter().all(|error| error.starts_with("collective: rank ")), "{errors:?}");

    // Of two folders, it is known before any work: rank 0 says so, and no rank begins.
    let [a, b] = ["a", "b"].map(|name| folder.path().join(name));
    for (side, names) in [(&a, &["0.png", "1.png", "2.png"][..]), (&b, &["0.png", "2.png"])] {
        fs::create_dir(side)?;
        names.iter().try_for_each(|name| RgbImage::new(16, 16).save(side.join(name)))?;
    }
    let folders = |_| {
        let command = ["image-metrics", "compare", &a.to_string_lossy(), &b.to_string_lossy(), "--metrics", "ssim"];
        match Cli::parse_from(command.into_iter().chain(["--csv", "--output", &output])).command {
            Command::Compare(args) => *args,
            _ => unreachable!("the command is `compare`"),
        }
    };
    let codes = by_ranks(3, folders);
    assert!(codes[0].as_ref().is_err_and(|error| error.to_string().contains("1.png has no partner")), "{codes:?}");
    for code in &codes[1..] {
        assert_eq!(format!("{code:?}"), format!("{:?}", Ok::<_, ()>(ExitCode::SUCCESS)));
    }
    assert_eq!(fs::read_to_string(&output)?.lines().count(), 2, "the heading and the pair that has no partner");
    Ok(())
}

#[test]
fn a_signal_ends_a_rank_before_it_waits() -> Result<()> {
    let folder = TempDir::new()?;
    list(folder.path(), false)?;
    let args = arguments(folder.path(), &["--metrics", "psnr"])?;
    let mut members = Threads::group(1);
    let signals = Signals::default();
    signals.stop.store(true, Ordering::SeqCst);
    let error = compare(&args, &mut members[0], &signals).expect_err("it was stopped").to_string();
    assert_eq!(error, "interrupted after 0 of its 23 pairs");
    Ok(())
}

#[test]
fn failures_of_the_run_before_do_not_end_the_next() -> Result<()> {
    let folder = TempDir::new()?;
    let [a, b, output, progress] = ["a", "b", "output", "progress"].map(|name| folder.path().join(name));
    for side in [&a, &b] {
        fs::create_dir(side)?;
        RgbImage::new(16, 16).save(side.join("both.png"))?;
    }
    RgbImage::new(16, 16).save(a.join("alone.png"))?;
    let [a, b, output, progress] = [a, b, output, progress].map(|path| path.display().to_string());
    let run = |going: Option<&str>| {
        let command = ["image-metrics", "compare", &a, &b, "--metrics", "ssim", "--json", "--output", &output];
        let command = command.into_iter().chain(["--resume", &progress]).chain(going);
        by_ranks(2, |_| match Cli::parse_from(command.clone()).command {
            Command::Compare(args) => *args,
            _ => unreachable!("the command is `compare`"),
        })
    };
    assert_codes(run(Some("--keep-going")), ExitCode::FAILURE);
    let first = fs::read(&output)?;
    assert_codes(run(None), ExitCode::FAILURE);
    assert!(fs::read(&output)? == first);
    Ok(())
}
