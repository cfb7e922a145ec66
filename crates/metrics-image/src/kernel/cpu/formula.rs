//! SSIM and its partial derivatives at one pixel, from the moments of the sum `u` and the difference `v` of two images.

use pulp::Simd;

use super::super::plan::Plan;
use super::lanes::{Lanes, Real};
use super::pixels::Pivot;

/// The constants of the formula for one plane.
#[derive(Clone, Copy)]
pub(super) struct Constants<T> {
    /// Twice `(k1·R)²`.
    pub(super) luminance: T,
    /// Twice `(k2·R)²` over the factor on the covariance, which thereby need not be applied.
    pub(super) contrast: T,
    /// What brings the means of `u` and `v` back from around the pivot.
    pub(super) mean: [T; 2],
    /// 1; 0 if the window is one pixel, under which there is no variance: its derivatives would cancel, but for their rounding.
    pub(super) spread: T,
}

impl<T: Real> Constants<T> {
    pub(super) fn new(plan: &Plan, range: f64, pivot: Pivot<T>) -> Self {
        let &Plan { k1, k2, covariance, .. } = plan;
        let (x, y) = (pivot.x.wide(), pivot.y.wide());
        Self {
            luminance: T::of(2.0 * (k1 * range).powi(2)),
            contrast: T::of(2.0 * (k2 * range).powi(2) / covariance),
            mean: [T::of(x + y), T::of(x - y)],
            spread: T::of(if plan.is_one_pixel() { 0.0 } else { 1.0 }),
        }
    }
}

/// What SSIM lacks of 1 at one pixel, and why.
#[derive(Clone, Copy)]
pub(super) struct Loss<T: Real, S: Simd> {
    /// `1 - ssim`.
    pub(super) ssim: Lanes<T, S>,
    /// `1 - cs`.
    pub(super) contrast: Lanes<T, S>,
}

/// The terms of the formula. With `P`, `Q` the variances and `A`, `B` the squared means of `u`, `v`,
/// `luminance = 1 - 2B / (A + B + c1)` and `cs = 1 - 2Q / (P + Q + c2)`.
#[derive(Clone, Copy)]
pub(super) struct Terms<T: Real, S: Simd> {
    means: [Lanes<T, S>; 2],
    pivoted: [Lanes<T, S>; 2],
    one: Lanes<T, S>,
    spread: Lanes<T, S>,
    /// `1 / (A + B + c1)` and `1 / (P + Q + c2)`.
    recips: [Lanes<T, S>; 2],
    /// `1 - luminance` and `1 - cs`.
    lacks: [Lanes<T, S>; 2],
}

impl<T: Real, S: Simd> Terms<T, S> {
    /// From the filtered `u`, `v`, `u²`, `v²` around the pivot.
    #[inline(always)]
    pub(super) fn new(simd: S, constants: &Constants<T>, [u, v, uu, vv]: [Lanes<T, S>; 4]) -> Self {
        let means = [u + Lanes::splat(simd, constants.mean[0]), v + Lanes::splat(simd, constants.mean[1])];
        let (p, q) = ((-u).mul_add(u, uu).at_least_zero(), (-v).mul_add(v, vv).at_least_zero());
        let b = means[1] * means[1];
        let recip_luminance = (means[0].mul_add(means[0], b) + Lanes::splat(simd, constants.luminance)).recip();
        let recip_contrast = (p + q + Lanes::splat(simd, constants.contrast)).recip();
        Self {
            means,
            pivoted: [u, v],
            one: Lanes::splat(simd, T::of(1.0)),
            spread: Lanes::splat(simd, constants.spread),
            recips: [recip_luminance, recip_contrast],
            lacks: [(b + b) * recip_luminance, (q + q) * recip_contrast],
        }
    }

    #[inline(always)]
    pub(super) fn loss(&self) -> Loss<T, S> {
        let [luminance, contrast] = self.lacks;
        Loss { ssim: contrast.mul_add(self.one - luminance, luminance), contrast }
    }

    /// Derivatives of `ssim_weight·ssim + contrast_weight·cs` with respect to the filtered `u`, `v`, `u²`, `v²`.
    #[inline(always)]
    pub(super) fn partials(&self, ssim_weight: Lanes<T, S>, contrast_weight: Lanes<T, S>) -> [Lanes<T, S>; 4] {
        let two = self.one + self.one;
        let by_luminance = ssim_weight * (self.one - self.lacks[1]) * self.recips[0];
        let by_contrast = ssim_weight.mul_add(self.one - self.lacks[0], contrast_weight) * self.recips[1] * self.spread;
        // d(1 - 2B/(A+B+c))/dA = 2B/(..)², d/dB = (2B/(..) - 2)/(..); the same for P and Q.
        let (by_a, by_b) = (by_luminance * self.lacks[0], by_luminance * (self.lacks[0] - two));
        let (by_p, by_q) = (by_contrast * self.lacks[1], by_contrast * (self.lacks[1] - two));
        let by_u = two * (self.means[0] * by_a - self.pivoted[0] * by_p);
        let by_v = two * (self.means[1] * by_b - self.pivoted[1] * by_q);
        [by_u, by_v, by_p, by_q]
    }
}
