//! Ten thousand updates on a GPU need no more of its memory than a hundred. `METRICS_TEST_DEVICE` names the GPU; without it there
//! is nothing to test. One test in a process of its own: others would be counted too.

use anyhow::{Result, ensure};
use candle_core::{DType, Device, Tensor, Var};
use metrics_core::{MetricCollection, Reduction};
use metrics_detach::RetentionMonitor;
use metrics_image::{MsSsim, MsSsimConfig, Psnr, PsnrConfig, Ssim, SsimConfig, SsimLoss};
use tests::device;
use tests::images::textured;

const WARM_UP: usize = 100;
const UPDATES: usize = 10_000;
/// Ten thousand of the smallest allocations that CUDA makes, 512 bytes, are 4.9 MiB; one image of each update would be 117 MiB.
const ALLOWANCE: usize = 4 << 20;

fn main() -> Result<()> {
    match device::asked_for()? {
        None => println!("nothing to test: METRICS_TEST_DEVICE names no GPU"),
        Some(device) => {
            updates_leave_nothing(&device)?;
            steps_leave_nothing(&device)?;
            println!("test result: ok. 2 passed; 0 failed");
        }
    }
    Ok(())
}

/// A prediction that tracks, as a model's does, and its target.
fn pair(device: &Device) -> Result<(Var, Tensor)> {
    let image = |seed| textured(&[1, 3, 32, 32], seed, DType::F32)?.to_device(device);
    Ok((Var::from_tensor(&image(1)?)?, image(2)?))
}

/// Calls `step` [`UPDATES`] times, and compares what the device holds after [`WARM_UP`] of them and at the end.
fn flat(device: &Device, what: &str, mut step: impl FnMut() -> Result<()>) -> Result<()> {
    for _ in 0..WARM_UP {
        step()?;
    }
    let before = device::used_bytes(device)?;
    for _ in WARM_UP..UPDATES {
        step()?;
    }
    let after = device::used_bytes(device)?;
    println!("{what}: {before} bytes of the device in use after {WARM_UP}, {after} after {UPDATES}");
    ensure!(after <= before + ALLOWANCE, "{what}: the device's memory grew from {before} to {after} bytes");
    Ok(())
}

fn updates_leave_nothing(device: &Device) -> Result<()> {
    let ms_ssim = MsSsimConfig::new(1.0).betas([0.4, 0.6]).reduction(Reduction::Summary); // two scales: 32 pixels suffice
    let mut metrics = MetricCollection::new()
        .with("psnr", Psnr::new(PsnrConfig::new(1.0))?)?
        .with("ssim", Ssim::new(SsimConfig::new(1.0))?)?
        .with("ms_ssim", MsSsim::new(ms_ssim)?)?
        .eval_only();
    let (pred, target) = pair(device)?;
    let mut monitor = RetentionMonitor::new();
    flat(device, "updates", || {
        metrics.update(&pred.affine(0.9, 0.05)?, &target)?;
        let findings = monitor.check(&metrics.memory());
        ensure!(findings.is_empty(), "{findings:?}");
        Ok(())
    })?;
    metrics.compute()?;
    Ok(())
}

fn steps_leave_nothing(device: &Device) -> Result<()> {
    let (pred, target) = pair(device)?;
    let loss = SsimLoss::new(SsimConfig::new(1.0))?;
    flat(device, "training steps", || {
        let gradients = loss.forward(&pred.affine(0.9, 0.05)?, &target)?.backward()?;
        ensure!(gradients.get(&pred).is_some(), "no gradient");
        Ok(())
    })
}
