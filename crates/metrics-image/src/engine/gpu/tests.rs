//! What the shared suite does not see.

mod planar;

use std::collections::BTreeSet;

use candle_core::{DType, Device, Layout, Result, Shape, Tensor, Var};
use kernel_emulation::{Dialect, launch, launches, sizes_of_params, without_barrier};

use super::Gpu;
use super::geometry::{Cut, Geometry, Strips};
use super::launch::Engine;
use super::params::{Params, Pool};
use crate::config::Input;
use crate::engine::OddSides;
use crate::engine::backend::{Program, Scales, Score};
use crate::engine::suite::{Kernel, Reference, Wants};
use crate::measure::similarity::{Mixture, Similarity, Term};
use crate::measure::ssim::Plan;
use crate::op::{Output, Score as _};
use crate::pair::{Images, Pair, Spread};
use crate::{GmsdConfig, MsSsimConfig, Padding, SsimConfig, VifConfig};

const DIALECTS: [Dialect; 2] = [Dialect::Cuda, Dialect::Metal];

#[test]
fn parameters_lie_in_memory_as_kernels_see_them() {
    // The emulation of CUDA keeps results in f64.
    assert_eq!([size_of::<Params<f32>>(), size_of::<Pool<f64>>()], sizes_of_params(false));
    assert_eq!([size_of::<Params<f64>>(), size_of::<Pool<f64>>()], sizes_of_params(true));
}

#[test]
fn windows_without_kernels_are_left_to_the_reference() -> Result<()> {
    let wants = Wants { ssim: true, ..Wants::default() };
    for (shape, window) in [(&[1, 1, 40, 41][..], 35), (&[1, 1, 14, 15, 16], 13)] {
        let [x, y] = images(shape, DType::F32)?;
        let pair = pair_of(&x, &y)?;
        let config = SsimConfig::new(255.0).window(window).padding(Padding::Valid);
        let plan = config.plan("test", shape.len() - 2)?;
        let score = |kernel: &dyn Kernel| -> Result<Vec<f64>> {
            kernel.pass(&pair, &plan, wants)?.ssim()?.flatten_all()?.to_vec1()
        };
        assert_eq!(score(&Gpu::EMULATED_METAL)?, score(&Reference)?);
    }
    Ok(())
}

#[test]
fn unknown_kernels_are_errors() {
    for dialect in DIALECTS {
        // SAFETY: there is no such kernel, so nothing gets the arguments.
        let error = unsafe { launch(dialect, "value_f8", 1, 1, &mut []) }.unwrap_err();
        assert_eq!(error, "value_f8: there is no such kernel");
    }
}

fn pair_of(x: &Tensor, y: &Tensor) -> Result<Pair> {
    Ok(Pair::new("test", &Input::new(255.0.into()), Spread::Larger, Images::new(x, y.into()))?)
}

/// Two images that differ everywhere, as variables.
fn images(shape: &[usize], dtype: DType) -> Result<[Var; 2]> {
    let image = |step: usize| {
        let pixels: Vec<f64> = (0..shape.iter().product()).map(|at: usize| (at * step % 251) as f64).collect();
        Var::from_tensor(&Tensor::from_vec(pixels, shape, &Device::Cpu)?.to_dtype(dtype)?)
    };
    Ok([image(7919)?, image(104_729)?])
}

const ERRORS: Wants = Wants { ssim: false, contrast: false, scales: None, squared: true, absolute: true };

