//! Sharded evaluation of real images: whatever the shards, the bits of one process.

use anyhow::Result;
use candle_core::{DType, Tensor};
use metrics_core::{MetricCollection, Threads, Value};
use metrics_image::{ErrorConfig, Mae, Mse, Psnr, PsnrConfig, Reduction, Ssim, SsimConfig};
use proptest::prelude::*;
use tests::images::textured;

const IMAGES: usize = 10_000;
const SIDE: usize = 12;

fn metrics() -> Result<MetricCollection> {
    Ok(MetricCollection::new()
        .with("psnr", Psnr::new(PsnrConfig::new(1.0))?)?
        .with("ssim", Ssim::new(SsimConfig::new(1.0).reduction(Reduction::Summary))?)?
        .with("mae", Mae::new(ErrorConfig::new())?)?
        .with("mse", Mse::new(ErrorConfig::new().reduction(Reduction::None))?)?)
}

/// Images in batches of uneven size.
fn add(metrics: &mut MetricCollection, pred: &Tensor, target: &Tensor, from: usize, to: usize) -> Result<()> {
    let mut at = from;
    while at < to {
        let len = (1 + at % 97).min(to - at);
        metrics.update(&pred.narrow(0, at, len)?, &target.narrow(0, at, len)?)?;
        at += len;
    }
    Ok(())
}

fn bits(metrics: &MetricCollection) -> Result<Vec<u64>> {
    let report = metrics.compute()?;
    let numbers = report.iter().flat_map(|(_, value)| match value {
        Value::Scalar(value) => vec![*value],
        Value::PerImage(values) => values.clone(),
        Value::Summary(s) => vec![s.count as f64, s.mean, s.std, s.min, s.p5, s.median, s.p95, s.max],
        _ => Vec::new(),
    });
    Ok(numbers.map(f64::to_bits).collect())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4))]

    #[test]
    fn four_ranks_give_the_bits_of_one(mut cuts in prop::collection::vec(0..=IMAGES, 3), seed in any::<u64>()) {
        cuts.extend([0, IMAGES]);
        cuts.sort_unstable();
        let shape = (IMAGES, 1, SIDE, SIDE);
        let [target, other] = [seed, !seed].map(|seed| textured(shape, seed, DType::F32).unwrap());
        let pred = ((&target * 0.7).unwrap() + (other * 0.3).unwrap()).unwrap();
        let mut one = metrics().unwrap();
        add(&mut one, &pred, &target, 0, IMAGES).unwrap();

        let rank = |(mut member, part): (Threads, &[usize])| -> Result<Vec<u64>> {
            let mut metrics = metrics()?;
            add(&mut metrics, &pred, &target, part[0], part[1])?;
            metrics.sync(&mut member)?;
            bits(&metrics)
        };
        let shards = Threads::group(4).into_iter().zip(cuts.windows(2));
        let synced: Vec<_> = std::thread::scope(|scope| {
            let ranks: Vec<_> = shards.map(|shard| scope.spawn(|| rank(shard))).collect();
            ranks.into_iter().map(|rank| rank.join().unwrap().unwrap()).collect()
        });
        let want = bits(&one).unwrap();
        prop_assert!(want.len() > IMAGES);
        for got in synced {
            prop_assert!(got == want, "shards at {cuts:?} of images of seed {seed}");
        }
    }
}
