//! What the monitor says of loops that leak, and of loops that do not.

use anyhow::{Result, ensure};
use candle_core::{DType, Tensor, Var};
use metrics_core::{Metric, MetricCollection, Reduction};
use metrics_detach::{Detached, Finding, RetentionMonitor};
use metrics_image::{Psnr, PsnrConfig, Ssim, SsimConfig};
use tests::images::textured;

fn metrics() -> Result<MetricCollection> {
    Ok(MetricCollection::new()
        .with("psnr", Psnr::new(PsnrConfig::new(1.0))?)?
        .with("ssim", Ssim::new(SsimConfig::new(1.0))?)?)
}

fn tracked_pair() -> Result<(Tensor, Tensor)> {
    let var = Var::from_tensor(&textured(&[1, 1, 24, 24], 1, DType::F32)?)?;
    Ok((var.affine(0.9, 0.05)?, textured(&[1, 1, 24, 24], 2, DType::F32)?))
}

#[test]
fn kept_values_with_graphs_are_a_warning() -> Result<()> {
    let (mut metrics, mut monitor) = (metrics()?, RetentionMonitor::new());
    let (mut history, mut findings) = (Vec::<Tensor>::new(), Vec::new());
    for _ in 0..30 {
        let (pred, target) = tracked_pair()?;
        history.push(metrics.forward(&pred, &target)?.get("ssim").expect("a member").clone());
        findings.extend(monitor.check_with(&metrics.memory(), &history));
    }
    let [Finding::Graph { rise, bytes }] = findings[..] else { anyhow::bail!("{findings:?}") };
    // From the eleventh step to the eighteenth: the first 10 are the warm-up.
    ensure!((rise.checks, rise.to % 18) == (8, 0) && rise.from / 11 == rise.to / 18, "{rise:?}");
    ensure!(bytes >= 18 * 24 * 24 * 4 && monitor.has_warned(), "{bytes} bytes");

    let kept = *metrics.memory().with_kept(&history).kept().expect("they were given");
    ensure!((kept.values, kept.tracking) == (30, 30) && kept.graph_nodes / 30 == rise.to / 18, "{kept:?}");
    Ok(())
}

#[test]
fn kept_values_of_eval_only_are_not() -> Result<()> {
    let (mut metrics, mut monitor) = (metrics()?.eval_only(), RetentionMonitor::new());
    let mut history: Vec<Detached> = Vec::new();
    for _ in 0..1000 {
        let (pred, target) = tracked_pair()?;
        history.push(metrics.forward(&pred, &target)?.get("ssim").expect("a member").clone());
        let findings = monitor.check_with(&metrics.memory(), &history);
        ensure!(findings.is_empty(), "{findings:?}");
    }
    ensure!(monitor.to_string() == "flat over 990 checks", "{monitor}");
    let kept = *metrics.memory().with_kept(&history).kept().expect("they were given");
    ensure!((kept.values, kept.tracking, kept.graph_nodes, kept.bytes) == (1000, 0, 0, 4000), "{kept:?}");
    Ok(())
}

#[test]
fn values_kept_as_configured_are_told_once() -> Result<()> {
    let (mut metric, mut monitor) =
        (Ssim::new(SsimConfig::new(1.0).reduction(Reduction::None))?, RetentionMonitor::new());
    let (pred, target) = tracked_pair()?;
    let mut findings = Vec::new();
    for _ in 0..100 {
        metric.update(&pred, &target)?;
        findings.extend(monitor.check(&metric.memory()));
    }
    ensure!(findings == [Finding::PerImage { holders: vec!["ssim".into()] }] && !monitor.has_warned(), "{findings:?}");
    Ok(())
}
