//! From filtered features to the maps of a measure, their sums, and the derivatives with respect to the features.

use std::ops::Range;

use pulp::{Arch, Simd, WithSimd};

use super::buffer::RowWriter;
use super::filter::{BLOCK, Block};
use super::rows::RowReader;
use super::scan::{Subject, Upstream};
use super::schedule::{Window, clip, common};
use super::simd::{Array, Lanes, Real};
use super::sums::Total;
use crate::measure::{Measure, Side};

/// Takes blocks of filtered features of a tile's columns; keeps the maps of a block, and adds them up.
pub(super) struct Scores<'a, M: Measure, T: Real> {
    window: &'a Window<T>,
    constants: M::Constants<T>,
    /// How much each place counts, and a row of that.
    mask: Option<&'a dyn RowReader<T>>,
    weights: Vec<T>,
    /// The maps that anybody wants.
    wanted: M::Maps<bool>,
    columns: Range<usize>,
    /// Columns, rounded up to whole vectors.
    pub(super) width: usize,
    /// The part of the map that counts into the sums; the rest is another tile's.
    counted: [Range<usize>; 3],
    /// `BLOCK` rows of each field.
    filtered: &'a mut [T],
    /// `BLOCK` rows of each map.
    maps: &'a mut [T],
    /// Of each sum block from `first_block` on, one for each map.
    totals: Vec<Vec<Total>>,
    first_block: usize,
    /// Lines of a sum block.
    block_len: usize,
    /// The part of the map whose windows lie inside the image.
    inner: [Range<usize>; 3],
}

impl<'a, M: Measure, T: Real> Scores<'a, M, T> {
    const FIELDS: usize = M::Fields::<T>::LEN;
    const MAPS: usize = M::Maps::<T>::LEN;

    /// Memory needed for rows of `width` (already padded).
    pub(super) fn len(width: usize) -> usize {
        (Self::FIELDS + Self::MAPS) * BLOCK * width
    }

    pub(super) fn new(
        subject: &Subject<'a, M, T>,
        columns: Range<usize>,
        width: usize,
        counted: [Range<usize>; 3],
        memory: &'a mut [T],
    ) -> Self {
        let Subject { window, constants, mask, wanted, .. } = *subject;
        let (filtered, maps) = memory.split_at_mut(Self::FIELDS * BLOCK * width);
        let strip = &counted[window.axis()];
        let block_len = window.sum_blocks().next().map_or(1, |block| block.len());
        let first_block = strip.start / block_len;
        let blocks = strip.end.div_ceil(block_len).saturating_sub(first_block);
        let inner = [0, 1, 2].map(|axis| window.inner(axis));
        let totals = vec![vec![Total::default(); Self::MAPS]; blocks];
        let weights = if mask.is_some() { vec![T::default(); 2 * columns.len()] } else { Vec::new() };
        Self {
            window,
            constants,
            mask,
            weights,
            wanted,
            columns,
            width,
            counted,
            filtered,
            maps,
            totals,
            first_block,
            block_len,
            inner,
        }
    }

    pub(super) fn window(&self) -> &'a Window<T> {
        self.window
    }

    /// Where the filtered features of a block go.
    pub(super) fn block(&mut self) -> Block<'_, T> {
        Block { memory: self.filtered, row: Self::FIELDS * self.width, field: Some(self.width) }
    }

    /// Makes the maps of the first `count` rows of a block.
    pub(super) fn score(&mut self, count: usize) {
        self.window.arch.dispatch(MakeMaps { count, scores: self });
    }

    /// Adds up row `row` of a block, which is row `y` of slice `z` of the map.
    pub(super) fn count(&mut self, at: [usize; 2], row: usize) {
        let [slices, lines, columns] = &self.counted;
        if !slices.contains(&at[0]) || !lines.contains(&at[1]) {
            return;
        }
        let inside = self.inner[0].contains(&at[0]) && self.inner[1].contains(&at[1]);
        let totals = &mut self.totals[at[self.window.axis()] / self.block_len - self.first_block];
        let part = |map: usize| match M::INNER.get(map) {
            _ if !self.wanted.get(map) => 0..0,
            false => clip(&self.columns, columns),
            true if inside => clip(&self.columns, &common(columns, &self.inner[2])),
            true => 0..0,
        };
        let weights = match self.mask {
            None => [&mut [][..], &mut [][..]],
            Some(mask) => {
                let (weights, products) = self.weights.split_at_mut(self.columns.len());
                self.window.weights(mask, at, &self.columns, weights);
                [weights, products]
            }
        };
        let (stride, start) = (BLOCK * self.width, row * self.width);
        self.window.arch.dispatch(AddRows { totals, maps: self.maps, stride, start, weights, part });
    }

    /// The number of the first sum block, and the sums of it and of those that follow.
    pub(super) fn sums(self) -> (usize, Vec<M::Maps<f64>>) {
        let sums = |totals: &Vec<Total>| {
            let mut sums = M::Maps::filled(0.0);
            totals.iter().enumerate().for_each(|(map, total)| sums.set(map, total.value()));
            sums
        };
        (self.first_block, self.totals.iter().map(sums).collect())
    }

    /// Writes row `row` of a block, which is row `y` of slice `z` of the map, to those of the maps that are wanted.
    pub(super) fn write(&mut self, row: usize, [z, y]: [usize; 2], outputs: &mut [Option<RowWriter<T>>]) {
        for (map, output) in outputs.iter_mut().enumerate() {
            let Some(output) = output else { continue };
            let values = &mut self.maps[(map * BLOCK + row) * self.width..][..self.columns.len()];
            let [scale, offset] = M::SHOWN.map(T::of);
            values.iter_mut().for_each(|value| *value = scale * *value + offset);
            output.write([z, y], self.columns.start, values);
            output.prefetch([z, y + BLOCK], self.columns.clone());
        }
    }
}

