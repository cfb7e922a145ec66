//! Windows that look through a mask.
//!
//! With weights `m` of pixels, the filtered features are `Σ w m f / Σ w m` instead of `Σ w f`: the weights are one more field, and
//! what a measure makes of the features stays as it is. A pixel of weight 0 becomes 0 before anything is made of it.

use std::ops::Range;

use pulp::{Scalar, Simd, WithSimd};
use rayon::prelude::*;

use super::buffer::Region;
use super::downsample::{Downsampling, add_coarser, downsample};
use super::pixel::Pixel;
use super::rows::{Plane, RowReader};
use super::schedule::arch;
use super::simd::{Array, Lanes, Real};
use super::sums::Total;
use super::taps::Filters;
use crate::measure::{Measure, Side};

/// A measure of the pixels that count.
pub(super) struct Masked<'a, M>(pub(super) &'a M);

/// The fields or the basis of a measure, and the weights.
#[derive(Clone, Copy)]
pub(crate) struct WithWeight<A, V> {
    of: A,
    weight: V,
}

impl<V: Copy + Send + Sync, A: Array<V>> Array<V> for WithWeight<A, V> {
    const LEN: usize = A::LEN + 1;

    #[inline(always)]
    fn filled(value: V) -> Self {
        Self { of: A::filled(value), weight: value }
    }
    #[inline(always)]
    fn get(&self, at: usize) -> V {
        if at < A::LEN { self.of.get(at) } else { self.weight }
    }
    #[inline(always)]
    fn set(&mut self, at: usize, value: V) {
        if at < A::LEN {
            self.of.set(at, value);
        } else {
            self.weight = value;
        }
    }
}

/// Every number of `array` by `f`.
#[inline(always)]
fn map<V: Copy + Send + Sync, A: Array<V>>(mut array: A, f: impl Fn(V) -> V) -> A {
    for at in 0..A::LEN {
        array.set(at, f(array.get(at)));
    }
    array
}

/// `value` where `weight` is more than 0, else 0 whatever the value is.
#[inline(always)]
fn if_counted<T: Real, S: Simd>(weight: Lanes<T, S>, value: Lanes<T, S>) -> Lanes<T, S> {
    let zero = weight.like(0.0);
    zero.if_less(weight, value, zero)
}

