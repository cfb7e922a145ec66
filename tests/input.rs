//! Bad input gets an error that names the argument, what it got and what was expected.

use anyhow::{Result, ensure};
use candle_core::{DType, Device, Tensor};
use metrics_core::{Metric, MetricCollection};
use metrics_image::{
    Channels, DataRange, ErrorConfig, L1SsimLoss, MsSsimConfig, MsSsimLoss, MseFloor, Padding, Pooling, Psnr,
    PsnrConfig, PsnrLoss, Reduction, Ssim, SsimConfig, SsimLoss, contrast_per_image, mae, ms_ssim, psnr, ssim,
    ssim_map,
};

fn zeros(shape: &[usize]) -> Result<Tensor> {
    Ok(Tensor::zeros(shape, DType::F32, &Device::Cpu)?)
}

#[track_caller]
fn message<T>(result: metrics_core::Result<T>) -> String {
    match result {
        Ok(_) => panic!("no error"),
        Err(error) => error.to_string(),
    }
}

#[test]
fn shapes_dtypes_and_ranks() -> Result<()> {
    let config = SsimConfig::new(1.0);
    let of = |pred: &Tensor, target: &Tensor| message(ssim(pred, target, &config));
    let image = zeros(&[1, 3, 16, 16])?;
    assert_eq!(
        of(&zeros(&[1, 3, 8, 8])?, &zeros(&[1, 3, 8, 9])?),
        "ssim: `pred` is [1, 3, 8, 8] but `target` is [1, 3, 8, 9]"
    );
    assert_eq!(of(&image, &image.to_dtype(DType::F64)?), "ssim: `pred` is F32 but `target` is F64");
    assert_eq!(
        of(&image.to_dtype(DType::U32)?, &image.to_dtype(DType::U32)?),
        "ssim: `pred` is U32, expected u8, f16, bf16, f32 or f64"
    );
    let rank3 = of(&zeros(&[3, 16, 16])?, &zeros(&[3, 16, 16])?);
    assert_eq!(
        rank3,
        "ssim: `pred` is [3, 16, 16], expected [N, C, H, W] or [N, C, D, H, W]; make one image a batch with `unsqueeze(0)`, \
         or a batch of grey images [N, 1, H, W] with `unsqueeze(1)`"
    );
    let rank2 = of(&zeros(&[16, 16])?, &zeros(&[16, 16])?);
    assert_eq!(rank2, "ssim: `pred` is [16, 16], expected [N, C, H, W] or [N, C, D, H, W]");
    let empty = of(&zeros(&[0, 3, 16, 16])?, &zeros(&[0, 3, 16, 16])?);
    assert_eq!(empty, "ssim: `pred` is an empty batch, [0, 3, 16, 16]; expected at least one image");
    let flat = of(&zeros(&[1, 3, 0, 16])?, &zeros(&[1, 3, 0, 16])?);
    assert_eq!(flat, "ssim: `pred` is [1, 3, 0, 16], expected every dimension to be at least 1");
    Ok(())
}

#[test]
fn every_entry_checks_its_input() -> Result<()> {
    let (a, b) = (zeros(&[1, 3, 200, 200])?, zeros(&[1, 3, 200, 201])?);
    let (ssim_config, ms_config, psnr_config) = (SsimConfig::new(1.0), MsSsimConfig::new(1.0), PsnrConfig::new(1.0));
    let messages = [
        message(psnr(&a, &b, &psnr_config)),
        message(ms_ssim(&a, &b, &ms_config)),
        message(ssim_map(&a, &b, &ssim_config)),
        message(SsimLoss::new(ssim_config.clone())?.forward(&a, &b)),
        message(MsSsimLoss::new(ms_config)?.forward(&a, &b)),
        message(PsnrLoss::new(psnr_config.clone())?.forward(&a, &b)),
        message(L1SsimLoss::new(ssim_config.clone())?.forward(&a, &b)),
        message(Ssim::new(ssim_config)?.update(&a, &b)),
        message(Psnr::new(psnr_config)?.forward(&a, &b)),
    ];
    for message in messages {
        ensure!(message.ends_with("`pred` is [1, 3, 200, 200] but `target` is [1, 3, 200, 201]"), "{message}");
    }
    Ok(())
}

