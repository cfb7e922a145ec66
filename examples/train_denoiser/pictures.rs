//! Pictures of the result: before and after, and where the similarity is lost.

use std::path::Path;

use anyhow::Result;
use candle_core::Tensor;
use image::imageops::{FilterType, crop_imm, resize};
use image::{Rgb, RgbImage};
use metrics_core::Report;
use metrics_detach::eval_scope;
use metrics_image::{SsimConfig, ssim_map};
use plotters::prelude::*;
use plotters::style::colors::colormaps::{ColorMap, ViridisRGB};

use crate::canvas::{Canvas, to_image};
use crate::results::{PSNR, Restoration, SSIM};

const MARGIN: u32 = 16;
const GAP: u32 = 6;
const HEADING: u32 = 34;

/// How much the detail is enlarged; the detail is as much smaller than the photograph.
const ZOOM: u32 = 3;

/// Noisy, restored and target side by side, and below each its centre enlarged.
pub(crate) fn before_after(photo: &Restoration, path: &Path) -> Result<()> {
    let scores = |report: &Report| format!("{:.2} dB, SSIM {:.3}", PSNR.of(report), SSIM.of(report));
    let panels = [
        (format!("Noisy: {}", scores(&photo.scores.noisy)), &photo.noisy),
        (format!("Restored: {}", scores(&photo.scores.restored)), &photo.restored),
        ("Target".to_string(), &photo.clean),
    ];
    let (height, width) = (photo.clean.dim(2)? as u32, photo.clean.dim(3)? as u32);
    let mut canvas = Canvas::new(2 * MARGIN + 3 * width + 2 * GAP, HEADING + 2 * height + GAP + MARGIN);
    for (i, (heading, pixels)) in panels.into_iter().enumerate() {
        let left = MARGIN + i as u32 * (width + GAP);
        let picture = to_image(pixels)?;
        canvas.paste(&picture, left, HEADING);
        let (x, y, w, h) = centre(width, height);
        frame(&mut canvas, left + x, HEADING + y, w, h)?;
        let detail = crop_imm(&picture, x, y, w, h).to_image();
        canvas.paste(&resize(&detail, width, height, FilterType::Nearest), left, HEADING + height + GAP);
        canvas.text(&heading, left, HEADING / 2, 20)?;
    }
    canvas.save(path)
}

/// The SSIM of every pixel, of the noisy and of the restored image, with a legend.
pub(crate) fn ssim_maps(photo: &Restoration, path: &Path) -> Result<()> {
    let panels = [
        ("SSIM of the noisy image", &photo.noisy, &photo.scores.noisy),
        ("SSIM of the restored image", &photo.restored, &photo.scores.restored),
    ];
    let (height, width) = (photo.clean.dim(2)? as u32, photo.clean.dim(3)? as u32);
    let legend = MARGIN + 80;
    let mut canvas = Canvas::new(2 * MARGIN + 2 * width + GAP + legend, HEADING + height + MARGIN);
    for (i, (heading, pixels, report)) in panels.into_iter().enumerate() {
        let left = MARGIN + i as u32 * (width + GAP);
        let heading = format!("{heading}: mean {:.3}", SSIM.of(report));
        canvas.paste(&heat_map(pixels, &photo.clean)?, left, HEADING);
        canvas.text(&heading, left, HEADING / 2, 20)?;
    }
    draw_legend(&mut canvas, 2 * (MARGIN + width) + GAP, height)?;
    canvas.save(path)
}

/// A bar of the colours of a heat map, from 1 at the top to 0.
fn draw_legend(canvas: &mut Canvas, left: u32, height: u32) -> Result<()> {
    let bar = RgbImage::from_fn(24, height, |_, y| colour(1.0 - y as f32 / (height - 1) as f32));
    canvas.paste(&bar, left, HEADING);
    for tick in 0..=5 {
        let value = f64::from(tick) / 5.0;
        let y = HEADING + ((1.0 - value) * f64::from(height - 1)).round() as u32;
        canvas.text(&format!("{value:.1}"), left + 32, y, 18)?;
    }
    Ok(())
}

fn heat_map(pred: &Tensor, target: &Tensor) -> Result<RgbImage> {
    let map = eval_scope(|| ssim_map(pred, target, &SsimConfig::new((0.0, 1.0))))?;
    let rows = map.mean(1)?.squeeze(0)?.to_vec2::<f32>()?; // mean over the channels
    Ok(RgbImage::from_fn(rows[0].len() as u32, rows.len() as u32, |x, y| colour(rows[y as usize][x as usize])))
}

/// Dark for 0 and below, bright for 1; equal steps look equal.
fn colour(similarity: f32) -> Rgb<u8> {
    let RGBColor(r, g, b) = ViridisRGB.get_color(similarity.clamp(0.0, 1.0));
    Rgb([r, g, b])
}

/// A thin white frame.
fn frame(canvas: &mut Canvas, x: u32, y: u32, width: u32, height: u32) -> Result<()> {
    let corners = [(x as i32, y as i32), ((x + width) as i32, (y + height) as i32)];
    let area = canvas.drawing_area();
    area.draw(&Rectangle::new(corners, WHITE))?;
    Ok(area.present()?)
}

/// The middle of a picture: left, top, width, height.
fn centre(width: u32, height: u32) -> (u32, u32, u32, u32) {
    let (w, h) = (width / ZOOM, height / ZOOM);
    ((width - w) / 2, (height - h) / 2, w, h)
}