/// All numbers of a pass, errors by themselves, a map of SSIM, and the gradients of the sum of it all by `leaves`, which are the images or
/// what these are views of.
fn everything(
    kernel: &dyn Kernel,
    images: [&Tensor; 2],
    leaves: &[Var; 2],
    plan: &Plan,
    scales: usize,
) -> Result<[Vec<f64>; 3]> {
    let pair = pair_of(images[0], images[1])?;
    let scales = Some(Scales { count: scales, odd_sides: OddSides::Replicate });
    let outcome = kernel.pass(&pair, plan, Wants { ssim: true, contrast: true, scales, ..ERRORS })?;
    let (errors, map) = (kernel.errors(&pair, ERRORS)?, kernel.map(&pair, plan, Score::Ssim)?);
    let flat = |part: &Tensor| part.flatten_all()?.to_dtype(DType::F64);
    // Sums, brought near the size of means.
    let small = |part: &Tensor, by: f64| part.to_dtype(DType::F64)?.affine(by, 0.0);
    let parts = [
        flat(outcome.ssim()?)?,
        flat(outcome.contrast()?)?,
        flat(outcome.scales()?)?,
        small(outcome.squared()?, 1e-8)?,
        small(outcome.absolute()?, 1e-6)?,
        small(errors.squared()?, 2e-8)?,
        small(errors.absolute()?, 2e-6)?,
        flat(&map)?,
    ];
    let values = Tensor::cat(&parts, 0)?;
    let weights: Vec<f64> = (0..values.elem_count()).map(|at| 1.0 + (at % 5) as f64).collect();
    let store = (&values * Tensor::new(weights, &Device::Cpu)?)?.sum_all()?.backward()?;
    let list = |part: &Tensor| flat(part)?.to_vec1::<f64>();
    let gradient = |leaf: &Var| list(store.get(leaf).expect("a gradient"));
    Ok([list(&values)?, gradient(&leaves[0])?, gradient(&leaves[1])?])
}

/// The same of dense images.
fn of_dense(kernel: &dyn Kernel, images: &[Var; 2], plan: &Plan, scales: usize) -> Result<[Vec<f64>; 3]> {
    everything(kernel, [&images[0], &images[1]], images, plan, scales)
}

/// Relative to the largest of what is wanted.
fn distance(got: &[f64], want: &[f64]) -> f64 {
    assert_eq!(got.len(), want.len());
    let size = want.iter().map(|want| want.abs()).fold(0.0, f64::max);
    // The largest, of which NaN is one.
    let far = got.iter().zip(want).map(|(got, want)| (got - want).abs() / size);
    far.fold(0.0, |most, far| if far > most || far.is_nan() { far } else { most })
}

#[test]
fn strips_of_every_length_are_right() -> Result<()> {
    // Shorter than a window, no divisor of the side, one short of it, longer.
    let strips = [1, 3, 5, 12, 29, 64];
    // Four scales are made in one launch by blocks that wait between them.
    let shapes: [(&[usize], usize, usize); 6] = [
        (&[1, 2, 30, 41], 11, 2),
        (&[1, 1, 27, 150], 7, 2),
        (&[1, 1, 82, 91], 7, 4),
        (&[1, 1, 60, 331], 9, 2),
        (&[1, 1, 40, 150], 13, 2),
        (&[1, 1, 14, 17, 40], 5, 2),
    ];
    for (shape, window, scales) in shapes {
        for padding in [Padding::Reflect, Padding::Zero, Padding::Valid] {
            let plan = SsimConfig::new(255.0).window(window).padding(padding).plan("test", shape.len() - 2)?;
            let want = of_dense(&Reference, &images(shape, DType::F64)?, &plan, scales)?;
            for (at, slices) in strips.into_iter().enumerate() {
                let (dialect, dtype, near) = match at % 3 {
                    0 => (Dialect::Cuda, DType::F64, [1e-10, 1e-10]),
                    1 => (Dialect::Cuda, DType::F32, [2e-5, 1e-5]),
                    _ => (Dialect::Metal, DType::F32, [2e-5, 1e-5]),
                };
                let gpu = Gpu { engine: Engine::Emulated(dialect, Strips::Of(slices)) };
                let got = of_dense(&gpu, &images(shape, dtype)?, &plan, scales)?;
                for ((got, want), near) in got.iter().zip(&want).zip([near[0], near[1], near[1]]) {
                    let far = distance(got, want);
                    assert!(far <= near, "{shape:?} {padding:?} {slices} {dtype:?}: {far:e}");
                }
            }
        }
    }
    Ok(())
}

