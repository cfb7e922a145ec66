//! What scores and losses allocate and keep, by dhat. One test in a process of its own: others would be counted too.

use anyhow::{Context, Result, ensure};
use candle_core::{DType, Tensor, Var};
use metrics_image::{Loss, MsSsimConfig, MsSsimLoss, PsnrConfig, SsimConfig, SsimLoss, Target, psnr, ssim};
use tests::images::textured;

#[global_allocator]
static ALLOCATOR: dhat::Alloc = dhat::Alloc;

/// What `f` returns, with the bytes it allocated that are still alive and the most that were alive at a time.
fn measure<T>(f: impl FnOnce() -> T) -> (T, usize, usize) {
    let _profiler = dhat::Profiler::builder().testing().build();
    let result = f();
    let stats = dhat::HeapStats::get();
    (result, stats.curr_bytes, stats.max_bytes)
}

const THREADS: usize = 2;
const MIB: usize = 1 << 20;
/// Everything of a fixed size that a graph of a few nodes needs.
const SMALL: usize = 64 << 10;

fn main() -> Result<()> {
    rayon::ThreadPoolBuilder::new().num_threads(THREADS).build_global()?;
    value_needs_no_image()?;
    loss_keeps_one_image_beside_its_inputs()?;
    gradient_needs_one_image_for_each_input()?;
    nothing_is_left_of_a_step()?;
    mixed_losses_keep_one_image()?;
    println!("test result: ok. 5 passed; 0 failed");
    Ok(())
}

fn value_needs_no_image() -> Result<()> {
    for shape in [[1, 3, 256, 256], [1, 3, 1080, 1920], [1, 1, 4096, 4096]] {
        let (x, y) = (textured(&shape, 1, DType::F32)?, textured(&shape, 2, DType::F32)?);
        ssim(&x, &y, &SsimConfig::new(1.0))?; // threads start once
        let (_, kept, peak) = measure(|| ssim(&x, &y, &SsimConfig::new(1.0)));
        ensure!(kept < SMALL && peak < 2 * MIB * THREADS, "ssim of {shape:?} keeps {kept} bytes, peak {peak}");
        let (_, kept, peak) = measure(|| psnr(&x, &y, &PsnrConfig::new(1.0)));
        ensure!(kept < SMALL && peak < 2 * MIB * THREADS, "psnr of {shape:?} keeps {kept} bytes, peak {peak}");
    }
    Ok(())
}

fn loss_keeps_one_image_beside_its_inputs() -> Result<()> {
    let shape = [1, 3, 512, 512];
    let image = 3 * 512 * 512 * 4;
    let target = textured(&shape, 2, DType::F32)?;
    let pred = Var::from_tensor(&textured(&shape, 1, DType::F32)?)?;
    let loss = SsimLoss::new(SsimConfig::new(1.0))?;
    let (value, kept, _) = measure(|| loss.forward(&pred, &target));
    // The gradient by `pred`, made with the value; there is none by `target`, which does not track.
    ensure!(kept < image + SMALL, "a tracked SSIM loss keeps {kept} bytes beside its inputs, {image} an image");
    drop(value);
    let (value, kept, _) = measure(|| loss.forward(&pred.as_detached_tensor(), &target));
    ensure!(kept < SMALL, "an SSIM loss without gradient keeps {kept} bytes beside its inputs");
    drop(value);
    let loss = MsSsimLoss::new(MsSsimConfig::new(1.0))?;
    let (value, kept, _) = measure(|| loss.forward(&pred, &target));
    // The gradient alone: the coarser scales of both images, 2 (1/4 + 1/16 + 1/64 + 1/256) = 0.664 of one, are gone.
    ensure!(kept < image + SMALL, "a tracked MS-SSIM loss keeps {kept} bytes, {image} an image");
    drop(value);
    let (value, kept, _) = measure(|| loss.forward(&pred, &target).map(drop));
    value?;
    ensure!(kept < SMALL, "a dropped MS-SSIM loss still keeps {kept} bytes");
    Ok(())
}

