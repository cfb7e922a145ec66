//! Burn's side of the comparison: `burn-peer FILE N C H W`, asked and answering as benches/src/bin/ours.rs.

#[path = "../../../src/clock.rs"]
mod clock;

use anyhow::{Context, Result, ensure};
use burn_core::data::dataloader::Progress;
use burn_core::tensor::{Device, Tensor, TensorData};
use burn_train::metric::vision::{SsimInput, SsimMetric, SsimMetricConfig};
use burn_train::metric::{Metric, MetricMetadata, Numeric};

/// Seconds of calls in a turn.
const BUDGET: f64 = 0.2;

fn main() -> Result<()> {
    let mut args = std::env::args().skip(1);
    let values = clock::read_f32(&args.next().context("no file")?)?;
    let dims = args.map(|side| Ok(side.parse()?)).collect::<Result<Vec<usize>>>()?;
    let (pred, target) = values.split_at(values.len() / 2);
    let device = Device::flex(); // Burn's CPU backend: SIMD and threads; its other one, ndarray, is deprecated
    let tensor = |values: &[f32]| Tensor::<4>::from_data(TensorData::new(values.to_vec(), dims.clone()), &device);
    let input = SsimInput::new(tensor(pred), tensor(target));
    let progress = Progress { items_processed: 1, items_total: 1, unit: None };
    let metadata = MetricMetadata { progress, iteration: None, lr: None };

    clock::serve(|line| {
        ensure!(line == "forward burn", "Burn's metric has no {line}");
        let mut metric = SsimMetric::new(SsimMetricConfig::new(1.0));
        let seconds = clock::turn(BUDGET, &mut || {
            metric.update(&input, &metadata)?;
            Ok(())
        })?;
        Ok((seconds, metric.value().context("no value")?.current()))
    })
}
