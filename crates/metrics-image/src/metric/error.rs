use std::fmt;
use std::marker::PhantomData;

use candle_core::Tensor;
use metrics_core::{Agenda, Batch, Contribution, Fingerprint, Measurement, Metric, MetricInfo, Result, State, Value};
use metrics_detach::DetachExt;

use crate::ErrorConfig;
use crate::functional::{PixelError, error_of_outcome, error_scores};
use crate::scores::Scores;
use crate::shared::Need;

/// Mean absolute error as a metric over a data set; see [`ErrorConfig`].
pub type Mae = MeanError<Absolute>;

/// Mean squared error as a metric over a data set; see [`ErrorConfig`].
pub type Mse = MeanError<Squared>;

/// A metric that gives each image the mean of the errors of its pixels: [`Mae`] and [`Mse`].
///
/// ```
/// use candle_core::{DType, Device, Tensor};
/// use metrics_core::Metric;
/// use metrics_image::{ErrorConfig, Mae};
///
/// let mut metric = Mae::new(ErrorConfig::new())?;
/// let target = Tensor::zeros((2, 1, 8, 8), DType::F64, &Device::Cpu)?;
/// metric.update(&(&target + 0.25)?, &target)?;
/// assert_eq!(metric.compute()?.scalar(), Some(0.25));
/// # Ok::<(), metrics_core::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct MeanError<E> {
    config: ErrorConfig,
    /// Written once: every merge compares it.
    fingerprint: Fingerprint,
    state: State,
    error: PhantomData<fn() -> E>,
}

/// Absolute errors.
#[derive(Clone, Copy, Debug)]
pub enum Absolute {}

/// Squared errors.
#[derive(Clone, Copy, Debug)]
pub enum Squared {}

/// The errors that [`MeanError`] takes; not for implementing elsewhere.
#[expect(private_bounds, reason = "sealed")]
pub trait ErrorKind: Kind {}

impl ErrorKind for Absolute {}
impl ErrorKind for Squared {}

pub(crate) trait Kind: Clone + fmt::Debug + 'static {
    const NAME: &'static str;
    const ERROR: PixelError;
}

impl Kind for Absolute {
    const NAME: &'static str = "mae";
    const ERROR: PixelError = PixelError::Absolute;
}

impl Kind for Squared {
    const NAME: &'static str = "mse";
    const ERROR: PixelError = PixelError::Squared;
}

const ERROR: &str = "error";

impl<E: ErrorKind> MeanError<E> {
    /// A metric of this configuration that has seen nothing.
    ///
    /// # Errors
    /// If [`ErrorConfig::build`] refuses the configuration.
    pub fn new(config: ErrorConfig) -> Result<Self> {
        config.validate()?;
        let state = State::for_reduction(ERROR, config.reduction).non_finite(config.non_finite);
        let fingerprint = Fingerprint::new(E::NAME, format!("{config:?}"));
        Ok(Self { config, fingerprint, state, error: PhantomData })
    }

    /// The configuration.
    pub fn config(&self) -> &ErrorConfig {
        &self.config
    }

    fn need(&self) -> Need<'_> {
        Need::Errors(&self.config.input, E::ERROR.wants())
    }

    fn measurement(&self, scores: &Scores) -> Result<Measurement> {
        let contribution = Contribution::new(scores.wide.dim(0)?).with(ERROR, scores.wide.detached());
        Ok(Measurement { value: scores.reduce(self.config.reduction)?, contribution })
    }
}

impl<E: ErrorKind> Metric for MeanError<E> {
    fn name(&self) -> &'static str {
        E::NAME
    }

    fn info(&self) -> MetricInfo {
        MetricInfo {
            differentiable: true,
            higher_is_better: Some(false),
            lower: Some(0.0),
            upper: None,
            growth: self.state.growth(),
        }
    }

    fn fingerprint(&self) -> Fingerprint {
        self.fingerprint.clone()
    }

    fn measure(&self, pred: &Tensor, target: &Tensor) -> Result<Measurement> {
        self.measurement(&error_scores(E::NAME, pred, target, &self.config, E::ERROR)?)
    }

    fn announce(&self, agenda: &mut Agenda) {
        self.need().announce(agenda);
    }

    fn measure_shared(&self, batch: &Batch) -> Result<Measurement> {
        match self.need().met(batch) {
            Some((pair, outcome)) => self.measurement(&error_of_outcome(pair, outcome, E::ERROR)?),
            None => self.measure(batch.pred(), batch.target()),
        }
    }

    fn state(&self) -> &State {
        &self.state
    }

    fn state_mut(&mut self) -> &mut State {
        &mut self.state
    }

    fn finish(&self, state: &State) -> Result<Value> {
        state.reduced(ERROR, self.config.reduction)
    }
}