#[test]
fn views_have_the_gradients_of_their_copies() -> Result<()> {
    let gradient_of = |axes: &[usize], shape: &[usize], gradient: Vec<f64>| -> Result<Vec<f64>> {
        Tensor::from_vec(gradient, shape, &Device::Cpu)?.permute(axes)?.flatten_all()?.to_vec1()
    };
    for (shape, axes, window) in [
        (&[2, 2, 41, 30][..], &[0, 1, 3, 2][..], 11),
        (&[2, 27, 30, 2], &[0, 3, 1, 2], 7),
        (&[1, 12, 14, 2, 13], &[0, 3, 2, 4, 1], 5),
    ] {
        let plan = SsimConfig::new(255.0).window(window).plan("test", shape.len() - 2)?;
        for kernel in [&Gpu::EMULATED_CUDA, &Gpu::EMULATED_METAL] {
            let [x, other] = images(shape, DType::F32)?;
            // One image is a view and the other is not, so that neither can be read with the strides of the other.
            let (view, copy) = (x.permute(axes)?, Var::from_tensor(&x.permute(axes)?.force_contiguous()?)?);
            let y = Var::from_tensor(&other.permute(axes)?.force_contiguous()?)?;
            for side in [0, 1] {
                let ordered = |x: Var| if side == 0 { [x, y.clone()] } else { [y.clone(), x] };
                let views = if side == 0 { [&view, &y] } else { [&y, &view] };
                let mut got = everything(kernel, views, &ordered(x.clone()), &plan, 2)?;
                let want = of_dense(kernel, &ordered(copy.clone()), &plan, 2)?;
                got[1 + side] = gradient_of(axes, shape, std::mem::take(&mut got[1 + side]))?;
                assert!(got == want, "{} {shape:?} {side}", kernel.name());
            }
        }
    }
    Ok(())
}

#[test]
fn half_and_byte_images_are_computed_as_f32() -> Result<()> {
    // The pixels are integers that all of these types hold; only what is stored is rounded, once and to the nearest.
    for (shape, window) in [(&[1, 2, 30, 41][..], 11), (&[1, 1, 12, 14, 13], 5)] {
        let plan = SsimConfig::new(255.0).window(window).plan("test", shape.len() - 2)?;
        for kernel in [&Gpu::EMULATED_CUDA, &Gpu::EMULATED_METAL] {
            let all = |dtype: DType| -> Result<(Vec<f64>, Option<Tensor>)> {
                let [x, y] = images(shape, dtype)?;
                let scales = Some(Scales { count: 2, odd_sides: OddSides::Zero });
                let pair = pair_of(&x, &y)?;
                let outcome = kernel.pass(&pair, &plan, Wants { ssim: true, scales, ..ERRORS })?;
                let flat = |part: &Tensor| part.flatten_all()?.to_dtype(DType::F64);
                let scales = flat(outcome.scales()?)?;
                let values = Tensor::cat(&[&scales, &flat(outcome.squared()?)?, &flat(outcome.absolute()?)?], 0)?;
                // As losses in half types are, scaled.
                let store = scales.affine(1024.0, 0.0)?.sum_all()?.backward()?;
                Ok((values.to_vec1()?, store.get(&x).cloned()))
            };
            let (values, gradient) = all(DType::F32)?;
            let gradient = gradient.expect("a gradient");
            for dtype in [DType::F16, DType::BF16] {
                let (got, stored) = all(dtype)?;
                assert_eq!(got, values, "{} {dtype:?}", kernel.name());
                let list = |gradient: &Tensor| gradient.to_dtype(DType::F64)?.flatten_all()?.to_vec1::<f64>();
                let rounded = gradient.to_dtype(dtype)?;
                assert!(list(&stored.expect("a gradient"))? == list(&rounded)?, "{} {dtype:?}", kernel.name());
            }
            assert_eq!(all(DType::U8)?.0, values, "{}", kernel.name());
        }
    }
    Ok(())
}

