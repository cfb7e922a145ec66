//! Members of a collection share their passes over the pixels, and nothing else changes.

use anyhow::{Context, Result, ensure};
use candle_core::{DType, Tensor, Var};
use metrics_core::{Accumulator, Formula, Metric, MetricCollection, Running};
use metrics_detach::{GraphStats, eval_scope};
use metrics_image::{
    Channels, DataRange, ErrorConfig, L1SsimLoss, Mae, MsSsim, MsSsimConfig, Mse, Padding, Pooling, Psnr, PsnrConfig,
    Reduction, Ssim, SsimConfig, mae, ssim,
};
use tests::images::textured;

fn pair() -> Result<(Tensor, Tensor)> {
    Ok((textured((2, 3, 40, 300), 1, DType::F32)?, textured((2, 3, 40, 300), 2, DType::F32)?))
}

/// Metrics of every kind, some of which can share and some of which must not.
fn every_metric() -> Result<Vec<(&'static str, Box<dyn Metric>)>> {
    let scales = || MsSsimConfig::new(1.0).betas([0.4, 0.6]);
    Ok(vec![
        ("psnr", Box::new(Psnr::new(PsnrConfig::new(1.0))?)),
        ("ssim", Box::new(Ssim::new(SsimConfig::new(1.0))?)),
        ("ms_ssim", Box::new(MsSsim::new(scales())?)),
        ("mae", Box::new(Mae::new(ErrorConfig::new())?)),
        ("mse", Box::new(Mse::new(ErrorConfig::new())?)),
        ("ssim of each", Box::new(Ssim::new(SsimConfig::new(1.0).reduction(Reduction::None))?)),
        ("psnr of each", Box::new(Psnr::new(PsnrConfig::new(255.0).pooling(Pooling::PerImage))?)),
        ("psnr of its range", Box::new(Psnr::new(PsnrConfig::new(DataRange::PerImage))?)),
        ("recent ssim", Box::new(Running::new(Ssim::new(SsimConfig::new(1.0))?, 2)?)),
        ("wide ssim", Box::new(Ssim::new(SsimConfig::new(1.0).sigma(2.5))?)),
        ("ssim of range 2", Box::new(Ssim::new(SsimConfig::new(2.0))?)),
        ("valid ssim", Box::new(Ssim::new(SsimConfig::new(1.0).padding(Padding::Valid))?)),
        ("clamped ssim", Box::new(Ssim::new(SsimConfig::new((0.2, 0.8)))?)),
        ("clamped mae", Box::new(Mae::new(ErrorConfig::new().range((0.2, 0.8)))?)),
        ("luma psnr", Box::new(Psnr::new(PsnrConfig::new(1.0).channels(Channels::Luma).crop_border(4))?)),
        ("three scales", Box::new(MsSsim::new(MsSsimConfig::new(1.0).betas([0.2, 0.3, 0.5]).window(5))?)),
        ("small ssim", Box::new(Ssim::new(SsimConfig::piq(1.0))?)),
        ("extended ssim", Box::new(Ssim::new(SsimConfig::matlab(1.0))?)),
    ])
}

