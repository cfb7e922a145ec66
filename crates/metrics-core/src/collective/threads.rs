//! A group of threads of one process.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use super::Collective;
use crate::{Error, Result};

/// One member of a group of threads of this process: data parallelism on one machine without a launcher, and tests.
///
/// Each member belongs to one thread. A member that is dropped has left the group: whoever waits for it, or calls later, gets an
/// error, so a thread that fails or panics keeps nobody waiting.
///
/// ```
/// use std::thread;
///
/// use metrics_core::{Collective, Threads};
///
/// let members = Threads::group(3).into_iter().map(|mut member| {
///     thread::spawn(move || member.all_gather(&vec![7; member.rank()]))
/// });
/// for gathered in members.collect::<Vec<_>>() {
///     assert_eq!(gathered.join().unwrap()?, [vec![], vec![7], vec![7, 7]]);
/// }
/// # Ok::<(), metrics_core::Error>(())
/// ```
#[derive(Debug)]
pub struct Threads {
    rank: usize,
    group: Arc<Group>,
}

#[derive(Debug)]
struct Group {
    world_size: usize,
    round: Mutex<Round>,
    changed: Condvar,
}

/// One exchange. The next cannot end before every member has come to it, and so has taken what this one gave.
#[derive(Debug, Default)]
struct Round {
    number: u64,
    given: Vec<Option<Vec<u8>>>,
    gathered: Arc<Vec<Vec<u8>>>,
    /// The first member that has left.
    left: Option<usize>,
}

impl Threads {
    /// The members of a new group, in the order of their ranks: one for each thread, at least one.
    pub fn group(world_size: usize) -> Vec<Self> {
        let world_size = world_size.max(1);
        let round = Round { given: vec![None; world_size], ..Round::default() };
        let group = Arc::new(Group { world_size, round: Mutex::new(round), changed: Condvar::new() });
        (0..world_size).map(|rank| Self { rank, group: Arc::clone(&group) }).collect()
    }

    /// Nothing panics while it holds the lock, so what it guards is consistent.
    fn round(&self) -> MutexGuard<'_, Round> {
        self.group.round.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn exchange(&self, bytes: &[u8]) -> Result<Arc<Vec<Vec<u8>>>> {
        let mut round = self.round();
        let number = round.number;
        round.given[self.rank] = Some(bytes.to_vec());
        if round.given.iter().all(Option::is_some) {
            round.gathered = Arc::new(round.given.iter_mut().filter_map(Option::take).collect());
            round.number += 1;
            self.group.changed.notify_all();
        }
        while round.number == number && round.left.is_none() {
            round = self.group.changed.wait(round).unwrap_or_else(PoisonError::into_inner);
        }
        // Who leaves after an exchange does not spoil it for those that are slower to take it.
        match round.left {
            Some(rank) if round.number == number => {
                Err(Error::collective(format!("rank {rank} has left the group, so there is nothing to wait for")))
            }
            _ => Ok(Arc::clone(&round.gathered)),
        }
    }
}

impl Collective for Threads {
    fn rank(&self) -> usize {
        self.rank
    }

    fn world_size(&self) -> usize {
        self.group.world_size
    }

    fn all_gather(&mut self, bytes: &[u8]) -> Result<Vec<Vec<u8>>> {
        self.exchange(bytes).map(|gathered| gathered.to_vec())
    }

    fn gather(&mut self, bytes: &[u8]) -> Result<Vec<Vec<u8>>> {
        let gathered = self.exchange(bytes)?;
        Ok(if self.rank == 0 { gathered.to_vec() } else { Vec::new() })
    }

    fn broadcast(&mut self, bytes: &[u8]) -> Result<Vec<u8>> {
        let gathered = self.exchange(if self.rank == 0 { bytes } else { &[] })?;
        Ok(gathered[0].clone()) // a group has at least one member
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        let rank = self.rank;
        self.round().left.get_or_insert(rank);
        self.group.changed.notify_all();
    }
}
