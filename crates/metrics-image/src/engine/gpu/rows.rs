//! How the numbers of a pass lie in one tensor.

use candle_core::{D, Tensor};
use metrics_core::Result;

use crate::engine::OddSides;
use crate::engine::backend::{Outcome, Scales, Slopes, Wants};

/// What the rows of a pass hold, one number for each plane: mean SSIM of the images; mean contrast of every scale but the last;
/// mean SSIM of the last, unless that is the first; sums of squared and of absolute errors, if they are wanted. What nobody
/// wants is NaN, and has cost nothing.
#[derive(Clone, Copy)]
pub(super) struct Rows {
    pub(super) scales: Scales,
    /// Whether SSIM and contrast of the images themselves are among what is wanted.
    first: [bool; 2],
    pub(super) errors: bool,
}

impl Rows {
    pub(super) const SSIM: usize = 0;
    pub(super) const CONTRAST: usize = 1;

    pub(super) fn new(wants: Wants) -> Self {
        let scales = wants.scales.unwrap_or(Scales { count: 1, odd_sides: OddSides::Drop });
        let only_scale = wants.scales.is_some_and(|scales| scales.count == 1);
        let first = [wants.ssim || only_scale, wants.contrast || (wants.scales.is_some() && !only_scale)];
        Self { scales, first, errors: wants.errors() }
    }

    /// The row of sums of squared errors; those of absolute ones follow.
    pub(super) fn squared(self) -> usize {
        self.scales.count.max(1) + 1
    }

    pub(super) fn count(self) -> usize {
        self.squared() + if self.errors { 2 } else { 0 }
    }

    /// The row of a scale after the first.
    pub(super) fn scale(scale: usize) -> usize {
        scale + 1
    }

    pub(super) fn is_last(self, scale: usize) -> bool {
        scale + 1 == self.scales.count
    }

    /// Whether to score SSIM at a scale, and contrast.
    pub(super) fn scored(self, scale: usize) -> [bool; 2] {
        let last = self.is_last(scale);
        if scale == 0 { self.first } else { [last, !last] }
    }

    /// The foreseen derivative with respect to each row; none for several scales, whose gradient needs what is known of the
    /// coarsest only at the end.
    pub(super) fn foreseen(self, slopes: Option<Slopes>) -> Vec<f64> {
        let Some(slopes) = slopes.filter(|_| self.scales.count == 1) else { return Vec::new() };
        let mut by_row = vec![slopes.ssim, slopes.contrast, 0.0, slopes.absolute];
        by_row.truncate(self.count());
        by_row
    }

    /// What was wanted, from `[rows, N, C]`.
    pub(super) fn outcome(self, rows: &Tensor, wants: Wants) -> Result<Outcome> {
        let row = |wanted: bool, row| wanted.then(|| rows.get(row)).transpose();
        let first = |scales: Scales| if scales.count > 1 { Self::CONTRAST } else { Self::SSIM };
        let terms = |scales: Scales| rows.narrow(0, first(scales), scales.count);
        let sums = |wanted: bool, row| wanted.then(|| image_sums(rows, row)).transpose();
        Ok(Outcome {
            ssim: row(wants.ssim, Self::SSIM)?,
            contrast: row(wants.contrast, Self::CONTRAST)?,
            scales: wants.scales.map(terms).transpose()?,
            squared: sums(wants.squared, self.squared())?,
            absolute: sums(wants.absolute, self.squared() + 1)?,
        })
    }
}

/// Row `row` of `[rows, N, C]`, summed over channels.
pub(super) fn image_sums(rows: &Tensor, row: usize) -> Result<Tensor> {
    Ok(rows.get(row)?.sum(D::Minus1)?)
}
