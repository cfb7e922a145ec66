//! Mixed losses: equal to the sum of their parts, in value, gradient and each term; backgrounds; what is refused.

use anyhow::{Context, Result, ensure};
use candle_core::{DType, Device, Tensor, Var};
use metrics_image::{
    Background, Channels, GmsdConfig, ImageLoss, L1SsimLoss, Loss, MsSsimConfig, PsnrConfig, PsnrLoss, Reduction,
    SsimConfig, Target, VifConfig, gmsd, ms_ssim, ssim, vif,
};
use tests::images::textured;

type Value<'a> = dyn Fn(&Tensor, &Tensor) -> metrics_core::Result<Tensor> + 'a;

fn list(tensor: &Tensor) -> Result<Vec<f64>> {
    Ok(tensor.to_dtype(DType::F64)?.flatten_all()?.to_vec1()?)
}

/// The sum of a value and its gradients with respect to both images.
fn with_gradients(x: &Tensor, y: &Tensor, value: &Value) -> Result<(f64, [Tensor; 2])> {
    let (x, y) = (Var::from_tensor(x)?, Var::from_tensor(y)?);
    let value = value(&x, &y)?.sum_all()?;
    let store = value.backward()?;
    let get = |var: &Var| store.get(var).cloned().context("no gradient");
    Ok((list(&value)?[0], [get(&x)?, get(&y)?]))
}

/// Two ways to compute the same, in f64 and in f32.
fn same(what: &str, x: &Tensor, y: &Tensor, one: &Value, other: &Value) -> Result<()> {
    for (dtype, tolerance) in [(DType::F64, 1e-10), (DType::F32, 2e-6)] {
        let (x, y) = (x.to_dtype(dtype)?, y.to_dtype(dtype)?);
        let (value, gradients) = with_gradients(&x, &y, one)?;
        let (want, wanted) = with_gradients(&x, &y, other)?;
        ensure!((value - want).abs() <= tolerance * want.abs().max(1.0), "{what} in {dtype:?}: {value}, not {want}");
        for (gradient, wanted) in gradients.iter().zip(&wanted) {
            let (gradient, wanted) = (list(gradient)?, list(wanted)?);
            let norm: f64 = wanted.iter().map(|slope| slope * slope).sum::<f64>().sqrt();
            let off: f64 = gradient.iter().zip(&wanted).map(|(a, b)| (a - b).powi(2)).sum::<f64>().sqrt();
            // Sums of gradients in f32 are rounded once more each.
            ensure!(
                off <= 10.0 * tolerance * norm && norm > 0.0,
                "{what} in {dtype:?}: gradient off by {:e}",
                off / norm
            );
        }
    }
    Ok(())
}

/// `Σ m √(e² + ε²) / Σ m` and the like, by Candle's operations.
fn errors(x: &Tensor, y: &Tensor, of: impl Fn(&Tensor) -> candle_core::Result<Tensor>) -> metrics_core::Result<Tensor> {
    Ok(of(&(x - y)?)?.mean_all()?)
}

fn l1(x: &Tensor, y: &Tensor) -> metrics_core::Result<Tensor> {
    errors(x, y, |error| error * error.detach().sign()?)
}