#[test]
fn sums_of_integers_are_exact() -> Result<()> {
    // Of several tiles and runs, and far above what f32 counts in ones: only pairs of f32 hold them.
    let shape = [1, 2, 150, 160];
    let plan = SsimConfig::new(255.0).window(7).plan("test", 2)?;
    let pixels = images(&shape, DType::F64)?.map(|image| image.flatten_all()?.to_vec1::<f64>());
    let [x, y] = pixels;
    let difference: Vec<f64> = x?.iter().zip(y?).map(|(x, y)| x - y).collect();
    let want: [f64; 2] = [difference.iter().map(|d| d * d).sum(), difference.iter().map(|d| d.abs()).sum()];
    assert!(want[0] > f64::from(1u32 << 28));
    for dtype in [DType::U8, DType::F16, DType::BF16, DType::F32] {
        let [x, y] = images(&shape, dtype)?;
        for kernel in [&Gpu::EMULATED_CUDA, &Gpu::EMULATED_METAL] {
            let pair = pair_of(&x, &y)?;
            for outcome in [kernel.errors(&pair, ERRORS)?, kernel.pass(&pair, &plan, ERRORS)?] {
                let got =
                    [outcome.squared()?, outcome.absolute()?].map(|sum| sum.to_dtype(DType::F64)?.to_vec1::<f64>());
                for (got, want) in got.into_iter().zip(want) {
                    // Metal keeps the sum of each channel in f32.
                    let rounding = if kernel.name() == "emulated metal" { want * f64::from(f32::EPSILON) } else { 0.0 };
                    let far = (got?[0] - want).abs();
                    assert!(far <= rounding, "{} {dtype:?}: {far} of {want}", kernel.name());
                }
            }
        }
    }
    Ok(())
}

#[test]
fn a_pixel_that_is_not_finite_spoils_its_own_surroundings_only() -> Result<()> {
    let plan = SsimConfig::new(255.0).window(7).plan("test", 2)?;
    for bad in [f64::NAN, f64::INFINITY] {
        let [x, y] = images(&[1, 2, 40, 50], DType::F64)?;
        let mut pixels: Vec<f64> = x.flatten_all()?.to_vec1()?;
        // A line of which the pivot has some pixels.
        pixels[2000 + 21 * 50 + 24] = bad;
        let x = Tensor::from_vec(pixels, x.shape(), &Device::Cpu)?.to_dtype(DType::F32)?;
        let pair = pair_of(&x, &y.to_dtype(DType::F32)?)?;
        for kernel in [&Gpu::EMULATED_CUDA, &Gpu::EMULATED_METAL] {
            let map = kernel.map(&pair, &plan, Score::Ssim)?.flatten_all()?.to_vec1::<f32>()?;
            for (at, value) in map.iter().enumerate() {
                let (plane, row, column) = (at / 2000, at / 50 % 40, at % 50);
                let near = plane == 1 && row.abs_diff(21) <= 3 && column.abs_diff(24) <= 3;
                assert_eq!(!value.is_finite(), near, "{} {bad} {plane} {row} {column}: {value}", kernel.name());
            }
        }
    }
    Ok(())
}

#[test]
fn strips_depend_on_the_size_of_a_plane_alone() -> Result<()> {
    let plan = |axes| SsimConfig::new(1.0).plan("test", axes);
    for (shape, [values, gradient]) in [
        (&[1, 1, 64, 64][..], [8, 8]),
        (&[1, 1, 160, 160], [16, 16]),
        (&[16, 3, 256, 256], [32, 64]),
        (&[1, 3, 256, 256], [32, 64]),
        (&[1, 3, 1080, 1920], [64, 128]),
        (&[1, 1, 2160, 3840], [64, 96]),
        (&[1, 1, 128, 128, 128], [32, 32]),
    ] {
        let layout = Layout::contiguous(shape);
        let windowed = Geometry::of([&layout, &layout])?.windowed(&plan(shape.len() - 2)?, Scales::ONE)?;
        for (cut, slices) in [(Cut::Values, values), (Cut::Gradient, gradient)] {
            let (params, grid) = windowed.cut(cut, DType::F32, Strips::Device)?;
            let scale = params.sizes.scale[0];
            assert_eq!(scale.owned[0], slices, "{shape:?}");
            let tiles: usize = scale.tiles.iter().map(|&tiles| tiles as usize).product();
            assert_eq!(grid.blocks, tiles * shape[0] * shape[1]);
        }
    }
    Ok(())
}

