//! VIFp: visual information fidelity in the pixel domain.
//!
//! With the moments of reference `r` and distorted image `d` under a window, `g` the gain of the distortion and `v` what it adds,
//!
//! ```text
//! g = σrd / (σr² + ε)      v = σd² - g σrd
//! vif = Σ log(1 + g² σr² / (v + σn²)) / Σ log(1 + σr² / σn²)
//! ```
//!
//! where both sums run over the places of four scales. `g` is 0 where `σr²` or `σd²` is below ε or `g` negative; the distortion then
//! keeps nothing of the reference. The moments are taken around a pivot: `x` is the prediction, `d`; `y` the target, `r`.

use candle_core::{D, Tensor};
use metrics_core::{Accumulator, Error, NonFinite, Reduction, Result};
use pulp::Simd;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::compare::Compare;
use crate::config::{Channels, DataRange, Input, check as check_config, gaussian, settings};
use crate::engine::backend::Planar;
use crate::engine::{
    self, AxisTaps, Batch, CoarserMasks, ErrorSlopes, Filters, Gradients, Lanes, Padding, Plane, Real, RowReader,
    Scanned, Upstream, Widened, averaged, multiply, reference, with_dense_pairs,
};

use crate::Target;
use crate::measure::{Measure, Side};
use crate::op::{self, AnyPrepared, Fused, FusedScore, Prepared, Score};
use crate::pair::{Images, Pair, Range, Spread, check_input, sum_dtype};
use crate::planes::{Computed, Planes, add};
use crate::score::{self, Kind, ScoreKind, ScoreLoss, ScoreMetric};

/// Taps of the window at each scale.
const WINDOWS: [usize; 4] = [17, 9, 5, 3];
/// The shortest side that has a place at the last scale.
const LEAST_SIDE: usize = 41;

/// How VIFp is computed: Sheikh and Bovik, "Image information and visual quality", IEEE TIP 15(2), 2006, in the pixel domain, as
/// the authors' `vifp_mscale.m`.
///
/// 1 for equal images; higher is better, and more than 1 is possible for a prediction of more contrast than the target. The target
/// is the reference: the score is not symmetric. Four scales, each after a Gaussian window and a step of 2; all windows lie inside
/// the image, so its sides must have at least 41 pixels.
///
/// ```
/// use metrics_image::VifConfig;
/// let piq = VifConfig::new(1.0).build()?;
/// let torchmetrics = VifConfig::torchmetrics().build()?; // pixels in 0..=255
/// # Ok::<(), metrics_core::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct VifConfig {
    pub(crate) input: Input,
    /// In units of 0..=255, squared.
    sigma_n_sq: f64,
    /// Below which a variance is none, in the same units.
    epsilon: f64,
    /// What is added to both sums.
    added: f64,
    reduction: Reduction,
    #[serde(default)]
    non_finite: NonFinite,
}

settings!(VifConfig);

impl VifConfig {
    /// `piq.vif_p(x, y, data_range=r)`: images of three channels are scored in luma; a flat target gives 1.
    pub fn new(data_range: impl Into<DataRange>) -> Self {
        let input = Input { channels: Channels::Gray, ..Input::new(data_range.into()) };
        let (reduction, non_finite) = (Reduction::Mean, NonFinite::Propagate);
        Self { input, sigma_n_sq: 2.0, epsilon: 1e-8, added: 1e-8, reduction, non_finite }
    }

    /// `torchmetrics.image.VisualInformationFidelity()`, for pixels in 0..=255: each channel by itself, then their mean; a flat target
    /// gives NaN.
    pub fn torchmetrics() -> Self {
        Self { epsilon: 1e-10, added: 0.0, ..Self::new(255.0) }.channels(Channels::All)
    }

    /// Sets the variance of the visual noise, in units of pixels of 0..=255, squared: 2 unless set.
    pub fn sigma_n_sq(mut self, sigma_n_sq: f64) -> Self {
        self.sigma_n_sq = sigma_n_sq;
        self
    }

    /// The variance of the visual noise, in units of pixels of 0..=255, squared.
    pub fn get_sigma_n_sq(&self) -> f64 {
        self.sigma_n_sq
    }

    /// Checks every setting.
    ///
    /// # Errors
    /// A data range or a variance of the noise that is not positive and finite.
    pub fn build(self) -> Result<Self> {
        self.validate()?;
        Ok(self)
    }

