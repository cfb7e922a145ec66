//! What every backend must pass: the answers of the reference in f64, whatever the dtype, the size and the strides.
//!
//! The reference itself is held to other libraries and to finite differences in the workspace tests, and the fused kernels have a
//! second, still more naive oracle of their own.

use candle_core::{DType, Device, Result, Tensor, Var};
use proptest::prelude::*;

#[cfg(any(target_os = "linux", feature = "cuda", feature = "metal"))]
use super::gpu::Gpu;
use super::reference;
use crate::config::Input;
use crate::engine::backend::{Program, Scales, Score};
use crate::engine::{OddSides, Padding};
use crate::measure::errors::{PixelError, error_sum};
use crate::measure::similarity::{Similarity, Term};
use crate::measure::ssim::Plan;
use crate::op::{self, Output, Prepared};
use crate::pair::{Images, Pair, Range, Spread};
use crate::{ChannelPower, DataRange, MsSsimConfig, Normalize, SsimConfig};

const DTYPES: [DType; 5] = [DType::F64, DType::F32, DType::F16, DType::BF16, DType::U8];
const SCORES: [Score; 2] = [Score::Ssim, Score::Contrast];
/// The borders that the engine has; of a replicated one it never hears.
const FUSED: [Padding; 4] = [Padding::Reflect, Padding::Symmetric, Padding::Zero, Padding::Valid];

/// The project's promise for f32; rounding of values near 1 is 6e-8.
const F32_VALUE: f64 = 1e-6;
/// Between two orders of the same f64 operations.
const F64_VALUE: f64 = 1e-11;
/// The project's promise for gradients in f32, relative L2; half types also round what they store, to 2^-8 at worst.
const GRADIENT: [(DType, f64); 4] =
    [(DType::F64, 1e-10), (DType::F32, 1e-5), (DType::F16, 1.0 / 1024.0), (DType::BF16, 1.0 / 128.0)];

/// What a pass over a pair is to compute.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Wants {
    /// Mean SSIM.
    pub(super) ssim: bool,
    /// Mean contrast.
    pub(super) contrast: bool,
    /// The terms of MS-SSIM.
    pub(super) scales: Option<Scales>,
    /// Sums of squared errors.
    pub(super) squared: bool,
    /// Sums of absolute errors.
    pub(super) absolute: bool,
}

/// What a pass has computed of what was wanted: differentiable in both images, in f64 where the device has it.
#[derive(Clone, Debug, Default)]
pub(super) struct Outcome {
    /// Mean SSIM of each image and channel, `[N, C]`.
    ssim: Option<Tensor>,
    /// Mean contrast of each image and channel, `[N, C]`.
    contrast: Option<Tensor>,
    /// The terms of MS-SSIM, `[scales, N, C]`: mean contrast of every scale but the last, mean SSIM of the last.
    scales: Option<Tensor>,
    /// Sum of squared errors of each image, `[N]`.
    squared: Option<Tensor>,
    /// Sum of absolute errors of each image, `[N]`.
    absolute: Option<Tensor>,
}

impl Outcome {
    pub(super) fn ssim(&self) -> metrics_core::Result<&Tensor> {
        wanted(&self.ssim)
    }

    pub(super) fn contrast(&self) -> metrics_core::Result<&Tensor> {
        wanted(&self.contrast)
    }

    pub(super) fn scales(&self) -> metrics_core::Result<&Tensor> {
        wanted(&self.scales)
    }

    pub(super) fn squared(&self) -> metrics_core::Result<&Tensor> {
        wanted(&self.squared)
    }

    pub(super) fn absolute(&self) -> metrics_core::Result<&Tensor> {
        wanted(&self.absolute)
    }
}

fn wanted(part: &Option<Tensor>) -> metrics_core::Result<&Tensor> {
    part.as_ref().ok_or_else(|| metrics_core::Error::argument("suite", "the pass did not compute this"))
}

/// What every backend computes, whatever it computes together.
pub(super) trait Kernel: Sync {
    /// Its name, for messages.
    fn name(&self) -> &'static str;

    /// SSIM or contrast at every pixel, `[N, C, …]`, in the dtype of the result; differentiable in both images.
    fn map(&self, pair: &Pair, plan: &Plan, score: Score) -> metrics_core::Result<Tensor>;

    /// All that is wanted of a pair.
    fn pass(&self, pair: &Pair, plan: &Plan, wants: Wants) -> metrics_core::Result<Outcome>;

    /// Sums of errors alone.
    fn errors(&self, pair: &Pair, wants: Wants) -> metrics_core::Result<Outcome>;
}

/// Operations of Candle.
pub(super) struct Reference;

