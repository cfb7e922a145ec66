//! [`PerLabel`].

use std::collections::HashSet;

use candle_core::Tensor;

use super::{emptied, group, part, value_or_nan};
use crate::error::list;
use crate::{Agenda, Batch, Contribution, Error, Fingerprint, Measurement, Metric, MetricInfo, Result, State, Value};

/// A metric for each label that images can have.
///
/// Updated with a label for each image, by [`Metric::update_labelled`] or
/// [`MetricCollection::update_labelled`](crate::MetricCollection::update_labelled). Images are measured once, whatever their
/// labels. An update without labels is refused, and so is `forward`, instead of which there is [`Metric::forward_labelled`].
///
/// Computes a group with the value of every label, in their order. That of a label without images that count is NaN.
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
/// metric.update_labelled(&pred, &pred.zeros_like()?, &["day", "night", "day"])?;
/// assert_eq!(format!("{:.1}", metric.compute()?), "{day: 2.0, night: 2.0}");
/// # Ok::<(), metrics_core::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct PerLabel<M> {
    inner: M,
    labels: Vec<String>,
    state: State,
}

impl<M: Metric> PerLabel<M> {
    /// Of a metric, for these labels.
    ///
    /// # Errors
    /// When there is no label, or one is empty or there twice.
    pub fn new<L: Into<String>>(metric: M, labels: impl IntoIterator<Item = L>) -> Result<Self> {
        let labels: Vec<String> = labels.into_iter().map(Into::into).collect();
        let refuse = |message: String| Err(Error::argument("PerLabel", message));
        if labels.is_empty() {
            return refuse("`labels` has none, but must have at least one".into());
        }
        let mut seen = HashSet::new();
        for (index, label) in labels.iter().enumerate() {
            if label.is_empty() {
                return refuse(format!("label {index} of `labels` is empty, but must tell images apart"));
            }
            if !seen.insert(label) {
                return refuse(format!("`labels` has `{label}` twice, but each label once is enough"));
            }
        }
        let (inner, state) = emptied(metric);
        let state = State::of_parts(vec![state; labels.len()]).grouped();
        Ok(Self { inner, labels, state })
    }
}

impl<M: Metric + Clone + 'static> Metric for PerLabel<M> {
    fn name(&self) -> &'static str {
        self.inner.name()
    }

    fn info(&self) -> MetricInfo {
        MetricInfo { growth: self.state.growth(), ..self.inner.info() }
    }

    fn fingerprint(&self) -> Fingerprint {
        Fingerprint::new("per_label", format!("labels={:?} of={}", self.labels, self.inner.fingerprint().text()))
    }

    fn measure(&self, pred: &Tensor, target: &Tensor) -> Result<Measurement> {
        self.measure_shared(&Batch::of(self, pred, target))
    }

    fn announce(&self, agenda: &mut Agenda) {
        self.inner.announce(agenda);
    }

    fn measure_shared(&self, batch: &Batch) -> Result<Measurement> {
        let Measurement { value, contribution } = self.inner.measure_shared(batch)?;
        if contribution.needs_labels() {
            let message = "there is a `PerLabel` in it, around which only `Running` may go";
            return Err(Error::argument(
                "PerLabel",
                format!("`{}` cannot be told apart: {message}", self.inner.name()),
            ));
        }
        Ok(Measurement { value, contribution: contribution.needing_labels() })
    }

    fn by_label(&self, contribution: Contribution, labels: &[&str]) -> Result<Contribution> {
        let refuse = |message: String| Err(Error::argument("PerLabel", message));
        if labels.len() != contribution.images() {
            let (labels, images) = (labels.len(), contribution.images());
            return refuse(format!("`labels` has length {labels}, but the batch has {images} images"));
        }
        if let Some(label) = labels.iter().find(|label| !self.labels.iter().any(|known| known == *label)) {
            return refuse(format!("`labels` has `{label}`, but must have {}", list(&self.labels)));
        }
        let mut whole = Contribution::new(contribution.images());
        for known in &self.labels {
            let weights: Vec<_> = labels.iter().map(|label| f64::from(u8::from(label == known))).collect();
            whole = whole.with_part(self.inner.by_weight(contribution.clone(), &weights)?.labelled());
        }
        Ok(whole)
    }

    fn state(&self) -> &State {
        &self.state
    }

    fn state_mut(&mut self) -> &mut State {
        &mut self.state
    }

    fn finish(&self, state: &State) -> Result<Value> {
        let value = |(index, label): (usize, &String)| {
            Ok((label.clone(), value_or_nan(&self.inner, part("PerLabel", state, index)?)?))
        };
        group(self.labels.iter().enumerate().map(value).collect::<Result<Vec<_>>>()?)
    }
}