/// Gradients of a program with respect to both images, twice from one graph: what was saved, and what is made anew.
fn twice(gpu: Option<Gpu>, dtype: DType, program: &Program, output: Output, factor: f64) -> Result<[[Tensor; 2]; 2]> {
    let [x, y] = images(&[2, 2, 47, 54], dtype)?;
    let pair = pair_of(&x, &y)?;
    let value = match gpu {
        Some(gpu) => gpu.numbers(&pair, program.clone(), output).expect("kernels for it")?,
        None => {
            let Program { plan, terms, mixture, .. } = program.clone();
            // Weights of sums become weights of means.
            let values = pair.image_len() as f64;
            let mixture = mixture.map(|(weights, offset)| Mixture {
                weights: weights
                    .iter()
                    .zip(&terms)
                    .map(|(weight, term)| if term.is_error() { weight * values } else { *weight })
                    .collect(),
                offset,
            });
            let similarity = Similarity { plan: plan.expect("a window"), terms, mixture };
            let numbers = similarity.composed(&pair)?;
            match output {
                Output::Mean => numbers.mean_all()?,
                Output::Sum => numbers.sum_all()?,
                _ => numbers,
            }
        }
    };
    let weights: Vec<f64> = (0..value.elem_count()).map(|at| factor * (1.0 + at as f64)).collect();
    let weights = Tensor::from_vec(weights, value.shape(), &Device::Cpu)?.to_dtype(value.dtype())?;
    let value = (value * weights)?.sum_all()?;
    let backward = || -> Result<[Tensor; 2]> {
        let store = value.backward()?;
        let get = |var: &Var| store.get(var).expect("a gradient").to_dtype(DType::F64);
        Ok([get(&x)?, get(&y)?])
    };
    Ok([backward()?, backward()?])
}

#[test]
fn more_terms_than_the_kernels_make_at_once_are_made_in_parts() -> Result<()> {
    let plan = SsimConfig::new(255.0).window(7).plan("test", 2)?;
    let config = |beta: f64| MsSsimConfig::new(255.0).betas(vec![beta, 1.0 - beta]);
    let mut terms = vec![Term::Ssim, Term::Contrast, Term::Squared, Term::Absolute];
    terms.extend((1..=5).map(|tenths| Term::MsSsim(config(0.1 * f64::from(tenths)))));
    let scales = config(0.5).scales();
    let program = |terms: &[Term]| Program {
        plan: Some(plan.clone()),
        scales,
        terms: terms.to_vec(),
        mixture: None,
        by_range: false,
    };
    let [x, y] = images(&[3, 2, 30, 41], DType::F32)?;
    let pair = pair_of(&x.detach(), &y.detach())?;
    for gpu in [Gpu::EMULATED_CUDA, Gpu::EMULATED_METAL] {
        let numbers = |terms: &[Term]| gpu.numbers(&pair, program(terms), Output::PerImage).expect("kernels for it");
        let all = numbers(&terms)?;
        assert_eq!(all.dims(), [9, 3]);
        for (number, term) in terms.iter().enumerate() {
            let alone = numbers(std::slice::from_ref(term))?.to_dtype(DType::F64)?.to_vec1::<f64>()?;
            assert_eq!(all.get(number)?.to_dtype(DType::F64)?.to_vec1::<f64>()?, alone, "{term:?}");
        }
        // There is room for eight scales.
        let deep = MsSsimConfig::new(255.0).betas(vec![0.1; 9]);
        let program = Program { scales: deep.scales(), ..program(&[Term::MsSsim(deep)]) };
        assert!(gpu.numbers(&pair, program, Output::Mean).is_none());
    }
    Ok(())
}