impl Kernel for Reference {
    fn name(&self) -> &'static str {
        "reference"
    }

    fn map(&self, pair: &Pair, plan: &Plan, score: Score) -> metrics_core::Result<Tensor> {
        reference::map(pair, plan, score)
    }

    fn pass(&self, pair: &Pair, plan: &Plan, wants: Wants) -> metrics_core::Result<Outcome> {
        let means = |wanted: bool, score| wanted.then(|| reference::means(pair, plan, score)).transpose();
        let of_scales = |scales| -> metrics_core::Result<Tensor> {
            let scales = reference::scales(pair, plan, scales)?;
            Ok(Tensor::stack(&scales.into_iter().map(|of| of.means).collect::<Vec<_>>(), 0)?)
        };
        Ok(Outcome {
            ssim: means(wants.ssim, Score::Ssim)?.map(|of| of.means),
            contrast: means(wants.contrast, Score::Contrast)?.map(|of| of.means),
            scales: wants.scales.map(of_scales).transpose()?,
            ..self.errors(pair, wants)?
        })
    }

    fn errors(&self, pair: &Pair, wants: Wants) -> metrics_core::Result<Outcome> {
        let squared = wants.squared.then(|| reference::squared(pair)).transpose()?;
        let absolute = wants.absolute.then(|| reference::absolute(pair)).transpose()?;
        Ok(Outcome { squared, absolute, ..Outcome::default() })
    }
}

fn images(pair: &Pair) -> Images {
    Images { pred: pair.pred.clone(), target: pair.target.clone(), mask: pair.mask.clone(), over: None }
}

/// The engine of the CPU, which makes one number of an image at a time.
struct Fused;

impl Fused {
    /// A number of each plane, `[N, C]`.
    fn of_planes(pair: &Pair, plan: &Plan, term: Term) -> metrics_core::Result<Tensor> {
        op::apply("suite", Self::prepared(pair, plan, term)?.any(), Output::PerChannel)
    }

    fn prepared(pair: &Pair, plan: &Plan, term: Term) -> metrics_core::Result<Prepared<Similarity>> {
        let range = match &pair.range {
            Range::Fixed(range) => DataRange::Value(*range),
            Range::PerImage(_) => DataRange::PerImage,
        };
        let score = Similarity::new(plan.clone(), vec![term]);
        Ok(Prepared { score, images: images(pair), input: Input::new(range), spread: Spread::Larger })
    }
}

/// The term of MS-SSIM at a scale: that of which the others have no part.
fn term_at(scale: usize, scales: Scales) -> Term {
    let betas: Vec<f64> = (0..scales.count).map(|other| f64::from(u8::from(other == scale))).collect();
    let config = MsSsimConfig { odd_sides: scales.odd_sides, ..MsSsimConfig::new(1.0) };
    Term::MsSsim(config.betas(betas).normalize(Normalize::None).power(ChannelPower::PerChannel))
}

impl Kernel for Fused {
    fn name(&self) -> &'static str {
        "fused"
    }

    fn map(&self, pair: &Pair, plan: &Plan, score: Score) -> metrics_core::Result<Tensor> {
        let term = if score == Score::Ssim { Term::Ssim } else { Term::Contrast };
        op::map("suite", Self::prepared(pair, plan, term)?.any())
    }

    fn pass(&self, pair: &Pair, plan: &Plan, wants: Wants) -> metrics_core::Result<Outcome> {
        let part = |wanted: bool, term| wanted.then(|| Self::of_planes(pair, plan, term)).transpose();
        let of_scales = |scales: Scales| -> metrics_core::Result<Tensor> {
            let of_scale = |scale| Self::of_planes(pair, plan, term_at(scale, scales));
            let terms: Vec<_> = (0..scales.count).map(of_scale).collect::<metrics_core::Result<_>>()?;
            Ok(Tensor::stack(&terms, 0)?)
        };
        Ok(Outcome {
            ssim: part(wants.ssim, Term::Ssim)?,
            contrast: part(wants.contrast, Term::Contrast)?,
            scales: wants.scales.map(of_scales).transpose()?,
            ..self.errors(pair, wants)?
        })
    }

    fn errors(&self, pair: &Pair, wants: Wants) -> metrics_core::Result<Outcome> {
        let input = Input::new(DataRange::Value(1.0));
        let sum = |wanted: bool, error| wanted.then(|| error_sum("suite", images(pair), &input, error)).transpose();
        let (squared, absolute) =
            (sum(wants.squared, PixelError::Squared)?, sum(wants.absolute, PixelError::Absolute)?);
        Ok(Outcome { squared, absolute, ..Outcome::default() })
    }
}

