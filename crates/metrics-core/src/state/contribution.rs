//! What one batch adds to a state.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use candle_core::TensorId;
use metrics_detach::Detached;

use super::HostBatch;
use super::host::Host;
use crate::error::list;
use crate::{Error, Result};

/// What one batch of images adds to a [`State`](crate::State): for each declared field, one number per image.
///
/// Tensors are detached on the way in, so a contribution holds no graph. They are read back when a state absorbs them, or,
/// where they are not on the CPU, later: see [`State::absorb`](crate::State::absorb).
///
/// ```
/// use candle_core::{Device, Tensor};
/// use metrics_core::Contribution;
///
/// let scores = Tensor::new(&[0.9f32, 0.8, 0.7], &Device::Cpu)?;
/// let contribution = Contribution::new(3).with("score", &scores).with_values("pixels", vec![64.0; 3]);
/// assert_eq!(contribution.images(), 3);
/// # Ok::<(), candle_core::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Contribution {
    images: usize,
    /// Whether it is of an update instead of images.
    once: bool,
    /// Whether it cannot be absorbed until each image has a label.
    unlabelled: bool,
    /// Factors of the images' weights.
    weights: Vec<Vec<f64>>,
    /// Factors that the parts have already.
    own_weights: Vec<Vec<f64>>,
    fields: Vec<(String, Column)>,
    parts: Vec<Contribution>,
}

/// One number per image.
#[derive(Clone, Debug)]
enum Column {
    Tensor(Detached),
    Values(Vec<f64>),
}

impl Contribution {
    /// Of a batch of this many images, without fields yet.
    pub fn new(images: usize) -> Self {
        Self {
            images,
            once: false,
            unlabelled: false,
            weights: Vec::new(),
            own_weights: Vec::new(),
            fields: Vec::new(),
            parts: Vec::new(),
        }
    }

    /// Of one number for each field, that of the update as a whole, which weights of images do not concern.
    pub fn of_update() -> Self {
        Self { once: true, ..Self::new(1) }
    }

    /// Adds a field from a tensor `[images]` of any float dtype, on any device.
    pub fn with(mut self, name: impl Into<String>, values: impl Into<Detached>) -> Self {
        self.fields.push((name.into(), Column::Tensor(values.into())));
        self
    }

    /// Adds a field from numbers, one per image.
    pub fn with_values(mut self, name: impl Into<String>, values: Vec<f64>) -> Self {
        self.fields.push((name.into(), Column::Values(values)));
        self
    }

    /// Adds what the next part of a [`State::of_parts`](crate::State::of_parts) gets: a contribution of the same images, or
    /// [of the update](Self::of_update). Weights of the whole multiply those that a part has.
    pub fn with_part(mut self, part: Self) -> Self {
        self.parts.push(part);
        self
    }

    /// Refuses to be absorbed while the images have no labels.
    pub(crate) fn needing_labels(self) -> Self {
        Self { unlabelled: true, ..self }
    }

    /// To be absorbed by the part of one label.
    pub(crate) fn labelled(self) -> Self {
        Self { unlabelled: false, ..self }
    }

    pub(crate) fn needs_labels(&self) -> bool {
        self.unlabelled
    }

    /// Gives each image a weight, which must be finite and not negative. It counts in sums and means, and in mean and
    /// standard deviation of a summary. An image of weight 0 is left out, as if it were not in the batch. Weights that are
    /// there already are multiplied.
    ///
    /// ```
    /// use metrics_core::{Contribution, Reduction, State};
    ///
    /// let mut state = State::for_reduction("score", Reduction::Mean);
    /// let scores = Contribution::new(3).with_values("score", vec![1.0, 5.0, f64::NAN]);
    /// state.absorb(scores.with_weights(vec![3.0, 1.0, 0.0]))?;
    /// assert_eq!((state.mean("score")?, state.images()), (2.0, 2));
    /// # Ok::<(), metrics_core::Error>(())
    /// ```
    pub fn with_weights(mut self, weights: Vec<f64>) -> Self {
        self.weights.push(weights);
        self
    }

    /// As [`with_weights`](Self::with_weights), where the parts that are there have been given these weights before.
    pub(crate) fn with_weights_of_parts(mut self, weights: &[f64]) -> Self {
        self.own_weights.push(weights.to_vec());
        self
    }

    fn all_weights(&self) -> impl Iterator<Item = &Vec<f64>> {
        self.weights.iter().chain(&self.own_weights)
    }

