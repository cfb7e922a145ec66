//! What scores and losses allocate and keep, by a counting allocator. One test in a process of its own: others would be counted too.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use anyhow::{Context, Result, ensure};
use candle_core::{DType, Tensor, Var};
use metrics_image::{MsSsimConfig, MsSsimLoss, PsnrConfig, SsimConfig, SsimLoss, psnr, ssim};
use tests::images::textured;

struct Counting;

static LIVE: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);

// SAFETY: every call goes to the system's allocator unchanged; the counters do not touch the memory.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        PEAK.fetch_max(LIVE.fetch_add(layout.size(), Relaxed) + layout.size(), Relaxed);
        // SAFETY: as the caller promises.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        LIVE.fetch_sub(layout.size(), Relaxed);
        // SAFETY: as the caller promises; the pointer came from `alloc` above.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// What `f` returns, with the bytes that its result keeps and the most that were alive beyond those before.
fn measure<T>(f: impl FnOnce() -> T) -> (T, usize, usize) {
    let before = LIVE.load(Relaxed);
    PEAK.store(before, Relaxed);
    let result = f();
    (result, LIVE.load(Relaxed).saturating_sub(before), PEAK.load(Relaxed) - before)
}

const THREADS: usize = 2;
const MIB: usize = 1 << 20;
/// Everything of a fixed size that a graph of a few nodes needs.
const SMALL: usize = 64 << 10;

fn main() -> Result<()> {
    rayon::ThreadPoolBuilder::new().num_threads(THREADS).build_global()?;
    value_needs_no_image()?;
    loss_keeps_nothing_beside_its_inputs()?;
    gradient_needs_one_image_for_each_input()?;
    println!("test result: ok. 3 passed; 0 failed");
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

fn loss_keeps_nothing_beside_its_inputs() -> Result<()> {
    let shape = [1, 3, 512, 512];
    let image = 3 * 512 * 512 * 4;
    let target = textured(&shape, 2, DType::F32)?;
    let pred = Var::from_tensor(&textured(&shape, 1, DType::F32)?)?;
    let loss = SsimLoss::new(SsimConfig::new(1.0))?;
    let (value, kept, _) = measure(|| loss.forward(&pred, &target));
    ensure!(kept < SMALL, "a tracked SSIM loss keeps {kept} bytes beside its inputs");
    drop(value);
    let loss = MsSsimLoss::new(MsSsimConfig::new(1.0))?;
    let (value, kept, _) = measure(|| loss.forward(&pred, &target));
    // The coarser scales of both images: 2 (1/4 + 1/16 + 1/64 + 1/256) = 0.664.
    ensure!(kept < image * 67 / 100 + SMALL, "a tracked MS-SSIM loss keeps {kept} bytes, {image} an image");
    let before = LIVE.load(Relaxed);
    drop(value);
    ensure!(before - LIVE.load(Relaxed) >= kept - SMALL, "dropping a loss frees what it kept");
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
