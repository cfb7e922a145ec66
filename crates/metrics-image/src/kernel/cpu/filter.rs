//! The two passes of a separable filter: along a row, and across lines.

use pulp::{Arch, Simd, WithSimd};

use super::ahead::Ahead;
use super::lanes::{Lanes, Real, groups_mut};
use super::slide::slide;

/// Output lines made at once: each input line is loaded once for all of them.
pub(super) const BLOCK: usize = 6;

/// Where the vectors filtered [`along`] a row go: offset in the row, one vector per field.
pub(super) trait Sink<T: Real, const F: usize> {
    fn put<S: Simd>(&mut self, simd: S, at: usize, fields: [Lanes<T, S>; F]);
}

/// Along a row: the filtered `u`, `v`, `u²`, `v²`, side by side, with the squares made on the way. Fetches `ahead` meanwhile.
pub(super) fn moments_along<T: Real>(arch: Arch, taps: &[T], rows: [&[T]; 2], ahead: Ahead, out: &mut [T]) {
    arch.dispatch(MomentsAlong { taps, rows, ahead, out });
}

struct MomentsAlong<'a, T> {
    taps: &'a [T],
    rows: [&'a [T]; 2],
    ahead: Ahead<'a>,
    out: &'a mut [T],
}

impl<T: Real> WithSimd for MomentsAlong<'_, T> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(mut self, simd: S) {
        match self.taps.len() {
            11 => moments_along_window::<T, S, 11, 6>(simd, self.taps, self.rows, &mut self.ahead, self.out),
            _ => moments_along_any(simd, self.taps, self.rows, self.out),
        }
        self.ahead.fetch_rest();
    }
}

#[inline(always)]
fn moments_along_window<T: Real, S: Simd, const K: usize, const HALF: usize>(
    simd: S,
    taps: &[T],
    [u, v]: [&[T]; 2],
    ahead: &mut Ahead,
    out: &mut [T],
) {
    let weights: [_; HALF] = weights(simd, taps);
    for (index, out) in groups_mut::<T, S, 4>(out).iter_mut().enumerate() {
        ahead.fetch();
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

/// The taps up to the middle one; those after it mirror them.
#[inline(always)]
fn weights<T: Real, S: Simd, const HALF: usize>(simd: S, taps: &[T]) -> [Lanes<T, S>; HALF] {
    let mut weights = [Lanes::zero(simd); HALF];
    for (weight, &tap) in weights.iter_mut().zip(taps) {
        *weight = Lanes::splat(simd, tap);
    }
    weights
}

/// Spelt out: closures and `array::map` are not sure to be compiled for the instruction set of their caller.
#[inline(always)]
fn vectors<T: Real, S: Simd, const F: usize>(fields: [Lanes<T, S>; F]) -> [T::Vector<S>; F] {
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

/// Rows in one piece of memory, in which the vectors of some fields lie side by side.
#[derive(Clone, Copy)]
pub(super) struct Rows<'a, T> {
    pub(super) memory: &'a [T],
    /// How many fields lie side by side.
    pub(super) fields: usize,
    pub(super) len: usize,
    /// Distance from the start of one row to that of the next.
    pub(super) stride: usize,
    /// One row per input line; `BLOCK - 1` more of them than taps.
    pub(super) rows: &'a [usize],
}

/// Where [`across`] puts its `BLOCK` lines.
pub(super) struct Lines<'a, T> {
    pub(super) memory: &'a mut [T],
    /// Distance from the start of one line to that of the next.
    pub(super) line: usize,
    /// Distance from one field of a line to the next; without it they lie side by side as in the input.
    pub(super) field: Option<usize>,
}

/// Across lines: `BLOCK` output lines of every field.
///
/// What comes of them is another loop's business: one that does both has more to hold than there are registers.
pub(super) fn across<T: Real>(arch: Arch, taps: &[T], input: Rows<T>, output: Lines<T>) {
    arch.dispatch(Across { taps, input, output });
}

struct Across<'a, T> {
    taps: &'a [T],
    input: Rows<'a, T>,
    output: Lines<'a, T>,
}

impl<T: Real> WithSimd for Across<'_, T> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        match self.taps.len() {
            11 => across_window::<T, S, 6, { 11 + BLOCK - 1 }>(simd, self.taps, self.input, self.output),
            _ => across_any(simd, self.taps, self.input, self.output),
        }
    }
}

/// Where the vectors of a row go, one after the other.
struct Places {
    field_step: usize,
    vector_step: usize,
    fields: usize,
    field: usize,
    vector: usize,
}

impl Places {
    #[inline(always)]
    fn new(fields: usize, field: Option<usize>, count: usize) -> Self {
        let (field_step, vector_step) = field.map_or((count, fields * count), |field| (field, count));
        Self { field_step, vector_step, fields, field: 0, vector: 0 }
    }