/// The kernels of a GPU, which make all numbers of an image together.
#[cfg(any(target_os = "linux", feature = "cuda", feature = "metal"))]
impl Kernel for Gpu {
    fn name(&self) -> &'static str {
        Gpu::name(self)
    }

    fn map(&self, pair: &Pair, plan: &Plan, score: Score) -> metrics_core::Result<Tensor> {
        Gpu::map(*self, pair, plan, score).unwrap_or_else(|| Reference.map(pair, plan, score))
    }

    fn pass(&self, pair: &Pair, plan: &Plan, wants: Wants) -> metrics_core::Result<Outcome> {
        let mut terms = Vec::new();
        let mut place = |wanted: bool, term: Term| {
            let at = terms.len();
            terms.extend(wanted.then_some(term));
            at
        };
        let (ssim, contrast) = (place(wants.ssim, Term::Ssim), place(wants.contrast, Term::Contrast));
        let (squared, absolute) = (place(wants.squared, Term::Squared), place(wants.absolute, Term::Absolute));
        let first = terms.len();
        let scales = wants.scales.unwrap_or(Scales::ONE);
        terms.extend((0..wants.scales.map_or(0, |scales| scales.count)).map(|scale| term_at(scale, scales)));
        let program = Program { plan: Some(plan.clone()), scales, terms, mixture: None, by_range: false };
        let Some(numbers) = self.numbers(pair, program.clone(), Output::PerChannel) else {
            return Reference.pass(pair, plan, wants);
        };
        let planes = (pair.pred.dim(0)?, pair.channels());
        let numbers = numbers?.reshape((program.terms.len(), planes.0, planes.1))?;
        let row = |wanted: bool, row| wanted.then(|| numbers.get(row)).transpose();
        let image = |wanted: bool, row| wanted.then(|| numbers.get(row)?.sum(1)).transpose();
        Ok(Outcome {
            ssim: row(wants.ssim, ssim)?,
            contrast: row(wants.contrast, contrast)?,
            scales: wants.scales.map(|scales| numbers.narrow(0, first, scales.count)).transpose()?,
            squared: image(wants.squared, squared)?,
            absolute: image(wants.absolute, absolute)?,
        })
    }

    fn errors(&self, pair: &Pair, wants: Wants) -> metrics_core::Result<Outcome> {
        let mut terms = Vec::new();
        terms.extend(wants.squared.then_some(Term::Squared));
        terms.extend(wants.absolute.then_some(Term::Absolute));
        let count = terms.len();
        let program = Program { plan: None, scales: Scales::ONE, terms, mixture: None, by_range: false };
        let numbers =
            self.numbers(pair, program, Output::PerImage).ok_or_else(|| candle_core::Error::msg("too many"))??;
        let numbers = numbers.reshape((count, ()))?;
        let row = |wanted: bool, row| wanted.then(|| numbers.get(row)).transpose();
        Ok(Outcome { squared: row(wants.squared, 0)?, absolute: row(wants.absolute, count - 1)?, ..Outcome::default() })
    }
}

/// A backend and a device.
struct Subject {
    kernel: &'static dyn Kernel,
    device: Device,
}

impl Subject {
    const FUSED: Self = Self { kernel: &Fused, device: Device::Cpu };

    /// Metal has no f64.
    fn has(&self, dtype: DType) -> bool {
        dtype != DType::F64 || !(self.device.is_metal() || self.name() == "emulated metal")
    }

    fn name(&self) -> &'static str {
        self.kernel.name()
    }

    /// The same pair of images on the device.
    fn pair(&self, pred: &Tensor, target: &Tensor) -> Result<Pair> {
        pair(&pred.to_device(&self.device)?, &target.to_device(&self.device)?, 255.0.into())
    }

    /// One or two roundings of a result that is kept in f32, where there is no f64.
    fn rounding(&self) -> f64 {
        if self.has(DType::F64) { 0.0 } else { f64::from(f32::EPSILON) }
    }
}

/// The fused kernels: those of the CPU, those of GPUs in emulation, and those of the GPU that `METRICS_TEST_DEVICE` names, `cuda`
/// or `metal`.
fn fused() -> Vec<Subject> {
    #[allow(unused_mut, reason = "other systems have no emulation, and other builds no GPU")]
    let mut subjects = vec![Subject::FUSED];
    #[cfg(target_os = "linux")]
    subjects.extend([
        Subject { kernel: &Gpu::EMULATED_CUDA, device: Device::Cpu },
        Subject { kernel: &Gpu::EMULATED_METAL, device: Device::Cpu },
    ]);
    #[cfg(any(feature = "cuda", feature = "metal"))]
    subjects.extend(test_device().map(|device| Subject { kernel: &Gpu::DEVICE, device }));
    subjects
}

/// The GPU that `METRICS_TEST_DEVICE` names.
#[cfg(any(feature = "cuda", feature = "metal"))]
pub(super) fn test_device() -> Option<Device> {
    let name = std::env::var("METRICS_TEST_DEVICE").ok()?;
    let device = if name == "metal" { Device::new_metal(0) } else { Device::new_cuda(0) };
    Some(device.expect("METRICS_TEST_DEVICE"))
}

fn all() -> Vec<Subject> {
    let mut subjects = fused();
    let on_gpu = subjects.iter().map(|subject| &subject.device).find(|device| !device.is_cpu());
    let devices = std::iter::once(Device::Cpu).chain(on_gpu.cloned());
    subjects.extend(devices.map(|device| Subject { kernel: &Reference, device }).collect::<Vec<_>>());
    subjects
}

