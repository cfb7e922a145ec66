//! The same numbers as TorchMetrics, pytorch-msssim, piq, scikit-image and other programs.

use anyhow::{Context, Result, bail, ensure};
use candle_core::{D, DType, Tensor, Var};
use metrics_image::{
    Covariance, DataRange, GmsdConfig, MixConfig, MixLoss, MsSsimConfig, Normalize, OddSides, Padding, Pooling,
    PsnrConfig, Reduction, SsimConfig, VifConfig, contrast_per_image, gmsd_per_image, ms_ssim, psnr, psnr_per_image,
    ssim, ssim_map, ssim_per_image, vif,
};
use tests::golden::{Case, Golden};

/// f64 against f64: only the order of operations differs, far below this.
const F64: f64 = 1e-9;
/// f32 images against the f64 answer, as the project promises.
const F32: f64 = 1e-5;
/// Gradients are stored rounded to f32 (6e-8 relative), made with exact constants where a library rounds its own.
const GRADIENT: f64 = 1e-6;

#[test]
fn values_in_f64() -> Result<()> {
    values(DType::F64, F64)
}

#[test]
fn values_in_f32() -> Result<()> {
    values(DType::F32, F32)
}

fn values(dtype: DType, tolerance: f64) -> Result<()> {
    let golden = Golden::load()?;
    ensure!(golden.cases.len() > 100, "only {} cases", golden.cases.len());
    for case in &golden.cases {
        let (pred, target) = golden.images(case, dtype)?;
        let ours = evaluate(case, &pred, &target).with_context(|| case.name.clone())?.to_dtype(DType::F64)?;
        let theirs = golden.result(case, "value")?;
        // A library that rounds its own constants to f32 is met at its own inexactness, and its ideal at the full tolerance.
        let slack = case.inexact.as_ref().map_or(0.0, |inexact| inexact.value);
        let error = largest_difference(&ours, &theirs)?;
        ensure!(error <= tolerance + slack, "{}: {ours} instead of {theirs}, off by {error:e}", case.name);
        if case.inexact.is_some() {
            let error = largest_difference(&ours, &golden.result(case, "ideal")?)?;
            ensure!(error <= tolerance, "{}: off the ideal by {error:e}", case.name);
        }
    }
    Ok(())
}

#[test]
fn gradients_in_f64() -> Result<()> {
    let golden = Golden::load()?;
    let cases: Vec<_> = golden.cases.iter().filter(|case| case.grad_stride.is_some()).collect();
    ensure!(cases.len() > 15, "only {} gradients", cases.len());
    for case in cases {
        let (pred, target) = golden.images(case, DType::F64)?;
        let (pred, target) = (Var::from_tensor(&pred)?, Var::from_tensor(&target)?);
        let gradients = evaluate(case, &pred, &target)?.mean_all()?.backward()?;
        for (name, image) in [("grad_pred", &pred), ("grad_target", &target)] {
            let ours = gradients.get(image).with_context(|| format!("{}: no {name}", case.name))?;
            let ours: Vec<f64> = ours.flatten_all()?.to_vec1()?;
            let sampled: Vec<f64> = ours.iter().copied().step_by(case.grad_stride.unwrap_or(1)).collect();
            let theirs: Vec<f64> = golden.result(case, name)?.to_dtype(DType::F64)?.to_vec1()?;
            let error = relative_l2(&sampled, &theirs)?;
            ensure!(error <= GRADIENT, "{}: {name} is off by {error:e}", case.name);

            let squares: f64 = ours.iter().map(|g| g * g).sum();
            let theirs: Vec<f64> = golden.result(case, &format!("{name}_sums"))?.to_vec1()?;
            let error = (squares / theirs[1] - 1.0).abs();
            ensure!(error <= 2.0 * GRADIENT, "{}: the square of {name} is off by {error:e}", case.name);
        }
    }
    Ok(())
}

