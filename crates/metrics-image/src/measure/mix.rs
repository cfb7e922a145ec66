//! The mixture of multi-scale SSIM and L1 of Zhao et al.: all scales at full size, from Gaussian windows of growing sigma.
//!
//! With the moments of `u = x + y` (around a pivot) and `v = x - y` under the window of each sigma, in the terms of
//! [`ssim`](super::ssim),
//!
//! ```text
//! 1. cs_s = 1 - 2Q_s / (P_s + Q_s + 2 c2)      for each of five sigmas
//! 2. l    = 1 - 2B / (A + B + 2 c1)            for the last
//! 3. ms   = l · cs_1 · … · cs_5
//! 4. loss = α (1 - ms) + (1 - α) (G_5 * |v|) / R
//! ```
//!
//! What is summed are `1 - ms` and `G_5 * |v|`, both small where the images are alike. `v` has no pivot of its own: `|v|` is a
//! feature, too.

use candle_core::{D, Device, Tensor};
use metrics_core::{Error, NonFinite, Reduction, Result};
use pulp::Simd;
use serde::{Deserialize, Serialize};

use crate::config::{DataRange, Input, check as check_config, gaussian, settings};
use crate::engine::{AxisTaps, Batch, Filters, Lanes, Padding, Real, backend, reference};
use crate::measure::ssim::Plan;
use crate::measure::{Measure, Side};
use crate::op::{self, AnyPrepared, Fused, FusedScore, Prepared, Score};
use crate::pair::{Images, Pair, Range, Spread, check_input, check_planes, sum_dtype};
use crate::planes::{Computed, Planes};
use crate::score::{Kind, ScoreKind, ScoreLoss};

/// How the loss of Zhao, Gallo, Frosio and Kautz is computed: "Loss functions for image restoration with neural networks", IEEE TCI
/// 3(1), 2017, section III-E:
///
/// `mix = α (1 - ms) + (1 - α) (G_5 * |x - y|) / R`, `ms = l_5 · cs_1 · cs_2 · cs_3 · cs_4 · cs_5`,
///
/// at every pixel, averaged over pixels and channels. `l_s = (2 μx μy + c1) / (μx² + μy² + c1)` and
/// `cs_s = (2 σxy + c2) / (σx² + σy² + c2)` have their moments under the Gaussian window `G_s` of the `s`-th sigma, all at full size;
/// `c1 = (k1 R)²`, `c2 = (k2 R)²`. All windows have `2 ⌊2 σ_5⌋ + 1` taps, with zeros beyond the border.
///
/// [`MixConfig::new`] has the paper's α; [`MixConfig::kornia`] has that of the authors' program, and kornia's factor of 200. The sum of
/// MS-SSIM over images of halved size and plain L1 is another loss, though it often goes by the same name:
/// `Loss::new(r).ms_ssim(0.84).l1(0.16)`.
///
/// ```
/// use metrics_image::MixConfig;
/// let paper = MixConfig::new(255.0).build()?;
/// let fine = MixConfig::kornia().sigmas([0.5, 1.0, 1.5, 2.0, 3.0]).scale(1.0).build()?; // windows of 13 taps
/// # Ok::<(), metrics_core::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MixConfig {
    input: Input,
    alpha: f64,
    scale: f64,
    sigmas: [f64; SCALES],
    k1: f64,
    k2: f64,
    reduction: Reduction,
    #[serde(default)]
    non_finite: NonFinite,
}

settings!(MixConfig);

const SCALES: usize = 5;
/// A window of 65535 taps.
const WIDEST: f64 = 16383.5;

impl MixConfig {
    /// The paper's: `α = 0.84`, sigmas 0.5, 1, 2, 4 and 8.
    pub fn new(data_range: impl Into<DataRange>) -> Self {
        Self {
            input: Input::new(data_range.into()),
            alpha: 0.84,
            scale: 1.0,
            sigmas: [0.5, 1.0, 2.0, 4.0, 8.0],
            k1: 0.01,
            k2: 0.03,
            reduction: Reduction::Mean,
            non_finite: NonFinite::Propagate,
        }
    }

    /// `kornia.losses.MS_SSIMLoss()`: `α = 0.025`, times 200; data range 1.
    pub fn kornia() -> Self {
        Self { alpha: 0.025, scale: 200.0, ..Self::new(1.0) }
    }

    /// Sets α, the weight of the structural term, in `0..=1`; L1 has the rest.
    pub fn alpha(mut self, alpha: f64) -> Self {
        self.alpha = alpha;
        self
    }

