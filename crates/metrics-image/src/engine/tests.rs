mod support;

pub(super) use self::support::FORCED;
use self::support::{
    Pair, PlaneStats, PlaneWeights, Scan, archs, errors, gaussian, gradient, images, narrow, noise, pair, plan,
    readers, scan, stats, weights,
};
use super::naive::{self, Naive, means};
use super::schedule::Window;
use super::*;
use crate::engine::{OddSides, Padding};
use crate::measure::Measure;
use crate::measure::ssim::Plan;
use crate::measure::ssim::SsimPlaces;

/// The borders that the engine has.
const FUSED: [Padding; 4] = [Padding::Reflect, Padding::Symmetric, Padding::Zero, Padding::Valid];

#[test]
fn every_instruction_set() {
    for arch in archs() {
        FORCED.set(Some(arch));
        for padding in FUSED {
            for len in [1, 7, 11] {
                for dims in [[1, 11, 11], [1, 13, 70], [1, 37, 300], [11, 12, 67]] {
                    let plan = plan(padding, len, if dims[0] > 1 { 3 } else { 2 });
                    check(dims, &plan);
                    check_gradient(dims, &plan);
                }
            }
        }
        maps_and_their_gradients();
        downsampling_and_its_adjoint();
        pixel_errors_and_their_gradient();
        one_score_alone_has_the_same_bits();
        a_nan_spoils_its_own_plane_only();
        FORCED.set(None);
    }
}

fn check(dims: [usize; 3], plan: &Plan) {
    let [x, y] = images(dims, (dims[1] * 100 + dims[2]) as u64);
    let (xs, ys) = (narrow(&x), narrow(&y));
    let pair = Pair { x: Plane::dense(&xs, dims).unwrap(), y: Plane::dense(&ys, dims).unwrap() };
    let got = stats(&[pair], &[1.0], plan).unwrap()[0];
    let [ssim, contrast] = means(&x, &y, plan, 1.0);
    let errors = x.data.iter().zip(&y.data).map(|(a, b)| (a - b) * (a - b)).sum::<f64>();
    assert!((got.ssim - ssim).abs() < 1e-6, "{dims:?} {plan:?} {got:?} {ssim}");
    assert!(contrast.is_nan() == got.contrast.is_nan(), "{dims:?} {plan:?} {got:?} {contrast}");
    assert!(contrast.is_nan() || (got.contrast - contrast).abs() < 1e-6, "{dims:?} {plan:?} {got:?} {contrast}");
    let squared = got.errors.unwrap().squared;
    assert!((squared / errors - 1.0).abs() < 1e-6, "{dims:?} {plan:?} {got:?} {errors}");
    let pair = Pair { x: Plane::dense(&x.data, dims).unwrap(), y: Plane::dense(&y.data, dims).unwrap() };
    let got = stats(&[pair], &[1.0], plan).unwrap()[0];
    assert!((got.ssim - ssim).abs() < 1e-12, "{dims:?} {plan:?} {got:?} {ssim}");
}

/// The smallest side that a window of `len` taps fits.
fn least(padding: Padding, len: usize) -> usize {
    match padding {
        Padding::Reflect => len / 2 + 1,
        Padding::Symmetric => (len / 2).max(1),
        Padding::Valid => len,
        Padding::Replicate | Padding::Zero => 1,
    }
}

#[test]
fn sizes() {
    for padding in FUSED {
        for len in [1, 3, 7, 11, 15, 23] {
            let plan = plan(padding, len, 2);
            let least = least(padding, len);
            for side in least..=70 {
                check([1, side, (side * 7) % 70 + least], &plan);
                if len == 11 {
                    check([1, 12, side], &plan);
                    check([1, side, 12], &plan);
                }
            }
        }
        // Several strips and tiles.
        check([1, 200, 420], &plan(padding, 11, 2));
    }
}

