//! Fused kernels for the CPU: each pixel is read once, filtered along and across in registers and first-level cache, and
//! nothing of the size of an image is kept.
//!
//! Planes are cut into bands and bands into tiles by their size alone, and sums of tiles are added in order, so that results
//! have the same bits on one thread or many, for an image alone or in a batch, and whatever the strides.

mod back;
mod border;
mod derivatives;
mod errors;
mod filter;
mod formula;
mod gradient;
mod lanes;
mod pixel;
mod pixels;
mod plane;
mod pool;
mod ring;
mod score;
mod scratch;
mod subject;
mod task;
mod total;
mod value;
mod volume;
mod volume_gradient;
mod window;

#[cfg(test)]
mod naive;
#[cfg(test)]
mod tests;

use self::derivatives::{Goal, Weights};
use self::lanes::Real;
use self::plane::Source;
use self::pool::{Coarser, Halving};
use self::task::Batch;
use self::value::Sums;
use self::window::Window;
use super::plan::{OddSides, Plan};

pub(crate) use self::pixel::Pixel;
pub(crate) use self::plane::{Pair, Plane};
pub(crate) use self::total::Errors;

/// What one plane scores.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct PlaneStats {
    /// Mean over the map.
    pub(crate) ssim: f64,
    /// Mean of the contrast over the map; without the border where that saw padding. NaN if nothing is left then.
    pub(crate) contrast: f64,
    pub(crate) errors: Errors,
}

/// Scores of pairs of planes of one size; `ranges` has the data range of each. `None` if they are too small for the window.
pub(crate) fn stats<P: Pixel>(pairs: &[Pair<P>], ranges: &[f64], plan: &Plan) -> Option<Vec<PlaneStats>> {
    map(pairs, ranges, plan, [None, None])
}

/// [`stats`], and the maps of SSIM and of contrast as dense planes one after another, where they are wanted.
pub(crate) fn map<P: Pixel>(
    pairs: &[Pair<P>],
    ranges: &[f64],
    plan: &Plan,
    maps: [Option<&mut [P]>; 2],
) -> Option<Vec<PlaneStats>> {
    let Some(first) = pairs.first() else { return Some(Vec::new()) };
    let window = Window::new(plan, first.x.dims())?;
    let batch = Batch::new(pairs, ranges, plan, &window);
    Some(finish(&batch.values(maps), &window))
}

/// [`stats`], and both images averaged over 2×2 (2×2×2) pixels, as dense planes of [`halved`] size one after another.
pub(crate) fn stats_and_halves<P: Pixel>(
    pairs: &[Pair<P>],
    ranges: &[f64],
    plan: &Plan,
    odd_sides: OddSides,
    halves: [&mut [P::Real]; 2],
) -> Option<Vec<PlaneStats>> {
    let Some(first) = pairs.first() else { return Some(Vec::new()) };
    let window = Window::new(plan, first.x.dims())?;
    let batch = Batch::new(pairs, ranges, plan, &window);
    let halving = Halving::new(first.x.dims(), !window.is_deep(), odd_sides);
    Some(finish(&batch.halve(halving, halves), &window))
}

/// The size of a plane after halving; depth stays if the plan has two axes.
pub(crate) fn halved(dims: [usize; 3], plan: &Plan, odd_sides: OddSides) -> [usize; 3] {
    Halving::new(dims, plan.taps.len() < 3, odd_sides).dims()
}

/// [`stats`], and the gradient of `weights[i][0]·ssim + weights[i][1]·contrast` of each plane `i` by its pixels as dense planes one
/// after another, for each input that wants one.
pub(crate) fn stats_and_gradient<P: Pixel>(
    pairs: &[Pair<P>],
    ranges: &[f64],
    plan: &Plan,
    weights: &[[f64; 2]],
    gradients: [Option<&mut [P]>; 2],
) -> Option<Vec<PlaneStats>> {
    stats_and_whole_gradient(pairs, ranges, plan, weights, gradients, OddSides::Drop, [None, None])
}

/// [`stats_and_gradient`], plus what the gradient by the pixels of the halved images (`coarser`, for each input) gives.
pub(crate) fn stats_and_whole_gradient<P: Pixel>(
    pairs: &[Pair<P>],
    ranges: &[f64],
    plan: &Plan,
    weights: &[[f64; 2]],
    gradients: [Option<&mut [P]>; 2],
    odd_sides: OddSides,
    coarser: [Option<&[P::Real]>; 2],
) -> Option<Vec<PlaneStats>> {
    let Some(first) = pairs.first() else { return Some(Vec::new()) };
    let window = Window::new(plan, first.x.dims())?;
    let [count, contrast_count] = window.counts();
    let halving = Halving::new(first.x.dims(), !window.is_deep(), odd_sides);
    let len: usize = halving.dims().iter().product();
    let goal = |plane: usize| Goal {
        weights: Weights::Means {
            ssim: weights[plane][0] / count,
            contrast: if contrast_count > 0.0 { weights[plane][1] / contrast_count } else { 0.0 },
        },
        coarser: coarser.map(|coarser| Some(Coarser { gradient: &coarser?[plane * len..][..len], halving })),
    };
    let batch = Batch::new(pairs, ranges, plan, &window);
    Some(finish(&batch.gradients(goal, gradients), &window))
}

/// The gradient of the sum of the maps of SSIM and of contrast, each weighted by `upstream` (a plane of the map's size for each
/// pair), as in [`stats_and_gradient`].
pub(crate) fn map_gradient<P: Pixel>(
    pairs: &[Pair<P>],
    ranges: &[f64],
    plan: &Plan,
    upstream: [Option<&[Plane<P>]>; 2],
    gradients: [Option<&mut [P]>; 2],
) -> Option<()> {
    let Some(first) = pairs.first() else { return Some(()) };
    let window = Window::new(plan, first.x.dims())?;
    let goal = |plane: usize| Goal {
        weights: Weights::Maps(upstream.map(|planes| planes.map(|planes| &planes[plane] as &dyn Source<P::Real>))),
        coarser: [None, None],
    };
    Batch::new(pairs, ranges, plan, &window).gradients(goal, gradients);
    Some(())
}

/// The errors of pairs of planes of one size.
pub(crate) fn errors<P: Pixel>(pairs: &[Pair<P>]) -> Vec<Errors> {
    errors_and_gradient(pairs, &[], [None, None])
}

/// [`errors()`], and the gradient of `weights[i][0]·Σ(x - y)² + weights[i][1]·Σ|x - y|` of each plane `i` by its pixels, as in
/// [`stats_and_gradient`]. That of `|0|` is 0.
pub(crate) fn errors_and_gradient<P: Pixel>(
    pairs: &[Pair<P>],
    weights: &[[f64; 2]],
    gradients: [Option<&mut [P]>; 2],
) -> Vec<Errors> {
    let Some(first) = pairs.first() else { return Vec::new() };
    task::pixel_errors(pairs, first.x.dims(), |plane| weights.get(plane).copied().unwrap_or_default(), gradients)
}

fn finish<T: Real>(sums: &[Sums], window: &Window<T>) -> Vec<PlaneStats> {
    let [count, contrast_count] = window.counts();
    let finish = |sums: &Sums| PlaneStats {
        ssim: 1.0 - sums.ssim / count,
        contrast: 1.0 - sums.contrast / contrast_count,
        errors: sums.errors,
    };
    sums.iter().map(finish).collect()
}
