//! Trains a small convolutional denoiser with an image-quality metric as its loss, on a photograph that ships with the
//! repository, and measures it on photographs that it has not seen.
//!
//! ```text
//! cargo run --release --example train_denoiser                   # about a minute on two cores
//! cargo run --release --example train_denoiser -- --loss charbonnier:0.6,ms_ssim:0.4
//! ```
//!
//! It writes `out/before_after.png`, `out/ssim_maps.png`, `out/curves.png` and `out/metrics.json`.
//!
//! | file | what is in it |
//! |---|---|
//! | `training.rs` | **start here**: metrics as a loss, and metrics for validation that keep no graph |
//! | `model.rs` | the network |
//! | `data.rs` | photographs, crops and noise |
//! | `results.rs` | the final measurement, its table and `metrics.json` |
//! | `pictures.rs`, `curves.rs` | the pictures |
//! | `options.rs` | the command line, and the loss that it names |
//! | `../loss_history.rs`, `../chart.rs`, `../canvas.rs`, `../device.rs` | shared with other examples |

#[path = "../canvas.rs"]
mod canvas;
#[path = "../chart.rs"]
mod chart;
mod curves;
mod data;
#[path = "../device.rs"]
mod device;
#[path = "../loss_history.rs"]
mod loss_history;
mod model;
mod options;
mod pictures;
mod results;
mod training;

use anyhow::{Context, Result};
use candle_core::DType;
use candle_nn::{VarBuilder, VarMap};
use clap::Parser;
use metrics_detach::eval_var_builder;
use rand::SeedableRng;
use rand::rngs::StdRng;

use crate::data::Photos;
use crate::model::{Denoiser, seed_weights};
use crate::options::Options;
use crate::results::Results;

/// Keeps the memory of one step for the next, which glibc may give back to the system in between.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> Result<()> {
    let options = Options::parse();
    let device = device::open(&options.device)?;
    let photos = Photos::load(&options, &device)?;
    std::fs::create_dir_all(&options.out)
        .with_context(|| format!("`--out {}`: cannot create the folder", options.out.display()))?;
    introduce(&options, &photos);

    // Two models over the same weights: one that is trained, and a twin that evaluates without building a graph.
    let vars = VarMap::new();
    let model = Denoiser::new(VarBuilder::from_varmap(&vars, DType::F32, &device))?;
    seed_weights(&vars, &mut StdRng::seed_from_u64(options.seed))?;
    let twin = Denoiser::new(eval_var_builder(&vars, DType::F32, &device)?)?;

    let history = training::train(&options, &photos, &model, &twin, &vars)?;
    let results = Results::measure(&options, &photos.held_out, &twin)?;

    let out = |name: &str| options.out.join(name);
    pictures::before_after(&results.photos[0], &out("before_after.png"))?;
    pictures::ssim_maps(&results.photos[0], &out("ssim_maps.png"))?;
    curves::draw(&history, &options.loss.text, &out("curves.png"))?;
    results.write_json(&options, &history, &out("metrics.json"))?;

    println!("\n{results}");
    println!(
        "{} steps in {:.0} s; pictures and numbers are in {}/:",
        options.steps,
        history.seconds,
        options.out.display()
    );
    println!("  before_after.png  ssim_maps.png  curves.png  metrics.json");
    println!("memory: {}\n", history.memory);
    println!("{}", results.gain());
    Ok(())
}

fn introduce(options: &Options, photos: &Photos) {
    let names = |photos: &[data::Photo]| photos.iter().map(|photo| photo.name.as_str()).collect::<Vec<_>>().join(", ");
    let Options { steps, batch, crop, sigma, .. } = options;
    println!("loss {}, {steps} steps of {batch} crops of {crop}×{crop}, noise of sigma {sigma}", options.loss.text);
    println!("training on {}; held out: {}", names(&photos.training), names(&photos.held_out));
}