#[test]
fn few_launches_stand_between_images_and_result() -> Result<()> {
    let plan = Some(SsimConfig::new(255.0).window(7).plan("test", 2)?);
    let config = MsSsimConfig::new(255.0);
    let ms_ssim = Term::MsSsim(config.clone());
    let program = |plan: &Option<Plan>, terms, scales| Program {
        plan: plan.clone(),
        scales,
        terms,
        mixture: None,
        by_range: false,
    };
    for (program, value, gradient) in [
        (program(&plan, vec![Term::Ssim], Scales::ONE), 2, 1),
        // The scales, the scan and the result; then the gradients of all scales come together.
        (program(&plan, vec![ms_ssim.clone()], config.scales()), 3, 1),
        (program(&plan, vec![ms_ssim, Term::Ssim, Term::Squared, Term::Absolute], config.scales()), 3, 4),
        (program(&None, vec![Term::Squared], Scales::ONE), 2, 1),
    ] {
        for gpu in [Gpu::EMULATED_CUDA, Gpu::EMULATED_METAL] {
            let [x, y] = images(&[2, 1, 64, 70], DType::F32)?;
            let (before, output) = (launches(), if program.terms.len() == 1 { Output::Mean } else { Output::PerImage });
            let numbers = gpu.numbers(&pair_of(&x, &y.detach())?, program.clone(), output).expect("kernels for it")?;
            assert_eq!(launches() - before, value, "{:?}", program.terms);
            let list = numbers.flatten_all()?.to_dtype(DType::F64)?.to_vec1::<f64>()?;
            assert!(list.iter().all(|number| number.is_finite()), "{list:?}");
            numbers.sum_all()?.backward()?;
            assert_eq!(launches() - before - value, gradient, "{:?}", program.terms);
        }
    }
    Ok(())
}

#[test]
fn saved_gradients_are_those_that_are_made_later() -> Result<()> {
    let plan = Some(SsimConfig::new(255.0).plan("test", 2)?);
    let config = MsSsimConfig::new(255.0).betas(vec![0.3, 0.2, 0.5]);
    let ms_ssim = Term::MsSsim(config.clone());
    let mixture = Some((vec![-0.3, 1e-4], 0.3));
    let program = |terms, scales, mixture| Program { plan: plan.clone(), scales, terms, mixture, by_range: false };
    let programs = [
        program(vec![Term::Ssim], Scales::ONE, None),
        program(vec![Term::Ssim, Term::Absolute], Scales::ONE, mixture),
        // One scale, whose weight is not known before it is measured.
        program(vec![Term::MsSsim(MsSsimConfig::new(255.0).betas(vec![0.7]))], Scales::ONE, Some((vec![-2.0], 2.0))),
        program(vec![ms_ssim.clone()], config.scales(), Some((vec![-2.0], 2.0))),
        // Nothing of it can be saved.
        program(vec![ms_ssim, Term::Ssim, Term::Squared], config.scales(), Some((vec![1.0, -0.5, 1e-6], 0.0))),
    ];
    for program in &programs {
        for (output, factor) in
            [(Output::Mean, 1.0), (Output::Mean, -3.0), (Output::Sum, 0.125), (Output::PerImage, 1024.0)]
        {
            let [want, _] = twice(None, DType::F64, program, output, factor)?;
            // Roundings of the gradient, and for half types of what is stored.
            for (gpu, dtype, near) in [
                (Gpu::EMULATED_CUDA, DType::F64, 1e-10),
                (Gpu::EMULATED_CUDA, DType::F32, 1e-5),
                (Gpu::EMULATED_METAL, DType::F32, 1e-5),
                (Gpu::EMULATED_METAL, DType::BF16, 1.0 / 128.0),
            ] {
                for got in twice(Some(gpu), dtype, program, output, factor)? {
                    for (got, want) in got.iter().zip(&want) {
                        let list = |gradient: &Tensor| gradient.flatten_all()?.to_vec1::<f64>();
                        let far = distance(&list(got)?, &list(want)?);
                        assert!(far <= near, "{} {dtype:?} {output:?} {:?}: {far:e}", gpu.name(), program.terms);
                    }
                }
            }
        }
    }
    Ok(())
}

