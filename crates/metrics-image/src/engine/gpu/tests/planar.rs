//! GMSD and VIFp, beside their composition of Candle's operations in f64.

use candle_core::{DType, Device, Result, Tensor, Var};
use kernel_emulation::launches;

use super::{Engine, Gpu, Pair, Strips, distance};
use crate::op::{AnyPrepared, Output};
use crate::pair::Images;
use crate::score::Kind;
use crate::{Channels, DataRange, GmsdConfig, VifConfig};

/// Waves with noise, and a flat region: integers of 0..=255, which every dtype holds.
fn image(shape: &[usize], seed: usize) -> Result<Tensor> {
    let width = shape[shape.len() - 1];
    let pixel = |at: usize| {
        let (row, column) = (at / width, at % width);
        let wave = (column as f64 / 5.0 + seed as f64).sin() * (row as f64 / 7.0).cos();
        let noise = (at * (7919 + 96_800 * seed) % 251) as f64 / 251.0;
        if row % 40 < 4 { 90.0 } else { (120.0 + 70.0 * wave + 60.0 * noise).round() }
    };
    Tensor::from_iter((0..shape.iter().product()).map(pixel), &Device::Cpu)?.reshape(shape)
}

fn prepared<K: Kind<Config = K>>(config: &K, pred: &Tensor, target: &Tensor) -> Result<(AnyPrepared, Pair)> {
    let prepared = K::prepare("test", config, Images::new(pred, target.into()))?;
    let pair = Pair::new("test", &prepared.input, prepared.spread, prepared.images.clone())?;
    Ok((prepared, pair))
}

/// By a GPU's kernels, or composed.
fn score<K: Kind<Config = K>>(
    gpu: Option<Gpu>,
    config: &K,
    [x, y]: [&Tensor; 2],
    output: Output,
    affine: [f64; 2],
) -> Result<Tensor> {
    let (prepared, pair) = prepared(config, x, y)?;
    match gpu {
        Some(gpu) => Ok(gpu.planar(&pair, prepared.score.planar().expect("a score of planes"), output, affine)?),
        None => {
            let numbers = match output {
                Output::PerChannel => prepared.score.composed(&pair.by_channel()?)?.reshape((pair.pred.dim(0)?, ()))?,
                _ => prepared.score.composed(&pair)?,
            }
            .affine(affine[0], affine[1])?;
            match output {
                Output::Mean => numbers.mean_all(),
                Output::Sum => numbers.sum_all(),
                _ => Ok(numbers),
            }
        }
    }
}

fn list(x: &Tensor) -> Result<Vec<f64>> {
    // Metal has no f64.
    x.to_device(&Device::Cpu)?.to_dtype(DType::F64)?.flatten_all()?.to_vec1()
}

/// Kernels of a device for images of a dtype, and how far their results may be off.
struct Subject {
    gpu: Gpu,
    device: Device,
    dtype: DType,
    near: f64,
}

/// Both dialects, and the GPU that there may be: within `cuda` and `metal` in f32.
fn subjects(cuda: f64, metal: f64) -> Vec<Subject> {
    let short = Gpu { engine: Engine::Emulated(kernel_emulation::Dialect::Metal, Strips::Device) };
    let on = |device: &Device| {
        let device = device.clone();
        move |(gpu, dtype, near)| Subject { gpu, device: device.clone(), dtype, near }
    };
    #[allow(unused_mut, reason = "other builds have no GPU")]
    let mut subjects: Vec<Subject> = [
        (Gpu::EMULATED_CUDA, DType::F64, 1e-10),
        (Gpu::EMULATED_CUDA, DType::F32, cuda),
        (Gpu::EMULATED_METAL, DType::F32, metal),
        (short, DType::F32, metal),
        // What is stored is rounded.
        (Gpu::EMULATED_CUDA, DType::F16, 1.0 / 1024.0),
        (Gpu::EMULATED_METAL, DType::BF16, 1.0 / 128.0),
    ]
    .map(on(&Device::Cpu))
    .into();
    #[cfg(any(feature = "cuda", feature = "metal"))]
    if let Some(device) = crate::engine::suite::test_device() {
        let in_f32 = if device.is_metal() { metal } else { cuda };
        let all = [
            (Gpu::DEVICE, DType::F64, 1e-10),
            (Gpu::DEVICE, DType::F32, in_f32),
            (Gpu::DEVICE, DType::F16, 1.0 / 1024.0),
        ];
        let least = usize::from(device.is_metal());
        subjects.extend(all[least..].iter().copied().map(on(&device)));
    }
    subjects
}

