//! Photographs, and crops of them with noise.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use candle_core::{Device, Shape, Tensor};
use image::imageops::{FilterType, resize};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use rand_distr::{Distribution, StandardNormal};

use crate::options::Options;

/// MS-SSIM needs sides of 176 pixels for its five scales.
const SHORTEST_SIDE: usize = 176;

/// Crops for validation are of this side, or as large as the photograph allows.
const VALIDATION_SIDE: usize = 192;
const VALIDATION_CROPS: usize = 2;

/// A photograph, `[3, H, W]` with even sides and values in 0..=1.
pub(crate) struct Photo {
    pub(crate) name: String,
    pub(crate) pixels: Tensor,
}

/// Images with and without noise, `[N, 3, H, W]`.
pub(crate) struct Pair {
    pub(crate) noisy: Tensor,
    pub(crate) clean: Tensor,
}

/// The photographs of a folder: those to train on, and those held out.
pub(crate) struct Photos {
    pub(crate) training: Vec<Photo>,
    pub(crate) held_out: Vec<Photo>,
    /// How much each pixel of a training crop counts, `[1, 1, crop, crop]`.
    pub(crate) mask: Option<Tensor>,
}

impl Photos {
    /// Reads every PNG and JPEG file of the folder, and the mask. The last two photographs by name are held out, or one of two;
    /// the others must have room for crops.
    pub(crate) fn load(options: &Options, device: &Device) -> Result<Self> {
        let (folder, crop) = (&options.images, options.crop);
        let paths = image_files(folder)?;
        ensure!(
            paths.len() >= 2,
            "`--images {}` holds {} PNG or JPEG files, expected at least 2: one to train on and one to hold out",
            folder.display(),
            paths.len()
        );
        let mut training: Vec<_> = paths.iter().map(|path| Photo::load(path, device)).collect::<Result<_>>()?;
        let held_out = training.split_off(training.len() - 2.min(training.len() - 1));
        for photo in &training {
            let (height, width) = photo.sides()?;
            ensure!(crop <= height.min(width), "`--crop {crop}` is larger than {}, {width}×{height}", photo.name);
        }
        let mask = options.mask.as_ref().map(|path| load_mask(path, crop, device)).transpose()?;
        Ok(Self { training, held_out, mask })
    }
}

/// A picture as weights: 0 where it is black, 1 where it is white.
fn load_mask(path: &Path, side: usize, device: &Device) -> Result<Tensor> {
    let at = || format!("`--mask {}`", path.display());
    let picture = image::open(path).with_context(|| format!("{}: cannot read it", at()))?.into_luma8();
    let picture = resize(&picture, side as u32, side as u32, FilterType::Triangle);
    ensure!(picture.iter().any(|&value| value > 0), "{}: all of it is black, so that no pixel would count", at());
    let weights: Vec<f32> = picture.iter().map(|&value| f32::from(value) / 255.0).collect();
    Ok(Tensor::from_vec(weights, (1, 1, side, side), device)?)
}

fn image_files(folder: &Path) -> Result<Vec<PathBuf>> {
    let entries =
        folder.read_dir().with_context(|| format!("`--images {}`: cannot read the folder", folder.display()))?;
    let mut paths: Vec<_> = entries.map(|entry| Ok(entry?.path())).collect::<Result<_>>()?;
    paths.retain(|path| {
        let extension = path.extension().map(|extension| extension.to_string_lossy().to_lowercase());
        matches!(extension.as_deref(), Some("png" | "jpg" | "jpeg"))
    });
    paths.sort();
    Ok(paths)
}

impl Photo {
    fn load(path: &Path, device: &Device) -> Result<Self> {
        let image = image::open(path).with_context(|| format!("cannot read {}", path.display()))?.to_rgb32f();
        let (width, height) = (image.width() as usize, image.height() as usize);
        ensure!(
            width.min(height) >= SHORTEST_SIDE,
            "{} is {width}×{height}, expected at least {SHORTEST_SIDE}×{SHORTEST_SIDE}",
            path.display()
        );
        let pixels = Tensor::from_vec(image.into_raw(), (height, width, 3), device)?.permute((2, 0, 1))?;
        let pixels = pixels.narrow(1, 0, height & !1)?.narrow(2, 0, width & !1)?.contiguous()?;
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        Ok(Self { name, pixels })
    }

    /// Height and width.
    fn sides(&self) -> Result<(usize, usize)> {
        Ok((self.pixels.dim(1)?, self.pixels.dim(2)?))
    }

    fn random_crop(&self, side: usize, rng: &mut StdRng) -> Result<Tensor> {
        let (height, width) = self.sides()?;
        let (top, left) = (rng.random_range(0..=height - side), rng.random_range(0..=width - side));
        Ok(self.pixels.narrow(1, top, side)?.narrow(2, left, side)?.contiguous()?) // `flip` needs it
    }
}

/// An endless, seeded source of pairs with Gaussian noise.
pub(crate) struct Source {
    rng: StdRng,
    sigma: f64,
}

impl Source {
    /// `sigma` is in 8-bit units.
    pub(crate) fn new(seed: u64, sigma: f64) -> Self {
        Self { rng: StdRng::seed_from_u64(seed), sigma: sigma / 255.0 }
    }

    /// A batch of random crops, each flipped at random in both directions.
    pub(crate) fn batch(&mut self, photos: &[Photo], batch: usize, side: usize) -> Result<Pair> {
        let mut crops = Vec::with_capacity(batch);
        for _ in 0..batch {
            let photo = &photos[self.rng.random_range(0..photos.len())];
            let mut crop = photo.random_crop(side, &mut self.rng)?;
            for axis in [1, 2] {
                if self.rng.random() {
                    crop = crop.flip(&[axis])?;
                }
            }
            crops.push(crop);
        }
        self.add_noise(Tensor::stack(&crops, 0)?)
    }

    /// A few crops of each photograph, large enough for every metric.
    pub(crate) fn validation(&mut self, photos: &[Photo]) -> Result<Vec<Pair>> {
        let crops_of = |photo: &Photo| {
            let (height, width) = photo.sides()?;
            let side = VALIDATION_SIDE.min(height).min(width);
            let crops: Vec<_> =
                (0..VALIDATION_CROPS).map(|_| photo.random_crop(side, &mut self.rng)).collect::<Result<_>>()?;
            self.add_noise(Tensor::stack(&crops, 0)?)
        };
        photos.iter().map(crops_of).collect()
    }

    /// A whole photograph.
    pub(crate) fn whole(&mut self, photo: &Photo) -> Result<Pair> {
        self.add_noise(photo.pixels.unsqueeze(0)?)
    }

    fn add_noise(&mut self, clean: Tensor) -> Result<Pair> {
        let noise = self.normal(clean.shape(), clean.device())?;
        Ok(Pair { noisy: (&clean + noise.affine(self.sigma, 0.0)?)?, clean })
    }

    fn normal(&mut self, shape: &Shape, device: &Device) -> Result<Tensor> {
        let values: Vec<f32> = StandardNormal.sample_iter(&mut self.rng).take(shape.elem_count()).collect();
        Ok(Tensor::from_vec(values, shape, device)?)
    }
}