/// The derivative along a random direction by the gradient, against a difference of values.
fn check_gradient(dims: [usize; 3], plan: &Plan) {
    let [x, y] = images(dims, (dims[1] * 100 + dims[2]) as u64);
    let [x, y] = [x.data, y.data];
    let weights = &weights(0.7, 0.4, 1);
    let score = |x: &[f64], y: &[f64]| {
        let stats = stats(&[pair(x, y, dims)], &[1.0], plan).unwrap()[0];
        weights[0].ssim * stats.ssim + if stats.contrast.is_nan() { 0.0 } else { weights[0].contrast * stats.contrast }
    };
    let (mut dx, mut dy) = (vec![0.0; x.len()], vec![0.0; x.len()]);
    let both = gradient(&[pair(&x, &y, dims)], &[1.0], plan, weights, [Some(&mut dx), Some(&mut dy)]);
    let value = stats(&[pair(&x, &y, dims)], &[1.0], plan).unwrap();
    // The same bits, whether a gradient is made or not. As text, in which NaN equals NaN.
    assert_eq!(format!("{both:?}"), format!("{value:?}"), "{dims:?} {plan:?}");
    let mut next = noise(7);
    let h = 1e-5;
    for (gradient, which) in [(&dx, 0), (&dy, 1)] {
        let direction: Vec<f64> = x.iter().map(|_| next() - 0.5).collect();
        let moved = |by: f64| {
            let step = |v: &[f64]| v.iter().zip(&direction).map(|(v, d)| v + by * d).collect::<Vec<_>>();
            if which == 0 { score(&step(&x), &y) } else { score(&x, &step(&y)) }
        };
        let difference = (moved(h) - moved(-h)) / (2.0 * h);
        let slope: f64 = gradient.iter().zip(&direction).map(|(g, d)| g * d).sum();
        let norm = gradient.iter().map(|g| g * g).sum::<f64>().sqrt() * (x.len() as f64 / 12.0).sqrt();
        assert!(
            (difference - slope).abs() < 1e-6 * norm.max(1e-3),
            "{dims:?} {plan:?} {which}: {difference} {slope} {norm}"
        );
    }
    // One input alone, and in f32.
    let mut alone = vec![0.0; x.len()];
    gradient(&[pair(&x, &y, dims)], &[1.0], plan, weights, [Some(&mut alone), None]);
    assert!(distance(&alone, &dx) < 1e-13, "{dims:?} {plan:?}");
    gradient(&[pair(&x, &y, dims)], &[1.0], plan, weights, [None, Some(&mut alone)]);
    assert!(distance(&alone, &dy) < 1e-13, "{dims:?} {plan:?}");
    let [xs, ys] = [&x, &y].map(|v| v.iter().map(|&v| v as f32).collect::<Vec<_>>());
    let mut single = vec![0.0f32; x.len()];
    gradient(&[pair(&xs, &ys, dims)], &[1.0], plan, weights, [Some(&mut single), None]);
    let single: Vec<f64> = single.iter().map(|&v| f64::from(v)).collect();
    assert!(distance(&single, &dx) < 1e-5, "{dims:?} {plan:?} {}", distance(&single, &dx));
}

/// Relative L2 distance.
fn distance(a: &[f64], b: &[f64]) -> f64 {
    let norm = |v: &mut dyn Iterator<Item = f64>| v.map(|v| v * v).sum::<f64>().sqrt();
    norm(&mut a.iter().zip(b).map(|(a, b)| a - b)) / norm(&mut b.iter().copied()).max(1e-300)
}

#[test]
fn uniform_windows_and_sample_covariance() {
    for padding in FUSED {
        for [height, width] in [[7, 7], [5, 9], [11, 3]] {
            let taps = [height, width].map(|len| vec![1.0 / len as f64; len]).to_vec();
            let count = (height * width) as f64;
            let plan = Plan { taps, covariance: count / (count - 1.0), ..plan(padding, 1, 2) };
            for dims in [[1, 13, 12], [1, 40, 33]] {
                check(dims, &plan);
                check_gradient(dims, &plan);
            }
        }
    }
}

#[test]
fn gradients() {
    for padding in FUSED {
        for len in [1, 3, 11, 15] {
            let plan = plan(padding, len, 2);
            let least = least(padding, len);
            for side in least..=70 {
                check_gradient([1, side, (side * 7) % 70 + least], &plan);
                if len == 11 {
                    check_gradient([1, 12, side], &plan);
                    check_gradient([1, side, 12], &plan);
                }
            }
        }
        check_gradient([1, 200, 420], &plan(padding, 11, 2));
    }
}

