//! The SSIM of one pair as a picture.

use std::fs::File;
use std::io::BufReader;
use std::path::Path;

use anyhow::Result;
use candle_core::{DType, Tensor};
use image::imageops::{self, FilterType};
use image::{Rgb32FImage, RgbImage};
use metrics_core::Value;
use metrics_detach::eval_scope;
use metrics_image::{SsimConfig, ssim_per_image};

use super::canvas::{Canvas, fitting, text_width};
use super::{colour, pixels};

/// Maps whose longer side is shorter are enlarged, each pixel to a square.
const LONGER_SIDE: u32 = 256;

/// How the names of these pictures end. So a look into every picture of a folder is not needed to find them.
pub(crate) const SUFFIX: &str = ".ssim.png";

/// What they say of themselves, so that nobody takes them for images to compare.
const MADE_BY: [&str; 2] = ["Software", "image-metrics, a map of SSIM"];

/// A PNG: the SSIM of every pixel, the mean over its channels, in colours that a legend explains, below the name and
/// the SSIM of the pair.
///
/// `reference` and `test` are `[1, C, H, W]`.
pub(crate) fn draw_heat_map(name: &str, reference: &Tensor, test: &Tensor, config: &SsimConfig) -> Result<Vec<u8>> {
    let map = pixels::similarity(reference, test, config)?;
    // Not the mean of the map: some configurations leave the border out of the score.
    let score = eval_scope(|| ssim_per_image(test, reference, config))?;
    let score = score.to_dtype(DType::F64)?.squeeze(0)?.to_scalar()?;
    pixels::png_that_says(&draw(name, score, &map), MADE_BY)
}

/// Whether a file is a picture that [`draw_heat_map`] has made: it has the name and says so itself.
pub(crate) fn is_heat_map(path: &Path) -> bool {
    let is_called = path.file_name().is_some_and(|name| name.as_encoded_bytes().ends_with(SUFFIX.as_bytes()));
    is_called && says_so(path).unwrap_or(false)
}

fn says_so(path: &Path) -> Result<bool> {
    let reader = png::Decoder::new(BufReader::new(File::open(path)?)).read_info()?;
    let texts = &reader.info().uncompressed_latin1_text;
    Ok(texts.iter().any(|chunk| [chunk.keyword.as_str(), &chunk.text] == MADE_BY))
}

fn draw(name: &str, score: f64, map: &Rgb32FImage) -> RgbImage {
    let picture = enlarged(pixels::paint(map, |[similarity, ..]| colour::of_similarity(similarity)));
    let (width, height) = picture.dimensions();
    // Text grows with the picture, so that it can be read where the whole picture is looked at.
    let size = ((width as f32 * height as f32).sqrt() / 32.0).max(15.0) as u32;
    let (margin, line) = (size, size * 3 / 2);

    let headline = format!("SSIM {:.4}", Value::Scalar(score));
    let (bar, ticks) = (size * 3 / 2, size * 5 / 2);
    let body = (width + margin + bar + ticks).max(text_width(&headline, size));
    let legend_height = height.max(8 * size);
    let top = margin + 2 * line + size / 4;
    let mut canvas = Canvas::new(body + 2 * margin, top + legend_height + margin);

    canvas.text(&fitting(name, size, body), margin, margin + line / 2, size);
    canvas.text(&headline, margin, margin + line + line / 2, size);
    canvas.paste(&picture, margin, top);
    draw_legend(&mut canvas, (margin + width + margin, top), (bar, legend_height), size);
    canvas.into_image()
}

/// A bar of the colours of a map, from 1 at the top to 0, and numbers beside it.
fn draw_legend(canvas: &mut Canvas, (x, y): (u32, u32), (width, height): (u32, u32), size: u32) {
    let last = (height - 1) as f32;
    canvas.paste(&RgbImage::from_fn(width, height, |_, y| colour::of_similarity(1.0 - y as f32 / last)), x, y);
    for tick in colour::TICKS {
        // The outermost numbers stay beside the bar.
        let at = (((1.0 - tick) * last) as u32).clamp(size / 2, height - size / 2);
        canvas.text(&colour::tick_label(tick), x + width + size / 2, y + at, size * 7 / 8);
    }
}

fn enlarged(picture: RgbImage) -> RgbImage {
    let (width, height) = picture.dimensions();
    match LONGER_SIDE / width.max(height) {
        0 | 1 => picture,
        factor => imageops::resize(&picture, width * factor, height * factor, FilterType::Nearest),
    }
}

#[cfg(test)]
mod tests {
    use image::Rgb;

    use super::super::fixture;
    use super::*;

    #[test]
    fn where_images_agree_the_map_has_the_top_colour() {
        let image = fixture::drawing(40, 60);
        let map = pixels::similarity(&image, &image, &SsimConfig::new(1.0)).unwrap();
        let drawn = draw("name", 1.0, &map);
        let top = colour::of_similarity(1.0);
        let found = drawn.pixels().filter(|&&pixel| pixel == top).count();
        // Each pixel of the map is a square of 4 by 4; some more of the colour is in the legend.
        assert!(found >= 40 * 60 * 16, "{found}");
        let left = drawn.enumerate_pixels().find(|&(_, _, &pixel)| pixel == top).unwrap();
        assert_eq!(drawn.get_pixel(left.0 + 239, left.1 + 159), &top);
    }

    #[test]
    fn the_file_is_a_picture_that_depends_on_nothing_else() {
        let reference = fixture::drawing(200, 300);
        let test = fixture::damaged(&reference, 10);
        let draw = || draw_heat_map("folder/name.png", &reference, &test, &SsimConfig::new(1.0)).unwrap();
        let file = draw();
        assert_eq!(file, draw());
        let picture = image::load_from_memory(&file).unwrap().into_rgb8();
        assert!(picture.width() > 300 && picture.height() > 200);
        assert_eq!(picture.get_pixel(0, 0), &Rgb([255; 3]));
    }

    #[test]
    fn narrow_and_tiny_maps_have_room_for_their_text() {
        for (height, width) in [(1, 1), (1, 300), (300, 1)] {
            let map = Rgb32FImage::from_pixel(width, height, Rgb([0.5; 3]));
            let drawn = draw("a name that is much longer than the picture is wide.png", 0.5, &map);
            assert!(drawn.height() > 120 && drawn.width() > 100);
        }
    }

    #[test]
    fn a_map_is_known_by_its_name_and_by_what_it_says() {
        let folder = tempfile::tempdir().unwrap();
        let image = fixture::drawing(40, 40);
        let map = draw_heat_map("a.png", &image, &image, &SsimConfig::new(1.0)).unwrap();
        let picture = pixels::png(&image::load_from_memory(&map).unwrap().into_rgb8()).unwrap();
        let cut = &map[..60];
        for (name, file, is_map) in [
            ("a.ssim.png", &map[..], true),
            ("b.png", &map, false),
            ("c.ssim.png", &picture, false),
            ("d.ssim.png", cut, false),
            ("e.ssim.png", b"", false),
        ] {
            let path = folder.path().join(name);
            std::fs::write(&path, file).unwrap();
            assert_eq!(is_heat_map(&path), is_map, "{name}");
        }
    }
}
