use candle_core::{D, DType, Device, Tensor};
use metrics_core::Result;

use super::axis::{AxisMap, apply_all, extended};
use super::error::counted;
use crate::compare::Compare;
use crate::engine::backend::{Scales, Score};
use crate::engine::{OddSides, Padding};
use crate::measure::ssim::Plan;
use crate::pair::{Pair, Range, sum_dtype};

/// SSIM or contrast at every pixel, from four filtered fields: x, y, x² + y² and x y.
///
/// With a mask, each filtered field is divided by the filtered mask; a window without weight gives NaN.
///
/// The moments are taken around one pivot for each image and channel. Variance and covariance do not depend on it, but without it
/// f32 loses them where the mean is large; means get it back.
pub(crate) fn map(pair: &Pair, plan: &Plan, score: Score) -> Result<Tensor> {
    let pair = &pair.to_float()?;
    let window = Window::new(pair, plan)?;
    let mask = pair.full_mask()?;
    let (pivot_x, pivot_y) = (pivot(&pair.pred, mask.as_ref())?, pivot(&pair.target, mask.as_ref())?);
    let around = |image: &Tensor, pivot: &Tensor| -> Result<Tensor> {
        let centered = image.broadcast_sub(pivot)?;
        mask.as_ref().map_or(Ok(centered.clone()), |mask| counted(&centered, mask))
    };
    let (x, y) = (around(&pair.pred, &pivot_x)?, around(&pair.target, &pivot_y)?);
    let weight = mask.as_ref().map(|mask| window.filter(mask, &pivot_x.ones_like()?)).transpose()?;
    let has_weight = weight.as_ref().map(|weight| weight.above(0.0)).transpose()?;
    let filter = |field: &Tensor, border: &Tensor| -> Result<Tensor> {
        let (Some(mask), Some(weight), Some(has_weight)) = (&mask, &weight, &has_weight) else {
            return window.filter(field, border);
        };
        let filtered = window.filter(&(field * mask)?, border)?;
        Ok((filtered / has_weight.where_cond(weight, &weight.ones_like()?)?)?)
    };

    // Around the pivot, a pixel of 0 beyond the border is a pixel of -pivot.
    let mean_x = filter(&x, &pivot_x.neg()?)?;
    let mean_y = filter(&y, &pivot_y.neg()?)?;
    let squares = filter(&(x.sqr()? + y.sqr()?)?, &(pivot_x.sqr()? + pivot_y.sqr()?)?)?;
    let products = filter(&(&x * &y)?, &(&pivot_x * &pivot_y)?)?;

    // In this order, equal images have variances of exactly twice their covariance, and score exactly 1.
    let variances = (squares - (mean_x.sqr()? + mean_y.sqr()?)?)?.affine(plan.covariance, 0.0)?;
    let variances = with_value(&variances, |v| v.relu())?;
    let covariance = (products - (&mean_x * &mean_y)?)?.affine(plan.covariance, 0.0)?;
    let bound = variances.detach().affine(0.5, 0.0)?; // |σxy| ≤ σx σy ≤ (σx² + σy²) / 2
    let covariance = with_value(&covariance, |c| c.minimum(&bound)?.maximum(&bound.neg()?))?;
    let (variances, covariance) = match plan.is_one_pixel() {
        // No variance: what is left of it and of its gradient are rounding errors.
        true => (variances.zeros_like()?, covariance.zeros_like()?),
        false => (variances, covariance),
    };

    // In squared ranges, so that the square that a quotient's gradient divides by neither vanishes nor overflows.
    let per_range = inverse_square(&pair.range, &x)?;
    let relative = |moment: &Tensor, k: f64| moment.broadcast_mul(&per_range)?.affine(1.0, k * k);
    let contrast = (relative(&covariance.affine(2.0, 0.0)?, plan.k2)? / relative(&variances, plan.k2)?)?;
    let scored = |map: Tensor| -> Result<Tensor> {
        let Some(has_weight) = &has_weight else { return Ok(map) };
        Ok(has_weight.where_cond(&map, &map.detach().affine(0.0, f64::NAN)?)?)
    };
    if score == Score::Contrast {
        return scored(contrast);
    }
    let (mean_x, mean_y) = (mean_x.broadcast_add(&pivot_x)?, mean_y.broadcast_add(&pivot_y)?);
    let above = relative(&(&mean_x * &mean_y)?.affine(2.0, 0.0)?, plan.k1)?;
    let below = relative(&(mean_x.sqr()? + mean_y.sqr()?)?, plan.k1)?;
    scored(((above / below)? * contrast)?)
}

