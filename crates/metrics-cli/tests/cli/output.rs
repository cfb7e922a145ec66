//! What is printed, and the exit code.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;
use candle_core::Tensor;
use tempfile::TempDir;

use crate::common::{
    PROGRAM, assert_lines, compare, corner, degraded, json, manifest, photograph, row, run, stderr, stdout, tensor,
};

#[test]
fn thresholds_decide_the_exit_code() -> Result<()> {
    let folder = TempDir::new()?;
    let path = folder.path().join("test.png");
    degraded(&corner(200, 180)?).save(&path)?;
    let original = folder.path().join("reference.png");
    corner(200, 180)?.save(&original)?;
    compare(&original, &path, &["--fail-under", "ssim=0.5,psnr=20"]).success();
    let low = compare(&original, &path, &["--fail-under", "ssim=0.99", "--fail-under", "ms_ssim=0.5"]).code(1);
    assert_lines(&low, 1, &["ssim is 0.", "below 0.99"]);
    assert!(stdout(&low).contains("ssim"), "{}", stdout(&low));
    // Infinite, and above any threshold.
    compare(&path, &path, &["--fail-under", "psnr=1e300"]).success();

    let small = folder.path().join("small.png");
    corner(100, 100)?.save(&small)?;
    let none = compare(&small, &small, &["--fail-under", "ms-ssim=0.5"]).code(1);
    assert_lines(&none, 2, &["ms_ssim has no value, and should be at least 0.5"]);
    Ok(())
}

#[test]
fn lines_of_json_are_pairs_and_a_summary() -> Result<()> {
    let chelsea = photograph("chelsea.png");
    let lines = stdout(&compare(&chelsea, &chelsea, &["--ndjson", "--metrics", "psnr,mae"]).success());
    let lines: Vec<serde_json::Value> = lines.lines().map(serde_json::from_str).collect::<Result<_, _>>()?;
    assert_eq!(lines.len(), 2);
    // JSON has no infinity.
    assert_eq!((&lines[0]["psnr"], &lines[0]["mae"]), (&"inf".into(), &0.0.into()), "{}", lines[0]);
    assert_eq!(lines[1]["summary"]["metrics"]["psnr"]["mean"], "inf", "{}", lines[1]);
    Ok(())
}

#[test]
fn output_can_be_a_file() -> Result<()> {
    let folder = TempDir::new()?;
    let path = folder.path().join("scores.json");
    let chelsea = photograph("chelsea.png");
    let printed = stdout(&compare(&chelsea, &chelsea, &["--json"]).success());
    let output = path.to_string_lossy();
    let assert = compare(&chelsea, &chelsea, &["--json", "--output", output.as_ref()]).success();
    assert_eq!((stdout(&assert).as_str(), fs::read_to_string(&path)?), ("", printed));
    Ok(())
}

#[test]
fn presets_are_told_apart() -> Result<()> {
    let folder = TempDir::new()?;
    let path = folder.path().join("test.png");
    degraded(&corner(200, 180)?).save(&path)?;
    let original = folder.path().join("reference.png");
    corner(200, 180)?.save(&original)?;
    let score = |preset: &str| -> Result<String> {
        let summary = json(&compare(&original, &path, &["--json", "--preset", preset]).success())?;
        Ok(summary["metrics"]["ssim"]["mean"].to_string())
    };
    let presets = ["torchmetrics", "skimage", "skimage-gaussian", "wang2004", "burn"];
    let mut scores = presets.into_iter().map(score).collect::<Result<Vec<_>>>()?;
    // No pooling at this size, so piq's is Wang's; and these are other names of the same.
    assert_eq!(scores[3], score("pytorch-msssim")?);
    assert_eq!(scores[3], score("piq")?);
    assert_eq!(scores[4], score("fused-ssim")?);
    scores.sort();
    scores.dedup();
    assert_eq!(scores.len(), presets.len(), "{scores:?}");
    let table = stdout(&compare(&original, &path, &["--preset", "torchmetrics", "--metrics", "psnr"]).success());
    assert_eq!(row(&table, "psnr")[1], row(&table, "psnr_pooled")[1], "{table}");
    Ok(())
}