    #[inline(always)]
    fn next(&mut self) -> usize {
        let place = self.vector + self.field * self.field_step;
        self.field += 1;
        if self.field == self.fields {
            (self.field, self.vector) = (0, self.vector + self.vector_step);
        }
        place
    }
}

#[inline(always)]
#[expect(
    clippy::needless_range_loop,
    reason = "loops over indices unroll, and the arrays they index stay in registers"
)]
fn across_window<T: Real, S: Simd, const HALF: usize, const ROWS: usize>(
    simd: S,
    taps: &[T],
    input: Rows<T>,
    output: Lines<T>,
) {
    const { assert!(ROWS == 2 * HALF - 1 + BLOCK - 1) };
    let weights: [_; HALF] = weights(simd, taps);
    let mut lines: [&[T::Vector<S>]; ROWS] = [&[]; ROWS];
    for row in 0..ROWS {
        lines[row] = T::vectors::<S>(&input.memory[input.rows[row] * input.stride..][..input.len]);
    }
    let count = lines[0].len();
    for row in 0..ROWS {
        lines[row] = &lines[row][..count];
    }
    let mut places = Places::new(input.fields, output.field, Lanes::<T, S>::COUNT);
    for index in 0..count {
        let place = places.next();
        let mut values = [Lanes::zero(simd); ROWS];
        for row in 0..ROWS {
            values[row] = Lanes::new(simd, lines[row][index]);
        }
        for line in 0..BLOCK {
            let mut sum = values[line + HALF - 1] * weights[HALF - 1];
            for k in 0..HALF - 1 {
                sum = (values[line + k] + values[line + 2 * HALF - 2 - k]).mul_add(weights[k], sum);
            }
            sum.store(output.memory, line * output.line + place);
        }
    }
}

#[inline(always)]
fn across_any<T: Real, S: Simd>(simd: S, taps: &[T], input: Rows<T>, output: Lines<T>) {
    let count = T::vectors::<S>(&input.memory[..input.len]).len();
    for line in 0..BLOCK {
        let mut places = Places::new(input.fields, output.field, Lanes::<T, S>::COUNT);
        for index in 0..count {
            let mut sum = Lanes::zero(simd);
            for (&tap, &row) in taps.iter().zip(&input.rows[line..]) {
                let row = T::vectors::<S>(&input.memory[row * input.stride..][..input.len]);
                sum = Lanes::new(simd, row[index]).mul_add(Lanes::splat(simd, tap), sum);
            }
            sum.store(output.memory, line * output.line + places.next());
        }
    }
}

/// Along a row, for fields that are already made.
pub(super) fn along<T: Real, const F: usize>(
    arch: Arch,
    taps: &[T],
    rows: [&[T]; F],
    width: usize,
    sink: &mut impl Sink<T, F>,
) {
    arch.dispatch(Along { taps, rows, width, sink });
}

struct Along<'a, T, K, const F: usize> {
    taps: &'a [T],
    rows: [&'a [T]; F],
    width: usize,
    sink: &'a mut K,
}

impl<T: Real, K: Sink<T, F>, const F: usize> WithSimd for Along<'_, T, K, F> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        match self.taps.len() {
            11 => along_window::<T, S, F, 6>(simd, self.taps, self.rows, self.width, self.sink),
            _ => along_any(simd, self.taps, self.rows, self.width, self.sink),
        }
    }
}

#[inline(always)]
fn along_window<T: Real, S: Simd, const F: usize, const HALF: usize>(
    simd: S,
    taps: &[T],
    rows: [&[T]; F],
    width: usize,
    sink: &mut impl Sink<T, F>,
) {
    let weights: [_; HALF] = weights(simd, taps);
    for at in (0..width).step_by(Lanes::<T, S>::COUNT) {
        let mut out = [Lanes::zero(simd); F];
        for field in 0..F {
            let row = &rows[field][at..];
            let mut sum = slide(simd, row, HALF - 1) * weights[HALF - 1];
            for (k, &weight) in weights[..HALF - 1].iter().enumerate() {
                let pair = slide(simd, row, k) + Lanes::load(simd, row, 2 * HALF - 2 - k);
                sum = pair.mul_add(weight, sum);
            }
            out[field] = sum;
        }
        sink.put(simd, at, out);
    }
}

#[inline(always)]
fn along_any<T: Real, S: Simd, const F: usize>(
    simd: S,
    taps: &[T],
    rows: [&[T]; F],
    width: usize,
    sink: &mut impl Sink<T, F>,
) {
    for at in (0..width).step_by(Lanes::<T, S>::COUNT) {
        let mut out = [Lanes::zero(simd); F];
        for field in 0..F {
            for (k, &tap) in taps.iter().enumerate() {
                out[field] = Lanes::load(simd, rows[field], at + k).mul_add(Lanes::splat(simd, tap), out[field]);
            }
        }
        sink.put(simd, at, out);
    }
}