/// Adds part of a row of each map to its sum, times the weights of the places if there are any.
struct AddRows<'a, T, P> {
    totals: &'a mut [Total],
    maps: &'a [T],
    /// Distance from one map to the next, and where the row starts in the first.
    stride: usize,
    start: usize,
    /// The weights, and room for the products with them.
    weights: [&'a mut [T]; 2],
    part: P,
}

impl<T: Real, P: Fn(usize) -> Range<usize>> WithSimd for AddRows<'_, T, P> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(mut self, simd: S) {
        for (map, total) in self.totals.iter_mut().enumerate() {
            let part = (self.part)(map);
            if part.is_empty() {
                continue;
            }
            let values = &self.maps[map * self.stride + self.start..];
            let [weights, products] = &mut self.weights;
            if weights.is_empty() {
                total.add_row(simd, &values[part]);
                continue;
            }
            let (zero, products) = (T::default(), &mut products[part.clone()]);
            for ((product, &value), &weight) in products.iter_mut().zip(&values[part.clone()]).zip(&weights[part]) {
                // What does not count may be NaN.
                *product = if weight > zero { weight * value } else { zero };
            }
            total.add_row(simd, products);
        }
    }
}

struct MakeMaps<'a, 's, M: Measure, T: Real> {
    count: usize,
    scores: &'a mut Scores<'s, M, T>,
}

impl<M: Measure, T: Real> WithSimd for MakeMaps<'_, '_, M, T> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        // A loop for each case, in which the compiler leaves out what is not wanted: a map alone may need half of the formula.
        let (wanted, maps) = (self.scores.wanted, M::Maps::<T>::LEN);
        let only = |map: usize| (0..maps).all(|other| wanted.get(other) == (other == map));
        if only(0) {
            self.make(simd, only_map::<M>(0));
        } else if maps > 1 && only(maps - 1) {
            self.make(simd, only_map::<M>(maps - 1));
        } else {
            self.make(simd, M::Maps::filled(true));
        }
    }
}

#[inline(always)]
fn only_map<M: Measure>(map: usize) -> M::Maps<bool> {
    let mut wanted = M::Maps::filled(false);
    wanted.set(map, true);
    wanted
}

impl<M: Measure, T: Real> MakeMaps<'_, '_, M, T> {
    #[inline(always)]
    fn make<S: Simd>(self, simd: S, wanted: M::Maps<bool>) {
        let Scores { filtered, maps, constants, width, .. } = self.scores;
        let (constants, width) = (*constants, *width);
        for row in 0..self.count {
            let fields = FieldsOfRow::<M, T, S>::new(filtered, row, width);
            let mut kept = MapsOfRow { memory: maps, row, width };
            for index in 0..width / Lanes::<T, S>::COUNT {
                kept.put::<M, S>(index, M::score(&constants, fields.get(simd, index), wanted), wanted);
            }
        }
    }
}

/// The vectors of a row of filtered features. Found once a row, so that a vector costs no more than its loads.
struct FieldsOfRow<'a, M: Measure, T: Real, S: Simd>(M::Fields<&'a [T::Vector<S>]>);