#[test]
fn mixtures_are_the_sums_of_their_parts() -> Result<()> {
    let shape = [2, 3, 46, 53];
    let (x, y) = (textured(&shape, 1, DType::F64)?, textured(&shape, 2, DType::F64)?);
    let (window, small) = (SsimConfig::new(1.0), MsSsimConfig::new(1.0).betas([0.4, 0.6]));
    let less = |score: Tensor, weight: f64| score.affine(-weight, weight);
    let loss = Loss::new(1.0).l1(0.8).ssim(0.2).mse(3.0).charbonnier(0.5, 1e-3);
    same("one walk", &x, &y, &|x, y| loss.forward(x, y), &|x, y| {
        let ssim = less(ssim(x, y, &window)?, 0.2)?;
        let mse = (errors(x, y, Tensor::sqr)? * 3.0)?;
        let charbonnier = (errors(x, y, |error| (error.sqr()? + 1e-6)?.sqrt())? * 0.5)?;
        Ok(((((l1(x, y)? * 0.8)? + ssim)? + mse)? + charbonnier)?)
    })?;
    let loss = Loss::new(1.0).l1(0.16).with(0.84, small.clone()).ssim(0.3);
    same("scales", &x, &y, &|x, y| loss.forward(x, y), &|x, y| {
        let scales = less(ms_ssim(x, y, &small)?, 0.84)?;
        Ok((((l1(x, y)? * 0.16)? + scales)? + less(ssim(x, y, &window)?, 0.3)?)?)
    })?;
    let others = [SsimConfig::fused_ssim(), SsimConfig::skimage(1.0)];
    let loss = Loss::new(1.0).with(0.4, others[0].clone()).with(0.5, others[1].clone()).gmsd(2.0).vif(0.1);
    same("several walks", &x, &y, &|x, y| loss.forward(x, y), &|x, y| {
        let gmsd = (gmsd(x, y, &GmsdConfig::new(1.0))? * 2.0)?;
        let vif = less(vif(x, y, &VifConfig::new(1.0))?, 0.1)?;
        let ssims = (less(ssim(x, y, &others[0])?, 0.4)? + less(ssim(x, y, &others[1])?, 0.5)?)?;
        Ok(((ssims + gmsd)? + vif)?)
    })?;
    let loss = Loss::new(1.0).l1(1.0).mse(2.0).reduction(Reduction::Sum).weight(0.5).crop_border(3);
    same("errors alone", &x, &y, &|x, y| loss.forward(x, y), &|x, y| {
        let inner = |image: &Tensor| image.narrow(2, 3, 40)?.narrow(3, 3, 47);
        let (x, y) = (inner(x)?, inner(y)?);
        Ok((l1(&x, &y)? + (errors(&x, &y, Tensor::sqr)? * 2.0)?)?)
    })
}

#[test]
fn images_that_are_made_smaller_join_the_others() -> Result<()> {
    let shape = [1, 1, 387, 401];
    let (x, y) = (textured(&shape, 1, DType::F64)?, textured(&shape, 2, DType::F64)?);
    let (loss, piq) = (Loss::new(1.0).l1(0.5).with(0.5, SsimConfig::piq(1.0)), SsimConfig::piq(1.0));
    let apart: &Value = &|x, y| Ok(((l1(x, y)? * 0.5)? + ssim(x, y, &piq)?.affine(-0.5, 0.5)?)?);
    same("piq", &x, &y, &|x, y| loss.forward(x, y), apart)?;
    let (value, gradient) = loss.value_and_grad(&x, &y)?;
    let (want, [wanted, _]) = with_gradients(&x, &y, apart)?;
    ensure!((list(&value)?[0] - want).abs() < 1e-12);
    ensure!((gradient - wanted)?.abs()?.max_all()?.to_scalar::<f64>()? < 1e-15);
    Ok(())
}

#[test]
fn terms_are_there_for_the_log() -> Result<()> {
    let shape = [3, 3, 46, 53];
    let (x, y) = (textured(&shape, 1, DType::F32)?, textured(&shape, 2, DType::F32)?);
    for reduction in [Reduction::Mean, Reduction::Sum, Reduction::None] {
        let loss =
            Loss::new(1.0).gmsd(0.7).charbonnier(0.1, 1e-2).with(0.2, SsimConfig::fused_ssim()).l1(0.8).vif(0.05);
        let loss = loss.reduction(reduction);
        let var = Var::from_tensor(&x)?;
        let (value, terms) = loss.forward_with_terms(&var, &y)?;
        ensure!(value.track_op() && terms.iter().all(|(_, term)| !term.track_op()));
        let names: Vec<_> = terms.iter().map(|(name, _)| name).collect();
        ensure!(names == ["gmsd", "charbonnier", "ssim", "l1", "vif"], "{names:?}");
        let sum = terms.iter().zip(loss.terms()).try_fold(value.zeros_like()?, |sum, ((_, term), (weight, _))| {
            ensure!(term.dims() == value.dims());
            Ok((sum + term.affine(*weight, 0.0)?)?)
        })?;
        for (sum, value) in list(&sum)?.into_iter().zip(list(&value)?) {
            // Rounding of the terms to f32.
            ensure!((sum - value).abs() < 1e-6 * value.abs().max(1.0), "{reduction:?}: {sum} instead of {value}");
        }
        if reduction != Reduction::None {
            let alone = Loss::new(1.0).gmsd(1.0).reduction(reduction).forward(&x, &y)?;
            let gmsd = terms.get("gmsd").context("no such term")?;
            ensure!((list(gmsd)?[0] - list(&alone)?[0]).abs() < 1e-6);
        }
    }
    Ok(())
}

