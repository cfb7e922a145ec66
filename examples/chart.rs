//! A chart of curves over the steps of a run.

use std::ops::Range;

use anyhow::Result;
use plotters::coord::Shift;
use plotters::prelude::*;

use crate::canvas::FONT;

/// The first curve has the first color.
const COLORS: [RGBColor; 8] = [
    RGBColor(31, 94, 168),
    RGBColor(214, 96, 20),
    RGBColor(40, 140, 70),
    RGBColor(140, 60, 150),
    RGBColor(200, 40, 50),
    RGBColor(20, 150, 165),
    RGBColor(150, 110, 20),
    RGBColor(90, 90, 90),
];

/// A noisy curve is drawn as the mean over this share of the run.
const SMOOTHING: f64 = 0.03;

pub(crate) type Points = Vec<(f64, f64)>;

pub(crate) struct Chart {
    pub(crate) title: String,
    pub(crate) steps: f64,
    pub(crate) curves: Vec<Curve>,
}

pub(crate) struct Curve {
    /// In the legend of a chart of several curves.
    pub(crate) label: String,
    pub(crate) points: Points,
    /// A noisy curve is drawn pale as it is, and its running mean on top; one without noise has few points, which are marked.
    pub(crate) noisy: bool,
}

impl Chart {
    pub(crate) fn draw(&self, area: &DrawingArea<BitMapBackend<'_>, Shift>) -> Result<()> {
        let span = span(self.curves.iter().flat_map(|curve| &curve.points));
        let digits = digits(&span);
        let mut chart = ChartBuilder::on(area)
            .caption(&self.title, (FONT, 20))
            .margin(14)
            .margin_right(28)
            .x_label_area_size(44)
            .y_label_area_size(56)
            .build_cartesian_2d(0.0..self.steps, span)?;
        chart
            .configure_mesh()
            .label_style((FONT, 15))
            .light_line_style(WHITE)
            .bold_line_style(BLACK.mix(0.1))
            .x_desc("step")
            .x_label_formatter(&|step| format!("{step:.0}"))
            .y_labels(6)
            .y_label_formatter(&|value| format!("{value:.digits$}"))
            .draw()?;
        for (Curve { label, points, noisy }, &color) in self.curves.iter().zip(COLORS.iter().cycle()) {
            let line = if *noisy { smoothed(points) } else { points.clone() };
            if *noisy {
                chart.draw_series(LineSeries::new(points.iter().copied(), color.mix(0.25)))?;
            } else {
                chart.draw_series(points.iter().map(|&point| Circle::new(point, 4, color.filled())))?;
            }
            let sample = move |(x, y)| PathElement::new([(x, y), (x + 20, y)], color.stroke_width(2));
            chart.draw_series(LineSeries::new(line, color.stroke_width(2)))?.label(label).legend(sample);
        }
        if self.curves.len() > 1 {
            let labels = &mut chart.configure_series_labels();
            labels.position(SeriesLabelPosition::UpperRight).label_font((FONT, 15));
            labels.background_style(WHITE.mix(0.8)).draw()?;
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

/// After the point, so that the numbers on an axis of six differ.
fn digits(span: &Range<f64>) -> usize {
    (-((span.end - span.start) / 6.0).log10()).ceil().max(0.0) as usize
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