fn image(shape: &[usize], seed: u64, dtype: DType) -> Result<Tensor> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let width = shape[shape.len() - 1];
    let pixels: Vec<f64> = (0..shape.iter().product())
        .map(|at: usize| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            let wave = ((at % width) as f64 / 4.0 + seed as f64).sin() * ((at / width) as f64 / 6.0).cos();
            128.0 + 70.0 * wave + 50.0 * ((state >> 11) as f64 / (1u64 << 53) as f64)
        })
        .collect();
    Tensor::from_vec(pixels, shape, &Device::Cpu)?.round()?.to_dtype(dtype)
}

fn pair(pred: &Tensor, target: &Tensor, range: DataRange) -> Result<Pair> {
    Ok(Pair::new("suite", &Input::new(range), Spread::Larger, Images::new(pred, target.into()))?)
}

/// The pair itself, and the same pixels in f64 for the oracle.
fn pairs(subject: &Subject, shape: &[usize], dtype: DType) -> Result<[Pair; 2]> {
    let (x, y) = (image(shape, 1, dtype)?, image(shape, 2, dtype)?);
    let wide = |image: &Tensor| image.to_dtype(DType::F64);
    Ok([subject.pair(&x, &y)?, pair(&wide(&x)?, &wide(&y)?, 255.0.into())?])
}

fn list(x: &Tensor) -> Result<Vec<f64>> {
    x.to_device(&Device::Cpu)?.to_dtype(DType::F64)?.flatten_all()?.to_vec1()
}

#[track_caller]
fn assert_near(got: &Tensor, want: &Tensor, tolerance: f64, what: &str) {
    assert_eq!(got.dims(), want.dims(), "{what}");
    for (got, want) in list(got).unwrap().into_iter().zip(list(want).unwrap()) {
        assert!((got - want).abs() <= tolerance || (got.is_nan() && want.is_nan()), "{what}: {got} instead of {want}");
    }
}

fn tolerance(dtype: DType) -> f64 {
    if dtype == DType::F64 { F64_VALUE } else { F32_VALUE }
}

fn wants(score: Score) -> Wants {
    match score {
        Score::Ssim => Wants { ssim: true, ..Wants::default() },
        Score::Contrast => Wants { contrast: true, ..Wants::default() },
    }
}

const ERRORS: Wants = Wants { ssim: false, contrast: false, scales: None, squared: true, absolute: true };

fn means(kernel: &dyn Kernel, pair: &Pair, plan: &Plan, score: Score) -> metrics_core::Result<Tensor> {
    let outcome = kernel.pass(pair, plan, wants(score))?;
    Ok(match score {
        Score::Ssim => outcome.ssim()?,
        Score::Contrast => outcome.contrast()?,
    }
    .clone())
}

fn scales(kernel: &dyn Kernel, pair: &Pair, plan: &Plan, count: usize, odd_sides: OddSides) -> Result<Tensor> {
    let wants = Wants { scales: Some(Scales { count, odd_sides }), ..Wants::default() };
    Ok(kernel.pass(pair, plan, wants)?.scales()?.clone())
}

/// Everything a kernel computes, against the oracle.
fn check(subject: &Subject, shape: &[usize], dtype: DType, config: &SsimConfig) -> Result<()> {
    let [pair, oracle] = pairs(subject, shape, dtype)?;
    let (kernel, plan) = (subject.kernel, config.plan("suite", shape.len() - 2)?);
    let fits = shape[2..].iter().zip(&plan.taps).all(|(&side, taps)| side >= taps.len());
    for score in SCORES.into_iter().filter(|score| fits || *score == Score::Ssim) {
        let what = format!("{} {score:?} of {shape:?} in {dtype:?} by {plan:?}", kernel.name());
        let want = means(&Reference, &oracle, &plan, score)?;
        assert_near(&means(kernel, &pair, &plan, score)?, &want, tolerance(dtype), &what);
        let want = Reference.map(&oracle, &plan, score)?;
        // A single pixel of a map has the rounding of its own moments, not the mean of many.
        assert_near(&kernel.map(&pair, &plan, score)?, &want, 20.0 * tolerance(dtype), &what);
    }
    Ok(())
}

fn plans(axes: usize) -> Vec<SsimConfig> {
    let base = || SsimConfig::new(255.0);
    let mut plans: Vec<_> = FUSED.map(|padding| base().padding(padding)).into();
    plans.push(SsimConfig::skimage(255.0));
    plans.extend([1, 3, 5, 23].map(|size| base().window(size)));
    plans.push(base().sigma(if axes == 2 { vec![1.0, 2.0] } else { vec![0.5, 1.0, 1.5] }));
    plans
}

