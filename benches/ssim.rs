//! SSIM, its value and its gradient, beside the plain pass over the same images and compositions of Candle's operations.

use std::time::Duration;

use benches::composition::Composition;
use benches::scene::Scene;
use benches::{BATCH, FULL_HD, SMALL, label};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};

fn value_and_gradient(criterion: &mut Criterion) {
    for dims in [SMALL, BATCH, FULL_HD] {
        let scene = Scene::new(dims).unwrap();
        let mut group = criterion.benchmark_group(format!("ssim {}", label(dims)));
        group.throughput(Throughput::Elements(scene.values() as u64));
        group.bench_function("squared difference", |b| b.iter(|| scene.squared_difference().unwrap()));
        group.bench_function("value", |b| b.iter(|| scene.ssim().unwrap()));
        group.bench_function("loss and gradient", |b| b.iter(|| scene.ssim_loss().unwrap()));
        for composition in Composition::ALL {
            group.bench_function(format!("{composition:?}"), |b| b.iter(|| scene.composed(composition).unwrap()));
        }
    }
}

// Ten samples, since a composition takes seconds a call.
criterion_group! {
    name = ssim;
    config = Criterion::default().sample_size(10).warm_up_time(Duration::from_millis(300)).measurement_time(Duration::from_secs(1));
    targets = value_and_gradient
}
criterion_main!(ssim);
