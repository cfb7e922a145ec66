//! The numbers of TorchMetrics and scikit-image, for photographs and JPEG versions of them: see golden/make_golden.py.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use candle_core::{Device, Tensor};
use serde_json::Value;
use tempfile::TempDir;

use crate::common::{compare, degraded, json, photograph};

fn golden(file: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(file)
}

/// Compares each number with the program's, whose tolerance is in decibels for PSNR.
fn assert_equal(name: &str, kind: &str, original: &Path, test: &Path, tolerance: f64, decibels: f64) -> Result<()> {
    let all: Value = serde_json::from_slice(&fs::read(golden("golden.json"))?)?;
    let presets = all[format!("{name}/{kind}")].as_object().context("no such case")?;
    assert!(presets.contains_key("torchmetrics") && presets.contains_key("skimage"));
    for (preset, numbers) in presets {
        let options = ["--json", "--data-range", "1", "--preset", preset];
        let summary = json(&compare(original, test, &options).success())?;
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
    for name in ["astronaut", "chelsea", "coffee"] {
        let path = folder.path().join("quantised.png");
        degraded(&image::open(photograph(&format!("{name}.png")))?.to_rgb8()).save(&path)?;
        // Pictures are filtered in f32 here and in f64 there: the bound of tests/parity.rs for that.
        assert_equal(name, "quantised", &photograph(&format!("{name}.png")), &path, 1e-5, 1e-5)?;
    }
    Ok(())
}

#[test]
fn photographs_as_arrays_score_as_elsewhere_in_f64() -> Result<()> {
    let folder = TempDir::new()?;
    let [reference, test] = ["reference.npy", "test.npy"].map(|name| folder.path().join(name));
    for name in ["astronaut", "chelsea", "coffee"] {
        let photograph = image::open(photograph(&format!("{name}.png")))?.to_rgb8();
        for (path, image) in [(&reference, &photograph), (&test, &degraded(&photograph))] {
            let values: Vec<f64> = image.as_raw().iter().map(|&value| f64::from(value) / 255.0).collect();
            let shape = (image.height() as usize, image.width() as usize, 3);
            Tensor::from_vec(values, shape, &Device::Cpu)?.write_npy(path)?;
        }
        // TorchMetrics rounds the betas of MS-SSIM to f32, 1e-8 of them, of which there are five.
        assert_equal(name, "quantised", &reference, &test, 5e-8, 1e-9)?;
    }
    Ok(())
}

#[test]
fn jpegs_score_as_elsewhere() -> Result<()> {
    for name in ["astronaut", "chelsea", "coffee"] {
        // Decoders round the inverse DCT and the colour conversion differently, by 1 of 255 in some of the values: that moved
        // these scores by up to 3.3e-5 and 0.0011 dB.
        assert_equal(name, "jpeg", &photograph(&format!("{name}.png")), &golden(&format!("{name}.jpg")), 1e-4, 2e-3)?;
    }
    Ok(())
}