    /// Sets what the loss is multiplied by: 1, or kornia's `compensation` of 200.
    pub fn scale(mut self, scale: f64) -> Self {
        self.scale = scale;
        self
    }

    /// Sets the standard deviations of the windows in pixels, the widest last: that one also gives luminance and L1 their window, and
    /// all windows their size.
    pub fn sigmas(mut self, sigmas: [f64; SCALES]) -> Self {
        self.sigmas = sigmas;
        self
    }

    /// Sets the luminance constant, 0.01 unless set.
    pub fn k1(mut self, k1: f64) -> Self {
        self.k1 = k1;
        self
    }

    /// Sets the contrast constant, 0.03 unless set.
    pub fn k2(mut self, k2: f64) -> Self {
        self.k2 = k2;
        self
    }

    /// The weight of the structural term.
    pub fn get_alpha(&self) -> f64 {
        self.alpha
    }

    /// What the loss is multiplied by.
    pub fn get_scale(&self) -> f64 {
        self.scale
    }

    /// The sigmas of the windows, finest first.
    pub fn get_sigmas(&self) -> &[f64] {
        &self.sigmas
    }

    /// Checks every setting.
    ///
    /// # Errors
    /// A data range that is not positive, an α outside `0..=1`, a scale that is not positive and finite, sigmas that are not in
    /// `0.25..16383.5` or whose last is below 0.5, or constants outside `1e-5..=1`.
    pub fn build(self) -> Result<Self> {
        self.validate()?;
        Ok(self)
    }

    fn validate(&self) -> Result<()> {
        let alpha =
            (!(0.0..=1.0).contains(&self.alpha)).then(|| format!("`alpha` must be in 0..=1, got {}", self.alpha));
        let scaled = self.scale > 0.0 && self.scale.is_finite();
        let scale = (!scaled).then(|| format!("`scale` must be positive and finite, got {}", self.scale));
        let fits = |least: f64, sigma: f64| (least..WIDEST).contains(&sigma);
        let fit = self.sigmas.iter().all(|&sigma| fits(0.25, sigma)) && fits(0.5, self.sigmas[SCALES - 1]);
        let sigmas =
            (!fit).then(|| format!("`sigmas` must be in 0.25..{WIDEST}, the last at least 0.5, got {:?}", self.sigmas));
        let constants = [("k1", self.k1), ("k2", self.k2)];
        let bad = constants.into_iter().find(|(_, k)| !(1e-5..=1.0).contains(k));
        let constant = bad.map(|(name, k)| format!("`{name}` must be in 1e-5..=1, got {k}"));
        check_config("MixConfig", self.input.problem().or(alpha).or(scale).or(sigmas).or(constant))
    }

    /// The taps of a window. Those of narrow ones that nothing would be left of are 0: filters pass over them.
    fn taps(&self, scale: usize) -> Vec<f64> {
        let size = 2 * (2.0 * self.sigmas[SCALES - 1]) as usize + 1;
        let mut taps = gaussian(self.sigmas[scale], size);
        taps.iter_mut().filter(|tap| **tap < 1e-20).for_each(|tap| *tap = 0.0);
        taps
    }
}

/// The loss of Zhao et al., a mixture of multi-scale SSIM and L1, reduced over the batch: 0 for equal images, with gradient 0; for the
/// formula see [`MixConfig`].
///
/// `[N, C, H, W]` of any size; volumes are an error. Fused on a CPU; on other devices it is composed of Candle's operations.
///
/// ```
/// use candle_core::{Device, Tensor, Var};
/// use metrics_image::{MixConfig, MixLoss};
///
/// let loss = MixLoss::new(MixConfig::new(1.0))?;
/// let target = Tensor::rand(0f32, 1f32, (1, 3, 24, 24), &Device::Cpu)?;
/// let pred = Var::from_tensor(&target.affine(0.5, 0.2)?)?;
/// let value = loss.forward(&pred, &target)?;
/// assert!(value.to_scalar::<f32>()? > 0.0);
/// assert!(value.backward()?.get(&pred).is_some());
/// # Ok::<(), candle_core::Error>(())
/// ```
pub type MixLoss = ScoreLoss<MixConfig>;

impl ScoreKind for MixConfig {
    type Config = Self;
}

impl Kind for MixConfig {
    const NAME: &'static str = "mix";
    const LOSS_NAME: &'static str = "MixLoss";
    const HIGHER_IS_BETTER: bool = false;
    const LOSS: [f64; 2] = [1.0, 0.0];

