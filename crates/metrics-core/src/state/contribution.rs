//! What one batch adds to a state.

use candle_core::{DType, Device};
use metrics_detach::Detached;

use super::Batch;
use crate::error::list;
use crate::{Error, Result};

/// What one batch of images adds to a [`State`](crate::State): for each declared field, one number per image.
///
/// Tensors are detached on the way in, so a contribution holds no graph. They are read back when a state absorbs them.
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
    weights: Option<Vec<f64>>,
    fields: Vec<(String, Column)>,
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
        Self { images, weights: None, fields: Vec::new() }
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

    /// Gives each image a weight, which must be finite and not negative. It counts in sums and means, and in mean and
    /// standard deviation of a summary. An image of weight 0 is left out, as if it were not in the batch.
    pub fn with_weights(mut self, weights: Vec<f64>) -> Self {
        self.weights = Some(weights);
        self
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
        self.check_weights()
    }

    fn check_weights(&self) -> Result<()> {
        let Some(weights) = &self.weights else { return Ok(()) };
        if weights.len() != self.images {
            let (weights, images) = (weights.len(), self.images);
            return Err(Error::contribution(format!("there are {weights} weights for {images} images")));
        }
        match weights.iter().enumerate().find(|(_, weight)| !(weight.is_finite() && **weight >= 0.0)) {
            None => Ok(()),
            Some((image, weight)) => {
                let message = format!("the weight of image {image} is {weight}, but must be finite and not negative");
                Err(Error::contribution(message))
            }
        }
    }

    /// The numbers, read back; the contribution was [checked](Self::check) against `declared`.
    pub(super) fn read(self, declared: &[&str]) -> Result<Batch> {
        let columns = declared.iter().filter_map(|name| self.field(name)).map(Column::read).collect::<Result<_>>()?;
        Ok(Batch { images: self.images, weights: self.weights, columns })
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

    fn read(&self) -> Result<Vec<f64>> {
        match self {
            Self::Values(values) => Ok(values.clone()),
            // To the host first: not every device has f64.
            Self::Tensor(tensor) => Ok(tensor.to_device(&Device::Cpu)?.to_dtype(DType::F64)?.to_vec1()?),
        }
    }
}
