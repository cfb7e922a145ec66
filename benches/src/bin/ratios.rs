//! Times both sides of every target in turn, in one run, and prints how they compare: `ratios [--quick] [--json FILE]`.
//!
//! Runs on the threads of rayon's global pool: set `RAYON_NUM_THREADS`.

use std::cell::RefCell;
use std::hint::black_box;

use anyhow::{Result, bail};
use benches::clock::{median, turn};
use benches::composition::Composition;
use benches::scene::{Scene, collection};
use benches::variants::{self, Variant};
use benches::{BATCH, FULL_HD, SMALL, images, label};
use metrics_image::{Reduction, Ssim, SsimConfig};
use rayon::ThreadPoolBuilder;
use serde::Serialize;

/// Seconds of calls in a turn.
const BUDGET: f64 = 0.05;

/// What is measured: everything, or few rounds of small images to see that it runs.
struct Settings {
    rounds: usize,
    slow_rounds: usize,
    large: [usize; 4],
    batch: [usize; 4],
    sides: &'static [usize],
}

const FULL: Settings =
    Settings { rounds: 15, slow_rounds: 9, large: FULL_HD, batch: BATCH, sides: &[256, 512, 1024, 2048, 4096, 8192] };
const QUICK: Settings =
    Settings { rounds: 3, slow_rounds: 1, large: [1, 3, 192, 256], batch: [2, 3, 64, 64], sides: &[64, 128, 256] };

fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let (settings, json) = match args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => (FULL, None),
        ["--quick"] => (QUICK, None),
        ["--json", file] => (FULL, Some(file)),
        ["--quick", "--json", file] => (QUICK, Some(file)),
        _ => bail!("usage: ratios [--quick] [--json FILE]"),
    };
    let mut rows = large(&settings)?;
    rows.extend(variants(&settings)?);
    rows.extend(mixed(&settings)?);
    rows.extend(batch(&settings)?);
    rows.push(small(&settings)?);
    rows.push(sizes(&settings)?);
    rows.push(overhead(&settings)?);
    rows.push(merging(&settings)?);

    println!("{} threads\n\n| | Target | Reached | Met | |\n|---|---|---|---|---|", rayon::current_num_threads());
    for Row { what, target, reached, met, detail } in &rows {
        println!("| {what} | {target} | {reached} | {} | {detail} |", if *met { "yes" } else { "no" });
    }
    if let Some(file) = json {
        std::fs::write(file, serde_json::to_string_pretty(&rows)?)?;
    }
    Ok(())
}

fn large(settings: &Settings) -> Result<Vec<Row>> {
    let scene = Scene::new(settings.large)?;
    let size = label(settings.large);
    let alone = ThreadPoolBuilder::new().num_threads(1).build()?;
    let [
        squares,
        read,
        value,
        gradient,
        both,
        scales,
        scales_loss,
        collection,
        psnr,
        psnr_loss,
        value_and_grad,
        psnr_value_and_grad,
        value_alone,
        gradient_alone,
    ] = in_turn(
        settings.rounds,
        [
            &|| scene.squared_difference(),
            &|| scene.read(),
            &|| scene.ssim(),
            &|| scene.ssim_loss(),
            &|| scene.l1_ssim_loss(),
            &|| scene.ms_ssim(),
            &|| scene.ms_ssim_loss(),
            &|| scene.collection(),
            &|| scene.psnr(),
            &|| scene.psnr_loss(),
            &|| scene.ssim_value_and_grad(),
            &|| scene.psnr_value_and_grad(),
            &|| alone.install(|| scene.ssim()),
            &|| alone.install(|| scene.ssim_loss()),
        ],
    )?;
    let bytes = (8 * scene.values()) as f64;
    let speed = |seconds: f64| format!("{:.1} GB/s", bytes / seconds * 1e-9);
    Ok(vec![
        Row::new(format!("SSIM / squared differences, {size}"), AtMost(6.5), value / squares, versus(value, squares)),
        composed(&scene, &size, 150.0, settings)?,
        Row::new(
            format!("SsimLoss with gradient / SSIM, {size}"),
            AtMost(2.3),
            gradient / value,
            versus(gradient, value),
        ),
        Row::new(
            format!("L1SsimLoss with gradient / SsimLoss with gradient, {size}"),
            AtMost(1.03),
            both / gradient,
            versus(both, gradient),
        ),
        Row::new(format!("MS-SSIM / SSIM, {size}"), AtMost(1.45), scales / value, versus(scales, value)),
        Row::new(
            format!("MsSsimLoss with gradient / MS-SSIM, {size}"),
            AtMost(2.7),
            scales_loss / scales,
            versus(scales_loss, scales),
        ),
        Row::new(format!("PsnrLoss with gradient, {size}, ms"), AtMost(5.0), psnr_loss * 1e3, String::new()),
        Row::new(
            format!("SsimLoss::value_and_grad / SSIM, {size}"),
            AtMost(2.3),
            value_and_grad / value,
            versus(value_and_grad, value),
        ),
        Row::new(
            format!("PsnrLoss::value_and_grad, {size}, ms"),
            AtMost(5.0),
            psnr_value_and_grad * 1e3,
            String::new(),
        ),
        Row::new(
            format!("Collection of PSNR, SSIM, MS-SSIM, MAE / MS-SSIM, {size}"),
            AtMost(1.1),
            collection / scales,
            versus(collection, scales),
        ),
        Row::new(
            format!("PSNR, speed / speed of reading, {size}"),
            AtLeast(0.7),
            read / psnr,
            format!("{} and {}", speed(psnr), speed(read)),
        ),
        threads(format!("SSIM, {size}"), value_alone, value),
        threads(format!("SsimLoss with gradient, {size}"), gradient_alone, gradient),
    ])
}

