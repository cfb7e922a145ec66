//! The colours of SSIM maps, as a drawing within a page.

use std::fmt::Write;

use image::Rgb;

use super::colour;

const WIDTH: f32 = 384.0;
const SIDE: f32 = 16.0;
const BAR: f32 = 16.0;

/// Between two colours that are given, those of the drawing are linear.
const STOPS: u32 = 32;

pub(super) fn svg() -> String {
    let mut svg = format!(
        "<svg class=\"legend\" viewBox=\"0 0 {WIDTH} 38\" role=\"img\" \
         aria-label=\"Colours of the SSIM map: from bright for 0 and below to dark for 1\">\n\
         <defs><linearGradient id=\"ssim\">"
    );
    for i in 0..=STOPS {
        let share = i as f32 / STOPS as f32;
        let Rgb([r, g, b]) = colour::of_similarity(share);
        let _ = write!(svg, "<stop offset=\"{share}\" stop-color=\"#{r:02x}{g:02x}{b:02x}\"/>");
    }
    let width = WIDTH - 2.0 * SIDE;
    let _ = writeln!(
        svg,
        "</linearGradient></defs>\n\
         <rect x=\"{SIDE}\" y=\"0\" width=\"{width}\" height=\"{BAR}\" fill=\"url(#ssim)\" class=\"frame\"/>"
    );
    for tick in colour::TICKS {
        let _ = writeln!(svg, "<text x=\"{:.1}\" y=\"33\">{}</text>", SIDE + tick * width, colour::tick_label(tick));
    }
    svg += "</svg>\n";
    svg
}
