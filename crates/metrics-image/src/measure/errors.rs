//! Sums and means of the errors of pixels, which PSNR, MAE, MSE and mixed losses are made of.

use candle_core::Tensor;
use metrics_core::{Error, Result, Samples};

use super::similarity::Term;
use crate::config::Input;
use crate::engine::backend::{self, Program, Scales};
use crate::engine::{self, ErrorSlopes, Errors, reference};
use crate::op::{self, AnyPrepared, Fused, FusedScore, Output, Prepared, Score};
use crate::pair::{Images, Pair, Range, Spread, channel_weights, check_input, sum_dtype};
use crate::planes::{self, Computed, Planes};
use crate::shared::Need;

/// Which errors of pixels are summed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum PixelError {
    Absolute,
    Squared,
    /// `√(e² + ε²)`
    Charbonnier(f64),
    /// None: what is summed are the weights of the values.
    Values,
}

impl PixelError {
    fn of(self, errors: &Errors) -> f64 {
        match self {
            Self::Absolute => errors.absolute,
            Self::Squared => errors.squared,
            Self::Charbonnier(_) => errors.charbonnier,
            Self::Values => 0.0,
        }
    }

    /// The derivatives with respect to the sums of errors, of which this one's is given.
    fn slopes(self, slope: f64) -> ErrorSlopes {
        match self {
            Self::Squared => [slope, 0.0, 0.0],
            Self::Absolute => [0.0, slope, 0.0],
            Self::Charbonnier(_) => [0.0, 0.0, slope],
            Self::Values => ErrorSlopes::default(),
        }
    }

    /// As a term of a pass.
    pub(crate) fn term(self) -> Term {
        match self {
            Self::Squared => Term::Squared,
            Self::Absolute => Term::Absolute,
            Self::Charbonnier(epsilon) => Term::Charbonnier(epsilon),
            Self::Values => Term::Values,
        }
    }

    fn composed(self, pair: &Pair) -> Result<Tensor> {
        match self {
            Self::Squared => reference::squared(pair),
            Self::Absolute => reference::absolute(pair),
            Self::Charbonnier(epsilon) => reference::charbonnier(pair, epsilon),
            Self::Values => reference::values(pair),
        }
    }
}

/// What the sum is divided by.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Unit {
    /// Nothing.
    One,
    /// The number of values.
    Values,
    /// The number of values times the squared data range.
    ValuesOfRange,
}

/// Sums or means of the errors of each image, weighted and added.
pub(crate) struct PixelErrors {
    /// Each with its weight; of Charbonnier's there is one at most.
    errors: Vec<(PixelError, f64)>,
    unit: Unit,
}

impl Score for PixelErrors {
    fn name(&self) -> &'static str {
        "pixel errors"
    }

    /// A gradient takes one pass over the images, whenever it is made.
    fn saves_gradient(&self) -> bool {
        false
    }

    fn composed(&self, pair: &Pair) -> Result<Tensor> {
        let units = match (self.unit, &pair.range) {
            (Unit::One, _) => None,
            (Unit::ValuesOfRange, Range::PerImage(range)) => {
                let values = reference::values(pair)?;
                Some((range.to_dtype(values.dtype())?.sqr()? * values)?)
            }
            (Unit::ValuesOfRange, Range::Fixed(range)) => Some((reference::values(pair)? * (range * range))?),
            (Unit::Values, _) => Some(reference::values(pair)?),
        };
        let mut sum: Option<Tensor> = None;
        for (error, weight) in &self.errors {
            let of_error = error.composed(pair)?.affine(*weight, 0.0)?;
            let of_error = units.as_ref().map_or(Ok(of_error.clone()), |units| of_error / units)?;
            sum = Some(sum.map_or(Ok(of_error.clone()), |sum| sum + &of_error)?);
        }
        sum.ok_or_else(|| Error::argument("errors", "expected an error to sum, got none"))
    }

    fn on_gpu(&self, pair: &Pair, output: Output, [scale, offset]: [f64; 2]) -> Option<Result<Tensor>> {
        let factor = scale * self.factor(pair);
        let program = || Program {
            plan: None,
            scales: Scales::ONE,
            terms: self.errors.iter().map(|(error, _)| error.term()).collect(),
            mixture: Some((self.errors.iter().map(|(_, weight)| factor * weight).collect(), offset)),
            by_range: self.unit == Unit::ValuesOfRange,
        };
        backend::numbers(pair, program, output)
    }
}

impl PixelErrors {
    pub(crate) fn one(error: PixelError, unit: Unit) -> Self {
        Self { errors: vec![(error, 1.0)], unit }
    }

    /// The weighted sum of means.
    pub(crate) fn mixed(errors: Vec<(PixelError, f64)>) -> Self {
        Self { errors, unit: Unit::Values }
    }

    /// What sums are multiplied by in any image.
    fn factor(&self, pair: &Pair) -> f64 {
        let values = 1.0 / pair.image_len() as f64;
        match (self.unit, &pair.range) {
            (Unit::One, _) => 1.0,
            (Unit::ValuesOfRange, Range::Fixed(range)) => values * range.powi(-2),
            _ => values,
        }
    }

    fn epsilon(&self) -> Option<f64> {
        self.errors.iter().find_map(|(error, _)| match error {
            PixelError::Charbonnier(epsilon) => Some(*epsilon),
            _ => None,
        })
    }
}

