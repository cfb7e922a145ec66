//! Pairs of planes to scan, and scans of them.

use std::cell::Cell;

use pulp::Arch;

use crate::engine::Padding;
use crate::engine::naive::Naive;
use crate::engine::*;
use crate::measure::ssim::Plan;
use crate::measure::ssim::SsimPlaces;

thread_local! {
    /// The instruction set to use on this thread instead of the best.
    pub(in crate::engine) static FORCED: Cell<Option<Arch>> = const { Cell::new(None) };
}

/// Every instruction set of this machine that the kernels can use.
pub(super) fn archs() -> Vec<Arch> {
    let mut archs = vec![Arch::Scalar];
    #[cfg(target_arch = "x86_64")]
    {
        archs.extend(pulp::x86::V3::try_new().map(Arch::V3));
        archs.extend(pulp::x86::V4::try_new().map(Arch::V4));
    }
    #[cfg(target_arch = "aarch64")]
    archs.extend(pulp::aarch64::Neon::try_new().map(Arch::Neon));
    archs
}

pub(super) fn gaussian(len: usize, sigma: f64) -> Vec<f64> {
    let taps: Vec<f64> = (0..len).map(|i| (-((i as f64 - (len / 2) as f64) / sigma).powi(2) / 2.0).exp()).collect();
    let sum: f64 = taps.iter().sum();
    taps.iter().map(|tap| tap / sum).collect()
}

pub(super) fn plan(padding: Padding, len: usize, axes: usize) -> Plan {
    Plan { taps: vec![gaussian(len, 1.5); axes], padding, covariance: 1.0, k1: 0.01, k2: 0.03 }
}

/// Something for each of two inputs that wants it.
pub(super) type OfInputs<T> = [Option<Vec<T>>; 2];

/// A pair of planes.
#[derive(Clone, Copy)]
pub(super) struct Pair<'a, P> {
    pub(super) x: Plane<'a, P>,
    pub(super) y: Plane<'a, P>,
}

/// What one plane scores; NaN for what was not to be scored.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct PlaneStats {
    pub(super) ssim: f64,
    pub(super) contrast: f64,
    pub(super) errors: Option<Errors>,
}

/// Scans by SSIM, and what they are to make.
#[derive(Clone, Copy)]
pub(super) struct Scan<'a> {
    pub(super) plan: &'a Plan,
    pub(super) ranges: &'a [f64],
    pub(super) scored: [bool; 2],
    pub(super) maps: [bool; 2],
    pub(super) downsampling: Option<Downsampling>,
}

pub(super) fn scan<'a>(plan: &'a Plan, ranges: &'a [f64]) -> Scan<'a> {
    Scan { plan, ranges, scored: [true; 2], maps: [false; 2], downsampling: None }
}

impl Scan<'_> {
    pub(super) fn run<P: Pixel>(
        &self,
        pairs: &[Pair<P>],
        gradients: Option<Gradients<[f64; 2], P::Real>>,
    ) -> Option<(Vec<PlaneStats>, Made<P::Real>)> {
        let measure = SsimPlaces(self.plan.clone());
        let readers: Vec<_> = pairs.iter().map(|pair| readers(pair)).collect();
        let batch = Batch {
            wanted: self.scored,
            maps: self.maps,
            downsampling: self.downsampling,
            errors: true,
            ..Batch::new(&measure, &readers, self.ranges)
        };
        let Scanned { sums, errors, maps, coarser, gradients } = batch.scan(gradients.as_ref())?;
        let count = counts(&measure, pairs[0].x.dims());
        let mean = |map: usize, sum: f64| if self.scored[map] { 1.0 - sum / count[map] } else { f64::NAN };
        let stats = sums.iter().zip(errors).map(|(sums, errors)| PlaneStats {
            ssim: mean(0, sums[0]),
            contrast: mean(1, sums[1]),
            errors: Some(errors),
        });
        Some((stats.collect(), Made { maps, coarser, gradients }))
    }

    pub(super) fn gradient<P: Pixel>(
        &self,
        pairs: &[Pair<P>],
        weights: &[PlaneWeights],
        wanted: [bool; 2],
    ) -> (Vec<PlaneStats>, Made<P::Real>) {
        let count = counts(&SsimPlaces(self.plan.clone()), pairs[0].x.dims());
        // A scan sums up what scores lack of 1.
        let weight = |weight: f64, count: f64| if count > 0.0 { -weight / count } else { 0.0 };
        let upstream = |weights: &PlaneWeights| {
            Upstream::Sums([weight(weights.ssim, count[0]), weight(weights.contrast, count[1])])
        };
        let gradients = Gradients {
            upstream: weights.iter().map(upstream).collect(),
            errors: weights.iter().map(|weights| weights.errors).collect(),
            wanted,
        };
        self.run(pairs, Some(gradients)).unwrap()
    }
}

