//! `image-metrics metrics`: what can be computed, and by which formula.

use crate::table;

const METRICS: [[&str; 5]; 8] = [
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
    [
        "gmsd",
        "lower",
        "0..",
        "standard deviation of (2 Gx Gy + c) / (Gx² + Gy² + c), G gradients of gray, c = 170 (R / 255)²",
        "Xue et al., IEEE TIP 23(2), 2014",
    ],
    [
        "vif",
        "higher",
        "0..",
        "Σ log(1 + g² σr² / (v + σn²)) / Σ log(1 + σr² / σn²) over 4 scales, σn² = 2 (R / 255)²",
        "Sheikh and Bovik, IEEE TIP 15(2), 2006",
    ],
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
    use anyhow::Result;
    use candle_core::{DType, Device, Tensor};
    use clap::ValueEnum;
    use metrics_image::{Covariance, MsSsimConfig, Padding, SsimConfig, psnr, ssim};

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

    #[test]
    fn what_is_said_of_a_metric_is_what_it_says() {
        for (row, kind) in METRICS.iter().zip(Kind::value_variants()) {
            assert_eq!(row[1] == "higher", kind.higher_is_better(), "{}", row[0]);
        }
    }

    /// Two images that differ, large enough to be downsampled.
    fn images() -> Result<[Tensor; 2]> {
        let image = |seed: u32| {
            let value = |i: u32| (i.wrapping_mul(2_654_435_761).rotate_left(seed) >> 8) as f32 / 16_777_216.0;
            let smooth = |i: u32| 0.7 * ((i % 400) as f32 / 90.0).sin().abs() + 0.3 * value(i);
            Tensor::from_iter((0..400 * 400).map(smooth), &Device::Cpu)?.reshape((1, 1, 400, 400))
        };
        Ok([image(3)?, image(11)?])
    }

    /// The SSIM that a line of words describes, which may begin with the name of another preset.
    fn described(words: &str) -> SsimConfig {
        let mut config = SsimConfig::new(1.0);
        for part in words.replace("; ", ", ").split(", ") {
            config = match part {
                "Gaussian 11" => config.window(11),
                "σ 1.5" => config.sigma(1.5),
                "uniform 7" => config.uniform(7),
                "reflected border" => config.padding(Padding::Reflect),
                "windows inside" => config.padding(Padding::Valid),
                "zeros beyond the border" => config.padding(Padding::Zero),
                "sample covariance" => config.covariance(Covariance::Sample),
                "pooled by round(shorter side / 256) first" => config.downsample(true),
                other => match PRESETS.iter().find(|row| other.strip_prefix("as ") == Some(row[0])) {
                    Some(row) => described(row[1]),
                    None => panic!("nobody knows what `{other}` is"),
                },
            };
        }
        config
    }

    #[test]
    fn what_is_said_of_a_preset_is_what_it_does() -> Result<()> {
        let [a, b] = images()?;
        let score = |score: candle_core::Result<Tensor>| score?.to_dtype(DType::F64)?.to_scalar::<f64>();
        for ([name, words, of_scales, of_equal], preset) in PRESETS.iter().zip(Preset::value_variants()) {
            let [said, done] = [described(words), preset.ssim(1.0)].map(|config| score(Ok(ssim(&a, &b, &config)?)));
            assert_eq!(said?, done?, "{name}: {words}");

            let windows_inside = preset.ms_ssim(1.0) != MsSsimConfig::torchmetrics(1.0);
            assert_eq!(of_scales.starts_with("windows inside"), windows_inside, "{name}: {of_scales}");

            let number = of_equal.split([' ', ',', ';']).next().unwrap_or_default();
            let equal = score(Ok(psnr(&a, &a, &preset.psnr(1.0))?))?;
            assert!(
                (equal - number.parse::<f64>()?).abs() < 1e-4 || equal == f64::INFINITY && number == "+inf",
                "{name}: {equal}"
            );
        }
        Ok(())
    }
}