    /// How many images the batch has, those of weight 0 included.
    pub fn images(&self) -> usize {
        self.images
    }

    /// Whether `declared` are its fields, each with one float per image, and its weights are weights.
    pub(super) fn check(&self, declared: &[&str]) -> Result<()> {
        if self.images == 0 {
            return Err(Error::contribution("a batch must have at least one image"));
        }
        if self.unlabelled {
            return Err(Error::contribution("the images have no labels, but must have: see `update_labelled`"));
        }
        if let Some(missing) = declared.iter().find(|name| self.field(name).is_none()) {
            return Err(Error::contribution(format!("the declared field `{missing}` is missing")));
        }
        for (index, (name, column)) in self.fields.iter().enumerate() {
            if !declared.contains(&name.as_str()) {
                let message = format!("the field `{name}` is not declared; there is {}", list(declared));
                return Err(Error::contribution(message));
            }
            if self.fields[..index].iter().any(|(other, _)| other == name) {
                return Err(Error::contribution(format!("the field `{name}` was given twice")));
            }
            column.check(name, self.images)?;
        }
        self.all_weights().try_for_each(|weights| self.check_weights(weights))
    }

    fn check_weights(&self, weights: &[f64]) -> Result<()> {
        if weights.len() != self.images {
            let (weights, images) = (weights.len(), self.images);
            return Err(Error::contribution(format!(
                "`weights` has length {weights}, but the batch has {images} images"
            )));
        }
        match weights.iter().enumerate().find(|(_, weight)| !(weight.is_finite() && **weight >= 0.0)) {
            None => Ok(()),
            Some((image, weight)) => {
                let message = format!("the weight of image {image} is {weight}, but must be finite and not negative");
                Err(Error::contribution(message))
            }
        }
    }

    /// The numbers, with those of the parts; the contribution was [checked](Self::check) against `declared`, and its tensors
    /// were read.
    pub(super) fn read(&self, declared: &[&str], host: &Host, parts: Vec<HostBatch>) -> HostBatch {
        let columns = declared.iter().filter_map(|name| self.field(name)).map(|column| column.read(host)).collect();
        let mut batch = HostBatch { images: self.images, once: self.once, weights: None, columns, parts };
        self.own_weights.iter().for_each(|weights| batch.reweigh(weights));
        self.weights.iter().fold(batch, |batch, weights| batch.reweighted(weights))
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
    pub(crate) fn parts(&self) -> &[Self] {
        &self.parts
    }

    pub(super) fn is_once(&self) -> bool {
        self.once
    }

    /// How many images have a weight above 0; the contribution was checked.
    pub(super) fn weighted_images(&self) -> usize {
        if self.all_weights().next().is_none() {
            return self.images;
        }
        let is_left_out = |image: &usize| self.all_weights().any(|weights| weights[*image] == 0.0);
        self.images - (0..self.images).filter(is_left_out).count()
    }

    /// Memory of numbers and tensors.
    pub(super) fn bytes(&self) -> usize {
        let weights: usize = self.all_weights().map(|weights| size_of_val(weights.as_slice())).sum();
        let fields = self.fields.iter().map(|(name, column)| name.len() + column.bytes());
        let parts: usize = self.parts.iter().map(Self::bytes).sum();
        size_of::<Self>() + weights + fields.sum::<usize>() + parts
    }

    fn field(&self, name: &str) -> Option<&Column> {
        self.fields.iter().find(|(field, _)| field == name).map(|(_, column)| column)
    }
}

impl Column {
    fn check(&self, name: &str, images: usize) -> Result<()> {
        let values;
        let shape = match self {
            Self::Tensor(tensor) => tensor.dims(),
            Self::Values(list) => {
                values = [list.len()];
                &values
            }
        };
        if shape != [images] {
            let message = format!("the field `{name}` is {shape:?}, but one number per image is {:?}", [images]);
            return Err(Error::contribution(message));
        }
        match self {
            Self::Tensor(tensor) if !tensor.dtype().is_float() => {
                let dtype = tensor.dtype().as_str();
                Err(Error::contribution(format!("the field `{name}` is {dtype}, but must be a float tensor")))
            }
            _ => Ok(()),
        }
    }

    fn read(&self, host: &Host) -> Vec<f64> {
        match self {
            Self::Values(values) => values.clone(),
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
