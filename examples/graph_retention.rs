//! What a list of metric values keeps alive.
//!
//! A training loop logs the SSIM of each step, as in TorchMetrics issue #2597. Written naively, each logged value is the end of a
//! graph: it owns every activation of its step, for as long as the list lives. Written with the guards, it is a number. The
//! program runs the loop both ways, shows graph nodes, bytes kept alive and process memory after each step, and what a
//! `RetentionMonitor` that looks on has to say.
//!
//! ```text
//! cargo run --release --example graph_retention -- --steps 30 --size 128
//! ```

mod device;

use anyhow::{Context, Result};
use candle_core::{DType, Device, Tensor};
use candle_nn::{AdamW, Conv2dConfig, Module, Optimizer, Sequential, VarBuilder, VarMap, conv2d, loss, seq};
use clap::Parser;
use metrics_core::MetricCollection;
use metrics_detach::{Detached, Finding, GraphStats, MemoryReport, RetentionMonitor, resident_bytes};
use metrics_image::{Ssim, SsimConfig, ssim};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

/// Shows what a list of metric values keeps alive, written naively and with the guards.
#[derive(Parser)]
struct Args {
    /// Training steps, each of which logs one SSIM value.
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u32).range(1..))]
    steps: u32,
    /// Height and width of the images; at least the 11 pixels of the SSIM window.
    #[arg(long, default_value_t = 128, value_parser = clap::value_parser!(u32).range(11..=4096))]
    size: u32,
    /// Where it runs: cpu, cuda, cuda:N or metal; a GPU needs a build with `--features cuda` or `--features metal`.
    #[arg(long, default_value = "cpu")]
    device: String,
}

/// A loop that was run.
struct Run {
    rows: Vec<Row>,
    /// Tells that both variants trained alike.
    last_loss: f32,
    /// What the monitor found, and after which step.
    findings: Vec<(u32, Finding)>,
    /// What it says in the end.
    verdict: String,
}

/// What is alive after a step.
struct Row {
    graph: GraphStats,
    rss: Option<usize>,
}

/// The loop as many write it: the list is of tensors, and each comes with its graph.
fn naive(args: &Args, device: &Device) -> Result<Run> {
    let config = SsimConfig::new(1.0);
    let mut history: Vec<Tensor> = Vec::new();
    train(args, device, |pred, target, monitor| {
        history.push(ssim(pred, target, &config)?);
        let findings = monitor.check_with(&MemoryReport::new(), &history); // there are no metrics, but the list
        Ok((GraphStats::of_all(&history), findings))
    })
}

/// The same loop with the guards: the metrics are for evaluation only, and the list is of values that cannot hold a graph.
fn guarded(args: &Args, device: &Device) -> Result<Run> {
    let mut metrics = MetricCollection::new().with("ssim", Ssim::new(SsimConfig::new(1.0))?)?.eval_only();
    let mut history: Vec<Detached> = Vec::new();
    train(args, device, |pred, target, monitor| {
        let values = metrics.forward(pred, target)?;
        history.push(values.get("ssim").cloned().context("the collection has a metric `ssim`")?);
        Ok((GraphStats::of_all(&history), monitor.check_with(&metrics.memory(), &history)))
    })
}

/// What is alive after a step, and what the monitor found in it.
type Logged = Result<(GraphStats, Vec<Finding>)>;

/// Trains a denoiser and calls `log` with each step's prediction and target, and with the monitor, to which it shows what it
/// keeps.
fn train(
    args: &Args,
    device: &Device,
    mut log: impl FnMut(&Tensor, &Tensor, &mut RetentionMonitor) -> Logged,
) -> Result<Run> {
    let mut random = StdRng::seed_from_u64(1);
    let (vars, model) = denoiser(&mut random, device)?;
    let mut optimiser = AdamW::new_lr(vars.all_vars(), 1e-3)?;
    let mut monitor = RetentionMonitor::new();
    let (mut rows, mut findings, mut last_loss) = (Vec::new(), Vec::new(), f32::NAN);
    for step in 1..=args.steps {
        let (noisy, target) = image_pair(args.size as usize, &mut random, device)?;
        let pred = model.forward(&noisy)?;
        let error = loss::mse(&pred, &target)?;
        optimiser.backward_step(&error)?;
        last_loss = error.to_scalar()?;
        let (graph, found) = log(&pred, &target, &mut monitor)?;
        findings.extend(found.into_iter().map(|finding| (step, finding)));
        drop((pred, error)); // from here on, only what `log` has kept is alive
        rows.push(Row { graph, rss: resident_bytes() });
    }
    Ok(Run { rows, last_loss, findings, verdict: monitor.to_string() })
}