#[test]
fn volumes() {
    for padding in FUSED {
        for (len, dims) in [(3, [5, 6, 40]), (7, [7, 9, 8]), (11, [12, 13, 11]), (11, [11, 37, 12]), (5, [38, 6, 70])] {
            check(dims, &plan(padding, len, 3));
            check_gradient(dims, &plan(padding, len, 3));
        }
        let mut uneven = plan(padding, 3, 3);
        uneven.taps = vec![gaussian(1, 1.0), gaussian(11, 1.5), gaussian(7, 1.0)];
        check([6, 14, 20], &uneven);
        check_gradient([6, 14, 20], &uneven);
        uneven.taps[0] = gaussian(5, 1.0);
        check([6, 14, 20], &uneven);
        check_gradient([6, 14, 20], &uneven);
    }
}

#[test]
fn maps_and_their_gradients() {
    for padding in FUSED {
        for dims in [[1, 12, 13], [1, 30, 211], [11, 12, 13]] {
            let plan = plan(padding, 11, if dims[0] > 1 { 3 } else { 2 });
            let [x, y] = images(dims, 5);
            let [ssim, contrast] = naive::maps(&x, &y, &plan, 1.0);
            let map = |x: &[f64], y: &[f64]| {
                let maps =
                    Scan { maps: [true; 2], ..scan(&plan, &[1.0]) }.run(&[pair(x, y, dims)], None).unwrap().1.maps;
                let [ssim, contrast] = maps.try_into().unwrap();
                [ssim, contrast].map(Option::unwrap)
            };
            let [got_ssim, got_contrast] = map(&x.data, &y.data);
            assert!(distance(&got_ssim, &ssim.data) < 1e-12 && distance(&got_contrast, &contrast.data) < 1e-12);
            let mut next = noise(3);
            let upstream: Vec<f64> = ssim.data.iter().map(|_| next() - 0.3).collect();
            let direction: Vec<f64> = x.data.iter().map(|_| next() - 0.5).collect();
            let reader = Plane::dense(&upstream, ssim.dims).unwrap();
            let gradients = Gradients {
                upstream: vec![Upstream::Maps(vec![Some(&reader), None])],
                errors: vec![[0.0; 3]],
                wanted: [true; 2],
            };
            let made = scan(&plan, &[1.0]).run(&[pair(&x.data, &y.data, dims)], Some(gradients)).unwrap().1;
            let dx = made.gradients[0].clone().unwrap();
            let h = 1e-6;
            let moved = |by: f64| x.data.iter().zip(&direction).map(|(v, d)| v + by * d).collect::<Vec<_>>();
            let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
            let ahead = dot(&map(&moved(h), &y.data)[0], &upstream);
            let behind = dot(&map(&moved(-h), &y.data)[0], &upstream);
            let (difference, slope) = ((ahead - behind) / (2.0 * h), dot(&dx, &direction));
            assert!(
                (difference - slope).abs() < 1e-6 * slope.abs().max(1.0),
                "{dims:?} {padding:?} {difference} {slope}"
            );
        }
    }
}

/// Downsampling by its definition: pad, then average blocks of two on each axis but the depth of planes.
fn naive_half(image: &Naive, odd_sides: OddSides) -> Naive {
    let first = usize::from(image.dims[0] == 1);
    let leads = odd_sides.lead(&image.dims[first..]);
    let lead = |axis: usize| if axis < first { 0 } else { leads[axis - first] };
    let block = |axis: usize| if axis < first { 1 } else { 2 };
    let trail = |axis: usize| if axis < first { 0 } else { odd_sides.trail(image.dims[axis]) };
    let dims = std::array::from_fn(|axis| (image.dims[axis] + lead(axis) + trail(axis)) / block(axis));
    Naive::build(dims, |at| {
        let mut sum = 0.0;
        for corner in 0..block(0) * 4 {
            let offset = [corner / 4, corner / 2 % 2, corner % 2];
            let last = |axis: usize| image.dims[axis] - 1;
            let padded = |axis: usize| at[axis] * block(axis) + offset[axis];
            let place = |axis: usize| Some(padded(axis).checked_sub(lead(axis))?.min(last(axis)));
            sum += match [place(0), place(1), place(2)] {
                [Some(z), Some(y), Some(x)] => image.get([z, y, x]),
                _ if odd_sides == OddSides::Zero => 0.0,
                place => image.get(place.map(|place| place.unwrap_or(0))),
            };
        }
        sum / (block(0) * 4) as f64
    })
}