impl<M: Measure> Measure for Masked<'_, M> {
    type Fields<V: Copy + Send + Sync> = WithWeight<M::Fields<V>, V>;
    type Maps<V: Copy + Send + Sync> = M::Maps<V>;
    type Back<V: Copy + Send + Sync> = M::Back<V>;
    type Basis<V: Copy + Send + Sync> = WithWeight<M::Basis<V>, V>;
    type Constants<T: Real> = M::Constants<T>;

    const MASKS: bool = false;
    const WEIGHTED: bool = true;
    const PIVOT: bool = M::PIVOT;
    const INNER: M::Maps<bool> = M::INNER;
    /// Fewer than without a mask, as each takes long to compile.
    const TAPS: &'static [usize] = &[7, 11];
    const SHOWN: [f64; 2] = M::SHOWN;

    fn filters(&self) -> Filters {
        self.0.filters()
    }

    /// What is filtered is divided by the sum of the weights.
    fn constants<T: Real>(&self, range: f64, pivot: [f64; 2], _: f64) -> M::Constants<T> {
        self.0.constants(range, pivot, 1.0)
    }

    #[inline(always)]
    fn basis<T: Real, S: Simd>(
        constants: &M::Constants<T>,
        pixels: [Lanes<T, S>; 2],
        weight: Lanes<T, S>,
    ) -> Self::Basis<Lanes<T, S>> {
        let of = M::basis(constants, pixels, weight);
        WithWeight { of: map(of, |part| if_counted(weight, part)), weight }
    }

    #[inline(always)]
    fn features<T: Real, S: Simd>(WithWeight { of, weight }: Self::Basis<Lanes<T, S>>) -> Self::Fields<Lanes<T, S>> {
        WithWeight { of: map(M::features(of), |feature| feature * weight), weight }
    }

    #[inline(always)]
    fn features_of_pair<T: Real, S: Simd>(
        a: Self::Basis<Lanes<T, S>>,
        b: Self::Basis<Lanes<T, S>>,
    ) -> Self::Fields<Lanes<T, S>> {
        let (mut sums, more) = (Self::features(a), M::features(b.of));
        for field in 0..M::Fields::<T>::LEN {
            sums.of.set(field, more.get(field).mul_add(b.weight, sums.of.get(field)));
        }
        sums.weight += b.weight;
        sums
    }

    /// NaN under a window without weight.
    #[inline(always)]
    fn score<T: Real, S: Simd>(
        constants: &M::Constants<T>,
        WithWeight { of, weight }: Self::Fields<Lanes<T, S>>,
        wanted: M::Maps<bool>,
    ) -> M::Maps<Lanes<T, S>> {
        let inverse = weight.recip();
        M::score(constants, map(of, |feature| feature * inverse), wanted)
    }

    #[inline(always)]
    fn score_vjp<T: Real, S: Simd>(
        constants: &M::Constants<T>,
        WithWeight { of, weight }: Self::Fields<Lanes<T, S>>,
        upstream: M::Maps<Lanes<T, S>>,
    ) -> Self::Fields<Lanes<T, S>> {
        let inverse = weight.recip();
        let derivatives = M::score_vjp(constants, map(of, |feature| feature * inverse), upstream);
        let of = map(derivatives, |derivative| if_counted(weight, derivative * inverse));
        WithWeight { of, weight: weight.like(0.0) }
    }

    #[inline(always)]
    fn back<T: Real, S: Simd>(side: Side, derivatives: Self::Fields<Lanes<T, S>>) -> M::Back<Lanes<T, S>> {
        M::back(side, derivatives.of)
    }

    #[inline(always)]
    fn back_vjp<T: Real, S: Simd>(
        side: Side,
        WithWeight { of, weight }: Self::Basis<Lanes<T, S>>,
        upstream: M::Back<Lanes<T, S>>,
    ) -> Lanes<T, S> {
        if_counted(weight, M::back_vjp(side, of, upstream) * weight)
    }

    #[inline(always)]
    fn features_vjp<T: Real, S: Simd>(
        WithWeight { of, weight }: Self::Basis<Lanes<T, S>>,
        upstream: Self::Fields<Lanes<T, S>>,
    ) -> [Lanes<T, S>; 2] {
        M::features_vjp(of, upstream.of).map(|derivative| if_counted(weight, derivative * weight))
    }
}

/// Rows of a work item.
const ROWS: usize = 64;

/// The masks of some planes, each once, and which of them a plane has.
fn distinct<'a, T: Real>(masks: &[Option<&'a dyn RowReader<T>>]) -> (Vec<&'a dyn RowReader<T>>, Vec<Option<usize>>) {
    let mut distinct: Vec<&dyn RowReader<T>> = Vec::new();
    let numbers = masks.iter().map(|mask| {
        let mask = (*mask)?;
        // The channels of an image follow one another.
        if !distinct.last().is_some_and(|last| std::ptr::addr_eq(*last, mask)) {
            distinct.push(mask);
        }
        Some(distinct.len() - 1)
    });
    let numbers = numbers.collect();
    (distinct, numbers)
}

/// The sum of the weights of a region of each mask.
pub(crate) fn weight_sums<T: Real>(masks: &[Option<&dyn RowReader<T>>], region: &Region) -> Vec<Option<f64>> {
    let (distinct, numbers) = distinct(masks);
    let sums: Vec<f64> = distinct.into_iter().map(|mask| weight_sum(mask, region)).collect();
    numbers.into_iter().map(|number| Some(sums[number?])).collect()
}

fn weight_sum<T: Real>(mask: &dyn RowReader<T>, [slices, rows, columns]: &Region) -> f64 {
    let places: Vec<[usize; 2]> = slices.clone().flat_map(|z| rows.clone().map(move |y| [z, y])).collect();
    let of_rows = |places: &[[usize; 2]]| {
        let mut buffer = vec![T::default(); columns.len()];
        places.iter().map(|&at| row_sum(mask.row(at, columns.clone(), &mut buffer))).sum::<f64>()
    };
    let sums: Vec<f64> = places.par_chunks(ROWS).map(of_rows).collect();
    sums.iter().sum()
}

