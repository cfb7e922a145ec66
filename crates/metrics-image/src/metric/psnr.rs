use candle_core::Tensor;
use metrics_core::{
    Agenda, Batch, Contribution, Fingerprint, Measurement, Metric, MetricInfo, Reduce, Reduction, Result, State, Value,
};
use metrics_detach::DetachExt;

use crate::PsnrConfig;
use crate::config::Pooling;
use crate::functional::{Errors, PixelError, decibels};
use crate::pair::Spread;
use crate::shared::Need;

/// PSNR as a metric over a data set, pooled over all pixels or reduced over images; see [`PsnrConfig`].
///
/// ```
/// use candle_core::{Device, Tensor};
/// use metrics_core::Metric;
/// use metrics_image::{Psnr, PsnrConfig};
///
/// let mut metric = Psnr::new(PsnrConfig::new(1.0))?;
/// let target = Tensor::zeros((2, 1, 8, 8), candle_core::DType::F64, &Device::Cpu)?;
/// metric.update(&(&target + 0.1)?, &target)?;
/// assert!((metric.compute()?.scalar().unwrap() - 20.0).abs() < 1e-12);
/// # Ok::<(), metrics_core::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Psnr {
    config: PsnrConfig,
    /// Written once: every merge compares it.
    fingerprint: Fingerprint,
    state: State,
}

const ERROR: &str = "squared_error";
const PIXELS: &str = "pixels";
const SCORE: &str = "score";

impl Psnr {
    /// A metric of this configuration that has seen nothing.
    ///
    /// # Errors
    /// If [`PsnrConfig::build`] refuses the configuration.
    pub fn new(config: PsnrConfig) -> Result<Self> {
        config.validate()?;
        let state = match config.pooling {
            Pooling::Pooled => State::new().with(ERROR, Reduce::Sum).with(PIXELS, Reduce::Sum),
            Pooling::PerImage => State::for_reduction(SCORE, config.reduction),
        };
        let state = state.non_finite(config.non_finite);
        let effective = match config.pooling {
            Pooling::Pooled => config.clone().reduction(Reduction::default()), // is without effect
            Pooling::PerImage => config.clone(),
        };
        let fingerprint = Fingerprint::new("psnr", format!("{effective:?}"));
        Ok(Self { config, fingerprint, state })
    }

    /// The configuration.
    pub fn config(&self) -> &PsnrConfig {
        &self.config
    }

    fn need(&self) -> Need<'_> {
        Need::Errors(&self.config.input, PixelError::Squared.wants())
    }

    fn measurement(&self, errors: &Errors) -> Result<Measurement> {
        let images = errors.relative.dim(0)?;
        let contribution = match self.config.pooling {
            Pooling::Pooled => Contribution::new(images)
                .with(ERROR, errors.relative.detached())
                .with_values(PIXELS, vec![errors.pixels as f64; images]),
            Pooling::PerImage => Contribution::new(images).with(SCORE, errors.per_image(&self.config)?.wide.detached()),
        };
        Ok(Measurement { value: errors.value(&self.config)?, contribution })
    }
}

impl Metric for Psnr {
    fn name(&self) -> &'static str {
        "psnr"
    }

    fn info(&self) -> MetricInfo {
        let summed = self.config.pooling == Pooling::PerImage && self.config.reduction == Reduction::Sum;
        let best = decibels(0.0, &self.config); // of equal images: what floor and cap leave of infinity
        MetricInfo {
            differentiable: true,
            higher_is_better: Some(true),
            lower: None,
            upper: (best.is_finite() && !summed).then_some(best),
            growth: self.state.growth(),
        }
    }

    fn fingerprint(&self) -> Fingerprint {
        self.fingerprint.clone()
    }

    fn measure(&self, pred: &Tensor, target: &Tensor) -> Result<Measurement> {
        self.measurement(&Errors::new("psnr", pred, target, &self.config)?)
    }

    fn announce(&self, agenda: &mut Agenda) {
        self.need().announce(agenda);
    }

    fn measure_shared(&self, batch: &Batch) -> Result<Measurement> {
        let Some((pair, outcome)) = self.need().met(batch) else { return self.measure(batch.pred(), batch.target()) };
        let pair = pair.with_range("psnr", &self.config.input, Spread::Target)?;
        self.measurement(&Errors::of_outcome(pair, outcome)?)
    }

    fn state(&self) -> &State {
        &self.state
    }

    fn state_mut(&mut self) -> &mut State {
        &mut self.state
    }

    fn finish(&self, state: &State) -> Result<Value> {
        match self.config.pooling {
            Pooling::Pooled => Ok(Value::Scalar(decibels(state.sum(ERROR)? / state.sum(PIXELS)?, &self.config))),
            Pooling::PerImage => state.reduced(SCORE, self.config.reduction),
        }
    }
}
