//! Folders and manifests.

use std::fs;
use std::path::Path;

use anyhow::Result;
use assert_cmd::Command;
use tempfile::TempDir;

use crate::common::{PROGRAM, assert_lines, compare, corner, degraded, json, manifest, row, stderr, stdout};

/// Folders `a` and `b` with three pairs, of which `deep/2.png` is the worst.
fn folders() -> Result<TempDir> {
    let folder = TempDir::new()?;
    let path = folder.path();
    fs::create_dir_all(path.join("a/deep"))?;
    fs::create_dir_all(path.join("b/deep"))?;
    let image = corner(200, 180)?;
    for (name, worse) in [("1.png", false), ("deep/2.png", true), ("3.png", false)] {
        image.save(path.join("a").join(name))?;
        if worse { degraded(&image) } else { image.clone() }.save(path.join("b").join(name))?;
    }
    fs::write(path.join("a/notes.txt"), "not an image")?;
    Ok(folder)
}

#[test]
fn folders_are_matched_by_path() -> Result<()> {
    let folder = folders()?;
    let (a, b) = (folder.path().join("a"), folder.path().join("b"));
    let table = stdout(&compare(&a, &b, &["--metrics", "ssim,mae"]).success());
    let (ssim, mae) = (row(&table, "ssim"), row(&table, "mae"));
    assert_eq!(ssim.last().map(String::as_str), Some("deep/2.png"), "{table}");
    assert_eq!(mae.last().map(String::as_str), Some("deep/2.png"), "{table}");
    assert_eq!((ssim[4].as_str(), ssim[5].as_str()), ("1.000000", "3"), "{table}");

    // Mean, spread and extremes are those of the lines.
    let lines = stdout(&compare(&a, &b, &["--metrics", "ssim", "--csv"]).success());
    let values: Vec<f64> = lines.lines().skip(1).filter_map(|line| line.split(',').nth(1)?.parse().ok()).collect();
    assert_eq!(
        lines.lines().map(|line| line.split(',').next()).collect::<Vec<_>>(),
        [Some("pair"), Some("1.png"), Some("3.png"), Some("deep/2.png")]
    );
    let mean = values.iter().sum::<f64>() / 3.0;
    let std = (values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / 3.0).sqrt();
    let summary = json(&compare(&a, &b, &["--metrics", "ssim", "--json"]).success())?;
    let number = |key: &str| summary["metrics"]["ssim"][key].as_f64().unwrap_or(f64::NAN);
    // Sums of three numbers near 1, in another order: a few roundings of 1e-16.
    assert!((number("mean") - mean).abs() < 1e-15 && (number("std") - std).abs() < 1e-15, "{summary}");
    assert_eq!((number("min"), number("max")), (values[2], values[0]), "{summary}");
    Ok(())
}

#[test]
fn folders_are_matched_by_stem() -> Result<()> {
    let folder = folders()?;
    let (a, b) = (folder.path().join("a"), folder.path().join("b"));
    fs::remove_file(b.join("1.png"))?;
    corner(200, 180)?.save(b.join("1.bmp"))?;
    let lonely = compare(&a, &b, &[]).code(1);
    assert_lines(&lonely, 2, &["1.png has no partner in", "1.bmp has no partner in", "; `--match stem` finds one"]);
    assert_eq!(stdout(&lonely), "");
    let table = stdout(&compare(&a, &b, &["--match", "stem", "--metrics", "ssim"]).success());
    assert_eq!(row(&table, "ssim")[5], "3", "{table}");

    fs::copy(a.join("3.png"), a.join("3.pgm"))?;
    assert_lines(&compare(&a, &b, &["--match", "stem"]).code(1), 1, &["have the same stem"]);
    Ok(())
}

#[test]
fn missing_partners_do_not_stop_the_rest() -> Result<()> {
    let folder = folders()?;
    let (a, b) = (folder.path().join("a"), folder.path().join("b"));
    fs::remove_file(b.join("3.png"))?;
    let assert = compare(&a, &b, &["--keep-going", "--json"]).code(1);
    assert_lines(&assert, 2, &["3.png has no partner in", "1 of 3 pairs could not be compared"]);
    assert!(!stderr(&assert).contains("--match"), "{}", stderr(&assert));
    let summary = json(&assert)?;
    assert_eq!((&summary["scored"], &summary["failed"]), (&2.into(), &1.into()), "{summary}");
    assert_eq!(summary["failures"][0]["pair"], "3.png", "{summary}");
    Ok(())
}

#[test]
fn folders_without_images_are_an_error() -> Result<()> {
    let folder = TempDir::new()?;
    assert_lines(&compare(folder.path(), folder.path(), &[]).code(1), 1, &["there are no images that can be read in"]);
    Ok(())
}

