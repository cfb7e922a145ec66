//! The curves of a run: loss, and the metrics on the held-out crops.

use std::ops::Range;
use std::path::Path;

use anyhow::Result;
use plotters::coord::Shift;
use plotters::prelude::*;

use crate::canvas::{Canvas, FONT};
use crate::options::LossKind;
use crate::results::METRICS;
use crate::training::{History, Validation};

const WIDTH: u32 = 1280;
const HEIGHT: u32 = 800;
const CURVE: RGBColor = RGBColor(31, 94, 168);

/// The loss is drawn as it is, pale, and as the mean over this share of the run.
const SMOOTHING: f64 = 0.03;

type Points = Vec<(f64, f64)>;

/// Four charts: the loss of each step, then each metric at each validation, which starts with the noisy images.
pub(crate) fn draw(history: &History, loss: LossKind, path: &Path) -> Result<()> {
    let mut canvas = Canvas::new(WIDTH, HEIGHT);
    let areas = canvas.drawing_area().split_evenly((2, 2));
    let steps = history.loss.len() as f64;

    let raw: Points = (1..).zip(&history.loss).map(|(step, &loss)| (f64::from(step), f64::from(loss))).collect();
    let title = format!("Training loss: {}", loss.formula());
    Chart { title, steps, digits: 2, curve: smoothed(&raw), raw }.draw(&areas[0])?;

    for (metric, area) in METRICS.iter().zip(&areas[1..]) {
        let point = |at: &Validation| (at.step as f64, metric.of(&at.report));
        let curve = history.validation.iter().map(point).collect();
        let title = format!("{} of the held-out crops", metric.with_unit());
        Chart { title, steps, digits: metric.digits - 1, curve, raw: Vec::new() }.draw(area)?;
    }
    drop(areas);
    canvas.save(path)
}

struct Chart {
    title: String,
    steps: f64,
    /// After the point of a number on the vertical axis.
    digits: usize,
    curve: Points,
    /// Drawn pale behind the curve; without it the curve is few points, which are marked.
    raw: Points,
}

impl Chart {
    fn draw(&self, area: &DrawingArea<BitMapBackend<'_>, Shift>) -> Result<()> {
        let mut chart = ChartBuilder::on(area)
            .caption(&self.title, (FONT, 20))
            .margin(14)
            .margin_right(28)
            .x_label_area_size(44)
            .y_label_area_size(56)
            .build_cartesian_2d(0.0..self.steps, span(self.raw.iter().chain(&self.curve)))?;
        chart
            .configure_mesh()
            .label_style((FONT, 15))
            .light_line_style(WHITE)
            .bold_line_style(BLACK.mix(0.1))
            .x_desc("step")
            .x_label_formatter(&|step| format!("{step:.0}"))
            .y_labels(6)
            .y_label_formatter(&|value| format!("{value:.0$}", self.digits))
            .draw()?;
        chart.draw_series(LineSeries::new(self.raw.iter().copied(), CURVE.mix(0.25)))?;
        chart.draw_series(LineSeries::new(self.curve.iter().copied(), CURVE.stroke_width(2)))?;
        if self.raw.is_empty() {
            chart.draw_series(self.curve.iter().map(|&point| Circle::new(point, 4, CURVE.filled())))?;
        }
        Ok(area.present()?)
    }
}

/// From the least to the largest value, with a little room.
fn span<'a>(points: impl Iterator<Item = &'a (f64, f64)>) -> Range<f64> {
    let (low, high) = points.fold((f64::MAX, f64::MIN), |(low, high), &(_, y)| (low.min(y), high.max(y)));
    let room = ((high - low) * 0.05).max(1e-6);
    low - room..high + room
}

/// Means over what there is within a reach of each point.
fn smoothed(points: &[(f64, f64)]) -> Points {
    let reach = (points.len() as f64 * SMOOTHING / 2.0).ceil() as usize;
    let mean_around = |(i, &(x, _)): (usize, &(f64, f64))| {
        let window = &points[i.saturating_sub(reach)..points.len().min(i + reach + 1)];
        (x, window.iter().map(|&(_, y)| y).sum::<f64>() / window.len() as f64)
    };
    points.iter().enumerate().map(mean_around).collect()
}
