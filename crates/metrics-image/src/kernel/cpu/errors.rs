//! Errors of pixels: their sums and the gradient of those, in one pass.

use std::ops::Range;

use pulp::{Arch, Simd, WithSimd};

use super::border::runs;
use super::lanes::Real;
use super::plane::{Sources, Targets};
use super::total::Errors;

/// Pixels of a band: enough to outweigh what starting a task costs.
const BAND_PIXELS: usize = 1 << 16;

/// Runs of lines, counted through all slices, that are worked on independently.
pub(super) fn bands([depth, height, width]: [usize; 3]) -> Vec<Range<usize>> {
    runs(depth * height, BAND_PIXELS.div_ceil(width), 1).collect()
}

/// What to do with a band of a pair of planes.
pub(super) struct Band<'a, T> {
    pub(super) sources: Sources<'a, T>,
    pub(super) dims: [usize; 3],
    pub(super) lines: &'a Range<usize>,
    /// Of the sums of squared and of absolute errors.
    pub(super) weights: [f64; 2],
    pub(super) gradients: Targets<'a, T>,
    /// Where the errors of each line go.
    pub(super) rows: &'a mut [Errors],
}

impl<T: Real> Band<'_, T> {
    /// The errors; and the gradient of `weights[0]·Σ(x - y)² + weights[1]·Σ|x - y|`, where that of `|0|` is 0.
    pub(super) fn run(mut self, arch: Arch) {
        let [_, height, width] = self.dims;
        let mut buffers = [(); 3].map(|()| vec![T::default(); width]);
        let [a, b, gradient] = &mut buffers;
        for (line, errors) in self.lines.clone().zip(self.rows) {
            let at = [line / height, line % height];
            let (x, y) = (self.sources.x.row(at, 0..width, a), self.sources.y.row(at, 0..width, b));
            arch.dispatch(Sum { x, y, errors });
            for (side, target) in self.gradients.iter_mut().enumerate() {
                let Some(target) = target else { continue };
                gradient.fill(T::default());
                add_slope(arch, [x, y], self.weights, side, gradient);
                target.write((line - self.lines.start) * width, gradient);
            }
        }
    }
}

struct Sum<'a, T> {
    x: &'a [T],
    y: &'a [T],
    errors: &'a mut Errors,
}

impl<T: Real> WithSimd for Sum<'_, T> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        self.errors.add_row(simd, self.x, self.y);
    }
}

/// Adds the gradient of `weights[0]·Σ(x - y)² + weights[1]·Σ|x - y|` with respect to the pixels of `x` (side 0) or of `y` (side 1).
pub(super) fn add_slope<T: Real>(arch: Arch, [x, y]: [&[T]; 2], weights: [f64; 2], side: usize, out: &mut [T]) {
    let sign = if side == 0 { 1.0 } else { -1.0 };
    let slopes = [T::of(2.0 * sign * weights[0]), T::of(sign * weights[1])];
    arch.dispatch(AddSlope { x, y, slopes, out });
}

/// `slopes[0]·(x - y) + slopes[1]·sign(x - y)`.
struct AddSlope<'a, T> {
    x: &'a [T],
    y: &'a [T],
    slopes: [T; 2],
    out: &'a mut [T],
}

impl<T: Real> WithSimd for AddSlope<'_, T> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let (zero, [factor, absolute]) = (T::default(), self.slopes);
        for ((out, &x), &y) in self.out.iter_mut().zip(self.x).zip(self.y) {
            let error = x - y;
            let up = if error > zero { absolute } else { zero };
            let down = if error < zero { absolute } else { zero };
            *out = *out + (factor * error + (up - down));
        }
    }
}
