//! What a metric is updated with.

use std::rc::Rc;

use candle_core::Tensor;
use metrics_detach::Detached;

use crate::error::list;
use crate::shared::SharedPasses;
use crate::{Error, Result};

/// A batch of samples: predictions and targets, optionally with a mask, with a weight or a label for each sample, and numbers of the
/// loop.
///
/// ```
/// use candle_core::{DType, Device, Tensor};
/// use metrics_core::Samples;
///
/// let pred = Tensor::zeros((2, 3, 8, 8), DType::F32, &Device::Cpu)?;
/// let samples = Samples::new(&pred, &pred).weights(&[1.0, 0.5]).labels(&["day", "night"]).number("loss", 0.25);
/// assert_eq!(samples.pred()?.dims(), [2, 3, 8, 8]);
/// assert!(Samples::from(&pred).target().is_err());
/// # Ok::<(), metrics_core::Error>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct Samples<'a> {
    pred: Option<Tensor>,
    target: Option<Tensor>,
    mask: Option<Tensor>,
    weights: Option<&'a [f64]>,
    labels: Option<&'a [&'a str]>,
    numbers: Vec<(&'a str, Number, f64)>,
    shared: Option<Rc<SharedPasses>>,
    wants_value: bool,
}

/// One number: plain, or a scalar tensor on any device, which is detached.
#[derive(Clone, Debug)]
pub struct Number(pub(crate) NumberSource);

#[derive(Clone, Debug)]
pub(crate) enum NumberSource {
    Plain(f64),
    Tensor(Detached),
}

impl From<f64> for Number {
    fn from(number: f64) -> Self {
        Self(NumberSource::Plain(number))
    }
}

impl From<&Tensor> for Number {
    fn from(number: &Tensor) -> Self {
        Self(NumberSource::Tensor(number.into()))
    }
}

impl<'a> Samples<'a> {
    /// Predictions and their targets. Of most metrics the first dimension of both is the number of samples.
    pub fn new(pred: &Tensor, target: &Tensor) -> Self {
        Self { pred: Some(pred.clone()), target: Some(target.clone()), ..Self::default() }
    }

    /// Says how much each element of the samples counts, such as each pixel of an image; its shape is up to the metric. Metrics of
    /// whole samples take no notice of it.
    pub fn mask(self, mask: &Tensor) -> Self {
        Self { mask: Some(mask.clone()), ..self }
    }

    /// Gives each sample a weight, finite and not negative. It counts in sums and means, and in mean and standard deviation of a
    /// summary. A sample of weight 0 is left out.
    pub fn weights(self, weights: &'a [f64]) -> Self {
        Self { weights: Some(weights), ..self }
    }

    /// Gives each sample a label: see [`PerLabel`](crate::PerLabel). Other metrics take no notice of them.
    pub fn labels(self, labels: &'a [&'a str]) -> Self {
        Self { labels: Some(labels), ..self }
    }

    /// Adds a number of the loop, such as the training loss or the learning rate: see [`Aggregate`](crate::Aggregate).
    pub fn number(self, name: &'a str, number: impl Into<Number>) -> Self {
        self.weighted_number(name, number, 1.0)
    }

    /// Adds a number of the loop with a weight, such as the number of samples that a mean loss is of.
    pub fn weighted_number(mut self, name: &'a str, number: impl Into<Number>, weight: f64) -> Self {
        self.numbers.push((name, number.into(), weight));
        self
    }

    /// The predictions.
    ///
    /// # Errors
    /// When there are none.
    pub fn pred(&self) -> Result<&Tensor> {
        self.pred.as_ref().ok_or_else(|| Error::argument("samples", "there is no `pred`, but this metric needs it"))
    }

    /// The targets.
    ///
    /// # Errors
    /// When there are none.
    pub fn target(&self) -> Result<&Tensor> {
        self.target.as_ref().ok_or_else(|| Error::argument("samples", "there is no `target`, but this metric needs it"))
    }

    /// How much each element of the samples counts, if there is a mask.
    pub fn sample_mask(&self) -> Option<&Tensor> {
        self.mask.as_ref()
    }

    /// The weight of each sample, if they have weights.
    pub fn sample_weights(&self) -> Option<&'a [f64]> {
        self.weights
    }

    /// The label of each sample, if they have labels.
    pub fn sample_labels(&self) -> Option<&'a [&'a str]> {
        self.labels
    }

    /// The number of this name, and its weight.
    pub(crate) fn find_number(&self, name: &str) -> Result<(&NumberSource, f64)> {
        let mut found = self.numbers.iter().filter(|(other, ..)| *other == name);
        let problem = match (found.next(), found.next()) {
            (Some((_, number, weight)), None) => return Ok((&number.0, *weight)),
            (Some(_), Some(_)) => format!("the number `{name}` was given twice"),
            (None, _) => {
                let names: Vec<_> = self.numbers.iter().map(|(name, ..)| name).collect();
                format!("there is no number `{name}`; there is {}", list(&names))
            }
        };
        Err(Error::argument("samples", problem))
    }

    /// The same, with tensors that hold no graph.
    pub(crate) fn detached(&self) -> Self {
        let detached = |tensor: &Option<Tensor>| tensor.as_ref().map(|tensor| Detached::from(tensor).into_inner());
        let (pred, target, mask) = (detached(&self.pred), detached(&self.target), detached(&self.mask));
        Self { pred, target, mask, ..self.clone() }
    }

    /// The same, of which the value of the batch is to be computed too.
    pub(crate) fn wanting_value(self) -> Self {
        Self { wants_value: true, ..self }
    }

    pub(crate) fn wants_value(&self) -> bool {
        self.wants_value
    }

    /// The same, with passes that the members of a collection share.
    pub(crate) fn sharing(self, passes: SharedPasses) -> Self {
        Self { shared: Some(Rc::new(passes)), ..self }
    }

    pub(crate) fn is_sharing(&self) -> bool {
        self.shared.is_some()
    }

    /// The shared passes of this type, if a metric of the collection asked for any.
    pub fn shared<P: 'static>(&self) -> Option<&P> {
        self.shared.as_ref()?.get()
    }
}

impl From<(&Tensor, &Tensor)> for Samples<'_> {
    fn from((pred, target): (&Tensor, &Tensor)) -> Self {
        Self::new(pred, target)
    }
}

/// Predictions, or features, without targets.
impl From<&Tensor> for Samples<'_> {
    fn from(pred: &Tensor) -> Self {
        Self { pred: Some(pred.clone()), ..Self::default() }
    }
}
