//! What the tests share.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use anyhow::Result;
use assert_cmd::Command;
use assert_cmd::assert::Assert;
use candle_core::{Device, Tensor};
use image::RgbImage;

pub(crate) const PROGRAM: &str = env!("CARGO_BIN_EXE_image-metrics");

pub(crate) fn photograph(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/images").join(name)
}

pub(crate) fn run<S: AsRef<OsStr>>(arguments: impl IntoIterator<Item = S>) -> Assert {
    Command::new(PROGRAM).args(arguments).assert()
}

/// `image-metrics compare`.
pub(crate) fn compare(a: &Path, b: &Path, options: &[&str]) -> Assert {
    Command::new(PROGRAM).arg("compare").args([a, b]).args(options).assert()
}

pub(crate) fn manifest(path: &Path, options: &[&str]) -> Assert {
    Command::new(PROGRAM).arg("compare").arg(path).args(options).assert()
}

pub(crate) fn stdout(assert: &Assert) -> String {
    String::from_utf8_lossy(&assert.get_output().stdout).into_owned()
}

pub(crate) fn stderr(assert: &Assert) -> String {
    String::from_utf8_lossy(&assert.get_output().stderr).into_owned()
}

/// That standard error is these many lines, and that each of the texts is in one of them.
pub(crate) fn assert_lines(assert: &Assert, lines: usize, texts: &[&str]) {
    let stderr = stderr(assert);
    assert_eq!(stderr.lines().count(), lines, "{stderr}");
    for text in texts {
        assert!(stderr.lines().any(|line| line.contains(text)), "no `{text}` in: {stderr}");
    }
    assert!(!stderr.contains("panicked"), "{stderr}");
}

/// The cells of a metric's row.
pub(crate) fn row(table: &str, metric: &str) -> Vec<String> {
    let rows = table.lines().map(|line| line.split_whitespace().map(String::from).collect::<Vec<_>>());
    rows.into_iter().find(|row| row.first().is_some_and(|name| name == metric)).unwrap_or_default()
}

/// The value in the row of a metric.
pub(crate) fn value(table: &str, metric: &str) -> Option<String> {
    row(table, metric).get(1).cloned()
}

pub(crate) fn json(assert: &Assert) -> Result<serde_json::Value> {
    Ok(serde_json::from_slice(&assert.get_output().stdout)?)
}

pub(crate) fn tensor(image: &RgbImage) -> Result<Tensor> {
    let values: Vec<f32> = image.as_raw().iter().map(|&value| f32::from(value) / 255.0).collect();
    let shape = (1, image.height() as usize, image.width() as usize, 3);
    Ok(Tensor::from_vec(values, shape, &Device::Cpu)?.permute((0, 3, 1, 2))?.contiguous()?)
}

pub(crate) fn chelsea() -> Result<RgbImage> {
    Ok(image::open(photograph("chelsea.png"))?.to_rgb8())
}

/// A corner of the photograph.
pub(crate) fn corner(width: u32, height: u32) -> Result<RgbImage> {
    Ok(image::imageops::crop_imm(&chelsea()?, 0, 0, width, height).to_image())
}

/// The photograph, coarsely quantised.
pub(crate) fn degraded(original: &RgbImage) -> RgbImage {
    let mut image = original.clone();
    image.iter_mut().for_each(|value| *value = *value / 32 * 32 + 16);
    image
}
