//! What every score must pass: on the CPU, fused, the answers of its own composition of Candle's operations in f64, whatever the dtype,
//! the size, the strides and how the images are read.

mod masks;

use candle_core::{D, DType, Device, Result, Tensor, Var};

use crate::op::{self, Output};
use crate::pair::{Images, Pair};
use crate::score::{self, Kind};
use crate::{
    Absolute, Channels, DataRange, ErrorConfig, GmsdConfig, MixConfig, MsSsimConfig, OddSides, Padding, Squared,
    SsimConfig, VifConfig,
};

/// Rounding in f32 and in f64, of numbers near 1.
const VALUE: [(DType, f64); 2] = [(DType::F64, 1e-11), (DType::F32, 2e-6)];
/// Relative L2; half types round what they store.
const GRADIENT: [(DType, f64); 4] =
    [(DType::F64, 1e-10), (DType::F32, 1e-5), (DType::F16, 1.0 / 1024.0), (DType::BF16, 1.0 / 128.0)];

/// A seeded image of the numbers 0 to 255, exact in every dtype.
fn image(shape: &[usize], seed: u64) -> Result<Tensor> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let width = shape[shape.len() - 1];
    let pixels: Vec<f64> = (0..shape.iter().product())
        .map(|at: usize| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            let wave = ((at % width) as f64 / 5.0 + seed as f64 / 3.0).sin() * ((at / width) as f64 / 7.0).cos();
            (120.0 + 70.0 * wave + 60.0 * ((state >> 11) as f64 / (1u64 << 53) as f64)).round()
        })
        .collect();
    Tensor::from_vec(pixels, shape, &Device::Cpu)
}

fn list(x: &Tensor) -> Result<Vec<f64>> {
    x.to_dtype(DType::F64)?.flatten_all()?.to_vec1()
}

/// The scores of the images by Candle's operations.
fn composed<K: Kind>(config: &K::Config, pred: &Tensor, target: &Tensor) -> Result<Tensor> {
    let prepared = K::prepare("tests", config, Images::new(pred, target.into()))?;
    let pair = Pair::new("tests", &prepared.input, prepared.spread, prepared.images.clone())?;
    Ok(prepared.score.composed(&pair)?)
}

fn fused<K: Kind>(config: &K::Config, pred: &Tensor, target: &Tensor) -> Result<Tensor> {
    Ok(op::apply("tests", K::prepare("tests", config, Images::new(pred, target.into()))?, Output::PerImage)?)
}

#[track_caller]
fn assert_near(got: &Tensor, want: &Tensor, tolerance: f64, what: &str) {
    assert_eq!(got.dims(), want.dims(), "{what}");
    for (got, want) in list(got).unwrap().into_iter().zip(list(want).unwrap()) {
        // Errors of pixels are in units of 255, or of 255².
        let size = want.abs().max(1.0);
        assert!((got - want).abs() <= tolerance * size || (got.is_nan() && want.is_nan()), "{what}: {got}, not {want}");
    }
}

#[track_caller]
fn assert_close(got: &Tensor, want: &Tensor, tolerance: f64, what: &str) {
    assert_eq!(got.dims(), want.dims(), "{what}");
    let (got, want) = (list(got).unwrap(), list(want).unwrap());
    let norm: f64 = want.iter().map(|g| g * g).sum();
    let error: f64 = got.iter().zip(&want).map(|(a, b)| (a - b).powi(2)).sum();
    assert!(error <= tolerance.powi(2) * norm && norm > 0.0, "{what}: off by {:e} of {:e}", error.sqrt(), norm.sqrt());
}

type Value<'a> = dyn Fn(&Tensor, &Tensor) -> Result<Tensor> + 'a;

