//! Gradients against finite differences, and where Candle's own operations would get them wrong.

use anyhow::{Context, Result, ensure};
use candle_core::{DType, Device, Tensor, Var};
use metrics_detach::GraphStats;
use metrics_image::{
    Channels, Downsample, L1SsimLoss, MixConfig, MixLoss, MsSsimConfig, MsSsimLoss, OddSides, Padding, Pooling,
    PsnrConfig, PsnrLoss, Reduction, SsimConfig, SsimLoss, contrast_map, ms_ssim, psnr, ssim, ssim_map, ssim_per_image,
    ssim_with_map,
};
use tests::images::textured;

/// Compares the gradients of `f` with central differences at some pixels of both images.
fn check(name: &str, shape: &[usize], f: impl Fn(&Tensor, &Tensor) -> metrics_core::Result<Tensor>) -> Result<()> {
    let images = [textured(shape, 1, DType::F64)?, textured(shape, 2, DType::F64)?];
    let vars = [Var::from_tensor(&images[0])?, Var::from_tensor(&images[1])?];
    let gradients = f(&vars[0], &vars[1])?.sum_all()?.backward()?;
    for side in 0..2 {
        let gradient = gradients.get(&vars[side]).with_context(|| format!("{name}: no gradient of input {side}"))?;
        ensure!(gradient.dims() == shape && gradient.dtype() == DType::F64, "{name}: gradient is {gradient:?}");
        let gradient: Vec<f64> = gradient.flatten_all()?.to_vec1()?;
        let largest = gradient.iter().fold(0.0, |m: f64, g| m.max(g.abs()));
        let count = gradient.len();
        // The corners, the border and the middle: where padding folds back and where it does not.
        for at in [0, 1, shape[shape.len() - 1] - 1, count / 3, count / 2, count - 2, count - 1] {
            let step = 1e-5;
            let shifted = |by: f64| -> Result<f64> {
                let mut pixels: Vec<f64> = images[side].flatten_all()?.to_vec1()?;
                pixels[at] += by;
                let moved = Tensor::from_vec(pixels, shape, &Device::Cpu)?;
                let value = if side == 0 { f(&moved, &images[1])? } else { f(&images[0], &moved)? };
                Ok(value.sum_all()?.to_scalar()?)
            };
            let difference = (shifted(step)? - shifted(-step)?) / (2.0 * step);
            // Central differences: truncation of step² = 1e-10 relative, rounding of 1e-16 / step = 1e-11 absolute.
            let error = (gradient[at] - difference).abs();
            ensure!(error <= 1e-6 * largest + 1e-10, "{name}: {} instead of {difference} at {at}", gradient[at]);
        }
    }
    Ok(())
}

#[test]
fn agree_with_finite_differences() -> Result<()> {
    let base = || SsimConfig::new(1.0);
    let agrees = |name: &str, shape: &[usize], config: SsimConfig| check(name, shape, |x, y| ssim(x, y, &config));
    for padding in [Padding::Reflect, Padding::Symmetric, Padding::Replicate, Padding::Zero, Padding::Valid] {
        agrees(&format!("{padding:?}"), &[2, 2, 13, 14], base().padding(padding))?;
    }
    agrees("smallest reflected", &[1, 1, 6, 6], base())?;
    agrees("smallest symmetric", &[1, 1, 5, 5], base().padding(Padding::Symmetric))?;
    agrees("smallest replicated", &[1, 1, 1, 2], base().padding(Padding::Replicate))?;
    agrees("uniform sample", &[1, 2, 9, 12], SsimConfig::skimage(1.0))?;
    agrees("sigma per axis", &[1, 1, 14, 16], base().sigma([1.0, 2.0]))?;
    agrees("luma cropped", &[1, 3, 20, 21], base().channels(Channels::Luma).crop_border(3))?;
    agrees("volume", &[1, 1, 7, 8, 9], base())?;
    agrees("downsampled", &[1, 1, 385, 400], base().uniform(3).downsample(true))?;
    agrees("filtered, then downsampled", &[1, 1, 387, 401], base().uniform(3).downsample(Downsample::Imfilter))?;
    agrees("volume, replicated", &[1, 1, 3, 8, 9], base().padding(Padding::Replicate))?;
    check("replicated map", &[1, 1, 12, 13], |x, y| Ok(ssim_map(x, y, &base().padding(Padding::Replicate))?.sqr()?))?;
    check("map", &[1, 1, 12, 12], |x, y| Ok(ssim_map(x, y, &base())?.sqr()?))?;
    check("contrast map", &[1, 1, 12, 12], |x, y| Ok(contrast_map(x, y, &base())?.sqr()?))?;
    check("score and map", &[2, 1, 12, 12], |x, y| {
        let (score, map) = ssim_with_map(x, y, &base().reduction(Reduction::None))?;
        Ok((score.sqr()?.sum_all()? + map.sqr()?.mean_all()?)?)
    })
}

