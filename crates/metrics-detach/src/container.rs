//! [`Detach`]: collections of tensors, detached element by element.

use std::collections::{BTreeMap, HashMap};
use std::hash::{BuildHasher, Hash};

use candle_core::{Tensor, Var};

use crate::{DetachExt, Detached};

/// Anything made of tensors that can be had without their graphs: a tensor, and vectors, slices, arrays, tuples of up to four,
/// maps and options of such things, in any nesting. Plain values (numbers, `bool`, `String`) pass through unchanged.
///
/// Implement it for a model's output struct and that struct can be kept from one step to the next without its graph:
///
/// ```
/// use candle_core::{Device, Tensor, Var};
/// use metrics_detach::{Detach, Detached};
///
/// struct Output { restored: Tensor, features: Vec<Tensor> }
/// struct Kept { restored: Detached, features: Vec<Detached> }
///
/// impl Detach for Output {
///     type Output = Kept;
///     fn to_detached(&self) -> Kept {
///         Kept { restored: self.restored.to_detached(), features: self.features.to_detached() }
///     }
/// }
///
/// let weight = Var::new(1f32, &Device::Cpu)?;
/// let output = Output { restored: weight.exp()?, features: vec![weight.sqr()?, weight.affine(2., 0.)?] };
/// let kept = output.to_detached();
/// assert!(!kept.restored.track_op() && kept.features.iter().all(|t| !t.track_op()));
/// # Ok::<(), candle_core::Error>(())
/// ```
pub trait Detach {
    /// The same shape of data, with [`Detached`] in place of each tensor.
    type Output;

    /// A copy of the container whose tensors share their storages with the originals but none of their graphs.
    fn to_detached(&self) -> Self::Output;
}

impl Detach for Tensor {
    type Output = Detached;

    fn to_detached(&self) -> Detached {
        self.detached()
    }
}

impl Detach for Var {
    type Output = Detached;

    fn to_detached(&self) -> Detached {
        self.into()
    }
}

impl Detach for Detached {
    type Output = Detached;

    fn to_detached(&self) -> Detached {
        self.clone()
    }
}

impl<T: Detach + ?Sized> Detach for &T {
    type Output = T::Output;

    fn to_detached(&self) -> T::Output {
        (**self).to_detached()
    }
}

impl<T: Detach> Detach for Box<T> {
    type Output = Box<T::Output>;

    fn to_detached(&self) -> Self::Output {
        Box::new((**self).to_detached())
    }
}

impl<T: Detach> Detach for Option<T> {
    type Output = Option<T::Output>;

    fn to_detached(&self) -> Self::Output {
        self.as_ref().map(Detach::to_detached)
    }
}

impl<T: Detach> Detach for [T] {
    type Output = Vec<T::Output>;

    fn to_detached(&self) -> Self::Output {
        self.iter().map(Detach::to_detached).collect()
    }
}

impl<T: Detach> Detach for Vec<T> {
    type Output = Vec<T::Output>;

    fn to_detached(&self) -> Self::Output {
        self.as_slice().to_detached()
    }
}

impl<T: Detach, const N: usize> Detach for [T; N] {
    type Output = [T::Output; N];

    fn to_detached(&self) -> Self::Output {
        self.each_ref().map(Detach::to_detached)
    }
}

impl<K, V, S> Detach for HashMap<K, V, S>
where
    K: Clone + Eq + Hash,
    V: Detach,
    S: BuildHasher + Clone,
{
    type Output = HashMap<K, V::Output, S>;

    fn to_detached(&self) -> Self::Output {
        let mut detached = HashMap::with_capacity_and_hasher(self.len(), self.hasher().clone());
        detached.extend(self.iter().map(|(key, value)| (key.clone(), value.to_detached())));
        detached
    }
}

impl<K: Clone + Ord, V: Detach> Detach for BTreeMap<K, V> {
    type Output = BTreeMap<K, V::Output>;

    fn to_detached(&self) -> Self::Output {
        self.iter().map(|(key, value)| (key.clone(), value.to_detached())).collect()
    }
}

macro_rules! detach_tuples {
    ($(($($element:ident . $index:tt),+))+) => {$(
        impl<$($element: Detach),+> Detach for ($($element,)+) {
            type Output = ($($element::Output,)+);

            fn to_detached(&self) -> Self::Output {
                ($(self.$index.to_detached(),)+)
            }
        }
    )+};
}

detach_tuples! {
    (A.0)
    (A.0, B.1)
    (A.0, B.1, C.2)
    (A.0, B.1, C.2, D.3)
}

macro_rules! detach_plain_values {
    ($($plain:ty),+) => {$(
        impl Detach for $plain {
            type Output = $plain;

            fn to_detached(&self) -> $plain {
                self.clone()
            }
        }
    )+};
}

detach_plain_values!((), bool, u8, u16, u32, u64, usize, i8, i16, i32, i64, isize, f32, f64, String);
