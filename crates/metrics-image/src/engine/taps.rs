//! The taps of a separable filter in the type that is computed in.

use std::ops::Range;

use super::schedule::Window;
use super::simd::Real;
use crate::engine::Padding;

/// A separable filter: its taps along each axis, outermost first, and what lies beyond the border.
pub(crate) struct Filters {
    pub(crate) axes: Vec<AxisTaps>,
    pub(crate) padding: Padding,
}

impl Filters {
    /// The size of the map of a plane; `None` if the plane is too small.
    pub(crate) fn map_dims(&self, dims: [usize; 3]) -> Option<[usize; 3]> {
        Some(Window::<f32>::new(self, dims)?.map_dims())
    }
}

/// Taps along one axis, of odd number.
pub(crate) enum AxisTaps {
    /// The same for every field: symmetric, with sum 1.
    Shared(Vec<f64>),
    /// Others for each field; not with a mirrored border, whose filter is its own adjoint only if it is symmetric.
    PerField(Vec<Vec<f64>>),
}

/// Taps as kernels use them.
#[derive(Clone)]
pub(super) struct Taps<T> {
    fields: Vec<Vec<T>>,
    /// Of each field, the taps without the zeros at either end.
    there: Vec<Range<usize>>,
    /// What the taps of a field sum up to, exactly or nearly so.
    pub(super) sum: f64,
}

impl<T: Real> Taps<T> {
    pub(super) fn new(axis: &AxisTaps) -> Self {
        match axis {
            AxisTaps::Shared(taps) => {
                let taps = rounded(taps);
                Self::of_fields(taps.iter().map(|tap: &T| tap.wide()).sum(), vec![taps])
            }
            AxisTaps::PerField(fields) => {
                let is_mean = |taps: &Vec<f64>| {
                    taps.iter().eq(taps.iter().rev()) && (taps.iter().sum::<f64>() - 1.0).abs() < 1e-12
                };
                let fields = fields.iter().map(|taps| if is_mean(taps) { corrected(taps) } else { nearest(taps) });
                Self::of_fields(1.0, fields.collect())
            }
        }
    }

    fn of_fields(sum: f64, fields: Vec<Vec<T>>) -> Self {
        let there = |taps: &Vec<T>| {
            let is_there = |tap: &T| *tap != T::default();
            let first = taps.iter().position(is_there).unwrap_or(0);
            first..taps.iter().rposition(is_there).map_or(first, |last| last + 1)
        };
        Self { there: fields.iter().map(there).collect(), fields, sum }
    }

    /// A filter that does nothing: that of an axis of one line.
    pub(super) fn none() -> Self {
        Self::of_fields(1.0, vec![vec![T::of(1.0)]])
    }

    /// The taps of the adjoint.
    pub(super) fn reversed(&self) -> Self {
        let reversed = |taps: &Vec<T>| taps.iter().rev().copied().collect();
        Self::of_fields(self.sum, self.fields.iter().map(reversed).collect())
    }

    pub(super) fn len(&self) -> usize {
        self.fields[0].len()
    }

    /// The taps of all fields, if they have the same.
    pub(super) fn shared(&self) -> Option<&[T]> {
        match &self.fields[..] {
            [taps] => Some(taps),
            _ => None,
        }
    }

    /// The taps of a field without zeros at either end, and the number of the first.
    pub(super) fn of(&self, field: usize) -> (usize, &[T]) {
        let field = if field < self.fields.len() { field } else { 0 };
        let there = self.there[field].clone();
        (there.start, &self.fields[field][there])
    }
}

/// Taps whose sum is known exactly, or is 1 to far more digits than each of them has: a variance is the small difference of two
/// filtered numbers, and taps that sum to 1 + ε make it wrong by ε times the squared mean.
fn rounded<T: Real>(taps: &[f64]) -> Vec<T> {
    if taps.iter().all(|tap| *tap == taps[0]) {
        // Powers of two sum up to a number of few bits.
        let tap = 0.5f64.powi(usize::BITS as i32 - (taps.len() - 1).leading_zeros() as i32);
        return vec![T::of(tap); taps.len()];
    }
    corrected(taps)
}

fn nearest<T: Real>(taps: &[f64]) -> Vec<T> {
    taps.iter().map(|&tap| T::of(tap)).collect()
}

/// Symmetric taps whose rounded sum is 1 to far more digits than each of them has.
fn corrected<T: Real>(taps: &[f64]) -> Vec<T> {
    let (middle, mut rounded) = (taps.len() / 2, nearest::<T>(taps));
    // From the largest to the smallest, each takes as much of what is missing as its last digit can hold. Zeros stay.
    for distance in (0..=middle).filter(|distance| taps[middle + distance] != 0.0) {
        let missing = 1.0 - rounded.iter().map(|tap| tap.wide()).sum::<f64>();
        let ends = [middle - distance, middle + distance];
        let share = if distance == 0 { missing } else { missing / 2.0 };
        for end in &ends[usize::from(distance == 0)..] {
            rounded[*end] = T::of(rounded[*end].wide() + share);
        }
    }
    rounded
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gaussian(sigma: f64, len: usize) -> Vec<f64> {
        let tap = |i: usize| (-((i as f64 - (len / 2) as f64) / sigma).powi(2) / 2.0).exp();
        let sum: f64 = (0..len).map(tap).sum();
        (0..len).map(|i| tap(i) / sum).collect()
    }

    #[test]
    fn rounded_taps_sum_to_one() {
        for (sigma, len) in [(1.5, 11), (1.0, 9), (2.5, 19), (0.5, 5), (17.0 / 5.0, 17)] {
            let exact = gaussian(sigma, len);
            let taps = Taps::<f32>::new(&AxisTaps::Shared(exact.clone()));
            assert!((taps.sum - 1.0).abs() < 1e-9, "{sigma} {len}: {:e}", taps.sum - 1.0);
            for (tap, exact) in taps.of(0).1.iter().zip(&exact) {
                // One rounding more than the nearest.
                assert!((f64::from(*tap) - exact).abs() < 6e-8 * exact.max(0.3), "{sigma} {len}");
            }
        }
        // In a window as long as that of another field.
        let narrow: Vec<f64> = [vec![0.0; 10], gaussian(0.5, 9), vec![0.0; 10]].concat();
        let fields = Taps::<f32>::new(&AxisTaps::PerField(vec![gaussian(6.0, 29), narrow]));
        let [(first, wide), (second, narrow)] = [fields.of(0), fields.of(1)];
        assert_eq!([(first, wide.len()), (second, narrow.len())], [(0, 29), (10, 9)]);
        for taps in [wide, narrow] {
            assert!((taps.iter().copied().map(f64::from).sum::<f64>() - 1.0).abs() < 1e-9);
        }
        for len in [1, 2, 3, 7, 8, 9, 255] {
            let taps = Taps::<f32>::new(&AxisTaps::Shared(vec![1.0 / len as f64; len]));
            assert!(taps.sum > 0.5 && taps.sum <= 1.0 && taps.sum == f64::from(taps.sum as f32), "{len}: {}", taps.sum);
        }
    }
}
