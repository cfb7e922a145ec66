//! What is the same for every score of an image: its functions, its metric, its loss.

use std::fmt::Debug;

use candle_core::{DType, Tensor};
use metrics_core::{
    Configured, Definition, Error, MetricInfo, Reduction, Result, Samples, SharedPasses, State, Statistics,
};
use serde::Serialize;

use crate::Target;
use crate::config::Settings;
use crate::loss::image_loss;
use crate::op::{self, AnyPrepared, AnyScore, Fused, FusedScore, Output, Prepared, Score};
use crate::pair::{Images, Pair, compute_dtype};
use crate::planes::{Computed, Planes};

/// A score that each image has, as [`ScoreMetric`] and [`ScoreLoss`] take it: of this crate.
pub trait ScoreKind: Clone + Debug + Send + Sync + 'static {
    /// How it is configured.
    type Config: Clone + Debug + Serialize + Send + Sync + 'static;
}

/// How such a score is computed.
pub(crate) trait Kind: ScoreKind<Config: Settings> {
    const NAME: &'static str;
    /// What its loss is called.
    const LOSS_NAME: &'static str;
    const HIGHER_IS_BETTER: bool;
    /// A loss is `LOSS[0] · score + LOSS[1]`.
    const LOSS: [f64; 2];

    /// The least and the most that an image can score.
    fn bounds(config: &Self::Config) -> [Option<f64>; 2];
    /// Checks the images and says how they are scored.
    fn prepare(op: &str, config: &Self::Config, images: Images) -> Result<AnyPrepared>;
    /// Asks for a pass that other metrics can share.
    fn share(_config: &Self::Config, _passes: &mut SharedPasses) {}
    /// The score of each image from such a pass, `[N]`, if one was made.
    fn shared(_config: &Self::Config, _samples: &Samples) -> Option<Tensor> {
        None
    }
}

/// The score of a batch, reduced as its configuration says: a scalar, or `[N]`.
pub(crate) fn reduced<K: Kind>(
    op: &str,
    pred: &Tensor,
    target: impl Into<Target>,
    config: &K::Config,
) -> Result<Tensor> {
    output::<K>(op, Images::new(pred, target.into()), config, config.reduction().into())
}

/// The score of each image, `[N]`.
pub(crate) fn per_image<K: Kind>(
    op: &str,
    pred: &Tensor,
    target: impl Into<Target>,
    config: &K::Config,
) -> Result<Tensor> {
    output::<K>(op, Images::new(pred, target.into()), config, Output::PerImage)
}

/// The score of each channel of each image, `[N, C]`.
pub(crate) fn per_channel<K: Kind>(
    op: &str,
    pred: &Tensor,
    target: impl Into<Target>,
    config: &K::Config,
) -> Result<Tensor> {
    output::<K>(op, Images::new(pred, target.into()), config, Output::PerChannel)
}

fn output<K: Kind>(op: &str, images: Images, config: &K::Config, output: Output) -> Result<Tensor> {
    let dtype = compute_dtype(images.pred.dtype());
    Ok(op::apply(op, K::prepare(op, config, images)?, output)?.to_dtype(dtype)?)
}

/// What becomes of the values of the images of a batch: a scalar, or `[N]` for [`Reduction::None`]. A summary's scalar is its mean.
pub(crate) fn reduce(values: &Tensor, reduction: Reduction, dtype: DType) -> Result<Tensor> {
    let reduced = match reduction {
        Reduction::Mean | Reduction::Summary => values.mean_all()?,
        Reduction::Sum => values.sum_all()?,
        Reduction::None => values.clone(),
    };
    Ok(reduced.to_dtype(dtype)?)
}