/// Every `BARRIER();` in the text that both dialects share.
fn barriers() -> Vec<String> {
    let text = [
        ("tile.h", include_str!("tile.h")),
        ("scan.h", include_str!("scan.h")),
        ("window.h", include_str!("window.h")),
        ("pyramid.h", include_str!("pyramid.h")),
        ("pool.h", include_str!("pool.h")),
        ("gmsd.h", include_str!("../../measure/gmsd.h")),
    ];
    let of_file = |(file, text): (&str, &'static str)| {
        let file = file.to_owned();
        let lines = text.lines().enumerate().filter(|(_, line)| line.contains("BARRIER();"));
        lines.map(move |(at, _)| format!("{file}:{}", at + 1))
    };
    text.into_iter().flat_map(of_file).collect()
}

/// Something that runs all kernels of a family: values and gradients under a window, plain ones and with all that a pass can make.
fn run_window(gpu: Gpu, shape: &[usize], window: usize, scales: usize) -> Result<()> {
    let images = images(shape, DType::F32)?;
    let plan = SsimConfig::new(255.0).window(window).plan("test", shape.len() - 2)?;
    of_dense(&gpu, &images, &plan, scales)?;
    let program =
        Program { plan: Some(plan), scales: Scales::ONE, terms: vec![Term::Ssim], mixture: None, by_range: false };
    let numbers = |pair: &Pair| gpu.numbers(pair, program.clone(), Output::Mean).expect("kernels for it");
    numbers(&pair_of(&images[0], &images[1])?)?.backward()?;
    numbers(&pair_of(&images[0].detach(), &images[1].detach())?)?;
    Ok(())
}

/// Something that runs a kernel.
fn run_kernel(gpu: Gpu, kernel: &str) -> Result<()> {
    match kernel {
        // So many pixels that several threads put the sums of a plane together.
        "errors" | "finish" => {
            let [x, y] = images(&[1, 1, 8, 4096], DType::F32)?;
            gpu.errors(&pair_of(&x, &y)?, ERRORS).map(|_| ())?;
            Ok(())
        }
        // Three levels, between which blocks wait.
        "pyramid" | "wide_value" | "wide_adjoint" => run_window(gpu, &[1, 1, 20, 21], 3, 4),
        "gmsd_value" | "gmsd_gradient" => planar::run(gpu, &GmsdConfig::new(255.0)),
        "vif_value" | "vif_adjoint" => planar::run(gpu, &VifConfig::new(255.0)),
        "deep_value" | "deep_adjoint" => run_window(gpu, &[1, 1, 10, 11, 12], 5, 2),
        _ => run_window(gpu, &[1, 1, 20, 21], 11, 1),
    }
}