impl<'a, M: Measure, T: Real, S: Simd> FieldsOfRow<'a, M, T, S> {
    #[inline(always)]
    fn new(filtered: &'a [T], row: usize, width: usize) -> Self {
        let mut rows = M::Fields::filled(&[][..]);
        for field in 0..M::Fields::<T>::LEN {
            let row = &filtered[(M::Fields::<T>::LEN * row + field) * width..][..width];
            rows.set(field, &T::vectors::<S>(row)[..width / Lanes::<T, S>::COUNT]);
        }
        Self(rows)
    }

    #[inline(always)]
    fn get(&self, simd: S, index: usize) -> M::Fields<Lanes<T, S>> {
        let mut fields = M::Fields::filled(Lanes::zero(simd));
        for field in 0..M::Fields::<T>::LEN {
            fields.set(field, Lanes::new(simd, self.0.get(field)[index]));
        }
        fields
    }
}

/// A row of each map, among `BLOCK` rows of each.
struct MapsOfRow<'a, T> {
    memory: &'a mut [T],
    row: usize,
    width: usize,
}

impl<T: Real> MapsOfRow<'_, T> {
    #[inline(always)]
    fn put<M: Measure, S: Simd>(&mut self, index: usize, maps: M::Maps<Lanes<T, S>>, wanted: M::Maps<bool>) {
        for map in 0..M::Maps::<T>::LEN {
            if wanted.get(map) {
                let start = (map * BLOCK + self.row) * self.width;
                maps.get(map).store(self.memory, start + index * Lanes::<T, S>::COUNT);
            }
        }
    }
}

/// Which inputs want a gradient, and what has to be filtered for it.
pub(super) trait Inputs<M: Measure>: Copy {
    /// One for each field that is filtered back.
    type Fields<V: Copy + Send + Sync>: Array<V>;

    fn back<T: Real, S: Simd>(self, derivatives: M::Fields<Lanes<T, S>>) -> Self::Fields<Lanes<T, S>>;

    /// The derivatives with respect to the pixels of those inputs that want one.
    fn pixels<T: Real, S: Simd>(
        self,
        basis: M::Basis<Lanes<T, S>>,
        upstream: Self::Fields<Lanes<T, S>>,
    ) -> [Option<Lanes<T, S>>; 2];
}

/// One of them.
#[derive(Clone, Copy)]
pub(super) struct One(pub(super) Side);

/// Both.
#[derive(Clone, Copy)]
pub(super) struct Both;

impl<M: Measure> Inputs<M> for One {
    type Fields<V: Copy + Send + Sync> = M::Back<V>;

    #[inline(always)]
    fn back<T: Real, S: Simd>(self, derivatives: M::Fields<Lanes<T, S>>) -> M::Back<Lanes<T, S>> {
        M::back(self.0, derivatives)
    }

    #[inline(always)]
    fn pixels<T: Real, S: Simd>(
        self,
        basis: M::Basis<Lanes<T, S>>,
        upstream: M::Back<Lanes<T, S>>,
    ) -> [Option<Lanes<T, S>>; 2] {
        match self.0 {
            Side::X => [Some(M::back_vjp(Side::X, basis, upstream)), None],
            Side::Y => [None, Some(M::back_vjp(Side::Y, basis, upstream))],
        }
    }
}

impl<M: Measure> Inputs<M> for Both {
    type Fields<V: Copy + Send + Sync> = M::Fields<V>;

    #[inline(always)]
    fn back<T: Real, S: Simd>(self, derivatives: M::Fields<Lanes<T, S>>) -> M::Fields<Lanes<T, S>> {
        derivatives
    }

    #[inline(always)]
    fn pixels<T: Real, S: Simd>(
        self,
        basis: M::Basis<Lanes<T, S>>,
        upstream: M::Fields<Lanes<T, S>>,
    ) -> [Option<Lanes<T, S>>; 2] {
        let [x, y] = M::features_vjp(basis, upstream);
        [Some(x), Some(y)]
    }
}

/// Takes blocks of filtered features; makes their maps and the derivatives of the weighted maps with respect to them.
pub(super) struct Derivatives<'a, M: Measure, T: Real, I> {
    pub(super) scores: Scores<'a, M, T>,
    upstream: Upstream<'a, M::Maps<f64>, T>,
    inputs: I,
    /// `BLOCK` rows for each map: the derivatives with respect to it.
    weights: &'a mut [T],
    /// What the rows of [`Upstream::Sums`] depend on: the row's factor at a mirrored border, and whether it is inside.
    weighed: [Option<(f64, bool)>; BLOCK],
    /// Where the derivatives go, the vectors of the fields side by side.
    pub(super) memory: &'a mut [T],
    /// For each row of the block that is in the map, where it starts in `memory`.
    pub(super) starts: [Option<usize>; BLOCK],
}

