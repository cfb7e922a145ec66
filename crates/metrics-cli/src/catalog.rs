//! `image-metrics metrics`: what can be computed, and by which formula.

use crate::table;

const METRICS: [[&str; 5]; 6] = [
    [
        "psnr",
        "higher",
        "-inf..inf",
        "10 log10(R² / MSE) of each image, averaged",
        "skimage.metrics.peak_signal_noise_ratio",
    ],
    [
        "psnr-pooled",
        "higher",
        "-inf..inf",
        "10 log10(R² / MSE) of the MSE over all pixels",
        "torchmetrics PeakSignalNoiseRatio",
    ],
    [
        "ssim",
        "higher",
        "-1..1",
        "(2 μx μy + c1)(2 σxy + c2) / ((μx² + μy² + c1)(σx² + σy² + c2))",
        "Wang et al., IEEE TIP 13(4), 2004",
    ],
    ["ms-ssim", "higher", "-1..1", "ssim_M^β_M Π_{j<M} cs_j^β_j, M = 5", "Wang et al., Asilomar 2003"],
    ["mae", "lower", "0..R", "Σ |x - y| / n", ""],
    ["mse", "lower", "0..R²", "Σ (x - y)² / n", ""],
];

const PRESETS: [[&str; 4]; 8] = [
    ["torchmetrics", "Gaussian 11, σ 1.5; reflected border", "border reflected", "+inf; psnr-pooled too"],
    ["skimage", "uniform 7; windows inside; sample covariance", "as torchmetrics", "+inf"],
    ["skimage-gaussian", "Gaussian 11, σ 1.5; windows inside; sample covariance", "as torchmetrics", "+inf"],
    ["wang2004", "Gaussian 11, σ 1.5; windows inside", "as torchmetrics", "+inf"],
    [
        "piq",
        "as wang2004, pooled by round(shorter side / 256) first",
        "windows inside; by channel",
        "80, from MSE + 1e-8",
    ],
    ["pytorch-msssim", "as wang2004", "windows inside; by channel", "+inf"],
    ["burn", "Gaussian 11, σ 1.5; zeros beyond the border", "as torchmetrics", "100 at R = 1, from MSE ≥ 1e-10"],
    ["fused-ssim", "as burn", "as torchmetrics", "+inf"],
];

/// Both tables.
pub(crate) fn text() -> String {
    let metrics = with_headings(["metric", "better", "range", "formula", "source"], &METRICS);
    let presets = with_headings(["preset", "ssim", "ms-ssim", "psnr of equal images"], &PRESETS);
    format!(
        "{}\nR is `--data-range`, c1 = (0.01 R)², c2 = (0.03 R)², cs = (2 σxy + c2) / (σx² + σy² + c2).\n\
         An image's score is the mean over its channels and pixels.\n\n{}",
        table::text(&metrics, &[0, 1, 2, 3, 4]),
        table::text(&presets, &[0, 1, 2, 3])
    )
}

fn with_headings<const N: usize>(headings: [&str; N], rows: &[[&str; N]]) -> Vec<[String; N]> {
    [headings].iter().chain(rows).map(|row| row.map(String::from)).collect()
}

#[cfg(test)]
mod tests {
    use clap::ValueEnum;

    use super::*;
    use crate::metrics::{Kind, Preset};

    fn names<V: ValueEnum>() -> Vec<String> {
        V::value_variants().iter().filter_map(|v| Some(v.to_possible_value()?.get_name().to_owned())).collect()
    }

    #[test]
    fn nothing_is_left_out() {
        assert_eq!(METRICS.map(|row| row[0].to_owned()).to_vec(), names::<Kind>());
        assert_eq!(PRESETS.map(|row| row[0].to_owned()).to_vec(), names::<Preset>());
    }
}
