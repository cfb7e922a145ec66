//! No hidden waits: an update reads nothing back from the device; what it computed is read together, when it is asked for.

use anyhow::Result;
use candle_core::{DType, Device, Tensor};
use metrics_core::{Metric, MetricCollection};
use metrics_detach::host_reads;
use metrics_image::{ErrorConfig, Mae, MsSsim, MsSsimConfig, Psnr, PsnrConfig, Ssim, SsimConfig};
use tests::device::asked_for;

fn waiting<M: Metric>(mut metric: M) -> M {
    let state = metric.state().clone().queue_everywhere();
    *metric.state_mut() = state;
    metric
}

#[test]
fn updates_read_nothing_back() -> Result<()> {
    // Without a GPU, contributions are made to wait as they do on one.
    let device = asked_for()?.unwrap_or(Device::Cpu);
    let mut metrics = MetricCollection::new()
        .with("psnr", waiting(Psnr::new(PsnrConfig::new(1.0))?))?
        .with("ssim", waiting(Ssim::new(SsimConfig::new(1.0))?))?
        .with("ms_ssim", waiting(MsSsim::new(MsSsimConfig::new(1.0))?))?
        .with("mae", waiting(Mae::new(ErrorConfig::new())?))?;
    let target = Tensor::rand(0f32, 1., (2, 3, 176, 176), &Device::Cpu)?.to_device(&device)?;
    let pred = target.affine(0.9, 0.05)?;
    let before = host_reads();
    for _ in 0..50 {
        metrics.update(&pred, &target)?;
        metrics.forward(&pred.to_dtype(DType::F16)?, &target.to_dtype(DType::F16)?)?;
        assert_eq!(host_reads(), before);
        // The queue is bounded: after 64 updates it is read once for each metric.
        if metrics.iter().all(|(_, metric)| metric.state().waiting() >= 62) {
            break;
        }
    }
    let waiting = metrics.iter().map(|(_, metric)| metric.state().waiting()).min().unwrap_or_default();
    assert!(waiting >= 62, "{waiting} updates wait");
    metrics.compute()?;
    assert!(host_reads() > before);
    Ok(())
}
