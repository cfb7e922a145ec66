//! The row filter and the column filter of a separable filter.
//!
//! Equal taps are added in pairs, from the ends of the window inwards: where a pattern repeats, rounding has a sign, and adding small
//! products first keeps it small. Only taps that differ between fields, and windows of unusual length, are added from first to last.

use pulp::{Arch, Simd, WithSimd};

use super::prefetch::{Ahead, prefetch};
use super::simd::{Array, Lanes, Real};
use super::slide::slide;
use super::taps::Taps;
use crate::measure::Measure;

/// Output rows made at once: each input row is loaded once for all of them.
pub(super) const BLOCK: usize = 6;

/// The numbers of taps that images are usually filtered with.
pub(crate) const USUAL: &[usize] = &[3, 5, 7, 9, 11, 13, 15, 17, 19];

/// Calls `$window` with the number of taps as a constant for those among `$listed`, else `$any`. Code of its own is compiled for these alone.
macro_rules! by_taps {
    ($listed:expr, $taps:expr, $window:ident::<$($generic:ty),*>($($arg:expr),*), $any:expr) => {
        match $taps {
            3 if const { listed($listed, 3) } => $window::<$($generic,)* 3>($($arg),*),
            5 if const { listed($listed, 5) } => $window::<$($generic,)* 5>($($arg),*),
            7 if const { listed($listed, 7) } => $window::<$($generic,)* 7>($($arg),*),
            9 if const { listed($listed, 9) } => $window::<$($generic,)* 9>($($arg),*),
            11 if const { listed($listed, 11) } => $window::<$($generic,)* 11>($($arg),*),
            13 if const { listed($listed, 13) } => $window::<$($generic,)* 13>($($arg),*),
            15 if const { listed($listed, 15) } => $window::<$($generic,)* 15>($($arg),*),
            17 if const { listed($listed, 17) } => $window::<$($generic,)* 17>($($arg),*),
            19 if const { listed($listed, 19) } => $window::<$($generic,)* 19>($($arg),*),
            _ => $any,
        }
    };
}

const fn listed(numbers: &[usize], number: usize) -> bool {
    let mut at = 0;
    while at < numbers.len() && numbers[at] != number {
        at += 1;
    }
    at < numbers.len()
}

/// The row filter of features that are made on the way; the vectors of the fields lie side by side in `out`. Prefetches `ahead` meanwhile.
/// `features` is working memory.
pub(super) fn feature_filter<'a, M: Measure, T: Real>(
    arch: Arch,
    taps: &'a Taps<T>,
    basis: M::Basis<&'a [T]>,
    ahead: Ahead<'a>,
    features: &'a mut Vec<T>,
    out: &'a mut [T],
) {
    arch.dispatch(FeatureFilter::<M, T> { taps, basis, ahead, features, out });
}

struct FeatureFilter<'a, M: Measure, T: Real> {
    taps: &'a Taps<T>,
    basis: M::Basis<&'a [T]>,
    ahead: Ahead<'a>,
    features: &'a mut Vec<T>,
    out: &'a mut [T],
}

impl<M: Measure, T: Real> WithSimd for FeatureFilter<'_, M, T> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(mut self, simd: S) {
        match self.taps.shared() {
            Some(taps) => by_taps!(
                M::TAPS,
                taps.len(),
                features_window::<M, T, S>(simd, taps, self.basis, &mut self.ahead, self.out),
                features_shared::<M, T, S>(
                    simd,
                    taps.len(),
                    |k| Lanes::splat(simd, taps[k]),
                    self.basis,
                    &mut self.ahead,
                    self.out
                )
            ),
            None => features_per_field::<M, T, S>(simd, self.taps, self.basis, self.features, self.out),
        }
        self.ahead.fetch_rest();
    }
}

#[inline(always)]
fn features_window<M: Measure, T: Real, S: Simd, const K: usize>(
    simd: S,
    taps: &[T],
    basis: M::Basis<&[T]>,
    ahead: &mut Ahead,
    out: &mut [T],
) {
    let weights: [_; K] = weights(simd, taps);
    features_shared::<M, T, S>(simd, K, |k| weights[k], basis, ahead, out);
}

