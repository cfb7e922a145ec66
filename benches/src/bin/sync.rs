//! How long a sync of four metrics with `Reduction::Summary` takes.
//!
//! ```text
//! cargo build --release -p benches --bin sync --features mpi
//! mpirun -n 4 target/release/sync
//! ```
//!
//! Each rank has scored 10 000 images, so that states are as large as they get. For groups larger than this machine can hold, only the
//! work of one rank is timed: it gets its own state as if that many ranks had sent it.

use std::time::{Duration, Instant};

use anyhow::Result;
use benches::images;
use metrics_core::{Collective, MetricCollection, Mpi, Solo};
use metrics_image::{ErrorConfig, Mae, Mse, Psnr, PsnrConfig, Reduction, Ssim, SsimConfig};

const IMAGES: usize = 10_000;
const BATCH: usize = 500;
const SIDE: usize = 16;
const SYNCS: usize = 1000;

/// A group whose other ranks give what this one gives.
struct Echo(usize);

impl Collective for Echo {
    fn rank(&self) -> usize {
        0
    }

    fn world_size(&self) -> usize {
        self.0
    }

    fn all_gather(&mut self, bytes: &[u8]) -> metrics_core::Result<Vec<Vec<u8>>> {
        Ok(vec![bytes.to_vec(); self.0])
    }
}

/// Counts what a rank gives.
struct Counting(usize);

impl Collective for Counting {
    fn rank(&self) -> usize {
        0
    }

    fn world_size(&self) -> usize {
        1
    }

    fn all_gather(&mut self, bytes: &[u8]) -> metrics_core::Result<Vec<Vec<u8>>> {
        self.0 = bytes.len();
        Solo.all_gather(bytes)
    }
}

fn main() -> Result<()> {
    Mpi::run(|mpi| {
        let metrics = scored()?;
        let [min, median, p95] = times(SYNCS, &metrics, mpi)?;
        if mpi.rank() > 0 {
            return Ok(());
        }
        let mut counting = Counting(0);
        metrics.synced(&mut counting)?;
        println!("{} ranks: {min:?} at least, {median:?} in the median, {p95:?} for 95 %", mpi.world_size());
        println!("each gives {} bytes", counting.0);
        if mpi.world_size() == 1 {
            for ranks in [1, 4, 64, 4096] {
                let [_, median, _] = times(if ranks > 1000 { 5 } else { 100 }, &metrics, &mut Echo(ranks))?;
                println!("the work of one of {ranks} ranks: {median:?}, {} bytes", ranks * counting.0);
            }
        }
        Ok(())
    })
}

/// Of noise, which scatters the scores over many buckets.
fn scored() -> Result<MetricCollection> {
    let summary = Reduction::Summary;
    let mut metrics = MetricCollection::new()
        .with("psnr", Psnr::new(PsnrConfig::skimage(1.0).reduction(summary))?)?
        .with("ssim", Ssim::new(SsimConfig::new(1.0).reduction(summary))?)?
        .with("mae", Mae::new(ErrorConfig::new().reduction(summary))?)?
        .with("mse", Mse::new(ErrorConfig::new().reduction(summary))?)?;
    let (noisy, target) = images([IMAGES, 1, SIDE, SIDE])?;
    let (_, strength) = images([IMAGES, 1, 1, 1])?;
    let pred = (&target + ((noisy - &target)? * 5.0)?.broadcast_mul(&strength)?)?;
    for first in (0..IMAGES).step_by(BATCH) {
        metrics.update(&pred.narrow(0, first, BATCH)?, &target.narrow(0, first, BATCH)?)?;
    }
    Ok(metrics)
}

/// The shortest, the median, and the 95th percentile, from when all are there.
fn times(syncs: usize, metrics: &MetricCollection, ranks: &mut dyn Collective) -> Result<[Duration; 3]> {
    let mut times = Vec::with_capacity(syncs);
    for _ in 0..syncs + syncs / 10 {
        ranks.all_gather(&[])?;
        let start = Instant::now();
        let synced = metrics.synced(ranks)?;
        times.push(start.elapsed());
        drop(synced);
    }
    times.drain(..syncs / 10); // warming up
    times.sort();
    Ok([times[0], times[syncs / 2], times[syncs * 95 / 100]])
}
