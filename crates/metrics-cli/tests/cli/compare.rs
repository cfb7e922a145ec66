//! Two files.

use anyhow::Result;
use metrics_image::{MsSsimConfig, PsnrConfig, SsimConfig, ms_ssim, psnr, ssim};
use tempfile::TempDir;

use crate::common::{compare, degraded, manifest, photograph, stderr, stdout, tensor, value};

#[test]
fn image_equals_itself() {
    let assert = compare(&photograph("chelsea.png"), &photograph("chelsea.png"), &[]).success();
    let table = stdout(&assert);
    assert_eq!(value(&table, "psnr").as_deref(), Some("inf"), "{table}");
    assert_eq!(value(&table, "ssim").as_deref(), Some("1.000000"), "{table}");
    assert_eq!(value(&table, "ms_ssim").as_deref(), Some("1.000000"), "{table}");
}

#[test]
fn values_are_those_of_the_library() -> Result<()> {
    let folder = TempDir::new()?;
    let path = folder.path().join("degraded.png");
    let original = image::open(photograph("chelsea.png"))?.to_rgb8();
    let image = degraded(&original);
    image.save(&path)?;

    let table = stdout(&compare(&path, &photograph("chelsea.png"), &[]).success());
    let (pred, target) = (tensor(&image)?, tensor(&original)?);
    let expected = [
        ("psnr", psnr(&pred, &target, &PsnrConfig::new(1.0))?),
        ("ssim", ssim(&pred, &target, &SsimConfig::new(1.0))?),
        ("ms_ssim", ms_ssim(&pred, &target, &MsSsimConfig::new(1.0))?),
    ];
    for (metric, expected) in expected {
        let expected = f64::from(expected.to_scalar::<f32>()?);
        let printed: f64 = value(&table, metric).unwrap_or_default().parse()?;
        // Six decimals are printed, of sums in f64; the function rounds to f32, 6e-8 of the value.
        assert!((printed - expected).abs() < 5e-7 + 6e-8 * expected, "{metric}: {printed} instead of {expected}");
    }
    Ok(())
}

#[test]
fn only_the_metrics_asked_for() {
    let assert = compare(&photograph("coffee.png"), &photograph("coffee.png"), &["--metrics", "ssim"]).success();
    let table = stdout(&assert);
    assert!(value(&table, "ssim").is_some() && value(&table, "psnr").is_none(), "{table}");
}

#[test]
fn metrics_may_be_named_as_in_the_output() {
    let chelsea = photograph("chelsea.png");
    let named = |metrics| stdout(&compare(&chelsea, &chelsea, &["--metrics", metrics]).success());
    assert_eq!(named("psnr_pooled,ms_ssim"), named("psnr-pooled,ms-ssim"));
}

#[test]
fn grey_and_colour_are_compared_as_colour() -> Result<()> {
    let folder = TempDir::new()?;
    let path = folder.path().join("grey.png");
    let photo = image::open(photograph("chelsea.png"))?;
    photo.to_luma8().save(&path)?;
    let itself = stdout(&compare(&path, &path, &["--metrics", "ssim"]).success());
    assert_eq!(value(&itself, "ssim").as_deref(), Some("1.000000"), "{itself}");
    let other = stdout(&compare(&path, &photograph("chelsea.png"), &["--metrics", "psnr"]).success());
    assert!(value(&other, "psnr").unwrap_or_default().parse::<f64>()?.is_finite(), "{other}");
    Ok(())
}

#[test]
fn small_images_go_without_ms_ssim() -> Result<()> {
    let folder = TempDir::new()?;
    let path = folder.path().join("small.png");
    let photo = image::open(photograph("chelsea.png"))?.to_rgb8();
    image::imageops::crop_imm(&photo, 0, 0, 200, 175).to_image().save(&path)?;

    let assert = compare(&path, &path, &[]).success();
    assert!(value(&stdout(&assert), "ms_ssim").is_none() && value(&stdout(&assert), "ssim").is_some());
    assert!(stderr(&assert).contains("ms_ssim is left out: sides of less than 176 pixels"), "{}", stderr(&assert));

    let alone = compare(&path, &path, &["--metrics", "ms-ssim"]).code(1);
    assert!(stderr(&alone).contains("ms_ssim needs sides of at least 176 pixels, but the images are 200×175"));
    Ok(())
}

#[test]
fn tiny_images_go_without_ssim() -> Result<()> {
    let folder = TempDir::new()?;
    let [path, maps, report] = ["tiny.png", "maps", "report.html"].map(|name| folder.path().join(name));
    image::imageops::crop_imm(&image::open(photograph("chelsea.png"))?.to_rgb8(), 0, 0, 9, 5).to_image().save(&path)?;
    let metrics = ["--metrics", "psnr,ssim,ms-ssim,mae"];
    let assert = compare(&path, &path, &metrics).success();
    let table = stdout(&assert);
    assert_eq!((value(&table, "psnr").as_deref(), value(&table, "mae").as_deref()), (Some("inf"), Some("0.000000")));
    assert!(value(&table, "ssim").is_none() && value(&table, "ms_ssim").is_none(), "{table}");
    assert!(stderr(&assert).contains("note: ssim is left out: sides of less than 6 pixels"), "{}", stderr(&assert));

    let alone = stderr(&compare(&path, &path, &["--metrics", "ms-ssim,ssim", "--preset", "wang2004"]).code(1));
    assert!(alone.contains("ssim needs sides of at least 11 pixels, but the images are 9×5"), "{alone}");
    let (maps, report) = (maps.to_string_lossy(), report.to_string_lossy());
    let drawn = [&metrics[..], &["--maps", &maps, "--report", &report]].concat();
    let drawn = stderr(&compare(&path, &path, &drawn).code(1));
    assert!(drawn.contains("a map of SSIM needs sides of at least 6 pixels, but the images are 9×5"), "{drawn}");
    assert!(!drawn.contains("axis") && !drawn.contains("member") && !alone.contains("member"), "{drawn}");
    Ok(())
}

