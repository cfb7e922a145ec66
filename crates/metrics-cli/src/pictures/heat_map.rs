//! The SSIM of one pair as a picture.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
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

/// Writes a PNG: the SSIM of every pixel, the mean over its channels, in colours that a legend explains, below the name and
/// the SSIM of the pair.
///
/// `reference` and `test` are `[1, C, H, W]`. The folder of `path` must exist.
pub(crate) fn write_heat_map(
    path: &Path,
    name: &str,
    reference: &Tensor,
    test: &Tensor,
    config: &SsimConfig,
) -> Result<()> {
    let draw = || {
        let map = pixels::similarity(reference, test, config)?;
        // Not the mean of the map: some configurations leave the border out of the score.
        let score = eval_scope(|| ssim_per_image(test, reference, config))?;
        let score = score.to_dtype(DType::F64)?.squeeze(0)?.to_scalar()?;
        pixels::png(&draw(name, score, &map))
    };
    let file = draw().with_context(|| format!("cannot draw {}", path.display()))?;
    fs::write(path, file).with_context(|| format!("cannot write {}", path.display()))
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
    use candle_core::Device;
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
        let folder = tempfile::tempdir().unwrap();
        let reference = fixture::drawing(200, 300);
        let test = fixture::damaged(&reference, 10);
        let write = |file: &str| {
            let path = folder.path().join(file);
            write_heat_map(&path, "folder/name.png", &reference, &test, &SsimConfig::new(1.0)).unwrap();
            fs::read(path).unwrap()
        };
        let file = write("a.png");
        assert_eq!(file, write("b"));
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
    fn errors_name_the_file() {
        let image = Tensor::zeros((1, 3, 4, 4), DType::F32, &Device::Cpu).unwrap();
        let error = write_heat_map(Path::new("map.png"), "pair", &image, &image, &SsimConfig::new(1.0)).unwrap_err();
        assert_eq!(error.to_string(), "cannot draw map.png");

        let image = fixture::drawing(40, 40);
        let path = Path::new("no/such/folder/map.png");
        let error = write_heat_map(path, "pair", &image, &image, &SsimConfig::new(1.0)).unwrap_err();
        assert_eq!(error.to_string(), "cannot write no/such/folder/map.png");
    }
}