#[cfg(unix)]
#[test]
fn links_are_followed_but_not_in_circles() -> Result<()> {
    let folder = folders()?;
    let (a, b) = (folder.path().join("a"), folder.path().join("b"));
    for side in [&a, &b] {
        std::os::unix::fs::symlink(side.join("1.png"), side.join("link.png"))?;
        std::os::unix::fs::symlink(side, side.join("deep/loop"))?;
    }
    let assert = compare(&a, &b, &["--keep-going", "--json"]).code(1);
    assert!(stderr(&assert).contains("deep/loop is a link to"), "{}", stderr(&assert));
    assert!(stderr(&assert).contains("a loop"), "{}", stderr(&assert));
    assert_eq!(json(&assert)?["scored"], 4);
    Ok(())
}

#[test]
fn manifests_name_pairs() -> Result<()> {
    let folder = folders()?;
    let path = folder.path().join("pairs.csv");
    let text = "reference,test\na/1.png,b/deep/2.png,first\n# left out\na/3.png,b/3.png\n";
    fs::write(&path, text)?;
    let lines = stdout(&manifest(&path, &["--metrics", "ssim", "--csv"]).success());
    let names: Vec<_> = lines.lines().filter_map(|line| line.split(',').next()).collect();
    assert_eq!(names, ["pair", "first", "b/3.png"], "{lines}");

    let piped = Command::new(PROGRAM)
        .current_dir(folder.path())
        .args(["compare", "-", "--metrics", "ssim", "--csv"])
        .write_stdin(text)
        .assert()
        .success();
    assert_eq!(stdout(&piped), lines);

    fs::write(&path, "a/1.png\n")?;
    assert_lines(&manifest(&path, &[]).code(1), 1, &["pairs.csv: entry 1, `a/1.png`: 1 fields"]);
    assert_lines(&manifest(Path::new("nowhere.csv"), &[]).code(1), 1, &["cannot read nowhere.csv"]);
    assert_lines(&manifest(folder.path(), &[]).code(2), 1, &["is a folder"]);
    Ok(())
}

#[cfg(unix)]
#[test]
fn a_manifest_from_a_command_starts_where_the_user_is() -> Result<()> {
    let folder = folders()?;
    let script = r#""$0" compare <(printf 'a/1.png,b/1.png\n') --metrics ssim --csv"#;
    let mut shell = Command::new("bash");
    let assert = shell.current_dir(folder.path()).args(["-c", script, PROGRAM]).assert().success();
    assert_eq!(stdout(&assert), "pair,ssim,error\nb/1.png,1,\n");
    Ok(())
}

#[test]
fn files_that_are_passed_over_are_counted() -> Result<()> {
    let folder = folders()?;
    let (a, b) = (folder.path().join("a"), folder.path().join("b"));
    let options = ["--metrics", "ssim", "--json"];
    // A text is nobody's image.
    let plain = compare(&a, &b, &options).success();
    assert_eq!((stderr(&plain).as_str(), &json(&plain)?["passed_over"]["files"]), ("", &1.into()));

    for name in ["a/x.gif", "a/y.GIF", "b/deep/z.jp2", "b/noise.npz"] {
        fs::write(folder.path().join(name), "")?;
    }
    let report = folder.path().join("report.html").to_string_lossy().into_owned();
    let noted = compare(&a, &b, &[&options[..], &["--report", &report]].concat()).success();
    let sentence = "5 files in the folders are not compared, of which 2 .gif, 1 .jp2, 1 .npz";
    assert_lines(&noted, 1, &[&format!("note: {sentence}")]);
    let passed_over = &json(&noted)?["passed_over"];
    let expected = serde_json::json!({"files": 5, "other_formats": {"gif": 2, "jp2": 1, "npz": 1}, "maps": 0});
    assert_eq!(passed_over, &expected);
    assert!(fs::read_to_string(&report)?.contains(sentence));

    for name in ["1.png", "3.png", "deep/2.png"] {
        fs::remove_file(a.join(name))?;
        fs::remove_file(b.join(name))?;
    }
    assert_lines(&compare(&a, &b, &[]).code(1), 1, &["there are no images that can be read in", sentence]);
    Ok(())
}

#[test]
fn failures_are_listed_or_counted() -> Result<()> {
    let folder = folders()?;
    let (list, report) = (folder.path().join("list.csv"), folder.path().join("report.html"));
    let failing = |pairs: usize| fs::write(&list, format!("a/1.png,b/1.png\n{}", "a/1.png,gone.png\n".repeat(pairs)));
    for (pairs, more) in [(250, 0), (1002, 2)] {
        failing(pairs)?;
        let options = ["--metrics", "psnr", "--keep-going", "--json", "--report", &report.to_string_lossy()];
        let summary = json(&manifest(&list, &options).code(1))?;
        let listed = summary["failures"].as_array().map_or(0, Vec::len);
        assert_eq!((listed, &summary["failures_omitted"]), (pairs - more, &more.into()));
        assert_eq!(summary["failed"], pairs);
        let page = fs::read_to_string(&report)?;
        assert!(page.contains(&format!("Not compared: {pairs}<")) && page.contains(&format!("{pairs} not compared.")));
        assert_eq!(page.matches("<tr><th scope=\"row\"><bdi>gone.png").count(), pairs - more);
        assert_eq!(page.contains("and 2 more"), more == 2);
    }
    Ok(())
}
