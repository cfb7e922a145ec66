//! Errors of pixels: their sums and the gradient of those, in one pass.

use std::ops::Range;

use pulp::{Arch, Scalar, Simd, WithSimd};
use rayon::prelude::*;

use super::basis::PixelRows;
use super::border::{runs, whole};
use super::buffer::{Fresh, RowWriter};
use super::rows::RowReader;
use super::schedule::arch;
use super::simd::{Lanes, Real};
use super::sums::{ERROR_RUN, Errors, charbonnier};

/// Pixels of a work item: enough to outweigh what starting one costs.
const ITEM: usize = 1 << 16;
/// With fewer pixels than these, waking another thread takes longer than the work.
const TOO_FEW: usize = 1 << 17;

/// The derivatives with respect to the sums of [`Errors`]: squared, absolute and Charbonnier's.
pub(crate) type ErrorSlopes = [f64; 3];

/// The errors of pairs of planes of one size, each pixel with the weight that its plane's mask gives it (there may be no masks), and the
/// gradient of `Σ slopes[plane]·errors` with respect to the pixels, as dense planes one after another, for each input that wants one;
/// the derivative of `|0|` is 0.
pub(crate) fn errors<T: Real>(
    pairs: &[[&dyn RowReader<T>; 2]],
    masks: &[Option<&dyn RowReader<T>>],
    epsilon: Option<T>,
    slopes: impl Fn(usize) -> ErrorSlopes,
    wanted: [bool; 2],
) -> (Vec<Errors>, [Option<Vec<T>>; 2]) {
    let Some([first, _]) = pairs.first() else { return (Vec::new(), [None, None]) };
    let dims @ [depth, height, width] = first.dims();
    let cuts = [runs(depth, 1, 1).collect::<Vec<_>>(), runs(height, ITEM.div_ceil(width), 1).collect(), whole(width)];
    let mut gradients = wanted.map(|wanted| wanted.then(|| Fresh::new(pairs.len() * depth * height * width)));
    let mut writers = gradients.each_mut().map(|fresh| fresh.as_mut().map(|fresh| fresh.writers(dims, &cuts)));
    let mut errors = vec![Errors::default(); pairs.len() * depth * height];
    let mut left = &mut errors[..];
    let mut items = Vec::new();
    for (plane, &readers) in pairs.iter().enumerate() {
        for slice in &cuts[0] {
            for rows in &cuts[1] {
                let errors;
                (errors, left) = left.split_at_mut(rows.len());
                let writers = writers.each_mut().map(|writers| writers.as_mut().and_then(Iterator::next));
                let (mask, slopes) = (masks.get(plane).copied().flatten(), slopes(plane));
                items.push(Item { readers, mask, slice: slice.start, rows, epsilon, slopes, writers, errors });
            }
        }
    }
    drop(writers);
    let arch = arch();
    if pairs.len() * depth * height * width < TOO_FEW {
        items.into_iter().for_each(|item| item.run(arch));
    } else {
        items.into_par_iter().for_each(|item| item.run(arch));
    }
    let sums = errors.chunks(depth * height).map(|rows| rows.iter().copied().sum()).collect();
    (sums, gradients.map(|fresh| fresh.map(Fresh::filled)))
}

/// Some rows of a slice of a pair of planes.
struct Item<'a, T: Real> {
    readers: [&'a dyn RowReader<T>; 2],
    mask: Option<&'a dyn RowReader<T>>,
    slice: usize,
    rows: &'a Range<usize>,
    epsilon: Option<T>,
    slopes: ErrorSlopes,
    writers: [Option<RowWriter<'a, T>>; 2],
    /// Of each row.
    errors: &'a mut [Errors],
}

impl<T: Real> Item<'_, T> {
    fn run(mut self, arch: Arch) {
        let width = self.readers[0].dims()[2];
        let mut buffers = [(); 4].map(|()| vec![T::default(); width]);
        let [a, b, c, gradient] = &mut buffers;
        let mut runs = vec![Errors::default(); width.div_ceil(ERROR_RUN)];
        for (y, errors) in self.rows.clone().zip(self.errors) {
            let at = [self.slice, y];
            let images = [self.readers[0].row(at, 0..width, a), self.readers[1].row(at, 0..width, b)];
            let pixels = PixelRows { images, weights: self.mask.map(|mask| mask.row(at, 0..width, c)) };
            arch.dispatch(OfRow { pixels, epsilon: self.epsilon, runs: &mut runs });
            *errors = runs.iter().copied().sum();
            for (side, writer) in self.writers.iter_mut().enumerate() {
                let Some(writer) = writer else { continue };
                gradient.fill(T::default());
                add_slope(arch, pixels, self.epsilon, self.slopes, side, gradient);
                writer.write(at, 0, gradient);
            }
        }
    }
}