fn row_sum<T: Real>(row: &[T]) -> f64 {
    let mut total = Total::default();
    arch().dispatch(AddRow(&mut total, row));
    total.value()
}

struct AddRow<'a, T>(&'a mut Total, &'a [T]);

impl<T: Real> WithSimd for AddRow<'_, T> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        self.0.add_row(simd, self.1);
    }
}

/// Pixels times their weights; 0 where a weight is.
struct Weighted<'a, T: Real> {
    pixels: &'a dyn RowReader<T>,
    mask: &'a dyn RowReader<T>,
}

impl<T: Real> RowReader<T> for Weighted<'_, T> {
    fn dims(&self) -> [usize; 3] {
        self.pixels.dims()
    }

    fn copy_row(&self, at: [usize; 2], columns: Range<usize>, out: &mut [T]) {
        self.pixels.copy_row(at, columns.clone(), out);
        let mut buffer = vec![T::default(); columns.len()];
        for (pixel, &weight) in out.iter_mut().zip(self.mask.row(at, columns, &mut buffer)) {
            *pixel = if weight > T::default() { *pixel * weight } else { T::default() };
        }
    }
}

/// The masks of planes at a coarser scale.
pub(crate) struct CoarserMasks<T> {
    dims: [usize; 3],
    /// Dense, each once.
    masks: Vec<Vec<T>>,
    /// Which of them a plane has.
    numbers: Vec<Option<usize>>,
}

impl<T: Real + Pixel<Real = T>> CoarserMasks<T> {
    /// Runs `f` on the mask of each plane.
    pub(crate) fn with<R>(&self, f: impl FnOnce(&[Option<&dyn RowReader<T>>]) -> R) -> R {
        let planes: Vec<_> = self.masks.iter().filter_map(|mask| Plane::dense(mask, self.dims)).collect();
        let of_plane = |number: &Option<usize>| number.map(|number| &planes[number] as &dyn RowReader<T>);
        f(&self.numbers.iter().map(of_plane).collect::<Vec<_>>())
    }

    /// Of dense masks of one size, and which of them a plane has.
    pub(crate) fn new(dims: [usize; 3], masks: Vec<Vec<T>>, numbers: Vec<Option<usize>>) -> Self {
        Self { dims, masks, numbers }
    }

    /// What `f` makes of each mask.
    pub(crate) fn map(&self, f: impl Fn(&[T]) -> Vec<T>) -> Self {
        Self::new(self.dims, self.masks.iter().map(|mask| f(mask)).collect(), self.numbers.clone())
    }

    pub(crate) fn of_plane(&self, plane: usize) -> Option<&[T]> {
        Some(&self.masks[self.numbers[plane]?])
    }

    /// Divides dense planes by their masks, and makes 0 of what has no weight.
    pub(crate) fn divide(&self, planes: &mut [T]) {
        let len: usize = self.dims.iter().product();
        planes.par_chunks_mut(len).enumerate().for_each(|(plane, values)| {
            let Some(mask) = self.of_plane(plane) else { return };
            values.par_chunks_mut(1 << 15).zip(mask.par_chunks(1 << 15)).for_each(|(values, weights)| {
                arch().dispatch(Divide(values, weights));
            });
        });
    }
}

struct Divide<'a, T>(&'a mut [T], &'a [T]);

impl<T: Real> WithSimd for Divide<'_, T> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self(values, weights) = self;
        let whole = values.len() - values.len() % Lanes::<T, S>::COUNT;
        for at in (0..whole).step_by(Lanes::<T, S>::COUNT) {
            let weight = Lanes::load(simd, weights, at);
            if_counted(weight, Lanes::load(simd, values, at) * weight.recip()).store(values, at);
        }
        for at in whole..values.len() {
            let weight = Lanes::splat(Scalar, weights[at]);
            values[at] = if_counted(weight, Lanes::splat(Scalar, values[at]) * weight.recip()).sum();
        }
    }
}

