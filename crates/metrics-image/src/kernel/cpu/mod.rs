//! Fused kernels for the CPU: each pixel is read once, filtered along and across in registers and first-level cache, and
//! nothing of the size of an image is kept. (piq's downsampling comes before them, in Candle's operations.)
//!
//! Planes are cut into bands and tiles by their size alone, and sums of both are added in order, so that results have the same
//! bits on one thread or many, for an image alone or in a batch, and whatever the strides. How many bands a thread walks in one
//! go depends on the number of threads, but nothing depends on that.

mod ahead;
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
mod room;
mod score;
mod scratch;
mod slide;
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
use self::plane::Source;
use self::pool::{Coarser, Halving};
use self::task::Batch;
use self::value::Sums;
use self::window::Window;
use super::plan::{OddSides, Plan};

pub(crate) use self::pixel::Pixel;
pub(crate) use self::plane::{Pair, Plane};
pub(crate) use self::room::{Fresh, Room};
pub(crate) use self::total::Errors;

/// What one plane scores; NaN for what was not to be scored.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct PlaneStats {
    /// Mean over the map.
    pub(crate) ssim: f64,
    /// Mean of the contrast over the map; without the border where that saw padding. NaN if nothing is left then.
    pub(crate) contrast: f64,
    /// If the walk was to sum them.
    pub(crate) errors: Option<Errors>,
}

/// What a scalar is the weighted sum of, for each plane.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct PlaneWeights {
    pub(crate) ssim: f64,
    pub(crate) contrast: f64,
    /// Of the sums of squared and of absolute errors; the derivative of `|0|` is 0.
    pub(crate) errors: [f64; 2],
}

/// Walks over pairs of planes of one size. Each returns `None` if the planes are too small for the window.
#[derive(Clone, Copy)]
pub(crate) struct Walk<'a> {
    pub(crate) plan: &'a Plan,
    /// The data range of each plane.
    pub(crate) ranges: &'a [f64],
    /// Whether to score SSIM, and contrast. What is not scored is not in the maps either.
    pub(crate) scored: [bool; 2],
    /// Whether to sum the errors of the pixels on the way.
    pub(crate) errors: bool,
}

