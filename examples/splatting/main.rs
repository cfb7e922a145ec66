//! Fits a cut-out of a photograph by Gaussian splats in the plane, with the loss of 3-D Gaussian splatting over a new background at
//! each step.
//!
//! ```text
//! cargo run --release --example splatting # about 15 seconds on two cores
//! ```
//!
//! It writes `out/splatting.png`.
//!
//! | file | what is in it |
//! |---|---|
//! | `main.rs` | **start here**: the command line, the loss, the final measurement |
//! | `splats.rs` | the splats, and how they are drawn |
//! | `cutout.rs` | the target |
//! | `picture.rs` | the picture |
//! | `../loss_history.rs`, `../chart.rs`, `../canvas.rs`, `../device.rs` | shared with other examples |

#[path = "../canvas.rs"]
mod canvas;
#[path = "../chart.rs"]
mod chart;
mod cutout;
#[path = "../device.rs"]
mod device;
#[path = "../loss_history.rs"]
mod loss_history;
mod picture;
mod splats;

use std::f64::consts::PI;
use std::path::PathBuf;
use std::time::Instant;

use anyhow::{Context, Result};
use candle_core::{Device, Tensor};
use candle_nn::{AdamW, Optimizer, ParamsAdamW};
use clap::Parser;
use metrics_detach::eval_scope;
use metrics_image::{Background, Loss, PsnrConfig, SsimConfig, Target, psnr, ssim};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use crate::loss_history::LossHistory;
use crate::splats::Splats;

const LEARNING_RATE: f64 = 0.03;

/// Fit a cut-out of a photograph by Gaussian splats.
#[derive(Parser)]
struct Options {
    /// Optimizer steps.
    #[arg(long, default_value = "400", value_parser = clap::value_parser!(u32).range(1..))]
    steps: u32,

    /// Number of splats.
    #[arg(long, default_value = "300", value_parser = clap::value_parser!(u32).range(1..=2000))]
    splats: u32,

    /// Side of the image in pixels.
    #[arg(long, default_value = "96", value_parser = clap::value_parser!(u32).range(16..=256))]
    size: u32,

    /// Seed of splats and backgrounds.
    #[arg(long, default_value = "0")]
    seed: u64,

    /// Photograph, PNG or JPEG [default: one that comes with the example].
    #[arg(long, default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/images/chelsea.png"), hide_default_value = true)]
    image: PathBuf,

    /// Where it runs: cpu, cuda, cuda:N or metal; a GPU needs a build with `--features cuda` or `--features metal`.
    #[arg(long, default_value = "cpu")]
    device: String,

    /// Folder for the picture.
    #[arg(long, default_value = "out")]
    out: PathBuf,
}

/// Keeps the memory of one step for the next, which glibc may give back to the system in between.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> Result<()> {
    let options = Options::parse();
    let device = device::open(&options.device)?;
    let target = cutout::load(&options.image, options.size, &device)?;
    std::fs::create_dir_all(&options.out)
        .with_context(|| format!("`--out {}`: cannot create the folder", options.out.display()))?;
    let path = options.out.join("splatting.png");

    let mut rng = StdRng::seed_from_u64(options.seed);
    let splats = Splats::random(options.splats as usize, options.size as usize, &mut rng, &device)?;
    let start = Instant::now();
    let history = fit(&options, &splats, &target, &mut rng)?;
    let seconds = start.elapsed().as_secs_f64();

    let fitted = eval_scope(|| splats.draw())?;
    measure(&fitted, &target)?;
    picture::save(&fitted, &target, &history, &path)?;
    println!("{} steps in {seconds:.0} s; the picture is {}", options.steps, path.display());
    Ok(())
}

/// Moves the splats towards the target, premultiplied RGBA as they are drawn.
fn fit(options: &Options, splats: &Splats, target: &Tensor, rng: &mut StdRng) -> Result<LossHistory> {
    let loss = Loss::new(1.0).l1(0.8).with(0.2, SsimConfig::fused_ssim());
    let mut history = LossHistory::new(&loss);
    let parameters = ParamsAdamW { weight_decay: 0.0, ..Default::default() };
    let mut optimizer = AdamW::new(splats.vars(), parameters)?;
    for step in 1..=options.steps {
        let progress = f64::from(step - 1) / f64::from(options.steps);
        optimizer.set_learning_rate(LEARNING_RATE * 0.5 * (1.0 + (PI * progress).cos()));
        // Over one background for all steps, splats of its color would pass for transparency.
        let background = random_color(rng, target.device())?;
        let over = loss.clone().over(Background::from(&background).premultiplied());
        let (error, terms) = over.forward_with_terms(&splats.draw()?, target)?;
        optimizer.backward_step(&error)?;
        let error = history.push(&error, &terms)?;
        if step % options.steps.div_ceil(10) == 0 || step == options.steps {
            println!("step {step:>5}   loss {error:.4}");
        }
    }
    Ok(history)
}

/// One color for a batch of one image, `[1, 3]`.
fn random_color(rng: &mut StdRng, device: &Device) -> Result<Tensor> {
    let color: [f32; 3] = rng.random();
    Ok(Tensor::from_slice(&color, (1, 3), device)?)
}

/// Prints PSNR and SSIM of the pixels that are visible in the target, over white and over black.
fn measure(fitted: &Tensor, target: &Tensor) -> Result<()> {
    let visible = target.narrow(1, 3, 1)?.gt(0.0)?;
    for (name, background) in cutout::BACKGROUNDS {
        let fitted = cutout::over(fitted, background)?;
        let target = Target::new(&cutout::over(target, background)?).mask(&visible);
        let psnr = psnr(&fitted, &target, &PsnrConfig::new((0.0, 1.0)))?.to_scalar::<f32>()?;
        let ssim = ssim(&fitted, &target, &SsimConfig::new((0.0, 1.0)))?.to_scalar::<f32>()?;
        println!("over {name}: PSNR {psnr:.2} dB, SSIM {ssim:.3} of the visible pixels");
    }
    Ok(())
}
