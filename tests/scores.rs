//! What the scores are, apart from what other libraries say they are.

use anyhow::{Context, Result, ensure};
use candle_core::{DType, Device, Tensor, Var};
use metrics_core::{Metric, Samples, Value};
use metrics_image::{
    Channels, DataRange, ErrorConfig, L1SsimLoss, Mae, MsSsim, MsSsimConfig, Mse, MseFloor, NonFinite, Normalize,
    Padding, Pooling, Psnr, PsnrConfig, Reduction, Ssim, SsimConfig, contrast_map, ms_ssim, ms_ssim_per_image, psnr,
    psnr_per_image, ssim, ssim_map, ssim_per_image, ssim_with_map,
};
use tests::images::textured;

fn scalar(x: &Tensor) -> Result<f64> {
    Ok(x.to_dtype(DType::F64)?.to_scalar()?)
}

fn list(x: &Tensor) -> Result<Vec<f64>> {
    Ok(x.to_dtype(DType::F64)?.flatten_all()?.to_vec1()?)
}

#[test]
fn an_image_scores_one_against_itself_at_any_offset() -> Result<()> {
    for dtype in [DType::F32, DType::F64, DType::F16, DType::BF16] {
        for (scale, offset) in
            [(1.0, 0.0), (1.0, 100.0), (1.0, 1000.0), (1e-3, 0.9), (0.0, 0.9), (1e4, 0.0), (0.0, 0.0)]
        {
            let image = textured((1, 2, 20, 17), 1, DType::F64)?.affine(scale, offset)?.to_dtype(dtype)?;
            for padding in [Padding::Reflect, Padding::Zero, Padding::Valid] {
                let score = scalar(&ssim(&image, &image, &SsimConfig::new(1.0).padding(padding))?)?;
                ensure!(score == 1.0, "{dtype:?} {scale} {offset} {padding:?}: {score}");
            }
        }
    }
    Ok(())
}

#[test]
fn f32_stays_near_f64_where_moments_cancel() -> Result<()> {
    for (scale, offset) in [(1.0, 0.0), (1e-3, 0.9), (1.0, 100.0), (1.0, 1000.0)] {
        let image = |seed| -> Result<Tensor> {
            // Rounded to f32 first, so that both precisions see the same pixels.
            Ok(textured((1, 1, 40, 41), seed, DType::F64)?.affine(scale, offset)?.to_dtype(DType::F32)?)
        };
        let (x, y) = (image(1)?, image(2)?);
        for padding in [Padding::Reflect, Padding::Zero, Padding::Valid] {
            let config = SsimConfig::new(1.0).padding(padding);
            let narrow = scalar(&ssim(&x, &y, &config)?)?;
            let wide = scalar(&ssim(&x.to_dtype(DType::F64)?, &y.to_dtype(DType::F64)?, &config)?)?;
            // The project's promise for f32.
            ensure!((narrow - wide).abs() <= 1e-6, "{scale} {offset} {padding:?}: {narrow} instead of {wide}");
        }
    }
    Ok(())
}

#[test]
fn a_nan_spoils_its_own_image_only() -> Result<()> {
    let target = textured((3, 3, 48, 48), 1, DType::F32)?;
    let mut pixels: Vec<f32> = textured((3, 3, 48, 48), 2, DType::F32)?.flatten_all()?.to_vec1()?;
    pixels[3 * 48 * 48 + 100] = f32::NAN;
    let pred = Tensor::from_vec(pixels, (3, 3, 48, 48), &Device::Cpu)?;
    let ms_ssim = MsSsimConfig::new(1.0).betas([0.5, 0.5]);
    let all = [
        ssim_per_image(&pred, &target, &SsimConfig::new(1.0))?,
        ssim_per_image(&pred, &target, &SsimConfig::new((0.1, 0.9)))?,
        ms_ssim_per_image(&pred, &target, &ms_ssim)?,
        psnr_per_image(&pred, &target, &PsnrConfig::new(1.0))?,
        psnr_per_image(&pred, &target, &PsnrConfig::burn((0.1, 0.9)))?,
    ];
    for scores in all {
        let nan: Vec<bool> = list(&scores)?.into_iter().map(f64::is_nan).collect();
        ensure!(nan == [false, true, false], "{scores}");
    }
    Ok(())
}

