//! How several processes exchange their states.

#[cfg(feature = "mpi")]
mod mpi;
mod payload;
mod threads;

#[cfg(feature = "mpi")]
pub use self::mpi::Mpi;
pub(crate) use payload::{Answer, Member, Payload, decode, encode};
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
///
/// # An engine of one's own
///
/// An engine has [`rank`](Self::rank), [`world_size`](Self::world_size) and [`all_gather`](Self::all_gather), for instance over NCCL
/// or a ring of TCP connections. [`gather`](Self::gather) and [`broadcast`](Self::broadcast) have defaults, which send everything to
/// every process; an engine may override them where it has something better. When an exchange fails, it returns
/// [`Error::collective`]; so it should when a process is gone, because otherwise the others wait for it without end.
///
/// Here threads share memory. Unlike [`Threads`], this engine does not notice a thread that is gone:
///
/// ```
/// use std::sync::{Barrier, Mutex};
/// use std::thread;
///
/// use metrics_core::{Aggregate, Collective, MetricCollection, Result, Samples};
///
/// struct Member<'a> {
///     rank: usize,
///     given: &'a [Mutex<Vec<u8>>],
///     barrier: &'a Barrier,
/// }
///
/// impl Collective for Member<'_> {
///     fn rank(&self) -> usize {
///         self.rank
///     }
///
///     fn world_size(&self) -> usize {
///         self.given.len()
///     }
///
///     fn all_gather(&mut self, bytes: &[u8]) -> Result<Vec<Vec<u8>>> {
///         *self.given[self.rank].lock().unwrap() = bytes.to_vec();
///         self.barrier.wait(); // all have given
///         let all = self.given.iter().map(|given| given.lock().unwrap().clone()).collect();
///         self.barrier.wait(); // all have taken, so the next exchange may begin
///         Ok(all)
///     }
/// }
///
/// let (given, barrier) = ([const { Mutex::new(Vec::new()) }; 3], Barrier::new(3));
/// let evaluate = |rank| {
///     let mut metrics = MetricCollection::new().with("loss", Aggregate::mean("loss"))?;
///     metrics.update_with(&Samples::default().number("loss", rank as f64))?;
///     metrics.sync(&mut Member { rank, given: &given, barrier: &barrier })?;
///     metrics.compute()
/// };
/// let reports = thread::scope(|scope| {
///     [0, 1, 2].map(|rank| scope.spawn(move || evaluate(rank))).map(|rank| rank.join().unwrap())
/// });
/// for report in reports {
///     assert_eq!(report?.scalar("loss"), Some(1.0));
/// }
/// # Ok::<(), metrics_core::Error>(())
/// ```
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
