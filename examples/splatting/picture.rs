//! The picture of a fit.

use std::path::Path;

use anyhow::Result;
use candle_core::Tensor;
use image::imageops::{FilterType, resize};

use crate::canvas::{Canvas, to_image};
use crate::cutout::{BACKGROUNDS, over};
use crate::loss_history::LossHistory;

const PANEL: u32 = 288;
const MARGIN: u32 = 16;
const GAP: u32 = 6;
const HEADING: u32 = 34;
const CHART: u32 = 360;

/// Target and fit over each background, and below them the loss.
pub(crate) fn save(fitted: &Tensor, target: &Tensor, history: &LossHistory, path: &Path) -> Result<()> {
    let panels = BACKGROUNDS.iter().flat_map(|back| [("Target", target, back), ("Fit", fitted, back)]);
    let width = 2 * MARGIN + 4 * PANEL + 3 * GAP;
    let mut canvas = Canvas::new(width, HEADING + PANEL + CHART);
    for (i, (what, rgba, (name, background))) in panels.enumerate() {
        let left = MARGIN + i as u32 * (PANEL + GAP);
        let picture = to_image(&over(rgba, *background)?)?;
        canvas.paste(&resize(&picture, PANEL, PANEL, FilterType::Nearest), left, HEADING);
        canvas.text(&format!("{what} over {name}"), left, HEADING / 2, 20)?;
    }
    let (_, below) = canvas.drawing_area().split_vertically(HEADING + PANEL);
    history.chart("Loss over a random background at each step".to_string()).draw(&below)?;
    drop(below);
    canvas.save(path)
}