#[test]
fn u8_scores_as_the_same_numbers_in_f32() -> Result<()> {
    let image =
        |seed| -> Result<Tensor> { Ok((textured((2, 3, 24, 24), seed, DType::F32)? * 255.0)?.to_dtype(DType::U8)?) };
    let (x, y) = (image(1)?, image(2)?);
    let (xf, yf) = (x.to_dtype(DType::F32)?, y.to_dtype(DType::F32)?);
    for channels in [Channels::All, Channels::Luma] {
        let config = SsimConfig::new(255.0).channels(channels);
        ensure!(list(&ssim_per_image(&x, &y, &config)?)? == list(&ssim_per_image(&xf, &yf, &config)?)?);
    }
    let config = PsnrConfig::new(255.0);
    ensure!(scalar(&psnr(&x, &y, &config)?)? == scalar(&psnr(&xf, &yf, &config)?)?);
    Ok(())
}

#[test]
fn luma_is_bt601_in_studio_range() -> Result<()> {
    // 8-bit white is 235 and black 16 on the scale of 0..=255, so their difference is 219.
    let white = Tensor::full(255f64, (1, 3, 8, 8), &Device::Cpu)?;
    let black = white.zeros_like()?;
    let config = PsnrConfig::new(255.0).channels(Channels::Luma);
    let expected = 20.0 * (255.0 / 219.0f64).log10();
    ensure!((scalar(&psnr(&white, &black, &config)?)? - expected).abs() < 1e-9);
    // Red by itself, in 0..=1: 65.481 / 255.
    let red = Tensor::cat(
        &[
            Tensor::ones((1, 1, 8, 8), DType::F64, &Device::Cpu)?,
            Tensor::zeros((1, 2, 8, 8), DType::F64, &Device::Cpu)?,
        ],
        1,
    )?;
    let config = PsnrConfig::new(1.0).channels(Channels::Luma);
    let expected = -20.0 * (65.481 / 255.0f64).log10();
    ensure!((scalar(&psnr(&red, &red.zeros_like()?, &config)?)? - expected).abs() < 1e-9);
    Ok(())
}

#[test]
fn crop_border_scores_the_inner_image() -> Result<()> {
    let (x, y) = (textured((1, 1, 30, 33), 1, DType::F64)?, textured((1, 1, 30, 33), 2, DType::F64)?);
    let inner = |t: &Tensor| t.narrow(2, 4, 22)?.narrow(3, 4, 25);
    let config = SsimConfig::new(1.0);
    let cropped = scalar(&ssim(&x, &y, &config.clone().crop_border(4))?)?;
    ensure!(cropped == scalar(&ssim(&inner(&x)?, &inner(&y)?, &config)?)?);
    Ok(())
}

#[test]
fn ranges_found_in_the_data() -> Result<()> {
    let dim = |seed| -> Result<Tensor> { Ok((textured((1, 1, 16, 16), seed, DType::F64)? * 0.5)?) };
    let bright = |seed| textured((1, 1, 16, 16), seed, DType::F64);
    let (x, y) = (Tensor::cat(&[dim(1)?, bright(2)?], 0)?, Tensor::cat(&[dim(3)?, bright(4)?], 0)?);
    let spread = |t: &Tensor| -> Result<f64> { Ok(scalar(&t.max_all()?)? - scalar(&t.min_all()?)?) };
    let (first, second) = (spread(&dim(1)?)?.max(spread(&dim(3)?)?), spread(&bright(2)?)?.max(spread(&bright(4)?)?));
    let at = |range: f64| -> Result<Vec<f64>> { list(&ssim_per_image(&x, &y, &SsimConfig::new(range))?) };
    let per_image = list(&ssim_per_image(&x, &y, &SsimConfig::new(DataRange::PerImage))?)?;
    for (got, want) in per_image.iter().zip([at(first)?[0], at(second)?[1]]) {
        ensure!((got - want).abs() < 1e-12, "{got} instead of {want}");
    }
    let per_batch = list(&ssim_per_image(&x, &y, &SsimConfig::new(DataRange::PerBatch))?)?;
    let whole = spread(&x)?.max(spread(&y)?);
    ensure!((per_batch[0] - at(whole)?[0]).abs() < 1e-12);
    let flat = Tensor::full(0.3, (1, 1, 16, 16), &Device::Cpu)?;
    ensure!(scalar(&ssim(&flat, &flat, &SsimConfig::new(DataRange::PerImage))?)? == 1.0);
    Ok(())
}