/// The basis `at` places from the start of its rows.
#[inline(always)]
fn load_basis<M: Measure, T: Real, S: Simd>(simd: S, rows: &M::Basis<&[T]>, at: usize) -> M::Basis<Lanes<T, S>> {
    let mut basis = M::Basis::filled(Lanes::zero(simd));
    for part in 0..M::Basis::<T>::LEN {
        basis.set(part, Lanes::load(simd, rows.get(part), at));
    }
    basis
}

/// Where all fields have the same taps, of number `taps`.
#[inline(always)]
fn features_shared<M: Measure, T: Real, S: Simd>(
    simd: S,
    taps: usize,
    weight: impl Fn(usize) -> Lanes<T, S>,
    basis: M::Basis<&[T]>,
    ahead: &mut Ahead,
    out: &mut [T],
) {
    let fields = M::Fields::<T>::LEN;
    for (index, out) in T::vectors_mut::<S>(out).chunks_exact_mut(fields).enumerate() {
        ahead.fetch();
        let at = index * Lanes::<T, S>::COUNT;
        let mut rows = basis;
        for part in 0..M::Basis::<T>::LEN {
            rows.set(part, &basis.get(part)[at..at + Lanes::<T, S>::COUNT + taps - 1]);
        }
        let basis = |k: usize| load_basis::<M, T, S>(simd, &rows, k);
        let mut sums = M::Fields::filled(Lanes::zero(simd));
        let mut add = |tap: Lanes<T, S>, features: M::Fields<Lanes<T, S>>| {
            for field in 0..fields {
                sums.set(field, features.get(field).mul_add(tap, sums.get(field)));
            }
        };
        for k in 0..taps / 2 {
            add(weight(k), M::features_of_pair(basis(k), basis(taps - 1 - k)));
        }
        add(weight(taps / 2), M::features(basis(taps / 2)));
        for (field, out) in out.iter_mut().enumerate() {
            *out = sums.get(field).vector();
        }
    }
}

/// Makes the features once, as rows in `features`, and filters each of these.
#[inline(always)]
fn features_per_field<M: Measure, T: Real, S: Simd>(
    simd: S,
    taps: &Taps<T>,
    basis: M::Basis<&[T]>,
    features: &mut Vec<T>,
    out: &mut [T],
) {
    let (fields, count) = (M::Fields::<T>::LEN, Lanes::<T, S>::COUNT);
    let width = out.len() / fields;
    let row = (width + taps.len() - 1).next_multiple_of(count);
    features.resize(fields * row, T::default());
    for at in (0..row).step_by(count) {
        let made = M::features(load_basis::<M, T, S>(simd, &basis, at));
        for field in 0..fields {
            made.get(field).store(features, field * row + at);
        }
    }
    let put = |out: &mut [T], field: usize, at: usize, sum: Lanes<T, S>| sum.store(out, fields * at + field * count);
    for field in 0..fields {
        let (first, taps) = taps.of(field);
        let row = &features[field * row..][first..row];
        let mut at = 0;
        while at + SIDE_BY_SIDE * count <= width {
            let sums = sums_along::<T, S, SIDE_BY_SIDE>(simd, &row[at..], taps);
            (0..SIDE_BY_SIDE).for_each(|vector| put(out, field, at + vector * count, sums[vector]));
            at += SIDE_BY_SIDE * count;
        }
        for at in (at..width).step_by(count) {
            put(out, field, at, sums_along::<T, S, 1>(simd, &row[at..], taps)[0]);
        }
    }
}

/// Vectors of sums made at once: additions to one do not wait for those to another.
const SIDE_BY_SIDE: usize = 8;

/// The first `N` vectors of a row that is filtered with `taps`.
#[inline(always)]
fn sums_along<T: Real, S: Simd, const N: usize>(simd: S, row: &[T], taps: &[T]) -> [Lanes<T, S>; N] {
    debug_assert!(row.len() + 1 >= N * Lanes::<T, S>::COUNT + taps.len());
    let mut sums = [Lanes::zero(simd); N];
    for (values, &tap) in row.windows(N * Lanes::<T, S>::COUNT).zip(taps) {
        let (values, tap) = (T::vectors::<S>(values), Lanes::splat(simd, tap));
        for vector in 0..N {
            sums[vector] = Lanes::new(simd, values[vector]).mul_add(tap, sums[vector]);
        }
    }
    sums
}

