//! `image-metrics compare`.

use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use candle_core::Tensor;
use clap::ValueEnum;
use metrics_core::{EvalOnly, MetricCollection};
use metrics_detach::eval_scope;
use metrics_image::{MsSsim, MsSsimConfig, Psnr, PsnrConfig, Ssim, SsimConfig};

use crate::load;

/// The shortest side that the five scales of MS-SSIM leave 11 pixels of.
const MS_SSIM_SIDE: usize = 176;

/// Compare two images of the same size: PNG or JPEG files, grey or RGB.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The image as it should be.
    reference: PathBuf,

    /// The image to judge.
    test: PathBuf,

    /// What to compute, separated by commas.
    #[arg(long, value_enum, value_delimiter = ',', default_value = "psnr,ssim,ms-ssim")]
    metrics: Vec<Kind>,

    /// Largest minus smallest value that a pixel can hold; files are decoded to 0..=1.
    #[arg(long, default_value_t = 1.0, hide = true)]
    data_range: f64,
}

#[derive(Clone, Copy, PartialEq, ValueEnum)]
enum Kind {
    Psnr,
    Ssim,
    MsSsim,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let (target, pred) = load::pair(&args.reference, &args.test)?;
    let kinds = possible(&args.metrics, &target)?;
    let mut metrics = collection(&kinds, args.data_range)?;
    eval_scope(|| metrics.update(&pred, &target))
        .with_context(|| format!("cannot compare {} with {}", args.test.display(), args.reference.display()))?;
    print!("{}", metrics.compute()?);
    Ok(())
}

/// Those of the metrics that images of this size have.
fn possible(kinds: &[Kind], images: &Tensor) -> Result<Vec<Kind>> {
    let (_, _, height, width) = images.dims4()?;
    if !kinds.contains(&Kind::MsSsim) || height.min(width) >= MS_SSIM_SIDE {
        return Ok(kinds.to_vec());
    }
    let reason = format!("MS-SSIM needs sides of at least {MS_SSIM_SIDE} pixels, but the images are {width}×{height}");
    let rest: Vec<_> = kinds.iter().copied().filter(|&kind| kind != Kind::MsSsim).collect();
    if rest.is_empty() {
        bail!(reason);
    }
    eprintln!("note: ms_ssim is left out: {reason}");
    Ok(rest)
}

fn collection(kinds: &[Kind], data_range: f64) -> Result<EvalOnly<MetricCollection>> {
    let mut metrics = MetricCollection::new();
    for kind in kinds {
        metrics = match kind {
            Kind::Psnr => metrics.with("psnr", Psnr::new(PsnrConfig::new(data_range))?),
            Kind::Ssim => metrics.with("ssim", Ssim::new(SsimConfig::new(data_range))?),
            Kind::MsSsim => metrics.with("ms_ssim", MsSsim::new(MsSsimConfig::new(data_range))?),
        }
        .context("`--metrics` names each metric once")?;
    }
    Ok(metrics.eval_only())
}