/// The scores, and the gradients of their sum with uneven weights, of columns-first views if `transposed`. Without a subject they are
/// composed in f64.
fn everything<K: Kind<Config = K>>(
    subject: Option<&Subject>,
    config: &K,
    images: &[Tensor; 2],
    transposed: bool,
    (output, affine): (Output, [f64; 2]),
) -> Result<[Vec<f64>; 3]> {
    let gpu = subject.map(|subject| subject.gpu);
    let (dtype, device) = subject.map_or((DType::F64, &Device::Cpu), |subject| (subject.dtype, &subject.device));
    let leaf = |image: &Tensor| -> Result<Var> {
        let image = image.to_dtype(dtype)?.to_device(device)?;
        Var::from_tensor(&if transposed { image.transpose(2, 3)?.force_contiguous()? } else { image })
    };
    let (x, y) = (leaf(&images[0])?, leaf(&images[1])?);
    let view = |leaf: &Var| if transposed { leaf.transpose(2, 3) } else { Ok(leaf.as_tensor().clone()) };
    let scores = score(gpu, config, [&view(&x)?, &view(&y)?], output, affine)?;
    let values = list(&scores)?;
    let weights: Vec<f64> = (0..values.len()).map(|at| 1024.0 * (1.0 + at as f64)).collect();
    let weights =
        Tensor::from_vec(weights, scores.shape(), &Device::Cpu)?.to_dtype(scores.dtype())?.to_device(device)?;
    let store = (scores * weights)?.sum_all()?.backward()?;
    let gradient = |leaf: &Var| {
        let gradient = store.get(leaf).expect("a gradient").clone();
        list(&if transposed { gradient.transpose(2, 3)? } else { gradient })
    };
    Ok([values, gradient(&x)?, gradient(&y)?])
}

fn check<K: Kind<Config = K>>(config: &K, shapes: &[&[usize]], [cuda, metal]: [f64; 2]) -> Result<()> {
    let outputs = [
        (Output::PerImage, [1.0, 0.0]),
        (Output::Mean, [-2.0, 0.5]),
        (Output::Sum, [1.0, 0.0]),
        (Output::PerChannel, [1.0, 0.0]),
    ];
    for (number, shape) in shapes.iter().enumerate() {
        let images = [image(shape, 1)?, image(shape, 2)?];
        // All of them for the first size, one each for the others.
        let made = if number == 0 { &outputs[..] } else { &outputs[number % 4..][..1] };
        for (at, &made) in made.iter().enumerate() {
            let want = everything(None, config, &images, false, made)?;
            for subject in &subjects(cuda, metal) {
                let got = everything(Some(subject), config, &images, (number + at) % 2 == 1, made)?;
                for (what, (got, want)) in ["value", "by x", "by y"].iter().zip(got.iter().zip(&want)) {
                    let (far, Subject { gpu, dtype, near, .. }) = (distance(got, want), subject);
                    assert!(far <= *near, "{} {shape:?} {dtype:?} {made:?} {what}: {far:e}", gpu.name());
                }
            }
        }
    }
    Ok(())
}

#[test]
fn gmsd_is_its_composition() -> Result<()> {
    // Tiles of 32×32 places of half the size: none, one and several, with odd sides.
    let shapes: [&[usize]; 4] = [&[1, 1, 5, 7], &[2, 2, 40, 131], &[1, 3, 67, 64], &[3, 1, 130, 66]];
    check(&GmsdConfig::new(255.0), &shapes, [1e-5, 1e-5])?;
    check(&GmsdConfig::piq(255.0).c(20.0).channels(Channels::All), &shapes[1..2], [1e-5, 1e-5])?;
    check(&GmsdConfig::new(DataRange::PerImage), &shapes[1..2], [1e-5, 1e-5])
}

