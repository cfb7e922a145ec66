//! No hidden waits: an update reads nothing back from the device; what it computed is read together, when it is asked for.

use anyhow::Result;
use candle_core::{DType, Device};
use metrics_core::{Metric, MetricCollection};
use metrics_detach::host_reads;
use metrics_image::{ErrorConfig, Mae, MsSsim, MsSsimConfig, Psnr, PsnrConfig, Ssim, SsimConfig};
use tests::device::asked_for;
use tests::images::textured;

fn waiting<M: Metric>(mut metric: M) -> M {
    let state = metric.state().clone().queue_everywhere();
    *metric.state_mut() = state;
    metric
}

#[test]
fn updates_read_nothing_back() -> Result<()> {
    // Without a GPU, statistics are made to wait as they do on one.
    let device = asked_for()?.unwrap_or(Device::Cpu);
    let mut metrics = MetricCollection::new()
        .with("psnr", waiting(Psnr::new(PsnrConfig::new(1.0))?))?
        .with("ssim", waiting(Ssim::new(SsimConfig::new(1.0))?))?
        .with("ms_ssim", waiting(MsSsim::new(MsSsimConfig::new(1.0))?))?
        .with("mae", waiting(Mae::new(ErrorConfig::new())?))?;
    let target = textured((2, 3, 176, 176), 1, DType::F32)?.to_device(&device)?;
    let pred = target.affine(0.9, 0.05)?;
    let waiting = |metrics: &MetricCollection| -> Vec<usize> {
        metrics.iter().map(|(_, metric)| metric.state().waiting()).collect()
    };
    let before = host_reads();
    for updates in (2..=62).step_by(2) {
        metrics.update(&pred, &target)?;
        metrics.forward(&pred.to_dtype(DType::F16)?, &target.to_dtype(DType::F16)?)?;
        assert_eq!((waiting(&metrics), host_reads()), (vec![updates; 4], before));
    }
    // The queue is bounded: with its 64th update it is read, once for each metric.
    metrics.update(&pred, &target)?;
    metrics.update(&pred, &target)?;
    assert_eq!((waiting(&metrics), host_reads()), (vec![0; 4], before + 4));

    metrics.update(&pred, &target)?;
    assert_eq!((waiting(&metrics), host_reads()), (vec![1; 4], before + 4));
    metrics.compute()?;
    assert_eq!((waiting(&metrics), host_reads()), (vec![1; 4], before + 8));
    Ok(())
}
