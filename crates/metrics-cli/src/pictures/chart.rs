//! A histogram as a drawing within a page.

use std::fmt::Write;

use super::histogram::{Bin, Histogram};
use super::html::Text;

const WIDTH: f64 = 480.0;
const HEIGHT: f64 = 200.0;

/// Around the bars; numbers stand below and above them.
const SIDE: f64 = 24.0;
const ABOVE: f64 = 24.0;
const BELOW: f64 = 28.0;

const TICKS: f64 = 5.0;

/// The histogram as an SVG element; the page's style sheet has its colours. Nothing if no value is finite.
pub(super) fn svg(name: &str, histogram: &Histogram) -> String {
    let bins = histogram.bins(bars(histogram.finite()));
    let (Some(first), Some(last)) = (bins.first(), bins.last()) else { return String::new() };
    let axis = Axis::new(first.low, last.high);
    let most = bins.iter().map(|bin| bin.count).max().unwrap_or(1);

    let mut svg = format!(
        "<svg class=\"chart\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"Histogram of {}: {}\">\n",
        Text(name),
        described(&bins, &axis),
    );
    bins.iter().for_each(|bin| draw_bar(&mut svg, bin, most, &axis));
    axis.draw(&mut svg);
    draw_most(&mut svg, &bins, most, &axis);
    svg += "</svg>\n";
    svg
}

/// About the square root of the number of values, so that bars are neither ragged nor few.
fn bars(values: u64) -> usize {
    ((values as f64).sqrt() * 2.0).clamp(20.0, 64.0) as usize
}

fn described(bins: &[Bin], axis: &Axis) -> String {
    let highest = bins.iter().rev().max_by_key(|bin| bin.count).expect("there are bins");
    let show = |x| axis.show(x);
    let [low, high, from, to] = [axis.low, axis.high, highest.low, highest.high].map(show);
    format!("from {low} to {high}, most of them, {}, from {from} to {to}", highest.count)
}

fn draw_bar(svg: &mut String, bin: &Bin, most: u64, axis: &Axis) {
    if bin.count == 0 {
        return;
    }
    let (x, right) = (axis.x(bin.low), axis.x(bin.high));
    // Even a single value among a million shows.
    let height = (bin.count as f64 / most as f64 * (HEIGHT - ABOVE - BELOW)).max(1.0);
    let (y, width) = (HEIGHT - BELOW - height, (right - x - 1.0).max(0.5));
    let (count, low, high) = (bin.count, axis.show(bin.low), axis.show(bin.high));
    let _ = writeln!(
        svg,
        "<rect class=\"bar\" x=\"{x:.2}\" y=\"{y:.2}\" width=\"{width:.2}\" height=\"{height:.2}\">\
         <title>{low} to {high}: {count}</title></rect>"
    );
}

/// The count of the highest bar, above it.
fn draw_most(svg: &mut String, bins: &[Bin], most: u64, axis: &Axis) {
    let highest = bins.iter().find(|bin| bin.count == most).expect("there are bins");
    let middle = (axis.x(highest.low) + axis.x(highest.high)) / 2.0;
    let _ = writeln!(svg, "<text x=\"{middle:.2}\" y=\"{:.2}\">{most}</text>", ABOVE - 7.0);
}

/// The numbers below the bars.
struct Axis {
    low: f64,
    high: f64,
    /// Between two ticks: 1, 2 or 5 times a power of ten.
    step: f64,
    decimals: usize,
}

impl Axis {
    fn new(low: f64, high: f64) -> Self {
        let (low, high) = (low.max(f64::MIN), high.min(f64::MAX));
        let least = high / TICKS - low / TICKS;
        let power = least.log10().floor();
        let unit = 10f64.powf(power);
        let step = [1.0, 2.0, 5.0, 10.0].into_iter().map(|factor| factor * unit).find(|&step| step >= least);
        Self { low, high, step: step.unwrap_or(unit), decimals: (1.0 - power).clamp(0.0, 15.0) as usize }
    }

    fn x(&self, value: f64) -> f64 {
        let share = (value.clamp(f64::MIN, f64::MAX) / 2.0 - self.low / 2.0) / (self.high / 2.0 - self.low / 2.0);
        SIDE + share * (WIDTH - 2.0 * SIDE)
    }

    fn show(&self, value: f64) -> String {
        let value = value.clamp(f64::MIN, f64::MAX);
        if value != 0.0 && !(1e-4..1e7).contains(&value.abs()) {
            return format!("{value:.3e}");
        }
        let number = format!("{value:.0$}", self.decimals);
        if number.contains('.') { number.trim_end_matches('0').trim_end_matches('.').to_string() } else { number }
    }

    fn draw(&self, svg: &mut String) {
        let y = HEIGHT - BELOW;
        let (left, right) = (SIDE, WIDTH - SIDE);
        let _ = writeln!(svg, "<path class=\"axis\" d=\"M{left} {y}H{right}\"/>");
        let first = (self.low / self.step).ceil();
        let values = (0..=TICKS as u32 + 1).map(|i| (first + f64::from(i)) * self.step);
        for value in values.take_while(|&value| value <= self.high) {
            let x = self.x(value);
            let _ = writeln!(svg, "<path class=\"axis\" d=\"M{x:.2} {y}v5\"/>");
            let _ = writeln!(svg, "<text x=\"{x:.2}\" y=\"{:.2}\">{}</text>", HEIGHT - 7.0, self.show(value));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(values: impl IntoIterator<Item = f64>) -> String {
        let mut histogram = Histogram::new();
        values.into_iter().for_each(|value| histogram.add(value));
        svg("a & b", &histogram)
    }

    #[test]
    fn bars_and_round_numbers() {
        let svg = of((0..1000).map(|i| 30.0 + f64::from(i) / 100.0));
        assert!(svg.matches("class=\"bar\"").count() >= 32, "{svg}");
        for tick in ["30", "32", "34", "36", "38"] {
            assert!(svg.contains(&format!(">{tick}</text>")), "{tick} in {svg}");
        }
        assert!(svg.contains("Histogram of a &amp; b: from 30 to 40,"), "{svg}");
    }

    #[test]
    fn there_is_a_drawing_of_equal_values_and_none_of_no_value() {
        assert_eq!(of([0.75; 9]).matches("class=\"bar\"").count(), 1);
        assert_eq!(of([f64::INFINITY, f64::NAN]), "");
    }

    #[test]
    fn numbers_of_any_size_have_a_place_on_the_sheet() {
        for values in [vec![f64::MAX, f64::MIN], vec![0.0], vec![1e-300, -1e300], vec![1e-9, 2e-9], vec![5e-324]] {
            let svg = of(values.clone());
            assert!(!svg.contains("NaN") && !svg.contains("inf"), "{values:?}: {svg}");
        }
    }
}