#[test]
fn no_colours_and_no_bar_in_a_pipe() {
    let chelsea = photograph("chelsea.png");
    let assert = compare(&chelsea, &chelsea, &[]).success();
    assert_eq!(stderr(&assert), "");
    assert!(!stdout(&assert).contains('\x1b'));
    assert!(!stdout(&run(["--help"]).success()).contains('\x1b'));
}

#[test]
fn helpers_print_what_they_are_for() {
    let metrics = stdout(&run(["metrics"]).success());
    assert!(row(&metrics, "ssim").contains(&"-1..1".to_owned()), "{metrics}");
    assert_eq!(row(&metrics, "skimage")[1], "uniform", "{metrics}");
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = stdout(&run(["completions", shell]).success());
        assert!(script.contains("crop-border"), "{shell}");
    }
    let broken = "image__subcmd__metrics";
    assert!(!stdout(&run(["completions", "bash"]).success()).contains(broken), "no state of bash is called this");
    let page = stdout(&run(["man"]).success());
    assert!(page.contains(".TH image-metrics 1") && page.contains(r"\-\-crop\-border"), "{page}");
    run(["completions", "smoke-signals"]).code(2);
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_is_one_line() -> Result<()> {
    let chelsea = photograph("chelsea.png");
    let chelsea = chelsea.to_string_lossy();
    let (compare, full) = (["compare", chelsea.as_ref(), chelsea.as_ref()], "No space left on device");
    for arguments in [&["metrics"][..], &["man"], &["completions", "bash"], &compare] {
        let output = Command::new(PROGRAM).args(arguments).stdout(fs::File::create("/dev/full")?).output()?;
        let message = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{arguments:?}");
        assert!(
            message.lines().count() == 1 && message.contains("standard output") && message.contains(full),
            "{message}"
        );
    }
    for format in ["--csv", "--ndjson", "--json"] {
        let assert = run(compare.into_iter().chain([format, "--output", "/dev/full"])).code(1);
        assert_lines(&assert, 1, &["cannot write to /dev/full", full]);
    }
    Ok(())
}

#[cfg(unix)]
#[test]
fn a_closed_pipe_is_no_error() -> Result<()> {
    for arguments in [&["metrics"][..], &["man"], &["completions", "bash"]] {
        let (reader, writer) = std::io::pipe()?;
        drop(reader);
        let output = Command::new(PROGRAM).args(arguments).stdout(writer).output()?;
        assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
    }
    Ok(())
}

#[test]
fn help_says_what_is_read() {
    let help = stdout(&run(["compare", "--help"]).success());
    let page = stdout(&run(["man"]).success());
    for text in [help, page.replace('\\', "")] {
        let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
        for said in ["OpenEXR", "[N, C, H, W]", "one called `image`", "EXIF", "`reference,test,name`", "start with #"] {
            assert!(text.contains(said), "no `{said}` in: {text}");
        }
    }
    assert!(!page.contains("(1)"), "{page}");
}

#[cfg(unix)]
#[test]
fn names_stay_on_their_line() -> Result<()> {
    let folder = TempDir::new()?;
    let name = "a\n\u{1b}[31m.png";
    for side in ["a", "b"] {
        fs::create_dir(folder.path().join(side))?;
        corner(32, 32)?.save(folder.path().join(side).join("good.png"))?;
        corner(32, 32)?.save(folder.path().join(side).join(name))?;
    }
    let (a, b) = (folder.path().join("a"), folder.path().join("b"));
    let table = stdout(&compare(&a, &b, &["--metrics", "ssim"]).success());
    assert!(table.lines().count() == 2 && table.contains("a\\n\\u{1b}[31m.png"), "{table}");
    for options in [&[][..], &["--keep-going"]] {
        fs::write(b.join(name), "no picture")?;
        let failed = compare(&a, &b, &[&["--metrics", "ssim"], options].concat()).code(1);
        assert_lines(&failed, 1 + options.len(), &["a\\n\\u{1b}[31m.png: The image format"]);
    }
    Ok(())
}