    fn bounds(_: &Self) -> [Option<f64>; 2] {
        [Some(0.0), None]
    }
    fn prepare(op: &str, config: &Self, images: Images) -> Result<AnyPrepared> {
        config.validate()?;
        check_input(op, &config.input, Spread::Larger, &images)?;
        check_planes(op, &images, "volumes have no such loss")?;
        if images.mask.is_some() {
            return Err(Error::argument(op, "there is a `mask`, expected none: this loss takes no masks"));
        }
        let score = Mixture(config.clone());
        Ok(Prepared { score, images, input: config.input.clone(), spread: Spread::Larger }.any())
    }
}

/// Both terms at every place: `1 - ms`, and `G_5 * |x - y|`.
pub(crate) struct Mixture(MixConfig);

impl Mixture {
    /// What the sums of both terms over the `places` of a plane are multiplied by.
    fn weights(&self, places: usize, range: f64) -> [f64; 2] {
        let MixConfig { alpha, scale, .. } = self.0;
        [scale * alpha, scale * (1.0 - alpha) / range].map(|weight| weight / places as f64)
    }
}

impl Score for Mixture {
    fn name(&self) -> &'static str {
        "mix"
    }

    fn composed(&self, pair: &Pair) -> Result<Tensor> {
        let MixConfig { alpha, scale, k1, k2, .. } = self.0;
        let wide = sum_dtype(pair.pred.device());
        let means = |map: Tensor| -> Result<Tensor> { Ok(map.to_dtype(wide)?.flatten_from(1)?.mean(D::Minus1)?) };
        let map = |at: usize, score: backend::Score| {
            let taps = vec![self.0.taps(at); 2];
            reference::map(pair, &Plan { taps, padding: Padding::Zero, covariance: 1.0, k1, k2 }, score)
        };
        let mut ms = map(SCALES - 1, backend::Score::Ssim)?;
        for at in 0..SCALES - 1 {
            ms = (ms * map(at, backend::Score::Contrast)?)?;
        }
        let structure = means(ms)?.affine(-scale * alpha, scale * alpha)?;

        let pair = pair.to_float()?;
        let difference = (&pair.pred - &pair.target)?;
        // |d| = d · sign(d), with gradient 0 at 0. A filter whose border is zeros weighs each pixel by how much of its window is inside.
        let mut l1 = (&difference * difference.detach().sign()?)?;
        for axis in [2, 3] {
            let inside = Tensor::new(coverage(&self.0.taps(SCALES - 1), l1.dim(axis)?), &Device::Cpu)?;
            let inside = inside.to_dtype(l1.dtype())?.to_device(l1.device())?;
            l1 = l1.broadcast_mul(&if axis == 2 { inside.unsqueeze(1)? } else { inside })?;
        }
        let l1 = match &pair.range {
            Range::Fixed(range) => means(l1)?.affine(scale * (1.0 - alpha) / range, 0.0)?,
            Range::PerImage(range) => (means(l1)?.affine(scale * (1.0 - alpha), 0.0)? / range.to_dtype(wide)?)?,
        };
        Ok((structure + l1)?)
    }
}

/// For each pixel of an axis, the sum of those taps of the window around it that are inside.
fn coverage(taps: &[f64], side: usize) -> Vec<f64> {
    let inside = |at: usize, tap: usize| (at + tap).checked_sub(taps.len() / 2).is_some_and(|at| at < side);
    (0..side).map(|at| (0..taps.len()).filter(|&tap| inside(at, tap)).map(|tap| taps[tap]).sum()).collect()
}

impl<T: Computed> FusedScore<T> for Mixture {
    fn fused(&self, planes: &Planes<T>, upstream: Option<&op::Upstream>) -> candle_core::Result<Fused<T>> {
        let (ranges, channels, pairs) = (planes.ranges(), planes.channels(), planes.pairs());
        let places = planes.dims().iter().product();
        let weights: Vec<[f64; 2]> = ranges.iter().map(|&range| self.weights(places, range)).collect();
        let shares = vec![1.0 / channels as f64; weights.len()];
        let gradients = upstream.map(|upstream| upstream.of_sums(&weights, &shares, channels));
        let scanned = Batch::new(self, &pairs, &ranges).scan(gradients.as_ref());
        let scanned =
            scanned.ok_or_else(|| candle_core::Error::msg(format!("planes of {:?} are empty", planes.dims())))?;
        let weighted = scanned.sums.iter().zip(&weights).map(|([ms, l1], [a, b])| ms * a + l1 * b);
        let numbers = op::means(&weighted.collect::<Vec<_>>(), &shares, channels);
        Ok(Fused::new(numbers, scanned.gradients))
    }
}