#[inline(always)]
fn weights<T: Real, S: Simd, const K: usize>(simd: S, taps: &[T]) -> [Lanes<T, S>; K] {
    let mut weights = [Lanes::zero(simd); K];
    for k in 0..K {
        weights[k] = Lanes::splat(simd, taps[k]);
    }
    weights
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
    /// The numbers of the rows: `BLOCK - 1` more than taps.
    pub(super) rows: &'a [usize],
}

impl<'a, T: Real> Rows<'a, T> {
    #[inline(always)]
    fn row<S: Simd>(&self, row: usize) -> &'a [T::Vector<S>] {
        T::vectors::<S>(&self.memory[self.rows[row] * self.stride..][..self.len])
    }
}

/// Where [`column_filter`] puts its `BLOCK` rows.
pub(super) struct Block<'a, T> {
    pub(super) memory: &'a mut [T],
    /// Distance from the start of one row to that of the next.
    pub(super) row: usize,
    /// Distance from one field of a row to the next; without it they lie side by side as in the input.
    pub(super) field: Option<usize>,
}

/// The column filter: `BLOCK` output rows of every field.
///
/// What comes of them is another loop's business: one that does both has more to hold than there are registers.
pub(super) fn column_filter<T: Real>(arch: Arch, taps: &Taps<T>, input: Rows<T>, output: Block<T>) {
    arch.dispatch(ColumnFilter { taps, input, output });
}

struct ColumnFilter<'a, T> {
    taps: &'a Taps<T>,
    input: Rows<'a, T>,
    output: Block<'a, T>,
}

impl<T: Real> WithSimd for ColumnFilter<'_, T> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        match self.taps.shared() {
            Some(taps) => by_taps!(
                USUAL,
                taps.len(),
                column_window::<T, S>(simd, taps, self.input, self.output),
                column_any::<T, S>(simd, self.taps, self.input, self.output)
            ),
            None => column_any::<T, S>(simd, self.taps, self.input, self.output),
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

/// The most rows that [`column_window`] reads.
const MOST_ROWS: usize = 19 + BLOCK - 1;

#[inline(always)]
fn column_window<T: Real, S: Simd, const K: usize>(simd: S, taps: &[T], input: Rows<T>, output: Block<T>) {
    let weights: [_; K] = weights(simd, taps);
    let mut rows: [&[T::Vector<S>]; MOST_ROWS] = [&[]; MOST_ROWS];
    for row in 0..K + BLOCK - 1 {
        rows[row] = input.row::<S>(row);
    }
    let count = rows[0].len();
    for row in 0..K + BLOCK - 1 {
        rows[row] = &rows[row][..count];
    }
    let mut places = Places::new(input.fields, output.field, Lanes::<T, S>::COUNT);
    for index in 0..count {
        let place = places.next();
        let mut values = [Lanes::zero(simd); MOST_ROWS];
        for row in 0..K + BLOCK - 1 {
            values[row] = Lanes::new(simd, rows[row][index]);
        }
        for line in 0..BLOCK {
            let mut sum = Lanes::zero(simd);
            for k in 0..K / 2 {
                let pair = values[line + k] + values[line + K - 1 - k];
                sum = if k == 0 { pair * weights[0] } else { pair.mul_add(weights[k], sum) };
            }
            sum = values[line + K / 2].mul_add(weights[K / 2], sum);
            sum.store(output.memory, line * output.row + place);
        }
    }
}

/// Vectors between the one that [`column_any`] reads and the one that it prefetches.
const SOON: usize = 6;

#[inline(always)]
fn column_any<T: Real, S: Simd>(simd: S, taps: &Taps<T>, input: Rows<T>, output: Block<T>) {
    let count = input.row::<S>(0).len();
    let mut places = Places::new(input.fields, output.field, Lanes::<T, S>::COUNT);
    for index in 0..count {
        let (first, taps) = taps.of(places.field);
        let value = |row: usize| {
            let row = input.row::<S>(first + row);
            // Many rows, far apart: the hardware does not see them coming.
            if let Some(soon) = row.get(index + SOON) {
                prefetch(soon);
            }
            Lanes::new(simd, row[index])
        };
        let mut sums = [Lanes::zero(simd); BLOCK];
        // The rows under one tap, of all lines; the next tap needs but one more.
        let mut values = [Lanes::zero(simd); BLOCK];
        for line in 1..BLOCK {
            values[line] = value(line - 1);
        }
        for (k, &tap) in taps.iter().enumerate() {
            for line in 1..BLOCK {
                values[line - 1] = values[line];
            }
            values[BLOCK - 1] = value(k + BLOCK - 1);
            for line in 0..BLOCK {
                sums[line] = values[line].mul_add(Lanes::splat(simd, tap), sums[line]);
            }
        }
        let place = places.next();
        for line in 0..BLOCK {
            sums[line].store(output.memory, line * output.row + place);
        }
    }
}

