//! GMSD: the deviation of the similarity of gradient magnitudes.
//!
//! ```text
//! 1. x, y   luma of three channels, means of 2×2 pixels (step 2)
//! 2. G      = √(Gh² + Gv²), the gradients by Prewitt's filter, with zeros beyond the border
//! 3. gms    = (2 Gx Gy + c) / (Gx² + Gy² + c)
//! 4. gmsd   = standard deviation of gms over the image
//! ```
//!
//! What is summed are `d = 1 - gms = (Gx - Gy)² / (Gx² + Gy² + c)` and `d²`: the deviation of `d` is that of `gms`, and f32 has more
//! digits of it.

use candle_core::{D, Tensor};
use metrics_core::{Accumulator, NonFinite, Reduction, Result};
use pulp::Simd;
use serde::{Deserialize, Serialize};

use crate::Target;
use crate::compare::Compare;
use crate::config::{Channels, DataRange, Input, check as check_config, settings};
use crate::engine::backend::Planar;
use crate::engine::{
    AxisTaps, Batch, Downsampling, Filters, Gradients, Lanes, Padding, Real, RowReader, add_coarser,
    add_coarser_masked, downsample, downsample_masked, reference, with_dense_pairs,
};
use crate::measure::{Measure, Side};
use crate::op::{self, AnyPrepared, Fused, FusedScore, Prepared, Score};
use crate::pair::{Images, Pair, Range, Spread, check_input, check_planes};
use crate::planes::{Computed, Planes};
use crate::score::{self, Kind, ScoreKind, ScoreLoss, ScoreMetric};

/// How GMSD is computed: Xue, Zhang, Mou and Bovik, "Gradient magnitude similarity deviation: a highly efficient perceptual image
/// quality index", IEEE TIP 23(2), 2014.
///
/// 0 for equal images, hardly ever above 0.35; lower is better. `x` and `y` are averaged over 2×2 pixels with a step of 2; with the
/// magnitudes `Gx`, `Gy` of their gradients by Prewitt's filter (with zeros beyond the border),
///
/// `gmsd = √(Σ (gms - mean(gms))² / (n - 1))`, `gms = (2 Gx Gy + c) / (Gx² + Gy² + c)`, `c = 170 · (R / 255)²`,
///
/// over the `n` places of the averaged image. Images of three channels are scored in luma, `.299 R + .587 G + .114 B`; of any
/// other number, each channel by itself.
///
/// [`GmsdConfig::new`] is the authors' convention, [`GmsdConfig::piq`] that of piq, which divides by `n`.
///
/// ```
/// use metrics_image::GmsdConfig;
/// let original = GmsdConfig::new(255.0).build()?;
/// let piq = GmsdConfig::piq(1.0).crop_border(4).build()?;
/// # Ok::<(), metrics_core::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct GmsdConfig {
    pub(crate) input: Input,
    /// In units of 0..=255, squared.
    c: f64,
    sample: bool,
    reduction: Reduction,
    #[serde(default)]
    non_finite: NonFinite,
}

settings!(GmsdConfig);

impl GmsdConfig {
    /// The authors' convention: the standard deviation of a sample.
    pub fn new(data_range: impl Into<DataRange>) -> Self {
        let input = Input { channels: Channels::Gray, ..Input::new(data_range.into()) };
        Self { input, c: 170.0, sample: true, reduction: Reduction::Mean, non_finite: NonFinite::Propagate }
    }

    /// `piq.gmsd(x, y, data_range=r)`.
    pub fn piq(data_range: impl Into<DataRange>) -> Self {
        Self { sample: false, ..Self::new(data_range) }
    }

    /// Sets `c`, in units of pixels of 0..=255, squared: 170 unless set. piq's `t` is `c / 255²`.
    pub fn c(mut self, c: f64) -> Self {
        self.c = c;
        self
    }

    /// The constant `c`, in units of pixels of 0..=255, squared.
    pub fn get_c(&self) -> f64 {
        self.c
    }

    /// Checks every setting.
    ///
    /// # Errors
    /// A data range or a `c` that is not positive and finite.
    pub fn build(self) -> Result<Self> {
        self.validate()?;
        Ok(self)
    }

    fn validate(&self) -> Result<()> {
        let positive = self.c > 0.0 && self.c.is_finite();
        let problem = (!positive).then(|| format!("`c` must be positive and finite, got {}", self.c));
        check_config("GmsdConfig", self.input.problem().or(problem))
    }
}

