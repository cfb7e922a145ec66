//! The loop of TorchMetrics issue #2597: each step's metric value is kept in a list. What that costs, by dhat. One test in
//! a process of its own: others would be counted too.

use anyhow::{Result, ensure};
use candle_core::{DType, Device, Tensor, Var};
use candle_nn::{Optimizer, SGD, loss};
use metrics_core::{EvalOnly, Metric, MetricCollection};
use metrics_detach::{Detached, GraphStats};
use metrics_image::{MsSsim, MsSsimConfig, Psnr, PsnrConfig, Ssim, SsimConfig};
use tests::images::textured;

#[global_allocator]
static ALLOCATOR: dhat::Alloc = dhat::Alloc;

const STEPS: usize = 1000;
/// What may be kept of a step, in bytes.
const AIM: usize = 100;
/// What may be kept of a step as a tensor: beside its one element it has a shape, strides, a storage and locks, which are
/// about 220 bytes with the place in the list. A graph would be thousands.
const TENSOR: usize = 256;

fn main() -> Result<()> {
    rayon::ThreadPoolBuilder::new().num_threads(1).build_global()?;
    one_metric()?;
    a_collection()?;
    println!("test result: ok. 2 passed; 0 failed");
    Ok(())
}

/// Trains for [`STEPS`] steps, keeps what `keep` makes of each, and returns that with its bytes per step.
fn train<T>(mut keep: impl FnMut(&Tensor, &Tensor) -> Result<T>) -> Result<(Vec<T>, usize)> {
    let shape = [1, 1, 24, 24];
    let (noisy, target) = (textured(&shape, 1, DType::F32)?, textured(&shape, 2, DType::F32)?);
    let gain = Var::new(1f32, &Device::Cpu)?; // the smallest model
    let mut optimizer = SGD::new(vec![gain.clone()], 0.01)?;
    let mut step = || -> Result<T> {
        let pred = noisy.broadcast_mul(&gain)?;
        optimizer.backward_step(&loss::mse(&pred, &target)?)?;
        keep(&pred, &target)
    };
    step()?; // what is made once is not what is kept
    let _profiler = dhat::Profiler::builder().testing().trim_backtraces(Some(0)).build();
    let mut history = Vec::with_capacity(STEPS);
    for _ in 0..STEPS {
        history.push(step()?);
    }
    Ok((history, dhat::HeapStats::get().curr_bytes.div_ceil(STEPS)))
}

fn ssim() -> Result<Ssim> {
    Ok(Ssim::new(SsimConfig::new(1.0))?)
}

fn metrics() -> Result<MetricCollection> {
    Ok(MetricCollection::new()
        .with("psnr", Psnr::new(PsnrConfig::new(1.0))?)?
        .with("ssim", ssim()?)?
        .with("ms_ssim", MsSsim::new(MsSsimConfig::new(1.0).betas([0.4, 0.6]))?)?)
}

/// Shows what was kept of a step, and refuses more than `at_most` bytes.
fn report(kept: &str, bytes: usize, at_most: usize) -> Result<()> {
    println!("{kept:<34} {bytes:>4} bytes a step");
    ensure!(bytes <= at_most, "{kept}: {bytes} bytes a step, but at most {at_most} were expected");
    Ok(())
}

fn one_metric() -> Result<()> {
    let mut metric = EvalOnly::new(ssim()?);
    let (values, bytes) = train(|pred, target| Ok(metric.forward(pred, target)?.to_f64()?))?;
    ensure!(values.len() == STEPS);
    report("one metric, f64", bytes, AIM)?;

    let (values, bytes) = train(|pred, target| Ok(metric.forward(pred, target)?))?;
    ensure!(GraphStats::of_all(&values).is_free());
    report("one metric, Detached", bytes, TENSOR)?;

    // As it was in the issue: what is measured here is there to be seen.
    let mut metric = metric.into_inner();
    let (_, bytes) = train(|pred, target| Ok(metric.forward(pred, target)?))?;
    ensure!(bytes > 10 * TENSOR, "a tensor with its graph should cost more than {bytes} bytes");
    report("one metric, Tensor with its graph", bytes, usize::MAX)
}

fn a_collection() -> Result<()> {
    let mut metrics = metrics()?.eval_only();
    let (_, bytes) = train(|pred, target| {
        let values = metrics.forward(pred, target)?.to_f64()?;
        Ok(["psnr", "ssim", "ms_ssim"].map(|name| values.get(name).copied()))
    })?;
    report("three metrics, [Option<f64>; 3]", bytes, AIM)?;

    let (_, bytes) = train(|pred, target| Ok(metrics.forward(pred, target)?.to_f64()?))?;
    report("three metrics, Named<f64>", bytes, 3 * AIM)?;

    let (values, bytes) = train(|pred, target| Ok(metrics.forward(pred, target)?))?;
    let all: Vec<&Detached> = values.iter().flat_map(|values| values.iter().map(|(_, value)| value)).collect();
    ensure!(GraphStats::of_all(all).is_free());
    report("three metrics, Named<Detached>", bytes, 3 * TENSOR + AIM)
}