    fn validate(&self) -> Result<()> {
        let positive = self.sigma_n_sq > 0.0 && self.sigma_n_sq.is_finite();
        let problem = (!positive).then(|| format!("`sigma_n_sq` must be positive and finite, got {}", self.sigma_n_sq));
        check_config("VifConfig", self.input.problem().or(problem))
    }
}

/// Visual information fidelity of two batches of images, reduced over the batch; differentiable in both.
///
/// `pred` is the distorted image, `target` the reference: `[N, C, H, W]` of one dtype (f32, f64, f16, bf16, or u8 without gradient)
/// and device, with sides of at least 41 pixels and values in the data range of the configuration. Returns a scalar of at least 0,
/// or `[N]` for `Reduction::None`; f64 for f64 images, else f32. Formula and source: [`VifConfig`].
///
/// Computed in f64 except on Metal, which has none, as the variances of nearly flat regions stand beside a small `σn²`. Fused, except with a
/// mask on a GPU: there it is composed of Candle's operations in the dtype of the images.
///
/// # Errors
/// Shapes, dtypes or devices that differ, volumes, an empty batch, sides below 41 pixels, or a configuration that
/// [`VifConfig::build`] refuses.
///
/// ```
/// use candle_core::{Device, Tensor, Var};
/// use metrics_image::{VifConfig, vif};
///
/// let target = Tensor::rand(0f32, 1f32, (1, 3, 48, 64), &Device::Cpu)?;
/// let pred = Var::from_tensor(&target.affine(0.5, 0.2)?)?;
/// let score = vif(&pred, &target, &VifConfig::new(1.0))?;
/// assert!(score.to_scalar::<f32>()? < 1.0);
/// assert_eq!(score.backward()?.get(&pred).unwrap().dims(), [1, 3, 48, 64]);
/// # Ok::<(), candle_core::Error>(())
/// ```
pub fn vif(pred: &Tensor, target: impl Into<Target>, config: &VifConfig) -> Result<Tensor> {
    score::reduced::<VifConfig>("vif", pred, target, config)
}

/// [`vif`] of each image, `[N]`; the configuration's reduction is without effect.
///
/// # Errors
/// As [`vif`].
pub fn vif_per_image(pred: &Tensor, target: impl Into<Target>, config: &VifConfig) -> Result<Tensor> {
    score::per_image::<VifConfig>("vif_per_image", pred, target, config)
}

/// VIFp as a metric over a data set; see [`VifConfig`].
pub type Vif = Accumulator<ScoreMetric<VifConfig>>;

/// `1 - vif`, a training loss; below 0 where the prediction has more contrast than the target. See [`VifConfig`].
pub type VifLoss = ScoreLoss<VifConfig>;

impl ScoreKind for VifConfig {
    type Config = Self;
}

impl Kind for VifConfig {
    const NAME: &'static str = "vif";
    const LOSS_NAME: &'static str = "VifLoss";
    const HIGHER_IS_BETTER: bool = true;
    const LOSS: [f64; 2] = [-1.0, 1.0];

    fn bounds(_: &Self) -> [Option<f64>; 2] {
        [Some(0.0), None]
    }
    fn prepare(op: &str, config: &Self, images: Images) -> Result<AnyPrepared> {
        config.validate()?;
        check_input(op, &config.input, Spread::Larger, &images)?;
        let (dims, border) = (images.pred.dims(), 2 * config.input.crop_border);
        if dims.len() != 4 || dims[2..].iter().any(|side| side - border < LEAST_SIDE) {
            let message = format!(
                "`pred` is {dims:?}{}, expected [N, C, H, W] with sides of at least {LEAST_SIDE} pixels",
                if border > 0 { format!(" before {border} pixels of each side are cropped") } else { String::new() }
            );
            return Err(Error::argument(op, message));
        }
        let &VifConfig { sigma_n_sq, epsilon, added, .. } = config;
        let score = Fidelity { sigma_n_sq, epsilon, added };
        Ok(Prepared { score, images, input: config.input.clone(), spread: Spread::Larger }.any())
    }
}

/// VIFp of images whose channels are already luma.
pub(crate) struct Fidelity {
    sigma_n_sq: f64,
    epsilon: f64,
    added: f64,
}