/// Of each window the means of `u`, `u²` and `v²`, then of the last that of `|v|`; with each window's mean of `v` instead of none.
const BACK: usize = 3 * SCALES + 1;
const FIELDS: usize = BACK + SCALES;
const ABSOLUTE: usize = BACK - 1;

/// The constants of the formula for one plane.
#[derive(Clone, Copy)]
pub(crate) struct Constants<T> {
    pivot: T,
    /// What brings the mean of `u` back from around the pivot.
    mean: T,
    /// `2 c1` and `2 c2`.
    two_c: [T; 2],
}

/// `2 b / (a + b + 2 c)` with its reciprocal: `1 - l` of squared means, `1 - cs` of variances.
#[derive(Clone, Copy)]
struct Term<V> {
    value: V,
    inverse: V,
}

impl<T: Real, S: Simd> Term<Lanes<T, S>> {
    #[inline(always)]
    fn new(a: Lanes<T, S>, b: Lanes<T, S>, two_c: T) -> Self {
        let inverse = (a + b + a.with_all(two_c)).recip();
        Self { value: (b + b) * inverse, inverse }
    }

    /// The derivatives with respect to `a` and `b`.
    #[inline(always)]
    fn vjp(self, upstream: Lanes<T, S>) -> [Lanes<T, S>; 2] {
        let up = upstream * self.inverse;
        [-up * self.value, up * (up.like(2.0) - self.value)]
    }
}

/// `1 - cs` of every window, then `1 - l`.
#[inline(always)]
fn terms<T: Real, S: Simd>(
    constants: &Constants<T>,
    moments: [Lanes<T, S>; FIELDS],
) -> [Term<Lanes<T, S>>; SCALES + 1] {
    let (u, v) = (moments[3 * (SCALES - 1)] + moments[0].with_all(constants.mean), moments[FIELDS - 1]);
    let mut terms = [Term::new(u * u, v * v, constants.two_c[0]); SCALES + 1];
    for at in 0..SCALES {
        let (u, v) = (moments[3 * at], moments[BACK + at]);
        let p = (-u).mul_add(u, moments[3 * at + 1]).at_least_zero();
        let q = (-v).mul_add(v, moments[3 * at + 2]).at_least_zero();
        terms[at] = Term::new(p, q, constants.two_c[1]);
    }
    terms
}

/// -1, 0 or 1.
#[inline(always)]
fn sign<T: Real, S: Simd>(v: Lanes<T, S>) -> Lanes<T, S> {
    let (zero, one) = (v.like(0.0), v.like(1.0));
    zero.if_less(v, one, v.if_less(zero, -one, zero))
}

/// The sums over the windows of every third of the derivatives.
#[inline(always)]
fn over_windows<T: Real, S: Simd>(derivatives: &[Lanes<T, S>]) -> [Lanes<T, S>; 3] {
    let mut sums = [derivatives[0], derivatives[1], derivatives[2]];
    for at in 3..3 * SCALES {
        sums[at % 3] += derivatives[at];
    }
    sums
}

impl Measure for Mixture {
    type Fields<V: Copy + Send + Sync> = [V; FIELDS];
    type Maps<V: Copy + Send + Sync> = [V; 2];
    type Back<V: Copy + Send + Sync> = [V; BACK];
    type Basis<V: Copy + Send + Sync> = [V; 2];
    type Constants<T: Real> = Constants<T>;

    const MASKS: bool = false;
    const PIVOT: bool = true;
    const INNER: [bool; 2] = [false; 2];
    const TAPS: &'static [usize] = &[]; // each window has its own
    const SHOWN: [f64; 2] = [1.0, 0.0];

    fn filters(&self) -> Filters {
        let windows = (0..BACK).map(|field| (field / 3).min(SCALES - 1)).chain(0..SCALES);
        let fields: Vec<_> = windows.map(|window| self.0.taps(window)).collect();
        Filters { axes: [fields.clone(), fields].map(AxisTaps::PerField).into(), padding: Padding::Zero }
    }

    fn constants<T: Real>(&self, range: f64, [x, y]: [f64; 2], _: f64) -> Constants<T> {
        let MixConfig { k1, k2, .. } = self.0;
        let pivot = T::of((x + y) / 2.0);
        Constants { pivot, mean: pivot + pivot, two_c: [k1, k2].map(|k| T::of(2.0 * (k * range).powi(2))) }
    }

