//! How several processes exchange their states.

#[cfg(feature = "mpi")]
mod mpi;
#[cfg(feature = "nccl")]
mod nccl;
mod payload;
mod threads;

#[cfg(feature = "mpi")]
pub use self::mpi::Mpi;
#[cfg(feature = "nccl")]
pub use nccl::Nccl;
pub(crate) use payload::{Answer, Payload, Shown, decode, encode};
pub use threads::Threads;

use crate::{Error, Result};

/// A group of processes that can exchange bytes.
///
/// All members of the group make the same calls in the same order.
///
/// | engine | members | feature |
/// |---|---|---|
/// | [`Solo`] | this process alone | |
/// | [`Threads`] | threads of this process | |
/// | `Mpi` | the processes that `mpirun` or a scheduler has started | `mpi` |
/// | `Nccl` | processes with a GPU each | `nccl` |
pub trait Collective {
    /// The number of this process, from 0.
    fn rank(&self) -> usize;

    /// How many processes there are.
    fn world_size(&self) -> usize;

    /// What every process gave, in the order of their ranks; lengths may differ.
    ///
    /// # Errors
    /// When the exchange fails.
    fn all_gather(&mut self, bytes: &[u8]) -> Result<Vec<Vec<u8>>>;

    /// As [`all_gather`](Self::all_gather), but only rank 0 gets what every process gave; the others get nothing.
    ///
    /// # Errors
    /// When the exchange fails.
    fn gather(&mut self, bytes: &[u8]) -> Result<Vec<Vec<u8>>> {
        let all = self.all_gather(bytes)?;
        Ok(if self.rank() == 0 { all } else { Vec::new() })
    }

    /// What rank 0 gave; what the others give is ignored.
    ///
    /// # Errors
    /// When the exchange fails.
    fn broadcast(&mut self, bytes: &[u8]) -> Result<Vec<u8>> {
        let all = self.all_gather(if self.rank() == 0 { bytes } else { &[] })?;
        all.into_iter().next().ok_or_else(|| Error::collective("rank 0 gave nothing"))
    }
}

/// A group of one: this process alone.
///
/// ```
/// use metrics_core::{Collective, Solo};
///
/// assert_eq!((Solo.rank(), Solo.world_size()), (0, 1));
/// assert_eq!(Solo.all_gather(b"state")?, [b"state"]);
/// # Ok::<(), metrics_core::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Solo;

impl Collective for Solo {
    fn rank(&self) -> usize {
        0
    }

    fn world_size(&self) -> usize {
        1
    }

    fn all_gather(&mut self, bytes: &[u8]) -> Result<Vec<Vec<u8>>> {
        Ok(vec![bytes.to_vec()])
    }
}
