//! A page to test with.

use std::sync::LazyLock;

use candle_core::{DType, Device, Tensor};
use metrics_core::{MetricCollection, Reduction};
use metrics_image::{Psnr, PsnrConfig, Ssim, SsimConfig, psnr_per_image, ssim_per_image};

use super::{Histogram, Page, Pictures, Worst};
use crate::tally::{Counts, Failure};

/// A drawing with edges and slopes, `[1, 3, height, width]`.
pub(super) fn drawing(height: usize, width: usize) -> Tensor {
    let value = |channel: usize, y: usize, x: usize| {
        let (y, x) = (y as f32 / height as f32, x as f32 / width as f32);
        let disc = if (x - 0.5).hypot(y - 0.5) < 0.3 { 0.3 } else { 0.0 };
        let waves = 0.15 * (40.0 * x * y).sin() * (1.0 + channel as f32) / 3.0;
        0.2 + 0.3 * [x, y, 1.0 - x][channel] + disc + waves
    };
    let positions = (0..3).flat_map(|c| (0..height).flat_map(move |y| (0..width).map(move |x| (c, y, x))));
    let values: Vec<f32> = positions.map(|(c, y, x)| value(c, y, x)).collect();
    Tensor::from_vec(values, (1, 3, height, width), &Device::Cpu).unwrap()
}

/// The drawing with its right side blurred, the more the larger `by` is.
pub(super) fn damaged(drawing: &Tensor, by: usize) -> Tensor {
    let (_, _, height, width) = drawing.dims4().unwrap();
    let coarse = drawing.interpolate2d(height / by, width / by).unwrap().upsample_nearest2d(height, width).unwrap();
    let half = width / 2;
    let (left, right) = (drawing.narrow(3, 0, half).unwrap(), coarse.narrow(3, half, width - half).unwrap());
    Tensor::cat(&[left, right], 3).unwrap().to_dtype(DType::F32).unwrap()
}

static COUNTS: LazyLock<Counts> = LazyLock::new(|| {
    let failure = Failure { pair: "<i>.png".into(), error: "cannot read a/<i>.png: 0 bytes & no header".into() };
    Counts { done: 4, scored: 3, failed: 1, failures: vec![failure], ..Counts::default() }
});

/// Three pairs, one of them large and one of them small, and names that try to be more than text.
pub(super) fn page() -> Page<'static> {
    let pairs = [("large.png", 640, 16), ("folder/<script>alert(1)</script>.png", 240, 8), ("small \"&\".png", 32, 4)];
    let config = SsimConfig::new(1.0).reduction(Reduction::Summary);
    let mut metrics = MetricCollection::new();
    metrics = metrics.with("psnr", Psnr::new(PsnrConfig::new(1.0).reduction(Reduction::Summary)).unwrap()).unwrap();
    metrics = metrics.with("ssim", Ssim::new(config.clone()).unwrap()).unwrap();
    let mut histograms = vec![("psnr".to_string(), Histogram::new()), ("ssim".to_string(), Histogram::new())];
    let mut worst = Vec::new();
    for (name, side, by) in pairs {
        let reference = drawing(side * 3 / 4, side);
        let test = damaged(&reference, by);
        metrics.update(&test, &reference).unwrap();
        let values = values(&reference, &test);
        histograms.iter_mut().zip(&values).for_each(|((_, histogram), (_, value))| histogram.add(*value));
        let pictures = Pictures::new(&reference, &test, &config).unwrap();
        worst.push(Worst::new(name.into(), values, Ok(pictures)));
    }
    Page {
        title: "Fixture <b>".into(),
        command: "image-metrics compare a b --report 'report & more.html'".into(),
        summary: metrics.compute().unwrap(),
        histograms,
        worst_by: "ssim".into(),
        worst,
        counts: &COUNTS,
        passed_over: Some("2 files in the folders are not compared, of which 2 .<b>".into()),
    }
}

fn values(reference: &Tensor, test: &Tensor) -> Vec<(String, f64)> {
    let psnr = psnr_per_image(test, reference, &PsnrConfig::new(1.0)).unwrap();
    let ssim = ssim_per_image(test, reference, &SsimConfig::new(1.0)).unwrap();
    let number = |scores: Tensor| f64::from(scores.squeeze(0).unwrap().to_scalar::<f32>().unwrap());
    vec![("psnr".to_string(), number(psnr)), ("ssim".to_string(), number(ssim))]
}