#[test]
fn reductions() -> Result<()> {
    let (x, y) = (textured((3, 1, 16, 16), 1, DType::F64)?, textured((3, 1, 16, 16), 2, DType::F64)?);
    let config = SsimConfig::new(1.0);
    let each = list(&ssim_per_image(&x, &y, &config)?)?;
    let of = |reduction| ssim(&x, &y, &config.clone().reduction(reduction));
    ensure!(list(&of(Reduction::None)?)? == each);
    ensure!((scalar(&of(Reduction::Sum)?)? - each.iter().sum::<f64>()).abs() < 1e-12);
    ensure!((scalar(&of(Reduction::Mean)?)? - each.iter().sum::<f64>() / 3.0).abs() < 1e-12);
    let map = ssim_map(&x, &y, &config)?;
    for reduction in [Reduction::None, Reduction::Mean, Reduction::Sum] {
        let (score, beside) = ssim_with_map(&x, &y, &config.clone().reduction(reduction))?;
        ensure!(score.dims() == of(reduction)?.dims() && list(&beside)? == list(&map)?);
        ensure!(list(&score)? == list(&of(reduction)?)?);
    }
    ensure!(map.dims() == [3, 1, 16, 16] && contrast_map(&x, &y, &config)?.dims() == map.dims());
    ensure!((list(&map.mean((1, 2, 3))?)?[1] - each[1]).abs() < 1e-12);
    ensure!(ssim_map(&x, &y, &config.padding(Padding::Valid))?.dims() == [3, 1, 6, 6]);
    Ok(())
}

#[test]
fn a_pixel_that_is_not_finite_leaves_the_measured_range_of_others_alone() -> Result<()> {
    const LEN: usize = 16 * 16;
    let images = |seed| textured((2, 1, 16, 16), seed, DType::F32);
    let (pred, target) = (images(1)?, images(2)?);
    let spoiled = |image: &Tensor, spoil: &[(usize, f32)]| -> Result<Tensor> {
        let mut pixels: Vec<f32> = image.flatten_all()?.to_vec1()?;
        spoil.iter().for_each(|&(at, value)| pixels[LEN + at] = value);
        Ok(Tensor::from_vec(pixels, (2, 1, 16, 16), &Device::Cpu)?)
    };
    // Where Candle's `max` and `min` begin, and where they do not.
    let mut spoils: Vec<Vec<(usize, f32)>> = Vec::new();
    for value in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        spoils.extend([0, 100, LEN - 1].map(|at| vec![(at, value)]));
        spoils.push((0..LEN).map(|at| (at, value)).collect());
    }
    let score = |pred: &Tensor, target: &Tensor, range: DataRange| -> Result<[Vec<f64>; 2]> {
        let psnr_config = PsnrConfig::new(range);
        let ssims = list(&ssim_per_image(pred, target, &SsimConfig::new(range))?)?;
        Ok([ssims, list(&psnr_per_image(pred, target, &psnr_config)?)?])
    };
    for range in [DataRange::PerImage, DataRange::PerBatch] {
        for spoil in &spoils {
            for side in 0..2 {
                let mut pair = [pred.clone(), target.clone()];
                pair[side] = spoiled(&pair[side], spoil)?;
                let what = format!("{range:?} {:?} of {} in input {side}", spoil[0], spoil.len());
                // Under the batch's range, the neighbour scores as if the bad pixels were within the others' spread.
                let mut mild = [pred.clone(), target.clone()];
                let filler: Vec<_> = spoil.iter().map(|&(at, _)| (at, 0.5)).collect();
                mild[side] = spoiled(&mild[side], &filler)?;
                let [ssims, decibels] = score(&pair[0], &pair[1], range)?;
                let [mild_ssims, mild_decibels] = score(&mild[0], &mild[1], range)?;
                ensure!(ssims[0] == mild_ssims[0] && ssims[1].is_nan(), "{what}: {ssims:?}, not {mild_ssims:?}");
                ensure!(decibels[0] == mild_decibels[0], "{what}: {decibels:?}, not {mild_decibels:?}");
                ensure!(!decibels[1].is_finite() && decibels[1] != f64::INFINITY, "{what}: {decibels:?}");
            }
        }
    }
    // A spread that f32 does not hold is no range: NaN, where an infinite one would call all images equal.
    let far = spoiled(&pred, &[(0, 3e38), (1, -3e38)])?;
    for (x, y) in [(&far, &target), (&target, &far)] {
        let [ssims, decibels] = score(x, y, DataRange::PerBatch)?;
        ensure!(ssims.iter().all(|score| score.is_nan()), "{ssims:?}");
        ensure!(decibels.iter().all(|score| *score != f64::INFINITY), "{decibels:?}");
        let [ssims, decibels] = score(x, y, DataRange::PerImage)?;
        ensure!(ssims[0].is_finite() && ssims[1].is_nan(), "{ssims:?}");
        ensure!(decibels[0].is_finite() && decibels[1] != f64::INFINITY, "{decibels:?}");
    }
    Ok(())
}

