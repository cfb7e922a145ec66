//! The side of other crates in the comparison: `crates-peer FILE N C H W`, asked and answering as benches/src/bin/ours.rs.

#[path = "../../../src/clock.rs"]
mod clock;

use anyhow::{Context, Result, bail, ensure};
use blazediff_ssim::{Plane, SsimOptions};
use image::RgbImage;
use image_compare::Algorithm;

/// Seconds of calls in a turn.
const BUDGET: f64 = 0.2;
/// blazediff-ssim shrinks a plane whose shorter side is nearer to 512 than to 256.
const BAND: usize = 383;
/// Rows that the windows of two bands share.
const SHARED: usize = 10;

/// A pair of what a library takes.
type Pair<T> = (T, T);

fn main() -> Result<()> {
    let mut args = std::env::args().skip(1);
    let values = clock::read_f32(&args.next().context("no file")?)?;
    let dims = args.map(|side| Ok(side.parse()?)).collect::<Result<Vec<usize>>>()?;
    let [_, channels, height, width] = dims[..] else { bail!("expected N C H W") };
    let (pred, target) = values.split_at(values.len() / 2);
    let bands: Vec<_> = bands(pred, width, height).into_iter().zip(bands(target, width, height)).collect();
    let images = match channels {
        3 => images(pred, width, height)?.into_iter().zip(images(target, width, height)?).collect(),
        _ => Vec::new(),
    };

    clock::serve(|line| {
        let mut score = 0.0;
        let seconds = match line {
            "forward blazediff-ssim" => clock::turn(BUDGET, &mut || {
                score = blazediff(&bands)?;
                Ok(())
            })?,
            "forward image-compare" => clock::turn(BUDGET, &mut || {
                score = image_compare(&images)?;
                Ok(())
            })?,
            _ => bail!("these crates have no {line}"),
        };
        Ok((seconds, score))
    })
}

/// The planes in bytes' range, cut into bands that together hold every window once.
fn bands(values: &[f32], width: usize, height: usize) -> Vec<Plane> {
    let scaled: Vec<f32> = values.iter().map(|v| v * 255.0).collect();
    let starts = || (0..height - SHARED).step_by(BAND - SHARED);
    let band = |plane: &[f32], start: usize| {
        let end = height.min(start + BAND);
        Plane { samples: plane[start * width..end * width].to_vec(), width, height: end - start }
    };
    scaled.chunks_exact(width * height).flat_map(|plane| starts().map(move |start| band(plane, start))).collect()
}

/// The mean of all windows.
fn blazediff(bands: &[Pair<Plane>]) -> Result<f64> {
    let (mut sum, mut windows) = (0.0, 0);
    for (pred, target) in bands {
        let result = blazediff_ssim::ssim(pred, target, &SsimOptions::default())?;
        ensure!(result.map_height == pred.height - SHARED, "blazediff-ssim has shrunk a band");
        sum += result.score * result.map.len() as f64;
        windows += result.map.len();
    }
    Ok(sum / windows as f64)
}

/// The images in bytes.
fn images(values: &[f32], width: usize, height: usize) -> Result<Vec<RgbImage>> {
    let plane = width * height;
    let image = |image: &[f32]| {
        let byte = |i: usize| (image[i % 3 * plane + i / 3] * 255.0).round() as u8;
        RgbImage::from_raw(width as u32, height as u32, (0..3 * plane).map(byte).collect()).context("a wrong size")
    };
    values.chunks_exact(3 * plane).map(image).collect()
}

fn image_compare(images: &[Pair<RgbImage>]) -> Result<f64> {
    let mut sum = 0.0;
    for (pred, target) in images {
        sum += image_compare::rgb_similarity_structure(&Algorithm::MSSIMSimple, pred, target)?.score;
    }
    Ok(sum / images.len() as f64)
}