/// The gradients with respect to both images, of the scores weighted unevenly.
fn gradients(pred: &Tensor, target: &Tensor, dtype: DType, value: &Value) -> Result<[Tensor; 2]> {
    let (x, y) = (Var::from_tensor(&pred.to_dtype(dtype)?)?, Var::from_tensor(&target.to_dtype(dtype)?)?);
    let scores = value(&x, &y)?;
    // Scaled, as losses in half types are: the gradient of a mean over many pixels is below the smallest normal f16.
    let weights: Vec<f64> = (0..scores.elem_count()).map(|at| 1024.0 * (1.0 + at as f64)).collect();
    let weights = Tensor::from_vec(weights, scores.shape(), &Device::Cpu)?.to_dtype(scores.dtype())?;
    let store = (scores * weights)?.sum_all()?.backward()?;
    let get = |var: &Var| store.get(var).cloned().ok_or_else(|| candle_core::Error::msg("no gradient"));
    Ok([get(&x)?, get(&y)?])
}

/// Values and gradients of every dtype, of images as they are and channel-last.
fn check<K: Kind>(config: &K::Config, shape: &[usize]) -> Result<()> {
    let (x, y) = (image(shape, 1)?, image(shape, 2)?);
    let what = |dtype: DType, how: &str| format!("{} of {shape:?} in {dtype:?}{how} by {config:?}", K::NAME);
    let want = composed::<K>(config, &x, &y)?;
    let tolerance = |dtype| if dtype == DType::F64 { VALUE[0].1 } else { VALUE[1].1 };
    for dtype in [DType::F64, DType::F32, DType::F16, DType::BF16, DType::U8] {
        let (x, y) = (x.to_dtype(dtype)?, y.to_dtype(dtype)?);
        let got = fused::<K>(config, &x, &y)?;
        assert_near(&got, &want, tolerance(dtype), &what(dtype, ""));
        let last = x.rank() - 1;
        let channel_last = |x: &Tensor| -> Result<Tensor> {
            let order: Vec<usize> = std::iter::once(0).chain(2..=last).chain([1]).collect();
            let back: Vec<usize> = [0, last].into_iter().chain(1..last).collect();
            x.permute(order)?.contiguous()?.permute(back)
        };
        let view = fused::<K>(config, &channel_last(&x)?, &channel_last(&y)?)?;
        assert_eq!(list(&view)?, list(&got)?, "{}", what(dtype, ", channel-last"));
        // With a channel more in memory than is scored, as of RGBA.
        let cut = |x: &Tensor| -> Result<Tensor> {
            channel_last(&Tensor::cat(&[x, &x.narrow(1, 0, 1)?], 1)?)?.narrow(1, 0, x.dim(1)?)
        };
        let view = fused::<K>(config, &cut(&x)?, &cut(&y)?)?;
        assert_eq!(list(&view)?, list(&got)?, "{}", what(dtype, ", channel-last with a channel more"));
    }
    let mixed = fused::<K>(config, &x.to_dtype(DType::F32)?, &y.to_dtype(DType::U8)?)?;
    let alike = fused::<K>(config, &x.to_dtype(DType::F32)?, &y.to_dtype(DType::F32)?)?;
    assert_eq!(list(&mixed)?, list(&alike)?, "{}", what(DType::F32, ", target u8"));

    let want = gradients(&x, &y, DType::F64, &|x, y| composed::<K>(config, x, y))?;
    for (dtype, tolerance) in GRADIENT {
        let got = gradients(&x, &y, dtype, &|x, y| fused::<K>(config, x, y))?;
        for (got, want) in got.iter().zip(&want) {
            assert_close(got, want, tolerance, &what(dtype, ", gradient"));
        }
    }
    gradients_that_wait_are_those_that_are_made_later::<K>(config, &x, &y)
}

/// One input alone, and a second backward of the same graph: what was saved is gone then.
fn gradients_that_wait_are_those_that_are_made_later<K: Kind>(
    config: &K::Config,
    x: &Tensor,
    y: &Tensor,
) -> Result<()> {
    let var = Var::from_tensor(x)?;
    let value = (score::reduced::<K>("tests", &var, y, config)? * -0.3)?.sum_all()?;
    let gradient =
        || -> Result<Tensor> { value.backward()?.remove(&var).ok_or_else(|| candle_core::Error::msg("no gradient")) };
    let (first, second) = (gradient()?, gradient()?);
    assert_close(&second, &first, 1e-13, K::NAME);
    Ok(())
}

