//! Ten thousand updates need no more memory than ten: by dhat, by the system and by the metrics' own account. One test in
//! a process of its own: others would be counted too.

use anyhow::{Context, Result, ensure};
use candle_core::{DType, Tensor, Var};
use metrics_core::{EvalOnly, MetricCollection, Reduction};
use metrics_detach::{GraphStats, RetentionMonitor, resident_bytes};
use metrics_image::{MsSsim, MsSsimConfig, Psnr, PsnrConfig, Ssim, SsimConfig};
use tests::images::textured;

#[global_allocator]
static ALLOCATOR: dhat::Alloc = dhat::Alloc;

const WARM_UP: usize = 10;
const UPDATES: usize = 10_000;

fn main() -> Result<()> {
    rayon::ThreadPoolBuilder::new().num_threads(2).build_global()?;
    process_memory_is_flat()?;
    live_heap_is_flat()?;
    println!("test result: ok. 2 passed; 0 failed");
    Ok(())
}

fn metrics() -> Result<EvalOnly<MetricCollection>> {
    let ms_ssim = MsSsimConfig::new(1.0).betas([0.4, 0.6]).reduction(Reduction::Summary); // two scales: 24 pixels suffice
    Ok(MetricCollection::new()
        .with("psnr", Psnr::new(PsnrConfig::new(1.0))?)?
        .with("ssim", Ssim::new(SsimConfig::new(1.0))?)?
        .with("ms_ssim", MsSsim::new(ms_ssim)?)?
        .eval_only())
}

/// Predictions that track, as a model's do, and their targets.
fn pairs() -> Result<Vec<(Tensor, Tensor)>> {
    let shape = [1, 1, 24, 24];
    let pair = |seed| {
        let pred = Var::from_tensor(&textured(&shape, seed, DType::F32)?)?.affine(0.9, 0.05)?;
        Ok((pred, textured(&shape, seed + 1, DType::F32)?))
    };
    (0..7).map(pair).collect()
}

fn process_memory_is_flat() -> Result<()> {
    // Ten thousand updates that each kept one scalar tensor, the smallest thing to leak, would need 2.1 MiB. Half of that
    // is allowed, for pages that the allocator touches late.
    const ALLOWANCE: usize = 1 << 20;

    let (mut metrics, mut monitor) = (metrics()?, RetentionMonitor::new());
    let pairs = pairs()?;
    let mut before = None;
    for (update, (pred, target)) in (1..=UPDATES).zip(pairs.iter().cycle()) {
        let values = metrics.forward(pred, target)?;
        let kept: Vec<_> = values.iter().map(|(_, value)| value).collect();
        ensure!(GraphStats::of_all(kept.iter().copied()).is_free(), "a value holds a graph after {update} updates");
        let findings = monitor.check_with(&metrics.memory(), kept);
        ensure!(findings.is_empty(), "after {update} updates: {findings:?}");
        if update == WARM_UP {
            before = resident_bytes();
        }
    }
    if let (Some(before), Some(after)) = (before, resident_bytes()) {
        println!("process memory: {before} bytes after {WARM_UP} updates, {after} after {UPDATES}");
        ensure!(after <= before + ALLOWANCE, "the process grew from {before} to {after} bytes");
    }
    ensure!(monitor.to_string() == format!("flat over {} checks", UPDATES - WARM_UP), "{monitor}");
    Ok(())
}

fn live_heap_is_flat() -> Result<()> {
    // Short backtraces: they are not looked at, and are most of what counting costs.
    let _profiler = dhat::Profiler::builder().testing().trim_backtraces(Some(0)).build();
    let (mut metrics, mut monitor) = (metrics()?, RetentionMonitor::new());
    let pairs = pairs()?;
    let mut before = None;
    for (update, (pred, target)) in (1..=UPDATES).zip(pairs.iter().cycle()) {
        metrics.update(pred, target)?;
        drop(monitor.check(&metrics.memory()));
        if update % WARM_UP == 0 {
            let heap = dhat::HeapStats::get();
            let now = (heap.curr_bytes, heap.curr_blocks, metrics.state_bytes());
            let before = *before.get_or_insert(now);
            ensure!(now == before, "(bytes, blocks, state): {before:?} at first, {now:?} after {update} updates");
        }
    }
    let (bytes, blocks, state) = before.context("no update")?;
    println!(
        "live heap: {bytes} bytes in {blocks} blocks, {state} bytes of state, from {WARM_UP} to {UPDATES} updates"
    );
    Ok(())
}