#[test]
fn downsampling_and_its_adjoint() {
    for odd_sides in [OddSides::Drop, OddSides::Zero, OddSides::Replicate, OddSides::ReplicateLast] {
        for (dims, padding) in [
            ([1, 24, 30], Padding::Reflect),
            ([1, 25, 30], Padding::Reflect),
            ([1, 24, 431], Padding::Valid),
            ([1, 271, 33], Padding::Valid),
            ([1, 270, 33], Padding::Zero),
            ([13, 12, 37], Padding::Zero),
            ([12, 40, 70], Padding::Valid),
            ([37, 12, 14], Padding::Reflect),
        ] {
            let plan = plan(padding, 11, if dims[0] > 1 { 3 } else { 2 });
            let [x, y] = images(dims, 11);
            let downsampling = Downsampling::new(dims, dims[0] == 1, odd_sides);
            let pairs = [pair(&x.data, &y.data, dims)];
            let and_coarser = Scan { downsampling: Some(downsampling), ..scan(&plan, &[1.0]) };
            let (got, made) = and_coarser.run(&pairs, None).unwrap();
            assert_eq!(got, stats(&pairs, &[1.0], &plan).unwrap());
            let [coarser_x, coarser_y] = made.coarser.unwrap();
            for (got, image) in [(&coarser_x, &x), (&coarser_y, &y)] {
                let expected = naive_half(image, odd_sides);
                assert_eq!(expected.dims, downsampling.dims());
                assert!(distance(got, &expected.data) < 1e-15, "{dims:?} {odd_sides:?}");
            }
            // The same, with a gradient and alone.
            let both = and_coarser.gradient(&pairs, &weights(1.0, 0.0, 1), [true, false]).1.coarser.unwrap();
            assert!(both == [coarser_x.clone(), coarser_y.clone()]);
            assert!(downsample(&[readers(&pairs[0])], downsampling) == both);
            // The way back is the adjoint: <coarser(x), g> = <x, adjoint(g)>.
            let mut next = noise(9);
            let coarser: Vec<f64> = coarser_x.iter().map(|_| next() - 0.5).collect();
            let mut gradient = vec![1.0; x.data.len()];
            add_coarser(downsampling, &mut gradient, &[0.0], &coarser);
            let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
            let (there, back) = (dot(&coarser_x, &coarser), dot(&x.data, &gradient));
            assert!((there - back).abs() < 1e-12 * coarser_x.len() as f64, "{dims:?} {odd_sides:?} {there} {back}");
        }
    }
}

#[test]
fn pixel_errors_and_their_gradient() {
    for dims in [[1, 1, 1], [1, 37, 211], [3, 40, 1000]] {
        let [x, y] = images(dims, 4);
        let pairs = [pair(&x.data, &y.data, dims)];
        let (got, [dx, dy]) = errors(&pairs, &[[0.5, 0.25, 0.0]], [true; 2]);
        let (got, dx, dy) = (got[0], dx.unwrap(), dy.unwrap());
        assert_eq!(got, errors(&pairs, &[], [false; 2]).0[0]);
        let differences = || x.data.iter().zip(&y.data).map(|(a, b)| a - b);
        assert!((got.squared / differences().map(|e| e * e).sum::<f64>() - 1.0).abs() < 1e-12);
        assert!((got.absolute / differences().map(f64::abs).sum::<f64>() - 1.0).abs() < 1e-12);
        for (error, (dx, dy)) in differences().zip(dx.iter().zip(&dy)) {
            let slope = error + 0.25 * if error == 0.0 { 0.0 } else { error.signum() };
            assert!((dx - slope).abs() < 1e-15 && (dy + slope).abs() < 1e-15);
        }
    }
}

/// Everything there is to know about some pairs of planes.
fn results<P: Pixel>(pairs: &[Pair<P>]) -> (Vec<PlaneStats>, Vec<Errors>, [Vec<P::Real>; 4]) {
    let dims = pairs[0].x.dims();
    let plan = plan(Padding::Reflect, 11, if dims[0] > 1 { 3 } else { 2 });
    let ranges = vec![1.0; pairs.len()];
    let (stats, made) = scan(&plan, &ranges).gradient(pairs, &weights(1.0, 0.5, pairs.len()), [true; 2]);
    let [dx, dy] = made.gradients.map(Option::unwrap);
    let (again, made) = Scan { maps: [true; 2], ..scan(&plan, &ranges) }.run(pairs, None).unwrap();
    let [ssim, contrast] = &made.maps[..] else { panic!() };
    let [ssim, contrast] = [ssim, contrast].map(|map| map.clone().unwrap());
    // As text, in which NaN equals NaN.
    assert_eq!(format!("{stats:?}"), format!("{again:?}"));
    // The same bits, whether errors are summed on the way or by themselves.
    let errors = errors(pairs, &[], [false; 2]).0;
    let on_the_way: Vec<_> = stats.iter().map(|stats| stats.errors.unwrap()).collect();
    assert_eq!(format!("{errors:?}"), format!("{on_the_way:?}"));
    (stats, errors, [dx, dy, ssim, contrast])
}