#[test]
fn sides_too_short() -> Result<()> {
    let of = |shape: &[usize], config: &SsimConfig| -> Result<String> {
        let image = zeros(shape)?;
        Ok(message(ssim(&image, &image, config)))
    };
    assert_eq!(
        of(&[1, 1, 5, 16], &SsimConfig::new(1.0))?,
        "ssim: spatial axis 0 of `pred` has 5 pixels (sides [5, 16]), expected at least 6 for a window of 11 with a reflected border"
    );
    assert_eq!(
        of(&[1, 1, 16, 10], &SsimConfig::new(1.0).padding(Padding::Valid))?,
        "ssim: spatial axis 1 of `pred` has 10 pixels (sides [16, 10]), expected at least 11 for a window of 11 inside the image"
    );
    assert_eq!(
        of(&[1, 1, 16, 4], &SsimConfig::new(1.0).padding(Padding::Symmetric))?,
        "ssim: spatial axis 1 of `pred` has 4 pixels (sides [16, 4]), expected at least 5 for a window of 11 with a symmetric border"
    );
    ensure!(ssim(&zeros(&[1, 1, 6, 6])?, &zeros(&[1, 1, 6, 6])?, &SsimConfig::new(1.0)).is_ok());
    ensure!(ssim(&zeros(&[1, 1, 1, 1])?, &zeros(&[1, 1, 1, 1])?, &SsimConfig::fused_ssim()).is_ok());
    let image = zeros(&[1, 1, 10, 16])?;
    let contrast = message(contrast_per_image(&image, &image, &SsimConfig::new(1.0)));
    ensure!(contrast.contains("at least 11"), "{contrast}");

    let cropped = of(&[1, 1, 12, 16], &SsimConfig::new(1.0).crop_border(4))?;
    ensure!(cropped.contains("`pred` has 4 pixels after cropping (sides [4, 8]), expected"), "{cropped}");
    let pooled = of(&[1, 1, 640, 640], &SsimConfig::piq(1.0).window(301).crop_border(20))?;
    ensure!(pooled.contains("has 300 pixels after cropping and downsampling (sides [300, 300])"), "{pooled}");
    let image = zeros(&[1, 1, 400, 400])?;
    let pooled = message(ms_ssim(&image, &image, &MsSsimConfig::new(1.0).crop_border(113)));
    ensure!(pooled.contains("has 174 pixels after cropping (sides"), "{pooled}");

    let short = zeros(&[1, 1, 175, 200])?;
    assert_eq!(
        message(ms_ssim(&short, &short, &MsSsimConfig::new(1.0))),
        "ms_ssim: spatial axis 0 of `pred` has 175 pixels (sides [175, 200]), expected at least 176 for 5 scales and a window of 11; \
         use fewer `betas` or a smaller window for smaller images"
    );
    let short = zeros(&[1, 1, 161, 160])?;
    let padded = message(ms_ssim(&short, &short, &MsSsimConfig::piq(1.0)));
    ensure!(padded.contains("axis 1") && padded.contains("at least 161"), "{padded}");
    Ok(())
}

#[test]
fn settings_that_do_not_fit_the_images() -> Result<()> {
    let image = zeros(&[1, 1, 16, 16])?;
    let of = |config: SsimConfig| message(ssim(&image, &image, &config));
    assert_eq!(
        of(SsimConfig::new(1.0).sigma([1.5, 1.5, 1.5])),
        "ssim: `sigma` has 3 values but the images have 2 spatial axes"
    );
    assert_eq!(
        of(SsimConfig::new(1.0).channels(Channels::Luma)),
        "ssim: `channels` Luma needs 3 channels (R, G, B), but `pred` has 1"
    );
    assert_eq!(
        of(SsimConfig::new(1.0).crop_border(8)),
        "ssim: `crop_border` is 8, which leaves nothing of a side of 16 (`pred` is [1, 1, 16, 16])"
    );
    assert_eq!(
        of(SsimConfig::new(1.0).crop_border(1 << 63)),
        "ssim: `crop_border` is 9223372036854775808, which leaves nothing of a side of 16 (`pred` is [1, 1, 16, 16])"
    );
    // The longest windows are refused for the image at once, not after minutes of work.
    let long = of(SsimConfig::new(1.0).sigma(9362.0));
    ensure!(long.contains("expected at least 32768 for a window of 65535"), "{long}");
    Ok(())
}