/// Gradient magnitude similarity deviation of two batches of images, reduced over the batch; differentiable in both.
///
/// `pred`, `target`: `[N, C, H, W]` of one dtype (f32, f64, f16, bf16, or u8 without gradient) and device, with values in the data
/// range of the configuration. Returns a scalar of at least 0, or `[N]` for `Reduction::None`; f64 for f64 images, else f32. Equal
/// images score 0, with gradient 0. Formula and source: [`GmsdConfig`].
///
/// Fused, except with a mask on a GPU: there it is composed of Candle's operations.
///
/// # Errors
/// Shapes, dtypes or devices that differ, volumes, an empty batch, or a configuration that [`GmsdConfig::build`] refuses.
///
/// ```
/// use candle_core::{Device, Tensor, Var};
/// use metrics_image::{GmsdConfig, gmsd};
///
/// let target = Tensor::rand(0f32, 1f32, (2, 3, 32, 32), &Device::Cpu)?;
/// let pred = Var::from_tensor(&target.affine(0.5, 0.2)?)?;
/// let score = gmsd(&pred, &target, &GmsdConfig::new(1.0))?;
/// assert!(score.to_scalar::<f32>()? > 0.0);
/// assert_eq!(score.backward()?.get(&pred).unwrap().dims(), [2, 3, 32, 32]);
/// # Ok::<(), candle_core::Error>(())
/// ```
pub fn gmsd(pred: &Tensor, target: impl Into<Target>, config: &GmsdConfig) -> Result<Tensor> {
    score::reduced::<GmsdConfig>("gmsd", pred, target, config)
}

/// [`gmsd`] of each image, `[N]`; the configuration's reduction is without effect.
///
/// # Errors
/// As [`gmsd`].
pub fn gmsd_per_image(pred: &Tensor, target: impl Into<Target>, config: &GmsdConfig) -> Result<Tensor> {
    score::per_image::<GmsdConfig>("gmsd_per_image", pred, target, config)
}

/// GMSD as a metric over a data set; see [`GmsdConfig`].
pub type Gmsd = Accumulator<ScoreMetric<GmsdConfig>>;

/// GMSD as a training loss: the score itself, 0 for equal images; see [`GmsdConfig`].
pub type GmsdLoss = ScoreLoss<GmsdConfig>;

impl ScoreKind for GmsdConfig {
    type Config = Self;
}

impl Kind for GmsdConfig {
    const NAME: &'static str = "gmsd";
    const LOSS_NAME: &'static str = "GmsdLoss";
    const HIGHER_IS_BETTER: bool = false;
    const LOSS: [f64; 2] = [1.0, 0.0];

    fn bounds(_: &Self) -> [Option<f64>; 2] {
        [Some(0.0), None]
    }
    fn prepare(op: &str, config: &Self, images: Images) -> Result<AnyPrepared> {
        config.validate()?;
        check_input(op, &config.input, Spread::Larger, &images)?;
        check_planes(op, &images, "gradients are those of planes, not of volumes")?;
        let score = Deviation { c: config.c, sample: config.sample };
        Ok(Prepared { score, images, input: config.input.clone(), spread: Spread::Larger }.any())
    }
}

/// GMSD of images whose channels are already luma.
pub(crate) struct Deviation {
    c: f64,
    sample: bool,
}

/// How many places of a plane have a weight, and the sum of the weights: the same number without a mask.
#[derive(Clone, Copy)]
struct Weights {
    places: f64,
    sum: f64,
}

impl Deviation {
    /// The deviation of numbers of these sums and sums of squares, and its derivatives with respect to both.
    fn of(&self, [sum, squares]: [f64; 2], weights: Weights) -> (f64, [f64; 2]) {
        let Weights { places, sum: weight } = weights;
        let degrees = if self.sample { (places - 1.0).max(1.0) / places * weight } else { weight };
        let mean = sum / weight;
        let deviation = ((squares - sum * mean) / degrees).max(0.0).sqrt();
        if deviation == 0.0 {
            return (sum * 0.0, [0.0; 2]); // 0, unless the sum is NaN
        }
        (deviation, [-mean / (degrees * deviation), 0.5 / (degrees * deviation)])
    }
}