/// Masks, mixtures and backgrounds beside SSIM alone.
fn mixed(settings: &Settings) -> Result<[Row; 5]> {
    let (scene, size) = (Scene::new(settings.large)?, label(settings.large));
    let [value, gradient, masked, masked_gradient, mixture, apart, over] = in_turn(
        settings.rounds,
        [
            &|| scene.ssim(),
            &|| scene.ssim_loss(),
            &|| scene.masked_ssim(),
            &|| scene.masked_ssim_loss(),
            &|| scene.mixture(),
            &|| scene.mixture_apart(),
            &|| scene.ssim_loss_over(),
        ],
    )?;
    let row = |what: &str, most: f64, ours: f64, other: f64| {
        Row::new(format!("{what}, {size}"), AtMost(most), ours / other, versus(ours, other))
    };
    Ok([
        row("SSIM of a disk / SSIM", 1.35, masked, value),
        row("SsimLoss of a disk with gradient / SsimLoss", 1.35, masked_gradient, gradient),
        row("L1 + SSIM + MSE + Charbonnier with gradient / SsimLoss", 1.1, mixture, gradient),
        Row::new(
            format!("the same four losses apart / together, {size}"),
            AtLeast(2.0),
            apart / mixture,
            versus(apart, mixture),
        ),
        row("SsimLoss of RGBA over white with gradient / SsimLoss", 1.1, over, gradient),
    ])
}

/// Other forms of images and configurations beside the plain one.
fn variants(settings: &Settings) -> Result<Vec<Row>> {
    let (scene, size) = (Scene::new(settings.large)?, label(settings.large));
    let mut rows = Vec::new();
    for (what, plain, variants) in [
        ("SSIM", &(|| scene.ssim()) as &dyn Fn() -> Result<()>, variants::values(settings.large)?),
        ("SsimLoss with gradient", &|| scene.ssim_loss(), variants::gradients(settings.large)?),
    ] {
        let calls: Vec<_> = std::iter::once(plain).chain(variants.iter().map(|variant| &*variant.call as _)).collect();
        let seconds = all_in_turn(settings.rounds, &calls)?;
        for (Variant { name, at_most, .. }, &own) in variants.iter().zip(&seconds[1..]) {
            let what = format!("{what}, {name} / plain, {size}");
            rows.push(Row::new(what, AtMost(*at_most), own / seconds[0], versus(own, seconds[0])));
        }
    }
    Ok(rows)
}

fn threads(what: String, alone: f64, together: f64) -> Row {
    let count = rayon::current_num_threads();
    Row::new(format!("{what}: 1 thread / {count}"), AtLeast(1.7), alone / together, versus(alone, together))
}

/// The ratios of [`large`], within a factor of 1.5.
fn batch(settings: &Settings) -> Result<[Row; 3]> {
    let scene = Scene::new(settings.batch)?;
    let size = label(settings.batch);
    let calls: [&dyn Fn() -> Result<()>; 3] = [&|| scene.squared_difference(), &|| scene.ssim(), &|| scene.ssim_loss()];
    let [squares, value, gradient] = in_turn(settings.rounds, calls)?;
    Ok([
        Row::new(format!("SSIM / squared differences, {size}"), AtMost(15.0), value / squares, versus(value, squares)),
        composed(&scene, &size, 100.0, settings)?,
        Row::new(
            format!("SsimLoss with gradient / SSIM, {size}"),
            AtMost(4.5),
            gradient / value,
            versus(gradient, value),
        ),
    ])
}

/// Against the fastest of the compositions.
fn composed(scene: &Scene, size: &str, least: f64, settings: &Settings) -> Result<Row> {
    let [conv, shift, matmul] = Composition::ALL;
    let [value, conv, shift, matmul] = in_turn(
        settings.slow_rounds,
        [&|| scene.ssim(), &|| scene.composed(conv), &|| scene.composed(shift), &|| scene.composed(matmul)],
    )?;
    let best = conv.min(shift).min(matmul);
    let detail = format!(
        "{}; depthwise conv2d {}, shift and add {}, banded matmul {}",
        ms(value),
        ms(conv),
        ms(shift),
        ms(matmul)
    );
    Ok(Row::new(format!("Candle composition / SSIM, {size}"), AtLeast(least), best / value, detail))
}

