//! The two passes of a separable filter: along a row, and across lines.

use pulp::Simd;

use super::lanes::{Lanes, Real, groups, groups_mut};

/// Output lines made at once: each input line is loaded once for all of them.
pub(super) const BLOCK: usize = 4;

/// Where filtered vectors go: line of the block, offset in the row, one vector per field.
pub(super) trait Sink<T: Real, S: Simd, const F: usize> {
    fn put(&mut self, line: usize, at: usize, fields: [Lanes<T, S>; F]);
}

/// Along a row: the filtered `u`, `v`, `u²`, `v²`, side by side, with the squares made on the way.
#[inline(always)]
pub(super) fn moments_along<T: Real, S: Simd>(simd: S, taps: &[T], [u, v]: [&[T]; 2], out: &mut [T]) {
    match taps.len() {
        11 => moments_along_window::<T, S, 11, 6>(simd, taps, [u, v], out),
        _ => moments_along_any(simd, taps, [u, v], out),
    }
}

#[inline(always)]
fn moments_along_window<T: Real, S: Simd, const K: usize, const HALF: usize>(
    simd: S,
    taps: &[T],
    [u, v]: [&[T]; 2],
    out: &mut [T],
) {
    let mut weights = [Lanes::zero(simd); HALF];
    for k in 0..HALF {
        weights[k] = Lanes::splat(simd, taps[k]);
    }
    for (index, out) in groups_mut::<T, S, 4>(out).iter_mut().enumerate() {
        let at = index * Lanes::<T, S>::COUNT;
        let (u, v) = (&u[at..at + Lanes::<T, S>::COUNT + K - 1], &v[at..at + Lanes::<T, S>::COUNT + K - 1]);
        let mut sums = [Lanes::zero(simd); 4];
        for k in 0..K {
            let weight = weights[if k < HALF { k } else { K - 1 - k }];
            add_tap(&mut sums, weight, Lanes::load(simd, u, k), Lanes::load(simd, v, k));
        }
        *out = vectors(sums);
    }
}

#[inline(always)]
fn moments_along_any<T: Real, S: Simd>(simd: S, taps: &[T], [u, v]: [&[T]; 2], out: &mut [T]) {
    for (index, out) in groups_mut::<T, S, 4>(out).iter_mut().enumerate() {
        let at = index * Lanes::<T, S>::COUNT;
        let mut sums = [Lanes::zero(simd); 4];
        for (k, &tap) in taps.iter().enumerate() {
            let (u, v) = (Lanes::load(simd, u, at + k), Lanes::load(simd, v, at + k));
            add_tap(&mut sums, Lanes::splat(simd, tap), u, v);
        }
        *out = vectors(sums);
    }
}

/// Spelt out: closures and `array::map` are not sure to be compiled for the instruction set of their caller.
#[inline(always)]
pub(super) fn vectors<T: Real, S: Simd, const F: usize>(fields: [Lanes<T, S>; F]) -> [T::Vector<S>; F] {
    let mut vectors = [fields[0].vector(); F];
    for field in 1..F {
        vectors[field] = fields[field].vector();
    }
    vectors
}

/// The product with the tap serves the mean (an addition, on other ports than products) and the square.
#[inline(always)]
fn add_tap<T: Real, S: Simd>(sums: &mut [Lanes<T, S>; 4], tap: Lanes<T, S>, u: Lanes<T, S>, v: Lanes<T, S>) {
    let (tap_u, tap_v) = (tap * u, tap * v);
    sums[0] += tap_u;
    sums[1] += tap_v;
    sums[2] = tap_u.mul_add(u, sums[2]);
    sums[3] = tap_v.mul_add(v, sums[3]);
}

/// Rows in one piece of memory, in which the vectors of `F` fields lie side by side.
#[derive(Clone, Copy)]
pub(super) struct Rows<'a, T> {
    pub(super) memory: &'a [T],
    pub(super) len: usize,
    /// Distance from the start of one row to that of the next.
    pub(super) stride: usize,
    /// One row per input line; `BLOCK - 1` more of them than taps.
    pub(super) rows: &'a [usize],
}

/// Across lines: `BLOCK` output lines of every field.
#[inline(always)]
pub(super) fn across<T: Real, S: Simd, const F: usize>(simd: S, taps: &[T], input: Rows<T>, sink: &mut impl Sink<T, S, F>) {
    match taps.len() {
        11 => across_window::<T, S, F, 6, 14>(simd, taps, input, sink),
        _ => across_any(simd, taps, input, sink),
    }
}

