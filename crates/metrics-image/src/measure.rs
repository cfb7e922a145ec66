//! What a measure says of itself; the engine does the rest.
//!
//! A full-reference measure compares two images place by place: *features* of each pair of pixels are *filtered*, the filtered
//! features around a place (its moments, its gradients, …) give the place a *score*, and the scores are summed. A measure is those
//! few functions and their derivatives. `docs/engine.md` walks through one.

pub(crate) mod errors;
pub(crate) mod gmsd;
pub(crate) mod l1_ssim;
pub(crate) mod mix;
pub(crate) mod ms_ssim;
pub(crate) mod pixel;
pub(crate) mod similarity;
pub(crate) mod ssim;
pub(crate) mod vif;

#[cfg(test)]
mod tests;

use pulp::Simd;

use crate::engine::{Array, Filters, Lanes, Real};

/// One of the two images.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    X,
    Y,
}

/// Features, score and derivatives of a measure.
///
/// The functions work on one vector of places at a time. They are called in the innermost loops: all of them are
/// `#[inline(always)]`.
pub(crate) trait Measure: Sync {
    /// One for each field: a feature that is filtered.
    type Fields<V: Copy + Send + Sync>: Array<V>;
    /// One for each map: a score at each place, which is summed.
    type Maps<V: Copy + Send + Sync>: Array<V>;
    /// One for each field that the gradient with respect to one image needs; the taps of each are those of the field of the same
    /// number.
    type Back<V: Copy + Send + Sync>: Array<V>;
    /// What is made once of each pair of pixels, before windows slide over it.
    type Basis<V: Copy + Send + Sync>: Array<V>;
    /// What the functions need to know of a plane.
    type Constants<T: Real>: Copy + Send + Sync;

    /// Whether its windows can look through a mask: the filtered features are then those of the pixels that count, over the sum of
    /// their weights, as `Masked` in `engine/mask.rs` computes them.
    const MASKS: bool;
    /// Whether [`basis`](Self::basis) wants to know how much a pixel counts.
    const WEIGHTED: bool = false;

    /// Whether `constants` wants a pivot, a number near the middle of each image, so that squares of large values do not eat up
    /// small variances.
    const PIVOT: bool;
    /// The maps that are summed over the windows inside the image only.
    const INNER: Self::Maps<bool>;
    /// The numbers of taps that windows usually have: each gets code of its own, which takes long to compile; others are slower.
    const TAPS: &'static [usize];
    /// A map is shown to users as `SHOWN[0] · map + SHOWN[1]`.
    const SHOWN: [f64; 2];

    /// Taps along each axis, and what lies beyond the border.
    fn filters(&self) -> Filters;

    /// For a plane of this data range; `total` is the sum of a window's taps.
    fn constants<T: Real>(&self, range: f64, pivot: [f64; 2], total: f64) -> Self::Constants<T>;

    /// The basis of a pair of pixels, which counts with `weight`.
    fn basis<T: Real, S: Simd>(
        constants: &Self::Constants<T>,
        pixels: [Lanes<T, S>; 2],
        weight: Lanes<T, S>,
    ) -> Self::Basis<Lanes<T, S>>;

    /// The features of a pair.
    fn features<T: Real, S: Simd>(basis: Self::Basis<Lanes<T, S>>) -> Self::Fields<Lanes<T, S>>;

    /// The sums of the features of two pairs, which lie under equal taps. A measure may know a shorter way.
    #[inline(always)]
    fn features_of_pair<T: Real, S: Simd>(
        a: Self::Basis<Lanes<T, S>>,
        b: Self::Basis<Lanes<T, S>>,
    ) -> Self::Fields<Lanes<T, S>> {
        let (mut sums, other) = (Self::features(a), Self::features(b));
        for field in 0..Self::Fields::<Lanes<T, S>>::LEN {
            sums.set(field, sums.get(field) + other.get(field));
        }
        sums
    }

    /// The maps at a place, from its filtered features. Of maps that are not `wanted` any value will do.
    fn score<T: Real, S: Simd>(
        constants: &Self::Constants<T>,
        filtered: Self::Fields<Lanes<T, S>>,
        wanted: Self::Maps<bool>,
    ) -> Self::Maps<Lanes<T, S>>;

    /// The derivatives with respect to the filtered features of `Σ upstream · map`.
    fn score_vjp<T: Real, S: Simd>(
        constants: &Self::Constants<T>,
        filtered: Self::Fields<Lanes<T, S>>,
        upstream: Self::Maps<Lanes<T, S>>,
    ) -> Self::Fields<Lanes<T, S>>;

    /// What of those the gradient with respect to one image needs.
    fn back<T: Real, S: Simd>(side: Side, derivatives: Self::Fields<Lanes<T, S>>) -> Self::Back<Lanes<T, S>>;

    /// The derivative with respect to a pixel, from the filtered [`back`](Self::back).
    fn back_vjp<T: Real, S: Simd>(
        side: Side,
        basis: Self::Basis<Lanes<T, S>>,
        upstream: Self::Back<Lanes<T, S>>,
    ) -> Lanes<T, S>;

    /// The derivatives with respect to both pixels, from the filtered derivatives with respect to the features.
    fn features_vjp<T: Real, S: Simd>(
        basis: Self::Basis<Lanes<T, S>>,
        upstream: Self::Fields<Lanes<T, S>>,
    ) -> [Lanes<T, S>; 2];
}
