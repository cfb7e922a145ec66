use candle_core::Tensor;
use metrics_core::{
    Agenda, Batch, Contribution, Fingerprint, Measurement, Metric, MetricInfo, NonFinite, Reduction, Result, State,
    Value,
};
use metrics_detach::DetachExt;

use crate::config::Normalize;
use crate::functional::{ms_ssim_of_outcome, ms_ssim_scores, ssim_of_pair, ssim_pair, ssim_scores};
use crate::kernel::Outcome;
use crate::pair::Pair;
use crate::scores::{Scores, slope};
use crate::shared::Need;
use crate::{MsSsimConfig, SsimConfig};

/// SSIM as a metric over a data set; see [`SsimConfig`].
pub type Ssim = Similarity<SsimConfig>;

/// MS-SSIM as a metric over a data set; see [`MsSsimConfig`].
pub type MsSsim = Similarity<MsSsimConfig>;

/// A metric that gives each image one score of at most 1: [`Ssim`] and [`MsSsim`].
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
#[derive(Clone, Debug)]
pub struct Similarity<C> {
    config: C,
    /// Written once: every merge compares it.
    fingerprint: Fingerprint,
    state: State,
}

impl<C: SimilarityConfig> Similarity<C> {
    /// A metric of this configuration that has seen nothing.
    ///
    /// # Errors
    /// If the configuration's `build` refuses it.
    pub fn new(config: C) -> Result<Self> {
        config.validate()?;
        let state = State::for_reduction(SCORE, config.reduction()).non_finite(config.non_finite());
        let fingerprint = Fingerprint::new(C::NAME, format!("{config:?}"));
        Ok(Self { config, fingerprint, state })
    }

    /// The configuration.
    pub fn config(&self) -> &C {
        &self.config
    }

    fn measurement(&self, scores: &Scores) -> Result<Measurement> {
        let contribution = Contribution::new(scores.wide.dim(0)?).with(SCORE, scores.wide.detached());
        Ok(Measurement { value: scores.reduce(self.config.reduction())?, contribution })
    }
}

const SCORE: &str = "score";

impl<C: SimilarityConfig> Metric for Similarity<C> {
    fn name(&self) -> &'static str {
        C::NAME
    }

    fn info(&self) -> MetricInfo {
        let lowest = self.config.lowest();
        // A sum over images grows with their number.
        let (lower, upper) = match self.config.reduction() {
            Reduction::Sum => ((lowest >= 0.0).then_some(lowest), None),
            Reduction::Mean | Reduction::None | Reduction::Summary => (Some(lowest), Some(1.0)),
        };
        MetricInfo { differentiable: true, higher_is_better: Some(true), lower, upper, growth: self.state.growth() }
    }

    fn fingerprint(&self) -> Fingerprint {
        self.fingerprint.clone()
    }

    fn measure(&self, pred: &Tensor, target: &Tensor) -> Result<Measurement> {
        self.measurement(&self.config.scores(pred, target)?)
    }

    fn announce(&self, agenda: &mut Agenda) {
        self.config.need().announce(agenda);
    }

    fn measure_shared(&self, batch: &Batch) -> Result<Measurement> {
        match self.config.need().met(batch) {
            Some((pair, outcome)) => self.measurement(&self.config.scores_of(pair, outcome)?),
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
        state.reduced(SCORE, self.config.reduction())
    }
}

/// The configurations that [`Similarity`] takes; not for implementing elsewhere.
#[expect(private_bounds, reason = "sealed")]
pub trait SimilarityConfig: Scored {}

impl SimilarityConfig for SsimConfig {}
impl SimilarityConfig for MsSsimConfig {}

pub(crate) trait Scored: Clone + std::fmt::Debug + Send + 'static {
    const NAME: &'static str;
    /// The lowest score that an image can have.
    fn lowest(&self) -> f64;
    fn validate(&self) -> Result<()>;
    fn reduction(&self) -> Reduction;
    fn non_finite(&self) -> NonFinite;
    /// What the scores need of a pass.
    fn need(&self) -> Need<'_>;
    /// The score of each image.
    fn scores(&self, pred: &Tensor, target: &Tensor) -> Result<Scores>;
    /// The score of each image, from a pass that met the need.
    fn scores_of(&self, pair: &Pair, outcome: &Outcome) -> Result<Scores>;
}

impl Scored for SsimConfig {
    const NAME: &'static str = "ssim";

    fn lowest(&self) -> f64 {
        -1.0
    }

    fn validate(&self) -> Result<()> {
        SsimConfig::validate(self)
    }

    fn reduction(&self) -> Reduction {
        self.reduction
    }

    fn non_finite(&self) -> NonFinite {
        self.non_finite
    }

    fn need(&self) -> Need<'_> {
        Need::Ssim(self)
    }

    fn scores(&self, pred: &Tensor, target: &Tensor) -> Result<Scores> {
        let (pair, plan) = ssim_pair(Self::NAME, pred, target, self)?;
        ssim_of_pair(&pair, &plan, slope(self.reduction, &pair))
    }

    fn scores_of(&self, pair: &Pair, outcome: &Outcome) -> Result<Scores> {
        ssim_scores(pair, outcome)
    }
}

impl Scored for MsSsimConfig {
    const NAME: &'static str = "ms_ssim";

    fn lowest(&self) -> f64 {
        match self.normalize {
            Normalize::Relu | Normalize::Simple => 0.0,
            Normalize::None => -1.0,
        }
    }

    fn validate(&self) -> Result<()> {
        MsSsimConfig::validate(self)
    }

    fn reduction(&self) -> Reduction {
        self.ssim.reduction
    }

    fn non_finite(&self) -> NonFinite {
        self.ssim.non_finite
    }

    fn need(&self) -> Need<'_> {
        Need::MsSsim(self)
    }

    fn scores(&self, pred: &Tensor, target: &Tensor) -> Result<Scores> {
        ms_ssim_scores(Self::NAME, pred, target, self)
    }

    fn scores_of(&self, pair: &Pair, outcome: &Outcome) -> Result<Scores> {
        ms_ssim_of_outcome(pair, outcome, self)
    }
}
