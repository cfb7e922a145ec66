//! Tensors read back to the host, together.

use std::collections::{HashMap, HashSet};
use std::rc::Rc;

use candle_core::{DType, DeviceLocation, Tensor, TensorId};
use metrics_detach::Detached;

use crate::Result;

/// The numbers of tensors, by tensor.
#[derive(Default)]
pub(super) struct Host(HashMap<TensorId, Rc<[f64]>>);

impl Host {
    /// One transfer for each device and dtype, and each tensor once.
    pub(super) fn read<'a>(tensors: impl IntoIterator<Item = &'a Detached>) -> Result<Self> {
        let mut groups: Vec<((DeviceLocation, DType), Vec<&Tensor>)> = Vec::new();
        let mut seen = HashSet::new();
        for tensor in tensors.into_iter().filter(|tensor| seen.insert(tensor.id())) {
            let kind = (tensor.device().location(), tensor.dtype());
            match groups.iter_mut().find(|(other, _)| *other == kind) {
                Some((_, group)) => group.push(tensor),
                None => groups.push((kind, vec![tensor])),
            }
        }
        let mut host = Self::default();
        for (_, group) in groups {
            let lists: Vec<Tensor> =
                group.iter().map(|tensor| tensor.flatten_all()).collect::<candle_core::Result<_>>()?;
            let mut numbers = Detached::from(Tensor::cat(&lists, 0)?).to_vec_f64()?.into_iter();
            for tensor in group {
                host.0.insert(tensor.id(), numbers.by_ref().take(tensor.elem_count()).collect());
            }
        }
        Ok(host)
    }

    /// The numbers of a tensor that was read.
    pub(super) fn numbers(&self, tensor: &Detached) -> Rc<[f64]> {
        self.0.get(&tensor.id()).cloned().unwrap_or_default()
    }
}
