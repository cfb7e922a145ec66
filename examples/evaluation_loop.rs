//! A training loop whose metrics are for evaluation only, can be stopped and resumed, and are watched for memory.
//!
//! A small denoiser learns from one photograph with an L1 + SSIM loss. After each epoch, a twin of the model that cannot build a
//! graph restores crops of another photograph, and a collection scores them: four metrics, one pass over the pixels. At the end the
//! last evaluation is made again, stopped in the middle, and resumed from its checkpoint by a new collection.
//!
//! ```text
//! cargo run --release --example evaluation_loop -- --epochs 6 --steps 20
//! ```

mod device;

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use candle_core::{DType, Device, Tensor};
use candle_nn::{AdamW, Conv2dConfig, Module, Optimizer, Sequential, VarBuilder, VarMap, conv2d, seq};
use clap::Parser;
use metrics_core::{EvalOnly, MetricCollection, Named, Report, Tracker};
use metrics_detach::{RetentionMonitor, eval_var_builder};
use metrics_image::{
    ErrorConfig, L1SsimLoss, Mae, MsSsim, MsSsimConfig, Psnr, PsnrConfig, Reduction, Ssim, SsimConfig,
};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

/// Height and width of crops.
const CROP: usize = 64;
const BATCH: usize = 4;

/// Trains with evaluation-only metrics, a checkpoint, and an eye on the memory.
#[derive(Parser)]
struct Args {
    /// Epochs, each with an evaluation at its end.
    #[arg(long, default_value_t = 6, value_parser = clap::value_parser!(u64).range(1..))]
    epochs: u64,
    /// Training steps of an epoch.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..))]
    steps: u32,
    /// Batches of an evaluation.
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u64).range(2..))]
    batches: u64,
    /// Where it runs: cpu, cuda, cuda:N or metal; a GPU needs a build with `--features cuda` or `--features metal`.
    #[arg(long, default_value = "cpu")]
    device: String,
    /// Where the evaluation's checkpoint goes; in the folder for temporary files unless given.
    #[arg(long)]
    checkpoint: Option<PathBuf>,
}

fn main() -> Result<()> {
    let args = Args::parse();
    let device = device::open(&args.device)?;
    let (training, held_out) = (photo("astronaut.png", &device)?, photo("chelsea.png", &device)?);
    let vars = VarMap::new();
    let model = denoiser(VarBuilder::from_varmap(&vars, DType::F32, &device))?;
    let twin = denoiser(eval_var_builder(&vars, DType::F32, &device)?)?; // the same weights, never a graph
    let loss = L1SsimLoss::new(SsimConfig::new(1.0))?;
    let mut optimiser = AdamW::new_lr(vars.all_vars(), 2e-3)?;

    let collection = metrics()?;
    println!("{}", collection.plan());
    let mut metrics = collection.clone().eval_only();
    let (mut tracker, mut monitor, mut history) = (Tracker::new(), RetentionMonitor::new(), Vec::new());
    let mut random = StdRng::seed_from_u64(1);

    println!("epoch     psnr    ssim  ms_ssim     mae");
    for epoch in 1..=args.epochs {
        for _ in 0..args.steps {
            let (noisy, clean) = crops(&training, &mut random)?;
            optimiser.backward_step(&loss.forward(&model.forward(&noisy)?, &clean)?)?;
        }
        metrics.reset();
        for batch in 0..args.batches {
            history.push(evaluate(&mut metrics, &twin, &held_out, batch)?);
            for finding in monitor.check(&metrics.memory()) {
                println!("memory: {finding}");
            }
        }
        let report = metrics.compute()?;
        println!("{epoch:>5} {}", row(&report)?);
        tracker.record(epoch, report)?;
    }

    let higher = metrics.get("ssim").and_then(|ssim| ssim.info().higher_is_better).unwrap_or(true);
    let (epoch, ssim) = tracker.best("ssim", higher).context("there is an epoch")?;
    println!("\nbest: epoch {epoch}, SSIM {ssim:.4}");
    println!("memory: {monitor}, with the values of {} batches kept", history.len());
    let last = metrics.compute()?;
    print!("\nthe last epoch, image by image:\n{last:.4}");

    let file = args.checkpoint.unwrap_or_else(|| std::env::temp_dir().join("evaluation_loop.safetensors"));
    let resumed = stop_and_resume(&collection, &twin, &held_out, args.batches, &file)?;
    ensure!(resumed == last, "the resumed evaluation gives\n{resumed}");
    println!("\nstopped after {} of {} batches, resumed from {}:", args.batches / 2, args.batches, file.display());
    println!("the same report, to the last bit");
    Ok(())
}

