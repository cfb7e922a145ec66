//! Training with a metric as the loss, validation with metrics that keep no graph.

use std::f64::consts::PI;
use std::fmt::Write;
use std::time::Instant;

use anyhow::{Context, Result};
use candle_nn::{AdamW, Module, Optimizer, VarMap};
use indicatif::{ProgressBar, ProgressState, ProgressStyle};
use metrics_core::{EvalOnly, MetricCollection, Report};
use metrics_detach::{RetentionMonitor, eval_scope};
use metrics_image::{MsSsim, MsSsimConfig, Pooling, Psnr, PsnrConfig, Ssim, SsimConfig, Target};
use serde::Serialize;

use crate::data::{Pair, Photos, Source};
use crate::loss_history::LossHistory;
use crate::model::Denoiser;
use crate::options::Options;

const WARM_UP_STEPS: f64 = 30.0;

/// What there is to tell about a training run.
#[derive(Serialize)]
pub(crate) struct History {
    pub(crate) seconds: f64,
    #[serde(flatten)]
    pub(crate) loss: LossHistory,
    pub(crate) validation: Vec<Validation>,
    /// What the monitor says of the run.
    pub(crate) memory: String,
}

/// The metrics on the held-out crops after some number of steps.
#[derive(Serialize)]
pub(crate) struct Validation {
    pub(crate) step: usize,
    #[serde(flatten)]
    pub(crate) report: Report,
}

/// The metrics that everything here is measured with. The data range (0, 1) clamps what a screen could not show.
pub(crate) fn metrics() -> metrics_core::Result<EvalOnly<MetricCollection>> {
    Ok(MetricCollection::new()
        .with("psnr", Psnr::new(PsnrConfig::new((0.0, 1.0)).pooling(Pooling::PerImage))?)?
        .with("ssim", Ssim::new(SsimConfig::new((0.0, 1.0)))?)?
        .with("ms_ssim", MsSsim::new(MsSsimConfig::new((0.0, 1.0)))?)?
        .eval_only())
}

/// Trains `model`, the owner of `vars`; `twin` has the same weights and builds no graph.
pub(crate) fn train(
    options: &Options,
    photos: &Photos,
    model: &Denoiser,
    twin: &Denoiser,
    vars: &VarMap,
) -> Result<History> {
    let loss = &options.loss.loss;
    let mut source = Source::new(options.seed, options.sigma);
    // Another seed: the noise of validation must not be that of training.
    let held_out = Source::new(options.seed.wrapping_add(1), options.sigma).validation(&photos.held_out)?;
    let mut optimizer = AdamW::new_lr(vars.all_vars(), options.lr)?;
    let every = options.validate_every.unwrap_or(options.steps.div_ceil(10));

    let mut metrics = metrics()?;
    let mut monitor = RetentionMonitor::new();
    let before = validate(0, twin, &held_out, &mut metrics)?;
    let mut history =
        History { seconds: 0.0, loss: LossHistory::new(loss), validation: vec![before], memory: String::new() };
    let bar = progress_bar(options.steps)?;
    let start = Instant::now();
    for step in 1..=options.steps {
        optimizer.set_learning_rate(learning_rate(options, step - 1));
        let Pair { noisy, clean } = source.batch(&photos.training, options.batch, options.crop)?;
        let target = match &photos.mask {
            Some(mask) => Target::new(&clean).mask(mask),
            None => Target::new(&clean),
        };
        // On a CPU the terms, which are only shown, take no pass of their own.
        let output = model.forward(&noisy)?;
        let (error, terms) = loss
            .forward_with_terms(&output, target)
            .with_context(|| format!("`--loss {}` of `--crop {}`", options.loss.text, options.crop))?;
        optimizer.backward_step(&error)?;

        let error = history.loss.push(&error, &terms).context("try a smaller `--lr`")?;
        bar.set_message(format!("loss {error:.4}"));
        bar.inc(1);
        if step % every == 0 || step == options.steps {
            let validation = validate(step, twin, &held_out, &mut metrics)?;
            let recent = &history.loss.loss[history.validation.last().map_or(0, |last| last.step)..];
            bar.suspend(|| println!("{}", line(&validation, recent, step as f64 / start.elapsed().as_secs_f64())));
            history.validation.push(validation);
        }
        for finding in monitor.check(&metrics.memory()) {
            bar.suspend(|| println!("step {step:>5}   memory: {finding}"));
        }
    }
    bar.finish_and_clear();
    history.seconds = start.elapsed().as_secs_f64();
    history.memory = monitor.to_string();
    Ok(history)
}

/// A short linear warm-up, then a cosine from the peak to zero; `step` counts from 0.
fn learning_rate(options: &Options, step: usize) -> f64 {
    let warm = ((step + 1) as f64 / WARM_UP_STEPS).min(1.0);
    options.lr * warm * 0.5 * (1.0 + (PI * step as f64 / options.steps as f64).cos())
}

/// Measures `twin` on pairs that it has not been trained on. Neither the model nor the metrics build a graph.
fn validate(
    step: usize,
    twin: &Denoiser,
    held_out: &[Pair],
    metrics: &mut EvalOnly<MetricCollection>,
) -> Result<Validation> {
    metrics.reset();
    eval_scope(|| {
        for Pair { noisy, clean } in held_out {
            metrics.update(&twin.forward(noisy)?, clean)?;
        }
        Ok(Validation { step, report: metrics.compute()? })
    })
}

/// What is printed after a validation, also where there is no terminal to show a progress bar.
fn line(validation: &Validation, recent: &[f32], rate: f64) -> String {
    let loss = recent.iter().sum::<f32>() / recent.len() as f32;
    let mut line = format!("step {:>5}   loss {loss:>8.4}   held out:", validation.step);
    for (name, value) in validation.report.iter() {
        let _ = write!(line, " {name} {value:.3} "); // writing to a String cannot fail
    }
    line + &format!("  ({rate:.1} it/s)")
}

fn progress_bar(steps: usize) -> Result<ProgressBar> {
    let rate = |state: &ProgressState, out: &mut dyn Write| {
        let _ = write!(out, "{:.1} it/s", state.per_sec()); // a bar that cannot be drawn is no reason to stop training
    };
    let style = ProgressStyle::with_template("{bar:32} {pos}/{len}   {msg}   {rate}   {eta} left")?;
    Ok(ProgressBar::new(steps as u64).with_style(style.with_key("rate", rate)))
}
