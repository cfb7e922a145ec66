//! PSNR beside reading the same images.

use std::time::Duration;

use benches::scene::Scene;
use benches::{BATCH, FULL_HD, SMALL, label};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};

fn value(criterion: &mut Criterion) {
    for dims in [SMALL, BATCH, FULL_HD] {
        let scene = Scene::new(dims).unwrap();
        let mut group = criterion.benchmark_group(format!("psnr {}", label(dims)));
        group.throughput(Throughput::Bytes(2 * size_of::<f32>() as u64 * scene.values() as u64));
        group.bench_function("read", |b| b.iter(|| scene.read().unwrap()));
        group.bench_function("psnr", |b| b.iter(|| scene.psnr().unwrap()));
    }
}

criterion_group! {
    name = psnr;
    config = Criterion::default().warm_up_time(Duration::from_millis(300)).measurement_time(Duration::from_secs(1));
    targets = value
}
criterion_main!(psnr);
