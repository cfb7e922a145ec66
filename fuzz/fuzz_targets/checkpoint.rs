//! Whatever a file holds, loading it gives an error or a state that works, and an error changes nothing.

#![no_main]

use candle_core::{Device, Tensor};
use libfuzzer_sys::fuzz_target;
use metrics_core::{MetricCollection, Result};
use metrics_image::{Pooling, Psnr, PsnrConfig, Reduction, Ssim, SsimConfig};

/// Four images, so that there are sums, a histogram and values of images to change.
fn images() -> Result<(Tensor, Tensor)> {
    let target = (Tensor::arange(0f32, 576., &Device::Cpu)?.reshape((4, 1, 12, 12))? / 576.)?;
    Ok((target.sqr()?, target))
}

/// A collection that has seen them.
fn metrics() -> Result<MetricCollection> {
    let per_image = PsnrConfig::new(1.0).pooling(Pooling::PerImage).reduction(Reduction::None);
    let mut metrics = MetricCollection::new()
        .with("psnr", Psnr::new(PsnrConfig::new(1.0))?)?
        .with("psnr per image", Psnr::new(per_image)?)?
        .with("ssim", Ssim::new(SsimConfig::new(1.0).reduction(Reduction::Summary))?)?;
    let (pred, target) = images()?;
    metrics.update(&pred, &target)?;
    Ok(metrics)
}

/// A valid file with some bytes changed and the end cut off, or the bytes as they are.
fn file(data: &[u8], valid: Vec<u8>) -> Vec<u8> {
    match data.split_first() {
        Some((mode, changes)) if mode % 2 == 0 => {
            let mut bytes = valid;
            for change in changes.chunks_exact(3) {
                let index = usize::from(u16::from_le_bytes([change[0], change[1]])) % bytes.len();
                bytes[index] = change[2];
            }
            bytes.truncate(bytes.len() - changes.len() % 3);
            bytes
        }
        _ => data.to_vec(),
    }
}

fuzz_target!(|data: &[u8]| {
    let mut metrics = metrics().expect("valid configurations and images");
    let before = metrics.to_bytes().expect("bytes");
    match metrics.load_bytes(&file(data, before.clone())) {
        Ok(()) => {
            let _ = metrics.compute();
            let (pred, target) = images().expect("images");
            let _ = metrics.update(&pred, &target);
            let copy = metrics.clone();
            // Refused if the counters have no room for it.
            let _ = metrics.merge(&copy);
        }
        Err(_) => assert_eq!(metrics.to_bytes().expect("bytes"), before),
    }
});
