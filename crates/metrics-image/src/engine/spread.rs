//! The spread of the finite pixels of images, from which a data range can be found.

use pulp::{Simd, WithSimd};
use rayon::prelude::*;

use super::border::runs;
use super::rows::RowReader;
use super::schedule::arch;
use super::simd::{Lanes, Real};

/// Pixels of a work item.
const ITEM: usize = 1 << 16;

/// The least and the most of some finite numbers.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Spread {
    low: f64,
    high: f64,
}

impl Default for Spread {
    fn default() -> Self {
        Self { low: f64::INFINITY, high: f64::NEG_INFINITY }
    }
}

impl Spread {
    /// The most minus the least; -∞ if there is no number.
    pub(crate) fn size(self) -> f64 {
        self.high - self.low
    }

    pub(crate) fn low(self) -> f64 {
        self.low
    }

    pub(crate) fn high(self) -> f64 {
        self.high
    }

    fn of<T: Real>(values: impl Iterator<Item = T>) -> Self {
        values.map(T::wide).fold(Self::default(), |spread, value| spread.join(Self { low: value, high: value }))
    }

    /// Of the numbers of both.
    pub(crate) fn join(self, other: Self) -> Self {
        Self { low: self.low.min(other.low), high: self.high.max(other.high) }
    }
}

/// The spread of each image, `channels` planes of which follow one another: of the pixels that count, if there are masks.
pub(crate) fn spread<T: Real>(
    readers: &[Box<dyn RowReader<T> + '_>],
    masks: &[Option<&dyn RowReader<T>>],
    channels: usize,
) -> Vec<Spread> {
    let Some(first) = readers.first() else { return Vec::new() };
    let [depth, height, width] = first.dims();
    let rows: Vec<_> = runs(depth * height, ITEM.div_ceil(width), 1).collect();
    let items: Vec<_> =
        (0..readers.len()).flat_map(|plane| rows.iter().map(move |rows| (plane, rows.clone()))).collect();
    let arch = arch();
    let of_item = |(plane, rows): (usize, std::ops::Range<usize>)| {
        let (reader, mask) = (&readers[plane], masks.get(plane).copied().flatten());
        let (mut buffer, mut weights) = (vec![T::default(); width], vec![T::default(); width]);
        let of_row = |row: usize| {
            let at = [row / height, row % height];
            let Some(mask) = mask else { return arch.dispatch(OfRow(reader.row(at, 0..width, &mut buffer))) };
            let (pixels, weights) = (reader.row(at, 0..width, &mut buffer), mask.row(at, 0..width, &mut weights));
            let counted = pixels.iter().zip(weights).filter(|(_, weight)| **weight > T::default());
            Spread::of(counted.map(|(pixel, _)| *pixel).filter(|pixel| pixel.wide().is_finite()))
        };
        rows.map(of_row).fold(Spread::default(), Spread::join)
    };
    let spreads: Vec<Spread> = items.into_par_iter().map(of_item).collect();
    spreads
        .chunks(rows.len() * channels)
        .map(|image| image.iter().copied().fold(Spread::default(), Spread::join))
        .collect()
}

struct OfRow<'a, T>(&'a [T]);

impl<T: Real> WithSimd for OfRow<'_, T> {
    type Output = Spread;

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) -> Spread {
        let [least, most] = [f64::NEG_INFINITY, f64::INFINITY].map(T::of);
        // Several of each, so that one comparison does not wait for another. Comparisons with NaN are false.
        let (mut low, mut high) = ([Lanes::splat(simd, most); 4], [Lanes::splat(simd, least); 4]);
        let (vectors, rest) = self.0.split_at(self.0.len() - self.0.len() % Lanes::<T, S>::COUNT);
        for vectors in T::vectors::<S>(vectors).chunks(4) {
            for (part, &vector) in vectors.iter().enumerate() {
                let values = Lanes::new(simd, vector);
                low[part] = values.if_less(low[part], values, low[part]);
                high[part] = high[part].if_less(values, values, high[part]);
            }
        }
        let vectors = [low, high].map(|parts| parts.map(Lanes::vector));
        let [low, high] = vectors.each_ref().map(|parts| pulp::bytemuck::cast_slice::<_, T>(parts));
        let finite = |value: &T| least < *value && *value < most;
        // An infinity may hide what is finite.
        if low.contains(&least) || high.contains(&most) {
            return Spread::of(self.0.iter().copied().filter(finite));
        }
        Spread::of(low.iter().chain(high).chain(rest).copied().filter(finite))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::Plane;

    /// The spread of one row of these pixels.
    fn of(pixels: &[f32]) -> f64 {
        let plane = Plane::dense(pixels, [1, 1, pixels.len()]).unwrap();
        spread(&[Box::new(plane) as Box<dyn RowReader<f32>>], &[], 1)[0].size()
    }

    #[test]
    fn what_is_not_finite_is_passed_over_wherever_it_is() {
        for len in [1, 3, 8, 9, 31, 64, 70] {
            let pixels: Vec<f32> = (0..len).map(|at| ((11 * at) % len) as f32 - 2.0).collect();
            assert_eq!(of(&pixels), f64::from(len - 1), "{len}");
            for (at, bad) in
                (0..len as usize).flat_map(|at| [f32::NAN, f32::INFINITY, f32::NEG_INFINITY].map(|bad| (at, bad)))
            {
                let with_bad = [&pixels[..at], &[bad], &pixels[at..]].concat();
                assert_eq!(of(&with_bad), of(&pixels), "{len}, {bad} at {at}");
            }
        }
        assert_eq!(of(&[f32::NAN; 20]), f64::NEG_INFINITY);
    }
}