#[test]
fn the_largest_and_smallest_data_ranges() -> Result<()> {
    let scores = |dtype: DType, range: f64, of: DataRange| -> Result<Vec<f64>> {
        let image = |seed| textured((1, 3, 40, 40), seed, DType::F64)?.affine(range, 0.0)?.to_dtype(dtype);
        let (x, y) = (Var::from_tensor(&image(1)?)?, Var::from_tensor(&image(2)?)?);
        let losses = [
            psnr(&x, &y, &PsnrConfig::new(of))?,
            ms_ssim(&x, &y, &MsSsimConfig::new(of).betas([0.4, 0.6]))?,
            L1SsimLoss::new(SsimConfig::new(of))?.lambda(1.0)?.forward(&x, &y)?,
        ];
        let mut numbers = Vec::new();
        for loss in losses {
            let gradients = loss.backward()?;
            numbers.push(scalar(&loss)?);
            for var in [&x, &y] {
                let gradient = gradients.get(var).context("no gradient")?.to_dtype(DType::F64)?.affine(range, 0.0)?;
                numbers.push(scalar(&gradient.sqr()?.sum_all()?.sqrt()?)?);
            }
        }
        Ok(numbers)
    };
    for (dtype, ends, tolerance) in [(DType::F64, [1e-100, 1e100], 1e-10), (DType::F32, [1e-12, 1e12], 1e-5)] {
        let whole = scores(DType::F64, 1.0, 1.0.into())?;
        let measured = scores(DType::F64, 1.0, DataRange::PerBatch)?;
        for range in ends {
            for (got, want) in scores(dtype, range, range.into())?.iter().zip(&whole) {
                ensure!((got - want).abs() <= tolerance * want.abs(), "{dtype:?} {range:e}: {got} instead of {want}");
            }
            // Inside by a little, since a spread is not quite the range.
            let inside = range.powf(0.99);
            for (got, want) in scores(dtype, inside, DataRange::PerBatch)?.iter().zip(&measured) {
                ensure!((got - want).abs() <= tolerance * want.abs(), "{dtype:?} {inside:e}: {got} instead of {want}");
            }
            let beyond = scores(dtype, range.powf(1.1), DataRange::PerBatch)?;
            ensure!(beyond.iter().step_by(3).all(|score| score.is_nan()), "{dtype:?} {range:e}: {beyond:?}");
        }
    }
    Ok(())
}

#[test]
fn l1_ssim_is_the_weighted_sum() -> Result<()> {
    let (x, y) = (textured((2, 3, 16, 16), 1, DType::F64)?, textured((2, 3, 16, 16), 2, DType::F64)?);
    let config = SsimConfig::new(1.0);
    let l1 = scalar(&(&x - &y)?.abs()?.mean_all()?)?;
    let dissimilarity = 1.0 - scalar(&ssim(&x, &y, &config)?)?;
    let loss = L1SsimLoss::new(config)?;
    ensure!((scalar(&loss.forward(&x, &y)?)? - (0.8 * l1 + 0.2 * dissimilarity)).abs() < 1e-12);
    let loss = loss.lambda(1.0)?;
    ensure!((scalar(&loss.forward(&x, &y)?)? - dissimilarity).abs() < 1e-12);
    Ok(())
}