#[test]
fn ms_ssim_on_odd_sides_agrees_with_finite_differences() -> Result<()> {
    // Candle's avg_pool2d has a wrong gradient on odd sides; nothing here may depend on it.
    for odd in [OddSides::Drop, OddSides::Zero, OddSides::Replicate, OddSides::ReplicateLast] {
        for config in [MsSsimConfig::new(1.0), MsSsimConfig::pytorch_msssim(1.0)] {
            let config = config.sigma(0.5).window(5).betas([0.2, 0.3, 0.5]).odd_sides(odd);
            for sides in [[23, 23], [23, 24], [25, 22]] {
                check(&format!("{odd:?} {sides:?}"), &[1, 2, sides[0], sides[1]], |x, y| ms_ssim(x, y, &config))?;
            }
        }
    }
    Ok(())
}

#[test]
fn psnr_and_losses_agree_with_finite_differences() -> Result<()> {
    let shape = [2, 3, 12, 13];
    for pooling in [Pooling::Pooled, Pooling::PerImage] {
        let loss = PsnrLoss::new(PsnrConfig::new(1.0).pooling(pooling))?;
        check("psnr", &shape, |x, y| loss.forward(x, y))?;
    }
    let loss = SsimLoss::new(SsimConfig::new(1.0))?;
    check("ssim loss", &shape, |x, y| loss.forward(x, y))?;
    let loss = L1SsimLoss::new(SsimConfig::new(1.0))?.lambda(0.7)?;
    check("l1 + ssim", &shape, |x, y| loss.forward(x, y))?;
    let loss = MsSsimLoss::new(MsSsimConfig::new(1.0).sigma(0.5).betas([0.5, 0.5]))?;
    check("ms-ssim loss", &shape, |x, y| loss.forward(x, y))?;
    let loss = MixLoss::new(MixConfig::new(1.0))?;
    for shape in [&shape[..], &[1, 1, 70, 41]] {
        check("mix", shape, |x, y| loss.forward(x, y))?;
    }
    Ok(())
}

#[test]
fn the_gradient_beside_a_value_is_that_of_the_images_given() -> Result<()> {
    for (config, shape) in [
        (SsimConfig::matlab(1.0), [1, 2, 20, 23]),
        (SsimConfig::wang2009(1.0), [1, 1, 387, 401]),
        (SsimConfig::piq(1.0), [1, 1, 387, 401]),
    ] {
        let loss = SsimLoss::new(config)?;
        for dtype in [DType::F64, DType::F16] {
            let (x, y) = (Var::from_tensor(&textured(&shape, 1, dtype)?)?, textured(&shape, 2, dtype)?);
            let want = loss.forward(&x, &y)?.backward()?.get(&x).context("no gradient")?.clone();
            let (_, got) = loss.value_and_grad(&x, &y)?;
            ensure!((got.dims(), got.dtype()) == (want.dims(), want.dtype()), "{got:?} instead of {want:?}");
            let far = (got - want)?.abs()?.max_all()?.to_dtype(DType::F64)?.to_scalar::<f64>()?;
            ensure!(far == 0.0, "{dtype:?}: {far:e}");
        }
    }
    Ok(())
}

#[test]
fn negative_contrast_has_a_finite_gradient() -> Result<()> {
    // relu then powf would give 0 · ∞ = NaN.
    let target = textured((1, 1, 24, 24), 3, DType::F64)?;
    let pred = Var::from_tensor(&target.affine(-1.0, 1.0)?)?;
    let config = MsSsimConfig::new(1.0).betas([0.4, 0.6]);
    let score = ms_ssim(&pred, &target, &config)?;
    ensure!(score.to_scalar::<f64>()? == 0.0, "{score}");
    let gradient = score.backward()?.get(&pred).context("no gradient")?.flatten_all()?.to_vec1::<f64>()?;
    ensure!(gradient.iter().all(|g| *g == 0.0), "{gradient:?}");
    Ok(())
}