#[test]
fn same_bits_whatever_the_threads_the_batch_and_the_strides() {
    // The last two have several strips, and numbers of sum blocks that do not divide evenly.
    for dims in [[1, 300, 215], [13, 40, 70], [1, 1130, 17], [150, 12, 11]] {
        let len: usize = dims.iter().product();
        let images: Vec<_> = (0..3).flat_map(|seed| images(dims, seed)).map(|image| narrow(&image)).collect();
        let dense: Vec<_> = images.chunks(2).map(|xy| pair(&xy[0], &xy[1], dims)).collect();
        let expected = results(&dense);
        for threads in [1, 2, 3, 7] {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            assert!(pool.install(|| results(&dense)) == expected);
        }
        for (plane, &alone) in dense.iter().enumerate() {
            let (stats, errors, made) = results(&[alone]);
            assert!(stats[0] == expected.0[plane] && errors[0] == expected.1[plane]);
            for (made, expected) in made.iter().zip(&expected.2) {
                assert!(made[..] == expected[plane * len..][..len]);
            }
        }
        // Transposed and with every other pixel unused.
        let strides = [2, 2 * dims[0], 2 * dims[0] * dims[1]];
        let spread = |image: &[f32]| {
            let mut data = vec![f32::NAN; 2 * len];
            for z in 0..dims[0] {
                for y in 0..dims[1] {
                    for x in 0..dims[2] {
                        data[z * strides[0] + y * strides[1] + x * strides[2]] = image[(z * dims[1] + y) * dims[2] + x];
                    }
                }
            }
            data
        };
        let spread: Vec<_> = images.iter().map(|image| spread(image)).collect();
        let plane = |data| Plane::new(data, dims, strides).unwrap();
        let strided: Vec<_> = spread.chunks(2).map(|xy| Pair { x: plane(&xy[0]), y: plane(&xy[1]) }).collect();
        assert!(results(&strided) == expected);
    }
}

#[test]
fn work_items_make_up_the_plane_and_are_enough_for_the_threads() {
    for (dims, of_gradient) in [11, 70, 540, 1080, 4320].into_iter().flat_map(|side| {
        [[1, side, 20], [side, 12, 12], [1, side, 1920]]
            .into_iter()
            .flat_map(|dims| [false, true].map(|of_gradient| (dims, of_gradient)))
    }) {
        let plan = plan(Padding::Valid, 11, if dims[0] > 1 { 3 } else { 2 });
        let window = Window::<f32>::new(&SsimPlaces(plan.clone()).filters(), dims).unwrap();
        let blocks: Vec<_> = window.sum_blocks().collect();
        for (planes, threads) in
            [1, 3, 48].into_iter().flat_map(|planes| [1, 2, 5, 16, 64].map(|threads| (planes, threads)))
        {
            let cuts = window.cuts(planes, threads, of_gradient);
            let case = format!("{dims:?} {of_gradient} {planes} {threads} {cuts:?}");
            for axis in 0..3 {
                let border = window.borders[axis];
                assert!(cuts[axis].windows(2).all(|pair| pair[0].end == pair[1].start), "{case}");
                let end = if of_gradient { border.input } else { border.output };
                assert_eq!((cuts[axis][0].start, cuts[axis][cuts[axis].len() - 1].end), (0, end), "{case}");
            }
            let strips = &cuts[window.axis()];
            assert!(strips.iter().all(|strip| blocks.iter().any(|block| block.start == strip.start)), "{case}");
            let items = planes * cuts.iter().map(Vec::len).product::<usize>();
            assert!(threads == 1 || items >= 4 * threads || strips.len() == blocks.len(), "{case}");
        }
    }
    // A grey image of 1080p: six tiles and fifteen strips.
    let window = Window::<f32>::new(&SsimPlaces(plan(Padding::Reflect, 11, 2)).filters(), [1, 1080, 1920]).unwrap();
    assert_eq!(window.cuts(1, 16, true).map(|runs| runs.len()), [1, 15, 6]);
}