#[test]
fn data_ranges_are_checked_once() -> Result<()> {
    let folder = TempDir::new()?;
    let path = folder.path().join("degraded.png");
    let original = image::open(photograph("chelsea.png"))?.to_rgb8();
    degraded(&original).save(&path)?;
    let score = |range: &str| -> Result<Vec<f64>> {
        let options = ["--metrics", "psnr,ssim,ms-ssim", "--data-range", range];
        let table = stdout(&compare(&photograph("chelsea.png"), &path, &options).success());
        ["psnr", "ssim", "ms_ssim"].iter().map(|name| Ok(value(&table, name).unwrap_or_default().parse()?)).collect()
    };
    let expected = score("1")?;
    for range in ["1e-30", "1e-20", "1e-14", "1e-12", "1e12", "1e13", "1e30"] {
        let scores = score(range)?;
        let close = scores.iter().zip(&expected).all(|(a, b)| (a - b).abs() < 1e-4);
        assert!(close, "{range}: {scores:?} instead of {expected:?}");
    }
    for range in ["1e-31", "1e31", "0", "-1", "inf", "NaN", "x"] {
        let refused = compare(&path, &path, &["--data-range", range]).code(2);
        assert!(stderr(&refused).contains("--data-range"), "{}", stderr(&refused));
    }
    Ok(())
}

#[test]
fn sizes_must_agree() {
    let assert = compare(&photograph("chelsea.png"), &photograph("coffee.png"), &[]).code(1);
    let message = stderr(&assert);
    assert!(message.contains("chelsea.png is 451×300 but") && message.contains("coffee.png is 600×400"), "{message}");
}

#[test]
fn unreadable_files_are_named() -> Result<()> {
    let missing = compare(&photograph("nobody.png"), &photograph("coffee.png"), &[]).code(1);
    assert!(stderr(&missing).contains("nobody.png"), "{}", stderr(&missing));

    let folder = TempDir::new()?;
    let path = folder.path().join("text.png");
    std::fs::write(&path, "no picture")?;
    let broken = compare(&photograph("coffee.png"), &path, &[]).code(1);
    assert!(stderr(&broken).contains("text.png"), "{}", stderr(&broken));
    Ok(())
}

#[test]
fn transparency_is_refused() -> Result<()> {
    let folder = TempDir::new()?;
    let (opaque, glass) = (folder.path().join("opaque.png"), folder.path().join("glass.png"));
    let mut image = image::open(photograph("chelsea.png"))?.to_rgba8();
    image.save(&opaque)?;
    image.get_pixel_mut(0, 0)[3] = 0;
    image.save(&glass)?;
    compare(&opaque, &photograph("chelsea.png"), &["--metrics", "ssim"]).success();
    let assert = compare(&glass, &photograph("chelsea.png"), &[]).code(1);
    assert!(stderr(&assert).contains("glass.png is partly transparent"), "{}", stderr(&assert));
    Ok(())
}

#[test]
fn wrong_command_line_is_told_apart() {
    let chelsea = photograph("chelsea.png");
    let refused = [
        (&["--metrics", "sharpness"][..], "sharpness"),
        (&["--metrics", "ssim,ssim"], "`--metrics` names ssim twice"),
        (&["--data-range", "0"], "--data-range"),
        (&["--data-range", "NaN"], "--data-range"),
        (&["--max-pixels", "0"], "--max-pixels"),
        (&["--json", "--csv"], "--csv"),
        (&["--match", "path"], "`--match` is for two folders"),
        (&["--fail-under", "ssim"], "METRIC=VALUE"),
        (&["--fail-under", "mae=1"], "lower is better"),
        (&["--fail-under", "ssim=NaN"], "not a number"),
        (&["--metrics", "psnr", "--fail-under", "ssim=0.5"], "`--fail-under` names ssim"),
    ];
    for (options, message) in refused {
        let assert = compare(&chelsea, &chelsea, options).code(2);
        assert!(stderr(&assert).contains(message), "{options:?}: {}", stderr(&assert));
        assert_eq!(stdout(&assert), "", "{options:?}");
    }
    let folder = chelsea.parent().unwrap_or(&chelsea);
    for (other, message) in [(&chelsea, "chelsea.png is not"), (&photograph("nowhere"), "nowhere does not exist")] {
        let refused = stderr(&compare(folder, other, &[]).code(2));
        assert!(refused.contains("is a folder, but") && refused.contains(message), "{refused}");
    }
    let listed = stderr(&manifest(&photograph("list.csv"), &["--match", "stem"]).code(2));
    assert!(listed.contains("`--match` is for two folders"), "{listed}");
    let alone = stderr(&manifest(&chelsea, &[]).code(2));
    assert!(alone.contains("chelsea.png is an image; name the image to judge too"), "{alone}");
}