#[test]
fn equal_images_have_gradient_zero() -> Result<()> {
    let image = textured((1, 3, 16, 16), 4, DType::F64)?;
    let pred = Var::from_tensor(&image)?;
    let infinite = psnr(&pred, &image, &PsnrConfig::new(1.0))?;
    ensure!(infinite.to_scalar::<f64>()? == f64::INFINITY);
    let capped = psnr(&pred, &image, &PsnrConfig::new(1.0).cap(100.0))?;
    ensure!(capped.to_scalar::<f64>()? == 100.0);
    let ssim = ssim(&pred, &image, &SsimConfig::new(1.0))?;
    ensure!(ssim.to_scalar::<f64>()? == 1.0);
    let mix = MixLoss::new(MixConfig::new(1.0))?.forward(&pred, &image)?;
    ensure!(mix.to_scalar::<f64>()? == 0.0);
    for score in [infinite, capped, ssim, mix] {
        let gradient = score.backward()?.get(&pred).context("no gradient")?.flatten_all()?.to_vec1::<f64>()?;
        // SSIM is at its maximum: what is left is rounding, against gradients of order 1 / pixels elsewhere.
        ensure!(gradient.iter().all(|g| g.abs() < 1e-15), "{gradient:?}");
    }
    Ok(())
}

#[test]
fn clamping_passes_gradients_at_its_bounds() -> Result<()> {
    // PyTorch's convention; Candle's own clamp passes one half there.
    let pred = Var::from_tensor(&Tensor::new(&[[[[0.1f64, 0.2, 0.5, 0.8, 0.9]]]], &Device::Cpu)?)?;
    let target = Tensor::full(0.4, (1, 1, 1, 5), &Device::Cpu)?;
    let gradients = psnr(&pred, &target, &PsnrConfig::new((0.2, 0.8)))?.backward()?;
    let gradient = gradients.get(&pred).context("no gradient")?.flatten_all()?.to_vec1::<f64>()?;
    // d = (-0.2, -0.2, 0.1, 0.4, 0.4) after clamping; the gradient is -20 / ln 10 · d / Σd² where the pixel was within bounds
    let factor = -20.0 / 10f64.ln() / 0.41;
    for (got, want) in gradient.iter().zip([0.0, -0.2, 0.1, 0.4, 0.0]) {
        ensure!((got - factor * want).abs() < 1e-12, "{gradient:?}");
    }
    Ok(())
}

#[test]
fn only_the_tracked_input_gets_a_gradient() -> Result<()> {
    let (x, y) = (textured((1, 1, 16, 16), 1, DType::F32)?, textured((1, 1, 16, 16), 2, DType::F32)?);
    let (x_var, y_var) = (Var::from_tensor(&x)?, Var::from_tensor(&y)?);
    let config = SsimConfig::new(1.0);
    ensure!(ssim(&x_var, &y, &config)?.backward()?.get(&x_var).is_some());
    ensure!(ssim(&x, &y_var, &config)?.backward()?.get(&y_var).is_some());
    ensure!(!ssim(&x, &y, &config)?.track_op());
    Ok(())
}

#[test]
fn half_types_get_gradients_of_their_own_type() -> Result<()> {
    for dtype in [DType::F16, DType::BF16] {
        let target = textured((1, 1, 16, 16), 1, dtype)?;
        let pred = Var::from_tensor(&textured((1, 1, 16, 16), 2, dtype)?)?;
        let score = ssim(&pred, &target, &SsimConfig::new(1.0))?;
        ensure!(score.dtype() == DType::F32);
        let gradients = score.backward()?;
        ensure!(gradients.get(&pred).context("no gradient")?.dtype() == dtype);
    }
    Ok(())
}

#[test]
fn the_graph_does_not_grow_with_channels_or_images() -> Result<()> {
    // A grouped convolution in Candle is a loop over the groups, each a chain of nodes.
    let nodes = |images: usize, channels: usize| -> Result<usize> {
        let target = textured((images, channels, 16, 16), 1, DType::F32)?;
        let pred = Var::from_tensor(&textured((images, channels, 16, 16), 2, DType::F32)?)?;
        Ok(GraphStats::of(&ssim_per_image(&pred, &target, &SsimConfig::new(1.0))?).nodes)
    };
    let one = nodes(1, 1)?;
    ensure!(one > 0 && nodes(4, 16)? == one);
    Ok(())
}