#[test]
fn broadcast_views() {
    let dims = [1, 20, 30];
    let row: Vec<f32> = (0..30).map(|i| i as f32 / 30.0).collect();
    let full: Vec<f32> = (0..600).map(|i| row[i % 30]).collect();
    let [x, _] = images(dims, 1);
    let x = narrow(&x);
    let x = Plane::dense(&x, dims).unwrap();
    let view = Pair { x, y: Plane::new(&row, dims, [0, 0, 1]).unwrap() };
    assert!(results(&[view]) == results(&[Pair { x, y: Plane::dense(&full, dims).unwrap() }]));
    let constant = Pair { x, y: Plane::new(&row[3..4], dims, [0, 0, 0]).unwrap() };
    assert!(results(&[constant]) == results(&[Pair { x, y: Plane::dense(&[row[3]; 600], dims).unwrap() }]));
    assert!(Plane::new(&row, dims, [0, 2, 1]).is_none());
    assert!(Plane::new(&row, [1, usize::MAX, 2], [0, usize::MAX, 1]).is_none());
    assert!(Plane::new(&row, [1, 0, 2], [0, 2, 1]).is_none());
}

#[test]
fn half_and_byte_pixels_are_computed_as_f32() {
    let dims = [1, 40, 53];
    let [x, y] = images(dims, 1).map(|image| narrow(&image));
    fn same<P: Pixel<Real = f32>>(dims: [usize; 3], x: &[f32], y: &[f32]) {
        let stored = |reals: &[f32]| {
            let mut pixels = vec![P::default(); reals.len()];
            P::narrow(reals, &mut pixels);
            pixels
        };
        let read = |pixels: &[P]| {
            let mut reals = vec![0.0; pixels.len()];
            P::widen(pixels, &mut reals);
            reals
        };
        let (x, y) = (stored(x), stored(y));
        assert!(results(&[pair(&x, &y, dims)]) == results(&[pair(&read(&x), &read(&y), dims)]));
    }
    same::<half::f16>(dims, &x, &y);
    same::<half::bf16>(dims, &x, &y);
    let bytes = |image: &[f32]| image.iter().map(|v| v * 255.0).collect::<Vec<_>>();
    same::<u8>(dims, &bytes(&x), &bytes(&y));
}

#[test]
fn one_score_alone_has_the_same_bits() {
    for (dims, padding) in [([1, 40, 300], Padding::Reflect), ([12, 13, 70], Padding::Valid)] {
        let plan = plan(padding, 11, if dims[0] > 1 { 3 } else { 2 });
        let [x, y] = images(dims, 4).map(|image| narrow(&image));
        let pairs = [pair(&x, &y, dims)];
        let both = stats(&pairs, &[1.0], &plan).unwrap()[0];
        for scored in [[true, false], [false, true], [false, false]] {
            let scan = Scan { scored, ..scan(&plan, &[1.0]) };
            let alone = scan.run(&pairs, None).unwrap().0[0];
            let beside = scan.gradient(&pairs, &weights(1.0, 1.0, 1), [true, false]).0[0];
            let only = |scored: bool, value: f64| if scored { value } else { f64::NAN };
            let want = [only(scored[0], both.ssim), only(scored[1], both.contrast)].map(f64::to_bits);
            assert_eq!([alone.ssim, alone.contrast].map(f64::to_bits), want);
            assert_eq!([beside.ssim, beside.contrast].map(f64::to_bits), want);
        }
    }
}