#[test]
fn one_gradient_is_kept_and_a_second_backward_makes_it_again() -> Result<()> {
    let shape = [2, 3, 46, 53];
    let (x, y) = (textured(&shape, 1, DType::F64)?, textured(&shape, 2, DType::F64)?);
    let loss = Loss::new(1.0).l1(0.8).ssim(0.2).with(0.3, SsimConfig::skimage(1.0)).gmsd(0.1);
    let var = Var::from_tensor(&x)?;
    let value = loss.forward(&var, &y)?.affine(1.7, 0.0)?;
    let gradient = || -> Result<Tensor> { value.backward()?.remove(&var).context("no gradient") };
    let (first, second) = (gradient()?, gradient()?);
    let off = (&first - second)?.abs()?.max_all()?.to_scalar::<f64>()?;
    ensure!(off <= 1e-13 * first.abs()?.max_all()?.to_scalar::<f64>()?, "{off:e}");
    let (_, at_once) = loss.weight(1.7).value_and_grad(&x, &y)?;
    ensure!((first - at_once)?.abs()?.max_all()?.to_scalar::<f64>()? < 1e-15);
    Ok(())
}

/// `[N, 4, H, W]` over a color by Candle's operations; `opaque` is the alpha of what hides it.
fn over(image: &Tensor, color: &Tensor, premultiplied: bool, opaque: f64) -> metrics_core::Result<Tensor> {
    let (rgb, alpha) = (image.narrow(1, 0, 3)?, image.narrow(1, 3, 1)?.affine(1.0 / opaque, 0.0)?);
    let color = color.to_dtype(image.dtype())?.reshape(((), 3, 1, 1))?;
    let rgb = if premultiplied { rgb } else { rgb.broadcast_mul(&alpha)? };
    Ok((rgb + alpha.affine(-1.0, 1.0)?.broadcast_mul(&color)?)?)
}

#[test]
fn backgrounds_are_those_of_images_that_were_composited_before() -> Result<()> {
    let (x, y) = (textured(&[2, 4, 30, 41], 1, DType::F64)?, textured(&[2, 4, 30, 41], 2, DType::F64)?);
    let colors = Tensor::new(&[[0.1f64, 0.7, 0.4], [0.9, 0.0, 1.0]], &Device::Cpu)?;
    let one = Tensor::new(&[[0.2f64, 0.5, 0.8]], &Device::Cpu)?;
    for (base, opaque) in [
        (Loss::new(1.0).l1(0.8).ssim(0.2), 1.0),
        (Loss::new((0.0, 0.6)).ssim(0.2).mse(1.0).crop_border(2), 0.6),
        (Loss::new(1.0).ssim(1.0).l1(0.5).channels(Channels::Luma), 1.0),
    ] {
        for premultiplied in [false, true] {
            for (background, color) in [(Background::from(&colors), &colors), (Background::from([0.2, 0.5, 0.8]), &one)]
            {
                let background = if premultiplied { background.premultiplied() } else { background };
                let with = base.clone().over(background);
                let what = format!("{base:?}, premultiplied: {premultiplied}");
                same(&what, &x, &y, &|x, y| with.forward(x, y), &|x, y| {
                    base.forward(&over(x, color, premultiplied, opaque)?, &over(y, color, premultiplied, opaque)?)
                })?;
                let rgb = y.narrow(1, 0, 3)?.contiguous()?;
                same(&what, &x, &rgb, &|x, y| with.forward(x, y), &|x, y| {
                    base.forward(&over(x, color, premultiplied, opaque)?, y)
                })?;
            }
        }
    }
    // Channel-last in memory, and bytes beside floats.
    let rgba = (textured(&[1, 24, 25, 4], 3, DType::F32)? * 255.0)?.round()?;
    let loss = Loss::new(255.0).l1(1.0).ssim(50.0).over([255.0; 3]);
    let (view, dense) = (rgba.permute((0, 3, 1, 2))?, rgba.permute((0, 3, 1, 2))?.contiguous()?);
    let pred = (textured(&[1, 3, 24, 25], 4, DType::F32)? * 255.0)?;
    let want = list(&loss.forward(&pred, &dense)?)?;
    ensure!(list(&loss.forward(&pred, &view)?)? == want);
    ensure!(list(&loss.forward(&pred, &view.to_dtype(DType::U8)?)?)? == want);
    Ok(())
}