fn mixed_losses_keep_one_image() -> Result<()> {
    let shape = [1, 3, 512, 512];
    let image = 3 * 512 * 512 * 4;
    let target = textured(&shape, 2, DType::F32)?;
    let pred = Var::from_tensor(&textured(&shape, 1, DType::F32)?)?;
    let rgba = Var::from_tensor(&textured(&[1, 4, 512, 512], 1, DType::F32)?)?;
    let mask = textured(&[1, 1, 512, 512], 3, DType::F32)?;
    let kept = |loss: &Loss, pred: &Var, target: Target| -> Result<usize> {
        let (value, kept, _) = measure(|| loss.forward(pred, target));
        value?;
        Ok(kept)
    };
    let one_walk = Loss::new(1.0).l1(0.3).ssim(0.5).mse(0.1).charbonnier(0.1, 1e-3).ms_ssim(0.2);
    let windows = Loss::new(1.0).ssim(0.5).with(0.5, SsimConfig::skimage(1.0)).l1(0.1);
    for (what, loss, pred, target) in [
        ("one window", &one_walk, &pred, Target::new(&target)),
        ("two windows", &windows, &pred, Target::new(&target)),
        ("a mask", &one_walk, &pred, Target::new(&target).mask(&mask)),
        ("a background", &one_walk.clone().over([1.0; 3]), &rgba, Target::new(&target)),
    ] {
        let kept = kept(loss, pred, target)?;
        ensure!(kept < image + SMALL, "a tracked loss with {what} keeps {kept} bytes, {image} an image");
    }
    // GMSD scores luma: a plane of its own.
    let kept = kept(&windows.gmsd(0.1), &pred, Target::new(&target))?;
    ensure!(kept < image + image / 3 + SMALL, "a tracked loss with GMSD keeps {kept} bytes, {image} an image");
    Ok(())
}

fn gradient_needs_one_image_for_each_input() -> Result<()> {
    let shape = [1, 3, 1080, 1920];
    let image = 3 * 1080 * 1920 * 4;
    let target = textured(&shape, 2, DType::F32)?;
    let pred = Var::from_tensor(&textured(&shape, 1, DType::F32)?)?;
    let loss = SsimLoss::new(SsimConfig::new(1.0))?;
    let value = loss.forward(&pred, &target)?;
    let (gradients, kept, peak) = measure(|| value.backward());
    let gradients = gradients?;
    let gradient: &Tensor = gradients.get(&pred).context("no gradient")?;
    ensure!(gradient.dims() == &shape[..]);
    ensure!(kept < image + image / 10, "backward keeps {kept} bytes, {image} an image");
    // Candle itself adds our gradient to a tensor of zeros: three images while it does. Ours is one.
    ensure!(peak < 3 * image + image / 10, "backward needs {peak} bytes, {image} an image");
    Ok(())
}

fn nothing_is_left_of_a_step() -> Result<()> {
    let shape = [1, 3, 256, 256];
    let image = 3 * 256 * 256 * 4;
    let target = textured(&shape, 2, DType::F32)?;
    let pred = Var::from_tensor(&textured(&shape, 1, DType::F32)?)?;
    let loss = SsimLoss::new(SsimConfig::new(1.0))?;
    loss.forward(&pred, &target)?.backward()?; // what is made once for all steps

    let _profiler = dhat::Profiler::builder().testing().build();
    let live = || dhat::HeapStats::get().curr_bytes;
    let value = loss.forward(&pred, &target)?;
    // One gradient may be made with the value and kept for backward.
    ensure!(live() <= image + SMALL, "a kept SSIM loss keeps {} bytes, {image} an image", live());
    let gradients = value.backward()?;
    ensure!(live() >= image, "the gradient is not among the {} bytes", live());
    drop(gradients);
    ensure!(live() <= image + SMALL, "after backward, a kept SSIM loss keeps {} bytes", live());
    drop(value);
    ensure!(live() == 0, "{} bytes are left of a step", live());
    Ok(())
}
