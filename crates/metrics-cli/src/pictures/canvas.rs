//! A white sheet to put pictures and text on.

use std::sync::LazyLock;

use ab_glyph::{Font, FontRef, PxScaleFont, ScaleFont, point};
use image::{Rgb, RgbImage, imageops};

/// The font of all text: one that is part of the program, so that it need not be installed.
static FONT: LazyLock<FontRef> = LazyLock::new(|| {
    let file = dejavu::sans::regular();
    FontRef::try_from_slice(file).expect("the font that is part of the program is a font")
});

pub(super) struct Canvas(RgbImage);

impl Canvas {
    pub(super) fn new(width: u32, height: u32) -> Self {
        Self(RgbImage::from_pixel(width, height, Rgb([255; 3])))
    }

    pub(super) fn paste(&mut self, picture: &RgbImage, x: u32, y: u32) {
        imageops::replace(&mut self.0, picture, x.into(), y.into());
    }

    /// Writes a line in black that starts at `x` and is vertically centred at `y`.
    pub(super) fn text(&mut self, text: &str, x: u32, y: u32, size: u32) {
        let font = scaled(size);
        let baseline = (y as f32 + (font.ascent() + font.descent()) / 2.0).round();
        for (offset, c) in places(&font, text) {
            let mut glyph = font.scaled_glyph(c);
            glyph.position = point(x as f32 + offset, baseline);
            let Some(outline) = font.outline_glyph(glyph) else { continue };
            let corner = outline.px_bounds().min;
            outline.draw(|x, y, coverage| {
                let (x, y) = (x as i64 + corner.x as i64, y as i64 + corner.y as i64);
                self.darken(x, y, coverage);
            });
        }
    }

    /// Covers that share of a pixel with black. What is off the sheet is lost.
    fn darken(&mut self, x: i64, y: i64, coverage: f32) {
        let (Ok(x), Ok(y)) = (u32::try_from(x), u32::try_from(y)) else { return };
        if let Some(pixel) = self.0.get_pixel_mut_checked(x, y) {
            pixel.0 = pixel.0.map(|value| (f32::from(value) * (1.0 - coverage.min(1.0))).round() as u8);
        }
    }

    pub(super) fn into_image(self) -> RgbImage {
        self.0
    }
}

/// How many pixels wide a line is.
pub(super) fn text_width(text: &str, size: u32) -> u32 {
    let font = scaled(size);
    let end = places(&font, text).last().map_or(0.0, |(offset, c)| offset + font.h_advance(font.glyph_id(c)));
    end.ceil() as u32
}

/// The text, or as much of its end as fits: the end of a path says more than its start.
pub(super) fn fitting(text: &str, size: u32, width: u32) -> String {
    // A line break or another control character has no place in a line.
    let text: String = text.chars().map(|c| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c }).collect();
    if text_width(&text, size) <= width {
        return text;
    }
    let starts: Vec<_> = text.char_indices().map(|(start, _)| start).collect();
    let end_from = |start: usize| format!("…{}", &text[start..]);
    let first = starts.partition_point(|&start| text_width(&end_from(start), size) > width);
    end_from(starts.get(first).copied().unwrap_or(text.len()))
}

fn scaled(size: u32) -> PxScaleFont<&'static FontRef<'static>> {
    FONT.as_scaled(size as f32)
}

/// Each character of a line, and where it starts.
fn places<'a>(
    font: &'a impl ScaleFont<&'static FontRef<'static>>,
    text: &'a str,
) -> impl Iterator<Item = (f32, char)> + 'a {
    let (mut end, mut last) = (0.0, None);
    text.chars().map(move |c| {
        let id = font.glyph_id(c);
        let start = end + last.map_or(0.0, |last| font.kern(last, id));
        (end, last) = (start + font.h_advance(id), Some(id));
        (start, c)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_where_it_was_asked_for() {
        let mut canvas = Canvas::new(120, 60);
        canvas.text("Mean 0.5", 20, 30, 18);
        let image = canvas.into_image();
        let dark: Vec<_> = image.enumerate_pixels().filter(|(_, _, pixel)| pixel.0[0] < 128).collect();
        assert!(dark.len() > 50);
        let right = 20 + text_width("Mean 0.5", 18);
        assert!(dark.iter().all(|(x, y, _)| (20..right).contains(x) && (21..39).contains(y)));
    }

    #[test]
    fn text_off_the_sheet_is_cut() {
        let mut canvas = Canvas::new(30, 10);
        canvas.text("much too long, and too high", 5, 2, 24);
        assert_eq!(canvas.into_image().dimensions(), (30, 10));
    }

    #[test]
    fn a_long_line_keeps_the_end_that_fits() {
        let long = "a/very/long/path/of/many/folders/to/image.png";
        let short = fitting(long, 16, 120);
        assert!(short.starts_with('…') && long.ends_with(short.trim_start_matches('…')), "{short}");
        assert!(text_width(&short, 16) <= 120);
        assert_eq!(fitting("image.png", 16, 120), "image.png");
        assert_eq!(fitting(long, 16, 0), "…");
    }
}