/// Where the vectors of [`row_filter`] go.
pub(super) trait Sink<T: Real> {
    type Fields<V: Copy + Send + Sync>: Array<V>;
    /// [`Measure::TAPS`].
    const TAPS: &'static [usize];

    /// Takes the vectors at offset `at` in the row.
    fn put<S: Simd>(&mut self, simd: S, at: usize, fields: Self::Fields<Lanes<T, S>>);
}

/// A row of each of some fields, `field` numbers apart.
#[derive(Clone, Copy)]
pub(super) struct FieldRows<'a, T> {
    pub(super) memory: &'a [T],
    pub(super) field: usize,
}

/// The row filter of fields that are there: `width` columns.
pub(super) fn row_filter<T: Real, K: Sink<T>>(
    arch: Arch,
    taps: &Taps<T>,
    rows: FieldRows<T>,
    width: usize,
    sink: &mut K,
) {
    arch.dispatch(RowFilter { taps, rows, width, sink });
}

struct RowFilter<'a, T, K> {
    taps: &'a Taps<T>,
    rows: FieldRows<'a, T>,
    width: usize,
    sink: &'a mut K,
}

impl<T: Real, K: Sink<T>> WithSimd for RowFilter<'_, T, K> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        match self.taps.shared() {
            Some(taps) => by_taps!(
                K::TAPS,
                taps.len(),
                row_window::<T, S, K>(simd, taps, self.rows, self.width, self.sink),
                row_any::<T, S, K>(simd, self.taps, self.rows, self.width, self.sink)
            ),
            None => row_any::<T, S, K>(simd, self.taps, self.rows, self.width, self.sink),
        }
    }
}

#[inline(always)]
fn row_window<T: Real, S: Simd, Out: Sink<T>, const K: usize>(
    simd: S,
    taps: &[T],
    rows: FieldRows<T>,
    width: usize,
    sink: &mut Out,
) {
    let weights: [_; K] = weights(simd, taps);
    for at in (0..width).step_by(Lanes::<T, S>::COUNT) {
        let mut out = Out::Fields::filled(Lanes::zero(simd));
        for field in 0..Out::Fields::<T>::LEN {
            let row = &rows.memory[field * rows.field + at..];
            let mut sum = Lanes::zero(simd);
            for k in 0..K / 2 {
                let pair = slide(simd, row, k) + Lanes::load(simd, row, K - 1 - k);
                sum = if k == 0 { pair * weights[0] } else { pair.mul_add(weights[k], sum) };
            }
            out.set(field, slide(simd, row, K / 2).mul_add(weights[K / 2], sum));
        }
        sink.put(simd, at, out);
    }
}

#[inline(always)]
fn row_any<T: Real, S: Simd, K: Sink<T>>(simd: S, taps: &Taps<T>, rows: FieldRows<T>, width: usize, sink: &mut K) {
    let count = Lanes::<T, S>::COUNT;
    let mut at = 0;
    while at + SIDE_BY_SIDE * count <= width {
        row_vectors::<T, S, K, SIDE_BY_SIDE>(simd, taps, rows, at, sink);
        at += SIDE_BY_SIDE * count;
    }
    for at in (at..width).step_by(count) {
        row_vectors::<T, S, K, 1>(simd, taps, rows, at, sink);
    }
}

#[inline(always)]
fn row_vectors<T: Real, S: Simd, K: Sink<T>, const N: usize>(
    simd: S,
    taps: &Taps<T>,
    rows: FieldRows<T>,
    at: usize,
    sink: &mut K,
) {
    let mut out = [K::Fields::filled(Lanes::zero(simd)); N];
    for field in 0..K::Fields::<T>::LEN {
        let (first, taps) = taps.of(field);
        let sums = sums_along::<T, S, N>(simd, &rows.memory[field * rows.field + at + first..], taps);
        (0..N).for_each(|vector| out[vector].set(field, sums[vector]));
    }
    for (vector, out) in out.into_iter().enumerate() {
        sink.put(simd, at + vector * Lanes::<T, S>::COUNT, out);
    }
}