#[test]
fn the_gradient_of_errors_adds_to_that_of_scores() {
    for dims in [[1, 40, 300], [12, 13, 70]] {
        let plan = plan(Padding::Valid, 11, if dims[0] > 1 { 3 } else { 2 });
        let [x, y] = images(dims, 4).map(|image| image.data);
        let pairs = [pair(&x, &y, dims)];
        let made = |weights: PlaneWeights| {
            let (mut dx, mut dy) = (vec![0.0; x.len()], vec![0.0; x.len()]);
            gradient(&pairs, &[1.0], &plan, &[weights], [Some(&mut dx), Some(&mut dy)]);
            [dx, dy]
        };
        let scores = PlaneWeights { ssim: 0.7, contrast: 0.4, errors: [0.0; 3] };
        let [scores, both] = [scores, PlaneWeights { errors: [0.5, 0.25, 0.0], ..scores }].map(made);
        let of_errors = errors(&pairs, &[[0.5, 0.25, 0.0]], [true; 2]).1.map(Option::unwrap);
        for side in 0..2 {
            let sum: Vec<_> = scores[side].iter().zip(&of_errors[side]).map(|(a, b)| a + b).collect();
            assert!(distance(&both[side], &sum) < 1e-14, "{dims:?} {side}");
        }
    }
}

#[test]
fn a_nan_spoils_its_own_plane_only() {
    let dims = [1, 40, 53];
    let [x, y] = images(dims, 1).map(|image| narrow(&image));
    let mut bad = x.clone();
    bad[700] = f32::NAN;
    let (stats, errors, made) = results(&[pair(&x, &y, dims), pair(&bad, &y, dims), pair(&x, &y, dims)]);
    assert!(stats[1].ssim.is_nan() && stats[1].contrast.is_nan() && errors[1].squared.is_nan());
    assert!(stats[0] == stats[2] && stats[0].ssim.is_finite() && errors[0] == errors[2]);
    let spoilt = |made: &[f32]| made.iter().filter(|v| v.is_nan()).count();
    for made in &made {
        let [first, second, third] = [0, 1, 2].map(|plane| spoilt(&made[plane * 40 * 53..][..40 * 53]));
        assert!(first == 0 && third == 0 && second > 0 && second <= 21 * 21);
    }
}

#[test]
fn accuracy() {
    let dims = [1, 96, 101];
    let mut next = noise(21);
    let mut random = |low: f64, high: f64| Naive::build(dims, |_| low + (high - low) * next());
    let ramp = Naive::build(dims, |[_, y, x]| (x + y) as f64 / 200.0);
    let cases = [
        ("random", 1.0, random(0.0, 1.0), random(0.0, 1.0)),
        ("ramp", 1.0, ramp.clone(), random(-0.01, 0.01)),
        ("low contrast", 1.0, random(0.899, 0.901), random(0.899, 0.901)),
        ("offset 100", 1.0, random(100.0, 101.0), random(100.0, 101.0)),
        ("offset 1000", 1.0, random(1000.0, 1001.0), random(1000.0, 1001.0)),
        ("constant", 1.0, random(0.5, 0.5), random(0.25, 0.25)),
        ("16 bits", 65535.0, random(0.0, 65535.0), random(0.0, 65535.0)),
        ("high range", 1e4, random(0.0, 1e4), random(0.0, 1e4)),
    ];
    let plan = plan(Padding::Reflect, 11, 2);
    for (name, range, x, y) in cases {
        let y = if name == "ramp" { x.zip(&y, |x, noise| x + noise) } else { y };
        let [x, y] =
            [x, y].map(|image| Naive { data: image.data.iter().map(|&v| f64::from(v as f32)).collect(), ..image });
        let (xs, ys) = (narrow(&x), narrow(&y));
        let pairs = [pair(&xs, &ys, dims), pair(&xs, &xs, dims)];
        let (mut single, mut double) = (vec![0.0f32; 2 * xs.len()], vec![0.0; xs.len()]);
        let got = gradient(&pairs, &[range; 2], &plan, &weights(1.0, 0.0, 2), [Some(&mut single), None]);
        let wide = [pair(&x.data, &y.data, dims)];
        gradient(&wide, &[range], &plan, &weights(1.0, 0.0, 1), [Some(&mut double), None]);
        let [ssim, contrast] = means(&x, &y, &plan, range);
        let single: Vec<f64> = single[..xs.len()].iter().map(|&v| f64::from(v)).collect();
        let far = distance(&single, &double);
        println!("{name}: {:.1e} {:.1e}, gradient {far:.1e}", got[0].ssim - ssim, got[0].contrast - contrast);
        assert!((got[0].ssim - ssim).abs() < 1e-6 && (got[0].contrast - contrast).abs() < 1e-6, "{name}");
        assert_eq!(got[1].ssim, 1.0, "{name}");
        assert!(far < 1e-5, "{name} {far}");
    }
}