#[test]
fn masks_and_backgrounds_go_together() -> Result<()> {
    let shape = [2, 4, 30, 41];
    let (x, y) = (textured(&shape, 1, DType::F64)?, textured(&shape, 2, DType::F64)?);
    let mask = textured(&[2, 1, 30, 41], 5, DType::F64)?.gt(0.5)?;
    let (base, color) =
        (Loss::new(1.0).l1(0.8).ssim(0.2).charbonnier(0.3, 1e-2), Tensor::new(&[[0.2f64, 0.5, 0.8]], &Device::Cpu)?);
    let with = base.clone().over([0.2, 0.5, 0.8]);
    same("both", &x, &y, &|x, y| with.forward(x, Target::new(y).mask(&mask)), &|x, y| {
        base.forward(&over(x, &color, false, 1.0)?, Target::new(&over(y, &color, false, 1.0)?).mask(&mask))
    })?;
    let hidden = mask.broadcast_as(&shape)?.where_cond(&x, &Tensor::full(f64::NAN, &shape, &Device::Cpu)?)?;
    let bits = |x: &Tensor| -> Result<Vec<f64>> {
        let (value, gradient) = with.value_and_grad(x, Target::new(&y).mask(&mask))?;
        Ok([list(&value)?, list(&gradient)?].concat())
    };
    ensure!(bits(&hidden)? == bits(&x)?);
    Ok(())
}

#[test]
fn presets_are_mixtures() -> Result<()> {
    let (x, y) = (textured(&[1, 3, 30, 41], 1, DType::F64)?, textured(&[1, 3, 30, 41], 2, DType::F64)?);
    // `(1 - λ) l1_loss(image, gt) + λ (1 - ssim(image, gt))` of the program, whose ssim is that of fused-ssim.
    let loss = L1SsimLoss::splatting();
    same("splatting", &x, &y, &|x, y| loss.forward(x, y), &|x, y| {
        Ok(((l1(x, y)? * 0.8)? + ssim(x, y, &SsimConfig::fused_ssim())?.affine(-0.2, 0.2)?)?)
    })?;
    let boxed: Vec<Box<dyn ImageLoss>> =
        vec![Box::new(loss), Box::new(Loss::new(1.0).mse(1.0)), Box::new(PsnrLoss::new(PsnrConfig::new(1.0))?)];
    for loss in &boxed {
        let value = loss.forward(&x, (&y).into())?;
        ensure!(list(&value)? == list(&loss.value_and_grad(&x, (&y).into())?.0)?);
    }
    Ok(())
}