#[test]
fn maps() -> Result<()> {
    let golden = Golden::load()?;
    let cases = golden.cases.iter().filter(|case| case.name.contains("_map"));
    let mut count = 0;
    for case in cases {
        let (pred, target) = golden.images(case, DType::F64)?;
        let ours = ssim_map(&pred, &target, &ssim_config(case)?)?;
        let mut theirs = golden.result(case, "map")?;
        for axis in 2..4 {
            // scikit-image returns the part of its map that it leaves out of the mean.
            let (inner, outer) = (ours.dim(axis)?, theirs.dim(axis)?);
            theirs = theirs.narrow(axis, (outer - inner) / 2, inner)?;
        }
        let error = largest_difference(&ours, &theirs)?;
        ensure!(error <= F64, "{}: off by {error:e}", case.name);
        count += 1;
    }
    ensure!(count == 5, "{count} maps");
    Ok(())
}

/// scikit-image leaves the border out of its mean, but not out of its map, for which it mirrors the image symmetrically.
#[test]
fn a_symmetric_border_makes_the_whole_map_of_skimage() -> Result<()> {
    let golden = Golden::load()?;
    let cases = golden.cases.iter().filter(|case| case.name.starts_with("skimage_ssim_map"));
    let mut count = 0;
    for case in cases {
        let (pred, target) = golden.images(case, DType::F64)?;
        let ours = ssim_map(&pred, &target, &ssim_config(case)?.padding(Padding::Symmetric))?;
        let error = largest_difference(&ours, &golden.result(case, "map")?)?;
        ensure!(error <= F64, "{}: off by {error:e}", case.name);
        count += 1;
    }
    ensure!(count == 2, "{count} maps");
    Ok(())
}

#[test]
fn contrast() -> Result<()> {
    let golden = Golden::load()?;
    let case = golden.cases.iter().find(|case| case.word("output") == Some("contrast")).context("no contrast case")?;
    let (pred, target) = golden.images(case, DType::F64)?;
    for padding in [Padding::Reflect, Padding::Symmetric, Padding::Replicate] {
        // Windows that see the border do not count.
        let ours = contrast_per_image(&pred, &target, &ssim_config(case)?.padding(padding))?;
        let error = largest_difference(&ours, &golden.result(case, "contrast")?)?;
        ensure!(error <= F64, "{padding:?}: off by {error:e}");
    }
    Ok(())
}

/// `kornia.losses.MS_SSIMLoss` of kornia 0.9.0 in f64 with its window made in f64 (it makes it in f32: 2e-6 off), by the weights of the
/// paper and by its own.
#[test]
fn mix() -> Result<()> {
    let golden = Golden::load()?;
    let cases = [
        ("formula_a", MixConfig::new(1.0), 0.719787038608464),
        ("formula_b", MixConfig::new(1.0), 0.718616201926883),
        ("formula_a", MixConfig::kornia(), 14.9873533854395),
        ("formula_b", MixConfig::kornia(), 14.9296854472739),
    ];
    for (set, config, theirs) in cases {
        let case = golden.cases.iter().find(|case| case.set == set && case.range == 1.0).context(set)?;
        let loss = MixLoss::new(config)?;
        for (dtype, tolerance) in [(DType::F64, F64), (DType::F32, F32)] {
            let (pred, target) = golden.images(case, dtype)?;
            let ours = loss.forward(&pred, &target)?.to_dtype(DType::F64)?.to_scalar::<f64>()?;
            ensure!((ours / theirs - 1.0).abs() <= tolerance, "{set} in {dtype:?}: {ours} instead of {theirs}");
        }
    }
    Ok(())
}

