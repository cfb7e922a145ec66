//! A definition with what it has accumulated.

use std::fmt;

use candle_core::{DType, Device, Tensor};
use metrics_detach::Detached;
use serde::{Serialize, Serializer};

use crate::metric::sealed::Sealed;
use crate::state::{BatchValue, check_weights, reduce};
use crate::{
    Configured, Definition, Error, Fingerprint, Metric, MetricInfo, Result, Samples, SharedPasses, State, Statistics,
    Value,
};

/// A [`Metric`]: what an author [defines](Definition), with what it has accumulated.
#[derive(Clone)]
pub struct Accumulator<D> {
    definition: D,
    /// Written once: every merge compares it.
    fingerprint: Fingerprint,
    state: State,
}

impl<D: Definition> Accumulator<D> {
    /// Creates a metric of a definition, which has seen nothing.
    ///
    /// # Errors
    /// When the settings cannot be serialized.
    pub fn of(definition: D) -> Result<Self> {
        let fingerprint = Fingerprint::of(definition.name(), &definition)?;
        Ok(Self::with_fingerprint(definition, fingerprint))
    }

    pub(crate) fn with_fingerprint(definition: D, fingerprint: Fingerprint) -> Self {
        let state = definition.states();
        Self { definition, fingerprint, state }
    }

    /// The definition.
    pub fn definition(&self) -> &D {
        &self.definition
    }

    /// The definition, without what was accumulated.
    pub fn into_definition(self) -> D {
        self.definition
    }

    /// Sets how many updates are read back together from a device that is not the CPU: 64 unless set. With 1, each update waits for its own.
    pub fn queue_limit(mut self, updates: usize) -> Self {
        self.state = self.state.queue_limit(updates);
        self
    }

    /// The value of a batch of these statistics alone.
    fn batch_value(&self, value: BatchValue, statistics: &Statistics, samples: &Samples) -> Result<Tensor> {
        let weights = samples.sample_weights();
        match (value, self.state.reduction()) {
            (BatchValue::Known(value), _) => Ok(value),
            (BatchValue::Scores(scores), Some(reduction)) => {
                let finite = if self.state.may_skip() { Some(finite_weights(&scores, weights)?) } else { None };
                reduce(&scores, finite.as_deref().or(weights), reduction, value_dtype(samples, scores.dtype()))
            }
            (BatchValue::Given(value), _) if weights.is_none() && !self.skips(statistics)? => Ok(value),
            (BatchValue::Given(value), _) if value.track_op() => {
                let message = "weights or skipped samples leave its value without a gradient: give no weights and finite samples, \
                     or update in an eval scope";
                Err(Error::argument(self.name(), message))
            }
            _ => self.computed_value(statistics, samples),
        }
    }

    /// Whether a sample is left out because a number is not finite. It waits for the device where samples may be left out.
    fn skips(&self, statistics: &Statistics) -> Result<bool> {
        if !self.state.may_skip() {
            return Ok(false);
        }
        let mut state = self.definition.states();
        state.accumulate(statistics.clone())?;
        state.drain()?;
        Ok(state.skipped() > 0)
    }

    fn computed_value(&self, statistics: &Statistics, samples: &Samples) -> Result<Tensor> {
        let mut state = self.definition.states();
        state.accumulate(statistics.clone().weighted(samples.sample_weights())?)?;
        state.drain()?;
        let value = if state.samples() == 0 { Value::Scalar(f64::NAN) } else { self.definition.compute(&state)? };
        let (numbers, shape) = match value {
            Value::Scalar(number) => (vec![number], vec![]),
            Value::Summary(summary) => (vec![summary.mean], vec![]),
            Value::PerImage(numbers) => {
                let samples = numbers.len();
                (numbers, vec![samples])
            }
            Value::Array { shape, values } => (values, shape),
            Value::Group(_) => {
                let message =
                    "it computes several values, so that a batch has no single one: use `update` instead of `forward`";
                return Err(Error::argument(self.name(), message));
            }
        };
        let device = samples.pred().map_or(&Device::Cpu, Tensor::device);
        let dtype = value_dtype(samples, DType::F32);
        Ok(Tensor::from_vec(numbers, shape, &Device::Cpu)?.to_dtype(dtype)?.to_device(device)?)
    }
}

/// Weights that leave out samples whose score is not finite.
fn finite_weights(scores: &Tensor, weights: Option<&[f64]>) -> Result<Vec<f64>> {
    let scores = Detached::from(scores).to_vec_f64()?;
    if let Some(weights) = weights {
        check_weights(weights, scores.len())?;
    }
    let weight = |(sample, score): (usize, f64)| {
        if score.is_finite() { weights.map_or(1.0, |weights| weights[sample]) } else { 0.0 }
    };
    Ok(scores.into_iter().enumerate().map(weight).collect())
}

/// Values of a batch are f64 for predictions in f64, else f32.
fn value_dtype(samples: &Samples, without_pred: DType) -> DType {
    match samples.pred() {
        Ok(pred) if pred.dtype() == DType::F64 => DType::F64,
        Ok(_) => DType::F32,
        Err(_) => without_pred,
    }
}

impl<D: Configured> Accumulator<D> {
    /// Creates a metric of a configuration, which has seen nothing.
    ///
    /// # Errors
    /// When the configuration is refused.
    pub fn new(config: D::Config) -> Result<Self> {
        Self::of(D::configured(config)?)
    }

    /// The configuration.
    pub fn config(&self) -> &D::Config {
        self.definition.config()
    }
}

impl<D: Definition> Metric for Accumulator<D> {
    fn name(&self) -> &'static str {
        self.definition.name()
    }

    fn info(&self) -> MetricInfo {
        self.definition.info()
    }

    fn fingerprint(&self) -> &Fingerprint {
        &self.fingerprint
    }

    fn statistics(&self, samples: &Samples) -> Result<Statistics> {
        let mut statistics = self.definition.statistics(samples)?;
        let value = statistics.take_value();
        if !samples.wants_value() {
            return Ok(statistics);
        }
        let value = self.batch_value(value, &statistics, samples)?;
        Ok(statistics.with_known_value(value))
    }

    fn compute_of(&self, state: &State) -> Result<Value> {
        if state.samples() == 0 {
            return Err(Error::NoData { metric: self.name().into() });
        }
        self.definition.compute(state)
    }

    fn share(&self, passes: &mut SharedPasses) {
        self.definition.share(passes);
    }

    fn state(&self) -> &State {
        &self.state
    }

    fn state_mut(&mut self) -> &mut State {
        &mut self.state
    }

    fn clone_box(&self) -> Box<dyn Metric> {
        Box::new(self.clone())
    }
}

impl<D: Definition> Sealed for Accumulator<D> {}

/// Kind and settings.
impl<D: Definition> Serialize for Accumulator<D> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.fingerprint.serialize(serializer)
    }
}

impl<D: Definition> fmt::Debug for Accumulator<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (self as &dyn Metric).fmt(f)
    }
}