/// The mean of a map of each image and channel, `[N, C]`.
#[derive(Clone, Debug)]
pub(crate) struct PlaneMeans {
    pub(crate) means: Tensor,
    /// The weights of all places of a map, if there is a mask, `[N, C]`.
    pub(crate) weights: Option<Tensor>,
}

impl PlaneMeans {
    /// The mean of each image, `[N]`.
    pub(crate) fn of_images(&self) -> Result<Tensor> {
        let Some(weights) = &self.weights else { return Ok(self.means.mean(D::Minus1)?) };
        let sums = (counted(&self.means, weights)? * weights)?.sum(D::Minus1)?;
        Ok((sums / weights.sum(D::Minus1)?)?)
    }
}

/// Mean SSIM or contrast of each image and channel.
pub(crate) fn means(pair: &Pair, plan: &Plan, score: Score) -> Result<PlaneMeans> {
    let map = map(pair, plan, score)?;
    let mask = pair.full_mask()?;
    let radii = plan.radii();
    let inner = |map: &Tensor| if score == Score::Contrast { inside(map, &radii) } else { Ok(map.clone()) };
    if plan.padding == Padding::Valid {
        return plane_means(&map, mask.map(|mask| inside(&mask, &radii)).transpose()?.as_ref());
    }
    plane_means(&inner(&map)?, mask.map(|mask| inner(&mask)).transpose()?.as_ref())
}

/// The mean of a map of each image, weighted by the mask, `[N]`.
pub(crate) fn weighted_means(map: &Tensor, pair: &Pair) -> Result<Tensor> {
    plane_means(map, Some(&place_weights(map, pair)?))?.of_images()
}

/// How much each place of a map counts. A map that is smaller than the images is of their middle.
pub(crate) fn place_weights(map: &Tensor, pair: &Pair) -> Result<Tensor> {
    let sides = pair.sides().iter().zip(&map.dims()[2..]);
    let radii: Vec<usize> = sides.map(|(image, map)| (image - map) / 2).collect();
    let mask = pair.full_mask()?.map(|mask| inside(&mask, &radii)).transpose()?;
    mask.map_or_else(|| Ok(map.ones_like()?), |mask| Ok(mask.contiguous()?))
}

/// The terms of MS-SSIM, finest scale first.
pub(crate) fn scales(pair: &Pair, plan: &Plan, Scales { count, odd_sides }: Scales) -> Result<Vec<PlaneMeans>> {
    let mut pair = pair.to_float()?;
    let mut terms = Vec::with_capacity(count);
    for _ in 1..count {
        terms.push(means(&pair, plan, Score::Contrast)?);
        pair = downsample(&pair, odd_sides)?;
    }
    terms.push(means(&pair, plan, Score::Ssim)?);
    Ok(terms)
}

/// Both images averaged over blocks of `factor` pixels a side; what fills no block is left out.
pub(crate) fn mean_pool(pair: &Pair, factor: usize) -> Result<Pair> {
    averaged(pair, |image| pool(image, factor), |mask| pool(mask, factor))
}

/// Both images filtered by equal weights in a symmetric border, and every `factor`-th pixel of that from the first on, as by MATLAB's
/// `imfilter`, which takes a pixel more after the middle of an even filter than before it.
pub(crate) fn filter_and_skip(pair: &Pair, factor: usize) -> Result<Pair> {
    let before = (factor - 1) / 2;
    let filter = |image: &Tensor| {
        let mut image = image.clone();
        for axis in 2..image.rank() {
            let side = image.dim(axis)?;
            let after = side.next_multiple_of(factor).saturating_sub(before + side);
            image = extended(&image, axis, [before, after], Padding::Symmetric)?;
        }
        pool(&image, factor)
    };
    averaged(pair, filter, filter)
}

/// Both images, and the mask, with so many pixels more at both ends of each axis as `radii` says: those at their border.
pub(crate) fn replicate(pair: &Pair, radii: &[usize]) -> Result<Pair> {
    let extend = |image: &Tensor| {
        let mut axes = (2..).zip(radii);
        axes.try_fold(image.clone(), |image, (axis, &radius)| extended(&image, axis, [radius; 2], Padding::Replicate))
    };
    let mask = pair.mask.as_ref().map(extend).transpose()?;
    Ok(Pair { pred: extend(&pair.pred)?, target: extend(&pair.target)?, mask, ..pair.clone() })
}

/// Both images filtered along both axes where the window lies inside, and the mask.
pub(crate) fn filtered_valid(pair: &Pair, taps: &[f64]) -> Result<Pair> {
    let maps: Vec<_> = pair.sides().iter().map(|&side| AxisMap::filter(side, taps, Padding::Valid)).collect();
    with_zeros(pair, &maps, false)
}

