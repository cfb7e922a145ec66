//! Times scores and losses on a device, beside SSIM composed of Candle's operations there: `device cuda`.
//!
//! Every call ends with its value on the host, so that nothing is left in the device's queue.

use anyhow::{Context, Result};
use benches::clock::{median, turn};
use benches::composition::Composition;
use benches::scene::Scene;
use benches::{BATCH, FULL_HD, SMALL, device, label};

/// Seconds of calls in a turn.
const BUDGET: f64 = 0.2;
const TURNS: usize = 5;

fn main() -> Result<()> {
    let device = device(&std::env::args().nth(1).context("usage: device cpu|cuda|metal")?)?;
    println!("| | {} | {} | {} |\n|---|---:|---:|---:|", label(SMALL), label(BATCH), label(FULL_HD));
    let [small, batch, full_hd] = [SMALL, BATCH, FULL_HD].map(|dims| Scene::on(dims, &device));
    let scenes = [small?, batch?, full_hd?];
    row("SSIM", &scenes, |scene| scene.ssim())?;
    row("SsimLoss with gradient", &scenes, |scene| scene.ssim_loss())?;
    row("L1SsimLoss with gradient", &scenes, |scene| scene.l1_ssim_loss())?;
    row("MS-SSIM", &scenes[1..], |scene| scene.ms_ssim())?;
    row("collection of PSNR, SSIM, MS-SSIM, MAE", &scenes[1..], |scene| scene.collection())?;
    row("PSNR", &scenes, |scene| scene.psnr())?;
    for composition in Composition::ALL {
        row(&format!("SSIM as {composition:?}"), &scenes, |scene| scene.composed(composition))?;
    }
    Ok(())
}

/// One line of the table; scenes that are missing were too small.
fn row(what: &str, scenes: &[Scene], call: impl Fn(&Scene) -> Result<()>) -> Result<()> {
    let times = scenes.iter().map(|scene| {
        let turns: Result<Vec<_>> = (0..TURNS).map(|_| turn(BUDGET, &mut || call(scene))).collect();
        Ok(format!("{:.3} ms", 1e3 * median(turns?)))
    });
    let times: Vec<_> = times.collect::<Result<_>>()?;
    let missing = " – |".repeat(3 - scenes.len());
    println!("| {what} |{missing} {} |", times.join(" | "));
    Ok(())
}
