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
    let axis = if bins.len() == 1 { Axis::around(first) } else { Axis::new(first.low, last.high) };
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

/// About twice the square root of the number of values, so that bars are neither ragged nor few.
fn bars(values: u64) -> usize {
    ((values as f64).sqrt() * 2.0).clamp(20.0, 64.0) as usize
}

fn described(bins: &[Bin], axis: &Axis) -> String {
    let highest = bins.iter().rev().max_by_key(|bin| bin.count).expect("there are bins");
    let show = |x| axis.show(x);
    let [low, high, from, to] = [axis.low, axis.high, highest.low, highest.high].map(show);
    format!("from {low} to {high}; the highest bar, from {from} to {to}, is {}", highest.count)
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
    /// Where they stand, and the numbers themselves.
    ticks: Vec<(f64, f64)>,
    decimals: usize,
}

impl Axis {
    /// About [`TICKS`] round numbers from `low` to `high`.
    fn new(low: f64, high: f64) -> Self {
        let (low, high) = (low.max(f64::MIN), high.min(f64::MAX));
        let least = high / TICKS - low / TICKS;
        let power = least.log10().floor();
        let unit = 10f64.powf(power);
        let steps = [1.0, 2.0, 5.0, 10.0].map(|factor| factor * unit);
        let step = steps.into_iter().find(|&step| step >= least).unwrap_or(unit);
        let first = (low / step).ceil();
        let ticks = (0..=TICKS as u32 + 1).map(|i| (first + f64::from(i)) * step);
        let ticks = ticks.take_while(|&tick| tick <= high).map(|tick| (tick, tick)).collect();
        Self { low, high, ticks, decimals: (1.0 - power).clamp(0.0, 15.0) as usize }
    }

    /// For values that are all equal, or nearly so: a bar in the middle, and its number.
    fn around(bin: &Bin) -> Self {
        let room = (bin.high - bin.low) * 4.0;
        let middle = bin.low.midpoint(bin.high);
        Self { low: bin.low - room, high: bin.high + room, ticks: vec![(middle, bin.low)], decimals: 6 }
    }

    fn x(&self, value: f64) -> f64 {
        let share = (value.clamp(f64::MIN, f64::MAX) / 2.0 - self.low / 2.0) / (self.high / 2.0 - self.low / 2.0);
        SIDE + share * (WIDTH - 2.0 * SIDE)
    }

    fn show(&self, value: f64) -> String {
        let value = value.clamp(f64::MIN, f64::MAX);
        if value == 0.0 || (1e-4..1e7).contains(&value.abs()) {
            return without_zeros(&format!("{value:.0$}", self.decimals)).to_string();
        }
        let number = format!("{value:.3e}");
        number.split_once('e').map_or(number.clone(), |(digits, power)| format!("{}e{power}", without_zeros(digits)))
    }

    fn draw(&self, svg: &mut String) {
        let y = HEIGHT - BELOW;
        let (left, right) = (SIDE, WIDTH - SIDE);
        let _ = writeln!(svg, "<path class=\"axis\" d=\"M{left} {y}H{right}\"/>");
        for &(place, value) in &self.ticks {
            let x = self.x(place);
            let _ = writeln!(svg, "<path class=\"axis\" d=\"M{x:.2} {y}v5\"/>");
            let _ = writeln!(svg, "<text x=\"{x:.2}\" y=\"{:.2}\">{}</text>", HEIGHT - 7.0, self.show(value));
        }
    }
}

/// The number without the zeros that end its decimals.
fn without_zeros(number: &str) -> &str {
    if number.contains('.') { number.trim_end_matches('0').trim_end_matches('.') } else { number }
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
        assert!(svg.contains("Histogram of a &amp; b: from 30 to 40;"), "{svg}");
    }

    #[test]
    fn there_is_a_drawing_of_equal_values_and_none_of_no_value() {
        for (value, label) in [(0.7, "0.7"), (0.0, "0"), (1.0, "1"), (48.25, "48.25")] {
            let svg = of([value; 9]);
            assert_eq!(svg.matches("class=\"bar\"").count(), 1);
            assert!(svg.contains(&format!(">{label}</text>")), "{svg}");
        }
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
