//! Masks: the definition in plain loops, the fused kernels beside the composition of Candle's operations, and what must not change.

use candle_core::{DType, Device, Result, Tensor, Var};
use proptest::prelude::*;

use super::{GRADIENT, Value, assert_close, assert_near, gradients, image, list};
use crate::op::{self, Output};
use crate::pair::{Images, Pair};
use crate::score::Kind;
use crate::{
    Absolute, ChannelPower, Channels, DataRange, ErrorConfig, GmsdConfig, MsSsimConfig, OddSides, Padding, PsnrConfig,
    Region, Squared, SsimConfig, Target, VifConfig,
};

/// As without a mask.
const VALUE: [(DType, f64); 2] = super::VALUE;

/// The number of the mask of a few pixels, of which windows see one; the next is one row.
const FEW: usize = 3;

/// Some masks for images of this shape: a disk, weights of every size, one of each channel, a few pixels, and one row.
fn masks(shape: &[usize]) -> Result<Vec<Tensor>> {
    let (height, width) = (shape[shape.len() - 2], shape[shape.len() - 1]);
    let mut one = shape.to_vec();
    one[1] = 1;
    let of = |shape: &[usize], weight: &dyn Fn(usize, usize, usize) -> f64| -> Result<Tensor> {
        let weights: Vec<f64> = (0..shape.iter().product())
            .map(|at: usize| weight(at / (width * height), at / width % height, at % width))
            .collect();
        Tensor::from_vec(weights, shape, &Device::Cpu)
    };
    let disk = |plane: usize, y: usize, x: usize| {
        let (y, x) = (2.0 * y as f64 / height as f64 - 1.0, 2.0 * x as f64 / width as f64 - 0.8);
        f64::from(u8::from(x * x + y * y < 0.7 + 0.1 * plane as f64))
    };
    let soft = |plane: usize, y: usize, x: usize| ((7 * plane + 5 * y + 3 * x) % 11) as f64 / 4.0 * disk(plane, y, x);
    let few = |_: usize, y: usize, x: usize| f64::from(u8::from((y == height / 2 || y == 0) && x == width / 3));
    Ok(vec![
        of(&one, &disk)?.to_dtype(DType::U8)?,
        of(&one, &soft)?,
        of(shape, &soft)?.to_dtype(DType::F32)?,
        of(&one, &few)?.to_dtype(DType::U8)?,
        of(&one, &|_, y, _| f64::from(u8::from(y + 1 == height)))?.to_dtype(DType::BF16)?,
    ])
}

fn target(images: &Tensor, mask: &Tensor) -> Target {
    Target::new(images).mask(mask)
}

fn composed<K: Kind>(config: &K::Config, pred: &Tensor, target: Target) -> Result<Tensor> {
    let prepared = K::prepare("tests", config, Images::new(pred, target))?;
    let pair = Pair::new("tests", &prepared.input, prepared.spread, prepared.images.clone())?;
    Ok(prepared.score.composed(&pair)?)
}

fn fused<K: Kind>(config: &K::Config, pred: &Tensor, target: Target) -> Result<Tensor> {
    Ok(op::apply("tests", K::prepare("tests", config, Images::new(pred, target))?, Output::PerImage)?)
}

/// Scores and gradients by the kernels, beside those by Candle's operations in f64.
fn check<K: Kind>(config: &K::Config, shape: &[usize]) -> Result<()> {
    let (x, y) = (image(shape, 1)?, image(shape, 2)?);
    for (number, mask) in masks(shape)?.iter().enumerate() {
        let what = |dtype: DType| format!("{} of {shape:?} in {dtype:?} by {config:?}, mask {number}", K::NAME);
        let want = composed::<K>(config, &x, target(&y, mask))?;
        let is_thin = number >= FEW;
        for (dtype, tolerance) in VALUE {
            let tolerance = if is_thin { 5.0 * tolerance } else { tolerance };
            let got = fused::<K>(config, &x.to_dtype(dtype)?, target(&y.to_dtype(dtype)?, mask))?;
            assert_near(&got, &want, tolerance, &what(dtype));
        }
        if list(&want)?.iter().any(|score| score.is_nan()) {
            continue; // there is no window that counts
        }
        let want = gradients(&x, &y, DType::F64, &|x, y| composed::<K>(config, x, target(y, mask)))?;
        let value: &Value = &|x, y| fused::<K>(config, x, target(y, mask));
        for (dtype, tolerance) in GRADIENT {
            for (got, want) in gradients(&x, &y, dtype, value)?.iter().zip(&want) {
                // Under few pixels there is hardly a variance, but for the rounding of squares.
                let tolerance = if is_thin && dtype == DType::F32 { 1e-3 } else { tolerance };
                assert_close(got, want, tolerance, &what(dtype));
            }
        }
    }
    Ok(())
}

