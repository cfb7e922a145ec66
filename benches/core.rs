//! What accumulating costs beside measuring: an update, merging shards, a sync.

use std::hint::black_box;
use std::thread;
use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};
use metrics_core::{
    Accumulator, Definition, Metric, MetricCollection, Reduction, Result, Samples, State, Statistics, Threads,
};
use serde::Serialize;

/// A score that needs no measuring: the weight of the one sample, or 0.7.
#[derive(Clone, Serialize)]
struct Given {
    reduction: Reduction,
}

impl Definition for Given {
    fn name(&self) -> &'static str {
        "given"
    }

    fn states(&self) -> State {
        State::scores(self.reduction)
    }

    fn statistics(&self, samples: &Samples) -> Result<Statistics> {
        let weights = samples.sample_weights().unwrap_or(&[0.7]);
        Ok(Statistics::new(1).with_values("score", weights.to_vec()))
    }
}

const SHARDS: usize = 1000;

fn filled(reduction: Reduction) -> Result<Accumulator<Given>> {
    let mut metric = Accumulator::of(Given { reduction })?;
    for sample in 0..64 {
        metric.update_with(&Samples::default().weights(&[1.0 / f64::from(sample + 1)]))?;
    }
    Ok(metric)
}

fn summaries() -> Result<MetricCollection> {
    (0..4).try_fold(MetricCollection::new(), |all, at| all.with(format!("summary {at}"), filled(Reduction::Summary)?))
}

fn update(criterion: &mut Criterion) {
    for reduction in [Reduction::Mean, Reduction::Summary] {
        let mut metric = filled(reduction).unwrap();
        let samples = Samples::default();
        criterion.bench_function(&format!("update {reduction}"), |b| b.iter(|| metric.update_with(&samples).unwrap()));
    }
}

fn merge(criterion: &mut Criterion) {
    for reduction in [Reduction::Mean, Reduction::Summary] {
        let shards = vec![filled(reduction).unwrap(); SHARDS];
        let merged = || {
            let mut whole = shards[0].clone();
            shards[1..].iter().for_each(|shard| whole.merge(shard).unwrap());
            whole
        };
        criterion.bench_function(&format!("merge {SHARDS} shards, {reduction}"), |b| b.iter(|| black_box(merged())));
    }
}

fn sync(criterion: &mut Criterion) {
    let metrics = summaries().unwrap();
    criterion.bench_function("sync 4 summaries over 4 threads", |b| {
        b.iter_custom(|times| {
            let start = std::time::Instant::now();
            let rank = |mut member: Threads| {
                let metrics = metrics.clone();
                move || (0..times).for_each(|_| drop(black_box(metrics.synced(&mut member).unwrap())))
            };
            let ranks: Vec<_> = Threads::group(4).into_iter().map(|member| thread::spawn(rank(member))).collect();
            ranks.into_iter().for_each(|rank| rank.join().unwrap());
            start.elapsed()
        });
    });
}

criterion_group! {
    name = core;
    config = Criterion::default().warm_up_time(Duration::from_millis(300)).measurement_time(Duration::from_secs(1));
    targets = update, merge, sync
}
criterion_main!(core);