impl Score for Deviation {
    fn name(&self) -> &'static str {
        "gmsd"
    }

    fn composed(&self, pair: &Pair) -> Result<Tensor> {
        let pair = pair.to_float()?;
        let c = match &pair.range {
            Range::Fixed(range) => {
                Tensor::full(range * range, (1, 1, 1, 1), pair.pred.device())?.to_dtype(pair.dtype)?
            }
            Range::PerImage(range) => range.sqr()?.reshape(((), 1, 1, 1))?.to_dtype(pair.dtype)?,
        }
        .affine(self.c / (255.0 * 255.0), 0.0)?;
        let pair = reference::downsampled_to_matlab(&pair)?;
        let (x, y) = (squared_magnitude(&pair.pred)?, squared_magnitude(&pair.target)?);
        let difference = (safe_sqrt(&x)? - safe_sqrt(&y)?)?.sqr()?;
        let d = difference.broadcast_div(&(x + y)?.broadcast_add(&c)?)?.flatten_from(2)?;
        let weights = match pair.full_mask()? {
            None => d.ones_like()?,
            Some(mask) => composed_erosion(&mask)?.flatten_from(2)?,
        };
        let (sums, places) = (weights.sum_keepdim(D::Minus1)?, weights.above(0.0)?.to_dtype(d.dtype())?);
        let places = places.sum(D::Minus1)?;
        // A plane without weight has no score; nothing is divided by 0 for it, whose gradient would be NaN.
        let or_one = |sum: &Tensor| sum.above(0.0)?.where_cond(sum, &sum.ones_like()?);
        let (has_weight, sums, places) = (places.above(0.0)?, or_one(&sums)?, or_one(&places)?);
        let mean = (&d * &weights)?.sum_keepdim(D::Minus1)?.broadcast_div(&sums)?;
        let centered = d.broadcast_sub(&mean)?;
        let one = places.ones_like()?;
        let bessel = if self.sample { ((&places - 1.0)?.maximum(&one)? / &places)? } else { one };
        let variance = (centered.sqr()? * &weights)?.sum(D::Minus1)?;
        let variance = (variance / (sums.squeeze(D::Minus1)? * bessel)?)?;
        let deviations = has_weight.where_cond(&safe_sqrt(&variance)?, &variance.zeros_like()?)?;
        let planes = has_weight.to_dtype(d.dtype())?.sum(D::Minus1)?;
        Ok((deviations.sum(D::Minus1)? / planes)?.to_dtype(crate::pair::sum_dtype(pair.pred.device()))?)
    }

    fn planar(&self) -> Option<Planar> {
        Some(Planar::Gmsd { c: self.c / (255.0 * 255.0), sample: self.sample })
    }
}

impl<T: Computed> FusedScore<T> for Deviation {
    fn fused(&self, planes: &Planes<T>, upstream: Option<&op::Upstream>) -> candle_core::Result<Fused<T>> {
        let (measure, ranges, channels) = (GradientSimilarity { c: self.c }, planes.ranges(), planes.channels());
        let (pairs, masks) = (planes.pairs(), planes.masks());
        let downsampling = Downsampling::matlab(planes.dims(), true);
        let dims = downsampling.dims();
        let (coarser, coarse) = match masks.is_empty() {
            true => (downsample(&pairs, downsampling), None),
            false => {
                let (coarser, coarse) = downsample_masked(&pairs, &masks, downsampling);
                (coarser, Some(coarse))
            }
        };
        // A gradient is one where all that it is made of counts.
        let eroded = coarse.as_ref().map(|coarse| coarse.map(|mask| eroded(mask, dims)));
        let scan = |gradients: Option<&Gradients<[f64; 2], T>>| {
            let scan = |masks: &[Option<&dyn RowReader<T>>]| {
                let batch = |pairs: &[[&dyn RowReader<T>; 2]]| {
                    Batch { masks, ..Batch::new(&measure, pairs, &ranges) }.scan(gradients)
                };
                with_dense_pairs(&coarser, dims, batch)
            };
            let scanned = eroded.as_ref().map_or_else(|| scan(&[]), |eroded| eroded.with(scan));
            scanned.ok_or_else(|| candle_core::Error::msg(format!("planes of {dims:?} are empty")))
        };
        let n = dims.iter().product::<usize>() as f64;
        let weights = |plane: usize| match eroded.as_ref().and_then(|eroded| eroded.of_plane(plane)) {
            None => Weights { places: n, sum: n },
            Some(mask) => Weights {
                places: mask.iter().filter(|weight| **weight > T::default()).count() as f64,
                sum: mask.iter().map(|weight| weight.wide()).sum(),
            },
        };
        let weights: Vec<Weights> = (0..pairs.len()).map(weights).collect();
        let sums = scan(None)?.sums;
        let (scores, derivatives): (Vec<_>, Vec<_>) =
            sums.iter().zip(&weights).map(|(&sums, &weights)| self.of(sums, weights)).unzip();
        // Zeros beyond the border have weights, but are no image.
        let fine = planes.weights(&planes.dims().map(|side| 0..side));
        let has_score = weights.iter().zip(&fine).map(|(weights, fine)| weights.sum > 0.0 && *fine > 0.0);
        let shares = op::shares(has_score, channels);
        let numbers = op::means(&scores, &shares, channels);
        let Some(upstream) = upstream else { return Ok(Fused::new(numbers, [None, None])) };
        let full: usize = planes.dims().iter().product();
        let widened = |mut coarser: Vec<T>| {
            let mut gradient = vec![T::default(); full * scores.len()];
            let zeros = vec![0.0; scores.len()];
            match &coarse {
                None => add_coarser(downsampling, &mut gradient, &zeros, &coarser),
                Some(coarse) => {
                    add_coarser_masked(downsampling, &mut gradient, &zeros, &mut coarser, (&masks, coarse));
                }
            }
            gradient
        };
        let gradients = scan(Some(&upstream.of_sums(&derivatives, &shares, channels)))?.gradients;
        Ok(Fused::new(numbers, gradients.map(|gradient| gradient.map(widened))))
    }
}