#[test]
fn an_error_is_one_line_without_a_backtrace() -> Result<()> {
    let folder = TempDir::new()?;
    let path = folder.path().join("a.png");
    corner(32, 32)?.save(&path)?;
    for border in ["16", "9223372036854775808"] {
        let mut command = assert_cmd::Command::new(PROGRAM);
        command.arg("compare").args([&path, &path]).args(["--metrics", "ssim,ms-ssim", "--crop-border", border]);
        let assert = command.env("RUST_BACKTRACE", "1").assert().code(1);
        assert_lines(&assert, 1, &["error: cannot compare "]);
        let message = stderr(&assert);
        assert!(!message.contains("0:") && !message.contains("bug"), "{message}");
    }
    Ok(())
}

#[test]
fn maps_and_a_report_are_drawn() -> Result<()> {
    let folder = TempDir::new()?;
    let path = |name: &str| folder.path().join(name);
    fs::create_dir_all(path("a/deep"))?;
    fs::create_dir_all(path("b/deep"))?;
    let image = corner(200, 180)?;
    for name in ["1.png", "deep/2.png"] {
        image.save(path("a").join(name))?;
    }
    image.save(path("b/1.png"))?;
    degraded(&image).save(path("b/deep/2.png"))?;
    let (maps, report) = (path("maps"), path("report.html"));
    let (maps, report) = (maps.to_string_lossy(), report.to_string_lossy());
    let options = ["--maps", &maps, "--report", &report, "--metrics", "ssim,psnr"];
    let with = stdout(&compare(&path("a"), &path("b"), &options).success());
    assert_eq!(with, stdout(&compare(&path("a"), &path("b"), &options[4..]).success()));

    // Where images are equal a map is one colour: it takes fewer bytes than that of quantised ones.
    let size = |name: &str| Ok::<_, anyhow::Error>(fs::metadata(path("maps").join(name))?.len());
    image::open(path("maps/deep/2.ssim.png"))?;
    assert!(size("1.ssim.png")? < size("deep/2.ssim.png")?);

    // Of two files, what the folders are called is not in the name.
    compare(&path("a/deep/2.png"), &path("b/deep/2.png"), &["--maps", &maps]).success();
    assert!(path("maps/2.ssim.png").is_file());

    let page = fs::read_to_string(path("report.html"))?;
    let (worst, other) = (page.find("<h3><bdi>deep/2.png"), page.find("<h3><bdi>1.png"));
    assert!(worst.is_some() && worst < other, "{worst:?} {other:?}");
    assert!(!page.contains("http://") && !page.contains("https://") && page.contains("data:image/png;base64,"));
    // The same bytes again, but for what was typed.
    compare(&path("a"), &path("b"), &options).success();
    assert!(fs::read_to_string(path("report.html"))? == page);
    Ok(())
}

#[test]
fn what_is_read_is_not_written() -> Result<()> {
    let folder = TempDir::new()?;
    let path = |name: &str| folder.path().join(name).to_string_lossy().into_owned();
    fs::create_dir(folder.path().join("a"))?;
    for name in ["a/a.png", "a/a.ssim.png", "b.png"] {
        corner(32, 32)?.save(path(name))?;
    }
    fs::write(path("list.csv"), "a/a.png,a/a.ssim.png,a.png\nb.png,b.png\n")?;
    let (list, a, b) = (path("list.csv"), path("a"), path("b.png"));
    let (again, new) = (path("a/../b.png"), path("new"));
    let refused: [(&[&str], &str); 8] = [
        (&[&a, &a, "--maps", &a], "`--maps` would overwrite"),
        (&[&b, &path("a/a.png"), "--output", &b], "`--output` would overwrite"),
        (&[&b, &path("a/a.png"), "--report", &again], "`--report` would overwrite"),
        (&[&b, &path("a/a.png"), "--resume", &again], "`--resume` would overwrite"),
        (&[&list, "--output", &list], "list.csv, which this run reads"),
        (&[&list, "--output", &new, "--report", &path("a/../new")], "`--output` and `--report` would both write"),
        (&[&list, "--output", &new, "--resume", &new], "`--resume` and `--output` would both write"),
        (&[&list, "--maps", &a, "--output", &path("a/b.ssim.png")], "`--output` and `--maps` would both write"),
    ];
    let files = [list.as_str(), &b, &path("a/a.png"), &path("a/a.ssim.png")].map(str::to_owned);
    let before = files.iter().map(fs::read).collect::<Result<Vec<_>, _>>()?;
    for (arguments, message) in refused {
        let assert = run(["compare", "--metrics", "ssim"].iter().chain(arguments)).code(2);
        assert_lines(&assert, 1, &[message]);
        assert!(files.iter().zip(&before).all(|(file, bytes)| fs::read(file).is_ok_and(|now| now == *bytes)));
        assert!(!fs::exists(&new)?, "{arguments:?}");
    }
    Ok(())
}

