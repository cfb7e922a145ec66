//! What the page shows of one pair.

use anyhow::Result;
use candle_core::Tensor;
use image::{Rgb32FImage, RgbImage};
use metrics_image::SsimConfig;

use super::{colour, pixels};

/// Longer sides of pictures are scaled down to this.
const LONGEST: u32 = 480;

/// Pictures of more bytes than this are stored with some loss, so that a page stays small.
const MOST_BYTES: usize = 96 << 10;

/// High enough that nobody takes what it loses for a fault of the image that was scored.
const PHOTOGRAPH: u8 = 92;

/// What differs is seen as well with less, and noise takes many bytes.
const DIFFERENCE: u8 = 80;

/// How many colours a map has: fewer than the eye tells apart side by side take fewer bytes.
const COLOURS: u8 = 64;

/// Differences are amplified by a power of two, at most this.
const MOST_AMPLIFIED: f32 = 64.0;

/// The share of the numbers of a difference that amplification may drive beyond white.
const BEYOND_WHITE: f64 = 0.01;

/// A pair among the worst: its values, and its pictures as they will be on the page.
///
/// It keeps a few hundred kilobytes, however large the images were.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Worst {
    pub(super) name: String,
    pub(super) values: Vec<(String, f64)>,
    /// Or why there are none.
    pub(super) pictures: Result<Pictures, String>,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Pictures {
    /// Width and height of the images that were scored.
    pub(super) size: (usize, usize),
    pub(super) views: Views,
    /// The factor of the difference.
    pub(super) amplified: f32,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) struct Views {
    pub(super) reference: Picture,
    pub(super) test: Picture,
    pub(super) difference: Picture,
    pub(super) map: Picture,
}

/// A picture that a page can hold.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Picture {
    pub(super) url: String,
    pub(super) width: u32,
    pub(super) height: u32,
}

impl Worst {
    pub(crate) fn new(name: String, values: Vec<(String, f64)>, pictures: Result<Pictures, String>) -> Self {
        Self { name, values, pictures }
    }
}

impl Pictures {
    /// `reference` and `test` are `[1, C, H, W]` with one or three channels, and values in 0..=1.
    pub(crate) fn new(reference: &Tensor, test: &Tensor, config: &SsimConfig) -> Result<Self> {
        let (_, _, height, width) = reference.dims4()?;
        let (views, amplified) = views(reference, test, config)?;
        Ok(Self { size: (width, height), views, amplified })
    }
}

fn views(reference: &Tensor, test: &Tensor, config: &SsimConfig) -> Result<(Views, f32)> {
    let map = map(&pixels::scaled_down(pixels::similarity(reference, test, config)?, LONGEST))?;
    let (difference, amplified) = difference(reference, test)?;
    let [reference, test] = stored([photograph(reference)?, photograph(test)?], PHOTOGRAPH)?;
    let [difference] = stored([difference], DIFFERENCE)?;
    Ok((Views { reference, test, difference, map }, amplified))
}

/// The map in colours of the legend, so without loss but for their number.
fn map(similarity: &Rgb32FImage) -> Result<Picture> {
    let last = f32::from(COLOURS - 1);
    let mut palette: Vec<_> = (0..COLOURS).map(|i| colour::of_similarity(f32::from(i) / last)).collect();
    palette.push(colour::of_similarity(f32::NAN));
    let index = |similarity: f32| match similarity.is_nan() {
        true => COLOURS,
        false => (similarity.clamp(0.0, 1.0) * last).round() as u8,
    };
    let indices: Vec<_> = similarity.pixels().map(|pixel| index(pixel.0[0])).collect();
    let size = similarity.dimensions();
    Ok(Picture::new(size, "png", &pixels::indexed_png(size, &palette, &indices)?))
}

fn photograph(image: &Tensor) -> Result<RgbImage> {
    let picture = pixels::scaled_down(pixels::from_tensor(image)?, LONGEST);
    Ok(pixels::paint(&picture, pixels::to_bytes))
}

/// The absolute difference, and the factor that it is amplified by: as large as leaves nearly all of it below white.
fn difference(reference: &Tensor, test: &Tensor) -> Result<(RgbImage, f32)> {
    let difference = pixels::scaled_down(pixels::from_tensor(&(test - reference)?.abs()?)?, LONGEST);
    let mut numbers = difference.as_raw().clone();
    let rank = ((numbers.len() - 1) as f64 * (1.0 - BEYOND_WHITE)) as usize;
    let (_, &mut large, _) = numbers.select_nth_unstable_by(rank, f32::total_cmp);
    let factor = if large.is_nan() { 1.0 } else { (1.0 / large).log2().floor().exp2().clamp(1.0, MOST_AMPLIFIED) };
    Ok((pixels::paint(&difference, |values| pixels::to_bytes(values.map(|value| value * factor))), factor))
}