#[test]
fn masked_scores_are_those_of_the_reference() -> Result<()> {
    let flat = [2, 3, 29, 38];
    for padding in [Padding::Reflect, Padding::Zero, Padding::Valid] {
        check::<SsimConfig>(&SsimConfig::new(255.0).padding(padding), &flat)?;
        check::<SsimConfig>(&SsimConfig::skimage(255.0).padding(padding), &flat)?;
    }
    check::<SsimConfig>(&SsimConfig::new(255.0).window(5).crop_border(2), &[1, 2, 12, 13, 14])?;
    check::<Absolute>(&ErrorConfig::new(), &flat)?;
    check::<Squared>(&ErrorConfig::new().crop_border(3), &flat)?;
    for config in [GmsdConfig::new(255.0), GmsdConfig::piq(255.0).channels(Channels::All)] {
        check::<GmsdConfig>(&config, &[2, 2, 29, 38])?;
    }
    for config in [VifConfig::new(255.0), VifConfig::torchmetrics()] {
        check::<VifConfig>(&config, &[2, 2, 53, 64])?;
    }
    Ok(())
}

#[test]
fn masked_scales_are_those_of_the_reference() -> Result<()> {
    for odd_sides in [OddSides::Drop, OddSides::Zero, OddSides::Replicate] {
        for power in [ChannelPower::AfterMean, ChannelPower::PerChannel] {
            let config = MsSsimConfig::new(255.0).window(5).betas([0.2, 0.3, 0.5]).odd_sides(odd_sides).power(power);
            check::<MsSsimConfig>(&config, &[2, 3, 45, 58])?;
        }
    }
    check::<MsSsimConfig>(&MsSsimConfig::new(255.0).window(3).betas([0.4, 0.6]), &[1, 2, 13, 14, 15])
}

/// SSIM at a place by its definition: `Σ w m f / Σ w m`.
fn naive(x: &[f64], y: &[f64], mask: &[f64], side: usize, taps: &[f64]) -> f64 {
    let (radius, last) = (taps.len() as isize / 2, side as isize - 1);
    let mirrored = |at: isize| if at < 0 { -at } else { at.min(2 * last - at) } as usize;
    let (c1, c2) = (2.55f64.powi(2), 7.65f64.powi(2));
    let (mut sum, mut weights) = (0.0, 0.0);
    for place in (0..side * side).filter(|&place| mask[place] > 0.0) {
        let mut moments = [0.0; 6];
        for (i, a) in taps.iter().enumerate() {
            for (j, b) in taps.iter().enumerate() {
                let row = mirrored((place / side) as isize + i as isize - radius);
                let at = row * side + mirrored((place % side) as isize + j as isize - radius);
                let weight = a * b * mask[at];
                let (x, y) = if mask[at] > 0.0 { (x[at], y[at]) } else { (0.0, 0.0) };
                let fields = [1.0, x, y, x * x, y * y, x * y];
                moments.iter_mut().zip(fields).for_each(|(moment, field)| *moment += weight * field);
            }
        }
        let [mx, my, xx, yy, xy] = [1, 2, 3, 4, 5].map(|at| moments[at] / moments[0]);
        let (sx, sy, sxy) = (xx - mx * mx, yy - my * my, xy - mx * my);
        let l = (2.0 * mx * my + c1) / (mx * mx + my * my + c1);
        sum += mask[place] * l * (2.0 * sxy + c2) / (sx + sy + c2);
        weights += mask[place];
    }
    sum / weights
}

#[test]
fn masked_scores_are_those_of_the_definition() -> Result<()> {
    let (shape, side) = ([1, 1, 20, 20], 20);
    let (x, y) = (image(&shape, 1)?, image(&shape, 2)?);
    let config = SsimConfig::new(255.0).window(7);
    let taps = config.plan("tests", 2)?.taps[0].clone();
    for mask in masks(&shape)? {
        let want = naive(&list(&x)?, &list(&y)?, &list(&mask)?, side, &taps);
        for scores in [
            composed::<SsimConfig>(&config, &x, target(&y, &mask))?,
            fused::<SsimConfig>(&config, &x, target(&y, &mask))?,
        ] {
            assert!((list(&scores)?[0] - want).abs() < 1e-11, "{scores} instead of {want}");
        }
    }
    Ok(())
}