/// Configurations and images of every score.
#[test]
fn every_score() -> Result<()> {
    let flat = [2, 3, 45, 58];
    for config in [GmsdConfig::new(255.0), GmsdConfig::piq(255.0), GmsdConfig::new(DataRange::PerImage)] {
        check::<GmsdConfig>(&config, &flat)?;
        check::<GmsdConfig>(&config, &[1, 2, 7, 350])?;
        check::<GmsdConfig>(&config.clone().channels(Channels::All).crop_border(2), &[1, 3, 11, 12])?;
    }
    for config in [VifConfig::new(255.0), VifConfig::torchmetrics(), VifConfig::new(DataRange::PerBatch)] {
        check::<VifConfig>(&config, &flat)?;
        check::<VifConfig>(&config.clone().crop_border(1), &[1, 2, 43, 340])?;
    }
    for config in [MixConfig::new(255.0), MixConfig::kornia().range(255.0), MixConfig::new(DataRange::PerImage)] {
        check::<MixConfig>(&config, &flat)?;
        check::<MixConfig>(&config, &[1, 2, 7, 350])?;
        // Windows of 13 taps.
        check::<MixConfig>(&config.sigmas([1.5, 0.5, 0.7, 2.0, 3.0]).crop_border(2), &[1, 3, 5, 41])?;
    }
    let ssim = || SsimConfig::new(255.0);
    let borders = [Padding::Reflect, Padding::Symmetric, Padding::Replicate].map(|padding| ssim().padding(padding));
    let others = [ssim().padding(Padding::Valid).window(9), SsimConfig::skimage(255.0), ssim().sigma(2.5)];
    for config in borders.into_iter().chain(others) {
        check::<SsimConfig>(&config, &flat)?;
        check::<SsimConfig>(&config.clone().channels(Channels::Gray), &flat)?;
    }
    check::<SsimConfig>(&ssim().window(5), &[1, 2, 12, 13, 18])?;
    for odd_sides in [OddSides::Drop, OddSides::Zero, OddSides::Replicate, OddSides::ReplicateLast] {
        let config = MsSsimConfig::new(255.0).window(5).betas([0.2, 0.3, 0.5]).odd_sides(odd_sides);
        check::<MsSsimConfig>(&config, &flat)?;
    }
    check::<MsSsimConfig>(&MsSsimConfig::piq(255.0).window(5).betas([0.4, 0.6]), &[1, 2, 21, 22, 23])?;
    check::<Absolute>(&ErrorConfig::new(), &flat)?;
    check::<Squared>(&ErrorConfig::new(), &flat)
}

/// Crop, clamp, luma and found ranges as stages of the row readers, with their gradients.
#[test]
fn images_are_read_as_they_are_prepared() -> Result<()> {
    let ranges = [DataRange::Value(255.0), DataRange::Clamp(60.0, 190.0), DataRange::PerImage, DataRange::PerBatch];
    for range in ranges {
        for channels in [Channels::All, Channels::Luma, Channels::Gray] {
            if channels == Channels::Luma && range.fixed().is_none() {
                continue;
            }
            let config = SsimConfig::new(range).channels(channels).crop_border(3);
            check::<SsimConfig>(&config, &[2, 3, 31, 42])?;
        }
    }
    check::<SsimConfig>(&SsimConfig::new(255.0).window(3).crop_border(2), &[1, 2, 9, 10, 11])
}