/// The pictures as they are if that takes little, or else all with the same small loss: what differs between them is then
/// not how they are stored.
fn stored<const N: usize>(pictures: [RgbImage; N], quality: u8) -> Result<[Picture; N]> {
    let mut kind = "png";
    let mut files = pictures.iter().map(pixels::png).collect::<Result<Vec<_>>>()?;
    if files.iter().any(|file| file.len() > MOST_BYTES) {
        kind = "jpeg";
        files = pictures.iter().map(|picture| pixels::jpeg(picture, quality)).collect::<Result<_>>()?;
    }
    Ok(std::array::from_fn(|i| Picture::new(pictures[i].dimensions(), kind, &files[i])))
}

impl Picture {
    fn new((width, height): (u32, u32), kind: &str, file: &[u8]) -> Self {
        Self { url: pixels::data_url(kind, file), width, height }
    }
}

#[cfg(test)]
mod tests {
    use base64::Engine;
    use base64::prelude::BASE64_STANDARD;
    use candle_core::{DType, Device};

    use super::*;

    fn flat(value: f64) -> Tensor {
        Tensor::ones((1, 1, 16, 24), DType::F32, &Device::Cpu).unwrap().affine(value, 0.0).unwrap()
    }

    #[test]
    fn differences_are_amplified_as_far_as_they_stay_below_white() {
        for (by, factor) in [(0.9, 1.0), (0.5, 2.0), (0.3, 2.0), (0.1, 8.0), (0.001, 64.0), (0.0, 64.0)] {
            let (picture, amplified) = difference(&flat(1.0), &flat(1.0 - by)).unwrap();
            assert_eq!(amplified, factor, "{by}");
            let expected = (by * f64::from(factor) * 255.0).round();
            assert!((f64::from(picture.get_pixel(3, 3).0[1]) - expected).abs() <= 1.0, "{by}");
        }
    }

    #[test]
    fn a_nan_is_drawn_as_any_other_number() {
        let (picture, amplified) = difference(&flat(1.0), &flat(f64::NAN)).unwrap();
        assert_eq!((picture.get_pixel(0, 0).0, amplified), ([0; 3], 1.0));
    }

    #[test]
    fn a_map_has_the_colours_of_the_legend() {
        let row = [1.0, 0.0, -0.5, f32::NAN, 0.5];
        let picture = map(&Rgb32FImage::from_fn(5, 1, |x, _| image::Rgb([row[x as usize]; 3]))).unwrap();
        let file = BASE64_STANDARD.decode(picture.url.split_once(',').unwrap().1).unwrap();
        let drawn = image::load_from_memory(&file).unwrap().into_rgb8();
        for (x, similarity) in (0..4).zip(row) {
            assert_eq!(drawn.get_pixel(x, 0), &colour::of_similarity(similarity), "{similarity}");
        }
        let (found, exact) = (drawn.get_pixel(4, 0).0, colour::of_similarity(0.5).0);
        assert!(found.iter().zip(exact).all(|(a, b)| a.abs_diff(b) <= 4), "{found:?} for {exact:?}");
    }

    #[test]
    fn small_pictures_are_exact_and_the_two_images_are_stored_alike() {
        let mut state = 1u64;
        let mut random = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 40) as f32 / (1 << 24) as f32
        };
        let noise: Vec<f32> = (0..3 * 400 * 400).map(|_| random()).collect();
        let noise = Tensor::from_vec(noise, (1, 3, 400, 400), &Device::Cpu).unwrap();
        let flat = noise.zeros_like().unwrap();
        let config = SsimConfig::new(1.0);
        let kinds = |reference: &Tensor, test: &Tensor| {
            let views = Pictures::new(reference, test, &config).unwrap().views;
            [views.reference, views.test, views.difference, views.map]
                .map(|picture| picture.url.split_once(';').unwrap().0.to_string())
        };
        assert_eq!(kinds(&flat, &flat), ["data:image/png"; 4]);
        assert_eq!(kinds(&flat, &noise), ["data:image/jpeg", "data:image/jpeg", "data:image/jpeg", "data:image/png"]);
    }
}