struct OfRow<'a, T> {
    pixels: PixelRows<'a, T>,
    epsilon: Option<T>,
    runs: &'a mut [Errors],
}

impl<T: Real> WithSimd for OfRow<'_, T> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        Errors::of_row(simd, self.pixels, self.epsilon, self.runs);
    }
}

/// Adds the gradient of `slopes·errors` with respect to the pixels of `x` (side 0) or of `y` (side 1).
pub(super) fn add_slope<T: Real>(
    arch: Arch,
    pixels: PixelRows<T>,
    epsilon: Option<T>,
    slopes: ErrorSlopes,
    side: usize,
    out: &mut [T],
) {
    let sign = if side == 0 { 1.0 } else { -1.0 };
    let [squared, absolute, charbonnier] = slopes;
    let slopes = [2.0 * squared, absolute, charbonnier].map(|slope| T::of(sign * slope));
    arch.dispatch(AddSlope { pixels, epsilon, slopes, out });
}

/// `m (slopes[0]·e + slopes[1]·sign(e) + slopes[2]·e / √(e² + ε²))`.
struct AddSlope<'a, T> {
    pixels: PixelRows<'a, T>,
    epsilon: Option<T>,
    slopes: [T; 3],
    out: &'a mut [T],
}

impl<T: Real> WithSimd for AddSlope<'_, T> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        match (self.pixels.weights, self.epsilon) {
            (None, None) => self.add::<S, false, false>(simd),
            (None, Some(_)) => self.add::<S, false, true>(simd),
            (Some(_), None) => self.add::<S, true, false>(simd),
            (Some(_), Some(_)) => self.add::<S, true, true>(simd),
        }
    }
}

impl<T: Real> AddSlope<'_, T> {
    #[inline(always)]
    fn add<S: Simd, const WEIGHTED: bool, const CHARBONNIER: bool>(self, simd: S) {
        let Self { pixels: PixelRows { images: [x, y], weights }, epsilon, slopes, out } = self;
        let (weights, epsilon) = (weights.unwrap_or(x), epsilon.unwrap_or_default());
        let whole = out.len() - out.len() % Lanes::<T, S>::COUNT;
        for at in (0..whole).step_by(Lanes::<T, S>::COUNT) {
            let load = |row: &[T]| Lanes::load(simd, row, at);
            let slope =
                slope::<T, S, WEIGHTED, CHARBONNIER>(load(x) - load(y), load(weights), slopes, epsilon) + load(out);
            slope.store(out, at);
        }
        for at in whole..out.len() {
            let load = |row: &[T]| Lanes::splat(Scalar, row[at]);
            let slope = slope::<T, Scalar, WEIGHTED, CHARBONNIER>(load(x) - load(y), load(weights), slopes, epsilon);
            out[at] = (slope + load(out)).sum();
        }
    }
}

#[inline(always)]
fn slope<T: Real, S: Simd, const WEIGHTED: bool, const CHARBONNIER: bool>(
    error: Lanes<T, S>,
    weight: Lanes<T, S>,
    slopes: [T; 3],
    epsilon: T,
) -> Lanes<T, S> {
    let (zero, [squared, absolute, root]) = (error.like(0.0), slopes.map(|slope| error.with_all(slope)));
    // What does not count may be NaN.
    let error = if WEIGHTED { zero.if_less(weight, error, zero) } else { error };
    let sign = zero.if_less(error, absolute, error.if_less(zero, -absolute, zero));
    let mut slope = squared.mul_add(error, sign);
    if CHARBONNIER {
        slope = (root * error).mul_add(charbonnier(error, epsilon).recip(), slope);
    }
    if WEIGHTED { zero.if_less(weight, slope * weight, zero) } else { slope }
}