/// The number of places of each map.
fn counts(measure: &SsimPlaces, dims: [usize; 3]) -> [f64; 2] {
    measure.regions(dims).map(|region| region.iter().map(|run| run.len()).product::<usize>() as f64)
}

pub(super) struct Made<T> {
    pub(super) maps: Vec<Option<Vec<T>>>,
    pub(super) coarser: Option<[Vec<T>; 2]>,
    pub(super) gradients: [Option<Vec<T>>; 2],
}

pub(super) fn readers<'a, P: Pixel>(pair: &'a Pair<P>) -> [&'a dyn RowReader<P::Real>; 2] {
    [&pair.x, &pair.y]
}

pub(super) fn stats<P: Pixel>(pairs: &[Pair<P>], ranges: &[f64], plan: &Plan) -> Option<Vec<PlaneStats>> {
    Some(scan(plan, ranges).run(pairs, None)?.0)
}

/// What a scalar is the weighted sum of, for each plane.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct PlaneWeights {
    pub(super) ssim: f64,
    pub(super) contrast: f64,
    pub(super) errors: ErrorSlopes,
}

/// Weights of SSIM and contrast, the same for all planes.
pub(super) fn weights(ssim: f64, contrast: f64, planes: usize) -> Vec<PlaneWeights> {
    vec![PlaneWeights { ssim, contrast, ..PlaneWeights::default() }; planes]
}

pub(super) fn gradient<P: Pixel>(
    pairs: &[Pair<P>],
    ranges: &[f64],
    plan: &Plan,
    weights: &[PlaneWeights],
    gradients: [Option<&mut [P::Real]>; 2],
) -> Vec<PlaneStats> {
    let wanted = gradients.each_ref().map(Option::is_some);
    let (stats, made) = scan(plan, ranges).gradient(pairs, weights, wanted);
    for (out, made) in gradients.into_iter().zip(made.gradients) {
        if let Some(out) = out {
            out.copy_from_slice(&made.unwrap());
        }
    }
    stats
}

pub(super) fn errors<P: Pixel>(
    pairs: &[Pair<P>],
    weights: &[ErrorSlopes],
    wanted: [bool; 2],
) -> (Vec<Errors>, OfInputs<P::Real>) {
    let readers: Vec<_> = pairs.iter().map(|pair| readers(pair)).collect();
    crate::engine::errors(&readers, &[], None, |plane| weights.get(plane).copied().unwrap_or_default(), wanted)
}

/// Numbers in 0..1 from a small generator.
pub(super) fn noise(seed: u64) -> impl FnMut() -> f64 {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 11) as f64 / (1u64 << 53) as f64
    }
}

pub(super) fn images(dims: [usize; 3], seed: u64) -> [Naive; 2] {
    let mut next = noise(seed);
    let x = Naive::build(dims, |[z, y, x]| {
        0.5 + 0.4 * ((x + z) as f64 * 0.21).sin() * (y as f64 * 0.13).cos() + 0.1 * f64::from(next() as f32)
    });
    let x = Naive { data: x.data.iter().map(|&v| f64::from(v as f32)).collect(), ..x };
    let y = Naive { data: x.data.iter().map(|&v| f64::from((v + 0.3 * (next() - 0.5)) as f32)).collect(), ..x.clone() };
    [x, y]
}

pub(super) fn narrow(image: &Naive) -> Vec<f32> {
    image.data.iter().map(|&v| v as f32).collect()
}

pub(super) fn pair<'a, P: Pixel>(x: &'a [P], y: &'a [P], dims: [usize; 3]) -> Pair<'a, P> {
    Pair { x: Plane::dense(x, dims).unwrap(), y: Plane::dense(y, dims).unwrap() }
}