/// A metric that gives each image one score, which [`Ssim`](crate::Ssim), [`MsSsim`](crate::MsSsim), [`Gmsd`](crate::Gmsd),
/// [`Vif`](crate::Vif), [`Mae`](crate::Mae) and [`Mse`](crate::Mse) accumulate.
///
/// ```
/// use candle_core::{Device, Tensor};
/// use metrics_core::Metric;
/// use metrics_image::{Ssim, SsimConfig};
///
/// let mut metric = Ssim::new(SsimConfig::new(1.0))?;
/// for _ in 0..3 {
///     let images = Tensor::rand(0f32, 1f32, (4, 3, 16, 16), &Device::Cpu)?;
///     metric.update(&images, &images)?;
/// }
/// assert_eq!(metric.compute()?.scalar(), Some(1.0));
/// # Ok::<(), metrics_core::Error>(())
/// ```
#[derive(Clone, Debug, Serialize)]
#[serde(transparent, bound = "")]
pub struct ScoreMetric<K: ScoreKind> {
    config: K::Config,
}

impl<K: Kind> Configured for ScoreMetric<K> {
    type Config = K::Config;

    fn configured(config: K::Config) -> Result<Self> {
        config.validate()?;
        Ok(Self { config })
    }

    fn config(&self) -> &K::Config {
        &self.config
    }
}

impl<K: Kind> Definition for ScoreMetric<K> {
    fn name(&self) -> &'static str {
        K::NAME
    }

    fn info(&self) -> MetricInfo {
        let [least, most] = K::bounds(&self.config);
        // A sum over images grows with their number.
        let (lower, upper) = match self.config.reduction() {
            Reduction::Sum => (least.filter(|least| *least >= 0.0), most.filter(|most| *most <= 0.0)),
            Reduction::Mean | Reduction::None | Reduction::Summary => (least, most),
        };
        MetricInfo::differentiable().higher_is_better(K::HIGHER_IS_BETTER).bounds(lower, upper)
    }

    fn states(&self) -> State {
        State::scores(self.config.reduction()).non_finite(self.config.non_finite())
    }

    fn statistics(&self, samples: &Samples) -> Result<Statistics> {
        if let Some(scores) = K::shared(&self.config, samples) {
            return Statistics::scores(&scores);
        }
        let prepared = K::prepare(K::NAME, &self.config, Images::of(samples)?)?;
        Statistics::scores(&op::apply(K::NAME, prepared, Output::PerImage)?)
    }

    fn share(&self, passes: &mut SharedPasses) {
        K::share(&self.config, passes);
    }
}

/// A training loss that is made of one score: smaller is better, differentiable in both images.
///
/// A [`Var`](candle_core::Var) must not be set between `forward` and `backward`, see [`ssim`](crate::ssim()).
#[derive(Clone, Debug)]
pub struct ScoreLoss<K: ScoreKind> {
    config: K::Config,
    weight: f64,
}

#[expect(private_bounds, reason = "only scores of this crate have what it takes")]
impl<K: Kind> ScoreLoss<K> {
    /// A loss of this configuration.
    ///
    /// # Errors
    /// If the configuration's `build` refuses it, and for `Reduction::Summary`, which has no single value to minimize.
    pub fn new(config: K::Config) -> Result<Self> {
        config.validate()?;
        check_reduction(K::LOSS_NAME, config.reduction())?;
        Ok(Self { config, weight: 1.0 })
    }

    /// Multiplies the loss, at no cost: a gradient is made for the weighted loss.
    pub fn weight(mut self, weight: f64) -> Self {
        self.weight = weight;
        self
    }

    /// The configuration.
    pub fn config(&self) -> &K::Config {
        &self.config
    }

    /// The loss of a batch.
    ///
    /// `pred`, `target`: `[N, C, H, W]`, or `[N, C, D, H, W]` for volumes where the score takes them, of one dtype (f32, f64, f16,
    /// bf16, or u8 without gradient; the target may also be u8 beside a prediction in floats) and device, with values in the data
    /// range of the configuration; u8 values are taken as they are. Returns a scalar, or `[N]` with `Reduction::None`; f64 for f64
    /// images, else f32.
    ///
    /// A gradient is rounded to the dtype of its image. That of a mean over many pixels is below the smallest normal f16: scale the
    /// loss of f16 images by its [`weight`](Self::weight).
    ///
    /// # Errors
    /// As the function of the score.
    pub fn forward(&self, pred: &Tensor, target: impl Into<Target>) -> Result<Tensor> {
        let prepared = self.prepare(Images::new(pred, target.into()))?;
        let loss = op::apply(K::LOSS_NAME, prepared, self.config.reduction().into())?;
        Ok(loss.to_dtype(compute_dtype(pred.dtype()))?)
    }