fn small(settings: &Settings) -> Result<Row> {
    let scene = Scene::new(SMALL)?;
    let [seconds] = in_turn(settings.rounds, [&|| scene.ssim_loss()])?;
    let what = format!("SsimLoss with gradient, {}, ms", label(SMALL));
    Ok(Row::new(what, AtMost(1.0), seconds * 1e3, String::new()))
}

/// How far the cost of a pixel is from its median over sizes.
fn sizes(settings: &Settings) -> Result<Row> {
    let scenes = settings.sides.iter().map(|&side| Scene::new([1, 3, side, side])).collect::<Result<Vec<_>>>()?;
    let mut turns = vec![Vec::new(); scenes.len()];
    for _ in 0..settings.slow_rounds {
        for (scene, turns) in scenes.iter().zip(&mut turns) {
            turns.push(turn(BUDGET, &mut || scene.ssim())? / scene.values() as f64);
        }
    }
    let costs: Vec<f64> = turns.into_iter().map(median).collect();
    let middle = median(costs.clone());
    let spread = costs.iter().map(|cost| (cost / middle - 1.0).abs()).fold(0.0, f64::max);
    let list: Vec<_> =
        settings.sides.iter().zip(&costs).map(|(side, cost)| format!("{side}²: {:.2}", cost * 1e9)).collect();
    let what = "SSIM, cost of a value: distance from the median over sizes".to_owned();
    Ok(Row::new(what, AtMost(0.2), spread, format!("ns {}", list.join(", "))))
}

/// What an update of a metric costs beside the score itself.
fn overhead(settings: &Settings) -> Result<Row> {
    let scene = Scene::new([1, 3, 16, 16])?;
    let metric = RefCell::new(Ssim::new(SsimConfig::new(1.0))?);
    let [update, score] = in_turn(settings.rounds, [&|| scene.update(&mut metric.borrow_mut()), &|| scene.ssim()])?;
    let what = "Ssim::update beyond ssim(), 1×3×16×16, µs".to_owned();
    Ok(Row::new(what, AtMost(5.0), (update - score) * 1e6, versus(update, score)))
}

/// Merging many shards of a collection whose members keep summaries.
fn merging(settings: &Settings) -> Result<Row> {
    const SHARDS: usize = 1000;
    const DIFFERENT: usize = 8;
    let empty = collection(Reduction::Summary)?;
    let (_, targets) = images([4 * DIFFERENT, 1, 176, 176])?;
    let shard = |seed: usize| {
        let mut metrics = empty.clone();
        let target = targets.narrow(0, 4 * seed, 4)?;
        metrics.update(&target.affine(0.9, 0.01 * seed as f64)?, &target)?;
        Ok(metrics)
    };
    let different = (0..DIFFERENT).map(shard).collect::<Result<Vec<_>>>()?;
    let shards: Vec<_> = different.iter().cycle().take(SHARDS).cloned().collect();
    let merge = || {
        let mut all = empty.clone();
        shards.iter().try_for_each(|shard| all.merge(shard))?;
        black_box(all);
        Ok(())
    };
    let [seconds] = in_turn(settings.rounds, [&merge])?;
    Ok(Row::new(format!("Merging {SHARDS} shards of four summaries, ms"), AtMost(10.0), seconds * 1e3, String::new()))
}

/// Median seconds of each call, all of them timed in turn.
fn in_turn<const N: usize>(rounds: usize, calls: [&dyn Fn() -> Result<()>; N]) -> Result<[f64; N]> {
    let all = all_in_turn(rounds, &calls)?;
    Ok(std::array::from_fn(|call| all[call]))
}

fn all_in_turn(rounds: usize, calls: &[&dyn Fn() -> Result<()>]) -> Result<Vec<f64>> {
    let mut turns = vec![Vec::with_capacity(rounds); calls.len()];
    for _ in 0..rounds {
        for (call, turns) in calls.iter().zip(&mut turns) {
            turns.push(turn(BUDGET, &mut || call())?);
        }
    }
    Ok(turns.into_iter().map(median).collect())
}

fn versus(ours: f64, other: f64) -> String {
    format!("{} and {}", ms(ours), ms(other))
}

fn ms(seconds: f64) -> String {
    let decimals = if seconds >= 0.1 { 0 } else { 2 + usize::from(seconds < 1e-3) };
    format!("{:.decimals$} ms", seconds * 1e3)
}

enum Target {
    AtMost(f64),
    AtLeast(f64),
}
use Target::{AtLeast, AtMost};

#[derive(Serialize)]
struct Row {
    what: String,
    target: String,
    reached: String,
    met: bool,
    detail: String,
}

impl Row {
    fn new(what: String, target: Target, reached: f64, detail: String) -> Self {
        let (target, met) = match target {
            AtMost(bound) => (format!("≤ {bound}"), reached <= bound),
            AtLeast(bound) => (format!("≥ {bound}"), reached >= bound),
        };
        Self { what, target, reached: format!("{reached:.2}"), met, detail }
    }
}