impl<T: Computed> FusedScore<T> for PixelErrors {
    fn fused(&self, planes: &Planes<T>, upstream: Option<&op::Upstream>) -> candle_core::Result<Fused<T>> {
        let (pairs, channels, values) = (planes.pairs(), planes.channels(), planes.values());
        if self.errors.iter().all(|(error, _)| *error == PixelError::Values) {
            return Ok(Fused::new(values, [None, None]));
        }
        let ranges = planes.ranges();
        let unit = |image: usize| match self.unit {
            Unit::One => 1.0,
            Unit::Values => 1.0 / values[image],
            Unit::ValuesOfRange => 1.0 / (ranges[image * channels].powi(2) * values[image]),
        };
        let slopes = |plane: usize| {
            let image = plane / channels;
            // An image without weight has no gradient.
            let Some(upstream) = upstream.filter(|_| values[image] > 0.0) else { return ErrorSlopes::default() };
            let slope = upstream.weights[image] * unit(image);
            self.errors.iter().fold(ErrorSlopes::default(), |sum, (error, weight)| {
                let slopes = error.slopes(weight * slope);
                [0, 1, 2].map(|kind| sum[kind] + slopes[kind])
            })
        };
        let wanted = upstream.map_or([false; 2], |upstream| upstream.wanted);
        let (errors, gradients) = engine::errors(&pairs, &planes.masks(), self.epsilon().map(T::of), slopes, wanted);
        let of_image = |error: PixelError| {
            let sums = errors.chunks(channels).map(|planes| planes.iter().map(|errors| error.of(errors)).sum::<f64>());
            sums.enumerate().map(|(image, sum)| sum * unit(image)).collect::<Vec<f64>>()
        };
        let terms: Vec<Vec<f64>> = self.errors.iter().map(|(error, _)| of_image(*error)).collect();
        let mix = |image: usize| self.errors.iter().zip(&terms).map(|((_, weight), term)| weight * term[image]).sum();
        Ok(Fused { numbers: (0..values.len()).map(mix).collect(), terms, gradients })
    }
}

pub(crate) fn prepared(
    op: &str,
    images: Images,
    (input, spread): (&Input, Spread),
    score: PixelErrors,
) -> Result<AnyPrepared> {
    check_input(op, input, spread, &images)?;
    Ok(Prepared { score, images, input: input.clone(), spread }.any())
}

/// The sum of an image's errors, for metrics that share it: `[N]` in the widest dtype.
pub(crate) fn error_sum(op: &str, images: Images, input: &Input, error: PixelError) -> Result<Tensor> {
    let score = PixelErrors::one(error, Unit::One);
    op::apply(op, prepared(op, images, (input, Spread::Unused), score)?, Output::PerImage)
}

/// The squared data range of each image, found in the targets: `[N]` in the widest dtype.
pub(super) fn squared_ranges(op: &str, images: Images, input: &Input) -> Result<Tensor> {
    let dtype = sum_dtype(images.pred.device());
    if images.pred.device().is_cpu() {
        return Ok(planes::ranges(op, input, Spread::Target, images)?.sqr()?);
    }
    let pred = images.pred.clone();
    match Pair::new(op, input, Spread::Target, images)?.range {
        Range::PerImage(ranges) => Ok(ranges.to_dtype(dtype)?.sqr()?),
        Range::Fixed(range) => Ok(Tensor::full(range * range, pred.dim(0)?, pred.device())?.to_dtype(dtype)?),
    }
}

/// How many values each image has that are scored, or with a mask the sum of their weights.
pub(super) enum Values {
    Each(f64),
    /// `[N]` in the widest dtype.
    Weighted(Tensor),
}

impl Values {
    pub(super) fn of(op: &str, images: &Images, input: &Input) -> Result<Self> {
        check_input(op, input, Spread::Unused, images)?;
        if images.mask.is_some() {
            return Ok(Self::Weighted(error_sum(op, images.clone().detached(), input, PixelError::Values)?));
        }
        let dims = images.pred.dims();
        let channels = channel_weights(input, dims[1]).map_or(dims[1], |_| 1);
        let values = channels * dims[2..].iter().map(|side| side - 2 * input.crop_border).product::<usize>();
        Ok(Self::Each(values as f64))
    }

    /// The mean from a sum, in the order of [`PixelErrors`], for the same bits.
    pub(super) fn mean(&self, sums: &Tensor, squared_ranges: Option<&Tensor>) -> Result<Tensor> {
        let units = match (self, squared_ranges) {
            (Self::Each(values), None) => return Ok(sums.affine(1.0 / values, 0.0)?),
            (Self::Each(values), Some(squared)) => squared.affine(*values, 0.0)?,
            (Self::Weighted(values), None) => values.clone(),
            (Self::Weighted(values), Some(squared)) => (squared * values)?,
        };
        Ok((sums * units.recip()?)?)
    }

    /// The sum from a mean.
    pub(super) fn sum(&self, means: &Tensor) -> Result<Tensor> {
        match self {
            Self::Each(values) => Ok(means.affine(*values, 0.0)?),
            Self::Weighted(values) => Ok((means * values)?),
        }
    }
}

/// The values of the images, from a pass that is shared, if one is.
pub(super) fn shared_values(op: &str, samples: &Samples, input: &Input) -> Result<Values> {
    let shared = samples.sample_mask().and_then(|_| Need::Errors(input, PixelError::Values).shared(samples));
    shared.map_or_else(|| Values::of(op, &Images::of(samples)?, input), |values| Ok(Values::Weighted(values)))
}
