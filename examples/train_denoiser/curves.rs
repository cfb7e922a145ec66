//! The curves of a run: loss, and the metrics on the held-out crops.

use std::path::Path;

use anyhow::Result;

use crate::canvas::Canvas;
use crate::chart::{Chart, Curve};
use crate::results::METRICS;
use crate::training::{History, Validation};

const WIDTH: u32 = 1280;
const HEIGHT: u32 = 800;

/// Four charts: the loss and its terms at each step, then each metric at each validation, which starts with the noisy images.
pub(crate) fn draw(history: &History, loss: &str, path: &Path) -> Result<()> {
    let mut canvas = Canvas::new(WIDTH, HEIGHT);
    let areas = canvas.drawing_area().split_evenly((2, 2));
    history.loss.chart(format!("Training loss: {loss}")).draw(&areas[0])?;
    for (metric, area) in METRICS.iter().zip(&areas[1..]) {
        let point = |at: &Validation| (at.step as f64, metric.of(&at.report));
        let points = history.validation.iter().map(point).collect();
        let title = format!("{} of the held-out crops", metric.with_unit());
        let curves = vec![Curve { label: metric.title.to_string(), points, noisy: false }];
        Chart { title, steps: history.loss.loss.len() as f64, curves }.draw(area)?;
    }
    drop(areas);
    canvas.save(path)
}
