//! One rank of the tests in `main.rs`, which start it with `mpirun`; the argument says what it does.

use anyhow::{Context, Result, bail, ensure};
use candle_core::{Device, Tensor};
use metrics_core::{Collective, MetricCollection, Mpi};
use metrics_image::{ErrorConfig, Mae, Mse, Psnr, PsnrConfig, Reduction, Ssim, SsimConfig};

const IMAGES: u64 = 61;

fn main() -> Result<()> {
    let what = std::env::args().nth(1).context("no argument")?;
    if what == "exchange" {
        return exchange(Mpi::init()?.exchanging(3)); // pieces that do not end where the bytes do
    }
    Mpi::run(|mpi| {
        let last = mpi.rank() + 1 == mpi.world_size();
        match (what.as_str(), last) {
            ("sync", _) => sync(mpi),
            ("differ", _) => differ(mpi, last),
            ("twice", _) => {
                let error = Mpi::init().err().context("a second start")?;
                println!("{error}");
                Ok(())
            }
            ("fail", true) => bail!("this rank has no images"),
            ("panic", true) => panic!("this rank has a bug"),
            ("killed", true) => {
                let own = std::process::id().to_string();
                std::process::Command::new("kill").args(["-9", &own]).status()?;
                bail!("it was to be killed")
            }
            ("fail" | "panic" | "killed", false) => {
                mpi.all_gather(b"waiting")?;
                println!("rank {} has waited for what cannot come", mpi.rank());
                Ok(())
            }
            _ => bail!("what is `{what}`?"),
        }
    })
}

fn exchange(mut mpi: Mpi) -> Result<()> {
    for round in 0..20usize {
        let of = |rank: usize| vec![(rank * 20 + round) as u8; rank * round % 17];
        let expected: Vec<_> = (0..mpi.world_size()).map(of).collect();
        let own = of(mpi.rank());
        ensure!(mpi.all_gather(&own)? == expected, "round {round}");
        let gathered = mpi.gather(&own)?;
        ensure!(gathered == if mpi.rank() == 0 { expected } else { Vec::new() }, "round {round}");
    }
    let long: Vec<u8> = (0..=255).collect();
    ensure!(mpi.broadcast(if mpi.rank() == 0 { &long } else { &[] })? == long, "what rank 0 gave is not what came");
    ensure!(mpi.broadcast(&[])?.is_empty());
    println!("rank {} of {} has what all gave", mpi.rank(), mpi.world_size());
    Ok(())
}

/// The first rank writes the values; those of images come in the order of the images.
fn sync(mpi: &mut Mpi) -> Result<()> {
    let summary = Reduction::Summary;
    let mut metrics = MetricCollection::new()
        .with("psnr", Psnr::new(PsnrConfig::new(1.0).reduction(summary))?)?
        .with("ssim", Ssim::new(SsimConfig::new(1.0).reduction(summary))?)?
        .with("mae", Mae::new(ErrorConfig::new().reduction(Reduction::None))?)?
        .with("mse", Mse::new(ErrorConfig::new())?)?;
    let keys: Vec<u64> = (mpi.rank() as u64..IMAGES).step_by(mpi.world_size()).collect();
    for &key in &keys {
        // Another size for each.
        let side = 12 + key as usize % 7;
        let target = Tensor::arange(0f32, (side * side) as f32, &Device::Cpu)?.affine(0.37, key as f64)?.sin()?;
        let target = target.affine(0.5, 0.5)?.reshape((1, 1, side, side))?;
        metrics.update(&target.affine(0.9 - key as f64 * 1e-3, 0.03)?, &target)?;
    }
    metrics.sync_by_key(mpi, &keys)?;
    let report = serde_json::to_string(&metrics.compute()?)?; // digits enough for every bit
    let reports = mpi.all_gather(report.as_bytes())?;
    ensure!(reports.iter().all(|other| other == report.as_bytes()), "ranks have different values");
    if mpi.rank() == 0 {
        println!("{report}");
    }
    Ok(())
}

fn differ(mpi: &mut Mpi, last: bool) -> Result<()> {
    let range = if last { 2.0 } else { 1.0 };
    let mut metrics = MetricCollection::new().with("psnr", Psnr::new(PsnrConfig::new(range))?)?;
    let error = metrics.sync(mpi).err().context("they differ")?;
    println!("{error}");
    Ok(())
}
