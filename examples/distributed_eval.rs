//! An evaluation by several processes: each scores its share of the images, and all get the report of the whole, to the last bit.
//!
//! ```text
//! cargo build --release -p examples --example distributed_eval --features mpi
//! mpirun -n 2 target/release/examples/distributed_eval
//! ```
//!
//! With any number of processes, or without `mpirun`, it prints the same table and the same last line. `docs/distributed.md` says more.

mod device;

use std::path::Path;

use anyhow::{Context, Result};
use candle_core::{Device, Tensor};
use clap::Parser;
use metrics_core::{Collective, MetricCollection, Mpi, Value};
use metrics_image::{ErrorConfig, Mae, MsSsim, MsSsimConfig, Psnr, PsnrConfig, Reduction, Ssim, SsimConfig};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use rand_distr::StandardNormal;
use xxhash_rust::xxh3::xxh3_64;

/// Scores noisy crops of photographs, by all processes together.
#[derive(Parser)]
struct Args {
    /// How many crops there are in all.
    #[arg(long, default_value_t = 96)]
    images: u64,
    /// Where it runs: cpu, cuda, cuda:N or metal; a GPU needs a build with `--features cuda` or `--features metal`. With `cuda`,
    /// each process of a machine has a GPU of its own; with `cuda:N`, all have that one.
    #[arg(long, default_value = "cpu")]
    device: String,
}

fn main() -> Result<()> {
    let args = Args::parse();
    // If one process fails, all end, so that none waits for ever.
    Mpi::run(|mpi| evaluate(&args, mpi))
}

fn evaluate(args: &Args, ranks: &mut dyn Collective) -> Result<()> {
    let device = own_device(&args.device)?;
    let photos =
        ["astronaut.png", "chelsea.png", "coffee.png"].iter().map(|name| photo(name)).collect::<Result<Vec<_>>>()?;
    let summary = Reduction::Summary;
    let mut metrics = MetricCollection::new()
        .with("psnr", Psnr::new(PsnrConfig::skimage(1.0).reduction(summary))?)?
        .with("ssim", Ssim::new(SsimConfig::new(1.0).reduction(summary))?)?
        .with("ms_ssim", MsSsim::new(MsSsimConfig::new(1.0).reduction(summary))?)?
        .with("mae", Mae::new(ErrorConfig::new().reduction(summary))?)?
        .with("ssim of each", Ssim::new(SsimConfig::new(1.0).reduction(Reduction::None))?)?
        .eval_only();

    // The images are dealt in turn, as PyTorch's `DistributedSampler` does it.
    let own: Vec<u64> = (ranks.rank() as u64..args.images).step_by(ranks.world_size()).collect();
    for &image in &own {
        let (noisy, clean) = pair(&photos[image as usize % photos.len()], image, &device)?;
        metrics.update(&noisy, &clean)?;
    }
    eprintln!("rank {} of {}: {} images", ranks.rank(), ranks.world_size(), own.len());

    // Their numbers bring the values of images back into the order of the data set.
    metrics.sync_by_key(ranks, &own)?;
    if ranks.rank() == 0 {
        let report = metrics.compute()?;
        println!("{report}");
        if let Some(Value::PerImage(values)) = report.get("ssim of each") {
            println!("the first images have an SSIM of {:.3?}", &values[..values.len().min(5)]);
        }
        let hash = xxh3_64(serde_json::to_string(&report)?.as_bytes());
        println!("{hash:016x} is the hash of all values, for any number of processes");
    }
    Ok(())
}

/// The device that was asked for; `cuda`, without a number, is the GPU of the process's number within its machine, if a launcher has
/// given it one.
fn own_device(name: &str) -> Result<Device> {
    let local_rank = ["OMPI_COMM_WORLD_LOCAL_RANK", "MPI_LOCALRANKID", "SLURM_LOCALID"]
        .iter()
        .find_map(|name| std::env::var(name).ok());
    match local_rank {
        Some(rank) if name == "cuda" => device::open(&format!("cuda:{rank}")),
        _ => device::open(name),
    }
}

/// A crop and what noise makes of it: functions of the image's number alone. Sides differ from image to image.
fn pair(photo: &Tensor, image: u64, device: &Device) -> Result<(Tensor, Tensor)> {
    let mut random = StdRng::seed_from_u64(image);
    let (channels, height, width) = photo.dims3()?;
    let (h, w) = (random.random_range(176..=224), random.random_range(176..=224));
    let (top, left) = (random.random_range(0..=height - h), random.random_range(0..=width - w));
    let clean = photo.narrow(1, top, h)?.narrow(2, left, w)?.unsqueeze(0)?;
    let sigma = random.random_range(0.02..0.1f32);
    let noise: Vec<f32> = (0..channels * h * w).map(|_| sigma * random.sample::<f32, _>(StandardNormal)).collect();
    let noisy = (&clean + Tensor::from_vec(noise, (1, channels, h, w), &Device::Cpu)?)?.clamp(0f32, 1.)?;
    Ok((noisy.to_device(device)?, clean.contiguous()?.to_device(device)?))
}

/// `[3, H, W]`, 0 to 1.
fn photo(name: &str) -> Result<Tensor> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("images").join(name);
    let image = image::open(&path).with_context(|| path.display().to_string())?.to_rgb32f();
    let (width, height) = (image.width() as usize, image.height() as usize);
    Ok(Tensor::from_vec(image.into_raw(), (height, width, 3), &Device::Cpu)?.permute((2, 0, 1))?.contiguous()?)
}
