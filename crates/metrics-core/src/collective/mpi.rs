//! MPI, through the system's library.

use std::fmt::Display;
use std::io::{self, Write};

use mpi::Threading;
use mpi::datatype::PartitionMut;
use mpi::environment::Universe;
use mpi::topology::SimpleCommunicator;
use mpi::traits::{Communicator, CommunicatorCollectives, Root};

use super::Collective;
use crate::{Error, Result};

/// The processes that `mpirun` or a scheduler has started; without either, this process alone.
///
/// MPI itself ends all processes when an exchange fails. What it does not see is a process that has given up while the others wait for
/// it: [`run`](Self::run) takes care of errors, and a panic ends all processes too.
///
/// ```no_run
/// use metrics_core::{Collective, Mpi};
///
/// fn main() -> metrics_core::Result<()> {
///     Mpi::run(|mpi| {
///         let ranks = mpi.all_gather(&[mpi.rank() as u8])?;
///         assert_eq!(ranks.len(), mpi.world_size());
///         Ok(())
///     })
/// }
/// ```
pub struct Mpi {
    world: SimpleCommunicator,
    /// The most bytes of each process in one exchange, because MPI counts them in 32 bits.
    most: usize,
    /// Ends MPI when it is dropped, after `world`.
    _universe: Universe,
}

impl Mpi {
    /// Starts MPI, which a process can do once. Only the thread that does may exchange.
    ///
    /// # Errors
    /// When MPI was started before, or does not allow for other threads beside this one.
    pub fn init() -> Result<Self> {
        let started = mpi::initialize_with_threading(Threading::Funneled);
        let (universe, threading) =
            started.ok_or_else(|| Error::collective("MPI was started before, and a process can do so once"))?;
        if threading < Threading::Funneled {
            return Err(Error::collective("this MPI does not allow for threads beside the one that calls it"));
        }
        let world = universe.world();
        let most = (i32::MAX as usize / world.size() as usize).max(1);
        Ok(Self { world, most, _universe: universe })
    }

    /// Starts MPI, and does the work. If that fails and there are other processes, says so on standard error and ends all of them,
    /// since they would wait for this one.
    ///
    /// # Errors
    /// As [`init`](Self::init), and those of `work` in a process that is alone.
    pub fn run<T, E: Display + From<Error>>(work: impl FnOnce(&mut Self) -> Result<T, E>) -> Result<T, E> {
        let mut mpi = Self::init()?;
        match work(&mut mpi) {
            Err(error) if mpi.world_size() > 1 => {
                // The exit code remains if standard error is gone.
                let _ = writeln!(io::stderr(), "error: rank {}: {}", mpi.rank(), told_once(&format!("{error:#}")));
                mpi.abort(1)
            }
            result => result,
        }
    }

    /// Ends all processes of the job.
    pub fn abort(&self, code: i32) -> ! {
        self.world.abort(code)
    }

    /// Exchanges so many bytes of each process at a time, to test what otherwise takes gigabytes.
    #[doc(hidden)]
    pub fn exchanging(mut self, most: usize) -> Self {
        self.most = most;
        self
    }

    fn lengths(&self, bytes: &[u8]) -> Vec<usize> {
        let mut lengths = vec![0u64; self.world_size()];
        self.world.all_gather_into(&(bytes.len() as u64), &mut lengths[..]);
        lengths.into_iter().map(|length| length as usize).collect()
    }

    /// What is exchanged at a time, or nothing. The address of an empty slice may be 1, which for Open MPI is `MPI_IN_PLACE`, so
    /// nothing is at an address of its own.
    fn piece<'a>(&self, bytes: &'a [u8], start: usize) -> &'a [u8] {
        static NOTHING: [u8; 1] = [0];
        let end = start.saturating_add(self.most).min(bytes.len());
        bytes.get(start..end).filter(|piece| !piece.is_empty()).unwrap_or(&NOTHING[..0])
    }

    /// Lets `exchange` fill what all give, piece by piece; it gets the piece of this process, and a buffer with counts and offsets.
    fn in_pieces(
        &self,
        bytes: &[u8],
        lengths: &[usize],
        exchange: impl Fn(&[u8], &mut PartitionMut<'_, [u8], &[i32], &[i32]>),
    ) -> Vec<Vec<u8>> {
        let mut all: Vec<Vec<u8>> = lengths.iter().map(|&length| Vec::with_capacity(length)).collect();
        let longest = lengths.iter().copied().max().unwrap_or(0);
        for start in (0..longest).step_by(self.most) {
            let count = |&length: &usize| length.saturating_sub(start).min(self.most);
            let counts: Vec<i32> = lengths.iter().map(|length| count(length) as i32).collect();
            let offsets: Vec<i32> =
                counts.iter().scan(0, |end, count| Some(std::mem::replace(end, *end + count))).collect();
            let mut buffer = vec![0u8; counts.iter().map(|&count| count as usize).sum()];
            exchange(self.piece(bytes, start), &mut PartitionMut::new(&mut buffer[..], &counts[..], &offsets[..]));
            for ((all, &offset), &count) in all.iter_mut().zip(&offsets).zip(&counts) {
                all.extend_from_slice(&buffer[offset as usize..(offset + count) as usize]);
            }
        }
        all
    }
}

impl Collective for Mpi {
    fn rank(&self) -> usize {
        self.world.rank() as usize
    }

    fn world_size(&self) -> usize {
        self.world.size() as usize
    }

    fn all_gather(&mut self, bytes: &[u8]) -> Result<Vec<Vec<u8>>> {
        let lengths = self.lengths(bytes);
        Ok(self.in_pieces(bytes, &lengths, |piece, all| self.world.all_gather_varcount_into(piece, all)))
    }

    fn gather(&mut self, bytes: &[u8]) -> Result<Vec<Vec<u8>>> {
        let lengths = self.lengths(bytes);
        let root = self.world.process_at_rank(0);
        if self.rank() == 0 {
            return Ok(self.in_pieces(bytes, &lengths, |piece, all| root.gather_varcount_into_root(piece, all)));
        }
        let longest = lengths.iter().copied().max().unwrap_or(0);
        for start in (0..longest).step_by(self.most) {
            root.gather_varcount_into(self.piece(bytes, start));
        }
        Ok(Vec::new())
    }

    fn broadcast(&mut self, bytes: &[u8]) -> Result<Vec<u8>> {
        let root = self.world.process_at_rank(0);
        let mut length = bytes.len() as u64;
        root.broadcast_into(&mut length);
        let mut all = if self.rank() == 0 { bytes.to_vec() } else { vec![0; length as usize] };
        all.chunks_mut(self.most).for_each(|piece| root.broadcast_into(piece));
        Ok(all)
    }
}

/// A chain of errors without the causes at its end that the text before them ends with too.
fn told_once(chain: &str) -> &str {
    let repeated = |&at: &usize| chain[..at].ends_with(&chain[at + 2..]);
    let repeated = chain.rmatch_indices(": ").map(|(at, _)| at).find(repeated);
    repeated.map_or(chain, |at| told_once(&chain[..at]))
}

/// A panic unwinds into the end of MPI, which waits for all processes, while they wait for what this one was to give.
impl Drop for Mpi {
    fn drop(&mut self) {
        if std::thread::panicking() && self.world_size() > 1 {
            self.abort(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::told_once;

    #[test]
    fn a_cause_that_the_message_has_is_told_once() {
        assert_eq!(told_once("reading: no file"), "reading: no file");
        assert_eq!(
            told_once("a: cannot write it: no: such: cannot write it: no: such: no: such"),
            "a: cannot write it: no: such"
        );
    }
}
