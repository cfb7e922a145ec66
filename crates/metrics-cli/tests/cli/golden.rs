//! The numbers of TorchMetrics and scikit-image, for photographs and JPEG versions of them: see golden/make_golden.py.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use serde_json::Value;
use tempfile::TempDir;

use crate::common::{compare, degraded, json, photograph};

fn golden(file: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(file)
}

/// Compares each number with the program's, whose tolerance is in decibels for PSNR.
fn assert_equal(name: &str, kind: &str, test: &Path, tolerance: f64, decibels: f64) -> Result<()> {
    let all: Value = serde_json::from_slice(&fs::read(golden("golden.json"))?)?;
    let presets = all[format!("{name}/{kind}")].as_object().context("no such case")?;
    assert!(presets.contains_key("torchmetrics") && presets.contains_key("skimage"));
    for (preset, numbers) in presets {
        let original = photograph(&format!("{name}.png"));
        let summary = json(&compare(&original, test, &["--json", "--preset", preset]).success())?;
        for (metric, expected) in numbers.as_object().context("no numbers")? {
            let ours = summary["metrics"][metric]["mean"].as_f64().context("no mean")?;
            let difference = (ours - expected.as_f64().context("no number")?).abs();
            let tolerance = if metric == "psnr" { decibels } else { tolerance };
            assert!(difference < tolerance, "{name} {kind} {preset} {metric}: {ours} instead of {expected}");
        }
    }
    Ok(())
}

#[test]
fn photographs_score_as_elsewhere() -> Result<()> {
    let folder = TempDir::new()?;
    for name in ["chelsea", "coffee"] {
        let path = folder.path().join("quantised.png");
        degraded(&image::open(photograph(&format!("{name}.png")))?.to_rgb8()).save(&path)?;
        // Pixels are rounded to f32 here, 6e-8 of them, and filtered in f32; the others compute in f64.
        assert_equal(name, "quantised", &path, 1e-6, 1e-5)?;
    }
    Ok(())
}

#[test]
fn jpegs_score_as_elsewhere() -> Result<()> {
    for name in ["chelsea", "coffee"] {
        // Decoders round the inverse DCT and the colour conversion differently, by 1 of 255 in some of the values: that moved
        // these scores by up to 3.3e-5 and 0.0011 dB.
        assert_equal(name, "jpeg", &golden(&format!("{name}.jpg")), 1e-4, 2e-3)?;
    }
    Ok(())
}