#[test]
fn a_graph_before_the_images_is_no_hindrance() -> Result<()> {
    let (x, y) = (textured(&[2, 3, 30, 41], 1, DType::F64)?, textured(&[2, 3, 30, 41], 2, DType::F64)?);
    let mask = textured(&[2, 1, 30, 41], 5, DType::F64)?.gt(0.5)?;
    let (loss, var) = (PsnrLoss::new(PsnrConfig::new(1.0))?, Var::from_tensor(&x)?);
    let pred = (var.as_tensor() * 0.5)?;
    let (value, gradient) = loss.value_and_grad(&pred, Target::new(&y).mask(&mask))?;
    let (want, wanted) = loss.value_and_grad(&pred.detach(), Target::new(&y).mask(&mask))?;
    ensure!(list(&value)? == list(&want)? && list(&gradient)? == list(&wanted)?);
    ensure!(loss.forward(&pred, Target::new(&y).mask(&mask))?.backward()?.get(&var).is_some());
    Ok(())
}

fn refusal<T: std::fmt::Debug>(result: metrics_core::Result<T>) -> String {
    result.expect_err("a refusal").to_string()
}

#[test]
fn what_makes_no_loss_is_refused() -> Result<()> {
    let rgb = textured(&[2, 3, 20, 20], 1, DType::F32)?;
    let rgba = textured(&[2, 4, 20, 20], 1, DType::F32)?;
    let loss = || Loss::new(1.0).l1(1.0);
    assert_eq!(refusal(Loss::new(1.0).build()), "Loss: there is no term, expected at least one, as in `.l1(1.0)`");
    assert_eq!(refusal(loss().ssim(f64::NAN).build()), "Loss: `ssim` has a weight of NaN, expected a finite one");
    let message = refusal(loss().charbonnier(1.0, 0.0).forward(&rgb, &rgb));
    assert_eq!(message, "Loss: `charbonnier` has an epsilon of 0, expected 1e-18 to 1e18");
    assert!(refusal(loss().with(1.0, SsimConfig::new(1.0).sigma(0.0)).build()).contains("`sigma`"));
    assert!(refusal(loss().reduction(Reduction::Summary).build()).contains("got Summary"));
    assert_eq!(refusal(Loss::parse(1.0, "l1:0.8,ssim")), "Loss: `ssim` has no weight, expected `ssim:WEIGHT`");
    assert!(refusal(Loss::parse(1.0, "l2:1")).starts_with("Loss: `l2` is no term, expected l1, mse"));
    assert!(refusal(Loss::parse(1.0, "l1:much")).contains("`l1` has `much` where a number is expected"));
    assert!(refusal(Loss::parse(1.0, "l1:1:2")).contains("`l1` has `:2` after its weight"));
    let message = refusal(loss().over([1.0; 3]).forward(&rgb, &rgb));
    assert_eq!(
        message,
        "Loss: `over` needs an alpha channel, expected 4 channels of `pred` or `target`, but both have 3"
    );
    assert!(
        refusal(loss().over([1.0; 2]).forward(&rgba, &rgb))
            .contains("`over` has 2 channels, but the images have [4, 3]")
    );
    let bytes = (&rgba * 255.0)?.to_dtype(DType::U8)?;
    let message = refusal(loss().over([1.0; 3]).forward(&bytes, &bytes.narrow(1, 0, 3)?));
    assert!(message.contains("expected that of u8 images"), "{message}");
    assert!(refusal(Background::from([1.0; 3]).composite(&bytes, 1.0)).contains("expected that of u8 images"));
    let cropped = PsnrLoss::new(PsnrConfig::new(1.0).crop_border(10))?;
    assert!(refusal(cropped.forward(&rgb, &rgb)).contains("`crop_border` is 10"));
    assert!(refusal(cropped.forward(&rgb.flatten_all()?, &rgb.flatten_all()?)).contains("expected [N, C, H, W]"));
    let three = Tensor::zeros((3, 3), DType::F32, &Device::Cpu)?;
    assert!(refusal(loss().over(&three).forward(&rgba, &rgb)).contains("`over` has colors of [3, 3], expected [2, C]"));
    assert!(refusal(loss().forward(&rgba, &rgb)).contains("`pred` is [2, 4, 20, 20] but `target` is [2, 3, 20, 20]"));
    Ok(())
}