#[test]
fn pixels_that_are_not_finite_spoil_their_own_image_only() -> Result<()> {
    fn of<K: Kind>(config: &K::Config) -> Result<()> {
        let target = image(&[3, 3, 48, 60], 1)?;
        for value in [f64::NAN, f64::INFINITY] {
            let mut pixels = list(&image(&[3, 3, 48, 60], 2)?)?;
            pixels[3 * 48 * 60 + 700] = value;
            let pred = Tensor::from_vec(pixels, target.shape(), &Device::Cpu)?;
            for dtype in [DType::F64, DType::F32] {
                let scores = list(&fused::<K>(config, &pred.to_dtype(dtype)?, &target.to_dtype(dtype)?)?)?;
                assert!(scores[0].is_finite() && scores[2].is_finite(), "{} {scores:?}", K::NAME);
                assert!(!scores[1].is_finite(), "{} {scores:?}", K::NAME);
            }
        }
        Ok(())
    }
    of::<SsimConfig>(&SsimConfig::new(DataRange::PerImage))?;
    of::<MsSsimConfig>(&MsSsimConfig::new(255.0).betas([0.5, 0.5]))?;
    of::<GmsdConfig>(&GmsdConfig::new(255.0))?;
    of::<VifConfig>(&VifConfig::new(255.0))?;
    of::<MixConfig>(&MixConfig::new(255.0))?;
    of::<Squared>(&ErrorConfig::new())
}

#[test]
fn equal_and_flat_images_have_finite_gradients() -> Result<()> {
    fn of<K: Kind>(config: &K::Config, equal: f64) -> Result<()> {
        let textured = image(&[1, 3, 48, 60], 1)?;
        let flat = textured.zeros_like()?.affine(1.0, 90.0)?;
        for (pred, target) in [(&textured, &textured), (&flat, &flat), (&flat, &textured), (&textured, &flat)] {
            for dtype in [DType::F64, DType::F32] {
                let (x, y) = (Var::from_tensor(&pred.to_dtype(dtype)?)?, Var::from_tensor(&target.to_dtype(dtype)?)?);
                let score = score::reduced::<K>("tests", &x, &y, config)?;
                if std::ptr::eq(pred, target) {
                    assert!((list(&score)?[0] - equal).abs() < 2e-6, "{} {score}", K::NAME);
                }
                let store = score.backward()?;
                for var in [&x, &y] {
                    let gradient = list(store.get(var).unwrap())?;
                    assert!(gradient.iter().all(|value| value.is_finite()), "{} {dtype:?}", K::NAME);
                }
            }
        }
        Ok(())
    }
    of::<SsimConfig>(&SsimConfig::new(255.0), 1.0)?;
    of::<GmsdConfig>(&GmsdConfig::new(255.0), 0.0)?;
    of::<MixConfig>(&MixConfig::new(255.0), 0.0)?;
    of::<VifConfig>(&VifConfig::new(255.0), 1.0)
}

#[test]
fn a_loss_has_its_weight_and_its_gradient_at_once() -> Result<()> {
    let (x, y) = (image(&[2, 3, 40, 44], 1)?, image(&[2, 3, 40, 44], 2)?);
    for dtype in [DType::F64, DType::F32, DType::F16] {
        let (x, y) = (Var::from_tensor(&x.to_dtype(dtype)?)?, y.to_dtype(dtype)?);
        let loss = crate::SsimLoss::new(SsimConfig::new(255.0))?;
        let plain = loss.forward(&x, &y)?;
        let weighted = loss.clone().weight(512.0);
        let value = weighted.forward(&x, &y)?;
        assert_near(&value, &(&plain * 512.0)?, 1e-6, "weight");
        let gradient = value.backward()?.remove(&x).unwrap();
        let scaled = (plain * 512.0)?.backward()?.remove(&x).unwrap();
        assert_close(&gradient, &scaled, 1e-3, "a factor");
        let (again, at_once) = weighted.value_and_grad(&x, &y)?;
        assert_eq!((list(&again)?, list(&at_once)?), (list(&value)?, list(&gradient)?));
        assert!(!again.track_op() && !at_once.track_op());
    }
    let psnr = crate::PsnrLoss::new(crate::PsnrConfig::new(255.0))?;
    let var = Var::from_tensor(&x)?;
    let value = psnr.forward(&var, &y)?;
    let (again, gradient) = psnr.value_and_grad(&x, &y)?;
    assert_eq!(list(&value)?, list(&again)?);
    assert_close(&gradient, &value.backward()?.remove(&var).unwrap(), 1e-13, "psnr");
    Ok(())
}