/// Of what is computed in f64: luma is made in f32, and a gradient is stored in it.
const ROUNDED: f64 = 2e-6;

#[test]
fn vif_is_its_composition() -> Result<()> {
    let shapes: [&[usize]; 3] = [&[1, 1, 41, 41], &[2, 2, 47, 54], &[1, 3, 70, 150]];
    check(&VifConfig::new(255.0), &shapes, [ROUNDED, 1e-5])?;
    check(&VifConfig::torchmetrics().sigma_n_sq(0.5), &shapes[1..2], [ROUNDED, 1e-5])?;
    check(&VifConfig::new(DataRange::PerImage), &shapes[1..2], [ROUNDED, 1e-5])
}

#[test]
fn bytes_score_as_floats() -> Result<()> {
    fn of<K: Kind<Config = K>>(gpu: Gpu, config: &K, dtype: DType) -> Result<Vec<f64>> {
        let [x, y] = [image(&[2, 1, 50, 60], 1)?.to_dtype(dtype)?, image(&[2, 1, 50, 60], 2)?.to_dtype(dtype)?];
        list(&score(Some(gpu), config, [&x, &y], Output::PerImage, [1.0, 0.0])?)
    }
    let (gmsd, vif) = (GmsdConfig::new(255.0), VifConfig::new(255.0));
    for gpu in [Gpu::EMULATED_CUDA, Gpu::EMULATED_METAL] {
        assert_eq!(of(gpu, &gmsd, DType::U8)?, of(gpu, &gmsd, DType::F32)?, "{}", gpu.name());
        assert_eq!(of(gpu, &vif, DType::U8)?, of(gpu, &vif, DType::F32)?, "{}", gpu.name());
    }
    Ok(())
}

#[test]
fn equal_and_flat_images_have_finite_gradients() -> Result<()> {
    let (varied, flat) = (image(&[1, 1, 50, 60], 1)?, Tensor::full(7.0, (1, 1, 50, 60), &Device::Cpu)?);
    let made = (Output::PerImage, [1.0, 0.0]);
    for subject in &subjects(1e-5, 1e-5) {
        for images in [[varied.clone(), varied.clone()], [flat.clone(), flat.clone()], [flat.clone(), varied.clone()]] {
            let gmsd = everything(Some(subject), &GmsdConfig::new(255.0), &images, false, made)?;
            let vif = everything(Some(subject), &VifConfig::new(255.0), &images, false, made)?;
            let all = [gmsd, vif];
            assert!(all.iter().flatten().flatten().all(|number| number.is_finite()), "{}", subject.gpu.name());
        }
    }
    Ok(())
}

#[test]
fn few_launches_stand_between_images_and_result() -> Result<()> {
    fn count<K: Kind<Config = K>>(gpu: Gpu, config: &K) -> Result<[u64; 2]> {
        let (x, y) = (Var::from_tensor(&image(&[2, 1, 50, 60], 1)?)?, image(&[2, 1, 50, 60], 2)?);
        let before = launches();
        let value = score(Some(gpu), config, [&x, &y], Output::Mean, [1.0, 0.0])?;
        let forward = launches() - before;
        value.backward()?;
        Ok([forward, launches() - before - forward].map(|launches| launches as u64))
    }
    // The sums and the result; what they ask of the sums, and the gradient.
    assert_eq!(count(Gpu::EMULATED_CUDA, &GmsdConfig::new(255.0))?, [2, 2]);
    // Three coarser scales, the sums of four and the result; what it asks of the sums, the scales again, two passes of each, and three ways back.
    assert_eq!(count(Gpu::EMULATED_CUDA, &VifConfig::new(255.0))?, [8, 15]);
    Ok(())
}

/// Values and gradients: all kernels of a score.
pub(super) fn run<K: Kind<Config = K>>(gpu: Gpu, config: &K) -> Result<()> {
    let images = [image(&[1, 1, 41, 45], 1)?, image(&[1, 1, 41, 45], 2)?];
    let subject = Subject { gpu, device: Device::Cpu, dtype: DType::F32, near: 1e-5 };
    everything(Some(&subject), config, &images, false, (Output::PerImage, [1.0, 0.0])).map(|_| ())
}
