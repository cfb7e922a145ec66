//! Times scores and losses on a device, beside SSIM composed of Candle's operations there: `device cuda`.
//!
//! Every call ends with its value on the host, so that nothing is left in the device's queue.

use std::ops::Range;

use anyhow::{Context, Result};
use benches::clock::{median, turn};
use benches::composition::Composition;
use benches::scene::Scene;
use benches::{BATCH, FULL_HD, SMALL, ULTRA_HD, device, label};

/// Seconds of calls in a turn.
const BUDGET: f64 = 0.2;
const TURNS: usize = 5;
const SIZES: [[usize; 4]; 4] = [SMALL, BATCH, FULL_HD, ULTRA_HD];

fn main() -> Result<()> {
    let device = device(&std::env::args().nth(1).context("usage: device cpu|cuda[:N]|metal")?)?;
    let labels = SIZES.map(label);
    println!("| | {} |\n|---{} |", labels.join(" | "), "|---:".repeat(SIZES.len()));
    let scenes = SIZES.map(|dims| Scene::on(dims, &device)).into_iter().collect::<Result<Vec<_>>>()?;
    let (all, large, usual) = (0..4, 1..4, 0..3);
    row("copies of both images", &scenes, &all, |scene| scene.copy())?;
    row("SSIM", &scenes, &all, |scene| scene.ssim())?;
    row("SsimLoss with gradient", &scenes, &all, |scene| scene.ssim_loss())?;
    row("L1SsimLoss with gradient", &scenes, &all, |scene| scene.l1_ssim_loss())?;
    row("MS-SSIM", &scenes, &large, |scene| scene.ms_ssim())?;
    row("MsSsimLoss with gradient", &scenes, &large, |scene| scene.ms_ssim_loss())?;
    row("collection of PSNR, SSIM, MS-SSIM, MAE", &scenes, &large, |scene| scene.collection())?;
    row("PSNR", &scenes, &all, |scene| scene.psnr())?;
    for composition in Composition::ALL {
        row(&format!("SSIM as {composition:?}"), &scenes, &usual, |scene| scene.composed(composition))?;
    }
    Ok(())
}

/// One line of the table: the times of some of the scenes.
fn row(what: &str, scenes: &[Scene], timed: &Range<usize>, call: impl Fn(&Scene) -> Result<()>) -> Result<()> {
    let mut line = format!("| {what} |");
    for (at, scene) in scenes.iter().enumerate() {
        line += &match timed.contains(&at) {
            true => {
                let turns: Result<Vec<_>> = (0..TURNS).map(|_| turn(BUDGET, &mut || call(scene))).collect();
                format!(" {:.3} ms |", 1e3 * median(turns?))
            }
            false => " – |".to_owned(),
        };
    }
    println!("{line}");
    Ok(())
}