/// Both images averaged over 2×2 pixels, odd sides with zeros after the last line that are counted, as MATLAB does.
pub(crate) fn downsampled_to_matlab(pair: &Pair) -> Result<Pair> {
    let maps: Vec<_> = pair.sides().iter().map(|&side| AxisMap::pairs(side)).collect();
    with_zeros(pair, &maps, true)
}

/// Both images and the mask after linear maps of them; pixels are weighted by the mask.
fn averaged(
    pair: &Pair,
    of_images: impl Fn(&Tensor) -> Result<Tensor>,
    of_mask: impl Fn(&Tensor) -> Result<Tensor>,
) -> Result<Pair> {
    let Some(mask) = &pair.mask else {
        return Ok(Pair { pred: of_images(&pair.pred)?, target: of_images(&pair.target)?, ..pair.clone() });
    };
    let coarser = of_mask(mask)?;
    let has_weight = coarser.above(0.0)?;
    let weight = has_weight.where_cond(&coarser, &coarser.ones_like()?)?;
    let average = |image: &Tensor| -> Result<Tensor> {
        let mask = mask.broadcast_as(image.shape())?;
        let sums = of_images(&(counted(image, &mask)? * mask)?)?;
        Ok(sums.broadcast_div(&weight)?)
    };
    Ok(Pair { pred: average(&pair.pred)?, target: average(&pair.target)?, mask: Some(coarser), ..pair.clone() })
}

/// One axis after the other, each by products with a row of equal weights: Candle's sums are many times slower.
fn pool(image: &Tensor, factor: usize) -> Result<Tensor> {
    let weights = Tensor::full(1.0 / factor as f64, (1, 1, factor), &Device::Cpu)?;
    let weights = weights.to_dtype(image.dtype())?.to_device(image.device())?;
    let last = image.rank() - 1;
    let mut pooled = image.clone();
    for axis in 2..=last {
        let mut dims = pooled.dims().to_vec();
        dims[axis] /= factor;
        let whole = pooled.narrow(axis, 0, dims[axis] * factor)?;
        let outer: usize = dims[..=axis].iter().product();
        let means = if axis == last {
            whole.reshape((outer, factor))?.matmul(&weights.reshape((factor, 1))?)?
        } else {
            let inner: usize = dims[axis + 1..].iter().product();
            weights.broadcast_as((outer, 1, factor))?.contiguous()?.matmul(&whole.reshape((outer, factor, inner))?)?
        };
        pooled = means.reshape(dims)?;
    }
    Ok(pooled)
}

fn downsample(pair: &Pair, odd_sides: OddSides) -> Result<Pair> {
    let sides = pair.sides();
    let leads = odd_sides.lead(sides);
    let maps: Vec<_> =
        sides.iter().zip(leads).map(|(&side, lead)| AxisMap::downsample(side, lead, odd_sides)).collect();
    with_zeros(pair, &maps, odd_sides == OddSides::Zero)
}

/// Both images and the mask by maps along their axes, which may read zeros beyond the border: those count with weight 1.
fn with_zeros(pair: &Pair, maps: &[AxisMap], reads_zeros: bool) -> Result<Pair> {
    let beyond = if reads_zeros { Some(beyond(maps, &pair.pred)?) } else { None };
    averaged(
        pair,
        |image| apply_all(maps, image),
        |mask| {
            let averaged = apply_all(maps, mask)?;
            let Some(beyond) = &beyond else { return Ok(averaged) };
            Ok(averaged.broadcast_add(beyond)?)
        },
    )
}

/// A window for images of one size.
struct Window {
    maps: Vec<AxisMap>,
    /// The weight that lies beyond a border of zeros, one number for each pixel of the map.
    beyond: Option<Tensor>,
}

impl Window {
    fn new(pair: &Pair, plan: &Plan) -> Result<Self> {
        let sides = pair.sides().iter().zip(&plan.taps);
        let maps: Vec<_> = sides.map(|(&side, taps)| AxisMap::filter(side, taps, plan.padding)).collect();
        let beyond = if plan.padding == Padding::Zero { Some(beyond(&maps, &pair.pred)?) } else { None };
        Ok(Self { maps, beyond })
    }

    /// Filters `x`, which has the value `border` (`[N, C, 1, …]`) beyond a border of zeros.
    fn filter(&self, x: &Tensor, border: &Tensor) -> Result<Tensor> {
        let filtered = apply_all(&self.maps, x)?;
        Ok(match &self.beyond {
            Some(weight) => filtered.broadcast_add(&weight.broadcast_mul(border)?)?,
            None => filtered.contiguous()?,
        })
    }
}