impl Walk<'_> {
    /// Scores.
    pub(crate) fn stats<P: Pixel>(&self, pairs: &[Pair<P>]) -> Option<Vec<PlaneStats>> {
        self.map(pairs, [None, None])
    }

    /// Scores, and the maps of SSIM and of contrast as dense planes one after another, where they are wanted.
    pub(crate) fn map<P: Pixel>(&self, pairs: &[Pair<P>], maps: [Option<Room<P>>; 2]) -> Option<Vec<PlaneStats>> {
        self.run(pairs, |batch, _, errors| batch.values(maps, errors))
    }

    /// Scores, and both images averaged over 2×2 (2×2×2) pixels, as dense planes of [`halved`] size one after another.
    pub(crate) fn halve<P: Pixel>(
        &self,
        pairs: &[Pair<P>],
        odd_sides: OddSides,
        halves: [Room<P::Real>; 2],
    ) -> Option<Vec<PlaneStats>> {
        self.run(pairs, |batch, window, errors| {
            let halving = Halving::new(window.borders.map(|border| border.input), !window.is_deep(), odd_sides);
            batch.halve(halving, halves, errors)
        })
    }

    /// Scores, and the gradient of their sum, weighted plane by plane, with respect to the pixels as dense planes one after
    /// another, for each input that wants one; plus what the gradient with respect to the pixels of the halved images (`coarser`,
    /// for each input) gives.
    pub(crate) fn gradient<P: Pixel>(
        &self,
        pairs: &[Pair<P>],
        weights: &[PlaneWeights],
        gradients: [Option<Room<P>>; 2],
        odd_sides: OddSides,
        coarser: [Option<&[P::Real]>; 2],
    ) -> Option<Vec<PlaneStats>> {
        self.run(pairs, |batch, window, errors| {
            let [count, contrast_count] = window.counts();
            let halving = Halving::new(window.borders.map(|border| border.input), !window.is_deep(), odd_sides);
            let len: usize = halving.dims().iter().product();
            let goal = |plane: usize| Goal {
                weights: Weights::Means {
                    ssim: weights[plane].ssim / count,
                    contrast: if contrast_count > 0.0 { weights[plane].contrast / contrast_count } else { 0.0 },
                },
                errors: weights[plane].errors,
                coarser: coarser.map(|coarser| Some(Coarser { gradient: &coarser?[plane * len..][..len], halving })),
            };
            batch.gradients(goal, gradients, errors)
        })
    }

    /// The gradient of the sum of the maps of SSIM and of contrast, each weighted by `upstream` (a plane of the map's size for
    /// each pair), as in [`gradient`](Self::gradient).
    pub(crate) fn map_gradient<P: Pixel>(
        &self,
        pairs: &[Pair<P>],
        upstream: [Option<&[Plane<P>]>; 2],
        gradients: [Option<Room<P>>; 2],
    ) -> Option<Vec<PlaneStats>> {
        let goal = |plane: usize| Goal {
            weights: Weights::Maps(upstream.map(|planes| planes.map(|planes| &planes[plane] as &dyn Source<P::Real>))),
            errors: [0.0; 2],
            coarser: [None, None],
        };
        self.run(pairs, |batch, _, errors| batch.gradients(goal, gradients, errors))
    }

    fn run<P: Pixel>(
        &self,
        pairs: &[Pair<P>],
        walk: impl FnOnce(&Batch<'_, P::Real>, &Window<P::Real>, Option<&mut [Errors]>) -> Vec<Sums>,
    ) -> Option<Vec<PlaneStats>> {
        let Some(first) = pairs.first() else { return Some(Vec::new()) };
        let [depth, height, _] = first.x.dims();
        let window = Window::new(self.plan, first.x.dims(), self.scored)?;
        let batch = Batch::new(pairs, self.ranges, self.plan, &window);
        let mut rows = if self.errors { vec![Errors::default(); pairs.len() * depth * height] } else { Vec::new() };
        let sums = walk(&batch, &window, self.errors.then_some(&mut rows[..]));
        let mut errors = rows.chunks(depth * height).map(|rows| rows.iter().copied().sum());
        let [count, contrast_count] = window.counts();
        let mean = |scored: bool, sum: f64, count: f64| if scored { 1.0 - sum / count } else { f64::NAN };
        let finish = |sums: Sums| PlaneStats {
            ssim: mean(self.scored[0], sums.ssim, count),
            contrast: mean(self.scored[1], sums.contrast, contrast_count),
            errors: errors.next(),
        };
        Some(sums.into_iter().map(finish).collect())
    }
}

/// The size of a plane after halving; depth stays if the plan has two axes.
pub(crate) fn halved(dims: [usize; 3], plan: &Plan, odd_sides: OddSides) -> [usize; 3] {
    Halving::new(dims, plan.taps.len() < 3, odd_sides).dims()
}

/// The errors of pairs of planes of one size, and the gradient of their sum, weighted plane by plane (no weights: 0), with respect
/// to the pixels as dense planes one after another, for each input that wants one.
pub(crate) fn errors<P: Pixel>(
    pairs: &[Pair<P>],
    weights: &[[f64; 2]],
    gradients: [Option<Room<P>>; 2],
) -> Vec<Errors> {
    let Some(first) = pairs.first() else { return Vec::new() };
    let [depth, height, _] = first.x.dims();
    let mut rows = vec![Errors::default(); pairs.len() * depth * height];
    let weights = |plane: usize| weights.get(plane).copied().unwrap_or_default();
    task::pixel_errors(pairs, first.x.dims(), weights, gradients, &mut rows);
    rows.chunks(depth * height).map(|rows| rows.iter().copied().sum()).collect()
}
