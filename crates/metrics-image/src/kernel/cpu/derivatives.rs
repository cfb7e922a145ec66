//! The derivatives of SSIM by its filtered fields.

use std::ops::Range;

use pulp::{Simd, WithSimd};

use super::filter::BLOCK;
use super::lanes::{Lanes, Real, groups_mut};
use super::plane::Source;
use super::pool::Coarser;
use super::score::Scores;
use super::window::clip;

/// What the gradient is of, and what is added to it.
#[derive(Clone, Copy)]
pub(super) struct Goal<'a, T> {
    pub(super) weights: Weights<'a, T>,
    /// The weights of the sums of squared and of absolute errors.
    pub(super) errors: [f64; 2],
    /// What comes from the next coarser scale, for x and for y.
    pub(super) coarser: [Option<Coarser<'a, T>>; 2],
}

/// How much each pixel of the maps of SSIM and of contrast weighs.
#[derive(Clone, Copy)]
pub(super) enum Weights<'a, T> {
    /// All the same, but for the contrast at those that do not count.
    Means { ssim: f64, contrast: f64 },
    /// Each as given.
    Maps([Option<&'a dyn Source<T>>; 2]),
}

/// Which inputs want a gradient.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Wanted {
    X,
    Y,
    Both,
}

/// Takes blocks of moments; makes `F` fields of derivatives: with respect to the means of `u` and `v` and to their mean squares;
/// or, if only one input wants its gradient, the first two joined to the one it needs.
pub(super) struct Derive<'a, T, const F: usize> {
    pub(super) scores: Scores<'a, T>,
    weights: Weights<'a, T>,
    wanted: Wanted,
    /// `BLOCK` rows of weights for SSIM, as many for the contrast.
    weight_rows: [&'a mut [T]; 2],
    /// What the rows of [`Weights::Means`] depend on: the line's factor at a mirrored border, and whether its contrast counts.
    weighed: [Option<(f64, bool)>; BLOCK],
    /// Where the derivatives go, `F` vectors side by side.
    pub(super) memory: &'a mut [T],
    /// For each line of the block that is in the map, where its row starts in `memory`.
    pub(super) starts: [Option<usize>; BLOCK],
}

impl<'a, T: Real, const F: usize> Derive<'a, T, F> {
    /// `weight_rows` has room for the weights of a block of lines, [`Scores::width`] each.
    pub(super) fn new(
        scores: Scores<'a, T>,
        weights: Weights<'a, T>,
        wanted: Wanted,
        weight_rows: &'a mut [T],
        memory: &'a mut [T],
    ) -> Self {
        let weight_rows = weight_rows.split_at_mut(BLOCK * scores.width).into();
        Self { scores, weights, wanted, weight_rows, weighed: [None; BLOCK], memory, starts: [None; BLOCK] }
    }

    /// Memory needed for the weights of a block of lines.
    pub(super) fn weights_len(width: usize) -> usize {
        2 * BLOCK * width
    }

    /// Length of a row of derivatives.
    pub(super) fn len(width: usize) -> usize {
        F * width
    }

    /// Makes losses and derivatives of a block of moments.
    pub(super) fn derive(&mut self) {
        self.scores.window.arch.dispatch(self);
    }

    /// Writes row `row` of the weights for line `y` of slice `z` of the map, at a mirrored border as the adjoint wants them.
    pub(super) fn weigh(&mut self, [z, y]: [usize; 2], row: usize) {
        let Scores { window, columns, width, .. } = &self.scores;
        let [ssim, contrast] = &mut self.weight_rows;
        let ssim = &mut ssim[row * width..][..columns.len()];
        let contrast = &mut contrast[row * width..][..columns.len()];
        match &self.weights {
            Weights::Means { ssim: weight, contrast: contrast_weight } => {
                let counts = window.contrast_lines(0).contains(&z) && window.contrast_lines(1).contains(&y);
                // Most lines have the weights of the line before.
                let key = Some((window.line_factor([z, y]), counts));
                if std::mem::replace(&mut self.weighed[row], key) == key {
                    return;
                }
                ssim.fill(T::of(*weight));
                contrast.fill(T::default());
                if counts {
                    contrast[clip(columns, &window.contrast_lines(2))].fill(T::of(*contrast_weight));
                }
            }
            Weights::Maps([ssim_map, contrast_map]) => {
                copy_or_clear(ssim_map, [z, y], columns, ssim);
                copy_or_clear(contrast_map, [z, y], columns, contrast);
            }
        }
        window.fold([z, y], columns, ssim, |weight, factor| weight * factor);
        window.fold([z, y], columns, contrast, |weight, factor| weight * factor);
    }
}

fn copy_or_clear<T: Real>(map: &Option<&dyn Source<T>>, at: [usize; 2], columns: &Range<usize>, row: &mut [T]) {
    match map {
        Some(map) => map.copy_row(at, columns.clone(), row),
        None => row.fill(T::default()),
    }
}

impl<T: Real, const F: usize> WithSimd for &mut Derive<'_, T, F> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let width = self.scores.width;
        for (line, start) in self.starts.into_iter().enumerate() {
            let Some(start) = start else { continue };
            let row = groups_mut::<T, S, F>(&mut self.memory[start..][..F * width]);
            for (index, group) in row.iter_mut().enumerate() {
                let at = index * Lanes::<T, S>::COUNT;
                let terms = self.scores.terms(simd, [true, true], line, at);
                let ssim = Lanes::load(simd, self.weight_rows[0], line * width + at);
                let contrast = Lanes::load(simd, self.weight_rows[1], line * width + at);
                let [by_u, by_v, by_uu, by_vv] = terms.partials(ssim, contrast);
                let fields = match self.wanted {
                    Wanted::Both => [by_u, by_v, by_uu, by_vv],
                    Wanted::X => [by_u + by_v, by_uu, by_vv, by_vv],
                    Wanted::Y => [by_u - by_v, by_uu, by_vv, by_vv],
                };
                for field in 0..F {
                    group[field] = fields[field].vector();
                }
            }
        }
    }
}