    #[inline(always)]
    fn basis<T: Real, S: Simd>(constants: &Constants<T>, [x, y]: [Lanes<T, S>; 2], _: Lanes<T, S>) -> [Lanes<T, S>; 2] {
        let pivot = x.with_all(constants.pivot);
        [(x - pivot) + (y - pivot), x - y]
    }

    #[inline(always)]
    fn features<T: Real, S: Simd>([u, v]: [Lanes<T, S>; 2]) -> [Lanes<T, S>; FIELDS] {
        let (of_window, mut features) = ([u, u * u, v * v], [v; FIELDS]);
        for (at, feature) in features[..ABSOLUTE].iter_mut().enumerate() {
            *feature = of_window[at % 3];
        }
        features[ABSOLUTE] = v.abs();
        features
    }

    /// `1 - Π (1 - t) = t₁ + (1 - t₁)(t₂ + …)`, from terms that are 0 where the images are equal.
    #[inline(always)]
    fn score<T: Real, S: Simd>(
        constants: &Constants<T>,
        moments: [Lanes<T, S>; FIELDS],
        _: [bool; 2],
    ) -> [Lanes<T, S>; 2] {
        let terms = terms(constants, moments);
        let (one, mut ms) = (moments[0].like(1.0), terms[SCALES].value);
        for term in &terms[..SCALES] {
            ms = (one - ms).mul_add(term.value, ms);
        }
        [ms, moments[ABSOLUTE]]
    }

    /// Each term's derivative has the product of the other factors.
    #[inline(always)]
    fn score_vjp<T: Real, S: Simd>(
        constants: &Constants<T>,
        moments: [Lanes<T, S>; FIELDS],
        [ms, absolute]: [Lanes<T, S>; 2],
    ) -> [Lanes<T, S>; FIELDS] {
        let (terms, two) = (terms(constants, moments), ms.like(2.0));
        // Times the factors before each, then times those after it.
        let (mut upstream, mut after) = ([ms; SCALES + 1], ms.like(1.0));
        for at in 0..SCALES {
            upstream[at + 1] = upstream[at] - upstream[at] * terms[at].value;
        }
        for at in (0..=SCALES).rev() {
            upstream[at] = upstream[at] * after;
            after = after - after * terms[at].value;
        }
        let mut derivatives = [absolute; FIELDS];
        for at in 0..SCALES {
            let [to_p, to_q] = terms[at].vjp(upstream[at]);
            derivatives[3 * at] = -two * moments[3 * at] * to_p;
            derivatives[3 * at + 1] = to_p;
            derivatives[3 * at + 2] = to_q;
            derivatives[BACK + at] = -two * moments[BACK + at] * to_q;
        }
        let [to_a, to_b] = terms[SCALES].vjp(upstream[SCALES]);
        let last = 3 * (SCALES - 1);
        let mean = moments[last] + ms.with_all(constants.mean);
        derivatives[last] += two * mean * to_a;
        derivatives[FIELDS - 1] += two * moments[FIELDS - 1] * to_b;
        derivatives
    }

    #[inline(always)]
    fn back<T: Real, S: Simd>(side: Side, derivatives: [Lanes<T, S>; FIELDS]) -> [Lanes<T, S>; BACK] {
        let mut back = [derivatives[ABSOLUTE]; BACK];
        back.copy_from_slice(&derivatives[..BACK]);
        for at in 0..SCALES {
            let of_v = derivatives[BACK + at];
            back[3 * at] += if side == Side::X { of_v } else { -of_v };
        }
        back
    }

    #[inline(always)]
    fn back_vjp<T: Real, S: Simd>(side: Side, [u, v]: [Lanes<T, S>; 2], back: [Lanes<T, S>; BACK]) -> Lanes<T, S> {
        let [means, of_uu, of_vv] = over_windows(&back);
        let of_v = sign(v).mul_add(back[ABSOLUTE], (v + v) * of_vv);
        (u + u).mul_add(of_uu, means) + if side == Side::X { of_v } else { -of_v }
    }

    #[inline(always)]
    fn features_vjp<T: Real, S: Simd>([u, v]: [Lanes<T, S>; 2], upstream: [Lanes<T, S>; FIELDS]) -> [Lanes<T, S>; 2] {
        let [of_u, of_uu, of_vv] = over_windows(&upstream);
        let mut of_v = sign(v).mul_add(upstream[ABSOLUTE], (v + v) * of_vv);
        for &of_mean in &upstream[BACK..] {
            of_v += of_mean;
        }
        let of_u = (u + u).mul_add(of_uu, of_u);
        [of_u + of_v, of_u - of_v]
    }
}
