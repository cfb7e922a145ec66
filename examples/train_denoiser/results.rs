//! The final measurement: whole photographs that were held out, before and after.

use std::fmt;
use std::path::Path;

use anyhow::{Context, Result};
use candle_core::Tensor;
use candle_nn::Module;
use metrics_core::Report;
use metrics_detach::EvalGuard;
use serde::Serialize;
use serde_json::json;

use crate::data::{Pair, Photo, Source};
use crate::model::Denoiser;
use crate::options::Options;
use crate::training::{History, metrics};

/// How a metric is written.
pub(crate) struct Column {
    /// In a report.
    pub(crate) name: &'static str,
    pub(crate) title: &'static str,
    pub(crate) unit: &'static str,
    /// After the point.
    pub(crate) digits: usize,
}

pub(crate) const PSNR: Column = Column { name: "psnr", title: "PSNR", unit: "dB", digits: 2 };
pub(crate) const SSIM: Column = Column { name: "ssim", title: "SSIM", unit: "", digits: 3 };
pub(crate) const MS_SSIM: Column = Column { name: "ms_ssim", title: "MS-SSIM", unit: "", digits: 3 };
pub(crate) const METRICS: [Column; 3] = [PSNR, SSIM, MS_SSIM];

impl Column {
    /// The value in a report, NaN if it is not there.
    pub(crate) fn of(&self, report: &Report) -> f64 {
        report.scalar(self.name).unwrap_or(f64::NAN)
    }

    pub(crate) fn with_unit(&self) -> String {
        if self.unit.is_empty() { self.title.into() } else { format!("{} ({})", self.title, self.unit) }
    }
}

/// One photograph with noise, restored, and as it should be: `[1, 3, H, W]`.
pub(crate) struct Restoration {
    pub(crate) name: String,
    pub(crate) noisy: Tensor,
    pub(crate) restored: Tensor,
    pub(crate) clean: Tensor,
    pub(crate) scores: Scores,
}

/// The metrics of the noisy and of the restored images.
#[derive(Serialize)]
pub(crate) struct Scores {
    pub(crate) noisy: Report,
    pub(crate) restored: Report,
}

/// Each photograph, and the mean over all.
pub(crate) struct Results {
    pub(crate) photos: Vec<Restoration>,
    pub(crate) mean: Scores,
}

impl Results {
    pub(crate) fn measure(options: &Options, held_out: &[Photo], twin: &Denoiser) -> Result<Self> {
        let _eval = EvalGuard::enter(); // as `eval_scope`, until the end of this function
        let mut source = Source::new(options.seed.wrapping_add(2), options.sigma);
        let (mut noisy_mean, mut restored_mean) = (metrics()?, metrics()?);
        let mut photos = Vec::new();
        for photo in held_out {
            let Pair { noisy, clean } = source.whole(photo)?;
            let restored = twin.forward(&noisy)?;
            let (mut noisy_metrics, mut restored_metrics) = (metrics()?, metrics()?);
            noisy_metrics.update(&noisy, &clean)?;
            restored_metrics.update(&restored, &clean)?;
            noisy_mean.merge(&noisy_metrics)?;
            restored_mean.merge(&restored_metrics)?;
            let scores = Scores { noisy: noisy_metrics.compute()?, restored: restored_metrics.compute()? };
            photos.push(Restoration { name: photo.name.clone(), noisy, restored, clean, scores });
        }
        let mean = Scores { noisy: noisy_mean.compute()?, restored: restored_mean.compute()? };
        Ok(Self { photos, mean })
    }

    /// What the training was good for, in a sentence.
    pub(crate) fn gain(&self) -> String {
        let Scores { noisy, restored } = &self.mean;
        let verdict = if METRICS.iter().all(|metric| metric.of(restored) > metric.of(noisy)) {
            "Restored beats noisy on the held-out photographs"
        } else {
            "Restored does NOT beat noisy on the held-out photographs; try more `--steps` or a smaller `--lr`"
        };
        let change = |metric: &Column| {
            let (before, after, digits) = (metric.of(noisy), metric.of(restored), metric.digits);
            format!("{} {before:.digits$} -> {after:.digits$} {}", metric.title, metric.unit).trim_end().to_string()
        };
        format!("{verdict}:\n{}", METRICS.iter().map(change).collect::<Vec<_>>().join(", "))
    }

    /// Everything there is to know about the run.
    pub(crate) fn write_json(&self, options: &Options, history: &History, path: &Path) -> Result<()> {
        let photos: Vec<_> =
            self.photos.iter().map(|photo| json!({ "name": photo.name, "scores": photo.scores })).collect();
        let held_out = json!({ "photographs": photos, "mean": self.mean });
        let all = json!({ "settings": options, "training": history, "held_out": held_out });
        let text = serde_json::to_string_pretty(&all)?;
        std::fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
    }
}

/// A table: two rows for each photograph and two for the mean.
impl fmt::Display for Results {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [psnr, ssim, ms_ssim] = METRICS.map(|metric| metric.with_unit());
        writeln!(f, "{:<16}{:<10}{psnr:>10}{ssim:>10}{ms_ssim:>10}", "held out", "")?;
        let photos = self.photos.iter().map(|photo| (photo.name.as_str(), &photo.scores));
        for (name, scores) in photos.chain([("mean", &self.mean)]) {
            for (name, state, report) in [(name, "noisy", &scores.noisy), ("", "restored", &scores.restored)] {
                let [psnr, ssim, ms_ssim] = METRICS.map(|metric| metric.of(report));
                writeln!(f, "{name:<16}{state:<10}{psnr:>10.2}{ssim:>10.3}{ms_ssim:>10.3}")?;
            }
        }
        Ok(())
    }
}
