//! [`Detached`]: a tensor that cannot hold a graph.

use std::fmt;
use std::ops::Deref;

use candle_core::{Result, Tensor, Var, bail};

use crate::reads::read;
use crate::storage;

/// A tensor without a graph: [`Tensor::track_op`] is `false` for as long as the value lives.
///
/// Making one costs no copy, whatever the size: it shares the storage of the tensor that it came from and only leaves behind the
/// chain of operations. A `Detached` goes wherever a `&Tensor` is wanted, and every operation on it gives a plain, untracked
/// [`Tensor`] unless its other operand is tracked.
///
/// A struct field, a return type or a list of this type therefore *shows* that it holds values only, which a bare `Tensor`
/// cannot.
///
/// ```
/// use candle_core::{Device, Tensor, Var};
/// use metrics_detach::{DetachExt, Detached};
///
/// let weight = Var::new(&[1f32, 2.], &Device::Cpu)?;
/// let loss = weight.sqr()?.sum_all()?;
/// assert!(loss.track_op());
///
/// let mut history: Vec<Detached> = Vec::new();
/// history.push(loss.detached());
/// assert!(!history[0].track_op());
/// assert_eq!(history[0].to_scalar::<f32>()?, 5.);
/// # Ok::<(), candle_core::Error>(())
/// ```
///
/// # What is still shared
///
/// The storage. Two things follow:
///
/// - A `Detached` made from a [`Var`] shows the variable's *present* values: it follows every optimiser step. For a snapshot,
///   take [`force_contiguous`](Tensor::force_contiguous) of it.
/// - A `Detached` made from a view (say one row of a batch) keeps the whole batch in memory. [`compact`](Self::compact) keeps
///   the row only.
#[derive(Clone)]
pub struct Detached(Tensor);

impl Detached {
    /// The tensor itself, still without a graph.
    pub fn into_inner(self) -> Tensor {
        self.0
    }

    /// The same values in a storage of exactly their size, so that a view no longer keeps a larger tensor in memory.
    ///
    /// A tensor that fills its storage already, or that is a broadcast of fewer elements, is returned as it is. The length of a
    /// storage can be seen on the CPU only: on other devices the values are always copied. ([`Tensor::copy`] and
    /// [`Tensor::contiguous`] do not do this: they keep or clone the whole storage.)
    ///
    /// ```
    /// use candle_core::{DType, Device, Tensor};
    /// use metrics_detach::{DetachExt, GraphStats};
    ///
    /// let batch = Tensor::zeros((32, 3, 64, 64), DType::F32, &Device::Cpu)?;
    /// let pixel = batch.narrow(3, 0, 1)?.narrow(2, 0, 1)?.narrow(0, 0, 1)?.detached();
    /// let compact = pixel.compact()?;
    /// assert_eq!(GraphStats::of(&pixel).bytes, 32 * 3 * 64 * 64 * 4);
    /// assert_eq!(GraphStats::of(&compact).bytes, 3 * 4);
    /// # Ok::<(), candle_core::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// The device's own, when the copy cannot be allocated.
    pub fn compact(&self) -> Result<Self> {
        let needed = self.0.elem_count() * self.0.dtype().size_in_bytes();
        match storage::exact_bytes(&self.0) {
            Some(held) if held <= needed => Ok(self.clone()),
            _ => self.0.force_contiguous().map(Self::from),
        }
    }
}

/// Reading back.
impl Detached {
    /// The value of a tensor of one element, as a plain number: the smallest thing to keep of a step. A tensor costs some
    /// hundred bytes beside its element.
    ///
    /// Exact for float types. On a GPU this waits for the value; where that matters, keep the `Detached` and read it later.
    ///
    /// ```
    /// use candle_core::{Device, Var};
    /// use metrics_detach::DetachExt;
    ///
    /// let weight = Var::new(&[1f32, 2.], &Device::Cpu)?;
    /// let curve: Vec<f64> = vec![weight.sqr()?.sum_all()?.detached().to_f64()?];
    /// assert_eq!(curve, [5.]);
    ///
    /// let error = weight.as_tensor().detached().to_f64().unwrap_err();
    /// assert!(error.to_string().starts_with("to_f64: the tensor is [2], but must have one element"));
    /// # Ok::<(), candle_core::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// When there is not exactly one element; and the device's own, when it cannot be read.
    pub fn to_f64(&self) -> Result<f64> {
        if self.0.elem_count() != 1 {
            bail!("to_f64: the tensor is {:?}, but must have one element", self.0.dims());
        }
        Ok(self.to_vec_f64()?[0])
    }

    /// All values as plain numbers, in row-major order; exact for float types. On a GPU this waits for them.
    ///
    /// # Errors
    ///
    /// The device's own, when it cannot be read.
    pub fn to_vec_f64(&self) -> Result<Vec<f64>> {
        read(&self.0)
    }
}

impl From<Tensor> for Detached {
    fn from(tensor: Tensor) -> Self {
        if tensor.track_op() { Self(tensor.detach()) } else { Self(tensor) }
    }
}

impl From<&Tensor> for Detached {
    fn from(tensor: &Tensor) -> Self {
        Self(tensor.detach())
    }
}

impl From<&Var> for Detached {
    fn from(var: &Var) -> Self {
        Self(var.as_detached_tensor())
    }
}

impl From<Detached> for Tensor {
    fn from(detached: Detached) -> Self {
        detached.0
    }
}

impl Deref for Detached {
    type Target = Tensor;

    fn deref(&self) -> &Tensor {
        &self.0
    }
}

impl AsRef<Tensor> for Detached {
    fn as_ref(&self) -> &Tensor {
        &self.0
    }
}

impl fmt::Debug for Detached {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Detached").field(&self.0).finish()
    }
}

impl fmt::Display for Detached {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// [`detached`](Self::detached) for a tensor. Collections of tensors have [`Detach`](crate::Detach).
pub trait DetachExt {
    /// The same values without the graph, sharing the storage. Unlike [`Tensor::detach`] the result says so in its type.
    fn detached(&self) -> Detached;
}

impl DetachExt for Tensor {
    fn detached(&self) -> Detached {
        self.into()
    }
}