/// Our answer to a case: one number for each image, or a scalar where the case has one.
fn evaluate(case: &Case, pred: &Tensor, target: &Tensor) -> Result<Tensor> {
    let value = match case.function.as_str() {
        "ssim" | "structural_similarity" => {
            let config = ssim_config(case)?;
            match (case.word("reduction"), case.flag("nonnegative_ssim")) {
                (Some(reduction), _) => ssim(pred, target, &config.reduction(parse_reduction(reduction)?))?,
                (_, Some(true)) => {
                    // Negative channel means count as 0; the map is all it takes.
                    ssim_map(pred, target, &config)?.flatten_from(2)?.mean(D::Minus1)?.relu()?.mean(D::Minus1)?
                }
                _ => ssim_per_image(pred, target, &config)?,
            }
        }
        "ms_ssim" | "multi_scale_ssim" | "ssim_multiscale" => {
            let reduction = case.word("reduction").map_or(Ok(Reduction::None), parse_reduction)?;
            ms_ssim(pred, target, &ms_ssim_config(case)?.reduction(reduction))?
        }
        "psnr" | "peak_signal_noise_ratio" => {
            let config = psnr_config(case)?;
            match (config.clone().build()?, case.word("reduction")) {
                (config, Some("elementwise_mean")) => psnr(pred, target, &config)?,
                (config, Some(_)) => psnr_per_image(pred, target, &config)?,
                (config, None) if case.library == "torchmetrics" => psnr(pred, target, &config)?,
                (config, None) => psnr_per_image(pred, target, &config)?,
            }
        }
        "gmsd" => {
            let config = GmsdConfig::piq(range(case));
            let config = case.number("t").map_or(config.clone(), |t| config.c(t * 255.0 * 255.0));
            gmsd_per_image(pred, target, &config)?
        }
        "vif_p" | "visual_information_fidelity" => {
            // TorchMetrics takes every image for one of 0..=255.
            let torchmetrics = case.library == "torchmetrics";
            let config = if torchmetrics { VifConfig::torchmetrics() } else { VifConfig::new(range(case)) };
            let config = case.number("sigma_n_sq").map_or(config.clone(), |variance| config.sigma_n_sq(variance));
            let reduction = case.word("reduction").map_or(Ok(Reduction::None), parse_reduction)?;
            vif(pred, target, &config.reduction(reduction))?
        }
        other => bail!("unknown function {other}"),
    };
    Ok(value)
}

fn range(case: &Case) -> DataRange {
    match (case.number("data_range"), case.numbers("data_range")) {
        (Some(range), _) => range.into(),
        (None, Some(bounds)) => DataRange::Clamp(bounds[0], bounds[1]),
        (None, None) => DataRange::PerBatch,
    }
}

fn ssim_config(case: &Case) -> Result<SsimConfig> {
    let range = range(case);
    let config = match case.library.as_str() {
        "torchmetrics" => SsimConfig::torchmetrics(range),
        "pytorch_msssim" => SsimConfig::pytorch_msssim(range),
        "piq" => SsimConfig::piq(range).downsample(case.flag("downsample").unwrap_or(true)),
        "skimage" if case.flag("gaussian_weights") == Some(true) => {
            // scikit-image's window follows its sigma.
            let sigma = case.number("sigma").unwrap_or(1.5);
            SsimConfig::skimage_gaussian(range).sigma(sigma).window(2 * (3.5 * sigma + 0.5) as usize + 1)
        }
        "skimage" => SsimConfig::skimage(range),
        "kornia" => SsimConfig::kornia(range, case.number("window_size").context("no window_size")? as usize),
        "opencv_tutorial" => SsimConfig::opencv_tutorial(),
        "tensorflow" => SsimConfig::tensorflow(range),
        "matlab" => SsimConfig::matlab(range),
        "wang2009" => SsimConfig::wang2009(range),
        other => bail!("unknown library {other}"),
    };
    let config = match case.flag("use_sample_covariance") {
        Some(false) => config.covariance(Covariance::Population),
        _ => config,
    };
    let config = case.number("win_size").map_or(config.clone(), |size| config.window(size as usize));
    let config = case.number("k1").map_or(config.clone(), |k1| config.k1(k1));
    let config = case.number("k2").map_or(config.clone(), |k2| config.k2(k2));
    Ok(if case.library == "torchmetrics" { torchmetrics_window(case, config) } else { config })
}