fn metrics() -> Result<MetricCollection> {
    let scales = MsSsimConfig::new(1.0).betas([0.2, 0.3, 0.5]); // 64 pixels have room for three scales
    let collection = MetricCollection::new()
        .with("psnr", Psnr::new(PsnrConfig::new(1.0))?)?
        .with("ssim", Ssim::new(SsimConfig::new(1.0).reduction(Reduction::Summary))?)?
        .with("ms_ssim", MsSsim::new(scales)?)?
        .with("mae", Mae::new(ErrorConfig::new())?)?;
    Ok(collection)
}

/// Scores one batch of the held-out photograph; its values are numbers, and keep nothing alive.
fn evaluate(
    metrics: &mut EvalOnly<MetricCollection>,
    model: &Sequential,
    photo: &Tensor,
    batch: u64,
) -> Result<Named<f64>> {
    let (noisy, clean) = crops(photo, &mut StdRng::seed_from_u64(1000 + batch))?;
    Ok(metrics.forward(&model.forward(&noisy)?, &clean)?.to_f64()?)
}

/// The same evaluation, by two collections that share nothing but a file.
fn stop_and_resume(
    collection: &MetricCollection,
    model: &Sequential,
    photo: &Tensor,
    batches: u64,
    file: &Path,
) -> Result<Report> {
    let mut stopped = collection.clone().eval_only();
    for batch in 0..batches / 2 {
        evaluate(&mut stopped, model, photo, batch)?;
        stopped.save(file)?; // the old file or the new one, whenever the process ends
    }
    drop(stopped);

    let mut resumed = collection.clone();
    resumed.load(file)?;
    let done = resumed.get("ssim").context("the collection has a metric `ssim`")?.updates();
    let mut resumed = resumed.eval_only();
    for batch in done..batches {
        evaluate(&mut resumed, model, photo, batch)?;
    }
    Ok(resumed.compute()?)
}

fn row(report: &Report) -> Result<String> {
    let value = |name: &str| report.scalar(name).with_context(|| format!("the report has `{name}`"));
    let [psnr, ssim, ms_ssim, mae] = ["psnr", "ssim", "ms_ssim", "mae"].map(value);
    Ok(format!("{:>8.2} {:>7.4} {:>8.4} {:>7.4}", psnr?, ssim?, ms_ssim?, mae?))
}

/// Predicts the noise and subtracts it.
fn denoiser(vb: VarBuilder) -> Result<Sequential> {
    let same_size = Conv2dConfig { padding: 1, ..Default::default() };
    let noise = seq().add(conv2d(3, 16, 3, same_size, vb.pp("1"))?).add(|x: &Tensor| x.relu()).add(conv2d(
        16,
        3,
        3,
        same_size,
        vb.pp("2"),
    )?);
    Ok(seq().add(move |x: &Tensor| x - noise.forward(x)?))
}

/// A photograph of this folder, `[3, H, W]` with values in 0..=1.
fn photo(name: &str, device: &Device) -> Result<Tensor> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("images").join(name);
    let image = image::open(&path).with_context(|| format!("cannot read {}", path.display()))?.to_rgb32f();
    let (height, width) = (image.height() as usize, image.width() as usize);
    Ok(Tensor::from_vec(image.into_raw(), (height, width, 3), device)?.permute((2, 0, 1))?)
}

/// Random crops, with and without noise, `[BATCH, 3, CROP, CROP]`.
fn crops(photo: &Tensor, random: &mut StdRng) -> Result<(Tensor, Tensor)> {
    let (_, height, width) = photo.dims3()?;
    let mut crops = Vec::with_capacity(BATCH);
    for _ in 0..BATCH {
        let (y, x) = (random.random_range(0..=height - CROP), random.random_range(0..=width - CROP));
        crops.push(photo.narrow(1, y, CROP)?.narrow(2, x, CROP)?);
    }
    let clean = Tensor::stack(&crops, 0)?;
    // The sum of three uniform numbers is close to a normal one; this has a standard deviation of 0.1.
    let noise = |random: &mut StdRng| (0..3).map(|_| random.random_range(-0.1..0.1f32)).sum::<f32>();
    let noise: Vec<f32> = (0..clean.elem_count()).map(|_| noise(random)).collect();
    let noisy = (&clean + Tensor::from_vec(noise, clean.shape(), photo.device())?)?;
    Ok((noisy, clean))
}