/// Three convolutions, with weights that depend on `random` only.
fn denoiser(random: &mut StdRng, device: &Device) -> Result<(VarMap, Sequential)> {
    let vars = VarMap::new();
    let vb = VarBuilder::from_varmap(&vars, DType::F32, device);
    let same_size = Conv2dConfig { padding: 1, ..Default::default() };
    let model = seq()
        .add(conv2d(3, 16, 3, same_size, vb.pp("1"))?)
        .add(|x: &Tensor| x.relu())
        .add(conv2d(16, 16, 3, same_size, vb.pp("2"))?)
        .add(|x: &Tensor| x.relu())
        .add(conv2d(16, 3, 3, same_size, vb.pp("3"))?);

    let mut named: Vec<_> = vars.data().lock().expect("nobody has panicked").clone().into_iter().collect();
    named.sort_by(|(a, _), (b, _)| a.cmp(b));
    for (_, var) in named {
        let weights: Vec<f32> = (0..var.elem_count()).map(|_| random.random_range(-0.1..0.1)).collect();
        var.set(&Tensor::from_vec(weights, var.shape(), device)?)?;
    }
    Ok((vars, model))
}

/// An image of soft waves with values in 0..=1, `[1, 3, size, size]`, and the same with noise.
fn image_pair(size: usize, random: &mut StdRng, device: &Device) -> Result<(Tensor, Tensor)> {
    let phase: f32 = random.random_range(0.0..6.0);
    let wave = |c: usize, y: usize, x: usize| 0.5 + 0.4 * (0.1 * (x + 2 * y) as f32 + phase + c as f32).sin();
    let pixels = (0..3).flat_map(|c| (0..size).flat_map(move |y| (0..size).map(move |x| (c, y, x))));
    let target: Vec<f32> = pixels.map(|(c, y, x)| wave(c, y, x)).collect();
    let noisy: Vec<f32> = target.iter().map(|v| v + random.random_range(-0.2..0.2)).collect();
    let shape = (1, 3, size, size);
    Ok((Tensor::from_vec(noisy, shape, device)?, Tensor::from_vec(target, shape, device)?))
}

fn size(bytes: usize) -> String {
    match bytes {
        0..1024 => format!("{bytes} B"),
        _ => format!("{:.1} MiB", bytes as f64 / (1 << 20) as f64),
    }
}

fn print_table(naive: &[Row], guarded: &[Row]) {
    println!("{:>4} | {:^35} | {:^35}", "", "naive: Vec<Tensor>", "guarded: Vec<Detached>");
    let head = format!("{:>8}  {:>11}  {:>12}", "nodes", "kept alive", "process RSS");
    println!("{:>4} | {head} | {head}", "step");
    println!("{0:->5}+{0:->37}+{0:->36}", "");
    let cells = |row: &Row| {
        let rss = row.rss.map_or_else(|| "-".to_owned(), size);
        format!("{:>8}  {:>11}  {rss:>12}", row.graph.nodes, size(row.graph.bytes))
    };
    for (step, (naive, guarded)) in naive.iter().zip(guarded).enumerate() {
        println!("{:>4} | {} | {}", step + 1, cells(naive), cells(guarded));
    }
}

/// One line on what a variant keeps alive at the end.
fn conclusion(variant: &str, rows: &[Row]) -> String {
    let (Some(first), Some(last)) = (rows.first(), rows.last()) else { return format!("{variant} no steps") };
    let GraphStats { nodes, bytes, .. } = last.graph;
    // Constants in a graph (the target image, the SSIM window) cannot be seen from outside: the process grows by those as well.
    let at_least = if last.graph.is_free() { "" } else { "at least " };
    let alive = size(bytes);
    let mut line = format!("{variant} {} values keep {at_least}{nodes} graph nodes and {alive} alive", rows.len());
    if let (Some(before), Some(after)) = (first.rss, last.rss) {
        let growth = (after as f64 - before as f64) / (1 << 20) as f64;
        let changed = if growth < 0.0 { "shrank" } else { "grew" };
        line += &format!("; the process {changed} by {:.1} MiB since the first step", growth.abs());
    }
    line + "."
}

/// What the monitor said while a variant ran.
fn print_findings(variant: &str, run: &Run) {
    for (step, finding) in &run.findings {
        println!("{variant} step {step}: {finding}.");
    }
    if run.findings.is_empty() {
        println!("{variant} {}.", run.verdict);
    }
}

fn main() -> Result<()> {
    let args = Args::parse();
    let device = device::open(&args.device)?;
    // The guarded loop goes first: the allocator may keep what the naive one has freed, and it would count against the other.
    let guarded = guarded(&args, &device)?;
    let naive = naive(&args, &device)?;

    print_table(&naive.rows, &guarded.rows);
    let (naive_loss, guarded_loss) = (naive.last_loss, guarded.last_loss);
    println!("\nBoth trained alike: last loss {naive_loss:.6} (naive), {guarded_loss:.6} (guarded).");
    println!("{}", conclusion("Naive:  ", &naive.rows));
    println!("{}", conclusion("Guarded:", &guarded.rows));
    println!("\nWhat a RetentionMonitor says, which looks on at each step:");
    print_findings("Naive:  ", &naive);
    print_findings("Guarded:", &guarded);
    Ok(())
}
