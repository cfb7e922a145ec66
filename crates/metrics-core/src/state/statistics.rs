//! What one batch adds to a state.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::rc::Rc;

use candle_core::{DType, Device, Tensor, TensorId};
use metrics_detach::Detached;

use super::field::Field;
use super::host::Host;
use super::{HostBatch, Reduce};
use crate::error::list;
use crate::{Error, Reduction, Result};

/// What [`Statistics::scores`] and [`State::scores`](super::State::scores) call their field.
pub(crate) const SCORE: &str = "score";

/// What one batch of samples adds to a [`State`](crate::State): for each declared field, one number or array per sample.
///
/// Fields are detached on the way in, so they hold no graph. They are read back when a state accumulates them, or, where they are not
/// on the CPU, later: see [`State::accumulate`](crate::State::accumulate).
///
/// ```
/// use candle_core::{Device, Tensor};
/// use metrics_core::Statistics;
///
/// let errors = Tensor::new(&[0.9f32, 0.8, 0.7], &Device::Cpu)?;
/// let statistics = Statistics::new(3).with("error", &errors).with_values("pixels", vec![64.0; 3]);
/// assert_eq!(statistics.samples(), 3);
/// # Ok::<(), candle_core::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Statistics {
    samples: usize,
    /// One for each sample; `None` where all are 1.
    weights: Option<Vec<f64>>,
    fields: Vec<(String, Column)>,
    parts: Vec<Statistics>,
    value: BatchValue,
    /// Whether they are of a number of the loop instead of samples.
    of_numbers: bool,
}

/// Where the value of the batch alone comes from.
#[derive(Clone, Debug)]
pub(crate) enum BatchValue {
    /// It is computed of a state that has this batch alone.
    Computed,
    /// It is the reduction of the scores.
    Scores(Tensor),
    /// The metric gives it, without the weights of the samples.
    Given(Tensor),
    /// It is known, with the weights of the samples.
    Known(Tensor),
}

/// One row per sample.
#[derive(Clone, Debug)]
enum Column {
    Tensor(Detached),
    Values(Vec<f64>),
}

impl Statistics {
    /// Creates statistics of a batch of this many samples, without fields.
    pub fn new(samples: usize) -> Self {
        let value = BatchValue::Computed;
        Self { samples, weights: None, fields: Vec::new(), parts: Vec::new(), value, of_numbers: false }
    }

    /// Creates statistics of one score per sample, `[samples]`, for a state that declares [`State::scores`](crate::State::scores). The
    /// value of the batch is their reduction, with their gradient.
    ///
    /// # Errors
    /// When `scores` is not a list.
    pub fn scores(scores: &Tensor) -> Result<Self> {
        let &[samples] = scores.dims() else {
            let message = format!("`scores` is {:?}, but must have one number per sample", scores.dims());
            return Err(Error::argument("statistics", message));
        };
        Ok(Self { value: BatchValue::Scores(scores.clone()), ..Self::new(samples).with(SCORE, scores) })
    }

    /// Adds a field from a tensor on any device: `[samples]`, or `[samples, ...]` where the state declares arrays. Floats of any dtype, or
    /// integers for [`Reduce::Count`].
    pub fn with(mut self, name: impl Into<String>, values: impl Into<Detached>) -> Self {
        self.fields.push((name.into(), Column::Tensor(values.into())));
        self
    }

    /// Adds a field from numbers: one row for each sample, in row-major order.
    pub fn with_values(mut self, name: impl Into<String>, values: Vec<f64>) -> Self {
        self.fields.push((name.into(), Column::Values(values)));
        self
    }

    /// Sets the value of the batch alone, with its gradient: a scalar, or `[samples]` where the metric computes one number per sample.
    /// Without it, the value is computed of a state that has this batch alone, and has no gradient.
    pub fn with_value(mut self, value: Tensor) -> Self {
        self.value = BatchValue::Given(value);
        self
    }

    /// Adds what the next part of a [`State::of_parts`](crate::State::of_parts) gets: statistics of the same samples.
    pub(crate) fn with_part(mut self, part: Self) -> Self {
        self.parts.push(part.without_value());
        self
    }

    /// Gives each sample a weight, which must be finite and not negative. It counts in sums and means, and in mean and
    /// standard deviation of a summary. A sample of weight 0 is left out, as if it were not in the batch. Weights that are
    /// there already are multiplied.
    ///
    /// ```
    /// use metrics_core::{Reduction, State, Statistics};
    ///
    /// let mut state = State::scores(Reduction::Mean);
    /// let scores = Statistics::new(3).with_values("score", vec![1.0, 5.0, f64::NAN]);
    /// state.accumulate(scores.with_weights(&[3.0, 1.0, 0.0])?)?;
    /// assert_eq!((state.mean("score")?, state.samples()), (2.0, 2));
    /// # Ok::<(), metrics_core::Error>(())
    /// ```
    ///
    /// # Errors
    /// For weights that are negative, not finite, or not one for each sample, and for products that an f64 does not hold.
    pub fn with_weights(mut self, weights: &[f64]) -> Result<Self> {
        check_weights(weights, self.samples)?;
        self.multiply_weights(weights)?;
        Ok(self)
    }