#[inline(always)]
fn across_window<T: Real, S: Simd, const F: usize, const HALF: usize, const ROWS: usize>(
    simd: S,
    taps: &[T],
    input: Rows<T>,
    sink: &mut impl Sink<T, S, F>,
) {
    const { assert!(ROWS == 2 * HALF - 1 + BLOCK - 1) };
    let mut weights = [Lanes::zero(simd); HALF];
    for k in 0..HALF {
        weights[k] = Lanes::splat(simd, taps[k]);
    }
    let mut lines: [&[[T::Vector<S>; F]]; ROWS] = [&[]; ROWS];
    for row in 0..ROWS {
        lines[row] = groups::<T, S, F>(&input.memory[input.rows[row] * input.stride..][..input.len]);
    }
    let count = lines[0].len();
    for row in 0..ROWS {
        lines[row] = &lines[row][..count];
    }
    for index in 0..count {
        let mut out = [[Lanes::zero(simd); F]; BLOCK];
        for field in 0..F {
            let mut values = [Lanes::zero(simd); ROWS];
            for row in 0..ROWS {
                values[row] = Lanes::new(simd, lines[row][index][field]);
            }
            for line in 0..BLOCK {
                let mut sum = values[line + HALF - 1] * weights[HALF - 1];
                for k in 0..HALF - 1 {
                    sum = (values[line + k] + values[line + 2 * HALF - 2 - k]).mul_add(weights[k], sum);
                }
                out[line][field] = sum;
            }
        }
        for line in 0..BLOCK {
            sink.put(line, index * Lanes::<T, S>::COUNT, out[line]);
        }
    }
}

#[inline(always)]
fn across_any<T: Real, S: Simd, const F: usize>(simd: S, taps: &[T], input: Rows<T>, sink: &mut impl Sink<T, S, F>) {
    let count = groups::<T, S, F>(&input.memory[..input.len]).len();
    for line in 0..BLOCK {
        for index in 0..count {
            let mut out = [Lanes::zero(simd); F];
            for (&tap, &row) in taps.iter().zip(&input.rows[line..]) {
                let group = &groups::<T, S, F>(&input.memory[row * input.stride..][..input.len])[index];
                for field in 0..F {
                    out[field] = Lanes::new(simd, group[field]).mul_add(Lanes::splat(simd, tap), out[field]);
                }
            }
            sink.put(line, index * Lanes::<T, S>::COUNT, out);
        }
    }
}

/// Along a row, for fields that are already made: each vector goes to `sink` as line `line`.
#[inline(always)]
pub(super) fn along<T: Real, S: Simd, const F: usize>(
    simd: S,
    taps: &[T],
    rows: [&[T]; F],
    width: usize,
    line: usize,
    sink: &mut impl Sink<T, S, F>,
) {
    match taps.len() {
        11 => along_window::<T, S, F, 6>(simd, taps, rows, width, line, sink),
        _ => along_any(simd, taps, rows, width, line, sink),
    }
}

#[inline(always)]
fn along_window<T: Real, S: Simd, const F: usize, const HALF: usize>(
    simd: S,
    taps: &[T],
    rows: [&[T]; F],
    width: usize,
    line: usize,
    sink: &mut impl Sink<T, S, F>,
) {
    let mut weights = [Lanes::zero(simd); HALF];
    for k in 0..HALF {
        weights[k] = Lanes::splat(simd, taps[k]);
    }
    for at in (0..width).step_by(Lanes::<T, S>::COUNT) {
        let mut out = [Lanes::zero(simd); F];
        for field in 0..F {
            let row = &rows[field][at..at + Lanes::<T, S>::COUNT + 2 * HALF - 2];
            let mut sum = Lanes::load(simd, row, HALF - 1) * weights[HALF - 1];
            for k in 0..HALF - 1 {
                let pair = Lanes::load(simd, row, k) + Lanes::load(simd, row, 2 * HALF - 2 - k);
                sum = pair.mul_add(weights[k], sum);
            }
            out[field] = sum;
        }
        sink.put(line, at, out);
    }
}

#[inline(always)]
fn along_any<T: Real, S: Simd, const F: usize>(
    simd: S,
    taps: &[T],
    rows: [&[T]; F],
    width: usize,
    line: usize,
    sink: &mut impl Sink<T, S, F>,
) {
    for at in (0..width).step_by(Lanes::<T, S>::COUNT) {
        let mut out = [Lanes::zero(simd); F];
        for field in 0..F {
            for (k, &tap) in taps.iter().enumerate() {
                out[field] = Lanes::load(simd, rows[field], at + k).mul_add(Lanes::splat(simd, tap), out[field]);
            }
        }
        sink.put(line, at, out);
    }
}
