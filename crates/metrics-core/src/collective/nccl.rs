//! NCCL, through Candle's bindings.

use std::fmt::Debug;
use std::sync::Arc;

use candle_core::Device;
use candle_core::cuda_backend::cudarc::driver::{CudaStream, DeviceRepr, ValidAsZeroBits};
use candle_core::cuda_backend::cudarc::nccl::{Comm, Id, safe::NcclType};

use super::Collective;
use crate::{Error, Result};

/// Processes, or threads of one process, that have a GPU each, and exchange over NVLink or the network cards next to the GPUs.
///
/// A state is a few kilobytes that come from host memory and go back there, so this is not faster than MPI. It is for programs that
/// have NCCL running already and nothing else that reaches all processes.
///
/// NCCL waits without end for a process that is gone; ending the others is the launcher's work, as `mpirun` does it.
///
/// ```no_run
/// use candle_core::Device;
/// use metrics_core::{Collective, Nccl, Solo};
///
/// let mut alone = Nccl::new(&Device::new_cuda(0)?, &mut Solo)?;
/// assert_eq!(alone.all_gather(b"state")?, [b"state"]);
/// # Ok::<(), metrics_core::Error>(())
/// ```
pub struct Nccl {
    comm: Comm,
    stream: Arc<CudaStream>,
}

impl Nccl {
    /// A group of the members of `others`, another engine, through which rank 0 lets the rest know where to find it: `Mpi` between
    /// processes, [`Threads`](crate::Threads) within one, [`Solo`](crate::Solo) for a single GPU. Each needs a GPU of its own.
    ///
    /// # Errors
    /// When a member's device is not a CUDA device, which is an error for all; and when NCCL cannot start.
    pub fn new(device: &Device, others: &mut dyn Collective) -> Result<Self> {
        let stream = device.as_cuda_device().map(|device| device.cuda_stream());
        let offer = match (&stream, others.rank()) {
            (Err(error), _) => Err(error.to_string()),
            (Ok(_), 0) => {
                Id::new().map(|id| id.internal().map(|byte| byte as u8).to_vec()).map_err(|e| format!("{e:?}"))
            }
            (Ok(_), _) => Ok(Vec::new()),
        };
        // The first byte tells an error.
        let message = match offer {
            Ok(id) => [&[0], &id[..]].concat(),
            Err(error) => [&[1], error.as_bytes()].concat(),
        };
        let offers = others.all_gather(&message)?;
        for (rank, offer) in offers.iter().enumerate() {
            if let [1, error @ ..] = &offer[..] {
                let error = String::from_utf8_lossy(error);
                return Err(Error::collective(format!("rank {rank} cannot use NCCL: {error}")));
            }
        }
        let id = offers.first().and_then(|offer| <[u8; 128]>::try_from(offer.get(1..)?).ok());
        let id = id.ok_or_else(|| Error::collective("rank 0 gave no identifier of NCCL"))?;
        let (id, stream) = (Id::uninit(id.map(|byte| byte as _)), stream?);
        let comm = Comm::from_rank(stream.clone(), others.rank(), others.world_size(), id).map_err(failed("start"))?;
        Ok(Self { comm, stream })
    }

    /// The `count` values that rank 0 gives.
    fn given_by_first<T: NcclType + DeviceRepr + ValidAsZeroBits + Default + Clone>(
        &self,
        values: &[T],
        count: usize,
    ) -> Result<Vec<T>> {
        let given = (self.rank() == 0).then(|| self.stream.clone_htod(values)).transpose().map_err(failed("copy"))?;
        let mut taken = self.stream.alloc_zeros::<T>(count).map_err(failed("allocate"))?;
        self.comm.broadcast(given.as_ref(), &mut taken, 0).map_err(failed("broadcast"))?;
        self.stream.clone_dtoh(&taken).map_err(failed("copy"))
    }
}

impl Collective for Nccl {
    fn rank(&self) -> usize {
        self.comm.rank()
    }

    fn world_size(&self) -> usize {
        self.comm.world_size()
    }

    /// Lengths first, then everything, as long as the longest.
    fn all_gather(&mut self, bytes: &[u8]) -> Result<Vec<Vec<u8>>> {
        let (stream, ranks) = (&self.stream, self.world_size());
        let length = stream.clone_htod(&[bytes.len() as u64]).map_err(failed("copy"))?;
        let mut lengths = stream.alloc_zeros::<u64>(ranks).map_err(failed("allocate"))?;
        self.comm.all_gather(&length, &mut lengths).map_err(failed("gather"))?;
        let lengths = stream.clone_dtoh(&lengths).map_err(failed("copy"))?;

        let longest = lengths.iter().copied().max().unwrap_or(0) as usize;
        if longest == 0 {
            return Ok(vec![Vec::new(); ranks]);
        }
        let mut padded = bytes.to_vec();
        padded.resize(longest, 0);
        let padded = stream.clone_htod(&padded).map_err(failed("copy"))?;
        let mut all = stream.alloc_zeros::<u8>(ranks * longest).map_err(failed("allocate"))?;
        self.comm.all_gather(&padded, &mut all).map_err(failed("gather"))?;
        let all = stream.clone_dtoh(&all).map_err(failed("copy"))?;
        Ok(all.chunks(longest).zip(&lengths).map(|(bytes, &length)| bytes[..length as usize].to_vec()).collect())
    }

    fn broadcast(&mut self, bytes: &[u8]) -> Result<Vec<u8>> {
        let length = self.given_by_first(&[bytes.len() as u64], 1)?[0] as usize;
        if length == 0 { Ok(Vec::new()) } else { self.given_by_first(bytes, length) }
    }
}

fn failed<E: Debug>(what: &'static str) -> impl Fn(E) -> Error {
    move |error| Error::collective(format!("NCCL cannot {what}: {error:?}"))
}