#[cfg(unix)]
#[test]
fn links_to_what_is_read_are_not_written() -> Result<()> {
    let folder = TempDir::new()?;
    let [image, link] = ["image.png", "link"].map(|name| folder.path().join(name));
    corner(32, 32)?.save(&image)?;
    std::os::unix::fs::symlink(&image, &link)?;
    let refused = compare(&image, &image, &["--metrics", "ssim", "--output", &link.to_string_lossy()]).code(2);
    assert_lines(&refused, 1, &["`--output` would overwrite"]);
    // Devices hold nothing that could be lost.
    compare(&image, &image, &["--metrics", "ssim", "--output", "/dev/null", "--report", "/dev/null"]).success();
    Ok(())
}

/// Two arrays of two images, of which the test's second is worse than the first.
fn images_of_two(folder: &Path) -> Result<[PathBuf; 2]> {
    let image = tensor(&corner(32, 32)?)?;
    let paths = ["two.npy", "worse.npy"].map(|name| folder.join(name));
    Tensor::cat(&[&image, &image], 0)?.write_npy(&paths[0])?;
    Tensor::cat(&[&image, &image.affine(0.5, 0.0)?], 0)?.write_npy(&paths[1])?;
    Ok(paths)
}

#[test]
fn the_worst_pair_has_the_worst_image() -> Result<()> {
    let folder = TempDir::new()?;
    images_of_two(folder.path())?;
    let image = tensor(&corner(32, 32)?)?;
    image.write_npy(folder.path().join("one.npy"))?;
    // The mean of the two images is better than this, the second of them is worse.
    image.affine(0.7, 0.0)?.write_npy(folder.path().join("dark.npy"))?;
    let list = folder.path().join("list.csv");
    fs::write(&list, "one.npy,dark.npy\ntwo.npy,worse.npy\n")?;
    let options = ["--metrics", "ssim,mse", "--data-range", "1"];
    let summary = json(&manifest(&list, &[&options[..], &["--json"]].concat()).success())?;
    for (metric, extreme) in [("ssim", "min"), ("mse", "max")] {
        let metric = &summary["metrics"][metric];
        assert_eq!(metric["worst"]["pair"], "worse.npy", "{summary}");
        assert_eq!(metric["worst"]["value"], metric[extreme], "{summary}");
    }
    let table = stdout(&manifest(&list, &options).success());
    assert_eq!((row(&table, "metric")[5].as_str(), row(&table, "ssim")[5].as_str()), ("images", "3"), "{table}");
    Ok(())
}