    fn multiply_weights(&mut self, factors: &[f64]) -> Result<()> {
        let weights = match &self.weights {
            Some(weights) => weights.iter().zip(factors).map(|(weight, factor)| weight * factor).collect(),
            None => factors.to_vec(),
        };
        if let Some(sample) = weights.iter().position(|weight| !weight.is_finite()) {
            let message = format!("the weights of sample {sample} multiply to more than an f64 holds");
            return Err(Error::argument("weights", message));
        }
        self.weights = Some(weights);
        self.parts.iter_mut().try_for_each(|part| part.multiply_weights(factors))
    }

    /// How many samples the batch has, those of weight 0 included.
    pub fn samples(&self) -> usize {
        self.samples
    }

    /// With the weights of the batch, unless its samples are other things than these statistics are of.
    pub(crate) fn weighted(self, weights: Option<&[f64]>) -> Result<Self> {
        match weights {
            Some(weights) if !self.of_numbers => self.with_weights(weights),
            _ => Ok(self),
        }
    }

    /// Of one number of the loop, which the weights of samples do not concern.
    pub(crate) fn of_number(self) -> Self {
        Self { of_numbers: true, ..self }
    }

    /// Whether these are of numbers of the loop.
    pub(crate) fn is_of_number(&self) -> bool {
        self.of_numbers
    }

    /// Sets the value of the batch alone, with the weights of the samples.
    pub(crate) fn with_known_value(self, value: Tensor) -> Self {
        Self { value: BatchValue::Known(value), ..self }
    }

    /// Takes the value that is known.
    pub(crate) fn take_known(&mut self) -> Option<Tensor> {
        match self.take_value() {
            BatchValue::Known(value) => Some(value),
            BatchValue::Computed | BatchValue::Scores(_) | BatchValue::Given(_) => None,
        }
    }

    /// Takes the source of the batch's value, which holds a graph where the value has one.
    pub(crate) fn take_value(&mut self) -> BatchValue {
        std::mem::replace(&mut self.value, BatchValue::Computed)
    }

    pub(crate) fn without_value(mut self) -> Self {
        self.value = BatchValue::Computed;
        self
    }

    /// Whether the fields are those that are declared, each with one row per sample.
    pub(super) fn check(&self, declared: &[Field]) -> Result<()> {
        if self.samples == 0 {
            return Err(Error::statistics("a batch must have at least one sample"));
        }
        if let Some(missing) = declared.iter().find(|field| self.field(&field.name).is_none()) {
            return Err(Error::statistics(format!("the declared field `{}` is missing", missing.name)));
        }
        for (index, (name, column)) in self.fields.iter().enumerate() {
            let Some(field) = declared.iter().find(|field| field.name == *name) else {
                let names: Vec<_> = declared.iter().map(|field| &field.name).collect();
                let message = format!("the field `{name}` is not declared; there is {}", list(&names));
                return Err(Error::statistics(message));
            };
            if self.fields[..index].iter().any(|(other, _)| other == name) {
                return Err(Error::statistics(format!("the field `{name}` was given twice")));
            }
            column.check(field, self.samples)?;
        }
        Ok(())
    }

    /// The numbers, with those of the parts; the statistics were [checked](Self::check) against what is declared, and their tensors
    /// were read.
    pub(super) fn read(&self, declared: &[Field], host: &Host, parts: Vec<HostBatch>) -> HostBatch {
        let columns = declared.iter().filter_map(|field| self.field(&field.name)).map(|column| column.read(host));
        HostBatch { samples: self.samples, weights: self.weights.clone(), columns: columns.collect(), parts }
    }

    /// The tensors among the fields, those of the parts included.
    pub(super) fn tensors(&self) -> Box<dyn Iterator<Item = &Detached> + '_> {
        let own = self.fields.iter().filter_map(|(_, column)| match column {
            Column::Tensor(tensor) => Some(tensor),
            Column::Values(_) => None,
        });
        Box::new(own.chain(self.parts.iter().flat_map(Self::tensors)))
    }

    /// The same, without the larger tensors that its tensors may be views of.
    pub(super) fn compact(mut self) -> Result<Self> {
        self.compact_with(&mut HashMap::new())?;
        Ok(self)
    }

    /// A tensor that is in several parts is copied once.
    fn compact_with(&mut self, compacted: &mut HashMap<TensorId, Detached>) -> Result<()> {
        for (_, column) in &mut self.fields {
            let Column::Tensor(tensor) = column else { continue };
            *tensor = match compacted.entry(tensor.id()) {
                Entry::Occupied(entry) => entry.get().clone(),
                Entry::Vacant(entry) => entry.insert(tensor.compact()?).clone(),
            };
        }
        self.parts.iter_mut().try_for_each(|part| part.compact_with(compacted))
    }

    /// What the parts of a state get.
    pub(super) fn parts(&self) -> &[Self] {
        &self.parts
    }

    /// How many samples have a weight above 0.
    pub(super) fn weighted_samples(&self) -> usize {
        let weights = self.weights.iter().flatten();
        self.samples - weights.filter(|weight| **weight == 0.0).count()
    }

    /// Memory of numbers and tensors.
    pub(super) fn bytes(&self) -> usize {
        let weights = self.weights.as_ref().map_or(0, |weights| size_of_val(weights.as_slice()));
        let fields = self.fields.iter().map(|(name, column)| name.len() + column.bytes());
        let parts: usize = self.parts.iter().map(Self::bytes).sum();
        size_of::<Self>() + weights + fields.sum::<usize>() + parts
    }

    fn field(&self, name: &str) -> Option<&Column> {
        self.fields.iter().find(|(field, _)| field == name).map(|(_, column)| column)
    }
}

