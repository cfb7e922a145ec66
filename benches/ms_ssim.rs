//! MS-SSIM beside SSIM.

use std::time::Duration;

use benches::scene::Scene;
use benches::{BATCH, FULL_HD, label};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};

fn value(criterion: &mut Criterion) {
    for dims in [BATCH, FULL_HD] {
        let scene = Scene::new(dims).unwrap();
        let mut group = criterion.benchmark_group(format!("ms_ssim {}", label(dims)));
        group.throughput(Throughput::Elements(scene.values() as u64));
        group.bench_function("ssim", |b| b.iter(|| scene.ssim().unwrap()));
        group.bench_function("ms_ssim", |b| b.iter(|| scene.ms_ssim().unwrap()));
    }
}

criterion_group! {
    name = ms_ssim;
    config = Criterion::default().warm_up_time(Duration::from_millis(300)).measurement_time(Duration::from_secs(1));
    targets = value
}
criterion_main!(ms_ssim);
