//! Errors of pixels: their sums and the gradient of those, in one pass.

use std::ops::Range;

use pulp::{Arch, Simd, WithSimd};
use rayon::prelude::*;

use super::border::{runs, whole};
use super::buffer::{Fresh, RowWriter};
use super::rows::RowReader;
use super::schedule::arch;
use super::simd::Real;
use super::sums::{ERROR_RUN, Errors};

/// Pixels of a work item: enough to outweigh what starting one costs.
const ITEM: usize = 1 << 16;
/// With fewer pixels than these, waking another thread takes longer than the work.
const TOO_FEW: usize = 1 << 17;

/// The errors of pairs of planes of one size, and the gradient of `Σ weights[plane][0]·(x - y)² + weights[plane][1]·|x - y|` with
/// respect to the pixels, as dense planes one after another, for each input that wants one; the derivative of `|0|` is 0.
pub(crate) fn errors<T: Real>(
    pairs: &[[&dyn RowReader<T>; 2]],
    weights: impl Fn(usize) -> [f64; 2],
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
                items.push(Item { readers, slice: slice.start, rows, weights: weights(plane), writers, errors });
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
    slice: usize,
    rows: &'a Range<usize>,
    weights: [f64; 2],
    writers: [Option<RowWriter<'a, T>>; 2],
    /// Of each row.
    errors: &'a mut [Errors],
}

impl<T: Real> Item<'_, T> {
    fn run(mut self, arch: Arch) {
        let width = self.readers[0].dims()[2];
        let mut buffers = [(); 3].map(|()| vec![T::default(); width]);
        let [a, b, gradient] = &mut buffers;
        let mut runs = vec![Errors::default(); width.div_ceil(ERROR_RUN)];
        for (y, errors) in self.rows.clone().zip(self.errors) {
            let at = [self.slice, y];
            let pixels = [self.readers[0].row(at, 0..width, a), self.readers[1].row(at, 0..width, b)];
            arch.dispatch(OfRow { pixels, runs: &mut runs });
            *errors = runs.iter().copied().sum();
            for (side, writer) in self.writers.iter_mut().enumerate() {
                let Some(writer) = writer else { continue };
                gradient.fill(T::default());
                add_slope(arch, pixels, self.weights, side, gradient);
                writer.write(at, 0, gradient);
            }
        }
    }
}

struct OfRow<'a, T> {
    pixels: [&'a [T]; 2],
    runs: &'a mut [Errors],
}

impl<T: Real> WithSimd for OfRow<'_, T> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        Errors::of_row(simd, self.pixels[0], self.pixels[1], self.runs);
    }
}

/// Adds the gradient of `weights[0]·Σ(x - y)² + weights[1]·Σ|x - y|` with respect to the pixels of `x` (side 0) or of `y` (side 1).
pub(super) fn add_slope<T: Real>(arch: Arch, pixels: [&[T]; 2], weights: [f64; 2], side: usize, out: &mut [T]) {
    let sign = if side == 0 { 1.0 } else { -1.0 };
    let slopes = [T::of(2.0 * sign * weights[0]), T::of(sign * weights[1])];
    arch.dispatch(AddSlope { pixels, slopes, out });
}

/// `slopes[0]·(x - y) + slopes[1]·sign(x - y)`.
struct AddSlope<'a, T> {
    pixels: [&'a [T]; 2],
    slopes: [T; 2],
    out: &'a mut [T],
}

impl<T: Real> WithSimd for AddSlope<'_, T> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let (zero, [factor, absolute], [x, y]) = (T::default(), self.slopes, self.pixels);
        for ((out, &x), &y) in self.out.iter_mut().zip(x).zip(y) {
            let error = x - y;
            let up = if error > zero { absolute } else { zero };
            let down = if error < zero { absolute } else { zero };
            *out = *out + (factor * error + (up - down));
        }
    }
}