/// The number of an image by every kind of score that has masks.
type Score = (&'static str, Box<dyn Fn(&Tensor, Target) -> metrics_core::Result<Tensor>>);

fn scores() -> Vec<Score> {
    let ssim = |config: SsimConfig| {
        Box::new(move |x: &Tensor, y: Target| crate::ssim_per_image(x, y, &config)) as Box<dyn Fn(&Tensor, Target) -> _>
    };
    vec![
        ("ssim", ssim(SsimConfig::new(255.0))),
        ("ssim of zeros", ssim(SsimConfig::fused_ssim().range(255.0))),
        ("ssim of found ranges", ssim(SsimConfig::new(DataRange::PerImage))),
        ("ssim of luma", ssim(SsimConfig::wang2004(255.0).channels(Channels::Luma))),
        ("ssim downsampled", ssim(SsimConfig::piq(255.0))),
        ("contrast", Box::new(|x, y| crate::contrast_per_image(x, y, &SsimConfig::new(255.0)))),
        (
            "map",
            Box::new(|x, y| {
                let config = SsimConfig::new(255.0).reduction(crate::Reduction::None);
                Ok(crate::ssim_with_map(x, y, &config)?.0)
            }),
        ),
        (
            "ms_ssim",
            Box::new(|x, y| crate::ms_ssim_per_image(x, y, &MsSsimConfig::new(255.0).window(5).betas([0.4, 0.6]))),
        ),
        ("gmsd", Box::new(|x, y| crate::gmsd_per_image(x, y, &GmsdConfig::new(255.0).channels(Channels::All)))),
        ("vif", Box::new(|x, y| crate::vif_per_image(x, y, &VifConfig::torchmetrics()))),
        ("mae", Box::new(|x, y| crate::mae_per_image(x, y, &ErrorConfig::new()))),
        ("mse", Box::new(|x, y| crate::mse_per_image(x, y, &ErrorConfig::new()))),
        ("psnr", Box::new(|x, y| crate::psnr_per_image(x, y, &PsnrConfig::new(DataRange::PerImage)))),
        ("pooled psnr", Box::new(|x, y| Ok(crate::psnr(x, y, &PsnrConfig::new(255.0))?.reshape(1)?))),
    ]
}

/// A score and its gradients with respect to both images.
fn bits(score: &Score, x: &Tensor, y: &Tensor, mask: Option<&Tensor>) -> Result<Vec<f64>> {
    let (x, y) = (Var::from_tensor(x)?, Var::from_tensor(y)?);
    let target = Target::new(&y);
    let value = (score.1)(
        &x,
        match mask {
            Some(mask) => target.mask(mask),
            None => target,
        },
    )?;
    let store = value.sum_all()?.backward()?;
    let mut all = list(&value)?;
    for var in [&x, &y] {
        all.extend(list(store.get(var).ok_or_else(|| candle_core::Error::msg("no gradient"))?)?);
    }
    Ok(all)
}

#[test]
fn masks_of_ones_change_no_bit() -> Result<()> {
    let (x, y) = (image(&[2, 3, 45, 58], 1)?, image(&[2, 3, 45, 58], 2)?);
    for score in &scores() {
        for dtype in [DType::F32, DType::F64] {
            let (x, y) = (x.to_dtype(dtype)?, y.to_dtype(dtype)?);
            let want = bits(score, &x, &y, None)?;
            for channels in [1, 3] {
                let ones = Tensor::ones((2, channels, 45, 58), DType::U8, &Device::Cpu)?;
                if channels == 1 || score.0 != "ssim of luma" {
                    assert!(bits(score, &x, &y, Some(&ones))? == want, "{} in {dtype:?}", score.0);
                }
            }
        }
    }
    Ok(())
}

#[test]
fn what_does_not_count_changes_no_bit() -> Result<()> {
    let shape = [2, 3, 45, 58];
    let (x, y) = (image(&shape, 1)?, image(&shape, 2)?);
    for (number, mask) in masks(&shape)?.iter().enumerate() {
        let full = mask.to_dtype(DType::F64)?.broadcast_as(&shape)?;
        let counts = full.gt(0.0)?;
        let weights = list(&full)?;
        for score in scores().iter().filter(|score| mask.dims()[1] == 1 || score.0 != "ssim of luma") {
            let with = |value: f64, other: f64, dtype: DType| -> Result<Vec<f64>> {
                let filled = |image: &Tensor, value: f64| {
                    counts.where_cond(image, &Tensor::full(value, &shape, &Device::Cpu)?)?.to_dtype(dtype)
                };
                bits(score, &filled(&x, value)?, &filled(&y, other)?, Some(mask))
            };
            for dtype in [DType::F32, DType::F64] {
                let want = with(0.0, 0.0, dtype)?;
                let images = want.len() - 2 * weights.len();
                assert!(
                    want[images..].iter().all(|slope| slope.is_finite()),
                    "{} in {dtype:?}, mask {number}",
                    score.0
                );
                for (value, other) in [(1e9, 17.0), (f64::NAN, f64::INFINITY), (3.0, f64::NAN)] {
                    let got = with(value, other, dtype)?;
                    let same = got.iter().zip(&want).all(|(got, want)| got == want || (got.is_nan() && want.is_nan()));
                    assert!(same, "{} in {dtype:?}, mask {number}, {value} and {other}", score.0);
                }
                let zero = want[images..]
                    .iter()
                    .zip(weights.iter().cycle())
                    .all(|(slope, weight)| *weight > 0.0 || *slope == 0.0);
                assert!(zero, "the gradient of {} in {dtype:?}, mask {number}", score.0);
            }
        }
    }
    Ok(())
}

/// As other devices compute.
#[test]
fn what_does_not_count_changes_nothing_in_the_composition() -> Result<()> {
    fn of<K: Kind>(config: &K::Config, shape: &[usize]) -> Result<()> {
        let (x, y) = (image(shape, 1)?, image(shape, 2)?);
        for (number, mask) in masks(shape)?.iter().enumerate() {
            let counts = mask.to_dtype(DType::F64)?.broadcast_as(shape)?.gt(0.0)?;
            let all = |hidden: f64| -> Result<Vec<f64>> {
                let filled = |image: &Tensor| {
                    Var::from_tensor(&counts.where_cond(image, &Tensor::full(hidden, shape, &Device::Cpu)?)?)
                };
                let (x, y) = (filled(&x)?, filled(&y)?);
                let value = composed::<K>(config, &x, target(&y, mask))?;
                let store = value.sum_all()?.backward()?;
                let mut all = list(&value)?;
                for var in [&x, &y] {
                    all.extend(list(store.get(var).unwrap())?);
                }
                Ok(all)
            };
            let (want, got) = (all(0.0)?, all(f64::NAN)?);
            if want.iter().all(|value| value.is_finite()) {
                assert!(got == want, "{} of mask {number}", K::NAME);
            }
        }
        Ok(())
    }
    of::<SsimConfig>(&SsimConfig::new(255.0), &[1, 2, 29, 38])?;
    of::<MsSsimConfig>(&MsSsimConfig::new(255.0).window(5).betas([0.4, 0.6]), &[1, 2, 29, 38])?;
    of::<GmsdConfig>(&GmsdConfig::new(255.0), &[1, 2, 29, 38])?;
    of::<VifConfig>(&VifConfig::new(255.0), &[1, 2, 53, 64])?;
    of::<Squared>(&ErrorConfig::new(), &[1, 2, 29, 38])
}

/// The third channel has weights, but no place of GMSD and no window of contrast.
#[test]
fn channels_that_have_weights_but_no_place_have_no_gradient() -> Result<()> {
    let (x, y) = (image(&[1, 3, 40, 44], 1)?, image(&[1, 3, 40, 44], 2)?);
    let lone = (0..40 * 44).map(|at| if at == 44 { 1.0 } else { 0.0 });
    let lone = Tensor::from_iter(lone, &Device::Cpu)?.reshape((1, 1, 40, 44))?;
    let mask = Tensor::cat(&[&lone.ones_like()?, &lone.ones_like()?, &lone], 1)?;
    let finite = |value: &Value| -> Result<()> {
        let all = gradients(&x, &y, DType::F64, value)?.map(|gradient| list(&gradient).unwrap());
        assert!(all.iter().flatten().all(|slope| slope.is_finite()));
        Ok(())
    };
    let gmsd = GmsdConfig::new(255.0).channels(Channels::All);
    finite(&|x, y| composed::<GmsdConfig>(&gmsd, x, target(y, &mask)))?;
    finite(&|x, y| fused::<GmsdConfig>(&gmsd, x, target(y, &mask)))?;
    let scales = MsSsimConfig::pytorch_msssim(255.0).window(5).betas([0.4, 0.6]);
    finite(&|x, y| fused::<MsSsimConfig>(&scales, x, target(y, &mask)))
}

#[test]
fn an_image_without_weight_has_no_score_and_no_gradient() -> Result<()> {
    let shape = [2, 3, 45, 58];
    let (x, y) = (image(&shape, 1)?, image(&shape, 2)?);
    let one = Tensor::ones((1, 1, 45, 58), DType::F32, &Device::Cpu)?;
    let mask = Tensor::cat(&[&one, &one.zeros_like()?], 0)?;
    for score in scores().iter().filter(|score| score.0 != "pooled psnr") {
        let (both, alone) =
            (bits(score, &x, &y, Some(&mask))?, bits(score, &x.narrow(0, 0, 1)?, &y.narrow(0, 0, 1)?, None)?);
        assert!(both[0] == alone[0] && both[1].is_nan(), "{} {:?}", score.0, &both[..2]);
        let second = &both[2 + 3 * 45 * 58..2 + 6 * 45 * 58];
        assert!(second.iter().all(|slope| *slope == 0.0), "{}", score.0);
    }
    Ok(())
}

#[test]
fn gradients_at_the_border_of_a_mask_are_those_of_differences() -> Result<()> {
    let shape = [1, 1, 44, 46];
    let (x, y, mask) = (image(&shape, 1)?, image(&shape, 2)?, masks(&shape)?.swap_remove(1));
    for score in scores()
        .iter()
        .filter(|score| score.0 != "ssim of luma" && score.0 != "ssim of found ranges" && score.0 != "psnr")
    {
        let gradient = bits(score, &x, &y, Some(&mask))?;
        let value = |pixels: Vec<f64>| -> Result<f64> {
            Ok(list(&(score.1)(&Tensor::from_vec(pixels, &shape, &Device::Cpu)?, target(&y, &mask))?)?[0])
        };
        let (pixels, weights) = (list(&x)?, list(&mask)?);
        for at in (0..pixels.len()).step_by(157).chain([0, 45, 43 * 46, 44 * 46 - 1]) {
            let moved = |by: f64| {
                let mut pixels = pixels.clone();
                pixels[at] += by;
                value(pixels)
            };
            let (difference, slope) = ((moved(1e-3)? - moved(-1e-3)?) / 2e-3, gradient[1 + at]);
            let near = (difference - slope).abs()
                < 1e-6 * gradient[1..1 + pixels.len()].iter().fold(1e-3, |a: f64, b| a.max(b.abs()));
            // At a kink of |e| the difference is no derivative.
            assert!(
                near || score.0 == "mae",
                "{} at {at} of weight {}: {slope} instead of {difference}",
                score.0,
                weights[at]
            );
        }
    }
    Ok(())
}

#[test]
fn masks_that_are_none_are_refused() -> Result<()> {
    let images = image(&[2, 3, 20, 20], 1)?.to_dtype(DType::F32)?;
    let message = |mask: Tensor| {
        let config = SsimConfig::new(255.0);
        crate::ssim(&images, Target::new(&images).mask(&mask), &config).expect_err("a refusal").to_string()
    };
    let of = |shape: &[usize], value: f32| Tensor::full(value, shape, &Device::Cpu);
    assert!(message(of(&[2, 2, 20, 20], 1.0)?).contains("`mask` is [2, 2, 20, 20], expected [2, 1, 20, 20]"));
    assert!(message(of(&[20, 20], 1.0)?).contains("`mask` is [20, 20]"));
    assert!(message(of(&[2, 1, 20, 21], 1.0)?).contains("`mask` is"));
    assert!(message(of(&[1, 1, 20, 20], -0.5)?).contains("`mask` has a weight of -0.5"));
    for bad in [f32::NAN, f32::INFINITY] {
        assert!(message(of(&[2, 1, 20, 20], bad)?).contains("`mask` has a weight of one that is not finite"));
    }
    assert!(message(of(&[2, 1, 20, 20], 1.0)?.to_dtype(DType::U32)?).contains("`mask` is U32"));
    // Also where the images are made anew first.
    let bad = Target::new(&images).mask(&of(&[1, 1, 20, 20], -0.5)?);
    let error = crate::ssim(&images, bad, &SsimConfig::matlab(255.0)).expect_err("a refusal").to_string();
    assert!(error.contains("`mask` has a weight of -0.5"), "{error}");
    let luma = SsimConfig::new(255.0).channels(Channels::Luma);
    let error = crate::ssim(&images, Target::new(&images).mask(&of(&[2, 3, 20, 20], 1.0)?), &luma).unwrap_err();
    assert!(error.to_string().contains("expected 1 channel"), "{error}");
    Ok(())
}

#[test]
fn regions_are_masks() -> Result<()> {
    let shape = [2, 3, 30, 41];
    let (x, y) = (image(&shape, 1)?, image(&shape, 2)?);
    let score = |target: Target| list(&crate::ssim_per_image(&x, target, &SsimConfig::new(255.0))?);
    let mask = |inside: f64| -> Result<Tensor> {
        let weights = (0..30 * 41).map(|at: usize| {
            let is_inside = (5..12).contains(&(at / 41)) && (3..20).contains(&(at % 41)) || at / 41 == 29;
            if is_inside { inside } else { 1.0 - inside }
        });
        Tensor::from_iter(weights, &Device::Cpu)?.reshape((1, 1, 30, 41))
    };
    let regions = [Region::new(3, 5, 17, 7), Region::new(0, 29, 41, 1)];
    assert_eq!(score(Target::new(&y).within(&regions)?)?, score(target(&y, &mask(1.0)?))?);
    assert_eq!(score(Target::new(&y).ignore(&regions)?)?, score(target(&y, &mask(0.0)?))?);
    let soft = masks(&shape)?.swap_remove(1);
    let both = score(target(&y, &(&soft * mask(0.0)?.broadcast_as(soft.shape())?)?))?;
    assert_eq!(score(target(&y, &soft).ignore(&regions)?)?, both);
    assert_eq!(score(Target::new(&y).ignore(&regions)?.mask(&soft))?, both);
    for bad in [Region::new(30, 0, 12, 1), Region::new(0, 0, 0, 3), Region::new(usize::MAX, 0, 2, 1)] {
        let error = Target::new(&y).ignore(&[bad]).expect_err("a refusal").to_string();
        assert!(error.contains("expected a part of images of 41x30 pixels"), "{error}");
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn random_masks(height in 11usize..40, width in 11usize..60, seed in 1u64..1000, border in 0usize..3, density in 1u64..20) {
        let padding = [Padding::Reflect, Padding::Zero, Padding::Valid][border];
        let config = SsimConfig::new(255.0).padding(padding);
        let shape = [1, 2, height, width];
        let (x, y) = (image(&shape, seed).unwrap(), image(&shape, seed + 1).unwrap());
        let chance = image(&[1, 1, height, width], seed + 2).unwrap();
        let counts = chance.lt(60.0 + 9.0 * density as f64).unwrap().to_dtype(DType::F64).unwrap();
        let mask = (counts * (chance * 0.01).unwrap()).unwrap();
        let want = list(&composed::<SsimConfig>(&config, &x, target(&y, &mask)).unwrap()).unwrap()[0];
        for (dtype, tolerance) in VALUE {
            let (x, y) = (x.to_dtype(dtype).unwrap(), y.to_dtype(dtype).unwrap());
            let got = list(&fused::<SsimConfig>(&config, &x, target(&y, &mask)).unwrap()).unwrap()[0];
            prop_assert!((got - want).abs() <= tolerance || (got.is_nan() && want.is_nan()), "{} instead of {}", got, want);
            prop_assert!(want.is_nan() || (-1.0..=1.0 + 1e-9).contains(&want));
            // Twice the weights are the same weights, but beside zeros of weight 1.
            let twice = list(&fused::<SsimConfig>(&config, &x, target(&y, &(&mask * 2.0).unwrap())).unwrap()).unwrap()[0];
            prop_assert!(padding == Padding::Zero || (got - twice).abs() <= tolerance || got.is_nan());
        }
    }
}