impl<'a, M: Measure, T: Real, I: Inputs<M>> Derivatives<'a, M, T, I> {
    const MAPS: usize = M::Maps::<T>::LEN;

    pub(super) fn new(
        scores: Scores<'a, M, T>,
        upstream: Upstream<'a, M::Maps<f64>, T>,
        inputs: I,
        weights: &'a mut [T],
        memory: &'a mut [T],
    ) -> Self {
        Self { scores, upstream, inputs, weights, weighed: [None; BLOCK], memory, starts: [None; BLOCK] }
    }

    /// Memory needed for the weights of a block of rows.
    pub(super) fn weights_len(width: usize) -> usize {
        Self::MAPS * BLOCK * width
    }

    /// Makes maps and derivatives of a block.
    pub(super) fn make(&mut self) {
        self.arch().dispatch(self);
    }

    fn arch(&self) -> Arch {
        self.scores.window.arch
    }

    /// Writes row `row` of the weights, for row `y` of slice `z` of the map, at a mirrored border as the adjoint wants them.
    pub(super) fn weigh(&mut self, at: [usize; 2], row: usize) {
        let Scores { window, columns, width, mask, inner: inner_part, weights: of_places, .. } = &mut self.scores;
        let inside = inner_part[0].contains(&at[0]) && inner_part[1].contains(&at[1]);
        if let (Upstream::Sums(_), Some(mask)) = (&self.upstream, *mask) {
            window.weights(mask, at, columns, &mut of_places[..columns.len()]);
        } else if let Upstream::Sums(_) = self.upstream {
            // Most rows have the weights of the row before.
            let key = Some((window.row_factor(at), inside));
            if std::mem::replace(&mut self.weighed[row], key) == key {
                return;
            }
        }
        for (map, weights) in self.weights.chunks_exact_mut(BLOCK * *width).enumerate() {
            let weights = &mut weights[row * *width..][..columns.len()];
            match &self.upstream {
                Upstream::Sums(upstream) => {
                    let inner = M::INNER.get(map);
                    let counted = if !inner { columns.clone() } else { common(columns, &inner_part[2]) };
                    weights.fill(T::default());
                    if inside || !inner {
                        weights[clip(columns, &counted)].fill(T::of(upstream.get(map)));
                    }
                    if mask.is_some() {
                        weights
                            .iter_mut()
                            .zip(&*of_places)
                            .for_each(|(weight, &of_place)| *weight = *weight * of_place);
                    }
                }
                Upstream::Maps(maps) => match maps[map] {
                    Some(map) => {
                        map.copy_row(at, columns.clone(), weights);
                        let scale = T::of(M::SHOWN[0]);
                        weights.iter_mut().for_each(|weight| *weight = scale * *weight);
                    }
                    None => weights.fill(T::default()),
                },
            }
            window.fold(at, columns, weights, |weight, factor| weight * factor);
        }
    }
}

impl<M: Measure, T: Real, I: Inputs<M>> WithSimd for &mut Derivatives<'_, M, T, I> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Scores { filtered, maps, constants, width, .. } = &mut self.scores;
        let (constants, width, count) = (*constants, *width, *width / Lanes::<T, S>::COUNT);
        let (all, fields) = (M::Maps::filled(true), I::Fields::<T>::LEN);
        for (row, start) in self.starts.into_iter().enumerate() {
            let Some(start) = start else { continue };
            let features = FieldsOfRow::<M, T, S>::new(filtered, row, width);
            let mut weights = M::Maps::filled(&[][..]);
            for map in 0..M::Maps::<T>::LEN {
                let row = &self.weights[(map * BLOCK + row) * width..][..width];
                weights.set(map, &T::vectors::<S>(row)[..count]);
            }
            let mut kept = MapsOfRow { memory: maps, row, width };
            let out = T::vectors_mut::<S>(&mut self.memory[start..][..fields * width]);
            for (index, out) in out.chunks_exact_mut(fields).enumerate().take(count) {
                let mut upstream = M::Maps::filled(Lanes::zero(simd));
                for map in 0..M::Maps::<T>::LEN {
                    upstream.set(map, Lanes::new(simd, weights.get(map)[index]));
                }
                let features = features.get(simd, index);
                kept.put::<M, S>(index, M::score(&constants, features, all), all);
                let back = self.inputs.back(M::score_vjp(&constants, features, upstream));
                for (field, out) in out.iter_mut().enumerate() {
                    *out = back.get(field).vector();
                }
            }
        }
    }
}