#[test]
fn scores_are_kept_where_pictures_cannot_be_drawn() -> Result<()> {
    let folder = TempDir::new()?;
    let [reference, test] = images_of_two(folder.path())?;
    let path = |name: &str| folder.path().join(name).to_string_lossy().into_owned();
    let (maps, report) = (path("maps"), path("report.html"));
    let options = ["--metrics", "ssim", "--data-range", "1"];
    let plain = stdout(&compare(&reference, &test, &options).success());
    let drawn = compare(&reference, &test, &[&options[..], &["--report", &report]].concat()).success();
    assert_eq!(stdout(&drawn), plain);
    let page = fs::read_to_string(&report)?;
    assert!(
        page.contains("worse.npy")
            && page.contains("No pictures: one image of 1 or 3 channels can be drawn, but the file holds 2 of 3"),
        "{page}"
    );

    let drawn = compare(&reference, &test, &[&options[..], &["--maps", &maps]].concat()).code(1);
    assert_eq!(stdout(&drawn), plain);
    assert_lines(
        &drawn,
        1,
        &[
            "error: there is no map of",
            "cannot draw ",
            "worse.ssim.png: one image of 1 or 3 channels can be drawn, but the file holds 2 of 3",
        ],
    );

    // One that cannot be written does not keep others from being.
    let list = folder.path().join("list.csv");
    corner(32, 32)?.save(folder.path().join("a.png"))?;
    fs::write(&list, "a.png,a.png,1\na.png,a.png,2\n")?;
    fs::create_dir(folder.path().join("maps/1.ssim.png"))?;
    let drawn = manifest(&list, &["--metrics", "ssim", "--json", "--maps", &maps]).code(1);
    assert_lines(&drawn, 1, &["there is no map of 1: cannot write to ", "1.ssim.png: it is a folder"]);
    assert_eq!(json(&drawn)?["scored"], 2);
    assert!(folder.path().join("maps/2.ssim.png").is_file());
    Ok(())
}

#[test]
fn pairs_without_a_number_are_noted() -> Result<()> {
    let folder = TempDir::new()?;
    let image = tensor(&corner(32, 32)?)?;
    let [good, bad, list] = ["good.npy", "bad.npy", "list.csv"].map(|name| folder.path().join(name));
    image.write_npy(&good)?;
    image.affine(f64::NAN, 0.0)?.write_npy(&bad)?;
    fs::write(&list, "good.npy,good.npy\ngood.npy,bad.npy\n")?;
    let assert = manifest(&list, &["--metrics", "mse", "--data-range", "1"]).success();
    assert_lines(&assert, 1, &["note: mse is NaN for 1 pair: bad.npy"]);
    Ok(())
}

#[cfg(unix)]
#[test]
fn bash_completes_options_and_their_values() -> Result<()> {
    let folder = TempDir::new()?;
    let script = folder.path().join("image-metrics.bash");
    fs::write(&script, stdout(&run(["completions", "bash"]).success()))?;
    let complete = |words: &str| -> Result<String> {
        let shell = "source \"$0\"; COMP_WORDS=($1 \"$2\"); COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
            function=$(complete -p image-metrics | sed 's/.*-F \\([^ ]*\\).*/\\1/')
            $function image-metrics \"$2\" \"${COMP_WORDS[COMP_CWORD - 1]}\"; echo \"${COMPREPLY[*]}\"";
        let (before, last) = words.rsplit_once(' ').unwrap_or_default();
        let output = Command::new("bash").args(["-c", shell]).arg(&script).args([before, last]).output()?;
        assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
        Ok(String::from_utf8(output.stdout)?)
    };
    for (words, offered) in [
        ("image-metrics co", &["compare", "completions"][..]),
        ("image-metrics compare --", &["--crop-border", "--keep-going", "--fail-under"]),
        ("image-metrics compare a b --cr", &["--crop-border"]),
        ("image-metrics compare --preset sk", &["skimage", "skimage-gaussian"]),
        ("image-metrics completions b", &["bash"]),
    ] {
        let completed = complete(words)?;
        let completed: Vec<_> = completed.split_whitespace().collect();
        assert!(offered.iter().all(|word| completed.contains(word)), "{words}: {completed:?}");
    }
    Ok(())
}

#[test]
fn what_is_pooled_is_the_last_line_of_csv() -> Result<()> {
    let folder = TempDir::new()?;
    let [a, b, list] = ["a.png", "b.png", "list.csv"].map(|name| folder.path().join(name));
    corner(64, 48)?.save(&a)?;
    degraded(&corner(64, 48)?).save(&b)?;
    fs::write(&list, "a.png,b.png\na.png,a.png\n")?;
    let pooled = &json(&manifest(&list, &["--json", "--metrics", "psnr-pooled"]).success())?["metrics"]["psnr_pooled"];
    let pooled = pooled["value"].as_f64().unwrap_or(f64::NAN);
    let csv = stdout(&manifest(&list, &["--csv", "--metrics", "psnr-pooled"]).success());
    assert_eq!(csv, format!("pair,psnr_pooled,error\nb.png,,\na.png,,\n,{pooled},\n"));
    let both = stdout(&manifest(&list, &["--csv", "--metrics", "mae", "--metrics", "psnr-pooled"]).success());
    assert_eq!(both.lines().last(), Some(format!(",,{pooled},").as_str()), "{both}");
    let none = stdout(&manifest(&list, &["--csv", "--metrics", "mae"]).success());
    assert_eq!(none.lines().count(), 3, "{none}");
    Ok(())
}