#[test]
fn pooled_psnr_is_not_the_mean_of_psnrs() -> Result<()> {
    let target = Tensor::zeros((2, 1, 8, 8), DType::F64, &Device::Cpu)?;
    let offsets = Tensor::new(&[0.01f64, 0.3], &Device::Cpu)?.reshape((2, 1, 1, 1))?;
    let pred = target.broadcast_add(&offsets)?;
    let mut pooled = Psnr::new(PsnrConfig::new(1.0))?;
    let mut mean = Psnr::new(PsnrConfig::new(1.0).pooling(Pooling::PerImage))?;
    for image in 0..2 {
        let (x, y) = (pred.narrow(0, image, 1)?, target.narrow(0, image, 1)?);
        pooled.update(&x, &y)?;
        mean.update(&x, &y)?;
    }
    let value = |metric: &Psnr| -> Result<f64> { metric.compute()?.scalar().context("no scalar") };
    ensure!((value(&pooled)? - -10.0 * 0.04505f64.log10()).abs() < 1e-9); // (0.01² + 0.3²) / 2
    ensure!((value(&mean)? - (40.0 - 20.0 * 0.3f64.log10()) / 2.0).abs() < 1e-9);
    ensure!((value(&pooled)? - scalar(&psnr(&pred, &target, &PsnrConfig::new(1.0))?)?).abs() < 1e-12);
    Ok(())
}

#[test]
fn metrics_accumulate_what_functions_return() -> Result<()> {
    let (x, y) = (textured((5, 1, 24, 24), 1, DType::F64)?, textured((5, 1, 24, 24), 2, DType::F64)?);
    let ms_config = MsSsimConfig::new(1.0).betas([0.4, 0.6]).reduction(Reduction::None);
    let mut metrics: Vec<(Box<dyn Metric>, Vec<f64>)> = vec![
        (
            Box::new(Ssim::new(SsimConfig::new(1.0).reduction(Reduction::None))?),
            list(&ssim_per_image(&x, &y, &SsimConfig::new(1.0))?)?,
        ),
        (Box::new(MsSsim::new(ms_config.clone())?), list(&ms_ssim_per_image(&x, &y, &ms_config)?)?),
        (
            Box::new(Psnr::new(PsnrConfig::skimage(1.0).reduction(Reduction::None))?),
            list(&psnr_per_image(&x, &y, &PsnrConfig::new(1.0))?)?,
        ),
    ];
    for (metric, expected) in &mut metrics {
        metric.update(&x.narrow(0, 0, 2)?, &y.narrow(0, 0, 2)?)?;
        let batch = metric.forward(&x.narrow(0, 2, 3)?, &y.narrow(0, 2, 3)?)?;
        ensure!(batch.dims() == [3]);
        let Value::PerImage(values) = metric.compute()? else { anyhow::bail!("not per image") };
        ensure!(values.len() == 5);
        for (got, want) in values.iter().zip(&*expected) {
            ensure!((got - want).abs() < 1e-12, "{}: {got} instead of {want}", metric.name());
        }
    }
    Ok(())
}

#[test]
fn pooled_psnr_weighs_errors_and_pixels() -> Result<()> {
    // Squared errors of 0.01 and 0.25, weighted 3 to 1: a mean of 0.07.
    let target = Tensor::zeros((2, 1, 8, 8), DType::F64, &Device::Cpu)?;
    let pred = Tensor::cat(&[(target.narrow(0, 0, 1)? + 0.1)?, (target.narrow(0, 1, 1)? + 0.5)?], 0)?;
    let mut weighted = Psnr::new(PsnrConfig::new(1.0))?;
    weighted.update_with(&Samples::new(&pred, &target).weights(&[3.0, 1.0]))?;
    let expected = -10.0 * 0.07f64.log10();
    // A few roundings of f64 in the pixels, the sum and the logarithm.
    assert!((weighted.compute()?.scalar().unwrap() - expected).abs() < 1e-13);
    Ok(())
}

