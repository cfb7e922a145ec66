//! Counting when a program waits for a device.

use std::cell::Cell;

use candle_core::{DType, Device, Result, Tensor};

thread_local! {
    static READS: Cell<u64> = const { Cell::new(0) };
}

/// How often this thread has read tensors back to the host through this crate and those on top of it: each time, on a GPU, it waited for
/// all that it had queued before.
///
/// ```
/// use candle_core::{Device, Tensor};
/// use metrics_detach::{DetachExt, host_reads};
///
/// let before = host_reads();
/// let loss = Tensor::new(&[0.5f32], &Device::Cpu)?.detached();
/// assert_eq!(host_reads(), before); // still on its device
/// assert_eq!(loss.to_f64()?, 0.5);
/// assert_eq!(host_reads(), before + 1);
/// # Ok::<(), candle_core::Error>(())
/// ```
pub fn host_reads() -> u64 {
    READS.get()
}

/// The numbers of a tensor, in row-major order.
pub(crate) fn read(tensor: &Tensor) -> Result<Vec<f64>> {
    READS.set(READS.get() + 1);
    // To the host first: not every device has f64.
    tensor.flatten_all()?.to_device(&Device::Cpu)?.to_dtype(DType::F64)?.to_vec1()
}