#[test]
fn values_of_every_dtype_and_plan() -> Result<()> {
    for subject in &all() {
        for dtype in DTYPES.into_iter().filter(|&dtype| subject.has(dtype)) {
            for config in plans(2) {
                check(subject, &[2, 3, 25, 34], dtype, &config)?;
            }
            for config in plans(3).into_iter().filter(|config| config != &SsimConfig::new(255.0).window(23)) {
                check(subject, &[1, 2, 12, 13, 18], dtype, &config)?;
            }
        }
    }
    Ok(())
}

#[test]
fn values_of_every_size() -> Result<()> {
    for subject in &all() {
        for padding in FUSED {
            let config = SsimConfig::new(255.0).padding(padding);
            for side in 11..=70 {
                check(subject, &[1, 1, side, 81 - side], DType::F32, &config)?;
            }
        }
        check(subject, &[1, 1, 150, 420], DType::F32, &SsimConfig::new(255.0))?;
    }
    Ok(())
}

type Value<'a> = dyn Fn(&dyn Kernel, &Pair) -> metrics_core::Result<Tensor> + 'a;

/// The gradients with respect to both images, of the sum of `value` weighted unevenly.
fn gradients(subject: &Subject, oracle: &Tensor, other: &Tensor, dtype: DType, value: &Value) -> Result<[Tensor; 2]> {
    let var = |image: &Tensor| Var::from_tensor(&image.to_dtype(dtype)?.to_device(&subject.device)?);
    let (x, y) = (var(oracle)?, var(other)?);
    let value = value(subject.kernel, &pair(&x, &y, 255.0.into())?)?;
    // Scaled, as losses in half types are: the gradient of a mean over many pixels is below the smallest normal f16.
    let weights: Vec<f64> = (0..value.elem_count()).map(|i| 1024.0 * (1.0 + (i % 5) as f64)).collect();
    let weights = Tensor::from_vec(weights, value.shape(), &Device::Cpu)?.to_dtype(value.dtype())?;
    let weights = weights.to_device(value.device())?;
    let store = (value * weights)?.sum_all()?.backward()?;
    let get = |var: &Var| store.get(var).cloned().ok_or_else(|| candle_core::Error::msg("no gradient"));
    Ok([get(&x)?, get(&y)?])
}

fn check_gradients(what: &str, shape: &[usize], value: &Value) -> Result<()> {
    let (x, y) = (image(shape, 1, DType::F64)?, image(shape, 2, DType::F64)?);
    let want = gradients(&Subject { kernel: &Reference, device: Device::Cpu }, &x, &y, DType::F64, value)?;
    for subject in &all() {
        for (dtype, tolerance) in GRADIENT.into_iter().filter(|&(dtype, _)| subject.has(dtype)) {
            for (got, want) in gradients(subject, &x, &y, dtype, value)?.iter().zip(&want) {
                assert_eq!((got.dims(), got.dtype()), (shape, dtype));
                let (got, want) = (list(got)?, list(want)?);
                let norm: f64 = want.iter().map(|g| g * g).sum();
                let error: f64 = got.iter().zip(&want).map(|(a, b)| (a - b).powi(2)).sum();
                assert!(
                    error <= tolerance.powi(2) * norm,
                    "{what} by {}: {dtype:?} is off by {:e}",
                    subject.name(),
                    (error / norm).sqrt()
                );
            }
        }
    }
    Ok(())
}

#[test]
fn gradients_of_every_dtype_and_plan() -> Result<()> {
    gradients_of_every_plan(&[2, 2, 25, 34])
}

#[test]
fn gradients_of_volumes_of_every_dtype_and_plan() -> Result<()> {
    gradients_of_every_plan(&[1, 2, 12, 13, 14])
}

fn gradients_of_every_plan(shape: &[usize]) -> Result<()> {
    let axes = shape.len() - 2;
    for config in plans(axes) {
        let plan = config.plan("suite", axes)?;
        let fits = shape[2..].iter().zip(&plan.taps).all(|(&side, taps)| side >= taps.len());
        // Under one tap the contrast is 1 everywhere, and its gradient nothing.
        for score in SCORES.into_iter().filter(|score| fits && !(plan.is_one_pixel() && *score == Score::Contrast)) {
            let what = format!("{score:?} of {shape:?} by {plan:?}");
            check_gradients(&what, shape, &|kernel, pair| means(kernel, pair, &plan, score))?;
            check_gradients(&what, shape, &|kernel, pair| kernel.map(pair, &plan, score))?;
        }
    }
    Ok(())
}