#[test]
fn threads_race_without_any_barrier_of_any_kernel() -> Result<()> {
    // A sanitized build has no watch.
    if option_env!("EMULATION_SANITIZE").is_some() {
        return Ok(());
    }
    let kernels = [
        "errors",
        "finish",
        "pyramid",
        "value_11",
        "pass_11",
        "gradient_11",
        "pass_gradient_11",
        "wide_value",
        "wide_adjoint",
        "deep_value",
        "deep_adjoint",
        "gmsd_value",
        "gmsd_gradient",
        "vif_value",
        "vif_adjoint",
    ];
    let (mut reached, mut missed) = (BTreeSet::new(), Vec::new());
    for dialect in DIALECTS {
        let gpu = Gpu { engine: Engine::Emulated(dialect, Strips::Device) };
        for (place, kernel) in barriers().iter().flat_map(|place| kernels.map(|kernel| (place, kernel))) {
            // VIFp is computed in f64 where there is f64.
            let real = if kernel.starts_with("vif") && dialect == Dialect::Cuda { "f64" } else { "f32" };
            match without_barrier(place, &format!("{kernel}_{real}"), || run_kernel(gpu, kernel)) {
                (Err(error), came) => {
                    assert!(came && error.to_string().contains("the memory of the block"), "{place}: {error}");
                    reached.insert((place.clone(), kernel));
                }
                (Ok(()), true) => missed.push(format!("{place} of {kernel} in {dialect:?}")),
                (Ok(()), false) => {}
            }
        }
    }
    assert!(missed.is_empty(), "nothing races without {missed:?}");
    let places: BTreeSet<_> = reached.iter().map(|(place, _)| place.clone()).collect();
    assert_eq!(places, barriers().into_iter().collect(), "some barriers are in no kernel");
    // That of partial sums in nine kernels, two of `finish` and of the pyramid each, one of each scan, one of `wide_value` and `vif_value`
    // each, two of all adjoints and of both kernels of GMSD each, three of `deep_value`.
    assert_eq!(reached.len(), 9 + 2 + 2 + 4 + 2 + 2 * 3 + 2 * 2 + 3, "{reached:?}");
    Ok(())
}

#[test]
fn sizes_beyond_the_indices_of_kernels_are_errors() -> Result<()> {
    let view = |shape: &[usize]| Tensor::zeros(vec![1; shape.len()], DType::F32, &Device::Cpu)?.broadcast_as(shape);
    let plan = SsimConfig::new(255.0).padding(Padding::Valid).plan("test", 2)?;
    let wants = Wants { ssim: true, ..Wants::default() };
    let errors = Wants { squared: true, ..Wants::default() };
    let line = (1usize << 31) - 1;
    for (shape, wants, what) in [
        (&[1, 1, 1, line + 1][..], errors, "2147483648 columns are more than 2147483647"),
        (&[1, 1, 1, line], errors, "2147483647 columns are more than 2147482623"),
        (&[1, 1, line + 1, 1], errors, "2147483648 lines are more than 2147483647"),
        (&[line + 1, 1, 1, 1], errors, "2147483648 images are more than 2147483647"),
        (&[1 << 16, 1 << 15, 1, 1], errors, "2147483648 planes are more than 2147483647"),
        (&[1, 1, line, line, line], errors, "more pixels than 9223372036854775807"),
        (&[4, 1, 1 << 30, 1 << 20], errors, "4294967296 blocks of threads are more than 2147483647"),
        (&[1, 1, 11, 1 << 30], wants, "1073741824 lines under a window are more than 1073741759"),
        (&[1, 1, 1 << 24, 1 << 22], wants, "blocks of threads are more than 2147483647"),
    ] {
        for kernel in [&Gpu::EMULATED_CUDA, &Gpu::EMULATED_METAL] {
            let pair = pair_of(&view(shape)?, &view(shape)?)?;
            let result = if wants == errors { kernel.errors(&pair, wants) } else { kernel.pass(&pair, &plan, wants) };
            let error = result.map(|_| ()).unwrap_err().to_string();
            assert!(error.contains(what) && error.contains(&format!("images of {shape:?}")), "{shape:?}: {error}");
        }
    }
    // Two blocks for each plane, of which there is no need to have the results.
    let layout = Layout::contiguous(Shape::from(&[1usize << 30, 1, 1, 1][..]));
    let geometry = Geometry::of([&layout, &layout])?;
    let error = geometry.grid(geometry.planes().checked_mul(2), 128).map(|_| ()).unwrap_err().to_string();
    assert!(error.contains("2147483648 blocks of threads are more than 2147483647"), "{error}");
    Ok(())
}