/// The weight of each place whose neighbors, as far as they are in the image, all have one; else 0.
fn eroded<T: Real>(mask: &[T], [_, height, width]: [usize; 3]) -> Vec<T> {
    let around = |at: usize, side: usize| at.saturating_sub(1)..(at + 2).min(side);
    let counts = |at: usize| mask[at] > T::default();
    let weight = |at: usize| {
        let (y, x) = (at / width, at % width);
        let all = around(y, height).all(|y| around(x, width).all(|x| counts(y * width + x)));
        if all { mask[at] } else { T::default() }
    };
    (0..mask.len()).map(weight).collect()
}

/// As [`eroded`], of Candle's operations.
fn composed_erosion(mask: &Tensor) -> Result<Tensor> {
    let none = mask.at_most(0.0)?.to_dtype(mask.dtype())?;
    let mut neighbors = none.clone();
    for axis in [2, 3] {
        let side = neighbors.dim(axis)?;
        let padded = neighbors.pad_with_zeros(axis, 1, 1)?;
        neighbors =
            ((padded.narrow(axis, 0, side)? + padded.narrow(axis, 1, side)?)? + padded.narrow(axis, 2, side)?)?;
    }
    Ok(neighbors.above(0.0)?.where_cond(&mask.zeros_like()?, &mask.contiguous()?)?)
}

/// `Gh² + Gv²`, by Candle's operations.
fn squared_magnitude(image: &Tensor) -> Result<Tensor> {
    let image = image.pad_with_zeros(2, 1, 1)?.pad_with_zeros(3, 1, 1)?;
    let gradient = |axis: usize| -> candle_core::Result<Tensor> {
        let (side, other) = (image.dim(axis)? - 2, 5 - axis);
        let difference = (image.narrow(axis, 0, side)? - image.narrow(axis, 2, side)?)?;
        let across = image.dim(other)? - 2;
        let rows = |at| difference.narrow(other, at, across);
        ((rows(0)? + rows(1)?)? + rows(2)?)?.affine(1.0 / 3.0, 0.0)
    };
    Ok((gradient(2)?.sqr()? + gradient(3)?.sqr()?)?)
}

/// The root, with gradient 0 at 0.
fn safe_sqrt(x: &Tensor) -> candle_core::Result<Tensor> {
    let zero = x.detach().at_most(0.0)?;
    zero.where_cond(&x.zeros_like()?, &zero.where_cond(&x.ones_like()?, x)?.sqrt()?)
}

/// `d = 1 - gms` at each place, and `d²`.
struct GradientSimilarity {
    c: f64,
}

/// A gradient across one axis, smoothed along the other.
const DIFFERENCE: [f64; 3] = [1.0, 0.0, -1.0];
const SMOOTH: [f64; 3] = [1.0 / 3.0; 3];