#[test]
fn identical_images_are_skipped_only_per_image() -> Result<()> {
    let target = Tensor::zeros((2, 1, 8, 8), DType::F64, &Device::Cpu)?;
    let pred = Tensor::cat(&[target.narrow(0, 0, 1)?, (target.narrow(0, 1, 1)? + 0.1)?], 0)?;
    let config = || PsnrConfig::new(1.0).non_finite(NonFinite::Skip);
    for (config, images, decibels) in [
        (config(), 2, 10.0 * 200f64.log10()),
        (config().pooling(Pooling::PerImage), 1, 20.0),
        (config().pooling(Pooling::PerImage).cap(100.0), 2, 60.0),
    ] {
        let mut metric = Psnr::new(config)?;
        metric.update(&pred, &target)?;
        assert_eq!((metric.state().samples(), metric.skipped()), (images, 2 - images));
        // A few roundings of f64 in the pixels, the sum and the logarithm.
        assert!((metric.compute()?.scalar().unwrap() - decibels).abs() < 1e-12, "{:?}", metric.config());
    }
    Ok(())
}

#[test]
fn a_nan_image_is_an_error_when_told() -> Result<()> {
    let images = Tensor::full(f32::NAN, (1, 1, 16, 16), &Device::Cpu)?;
    let mut metric = Ssim::new(SsimConfig::new(1.0).non_finite(NonFinite::Error))?;
    let error = metric.update(&images, &images).unwrap_err();
    assert_eq!(error.to_string(), "the field `score` of sample 0 of the batch is NaN, but must be finite");
    assert_eq!(metric.updates(), 0);
    assert_ne!(metric.fingerprint(), Ssim::new(SsimConfig::new(1.0))?.fingerprint());
    Ok(())
}

#[test]
fn a_scale_of_beta_zero_counts_as_one() -> Result<()> {
    // Inverted contrast: the term of the fine scale is negative, and coarse stripes are the same.
    let fine = textured((1, 1, 48, 48), 3, DType::F64)?;
    let stripes: Vec<f64> = (0..48 * 48).map(|at| ((at / 48 / 8) % 2) as f64).collect();
    let stripes = Tensor::from_vec(stripes, (1, 1, 48, 48), &Device::Cpu)?;
    let checks: Vec<f64> = (0..48 * 48).map(|at| ((at / 48 + at % 48) % 2) as f64 * 2.0 - 1.0).collect();
    let checks = Tensor::from_vec(checks, (1, 1, 48, 48), &Device::Cpu)?;
    let base = ((fine * 0.02)? + (stripes * 0.2)?)?;
    let (pred, target) = (((&base * 0.8)? + &checks)?, (&base - &checks)?);
    let contrast = scalar(&contrast_map(&pred, &target, &SsimConfig::new(1.0))?.mean_all()?)?;
    ensure!(contrast < -0.5, "{contrast}");
    let halves = |image: &Tensor| -> Result<Tensor> { Ok(image.avg_pool2d(2)?) };
    let (coarse_pred, coarse_target) = (halves(&pred)?, halves(&target)?);
    for normalize in [Normalize::Relu, Normalize::Simple, Normalize::None] {
        let config = |betas: &[f64]| MsSsimConfig::new(1.0).normalize(normalize).betas(betas);
        let of = |betas: &[f64]| scalar(&ms_ssim(&pred, &target, &config(betas))?);
        let coarse = scalar(&ms_ssim(&coarse_pred, &coarse_target, &config(&[1.0]))?)?;
        let got = of(&[0.0, 1.0])?;
        ensure!(
            (got - coarse).abs() < 1e-12 && coarse > 0.1 && coarse < 0.99,
            "{normalize:?}: {got} instead of {coarse}"
        );
        ensure!(of(&[0.0, 0.0])? == 1.0, "{normalize:?}");

        let mut pixels: Vec<f64> = pred.flatten_all()?.to_vec1()?;
        pixels[100] = f64::NAN;
        let spoiled = Tensor::from_vec(pixels, (1, 1, 48, 48), &Device::Cpu)?;
        ensure!(scalar(&ms_ssim(&spoiled, &target, &config(&[0.0, 0.0]))?)?.is_nan(), "{normalize:?}");

        let var = Var::from_tensor(&pred)?;
        let gradients = ms_ssim(&var, &target, &config(&[0.0, 0.0]))?.backward()?;
        let gradient = list(gradients.get(&var).context("no gradient")?)?;
        ensure!(gradient.iter().all(|g| *g == 0.0), "{normalize:?}: {gradient:?}");
    }
    Ok(())
}