#[cfg(unix)]
#[test]
fn spreadsheets_take_no_name_for_a_formula() -> Result<()> {
    let folder = TempDir::new()?;
    corner(32, 32)?.save(folder.path().join("a.png"))?;
    let names = ["=1+1", "+1", "-1", "@x", "'quoted", "plain", "a=b"];
    let lines: String = names.iter().map(|name| format!("a.png,a.png,{name}\n")).collect();
    let list = folder.path().join("list.csv");
    fs::write(&list, lines)?;
    let csv = stdout(&manifest(&list, &["--csv", "--metrics", "ssim"]).success());
    let mut reader = csv::Reader::from_reader(csv.as_bytes());
    let cells: Vec<String> = reader.records().map(|record| Ok(record?[0].to_owned())).collect::<Result<_>>()?;
    assert!(cells.iter().all(|cell| !cell.starts_with(['=', '+', '-', '@'])), "{cells:?}");
    // One apostrophe less, and it is the name.
    let back: Vec<_> = cells.iter().map(|cell| cell.strip_prefix('\'').unwrap_or(cell)).collect();
    assert_eq!(back, names);
    Ok(())
}

#[test]
fn json_has_no_control_characters() -> Result<()> {
    let folder = TempDir::new()?;
    corner(32, 32)?.save(folder.path().join("a.png"))?;
    let list = folder.path().join("list.csv");
    let name = "a\u{9b}31m\u{7f}\u{1b}b";
    fs::write(&list, format!("a.png,a.png,{name}\n"))?;
    for format in ["--json", "--ndjson"] {
        let text = stdout(&manifest(&list, &[format, "--metrics", "ssim"]).success());
        assert!(text.chars().all(|c| !c.is_control() || c == '\n'), "{text:?}");
        let last: serde_json::Value =
            serde_json::from_str(text.lines().last().filter(|_| format == "--ndjson").unwrap_or(&text))?;
        let summary = if format == "--json" { &last } else { &last["summary"] };
        assert_eq!(summary["metrics"]["ssim"]["worst"]["pair"], name);
    }
    Ok(())
}

#[test]
fn quantiles_of_many_values_are_marked() -> Result<()> {
    let folder = TempDir::new()?;
    let options = ["--metrics", "mae", "--data-range", "1", "--json"];
    let [zeros, many, list, report] =
        ["zeros.npy", "many.npy", "list.csv", "r.html"].map(|name| folder.path().join(name));
    for (images, exact) in [(1024u32, true), (1200, false)] {
        let values: Vec<f64> = (0..images).flat_map(|i| [f64::from(i + 1).sqrt(); 4]).collect();
        let shape = (images as usize, 1, 2, 2);
        Tensor::from_vec(values, shape, &candle_core::Device::Cpu)?.write_npy(&many)?;
        Tensor::zeros(shape, candle_core::DType::F64, &candle_core::Device::Cpu)?.write_npy(&zeros)?;
        fs::write(&list, "zeros.npy,many.npy\n")?;
        let assert = manifest(&list, &[&options[..], &["--report", &report.to_string_lossy()]].concat()).success();
        let mae = json(&assert)?["metrics"]["mae"].clone();
        let error = mae["quantile_error"].as_f64().unwrap_or(f64::NAN);
        let page = fs::read_to_string(&report)?;
        assert_eq!((error == 0.0, !page.contains('≈')), (exact, exact), "{mae}");
        // The bound is one.
        let (median, truth) = (mae["median"].as_f64().unwrap_or(f64::NAN), f64::from(images + 1).sqrt() / 2f64.sqrt());
        assert!((median / truth - 1.0).abs() <= error + 1e-6, "{mae}");
    }
    Ok(())
}