fn beyond(maps: &[AxisMap], like: &Tensor) -> Result<Tensor> {
    let mut inside = Tensor::ones((), DType::F64, &Device::Cpu)?;
    for map in maps {
        let coverage = Tensor::new(map.coverage(), &Device::Cpu)?;
        inside = inside.unsqueeze(D::Minus1)?.broadcast_mul(&coverage)?;
    }
    Ok(inside.affine(-1.0, 1.0)?.to_dtype(like.dtype())?.to_device(like.device())?)
}

/// Images around their [`pivot`]; 0 where nothing counts.
pub(crate) fn centered(image: &Tensor, mask: Option<&Tensor>) -> Result<Tensor> {
    let centered = image.broadcast_sub(&pivot(image, mask)?)?;
    mask.map_or(Ok(centered.clone()), |mask| counted(&centered, mask))
}

/// The mean of each plane, `[N, C, 1, …]`, without a graph: the value of SSIM does not depend on it.
fn pivot(x: &Tensor, mask: Option<&Tensor>) -> Result<Tensor> {
    let axes: Vec<usize> = (2..x.rank()).collect();
    let Some(mask) = mask else { return Ok(x.detach().mean_keepdim(axes)?) };
    let sums = (counted(&x.detach(), mask)? * mask)?.sum_keepdim(axes.clone())?;
    let weights = mask.sum_keepdim(axes)?;
    let has_weight = weights.above(0.0)?;
    counted(&(sums / has_weight.where_cond(&weights, &weights.ones_like()?)?)?, &weights)
}

/// `x` with the value of `f(x)` and the gradient of `x`: a clamp that only removes rounding errors must not cut gradients.
fn with_value(x: &Tensor, f: impl FnOnce(&Tensor) -> candle_core::Result<Tensor>) -> Result<Tensor> {
    let value = x.detach();
    Ok((x + (f(&value)? - value)?)?)
}

/// `1 / R²`, of a shape that broadcasts over `like`.
fn inverse_square(range: &Range, like: &Tensor) -> Result<Tensor> {
    let mut shape = vec![1; like.rank()];
    let inverse = match range {
        Range::Fixed(range) => Tensor::full(range.powi(-2), shape, &Device::Cpu)?,
        Range::PerImage(range) => {
            shape[0] = range.dim(0)?;
            range.sqr()?.recip()?.reshape(shape)?
        }
    };
    Ok(inverse.to_dtype(like.dtype())?.to_device(like.device())?)
}

fn plane_means(map: &Tensor, mask: Option<&Tensor>) -> Result<PlaneMeans> {
    let wide = sum_dtype(map.device());
    let flat = |map: &Tensor| -> Result<Tensor> { Ok(map.flatten_from(2)?.to_dtype(wide)?) };
    let Some(mask) = mask else { return Ok(PlaneMeans { means: flat(map)?.mean(D::Minus1)?, weights: None }) };
    let sums = flat(&(counted(map, mask)? * mask)?)?.sum(D::Minus1)?;
    let weights = flat(mask)?.sum(D::Minus1)?;
    Ok(PlaneMeans { means: (sums / &weights)?, weights: Some(weights) })
}

/// A map, or an image, without so many lines at either end of each axis.
fn inside(map: &Tensor, radii: &[usize]) -> Result<Tensor> {
    let mut inner = map.clone();
    for (axis, &radius) in (2..).zip(radii) {
        let side = inner.dim(axis)?;
        inner = inner.narrow(axis, radius, side - 2 * radius)?;
    }
    Ok(inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pooling_leaves_out_what_fills_no_block() -> Result<()> {
        let (shape, factor) = ([2, 3, 5, 7, 11], 3);
        let image = Tensor::arange(0f64, 2310.0, &Device::Cpu)?.sqr()?;
        for shape in [&shape[..], &[6, 5, 7, 11]] {
            let image = image.reshape(shape)?;
            let [input, output] = [&image, &pool(&image, factor)?].map(|image| image.flatten_to(1));
            let (input, output) = (input?, output?);
            let sides: Vec<usize> = input.dims()[1..].iter().map(|side| side / factor).collect();
            assert_eq!(&output.dims()[1..], sides);
            for at in 0..output.elem_count() {
                let mut block = input.clone();
                let mut rest = at;
                for axis in (0..output.rank()).rev() {
                    let (place, len) = (rest % output.dims()[axis], if axis == 0 { 1 } else { factor });
                    rest /= output.dims()[axis];
                    block = block.narrow(axis, place * len, len)?;
                }
                let want = block.mean_all()?.to_scalar::<f64>()?;
                let got = output.flatten_all()?.get(at)?.to_scalar::<f64>()?;
                // 27 roundings in another order.
                assert!((got - want).abs() <= 1e-14 * want, "{got} instead of {want}");
            }
        }
        Ok(())
    }
}