#[test]
fn scales_and_their_gradients() -> Result<()> {
    let config = SsimConfig::new(255.0).window(5);
    for odd_sides in [OddSides::Drop, OddSides::Zero, OddSides::Replicate, OddSides::ReplicateLast] {
        for shape in [&[2, 2, 41, 43][..], &[1, 1, 40, 43], &[1, 2, 21, 22, 23]] {
            let plan = config.plan("suite", shape.len() - 2)?;
            for subject in &all() {
                for dtype in DTYPES.into_iter().filter(|&dtype| subject.has(dtype)) {
                    let [pair, oracle] = pairs(subject, shape, dtype)?;
                    let want = scales(&Reference, &oracle, &plan, 3, odd_sides)?;
                    let what = format!("{} {odd_sides:?} {shape:?} in {dtype:?}", subject.name());
                    assert_near(&scales(subject.kernel, &pair, &plan, 3, odd_sides)?, &want, tolerance(dtype), &what);
                }
            }
            let what = format!("{odd_sides:?} {shape:?}");
            check_gradients(&what, shape, &|kernel, pair| Ok(scales(kernel, pair, &plan, 3, odd_sides)?))?;
        }
    }
    Ok(())
}

#[test]
fn errors_and_their_gradients() -> Result<()> {
    let parts: [fn(&Outcome) -> metrics_core::Result<&Tensor>; 2] = [Outcome::squared, Outcome::absolute];
    for part in parts {
        for shape in [&[3, 2, 17, 19][..], &[2, 1, 5, 6, 7], &[1, 1, 1, 1]] {
            for subject in &all() {
                for dtype in DTYPES.into_iter().filter(|&dtype| subject.has(dtype)) {
                    let [pair, oracle] = pairs(subject, shape, dtype)?;
                    let want = part(&Reference.errors(&oracle, ERRORS)?)?.clone();
                    // Differences of 8-bit numbers and their squares are exact; only long f32 sums round.
                    let rounding = 1e-7 + subject.rounding();
                    let tolerance = rounding * list(&want)?.into_iter().fold(0.0, f64::max);
                    assert_near(part(&subject.kernel.errors(&pair, ERRORS)?)?, &want, tolerance, subject.name());
                }
            }
            check_gradients("errors", shape, &|kernel, pair| {
                // A sum, not a mean: unscaled, or its gradient is beyond the largest f16.
                Ok(part(&kernel.errors(pair, ERRORS)?)?.affine(1.0 / 1024.0, 0.0)?)
            })?;
        }
    }
    Ok(())
}

#[test]
fn images_with_ranges_of_their_own() -> Result<()> {
    let plan = SsimConfig::new(DataRange::PerImage).plan("suite", 2)?;
    let scale = Tensor::new(&[1f64, 0.25, 2.0], &Device::Cpu)?.reshape((3, 1, 1, 1))?;
    for subject in &all() {
        for dtype in [DType::F32, DType::F64].into_iter().filter(|&dtype| subject.has(dtype)) {
            let pair = |device: &Device, dtype| {
                let [x, y] = [1, 2].map(|seed| {
                    image(&[3, 2, 20, 21], seed, DType::F64)?.broadcast_mul(&scale)?.to_dtype(dtype)?.to_device(device)
                });
                pair(&x?, &y?, DataRange::PerImage)
            };
            let want = means(&Reference, &pair(&Device::Cpu, DType::F64)?, &plan, Score::Ssim)?;
            let got = means(subject.kernel, &pair(&subject.device, dtype)?, &plan, Score::Ssim)?;
            assert_near(&got, &want, tolerance(dtype), subject.name());
        }
    }
    Ok(())
}

#[test]
fn the_largest_and_smallest_data_ranges() -> Result<()> {
    let plan = SsimConfig::new(1.0).window(5).plan("suite", 2)?;
    let shape = [1, 2, 41, 43];
    let scores = |subject: &Subject, dtype: DType, range: f64| -> Result<[Tensor; 3]> {
        let var = |seed| {
            let image = image(&shape, seed, DType::F64)?.affine(range / 255.0, 0.0)?;
            Var::from_tensor(&image.to_dtype(dtype)?.to_device(&subject.device)?)
        };
        let (x, y) = (var(1)?, var(2)?);
        let pair = pair(&x, &y, range.into())?;
        let (kernel, odd_sides) = (subject.kernel, OddSides::Drop);
        let sums = if subject.has(DType::F64) { DType::F64 } else { DType::F32 };
        let parts = [
            means(kernel, &pair, &plan, Score::Ssim)?.flatten_all()?,
            means(kernel, &pair, &plan, Score::Contrast)?.flatten_all()?,
            scales(kernel, &pair, &plan, 2, odd_sides)?.flatten_all()?,
            kernel.map(&pair, &plan, Score::Ssim)?.mean_all()?.reshape(1)?.to_dtype(sums)?,
        ];
        let values = Tensor::cat(&parts, 0)?;
        let store = values.sum_all()?.backward()?;
        let gradient = |var: &Var| match store.get(var) {
            Some(gradient) => gradient.to_device(&Device::Cpu)?.to_dtype(DType::F64)?.affine(range, 0.0),
            None => candle_core::bail!("no gradient"),
        };
        Ok([values.to_device(&Device::Cpu)?.to_dtype(DType::F64)?, gradient(&x)?, gradient(&y)?])
    };
    let oracle = Subject { kernel: &Reference, device: Device::Cpu };
    let [values, by_x, by_y] = scores(&oracle, DType::F64, 1.0)?;
    for subject in &all() {
        for (dtype, ends, value, gradient) in
            [(DType::F64, [1e-100, 1e100], F64_VALUE, 1e-10), (DType::F32, [1e-12, 1e12], F32_VALUE, 1e-5)]
        {
            for range in ends.into_iter().filter(|_| subject.has(dtype)) {
                let what = format!("{} {dtype:?} at {range:e}", subject.name());
                let [got, got_by_x, got_by_y] = scores(subject, dtype, range)?;
                assert_near(&got, &values, value, &what);
                for (got, want) in [(got_by_x, &by_x), (got_by_y, &by_y)] {
                    let largest = list(want)?.into_iter().map(f64::abs).fold(0.0, f64::max);
                    assert_near(&got, want, gradient * largest, &what);
                }
            }
        }
    }
    Ok(())
}