#[test]
fn values_lie_within_the_bounds_that_a_metric_states() -> Result<()> {
    let texture = textured((4, 1, 24, 24), 1, DType::F64)?;
    let inverted = texture.affine(-1.0, 1.0)?;
    let near = texture.affine(0.99, 0.0)?;
    let reductions = [Reduction::Mean, Reduction::Sum, Reduction::None, Reduction::Summary];
    let floors = [MseFloor::None, MseFloor::Add(1e-3), MseFloor::AtLeast(1e-2), MseFloor::Add(0.0)];
    let mut metrics: Vec<Box<dyn Metric>> = Vec::new();
    for reduction in reductions {
        metrics.push(Box::new(Ssim::new(SsimConfig::new(1.0).reduction(reduction))?));
        metrics.push(Box::new(Mae::new(ErrorConfig::new().reduction(reduction))?));
        metrics.push(Box::new(Mse::new(ErrorConfig::new().reduction(reduction))?));
        for normalize in [Normalize::Relu, Normalize::Simple, Normalize::None] {
            let config = MsSsimConfig::new(1.0).betas([1.0, 1.0]).normalize(normalize).reduction(reduction);
            metrics.push(Box::new(MsSsim::new(config)?));
        }
        for (pooling, floor) in [Pooling::Pooled, Pooling::PerImage].into_iter().flat_map(|p| floors.map(|f| (p, f))) {
            let config = PsnrConfig::new(2.0).base(3.0).pooling(pooling).floor(floor).reduction(reduction);
            metrics.push(Box::new(Psnr::new(config.clone())?));
            metrics.push(Box::new(Psnr::new(config.cap(30.0))?));
        }
    }
    for metric in &metrics {
        let info = metric.info();
        for pred in [&texture, &near, &inverted] {
            let mut metric = metric.clone();
            let batch = list(&metric.forward(pred, &texture)?)?;
            let values = match metric.compute()? {
                Value::Scalar(value) => vec![value],
                Value::PerImage(values) => values,
                Value::Summary(summary) => vec![summary.mean, summary.min, summary.max],
                other => anyhow::bail!("{other}"),
            };
            for value in values.into_iter().chain(batch) {
                // A few roundings of f64, in the logarithm and in the mean.
                let slack = 8.0 * f64::EPSILON * value.abs();
                let within = info.lower.is_none_or(|lower| value >= lower - slack)
                    && info.upper.is_none_or(|upper| value <= upper + slack);
                ensure!(within, "{:?}: {value} of {info:?}", metric.fingerprint());
            }
        }
    }
    let bounds = |config: PsnrConfig| -> Result<Option<f64>> { Ok(Psnr::new(config)?.info().upper) };
    ensure!(bounds(PsnrConfig::new(1.0))?.is_none());
    ensure!((bounds(PsnrConfig::piq(1.0))?.context("no bound")? - 80.0).abs() < 1e-12);
    ensure!((bounds(PsnrConfig::new(10.0).floor(MseFloor::AtLeast(0.1)))?.context("no bound")? - 30.0).abs() < 1e-12);
    ensure!(bounds(PsnrConfig::piq(1.0).cap(50.0))? == Some(50.0));
    ensure!(MsSsim::new(MsSsimConfig::new(1.0))?.info().lower == Some(0.0));
    Ok(())
}

#[test]
fn a_reduction_without_effect_does_not_keep_states_apart() -> Result<()> {
    let (x, y) = (textured((2, 1, 8, 8), 1, DType::F64)?, textured((2, 1, 8, 8), 2, DType::F64)?);
    let metric = |pooling, reduction| Psnr::new(PsnrConfig::new(1.0).pooling(pooling).reduction(reduction));
    let (mut mean, mut sum) = (metric(Pooling::Pooled, Reduction::Mean)?, metric(Pooling::Pooled, Reduction::Sum)?);
    mean.update(&x, &y)?;
    sum.update(&x, &y)?;
    mean.merge(&sum)?;
    ensure!(mean.compute()? == sum.compute()? && mean.updates() == 2);
    ensure!(metric(Pooling::PerImage, Reduction::Mean)?.merge(&metric(Pooling::PerImage, Reduction::Sum)?).is_err());
    Ok(())
}
