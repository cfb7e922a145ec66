//! What can be learnt about a tensor's storage from outside Candle: which one it is, and how large.

use candle_core::{CpuStorage, Layout, Storage, Tensor};

/// The storage's address. Equal addresses mean the same storage, provided that both tensors are alive.
pub(crate) fn address(tensor: &Tensor) -> usize {
    let (storage, _) = tensor.storage_and_layout();
    std::ptr::from_ref::<Storage>(&storage).addr()
}

/// The size of the whole storage in bytes; `None` where Candle does not tell it, which is on every device but the CPU.
pub(crate) fn exact_bytes(tensor: &Tensor) -> Option<usize> {
    match &*tensor.storage_and_layout().0 {
        Storage::Cpu(storage) => Some(cpu_bytes(storage)),
        Storage::Cuda(_) | Storage::Metal(_) => None,
    }
}

/// The bytes of the storage that are known to exist: all of it on the CPU, elsewhere up to the last element in view.
pub(crate) fn known_bytes(tensor: &Tensor) -> usize {
    exact_bytes(tensor).unwrap_or_else(|| extent(tensor.layout()) * tensor.dtype().size_in_bytes())
}

/// The number of elements from the start of the storage to the last one that the layout reaches.
fn extent(layout: &Layout) -> usize {
    if layout.dims().contains(&0) {
        return 0;
    }
    let last: usize = layout.dims().iter().zip(layout.stride()).map(|(dim, stride)| (dim - 1) * stride).sum();
    layout.start_offset() + last + 1
}

fn cpu_bytes(storage: &CpuStorage) -> usize {
    match storage {
        CpuStorage::U8(v) => size_of_val(v.as_slice()),
        CpuStorage::U32(v) => size_of_val(v.as_slice()),
        CpuStorage::I16(v) => size_of_val(v.as_slice()),
        CpuStorage::I32(v) => size_of_val(v.as_slice()),
        CpuStorage::I64(v) => size_of_val(v.as_slice()),
        CpuStorage::BF16(v) => size_of_val(v.as_slice()),
        CpuStorage::F16(v) => size_of_val(v.as_slice()),
        CpuStorage::F32(v) => size_of_val(v.as_slice()),
        CpuStorage::F64(v) => size_of_val(v.as_slice()),
        CpuStorage::F8E4M3(v) => size_of_val(v.as_slice()),
        CpuStorage::F6E2M3(v) | CpuStorage::F6E3M2(v) | CpuStorage::F4(v) | CpuStorage::F8E8M0(v) => v.len(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::{DType, Device, Result};

    #[test]
    fn extent_reaches_the_last_element_in_view() -> Result<()> {
        let t = Tensor::zeros((4, 6), DType::F32, &Device::Cpu)?;
        assert_eq!(extent(t.layout()), 24);
        assert_eq!(extent(t.t()?.layout()), 24);
        assert_eq!(extent(t.narrow(0, 1, 2)?.layout()), 18);
        assert_eq!(extent(t.narrow(1, 1, 2)?.layout()), 21);
        assert_eq!(extent(t.narrow(0, 3, 1)?.broadcast_as((9, 6))?.layout()), 24);
        assert_eq!(extent(t.narrow(0, 3, 0)?.layout()), 0);
        Ok(())
    }

    #[test]
    fn a_view_knows_the_bytes_of_its_whole_storage() -> Result<()> {
        for dtype in [DType::U8, DType::U32, DType::I64, DType::BF16, DType::F16, DType::F32, DType::F64] {
            let t = Tensor::zeros((4, 6), dtype, &Device::Cpu)?;
            let row = t.narrow(0, 1, 1)?;
            assert_eq!(known_bytes(&row), 24 * dtype.size_in_bytes(), "{dtype:?}");
            assert_eq!(address(&row), address(&t));
            assert_ne!(address(&row.force_contiguous()?), address(&t));
        }
        Ok(())
    }
}
