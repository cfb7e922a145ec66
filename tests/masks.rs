//! Metrics of masked images: the numbers of the functions, whether or not members of a collection share their passes.

use anyhow::{Context, Result, ensure};
use candle_core::{DType, Device, Tensor};
use metrics_core::{Metric, MetricCollection, Samples};
use metrics_image::{
    ErrorConfig, Gmsd, GmsdConfig, Mae, MsSsim, MsSsimConfig, Mse, NonFinite, Pooling, Psnr, PsnrConfig, Ssim,
    SsimConfig, Target, Vif, VifConfig, gmsd, mae, ms_ssim, mse, psnr, ssim, vif,
};
use tests::images::textured;

fn scales() -> MsSsimConfig {
    MsSsimConfig::new(1.0).betas([0.4, 0.6])
}

fn collection(policy: NonFinite) -> metrics_core::Result<MetricCollection> {
    MetricCollection::new()
        .with("psnr", Psnr::new(PsnrConfig::new(1.0).non_finite(policy))?)?
        .with("mean psnr", Psnr::new(PsnrConfig::new(1.0).pooling(Pooling::PerImage).non_finite(policy))?)?
        .with("ssim", Ssim::new(SsimConfig::new(1.0).non_finite(policy))?)?
        .with("ms_ssim", MsSsim::new(scales().non_finite(policy))?)?
        .with("mae", Mae::new(ErrorConfig::new().non_finite(policy))?)?
        .with("mse", Mse::new(ErrorConfig::new().non_finite(policy))?)?
        .with("gmsd", Gmsd::new(GmsdConfig::new(1.0).non_finite(policy))?)?
        .with("vif", Vif::new(VifConfig::new(1.0).non_finite(policy))?)
}

fn images() -> Result<[Tensor; 3]> {
    let shape = &[3, 3, 46, 53];
    let weights = textured(&[3, 1, 46, 53], 7, DType::F64)?;
    let mask = (weights.gt(0.45)?.to_dtype(DType::F64)? * weights)?;
    Ok([textured(shape, 1, DType::F64)?, textured(shape, 2, DType::F64)?, mask])
}

#[test]
fn metrics_have_the_numbers_of_the_functions() -> Result<()> {
    let [x, y, mask] = images()?;
    let samples = Samples::new(&x, &y).mask(&mask);
    let mut together = collection(NonFinite::Propagate)?;
    ensure!(together.plan().to_string().contains("ssim + ms_ssim at 2 scales"), "{}", together.plan());
    together.update_with(&samples)?;
    let report = together.compute()?;
    let mut other = collection(NonFinite::Propagate)?;
    other.update_with(&Samples::new(&x, &y))?;
    let unmasked = other.compute()?;
    let target = || Target::new(&y).mask(&mask);
    let per_image = PsnrConfig::new(1.0).pooling(Pooling::PerImage);
    for (name, want) in [
        ("psnr", psnr(&x, target(), &PsnrConfig::new(1.0))?),
        ("mean psnr", psnr(&x, target(), &per_image)?),
        ("ssim", ssim(&x, target(), &SsimConfig::new(1.0))?),
        ("ms_ssim", ms_ssim(&x, target(), &scales())?),
        ("mae", mae(&x, target(), &ErrorConfig::new())?),
        ("mse", mse(&x, target(), &ErrorConfig::new())?),
        ("gmsd", gmsd(&x, target(), &GmsdConfig::new(1.0))?),
        ("vif", vif(&x, target(), &VifConfig::new(1.0))?),
    ] {
        let (got, want) = (report.scalar(name).context(name)?, want.to_scalar::<f64>()?);
        ensure!((got - want).abs() <= 1e-13 * want.abs(), "{name}: {got} instead of {want}");
        ensure!(unmasked.scalar(name).context(name)? != got, "{name} takes no notice of the mask");
    }
    // Alone, without anything shared: the same bits.
    let mut alone = Psnr::new(PsnrConfig::new(1.0))?;
    alone.update_with(&samples)?;
    ensure!(alone.compute()?.scalar() == report.scalar("psnr"));
    let mut alone = Mae::new(ErrorConfig::new())?;
    alone.update_with(&samples)?;
    ensure!(alone.compute()?.scalar() == report.scalar("mae"));
    Ok(())
}

#[test]
fn images_without_weight_follow_the_policy() -> Result<()> {
    let [x, y, mask] = images()?;
    let none = Tensor::zeros((1, 1, 46, 53), DType::F64, &Device::Cpu)?;
    let mask = Tensor::cat(&[mask.narrow(0, 0, 2)?, none], 0)?;
    let mut skipping = collection(NonFinite::Skip)?;
    skipping.update_with(&Samples::new(&x, &y).mask(&mask))?;
    let two = |tensor: &Tensor| tensor.narrow(0, 0, 2);
    let mut without = collection(NonFinite::Propagate)?;
    without.update_with(&Samples::new(&two(&x)?, &two(&y)?).mask(&two(&mask)?))?;
    let (skipping, without) = (skipping.compute()?, without.compute()?);
    for name in ["psnr", "mean psnr", "ssim", "ms_ssim", "mae", "mse", "gmsd", "vif"] {
        ensure!(skipping.scalar(name) == without.scalar(name), "{name}");
    }
    let mut propagating = collection(NonFinite::Propagate)?;
    propagating.update_with(&Samples::new(&x, &y).mask(&mask))?;
    let report = propagating.compute()?;
    ensure!(["psnr", "ssim", "mae", "vif"].iter().all(|name| report.scalar(name).is_some_and(f64::is_nan)));
    ensure!(collection(NonFinite::Error)?.update_with(&Samples::new(&x, &y).mask(&mask)).is_err());
    Ok(())
}
