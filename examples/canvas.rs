//! A white sheet to put pictures, text and charts on.

use std::path::Path;
use std::sync::Once;

use anyhow::{Context, Result};
use candle_core::{DType, Tensor};
use image::{Rgb, RgbImage, imageops};
use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

/// The font of all text: one that is part of the program, so that it need not be installed.
pub(crate) const FONT: &str = "DejaVu Sans";

pub(crate) struct Canvas(RgbImage);

impl Canvas {
    pub(crate) fn new(width: u32, height: u32) -> Self {
        static REGISTER: Once = Once::new();
        REGISTER.call_once(|| {
            // It fails only for a file that is no font; text is then drawn as an error of its own.
            let _ = plotters::style::register_font(FONT, FontStyle::Normal, dejavu::sans::regular());
        });
        Self(RgbImage::from_pixel(width, height, Rgb([255; 3])))
    }

    pub(crate) fn paste(&mut self, picture: &RgbImage, x: u32, y: u32) {
        imageops::overlay(&mut self.0, picture, x.into(), y.into());
    }

    /// Writes a line that starts at `x` and is vertically centred at `y`.
    pub(crate) fn text(&mut self, text: &str, x: u32, y: u32, size: u32) -> Result<()> {
        let style = (FONT, size).into_font().color(&BLACK).pos(Pos::new(HPos::Left, VPos::Center));
        let area = self.drawing_area();
        area.draw(&Text::new(text, (x as i32, y as i32), style))?;
        Ok(area.present()?)
    }

    /// The whole sheet, for plotters to draw on.
    pub(crate) fn drawing_area(&mut self) -> DrawingArea<BitMapBackend<'_>, Shift> {
        let size = self.0.dimensions();
        BitMapBackend::with_buffer(&mut self.0, size).into_drawing_area()
    }

    pub(crate) fn save(&self, path: &Path) -> Result<()> {
        self.0.save(path).with_context(|| format!("cannot write {}", path.display()))
    }
}

/// `[1, 3, H, W]` with values in 0..=1 as a picture.
pub(crate) fn to_image(pixels: &Tensor) -> Result<RgbImage> {
    let pixels = pixels.squeeze(0)?.permute((1, 2, 0))?.clamp(0.0, 1.0)?.affine(255.0, 0.5)?.to_dtype(DType::U8)?;
    let (height, width) = (pixels.dim(0)? as u32, pixels.dim(1)? as u32);
    let bytes = pixels.flatten_all()?.to_vec1()?;
    RgbImage::from_raw(width, height, bytes).context("a picture has three bytes a pixel")
}
