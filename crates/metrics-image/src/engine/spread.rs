//! The spread of the finite pixels of images, from which a data range can be found.

use pulp::{Simd, WithSimd};
use rayon::prelude::*;

use super::border::runs;
use super::rows::RowReader;
use super::schedule::arch;
use super::simd::Real;

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

    /// Of the numbers of both.
    pub(crate) fn join(self, other: Self) -> Self {
        Self { low: self.low.min(other.low), high: self.high.max(other.high) }
    }
}

/// The spread of each image, `channels` planes of which follow one another.
pub(crate) fn spread<T: Real>(readers: &[Box<dyn RowReader<T> + '_>], channels: usize) -> Vec<Spread> {
    let Some(first) = readers.first() else { return Vec::new() };
    let [depth, height, width] = first.dims();
    let rows: Vec<_> = runs(depth * height, ITEM.div_ceil(width), 1).collect();
    let items: Vec<_> =
        readers.iter().flat_map(|reader| rows.iter().map(move |rows| (&**reader, rows.clone()))).collect();
    let arch = arch();
    let of_item = |(reader, rows): (&dyn RowReader<T>, std::ops::Range<usize>)| {
        let mut buffer = vec![T::default(); width];
        rows.map(|row| arch.dispatch(OfRow(reader.row([row / height, row % height], 0..width, &mut buffer))))
            .fold(Spread::default(), Spread::join)
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
    fn with_simd<S: Simd>(self, _: S) -> Spread {
        const LANES: usize = 32;
        let (mut low, mut high) = ([T::of(f64::INFINITY); LANES], [T::of(f64::NEG_INFINITY); LANES]);
        let least = T::of(f64::NEG_INFINITY);
        let most = T::of(f64::INFINITY);
        let mut add = |lane: usize, value: T| {
            // Comparisons with NaN are false, and infinities are left out.
            let finite = value > least && value < most;
            low[lane] = if finite && value < low[lane] { value } else { low[lane] };
            high[lane] = if finite && value > high[lane] { value } else { high[lane] };
        };
        let (whole, rest) = self.0.as_chunks::<LANES>();
        for values in whole {
            for lane in 0..LANES {
                add(lane, values[lane]);
            }
        }
        rest.iter().enumerate().for_each(|(lane, &value)| add(lane, value));
        let fold = |values: [T; LANES], pick: fn(f64, f64) -> f64| {
            values.into_iter().map(T::wide).fold(values[0].wide(), pick)
        };
        Spread { low: fold(low, f64::min), high: fold(high, f64::max) }
    }
}