/// All that a pass can compute, as one list.
fn everything(outcome: &Outcome) -> Result<Tensor> {
    let terms = [outcome.ssim()?, outcome.contrast()?, outcome.scales()?];
    // Sums of many pixels, brought near the size of means.
    let errors = [outcome.squared()?.affine(1e-4, 0.0)?, outcome.absolute()?.affine(1e-3, 0.0)?];
    let flat = |part: &Tensor| part.flatten_all()?.to_dtype(DType::F64);
    let parts = terms.into_iter().chain(&errors).map(flat).collect::<Result<Vec<_>>>()?;
    Tensor::cat(&parts, 0)
}

#[test]
fn one_pass_computes_what_many_do() -> Result<()> {
    for (shape, padding) in [(&[2, 2, 41, 70][..], Padding::Reflect), (&[1, 2, 21, 22, 23], Padding::Valid)] {
        let plan = SsimConfig::new(255.0).window(5).padding(padding).plan("suite", shape.len() - 2)?;
        for count in [1, 3] {
            let wants = Wants {
                ssim: true,
                contrast: true,
                scales: Some(Scales { count, odd_sides: OddSides::Drop }),
                ..ERRORS
            };
            for Subject { kernel, device } in fused() {
                let subject = &Subject { kernel, device };
                for dtype in DTYPES.into_iter().filter(|&dtype| subject.has(dtype)) {
                    let [pair, _] = pairs(subject, shape, dtype)?;
                    let together = kernel.pass(&pair, &plan, wants)?;
                    let errors = kernel.errors(&pair, ERRORS)?;
                    let apart = Outcome {
                        ssim: Some(means(kernel, &pair, &plan, Score::Ssim)?),
                        contrast: Some(means(kernel, &pair, &plan, Score::Contrast)?),
                        scales: Some(scales(kernel, &pair, &plan, count, OddSides::Drop)?),
                        ..errors
                    };
                    let what = format!("{shape:?} in {dtype:?} by {}", kernel.name());
                    assert_eq!(list(&everything(&together)?)?, list(&everything(&apart)?)?, "{what}");
                }
            }
            let what = format!("everything of {shape:?} at {count} scales");
            check_gradients(&what, shape, &|kernel, pair| Ok(everything(&kernel.pass(pair, &plan, wants)?)?))?;
        }
    }
    Ok(())
}

/// Views of one tensor's pixels with other strides, and the same pixels laid out densely.
fn views() -> Result<Vec<Tensor>> {
    let base = image(&[3, 4, 30, 40], 3, DType::F32)?;
    Ok(vec![
        base.narrow(0, 1, 2)?.narrow(1, 1, 2)?.narrow(2, 3, 21)?.narrow(3, 5, 27)?,
        base.transpose(2, 3)?,
        base.permute((1, 3, 0, 2))?.narrow(2, 0, 1)?.broadcast_as((4, 40, 24, 30))?.narrow(1, 0, 2)?,
        base.narrow(3, 2, 1)?.broadcast_as((3, 4, 30, 20))?,
        base.narrow(1, 0, 1)?.broadcast_as((3, 4, 30, 40))?,
    ])
}

#[test]
fn views_score_as_their_copies() -> Result<()> {
    let plan = SsimConfig::new(255.0).plan("suite", 2)?;
    for Subject { kernel, device } in all() {
        for x in views()? {
            let x = x.to_device(&device)?;
            let y = image(x.dims(), 4, DType::F32)?.to_device(&device)?;
            let copy = x.force_contiguous()?;
            for (a, b) in [(&x, &y), (&y, &x)] {
                let dense = |t: &Tensor| if t.id() == x.id() { copy.clone() } else { t.clone() };
                let (view, dense) = (pair(a, b, 255.0.into())?, pair(&dense(a), &dense(b), 255.0.into())?);
                for score in SCORES {
                    assert_eq!(
                        list(&means(kernel, &view, &plan, score)?)?,
                        list(&means(kernel, &dense, &plan, score)?)?
                    );
                    assert_eq!(list(&kernel.map(&view, &plan, score)?)?, list(&kernel.map(&dense, &plan, score)?)?);
                }
                let squared = |pair| list(kernel.errors(pair, ERRORS)?.squared()?);
                assert_eq!(squared(&view)?, squared(&dense)?);
            }
        }
    }
    Ok(())
}