#[test]
fn channels_have_scores_of_their_own() -> Result<()> {
    let (x, y) = (image(&[2, 3, 30, 33], 1)?, image(&[2, 3, 30, 33], 2)?);
    let config = SsimConfig::new(DataRange::PerImage);
    let channels = crate::ssim_per_channel(&x, &y, &config)?;
    assert_eq!(channels.dims(), [2, 3]);
    assert_near(&channels.mean(D::Minus1)?, &crate::ssim_per_image(&x, &y, &config)?, 1e-14, "mean of channels");
    let var = Var::from_tensor(&x)?;
    let gradient = crate::ssim_per_channel(&var, &y, &config)?.sum_all()?.backward()?.remove(&var).unwrap();
    let whole = crate::ssim(&var, &y, &config.reduction(crate::Reduction::Sum))?.backward()?.remove(&var).unwrap();
    assert_close(&gradient, &(whole * 3.0)?, 1e-12, "gradient of channels");
    Ok(())
}

/// Two-level patterns, where rounding has a sign.
#[test]
fn repeated_patterns_round_little() -> Result<()> {
    let mut worst = 0.0f64;
    for step in 1..=40 {
        let (delta, pixel) = (0.0212 + 0.003 * f64::from(step - 1), 64usize);
        let level = |at: usize, which: f64| {
            let (row, column) = (at / pixel, at % pixel);
            let sign = if (row + column) % 2 == 0 { 1.0 } else { -1.0 };
            if column < 32 { delta + which * delta * sign } else { 1.0 - delta - which * delta * sign }
        };
        let make = |which: f64| {
            let pixels: Vec<f64> = (0..pixel * pixel).map(|at| f64::from(level(at, which) as f32)).collect();
            Tensor::from_vec(pixels, (1, 1, pixel, pixel), &Device::Cpu)
        };
        let (x, y) = (make(1.0)?, make(-1.0)?);
        let config = SsimConfig::new(1.0);
        let wide = list(&crate::ssim(&x, &y, &config)?)?[0];
        let narrow = list(&crate::ssim(&x.to_dtype(DType::F32)?, &y.to_dtype(DType::F32)?, &config)?)?[0];
        worst = worst.max((wide - narrow).abs());
    }
    // Measured: 1.38e-5. Where u is flat and far from the pivot its variance is rounding alone, of one sign in every window.
    assert!(worst < 1.5e-5, "{worst:e}");
    Ok(())
}

#[test]
fn constants_below_the_normal_numbers_are_refused() -> Result<()> {
    let zeros = Tensor::zeros((1, 1, 16, 16), DType::F32, &Device::Cpu)?;
    for config in [SsimConfig::new(1.0).k1(1e-20), SsimConfig::new(1e-12).k1(1e-8), SsimConfig::new(1e-10).k2(1e-9)] {
        let error = crate::ssim(&zeros, &zeros, &config).unwrap_err().to_string();
        assert!(error.contains("`k1` is") || error.contains("`k2` is"), "{error}");
    }
    let wide = zeros.to_dtype(DType::F64)?;
    assert_eq!(list(&crate::ssim(&wide, &wide, &SsimConfig::new(1.0).k1(1e-20))?)?, [1.0]);
    Ok(())
}

#[test]
fn bytes_are_not_in_a_range_of_one() -> Result<()> {
    let bytes = Tensor::zeros((1, 1, 16, 16), DType::U8, &Device::Cpu)?;
    let floats = bytes.to_dtype(DType::F32)?;
    for pred in [&bytes, &floats] {
        let error = crate::ssim(pred, &bytes, &SsimConfig::new(1.0)).unwrap_err().to_string();
        assert!(error.contains("expected that of u8 images"), "{error}");
    }
    Ok(())
}
