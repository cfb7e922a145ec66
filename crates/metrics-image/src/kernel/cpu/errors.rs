//! Errors of pixels: their sums and the gradient of those, in one pass.

use std::ops::Range;

use pulp::Simd;

use super::back::Outputs;
use super::border::runs;
use super::lanes::Real;
use super::pixels::Pair;
use super::plane::Pixel;
use super::total::{ErrorTotal, Errors};

/// Pixels of a band: enough to outweigh what starting a task costs.
const BAND_PIXELS: usize = 1 << 16;

/// Runs of lines, counted through all slices, that are worked on independently.
pub(super) fn bands([depth, height, width]: [usize; 3]) -> Vec<Range<usize>> {
    runs(depth * height, BAND_PIXELS.div_ceil(width), 1).collect()
}

/// The sums over a band; and the gradient of `weights[0]·Σ(x - y)² + weights[1]·Σ|x - y|`, where that of `|0|` is 0.
#[inline(always)]
pub(super) fn band<P: Pixel, S: Simd>(
    simd: S,
    pair: &Pair<P>,
    lines: &Range<usize>,
    [squared, absolute]: [f64; 2],
    outputs: &mut Outputs<P>,
) -> Errors {
    let [_, height, width] = pair.x.dims();
    let mut buffers = [(); 3].map(|()| vec![P::Real::default(); width]);
    let [a, b, gradient] = &mut buffers;
    let mut total = ErrorTotal::default();
    for line in lines.clone() {
        let (z, y) = (line / height, line % height);
        let (x, y) = (pair.x.row(z, y, 0..width, a), pair.y.row(z, y, 0..width, b));
        total.add_rows(simd, x, y);
        for (output, sign) in outputs.iter_mut().zip([1.0, -1.0]) {
            let Some(output) = output else { continue };
            slopes(x, y, P::Real::of(2.0 * sign * squared), P::Real::of(sign * absolute), gradient);
            P::narrow(gradient, &mut output[(line - lines.start) * width..][..width]);
        }
    }
    total.value()
}

/// `factor·(x - y) + absolute·sign(x - y)`.
#[inline(always)]
fn slopes<T: Real>(x: &[T], y: &[T], factor: T, absolute: T, out: &mut [T]) {
    let zero = T::default();
    for ((out, &x), &y) in out.iter_mut().zip(x).zip(y) {
        let error = x - y;
        let up = if error > zero { absolute } else { zero };
        let down = if error < zero { absolute } else { zero };
        *out = factor * error + (up - down);
    }
}