/// Both images of each pair after a linear map, and their masks: the map of the weights, and pixels averaged by them.
pub(crate) fn averaged<T: Real + Pixel<Real = T>, E>(
    pairs: &[[&dyn RowReader<T>; 2]],
    masks: &[Option<&dyn RowReader<T>>],
    dims: [usize; 3],
    map: impl Fn(&[[&dyn RowReader<T>; 2]]) -> Result<[Vec<T>; 2], E>,
) -> Result<([Vec<T>; 2], CoarserMasks<T>), E> {
    let weighted: Vec<_> = pairs
        .iter()
        .zip(masks)
        .map(|(&pair, &mask)| pair.map(|pixels| mask.map(|mask| Weighted { pixels, mask })))
        .collect();
    let read: Vec<[&dyn RowReader<T>; 2]> = weighted
        .iter()
        .zip(pairs)
        .map(|(weighted, pair)| {
            [0, 1].map(|side| weighted[side].as_ref().map_or(pair[side], |weighted| weighted as &dyn RowReader<T>))
        })
        .collect();
    let images = map(&read)?;
    let (distinct, numbers) = distinct(masks);
    let mut coarser = Vec::with_capacity(distinct.len());
    for two in distinct.chunks(2) {
        let pair = [two[0], two[two.len() - 1]];
        coarser.extend(map(&[pair])?.into_iter().take(two.len()));
    }
    Ok((images, CoarserMasks::new(dims, coarser, numbers)))
}

/// Both images of each pair at the next scale, and their masks: means of the weights, and of the pixels weighted by them.
pub(crate) fn downsample_masked<T: Real + Pixel<Real = T>>(
    pairs: &[[&dyn RowReader<T>; 2]],
    masks: &[Option<&dyn RowReader<T>>],
    downsampling: Downsampling,
) -> ([Vec<T>; 2], CoarserMasks<T>) {
    let map = |pairs: &[[&dyn RowReader<T>; 2]]| Ok::<_, std::convert::Infallible>(downsample(pairs, downsampling));
    let Ok((mut images, mut masks)) = averaged(pairs, masks, downsampling.dims(), map);
    masks.masks.iter_mut().for_each(|mask| downsampling.count_outside(mask));
    images.iter_mut().for_each(|image| masks.divide(image));
    (images, masks)
}

/// Multiplies dense planes by their masks, and makes 0 of what has no weight.
pub(crate) fn multiply<T: Real>(planes: &mut [T], masks: &[Option<&dyn RowReader<T>>]) {
    let len = planes.len() / masks.len();
    for (plane, mask) in planes.chunks_exact_mut(len).zip(masks) {
        let Some(mask) = mask else { continue };
        let [_, height, width] = mask.dims();
        plane.par_chunks_mut(width).enumerate().with_min_len(ROWS).for_each_init(
            || vec![T::default(); width],
            |buffer, (row, values)| {
                let weights = mask.row([row / height, row % height], 0..width, buffer);
                for (value, &weight) in values.iter_mut().zip(weights) {
                    *value = if weight > T::default() { *value * weight } else { T::default() };
                }
            },
        );
    }
}

/// `factor · gradient + Hᵀ coarser` in place, plane by plane, with `H` the downsampling of [`downsample_masked`]; `coarser` is used up.
pub(crate) fn add_coarser_masked<T: Real + Pixel<Real = T>>(
    downsampling: Downsampling,
    gradient: &mut [T],
    factors: &[f64],
    coarser: &mut [T],
    (fine, coarse): (&[Option<&dyn RowReader<T>>], &CoarserMasks<T>),
) {
    coarse.divide(coarser);
    let mut spread = vec![T::default(); gradient.len()];
    add_coarser(downsampling, &mut spread, &vec![0.0; factors.len()], coarser);
    multiply(&mut spread, fine);
    let len = gradient.len() / factors.len();
    for ((gradient, spread), &factor) in gradient.chunks_exact_mut(len).zip(spread.chunks_exact(len)).zip(factors) {
        let (factor, parts) = (T::of(factor), gradient.par_chunks_mut(1 << 15).zip(spread.par_chunks(1 << 15)));
        parts.for_each(|(gradient, more)| {
            gradient.iter_mut().zip(more).for_each(|(value, &more)| *value = *value * factor + more);
        });
    }
}