#[test]
fn data_ranges_that_the_dtype_does_not_hold() -> Result<()> {
    let image = zeros(&[1, 1, 24, 24])?;
    let betas = |range: f64| MsSsimConfig::new(range).betas([0.5, 0.5]);
    for (dtype, held, beyond, expected) in [
        (DType::F32, [1e-12, 1e12], [9e-13, 1e-25, 2e12, 1e20], "1e-12 to 1e12 for images computed in F32"),
        (DType::BF16, [1e-12, 1e12], [9e-13, 1e-25, 2e12, 1e20], "1e-12 to 1e12 for images computed in F32"),
        // Bytes are not in a range of 1.
        (DType::U8, [1.5, 1e12], [9e-13, 1e-25, 2e12, 1e20], "1e-12 to 1e12 for images computed in F32"),
        (DType::F64, [1e-100, 1e100], [9e-101, 1e-200, 2e100, 1e160], "1e-100 to 1e100 for images computed in F64"),
    ] {
        let image = image.to_dtype(dtype)?;
        for range in held {
            ensure!(ssim(&image, &image, &SsimConfig::new(range)).is_ok());
            ensure!(psnr(&image, &image, &PsnrConfig::new((0.0, range))).is_ok());
        }
        for range in beyond {
            let text = |op: &str| format!("{op}: `data_range` spans {range:e}, expected {expected}");
            assert_eq!(message(ssim(&image, &image, &SsimConfig::new(range))), text("ssim"));
            assert_eq!(message(ssim_map(&image, &image, &SsimConfig::new((0.0, range)))), text("ssim_map"));
            assert_eq!(message(ms_ssim(&image, &image, &betas(range))), text("ms_ssim"));
            assert_eq!(message(psnr(&image, &image, &PsnrConfig::new(range))), text("psnr"));
            // What does not refer to a range may be clamped to any.
            ensure!(
                mae(&image, &image, &ErrorConfig::new().range((0.0, range)))?
                    .to_dtype(DType::F64)?
                    .to_scalar::<f64>()?
                    == 0.0
            );
            // In a collection, where PSNR would ride on the pass of another.
            let mut metrics = MetricCollection::new()
                .with("ssim", Ssim::new(SsimConfig::new(255.0))?)?
                .with("psnr", Psnr::new(PsnrConfig::new(range))?)?;
            assert_eq!(message(metrics.update(&image, &image)), format!("member `psnr`: {}", text("psnr")));
        }
    }
    Ok(())
}

