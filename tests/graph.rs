//! Who keeps a graph, and who does not.

use std::panic::{AssertUnwindSafe, catch_unwind};

use anyhow::{Result, ensure};
use candle_core::{DType, Tensor, Var};
use metrics_core::{Metric, MetricCollection};
use metrics_detach::{EvalGuard, GraphStats, eval_scope, is_eval};
use metrics_image::{
    L1SsimLoss, MsSsim, MsSsimConfig, MsSsimLoss, Psnr, PsnrConfig, PsnrLoss, Ssim, SsimConfig, SsimLoss, contrast_map,
    contrast_per_image, ms_ssim, ms_ssim_per_image, psnr, psnr_per_image, ssim, ssim_map, ssim_per_image,
    ssim_with_map,
};
use tests::images::textured;

fn ms_config() -> MsSsimConfig {
    MsSsimConfig::new(1.0).betas([0.4, 0.6])
}

/// The result of every operation of the crate on a tracked pair.
fn every_operation(pred: &Tensor, target: &Tensor) -> metrics_core::Result<Vec<(&'static str, Tensor)>> {
    let (s, m, p) = (SsimConfig::new(1.0), ms_config(), PsnrConfig::new(1.0));
    Ok(vec![
        ("psnr", psnr(pred, target, &p)?),
        ("psnr_per_image", psnr_per_image(pred, target, &p)?),
        ("psnr clamped", psnr(pred, target, &PsnrConfig::new((0.2, 0.8)).cap(60.0))?),
        ("ssim", ssim(pred, target, &s)?),
        ("ssim_per_image", ssim_per_image(pred, target, &s)?),
        ("ssim_map", ssim_map(pred, target, &s)?),
        ("ssim_with_map", ssim_with_map(pred, target, &s)?.0),
        ("contrast_map", contrast_map(pred, target, &s)?),
        ("contrast_per_image", contrast_per_image(pred, target, &s)?),
        ("ms_ssim", ms_ssim(pred, target, &m)?),
        ("ms_ssim_per_image", ms_ssim_per_image(pred, target, &m)?),
        ("SsimLoss", SsimLoss::new(s.clone())?.forward(pred, target)?),
        ("MsSsimLoss", MsSsimLoss::new(m.clone())?.forward(pred, target)?),
        ("PsnrLoss", PsnrLoss::new(p.clone())?.forward(pred, target)?),
        ("L1SsimLoss", L1SsimLoss::new(s.clone())?.forward(pred, target)?),
        ("Ssim", Ssim::new(s)?.forward(pred, target)?),
        ("MsSsim", MsSsim::new(m)?.forward(pred, target)?),
        ("Psnr", Psnr::new(p)?.forward(pred, target)?),
    ])
}

fn tracked_pair() -> Result<(Var, Tensor, Tensor)> {
    let var = Var::from_tensor(&textured((2, 3, 24, 24), 1, DType::F32)?)?;
    let pred = var.affine(0.9, 0.05)?;
    Ok((var, pred, textured((2, 3, 24, 24), 2, DType::F32)?))
}

#[test]
fn nothing_tracks_in_an_eval_scope() -> Result<()> {
    let (_var, pred, target) = tracked_pair()?;
    for (name, result) in every_operation(&pred, &target)? {
        ensure!(result.track_op(), "{name} lost its graph outside a scope");
    }
    let panicked = catch_unwind(AssertUnwindSafe(|| {
        let _outer = EvalGuard::enter();
        let nested = catch_unwind(|| {
            let _inner = EvalGuard::enter();
            panic!("in a nested guard");
        });
        assert!(nested.is_err() && is_eval());
        for (name, result) in every_operation(&pred, &target).unwrap() {
            assert!(!result.track_op(), "{name} tracks inside a guard");
            assert_eq!(GraphStats::of(&result).nodes, 0, "{name}");
        }
    }));
    ensure!(panicked.is_ok() && !is_eval());
    for (name, result) in every_operation(&pred, &target)? {
        ensure!(result.track_op(), "{name} lost its graph after the scope");
    }
    Ok(())
}

#[test]
fn u8_images_made_from_a_tracked_tensor_do_not_keep_it() -> Result<()> {
    // Candle lets a cast to u8 track, though no gradient can flow through it.
    let (_var, pred, target) = tracked_pair()?;
    let quantise = |t: &Tensor| (t * 255.0)?.to_dtype(DType::U8);
    let (pred, target) = (quantise(&pred)?, quantise(&target)?);
    ensure!(pred.track_op());
    ensure!(!ssim(&pred, &target, &SsimConfig::new(255.0))?.track_op());
    ensure!(!psnr(&pred, &target, &PsnrConfig::new(255.0))?.track_op());
    Ok(())
}

#[test]
fn updates_and_eval_only_collections_keep_no_graph() -> Result<()> {
    let (_var, pred, target) = tracked_pair()?;
    let metrics = MetricCollection::new()
        .with("psnr", Psnr::new(PsnrConfig::new(1.0))?)?
        .with("ssim", Ssim::new(SsimConfig::new(1.0))?)?
        .with("ms_ssim", MsSsim::new(ms_config())?)?;

    let mut training = metrics.clone();
    let outputs = training.forward(&pred, &target)?;
    ensure!(outputs.iter().all(|(_, value)| value.track_op()));

    let mut evaluation = metrics.eval_only();
    let outputs = evaluation.forward(&pred, &target)?;
    ensure!(outputs.iter().all(|(_, value)| !value.track_op()));
    let bytes = evaluation.state_bytes();
    for _ in 0..20 {
        evaluation.update(&pred, &target)?;
    }
    ensure!(evaluation.state_bytes() == bytes);
    let in_scope = eval_scope(|| training.forward(&pred, &target))?;
    ensure!(in_scope.iter().all(|(_, value)| !value.track_op()));
    // 2 updates of training and 21 of evaluation, all of the same batch.
    for (name, value) in training.compute()?.iter() {
        ensure!(evaluation.compute()?.scalar(name) == value.scalar(), "{name}");
    }
    Ok(())
}
