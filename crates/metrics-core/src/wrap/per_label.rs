//! [`PerLabel`].

use std::collections::HashSet;

use serde::Serialize;

use super::{emptied, group, of_number_of_the_loop, part, value_or_nan};
use crate::error::list;
use crate::{
    Accumulator, Definition, Error, Metric, MetricInfo, Result, Samples, SharedPasses, State, Statistics, Value,
};

/// A metric for each label that samples can have.
///
/// Updated with a label for each sample: see [`Samples::labels`]. Samples are measured once, whatever their
/// labels. A batch without labels is refused.
///
/// Computes a group with the value of every label, in their order. That of a label without samples that count is NaN. The batch's own
/// value, as `forward` gives it, is the metric's, of all samples.
///
/// Other wrappers go inside, as in `PerLabel::new(BootStrapper::new(metric, 100, 0)?, labels)`; only
/// [`Running`](crate::Running) may also go around.
///
/// ```
#[doc = include_str!("../../doc/mae.md")]
/// use candle_core::{Device, Tensor};
/// use metrics_core::{Metric, PerLabel};
///
/// let mut metric = PerLabel::new(Mae::new(), ["day", "night"])?;
/// let pred = Tensor::new(&[[1f32], [2.0], [3.0]], &Device::Cpu)?;
/// let target = pred.zeros_like()?;
/// metric.update_with(&Samples::new(&pred, &target).labels(&["day", "night", "day"]))?;
/// assert_eq!(format!("{:.1}", metric.compute()?), "{day: 2.0, night: 2.0}");
/// # Ok::<(), metrics_core::Error>(())
/// ```
#[derive(Clone, Serialize)]
#[serde(tag = "wrapper")]
pub struct PerLabel<M> {
    of: M,
    labels: Vec<String>,
}

impl<M: Metric + Clone + Serialize + 'static> PerLabel<M> {
    /// Wraps a metric, for these labels.
    ///
    /// # Errors
    /// When there is no label, or one is empty or there twice; and for a metric with a `PerLabel` in it.
    pub fn new<L: Into<String>>(metric: M, labels: impl IntoIterator<Item = L>) -> Result<Accumulator<Self>> {
        let labels: Vec<String> = labels.into_iter().map(Into::into).collect();
        let refuse = |message: String| Err(Error::argument("PerLabel", message));
        if labels.is_empty() {
            return refuse("`labels` has none, but must have at least one".into());
        }
        let mut seen = HashSet::new();
        for (index, label) in labels.iter().enumerate() {
            if label.is_empty() {
                return refuse(format!("label {index} of `labels` is empty, but must tell samples apart"));
            }
            if !seen.insert(label) {
                return refuse(format!("`labels` has `{label}` twice, but each label once is enough"));
            }
        }
        if metric.state().is_per_label() {
            let message = "there is a `PerLabel` in it, around which only `Running` may go";
            return refuse(format!("`{}` cannot be told apart: {message}", metric.name()));
        }
        Accumulator::of(Self { of: emptied(metric), labels })
    }

    /// The label of each sample, if all are known.
    fn known<'a>(&self, samples: &Samples<'a>, count: usize) -> Result<&'a [&'a str]> {
        let refuse = |message: String| Err(Error::argument("PerLabel", message));
        let Some(labels) = samples.sample_labels() else {
            return refuse("the samples have no labels, but must have: see `Samples::labels`".into());
        };
        if labels.len() != count {
            return refuse(format!("`labels` has length {}, but the batch has {count} samples", labels.len()));
        }
        match labels.iter().find(|label| !self.labels.iter().any(|known| known == *label)) {
            Some(label) => refuse(format!("`labels` has `{label}`, but must have {}", list(&self.labels))),
            None => Ok(labels),
        }
    }
}

impl<M: Metric + Clone + Serialize + 'static> Definition for PerLabel<M> {
    fn name(&self) -> &'static str {
        self.of.name()
    }

    fn info(&self) -> MetricInfo {
        self.of.info()
    }

    fn states(&self) -> State {
        State::of_parts(vec![self.of.state().clone(); self.labels.len()]).per_label()
    }

    fn statistics(&self, samples: &Samples) -> Result<Statistics> {
        let mut statistics = self.of.statistics(samples)?;
        let value = statistics.take_known();
        if statistics.is_of_number() {
            return Err(of_number_of_the_loop("PerLabel", &self.of));
        }
        let labels = self.known(samples, statistics.samples())?;
        let mut all = Statistics::new(statistics.samples());
        for known in &self.labels {
            let weights: Vec<_> = labels.iter().map(|label| f64::from(u8::from(label == known))).collect();
            all = all.with_part(statistics.clone().with_weights(&weights)?);
        }
        Ok(match value {
            Some(value) => all.with_known_value(value),
            None => all,
        })
    }

    fn compute(&self, state: &State) -> Result<Value> {
        let value = |(index, label): (usize, &String)| {
            Ok((label.clone(), value_or_nan(&self.of, part("PerLabel", state, index)?)?))
        };
        group(self.labels.iter().enumerate().map(value).collect::<Result<Vec<_>>>()?)
    }

    fn share(&self, passes: &mut SharedPasses) {
        self.of.share(passes);
    }
}