fn collect(metrics: impl IntoIterator<Item = (&'static str, Box<dyn Metric>)>) -> Result<MetricCollection> {
    let mut collection = MetricCollection::new();
    for (name, metric) in metrics {
        collection.insert(name, metric)?;
    }
    Ok(collection)
}

#[test]
fn a_member_has_the_bits_it_has_alone_in_any_order() -> Result<()> {
    let (pred, target) = pair()?;
    let metrics = every_metric()?;
    let mut alone = Vec::new();
    for (name, metric) in &metrics {
        let mut metric = metric.clone();
        let value = metric.forward(&pred, &target)?.to_dtype(DType::F64)?.flatten_all()?.to_vec1::<f64>()?;
        metric.update(&target, &pred)?;
        alone.push((*name, value, metric.compute()?));
    }
    for turn in 0..metrics.len() {
        for backwards in [false, true] {
            let mut order = metrics.clone();
            order.rotate_left(turn);
            if backwards {
                order.reverse();
            }
            let mut collection = collect(order)?;
            let values = collection.forward(&pred, &target)?;
            eval_scope(|| collection.update(&target, &pred))?;
            let report = collection.compute()?;
            for (name, value, whole) in &alone {
                let got =
                    values.get(name).context("no value")?.to_dtype(DType::F64)?.flatten_all()?.to_vec1::<f64>()?;
                ensure!(got == *value, "{name} gives {got:?} together, {value:?} alone");
                ensure!(report.get(name) == Some(whole), "{name} is {:?} together, {whole:?} alone", report.get(name));
            }
        }
    }
    Ok(())
}

#[test]
fn the_plan_says_who_shares() -> Result<()> {
    let four = |order: [usize; 4]| -> Result<String> {
        let metrics = every_metric()?;
        let plan = collect(order.map(|at| metrics[at].clone()))?.plan();
        ensure!(plan.passes().len() == 1, "{plan}");
        Ok(plan.passes()[0].pass.clone())
    };
    let all = "ssim + ms_ssim at 2 scales + squared errors + absolute errors";
    for order in [[0, 1, 2, 3], [3, 2, 1, 0], [1, 0, 3, 2], [2, 3, 0, 1]] {
        ensure!(four(order)? == all, "{order:?}: {}", four(order)?);
    }
    let plan = collect(every_metric()?)?.plan();
    let members = |pass: usize| plan.passes()[pass].members.join(", ");
    ensure!(
        members(0) == "psnr, ssim, ms_ssim, mae, mse, ssim of each, psnr of each, psnr of its range, recent ssim",
        "{plan}"
    );
    let others: Vec<_> = (1..plan.passes().len()).map(members).collect();
    let expected = [
        "wide ssim",
        "ssim of range 2",
        "valid ssim",
        "clamped ssim, clamped mae",
        "luma psnr",
        "three scales",
        "small ssim",
        "extended ssim",
    ];
    ensure!(others == expected, "{plan}");

    let ssim = || -> Result<Accumulator<Formula>> { Ok(Formula::of(Ssim::new(SsimConfig::new(1.0))?)) };
    let plan = MetricCollection::new().with("ratio", ssim()? / ssim()?)?.plan();
    ensure!(plan.passes().len() == 1 && plan.passes()[0].members == ["ratio"], "{plan}");
    Ok(())
}

#[test]
fn members_together_have_the_gradient_of_their_sum() -> Result<()> {
    let (pred, target) = pair()?;
    let metrics: Vec<_> = every_metric()?.into_iter().take(5).collect();
    let gradient = |outputs: &[Tensor], var: &Var| -> Result<Vec<f32>> {
        let mut sum = outputs[0].clone();
        for (weight, output) in (2..).zip(&outputs[1..]) {
            sum = (sum + (output * f64::from(weight))?)?;
        }
        Ok(sum.backward()?.get(var).context("no gradient")?.flatten_all()?.to_vec1()?)
    };
    let var = Var::from_tensor(&pred)?;
    let values = collect(metrics.clone())?.forward(&var, &target)?;
    let together: Vec<_> = values.iter().map(|(_, value)| value.clone()).collect();
    let mut apart = Vec::new();
    for (_, metric) in &metrics {
        apart.push(metric.clone().forward(&var, &target)?);
    }
    let (together, apart) = (gradient(&together, &var)?, gradient(&apart, &var)?);
    let norm: f32 = apart.iter().map(|g| g * g).sum::<f32>().sqrt();
    let far: f32 = together.iter().zip(&apart).map(|(a, b)| (a - b).powi(2)).sum::<f32>().sqrt();
    // Five gradients rounded to f32 and added, against one that is rounded once.
    ensure!(far <= 1e-6 * norm, "{far} of {norm}");
    Ok(())
}

#[test]
fn what_a_member_refuses_is_said_in_its_own_words_and_changes_nothing() -> Result<()> {
    let metrics = every_metric()?;
    let mut collection = collect([0, 1, 2].map(|at| metrics[at].clone()))?;
    let (pred, target) = pair()?;
    collection.update(&pred, &target)?;
    let before = collection.compute()?;

    let small = textured((1, 3, 16, 16), 1, DType::F32)?;
    let error = collection.update(&small, &small).expect_err("too small for two scales");
    ensure!(error.to_string().starts_with("member `ms_ssim`: ms_ssim: spatial axis 0"), "{error}");
    let error = collection.update(&pred, &small).expect_err("other shapes");
    ensure!(error.to_string().starts_with("member `psnr`: psnr: `pred` is [2, 3, 40, 300] but"), "{error}");
    ensure!(collection.compute()? == before);

    // Those that do fit are measured, though another that shared their pass is not.
    let mut fitting = collect([0, 1].map(|at| metrics[at].clone()))?;
    fitting.update(&small, &small)?;
    ensure!(fitting.compute()?.scalar("ssim") == Some(1.0));
    Ok(())
}

#[test]
fn a_weighted_sum_of_losses_is_one_operation() -> Result<()> {
    let (pred, target) = pair()?;
    let var = Var::from_tensor(&pred)?;
    let (config, errors) = (SsimConfig::new(1.0), ErrorConfig::new());
    let one = L1SsimLoss::new(config.clone())?.forward(&var, &target)?;
    let l1 = (mae(&var, &target, &errors)? * 0.8)?;
    let two = (l1 + ssim(&var, &target, &config)?.affine(-0.2, 0.2)?)?;
    let (a, b) = (one.to_scalar::<f32>()?, two.to_scalar::<f32>()?);
    // Both sums are rounded to f32 in different places.
    ensure!((a - b).abs() <= 4.0 * f32::EPSILON * b.abs(), "{a} and {b}");
    ensure!(GraphStats::of(&one).nodes < GraphStats::of(&two).nodes);
    let gradient = |loss: &Tensor| -> Result<Vec<f32>> {
        Ok(loss.backward()?.get(&var).context("no gradient")?.flatten_all()?.to_vec1()?)
    };
    let (one, two) = (gradient(&one)?, gradient(&two)?);
    let size = two.iter().fold(0f32, |size, g| size.max(g.abs()));
    ensure!(one.iter().zip(&two).all(|(a, b)| (a - b).abs() <= 1e-6 * size));
    Ok(())
}