/// TorchMetrics sizes a Gaussian window by sigma and a uniform one by `kernel_size`.
fn torchmetrics_window(case: &Case, config: SsimConfig) -> SsimConfig {
    if case.flag("gaussian_kernel") == Some(false) {
        return match (case.number("kernel_size"), case.numbers("kernel_size")) {
            (_, Some(sizes)) => config.uniform(sizes.into_iter().map(|size| size as usize).collect::<Vec<_>>()),
            (size, _) => config.uniform(size.unwrap_or(11.0) as usize),
        };
    }
    match (case.number("sigma"), case.numbers("sigma")) {
        (Some(sigma), _) => config.sigma(sigma),
        (_, Some(sigmas)) => config.sigma(sigmas),
        _ => config,
    }
}

fn ms_ssim_config(case: &Case) -> Result<MsSsimConfig> {
    let range = range(case);
    let config = match case.library.as_str() {
        "torchmetrics" => MsSsimConfig::torchmetrics(range),
        "pytorch_msssim" => MsSsimConfig::pytorch_msssim(range),
        "piq" => MsSsimConfig::piq(range).odd_sides(OddSides::Replicate),
        "tensorflow" => MsSsimConfig::tensorflow(range),
        other => bail!("unknown library {other}"),
    };
    let config = match case.settings.get("normalize") {
        None => config,
        Some(serde_json::Value::Null) => config.normalize(Normalize::None),
        Some(word) if word == "simple" => config.normalize(Normalize::Simple),
        Some(other) => bail!("unknown normalize {other}"),
    };
    let config = case.number("win_size").map_or(config.clone(), |size| config.window(size as usize));
    let config = case.number("sigma").map_or(config.clone(), |sigma| config.sigma(sigma));
    let betas = ["betas", "weights"].into_iter().find_map(|key| case.numbers(key));
    // piq divides its weights by their sum.
    let piq = case.numbers("scale_weights").map(|w| w.iter().map(|v| v / w.iter().sum::<f64>()).collect::<Vec<_>>());
    Ok(betas.or(piq).map_or(config.clone(), |betas| config.betas(betas)))
}

fn psnr_config(case: &Case) -> Result<PsnrConfig> {
    let range = range(case);
    let config = match case.library.as_str() {
        "torchmetrics" => PsnrConfig::torchmetrics(range),
        "piq" => PsnrConfig::piq(range),
        "skimage" => PsnrConfig::skimage(range),
        other => bail!("unknown library {other}"),
    };
    let config = case.number("base").map_or(config.clone(), |base| config.base(base));
    Ok(if case.settings.contains_key("dim") { config.pooling(Pooling::PerImage) } else { config })
}

fn parse_reduction(word: &str) -> Result<Reduction> {
    match word {
        "elementwise_mean" | "mean" => Ok(Reduction::Mean),
        "sum" => Ok(Reduction::Sum),
        "none" => Ok(Reduction::None),
        other => bail!("unknown reduction {other}"),
    }
}

fn largest_difference(ours: &Tensor, theirs: &Tensor) -> Result<f64> {
    ensure!(ours.dims() == theirs.dims(), "{:?} instead of {:?}", ours.dims(), theirs.dims());
    let pairs = ours.flatten_all()?.to_vec1::<f64>()?.into_iter().zip(theirs.flatten_all()?.to_vec1::<f64>()?);
    // `f64::max` would drop a NaN, which must fail a test.
    let larger = |a: f64, b: f64| if a > b { a } else { b };
    Ok(pairs.map(|(a, b)| if a == b { 0.0 } else { (a - b).abs() }).fold(0.0, larger))
}

fn relative_l2(ours: &[f64], theirs: &[f64]) -> Result<f64> {
    ensure!(ours.len() == theirs.len(), "{} elements instead of {}", ours.len(), theirs.len());
    let norm: f64 = theirs.iter().map(|g| g * g).sum();
    let error: f64 = ours.iter().zip(theirs).map(|(a, b)| (a - b).powi(2)).sum();
    Ok((error / norm).sqrt())
}