/// Scores, map and gradient by the fused kernels.
fn fused_bits(x: &Tensor, y: &Tensor) -> Result<Vec<f64>> {
    let plan = SsimConfig::new(255.0).plan("suite", 2)?;
    let (x, y) = (Var::from_tensor(x)?, Var::from_tensor(y)?);
    let pair = pair(&x, &y, 255.0.into())?;
    let means = means(&Fused, &pair, &plan, Score::Ssim)?;
    let gradient = means.backward()?.remove(&x).ok_or_else(|| candle_core::Error::msg("no gradient"))?;
    let scales = scales(&Fused, &pair, &plan, 2, OddSides::Drop)?;
    let all = [means, scales, Fused.errors(&pair, ERRORS)?.absolute()?.clone(), gradient];
    Ok(all.iter().map(list).collect::<Result<Vec<_>>>()?.concat())
}

#[test]
fn same_bits_on_any_number_of_threads() -> Result<()> {
    let (x, y) = (image(&[2, 3, 300, 421], 1, DType::F32)?, image(&[2, 3, 300, 421], 2, DType::F32)?);
    let on = |threads: usize| -> Result<Vec<f64>> {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().map_err(candle_core::Error::wrap)?;
        pool.install(|| fused_bits(&x, &y))
    };
    let one = on(1)?;
    assert!(one == on(2)? && one == on(5)?);
    Ok(())
}

#[test]
fn same_bits_alone_and_in_a_batch() -> Result<()> {
    let (x, y) = (image(&[3, 2, 60, 47], 1, DType::F32)?, image(&[3, 2, 60, 47], 2, DType::F32)?);
    let plan = SsimConfig::new(255.0).plan("suite", 2)?;
    for subject in &fused() {
        let batch = means(subject.kernel, &subject.pair(&x, &y)?, &plan, Score::Ssim)?;
        for i in 0..3 {
            let [x, y] = [&x, &y].map(|images| images.narrow(0, i, 1)?.force_contiguous());
            let alone = means(subject.kernel, &subject.pair(&x?, &y?)?, &plan, Score::Ssim)?;
            assert_eq!(list(&alone)?, list(&batch.narrow(0, i, 1)?)?, "{}", subject.name());
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn laws(height in 11usize..48, width in 11usize..80, seed in 1u64..1000, border in 0usize..4, offset in -500i32..500) {
        let padding = FUSED[border];
        let plan = SsimConfig::new(255.0).padding(padding).plan("suite", 2).unwrap();
        let shape = [2, 1, height, width];
        let (x, y) = (image(&shape, seed, DType::F32).unwrap(), image(&shape, seed + 1, DType::F32).unwrap());
        for subject in &all() {
            let score = |x: &Tensor, y: &Tensor, score| {
                list(&means(subject.kernel, &subject.pair(x, y).unwrap(), &plan, score).unwrap()).unwrap()
            };
            let ssim = score(&x, &y, Score::Ssim);
            prop_assert!(ssim.iter().all(|s| (-1.0..=1.0).contains(s)), "{:?}", ssim);
            for (a, b) in ssim.iter().zip(score(&y, &x, Score::Ssim)) {
                prop_assert!((a - b).abs() <= 1e-7, "not symmetric: {} and {}", a, b);
            }
            // Candle's mean multiplies by a rounded 1 / n.
            prop_assert!(score(&x, &x, Score::Ssim).iter().all(|s| (s - 1.0).abs() <= 2.0 * f64::EPSILON));
            let flipped = Tensor::cat(&[x.narrow(0, 1, 1).unwrap(), x.narrow(0, 0, 1).unwrap()], 0).unwrap();
            let flipped_target = Tensor::cat(&[y.narrow(0, 1, 1).unwrap(), y.narrow(0, 0, 1).unwrap()], 0).unwrap();
            let permuted = score(&flipped, &flipped_target, Score::Ssim);
            prop_assert!((permuted[0] - ssim[1]).abs() <= 1e-7 && (permuted[1] - ssim[0]).abs() <= 1e-7);
            if padding != Padding::Zero {
                // A common offset changes no contrast; the pixels stay integers, so f32 holds them exactly.
                let shift = |t: &Tensor| (t + f64::from(offset)).unwrap();
                for (a, b) in score(&x, &y, Score::Contrast).iter().zip(score(&shift(&x), &shift(&y), Score::Contrast)) {
                    prop_assert!((a - b).abs() <= F32_VALUE, "{} at offset {} is {}", a, offset, b);
                }
            }
        }
    }
}
