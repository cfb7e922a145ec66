//! What one batch adds to a state.

use candle_core::{DType, Device};
use metrics_detach::Detached;

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
        Self { images, fields: Vec::new() }
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

    /// How many images the batch has.
    pub fn images(&self) -> usize {
        self.images
    }

    /// The fields' numbers, in the order of `declared`, if these are its fields and each has one number per image.
    pub(super) fn into_columns(self, declared: &[&str]) -> Result<Vec<Vec<f64>>> {
        let Self { images, mut fields } = self;
        if images == 0 {
            return Err(Error::contribution("a batch must have at least one image"));
        }
        let mut columns = Vec::with_capacity(declared.len());
        for name in declared {
            let Some(index) = fields.iter().position(|(field, _)| field == name) else {
                return Err(Error::contribution(format!("the declared field `{name}` is missing")));
            };
            columns.push(fields.swap_remove(index).1.read(name, images)?);
        }
        match fields.first() {
            None => Ok(columns),
            Some((name, _)) if declared.contains(&name.as_str()) => {
                Err(Error::contribution(format!("the field `{name}` was given twice")))
            }
            Some((name, _)) => {
                Err(Error::contribution(format!("the field `{name}` is not declared; there is {}", list(declared))))
            }
        }
    }
}

impl Column {
    fn read(self, name: &str, images: usize) -> Result<Vec<f64>> {
        let wrong_shape = |shape: &[usize]| {
            Error::contribution(format!("the field `{name}` is {shape:?}, but one number per image is {:?}", [images]))
        };
        match self {
            Self::Values(values) if values.len() != images => Err(wrong_shape(&[values.len()])),
            Self::Values(values) => Ok(values),
            Self::Tensor(tensor) if tensor.dims() != [images] => Err(wrong_shape(tensor.dims())),
            Self::Tensor(tensor) if !tensor.dtype().is_float() => Err(Error::contribution(format!(
                "the field `{name}` is {}, but must be a float tensor",
                tensor.dtype().as_str()
            ))),
            // To the host first: not every device has f64.
            Self::Tensor(tensor) => Ok(tensor.to_device(&Device::Cpu)?.to_dtype(DType::F64)?.to_vec1()?),
        }
    }
}