/// Whether there is one weight for each of so many samples, finite and not negative.
pub(crate) fn check_weights(weights: &[f64], samples: usize) -> Result<()> {
    if weights.len() != samples {
        let message = format!("`weights` has length {}, but the batch has {samples} samples", weights.len());
        return Err(Error::argument("weights", message));
    }
    match weights.iter().enumerate().find(|(_, weight)| !(weight.is_finite() && **weight >= 0.0)) {
        None => Ok(()),
        Some((sample, weight)) => {
            let message = format!("the weight of sample {sample} is {weight}, but must be finite and not negative");
            Err(Error::argument("weights", message))
        }
    }
}

/// The value of a batch whose samples have these scores: a scalar, or `[samples]` for [`Reduction::None`]. A summary's is its mean.
/// Samples of weight 0 are left out, so that a NaN of theirs does not matter.
pub(crate) fn reduce(scores: &Tensor, weights: Option<&[f64]>, reduction: Reduction, dtype: DType) -> Result<Tensor> {
    let scores = scores.to_dtype(dtype)?;
    let Some(weights) = weights else {
        return Ok(match reduction {
            Reduction::Mean | Reduction::Summary => scores.mean_all()?,
            Reduction::Sum => scores.sum_all()?,
            Reduction::None => scores,
        });
    };
    check_weights(weights, scores.elem_count())?;
    let included: Vec<u32> =
        (0..).zip(weights).filter(|(_, weight)| **weight != 0.0).map(|(sample, _)| sample).collect();
    if included.is_empty() {
        let none = if reduction == Reduction::None {
            scores.narrow(0, 0, 0)?
        } else {
            scores.sum_all()?.affine(0.0, f64::NAN)?
        };
        return Ok(none.detach());
    }
    let scores = scores.index_select(&Tensor::new(&included[..], scores.device())?, 0)?;
    if reduction == Reduction::None {
        return Ok(scores);
    }
    // Divided in f64, so that weights of any size have room in f32.
    let total = if reduction == Reduction::Sum { 1.0 } else { weights.iter().sum() };
    let weights: Vec<f64> = weights.iter().filter(|weight| **weight != 0.0).map(|weight| weight / total).collect();
    let weights = Tensor::new(&weights[..], &Device::Cpu)?.to_dtype(dtype)?.to_device(scores.device())?;
    Ok((scores * weights)?.sum_all()?)
}

impl Column {
    fn check(&self, field: &Field, samples: usize) -> Result<()> {
        let Field { name, reduce, .. } = field;
        match self {
            Self::Tensor(tensor) => {
                let dims = tensor.dims();
                let fits = match reduce.shape() {
                    Some(shape) => dims.split_first() == Some((&samples, &shape)),
                    None => dims.first() == Some(&samples),
                };
                let counts = matches!(reduce, Reduce::Count(_));
                if fits && tensor.dtype().is_float() != counts {
                    return Ok(());
                }
                if fits {
                    let (dtype, expected) = (tensor.dtype().as_str(), if counts { "integers" } else { "floats" });
                    return Err(Error::statistics(format!("the field `{name}` is {dtype}, but must have {expected}")));
                }
                Err(wrong_shape(field, samples, &format!("{dims:?}")))
            }
            Self::Values(values) => {
                let fits = match reduce.shape() {
                    Some(_) => reduce.width().checked_mul(samples) == Some(values.len()),
                    None => values.len().is_multiple_of(samples),
                };
                if fits { Ok(()) } else { Err(wrong_shape(field, samples, &format!("[{}]", values.len()))) }
            }
        }
    }

    fn read(&self, host: &Host) -> Rc<[f64]> {
        match self {
            Self::Values(values) => values.as_slice().into(),
            Self::Tensor(tensor) => host.numbers(tensor),
        }
    }

    fn bytes(&self) -> usize {
        match self {
            Self::Values(values) => size_of_val(values.as_slice()),
            Self::Tensor(tensor) => tensor.elem_count() * tensor.dtype().size_in_bytes(),
        }
    }
}

fn wrong_shape(Field { name, reduce, .. }: &Field, samples: usize, found: &str) -> Error {
    let expected = match reduce.shape() {
        Some(shape) if shape.is_empty() => format!("one number per sample is [{samples}]"),
        Some(shape) => format!("one array {shape:?} per sample of {samples} is expected"),
        None => format!("integers of {samples} samples, [{samples}, ...], are expected"),
    };
    Error::statistics(format!("the field `{name}` is {found}, but {expected}"))
}