/// The magnitudes of the gradients of both images, and the denominator.
#[inline(always)]
fn magnitudes<T: Real, S: Simd>(c: T, [xh, xv, yh, yv]: [Lanes<T, S>; 4]) -> [Lanes<T, S>; 3] {
    let (xx, yy) = (xh.mul_add(xh, xv * xv), yh.mul_add(yh, yv * yv));
    [xx.sqrt(), yy.sqrt(), xx + yy + xx.with_all(c)]
}

impl Measure for GradientSimilarity {
    type Fields<V: Copy + Send + Sync> = [V; 4];
    type Maps<V: Copy + Send + Sync> = [V; 2];
    type Back<V: Copy + Send + Sync> = [V; 2];
    type Basis<V: Copy + Send + Sync> = [V; 2];
    type Constants<T: Real> = T;

    const MASKS: bool = false;
    const PIVOT: bool = false;
    const INNER: [bool; 2] = [false; 2];
    const TAPS: &'static [usize] = &[]; // each field has its own
    const SHOWN: [f64; 2] = [1.0, 0.0];

    /// Fields: the gradient of x along a row and across rows, then those of y.
    fn filters(&self) -> Filters {
        let fields = |taps: [[f64; 3]; 4]| AxisTaps::PerField(taps.map(Vec::from).to_vec());
        let across = fields([SMOOTH, DIFFERENCE, SMOOTH, DIFFERENCE]);
        let along = fields([DIFFERENCE, SMOOTH, DIFFERENCE, SMOOTH]);
        Filters { axes: vec![across, along], padding: Padding::Zero }
    }

    fn constants<T: Real>(&self, range: f64, _: [f64; 2], _: f64) -> T {
        T::of(self.c * (range / 255.0).powi(2))
    }

    #[inline(always)]
    fn basis<T: Real, S: Simd>(_: &T, pixels: [Lanes<T, S>; 2], _: Lanes<T, S>) -> [Lanes<T, S>; 2] {
        pixels
    }

    #[inline(always)]
    fn features<T: Real, S: Simd>([x, y]: [Lanes<T, S>; 2]) -> [Lanes<T, S>; 4] {
        [x, x, y, y]
    }

    #[inline(always)]
    fn score<T: Real, S: Simd>(c: &T, gradients: [Lanes<T, S>; 4], _: [bool; 2]) -> [Lanes<T, S>; 2] {
        let [x, y, below] = magnitudes(*c, gradients);
        let d = (x - y) * (x - y) * below.recip();
        [d, d * d]
    }

    /// `∂d/∂Gx = 2 (Gx - Gy - d Gx) / (Gx² + Gy² + c)` and `∂Gx/∂Gh = Gh / Gx`, which is 0 where `Gx` is.
    #[inline(always)]
    fn score_vjp<T: Real, S: Simd>(c: &T, gradients: [Lanes<T, S>; 4], upstream: [Lanes<T, S>; 2]) -> [Lanes<T, S>; 4] {
        let [x, y, below] = magnitudes(*c, gradients);
        let (inverse, difference, zero) = (below.recip(), x - y, below.like(0.0));
        let d = difference * difference * inverse;
        let up = ((d + d).mul_add(upstream[1], upstream[0])) * (inverse + inverse);
        let over =
            |value: Lanes<T, S>, magnitude: Lanes<T, S>| zero.if_less(magnitude, value * magnitude.recip(), zero);
        let (to_x, to_y) = (over(up * (difference - d * x), x), over(up * (-difference - d * y), y));
        [to_x * gradients[0], to_x * gradients[1], to_y * gradients[2], to_y * gradients[3]]
    }

    #[inline(always)]
    fn back<T: Real, S: Simd>(side: Side, [xh, xv, yh, yv]: [Lanes<T, S>; 4]) -> [Lanes<T, S>; 2] {
        match side {
            Side::X => [xh, xv],
            Side::Y => [yh, yv],
        }
    }

    #[inline(always)]
    fn back_vjp<T: Real, S: Simd>(_: Side, _: [Lanes<T, S>; 2], [h, v]: [Lanes<T, S>; 2]) -> Lanes<T, S> {
        h + v
    }

    #[inline(always)]
    fn features_vjp<T: Real, S: Simd>(_: [Lanes<T, S>; 2], [xh, xv, yh, yv]: [Lanes<T, S>; 4]) -> [Lanes<T, S>; 2] {
        [xh + xv, yh + yv]
    }
}