#[test]
fn configurations_are_checked_when_built() {
    let ssim = |config: SsimConfig| message(config.build());
    let range = |got: &str| format!("SsimConfig: `data_range` must be positive and finite, got {got}");
    assert_eq!(ssim(SsimConfig::new(0.0)), range("0"));
    assert_eq!(ssim(SsimConfig::new(-1.0)), range("-1"));
    assert_eq!(ssim(SsimConfig::new(f64::NAN)), range("NaN"));
    assert_eq!(
        ssim(SsimConfig::new((1.0, 0.0))),
        "SsimConfig: `data_range` must be (low, high) with low < high, both finite, got (1, 0)"
    );
    assert_eq!(
        ssim(SsimConfig::new(1.0).window(10)),
        "SsimConfig: `window` must be odd, so that it has a centre, got 10"
    );
    assert_eq!(
        ssim(SsimConfig::new(1.0).uniform([7, 0])),
        "SsimConfig: `window` must be odd, so that it has a centre, got 0"
    );
    assert_eq!(ssim(SsimConfig::new(1.0).sigma(0.0)), "SsimConfig: `sigma` must be positive and finite, got 0");
    assert_eq!(
        ssim(SsimConfig::new(1.0).sigma([1.0, -2.0])),
        "SsimConfig: `sigma` must be positive and finite, got -2"
    );
    for (sigma, got) in [(9363.0, "9.363e3"), (1e8, "1e8"), (1e300, "1e300")] {
        assert_eq!(
            ssim(SsimConfig::new(1.0).sigma([1.5, sigma])),
            format!("SsimConfig: `sigma` must make a window of at most 65535 pixels (7 sigma and 1), got {got}")
        );
    }
    for side in [65537, 1_000_000_000_001, usize::MAX] {
        let expected = format!("SsimConfig: `window` must be at most 65535 pixels a side, got {side}");
        assert_eq!(ssim(SsimConfig::new(1.0).uniform(side)), expected);
        assert_eq!(ssim(SsimConfig::new(1.0).window([11, side])), expected);
    }
    assert_eq!(ssim(SsimConfig::new(1.0).k1(-0.1)), "SsimConfig: `k1` must be finite and not negative, got -0.1");
    assert_eq!(
        ssim(SsimConfig::new(DataRange::PerImage).channels(Channels::Luma)),
        "SsimConfig: `channels` Luma needs a `data_range` of Value or Clamp to place black, got PerImage"
    );
    assert_eq!(
        message(MsSsimConfig::new(1.0).betas([]).build()),
        "MsSsimConfig: `betas` must name at least one scale, got none"
    );
    assert_eq!(
        message(MsSsimConfig::new(1.0).betas([0.5, -0.5]).build()),
        "MsSsimConfig: `betas` must be finite and not negative, got -0.5"
    );
    let replicates = |what: &str| {
        format!("{what}: `padding` Replicate is for SSIM alone, expected Reflect, Symmetric, Zero or Valid")
    };
    let replicated = MsSsimConfig::new(1.0).padding(Padding::Replicate);
    assert_eq!(message(replicated.build()), replicates("MsSsimConfig"));
    assert_eq!(message(L1SsimLoss::new(SsimConfig::matlab(1.0))), replicates("L1SsimLoss"));
    assert_eq!(message(PsnrConfig::new(1.0).base(1.0).build()), "PsnrConfig: `base` must be finite and above 1, got 1");
    assert_eq!(
        message(PsnrConfig::new(1.0).floor(MseFloor::Add(-1.0)).build()),
        "PsnrConfig: `floor` must be finite and not negative, got -1"
    );
    for (cap, got) in [(f64::NAN, "NaN"), (f64::INFINITY, "inf"), (f64::NEG_INFINITY, "-inf")] {
        assert_eq!(
            message(PsnrConfig::new(1.0).cap(cap).build()),
            format!("PsnrConfig: `cap` must be finite, got {got}")
        );
    }
    // What was not built is checked by what takes it.
    assert_eq!(message(Ssim::new(SsimConfig::new(0.0))), range("0"));
    assert_eq!(message(SsimLoss::new(SsimConfig::new(0.0))), range("0"));
    assert_eq!(
        message(SsimLoss::new(SsimConfig::new(1.0).reduction(Reduction::Summary))),
        "SsimLoss: `reduction` must be Mean, Sum or None for a loss, got Summary"
    );
    let summary = |pooling| PsnrLoss::new(PsnrConfig::new(1.0).pooling(pooling).reduction(Reduction::Summary));
    assert!(message(summary(Pooling::PerImage)).ends_with("for a loss, got Summary"));
    assert!(summary(Pooling::Pooled).is_ok(), "the reduction is without effect");
}

#[test]
fn lambda_is_a_share() -> Result<()> {
    let loss = L1SsimLoss::new(SsimConfig::new(1.0))?;
    assert_eq!(message(loss.lambda(1.5)), "L1SsimLoss: `lambda` must be in 0..=1, got 1.5");
    Ok(())
}

#[test]
fn compute_before_update_and_after_a_failed_one() -> Result<()> {
    let mut metric = Ssim::new(SsimConfig::new(1.0))?;
    assert_eq!(message(metric.compute()), "ssim: there is no data yet: no sample that counts was added");
    let (good, bad) = (zeros(&[1, 1, 16, 16])?, zeros(&[1, 1, 16, 17])?);
    ensure!(metric.update(&good, &bad).is_err() && metric.updates() == 0);
    metric.update(&good, &good)?;
    ensure!(metric.forward(&good, &bad).is_err() && metric.updates() == 1);
    ensure!(metric.compute()?.scalar() == Some(1.0));
    Ok(())
}