/// Planes of both images.
type Pairs<'a> = &'a [[&'a dyn RowReader<f64>; 2]];

/// How much the pixels of each plane count; empty if all do.
type Masks<'a> = &'a [Option<&'a dyn RowReader<f64>>];

/// What was made of each image that wants a gradient.
type OfImages = [Option<Vec<f64>>; 2];

/// Both images at a scale, dense planes one after another.
struct Scale {
    dims: [usize; 3],
    images: [Vec<f64>; 2],
    masks: Option<CoarserMasks<f64>>,
}

impl Fidelity {
    fn information(&self, scale: usize) -> Information {
        let Self { sigma_n_sq, epsilon, .. } = *self;
        Information { taps: window(scale), sigma_n_sq, epsilon }
    }

    /// The score of a plane from its sums, and its derivatives with respect to both.
    fn of(&self, [kept, all]: [f64; 2]) -> (f64, [f64; 2]) {
        let [kept, all] = [kept, all].map(|sum| sum / std::f64::consts::LN_10 + self.added);
        let unit = 1.0 / (std::f64::consts::LN_10 * all);
        (kept / all, [unit, -kept / all * unit])
    }

    fn scan(
        &self,
        scale: usize,
        (pairs, masks): (Pairs, Masks),
        ranges: &[f64],
        gradients: Option<&Gradients<[f64; 2], f64>>,
    ) -> candle_core::Result<Scanned<Information, f64>> {
        let measure = self.information(scale);
        Batch { masks, ..Batch::new(&measure, pairs, ranges) }.scan(gradients).ok_or_else(|| too_small(scale))
    }
}

fn window(scale: usize) -> Vec<f64> {
    gaussian(WINDOWS[scale] as f64 / 5.0, WINDOWS[scale])
}

fn too_small(scale: usize) -> candle_core::Error {
    candle_core::Error::msg(format!("the images have no place at scale {}", scale + 1))
}

impl Score for Fidelity {
    fn name(&self) -> &'static str {
        "vif"
    }

    fn composed(&self, pair: &Pair) -> Result<Tensor> {
        let mut pair = pair.to_float()?;
        let unit = match &pair.range {
            Range::Fixed(range) => Tensor::full(*range, (1, 1, 1, 1), pair.pred.device())?.to_dtype(pair.dtype)?,
            Range::PerImage(range) => range.reshape(((), 1, 1, 1))?.to_dtype(pair.dtype)?,
        };
        // In units of 0..=255.
        let scaled = |image: &Tensor| image.affine(255.0, 0.0)?.broadcast_div(&unit);
        (pair.pred, pair.target) = (scaled(&pair.pred)?, scaled(&pair.target)?);
        let (mut kept, mut all) = (None, None);
        let inside = |mask: Tensor| {
            let reach = WINDOWS[0] / 2;
            let rows = mask.narrow(2, reach, mask.dim(2)? - 2 * reach)?;
            rows.narrow(3, reach, mask.dim(3)? - 2 * reach)?.flatten_from(2)?.sum(D::Minus1)
        };
        let weights = pair.full_mask()?.map(inside).transpose()?;
        for scale in 0..WINDOWS.len() {
            let taps = window(scale);
            if scale > 0 {
                pair = reference::filtered_valid(&pair, &taps)?;
                (pair.pred, pair.target) = (every_second(&pair.pred)?, every_second(&pair.target)?);
                pair.mask = pair.mask.map(|mask| every_second(&mask)).transpose()?;
            }
            let [more_kept, more_all] = self.composed_scale(&pair, &taps)?;
            kept = Some(kept.map_or(Ok(more_kept.clone()), |sum: Tensor| sum + &more_kept)?);
            all = Some(all.map_or(Ok(more_all.clone()), |sum: Tensor| sum + &more_all)?);
        }
        let (Some(kept), Some(all)) = (kept, all) else {
            return Err(Error::argument("vif", "expected a scale, got none"));
        };
        let per_decade = std::f64::consts::LN_10.recip();
        let score = (kept.affine(per_decade, self.added)? / all.affine(per_decade, self.added)?)?;
        // The mean of the planes of which any window counts.
        let Some(weights) = weights else { return Ok(score.mean(D::Minus1)?) };
        let has_weight = weights.above(0.0)?;
        let planes = has_weight.to_dtype(score.dtype())?.sum(D::Minus1)?;
        Ok((has_weight.where_cond(&score, &score.zeros_like()?)?.sum(D::Minus1)? / planes)?)
    }

    fn planar(&self) -> Option<Planar> {
        let &Self { sigma_n_sq, epsilon, added } = self;
        let unit = 255.0 * 255.0;
        let windows = (0..WINDOWS.len()).map(window).collect();
        Some(Planar::Vif { windows, sigma_n_sq: sigma_n_sq / unit, epsilon: epsilon / unit, added })
    }
}

impl<T: Computed> FusedScore<T> for Fidelity {
    fn fused(&self, planes: &Planes<T>, upstream: Option<&op::Upstream>) -> candle_core::Result<Fused<T>> {
        let wide: Vec<_> = planes.pairs().into_iter().map(|pair| pair.map(Widened)).collect();
        let first: Vec<_> = wide.iter().map(|[x, y]| [x as &dyn RowReader<f64>, y as _]).collect();
        let (ranges, channels) = (planes.ranges(), planes.channels());
        let masks: Vec<_> = planes.masks().into_iter().map(|mask| mask.map(Widened)).collect();
        let masks: Vec<_> = masks.iter().map(|mask| mask.as_ref().map(|mask| mask as &dyn RowReader<f64>)).collect();
        let first = (&first[..], &masks[..]);
        let (sums, scales) = self.sums(first, &ranges)?;
        // A plane has a score if any window of the finest scale counts.
        let reach = WINDOWS[0] / 2;
        let [_, height, width] = planes.dims();
        let weights = planes.weights(&[0..1, reach..height - reach, reach..width - reach]);
        let shares = op::shares(weights.iter().map(|weight| *weight > 0.0), channels);
        let (scores, derivatives): (Vec<_>, Vec<_>) = sums.into_iter().map(|sums| self.of(sums)).unzip();
        let numbers = op::means(&scores, &shares, channels);
        let Some(upstream) = upstream else { return Ok(Fused::new(numbers, [None, None])) };
        let upstream = upstream.of_sums(&derivatives, &shares, channels);
        let gradients = self.gradients(first, &scales, &ranges, &upstream)?;
        Ok(Fused::new(numbers, gradients.map(|gradient| gradient.as_deref().map(narrowed))))
    }
}

impl Fidelity {
    /// The sums of each plane over all scales, and the images at all scales but the first.
    fn sums(&self, first: (Pairs, Masks), ranges: &[f64]) -> candle_core::Result<(Vec<[f64; 2]>, Vec<Scale>)> {
        let mut sums = vec![[0.0; 2]; first.0.len()];
        let mut scales: Vec<Scale> = Vec::new();
        for scale in 0..WINDOWS.len() {
            if scale > 0 {
                let coarser = with_pairs(first, scales.last(), |pairs, masks| Scale::next(scale, pairs, masks))?;
                scales.push(coarser);
            }
            let made = with_pairs(first, scales.last(), |pairs, masks| self.scan(scale, (pairs, masks), ranges, None))?;
            sums.iter_mut().zip(made.sums).for_each(|(sum, more)| *sum = [sum[0] + more[0], sum[1] + more[1]]);
        }
        Ok((sums, scales))
    }

    /// The gradients with respect to the images: from the coarsest scale to the finest, each adds its own to what comes down to it.
    fn gradients(
        &self,
        first: (Pairs, Masks),
        scales: &[Scale],
        ranges: &[f64],
        upstream: &Gradients<[f64; 2], f64>,
    ) -> candle_core::Result<OfImages> {
        let mut coarser = [None, None];
        for scale in (0..WINDOWS.len()).rev() {
            let images = scale.checked_sub(1).map(|at| &scales[at]);
            coarser = with_pairs(first, images, |pairs, masks| {
                let mut own = self.scan(scale, (pairs, masks), ranges, Some(upstream))?.gradients;
                if let Some(below) = scales.get(scale) {
                    let below = adjoint(scale + 1, (pairs, masks), below, &mut coarser, upstream.wanted)?;
                    own.iter_mut().zip(below).for_each(|(own, below)| add(own, below));
                }
                Ok(own)
            })?;
        }
        Ok(coarser)
    }

    /// Both sums of a scale of images in units of 0..=255, `[N, C]`, by Candle's operations.
    fn composed_scale(&self, pair: &Pair, taps: &[f64]) -> Result<[Tensor; 2]> {
        // Around a pivot, which no variance depends on.
        let mask = pair.full_mask()?;
        let centered = |image: &Tensor| reference::centered(image, mask.as_ref());
        let (d, r) = (centered(&pair.pred)?, centered(&pair.target)?);
        let products = Pair { pred: (&d * &r)?, target: d.sqr()?, ..pair.clone() };
        let squares = Pair { pred: r.sqr()?, target: d.clone(), ..pair.clone() };
        let filter = |pair: &Pair| reference::filtered_valid(pair, taps);
        let (products, squares) = (filter(&products)?, filter(&squares)?);
        let mean_r = filter(&Pair { pred: r, target: d, ..pair.clone() })?.pred;
        let mean_d = squares.target;
        let variance = |square: &Tensor, mean: &Tensor| -> Result<Tensor> { Ok((square - mean.sqr()?)?.relu()?) };
        let (var_d, var_r) = (variance(&products.target, &mean_d)?, variance(&squares.pred, &mean_r)?);
        let cov = (&products.pred - (&mean_d * &mean_r)?)?;
        let zero = var_d.zeros_like()?;
        let gain = (&cov / (&var_r + self.epsilon)?)?;
        let v = (&var_d - (&gain * &cov)?)?;
        let varies = |variance: &Tensor| variance.detach().at_least(self.epsilon);
        let (r_varies, d_varies, positive) = (varies(&var_r)?, varies(&var_d)?, gain.detach().above(0.0)?);
        let all = r_varies.where_cond(&var_r, &zero)?;
        let gain = positive.where_cond(&d_varies.where_cond(&r_varies.where_cond(&gain, &zero)?, &zero)?, &zero)?;
        let above = v.detach().above(self.epsilon)?;
        let v = above.where_cond(&v, &(&zero + self.epsilon)?)?;
        let kept = ((gain.sqr()? * &all)? / (v + self.sigma_n_sq)?)?;
        let places = pair.mask.is_some().then(|| reference::place_weights(&cov, pair)).transpose()?;
        let sum = |ratio: &Tensor| -> Result<Tensor> {
            let (wide, log) = (sum_dtype(ratio.device()), (ratio + 1.0)?.log()?);
            let log = match &places {
                None => log,
                Some(weights) => weights.above(0.0)?.where_cond(&(log * weights)?, &weights.zeros_like()?)?,
            };
            Ok(log.flatten_from(2)?.to_dtype(wide)?.sum(D::Minus1)?)
        };
        Ok([sum(&kept)?, sum(&all.affine(1.0 / self.sigma_n_sq, 0.0)?)?])
    }
}

/// A gradient in the type of the images.
fn narrowed<T: Real>(gradient: &[f64]) -> Vec<T> {
    gradient.par_iter().with_min_len(1 << 15).map(|&value| T::of(value)).collect()
}

/// Every second row and column.
fn every_second(image: &Tensor) -> Result<Tensor> {
    let mut image = image.clone();
    for axis in [2, 3] {
        let side = image.dim(axis)?;
        let index = Tensor::arange_step(0u32, side as u32, 2, image.device())?;
        image = image.contiguous()?.index_select(&index, axis)?;
    }
    Ok(image)
}

/// Runs `f` on the images at a scale and their masks, or at the first.
fn with_pairs<R>(
    first: (Pairs, Masks),
    scale: Option<&Scale>,
    f: impl FnOnce(Pairs, Masks) -> candle_core::Result<R>,
) -> candle_core::Result<R> {
    match scale {
        None => f(first.0, first.1),
        Some(Scale { dims, images, masks: None }) => with_dense_pairs(images, *dims, |pairs| f(pairs, &[])),
        Some(Scale { dims, images, masks: Some(masks) }) => {
            with_dense_pairs(images, *dims, |pairs| masks.with(|masks| f(pairs, masks)))
        }
    }
}

impl Scale {
    /// The next scale: filtered by its window, every second row and column. Where there are masks, pixels are weighted by them.
    fn next(scale: usize, pairs: Pairs, masks: Masks) -> candle_core::Result<Self> {
        let blurred = Blur { taps: window(scale) }.filters().map_dims(pairs[0][0].dims());
        let dims = half(blurred.ok_or_else(|| too_small(scale))?);
        if masks.is_empty() {
            return Ok(Self { dims, images: coarser(scale, pairs)?, masks: None });
        }
        let (mut images, masks) = averaged(pairs, masks, dims, |pairs| coarser(scale, pairs))?;
        images.iter_mut().for_each(|image| masks.divide(image));
        Ok(Self { dims, images, masks: Some(masks) })
    }
}

/// Both images filtered by the window of a scale, every second row and column.
fn coarser(scale: usize, pairs: Pairs) -> candle_core::Result<[Vec<f64>; 2]> {
    let (measure, ranges) = (Blur { taps: window(scale) }, vec![1.0; pairs.len()]);
    let dims = measure.filters().map_dims(pairs[0][0].dims()).ok_or_else(|| too_small(scale))?;
    let batch = Batch { maps: [true; 2], wanted: [false; 2], ..Batch::new(&measure, pairs, &ranges) };
    let maps = batch.scan(None).ok_or_else(|| too_small(scale))?.maps;
    let images: Vec<_> = maps.into_iter().flatten().map(|map| decimated(&map, dims)).collect();
    <[Vec<f64>; 2]>::try_from(images).map_err(|_| too_small(scale))
}

fn half([_, height, width]: [usize; 3]) -> [usize; 3] {
    [1, height.div_ceil(2), width.div_ceil(2)]
}

fn decimated(map: &[f64], dims @ [_, height, width]: [usize; 3]) -> Vec<f64> {
    let [_, rows, columns] = half(dims);
    engine::rows(map.len() / (height * width) * rows, columns, |row, out| {
        let row = &map[(row / rows * height + 2 * (row % rows)) * width..][..width];
        out.iter_mut().zip(row.iter().step_by(2)).for_each(|(out, &value)| *out = value);
    })
}

/// Zeros between the rows and columns of a gradient: the adjoint of [`decimated`].
fn spread_out(gradient: &[f64], dims @ [_, height, width]: [usize; 3]) -> Vec<f64> {
    let [_, rows, columns] = half(dims);
    engine::rows(gradient.len() / (rows * columns) * height, width, |row, out| {
        let (plane, y) = (row / height, row % height);
        out.fill(0.0);
        if y % 2 == 0 {
            let values = &gradient[(plane * rows + y / 2) * columns..][..columns];
            out.iter_mut().step_by(2).zip(values).for_each(|(out, &value)| *out = value);
        }
    })
}

/// From the gradient with respect to the images at a scale to that with respect to those it was made of.
fn adjoint(
    scale: usize,
    (pairs, masks): (Pairs, Masks),
    coarser: &Scale,
    gradients: &mut OfImages,
    wanted: [bool; 2],
) -> candle_core::Result<OfImages> {
    if let Some(masks) = &coarser.masks {
        gradients.iter_mut().flatten().for_each(|gradient| masks.divide(gradient));
    }
    let (measure, ranges) = (Blur { taps: window(scale) }, vec![1.0; pairs.len()]);
    let dims = measure.filters().map_dims(pairs[0][0].dims()).ok_or_else(|| too_small(scale))?;
    debug_assert_eq!(half(dims), coarser.dims);
    let maps = gradients.each_ref().map(|gradient| gradient.as_ref().map(|gradient| spread_out(gradient, dims)));
    let len: usize = dims.iter().product();
    let plane = |side: usize, number: usize| Plane::dense(&maps[side].as_ref()?[number * len..][..len], dims);
    let planes: Vec<[Option<Plane<f64>>; 2]> =
        (0..pairs.len()).map(|number| [0, 1].map(|side| plane(side, number))).collect();
    let upstream = planes
        .iter()
        .map(|planes| {
            Upstream::Maps(
                planes.iter().map(|plane| plane.as_ref().map(|plane| plane as &dyn RowReader<f64>)).collect(),
            )
        })
        .collect();
    let gradients = Gradients { upstream, errors: vec![ErrorSlopes::default(); pairs.len()], wanted };
    let scanned = Batch::new(&measure, pairs, &ranges).scan(Some(&gradients)).ok_or_else(|| too_small(scale))?;
    let mut gradients = scanned.gradients;
    if !masks.is_empty() {
        gradients.iter_mut().flatten().for_each(|gradient| multiply(gradient, masks));
    }
    Ok(gradients)
}

/// Both images, filtered.
struct Blur {
    taps: Vec<f64>,
}

fn valid(taps: &[f64]) -> Filters {
    Filters { axes: [(); 2].map(|()| AxisTaps::Shared(taps.to_vec())).into(), padding: Padding::Valid }
}

impl Measure for Blur {
    type Fields<V: Copy + Send + Sync> = [V; 2];
    type Maps<V: Copy + Send + Sync> = [V; 2];
    type Back<V: Copy + Send + Sync> = [V; 2];
    type Basis<V: Copy + Send + Sync> = [V; 2];
    type Constants<T: Real> = ();

    const MASKS: bool = true;
    const PIVOT: bool = false;
    const INNER: [bool; 2] = [false; 2];
    const TAPS: &'static [usize] = &WINDOWS;
    const SHOWN: [f64; 2] = [1.0, 0.0];

    fn filters(&self) -> Filters {
        valid(&self.taps)
    }

    fn constants<T: Real>(&self, _: f64, _: [f64; 2], _: f64) {}

    #[inline(always)]
    fn basis<T: Real, S: Simd>((): &(), pixels: [Lanes<T, S>; 2], _: Lanes<T, S>) -> [Lanes<T, S>; 2] {
        pixels
    }

    #[inline(always)]
    fn features<T: Real, S: Simd>(basis: [Lanes<T, S>; 2]) -> [Lanes<T, S>; 2] {
        basis
    }

    #[inline(always)]
    fn score<T: Real, S: Simd>((): &(), filtered: [Lanes<T, S>; 2], _: [bool; 2]) -> [Lanes<T, S>; 2] {
        filtered
    }

    #[inline(always)]
    fn score_vjp<T: Real, S: Simd>((): &(), _: [Lanes<T, S>; 2], upstream: [Lanes<T, S>; 2]) -> [Lanes<T, S>; 2] {
        upstream
    }

    #[inline(always)]
    fn back<T: Real, S: Simd>(_: Side, derivatives: [Lanes<T, S>; 2]) -> [Lanes<T, S>; 2] {
        derivatives
    }

    #[inline(always)]
    fn back_vjp<T: Real, S: Simd>(side: Side, _: [Lanes<T, S>; 2], [x, y]: [Lanes<T, S>; 2]) -> Lanes<T, S> {
        match side {
            Side::X => x,
            Side::Y => y,
        }
    }

    #[inline(always)]
    fn features_vjp<T: Real, S: Simd>(_: [Lanes<T, S>; 2], upstream: [Lanes<T, S>; 2]) -> [Lanes<T, S>; 2] {
        upstream
    }
}

/// The two logarithms at each place: what is kept of the reference's information, and all of it.
struct Information {
    taps: Vec<f64>,
    sigma_n_sq: f64,
    epsilon: f64,
}

/// The constants for one plane, in the units of its moments.
#[derive(Clone, Copy)]
struct Constants<T> {
    pivot: [T; 2],
    /// The sum of a window's taps: moments are not divided by it.
    total: T,
    sigma_n_sq: T,
    epsilon: T,
}

/// What both logarithms are made of.
struct Terms<V> {
    /// `σrd`, the gain `g`, and 1 where the gain counts.
    cov: V,
    gain: V,
    counts: V,
    /// `1 / (σr² + ε)` and `1 / (v + σn²)`.
    per_variance: V,
    per_noise: V,
    /// `σr²`, 0 below ε; and 1 where it is not.
    reference: V,
    varies: V,
    /// 1 where `v` is not cut off at ε.
    above: V,
}

#[inline(always)]
fn terms<T: Real, S: Simd>(constants: &Constants<T>, [d, r, dd, rr, dr]: [Lanes<T, S>; 5]) -> Terms<Lanes<T, S>> {
    let like = |value: T| d.with_all(value);
    let (total, epsilon, zero, one) = (like(constants.total), like(constants.epsilon), d.like(0.0), d.like(1.0));
    let var_d = (-d).mul_add(d, dd * total).at_least_zero();
    let var_r = (-r).mul_add(r, rr * total).at_least_zero();
    let cov = (-d).mul_add(r, dr * total);
    let per_variance = (var_r + epsilon).recip();
    let gain = cov * per_variance;
    let v = (-gain).mul_add(cov, var_d);
    let varies = var_r.if_less(epsilon, zero, one);
    let counts = zero.if_less(gain, var_d.if_less(epsilon, zero, varies), zero);
    let above = epsilon.if_less(v, one, zero);
    let noise = epsilon.if_less(v, v, epsilon) + like(constants.sigma_n_sq);
    Terms {
        cov,
        gain: gain * counts,
        counts,
        per_variance,
        per_noise: noise.recip(),
        reference: var_r * varies,
        varies,
        above,
    }
}

impl Measure for Information {
    type Fields<V: Copy + Send + Sync> = [V; 5];
    type Maps<V: Copy + Send + Sync> = [V; 2];
    type Back<V: Copy + Send + Sync> = [V; 3];
    type Basis<V: Copy + Send + Sync> = [V; 2];
    type Constants<T: Real> = Constants<T>;

    const MASKS: bool = true;
    const PIVOT: bool = true;
    const INNER: [bool; 2] = [false; 2];
    const TAPS: &'static [usize] = &WINDOWS;
    const SHOWN: [f64; 2] = [1.0, 0.0];

    fn filters(&self) -> Filters {
        valid(&self.taps)
    }

    fn constants<T: Real>(&self, range: f64, [x, y]: [f64; 2], total: f64) -> Constants<T> {
        let unit = (total * range / 255.0).powi(2);
        Constants {
            pivot: [T::of(x), T::of(y)],
            total: T::of(total),
            sigma_n_sq: T::of(self.sigma_n_sq * unit),
            epsilon: T::of(self.epsilon * unit),
        }
    }

    #[inline(always)]
    fn basis<T: Real, S: Simd>(constants: &Constants<T>, [x, y]: [Lanes<T, S>; 2], _: Lanes<T, S>) -> [Lanes<T, S>; 2] {
        [x - x.with_all(constants.pivot[0]), y - y.with_all(constants.pivot[1])]
    }

    #[inline(always)]
    fn features<T: Real, S: Simd>([x, y]: [Lanes<T, S>; 2]) -> [Lanes<T, S>; 5] {
        [x, y, x * x, y * y, x * y]
    }

    #[inline(always)]
    fn features_of_pair<T: Real, S: Simd>([x, y]: [Lanes<T, S>; 2], [s, t]: [Lanes<T, S>; 2]) -> [Lanes<T, S>; 5] {
        [x + s, y + t, s.mul_add(s, x * x), t.mul_add(t, y * y), s.mul_add(t, x * y)]
    }

    #[inline(always)]
    fn score<T: Real, S: Simd>(constants: &Constants<T>, moments: [Lanes<T, S>; 5], _: [bool; 2]) -> [Lanes<T, S>; 2] {
        let Terms { gain, per_noise, reference, .. } = terms(constants, moments);
        let all = reference * reference.with_all(constants.sigma_n_sq).recip();
        [(gain * gain * reference * per_noise).ln_1p(), all.ln_1p()]
    }

    #[inline(always)]
    fn score_vjp<T: Real, S: Simd>(
        constants: &Constants<T>,
        moments: [Lanes<T, S>; 5],
        [kept, all]: [Lanes<T, S>; 2],
    ) -> [Lanes<T, S>; 5] {
        let Terms { cov, gain, counts, per_variance, per_noise, reference, varies, above } = terms(constants, moments);
        let [d, r, ..] = moments;
        let (one, two) = (d.like(1.0), d.like(2.0));
        let ratio = gain * gain * reference * per_noise;
        // With respect to the ratio, then to gain, v and σr² themselves.
        let to_ratio = kept * (one + ratio).recip() * counts;
        let to_v = -to_ratio * ratio * per_noise * above;
        let to_gain = two * to_ratio * gain * reference * per_noise - to_v * cov;
        let to_all = all * (reference + reference.with_all(constants.sigma_n_sq)).recip() * varies;
        // Through g = σrd / (σr² + ε) and v = σd² - g σrd.
        let to_cov = to_gain * per_variance - to_v * gain;
        let to_var_r = to_ratio * gain * gain * per_noise - to_gain * gain * per_variance + to_all;
        let to_var_d = to_v;
        // Through variances and covariance, from the moments.
        let total = d.with_all(constants.total);
        let to_d = -(two * d * to_var_d) - r * to_cov;
        let to_r = -(two * r * to_var_r) - d * to_cov;
        [to_d, to_r, total * to_var_d, total * to_var_r, total * to_cov]
    }

    #[inline(always)]
    fn back<T: Real, S: Simd>(side: Side, [x, y, xx, yy, xy]: [Lanes<T, S>; 5]) -> [Lanes<T, S>; 3] {
        match side {
            Side::X => [x, xx, xy],
            Side::Y => [y, yy, xy],
        }
    }

    #[inline(always)]
    fn back_vjp<T: Real, S: Simd>(
        side: Side,
        [x, y]: [Lanes<T, S>; 2],
        [mean, square, product]: [Lanes<T, S>; 3],
    ) -> Lanes<T, S> {
        let (own, other) = match side {
            Side::X => (x, y),
            Side::Y => (y, x),
        };
        other.mul_add(product, (own + own).mul_add(square, mean))
    }

    #[inline(always)]
    fn features_vjp<T: Real, S: Simd>(
        basis: [Lanes<T, S>; 2],
        [x, y, xx, yy, xy]: [Lanes<T, S>; 5],
    ) -> [Lanes<T, S>; 2] {
        [Self::back_vjp(Side::X, basis, [x, xx, xy]), Self::back_vjp(Side::Y, basis, [y, yy, xy])]
    }
}