    /// The loss and its gradient with respect to `pred`, without a graph: for images that are themselves the variables, faster than
    /// `forward` and `backward`, which adds every gradient to an image of zeros.
    ///
    /// # Errors
    /// As [`forward`](Self::forward), and for `Reduction::None`, which has no single value to minimize.
    pub fn value_and_grad(&self, pred: &Tensor, target: impl Into<Target>) -> Result<(Tensor, Tensor)> {
        let output = scalar_output(K::LOSS_NAME, self.config.reduction())?;
        let target = target.into();
        let prepare = |pred: &Tensor| Ok(vec![self.prepare(Images::new(pred, target.clone()).target_detached())?]);
        op::value_and_grad(K::LOSS_NAME, pred, &prepare, output, &|loss| Ok(loss.clone()))
    }

    fn prepare(&self, images: Images) -> Result<AnyPrepared> {
        let prepared = K::prepare(K::LOSS_NAME, &self.config, images)?;
        let [scale, offset] = K::LOSS.map(|number| number * self.weight);
        Ok(affine(prepared, scale, offset))
    }
}

image_loss!(ScoreLoss<K>, K: Kind);

/// The reduction of a loss must give one value, or one for each image.
pub(crate) fn check_reduction(loss: &str, reduction: Reduction) -> Result<()> {
    if reduction == Reduction::Summary {
        return Err(Error::argument(loss, "`reduction` must be Mean, Sum or None for a loss, got Summary"));
    }
    Ok(())
}

/// The output of a loss that is to be one number.
pub(crate) fn scalar_output(loss: &str, reduction: Reduction) -> Result<Output> {
    match Output::from(reduction) {
        output @ (Output::Mean | Output::Sum) => Ok(output),
        _ => Err(Error::argument(loss, "`reduction` must be Mean or Sum for one value and its gradient, got None")),
    }
}

/// `scale · score + offset`.
pub(crate) fn affine(prepared: AnyPrepared, scale: f64, offset: f64) -> AnyPrepared {
    let Prepared { score, images, input, spread } = prepared;
    Prepared { score: Affine { score, scale, offset }, images, input, spread }.any()
}

struct Affine {
    score: Box<dyn AnyScore>,
    scale: f64,
    offset: f64,
}

impl Score for Affine {
    fn name(&self) -> &'static str {
        "loss"
    }

    fn saves_gradient(&self) -> bool {
        self.score.saves_gradient()
    }

    fn composed(&self, pair: &Pair) -> Result<Tensor> {
        Ok(self.score.composed(pair)?.affine(self.scale, self.offset)?)
    }

    fn on_gpu(&self, pair: &Pair, output: Output, [scale, offset]: [f64; 2]) -> Option<Result<Tensor>> {
        self.score.on_gpu(pair, output, [scale * self.scale, scale * self.offset + offset])
    }
}

impl<T: Computed> FusedScore<T> for Affine {
    fn fused(&self, planes: &Planes<T>, upstream: Option<&op::Upstream>) -> candle_core::Result<Fused<T>> {
        let scaled = upstream.map(|op::Upstream { weights, wanted }| op::Upstream {
            weights: weights.iter().map(|weight| weight * self.scale).collect(),
            wanted: *wanted,
        });
        let mut made = T::score(&*self.score).fused(planes, scaled.as_ref())?;
        made.terms = vec![made.numbers.clone()];
        made.numbers.iter_mut().for_each(|number| *number = self.scale * *number + self.offset);
        Ok(made)
    }
}
