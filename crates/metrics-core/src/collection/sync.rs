//! Collections of several processes, put together.

use crate::collective::{Answer, Member, Payload, decode, encode};
use crate::fingerprint::differing;
use crate::{Checkpoint, Collective, Error, Fingerprint, Metric, MetricCollection, Result, State};

/// Putting together what several processes have accumulated, each of a part of the data.
///
/// All processes of the group make the same call, with collections of the same members, and each gets the whole. Sums are exact, so the
/// values are those of one process that has seen all samples, bit for bit. Values of [`Reduction::None`](crate::Reduction::None) come in
/// the order of the ranks, or in that of keys. A process may have seen nothing.
///
/// Members that differ, whether in name, configuration, or the version of this library, are the same error in every process, and no
/// state has changed then. So is what goes wrong in one process alone, for it takes part in the exchange to say so.
///
/// ```
#[doc = include_str!("../../doc/mae.md")]
/// use metrics_core::{MetricCollection, Threads};
///
/// let evaluate = |mut member: Threads| {
///     let mut metrics = MetricCollection::new().with("mae", Mae::new())?;
///     let error = member.rank() as f32; // each rank has other samples
///     metrics.update(&Tensor::new(&[[error]], &Device::Cpu)?, &Tensor::new(&[[0f32]], &Device::Cpu)?)?;
///     metrics.sync(&mut member)?;
///     metrics.compute()
/// };
/// let ranks: Vec<_> = Threads::group(4).into_iter().map(|member| std::thread::spawn(move || evaluate(member))).collect();
/// for rank in ranks {
///     assert_eq!(rank.join().unwrap()?.scalar("mae"), Some(1.5));
/// }
/// # Ok::<(), metrics_core::Error>(())
/// ```
impl MetricCollection {
    /// Adds what all other processes of the group have accumulated. To do so again would count it again: while updates go on, read
    /// values with [`synced`](Self::synced), or [`reset`](Self::reset) after each sync.
    ///
    /// # Errors
    /// [`Error::Sync`] when the collections differ, or a process has an error; [`Error::Collective`] when the exchange fails.
    pub fn sync(&mut self, collective: &mut dyn Collective) -> Result<()> {
        *self = self.synced(collective)?;
        Ok(())
    }

    /// A copy that has what all processes of the group have accumulated; this one stays as it is.
    ///
    /// # Errors
    /// As [`sync`](Self::sync).
    pub fn synced(&self, collective: &mut dyn Collective) -> Result<Self> {
        self.exchange(collective, None)
    }

    /// As [`sync`](Self::sync), with the values of samples in the order of their keys.
    ///
    /// # Errors
    /// As [`synced_by_key`](Self::synced_by_key).
    pub fn sync_by_key(&mut self, collective: &mut dyn Collective, keys: &[u64]) -> Result<()> {
        *self = self.synced_by_key(collective, keys)?;
        Ok(())
    }

    /// As [`synced`](Self::synced), with the values of samples in the order of their keys instead of that of ranks. Each process gives
    /// the keys of the samples it has added, in the order in which it has: their numbers in the data set, for instance, to get back the
    /// order that a sampler has dealt to the processes. Samples of equal keys stay in the order of ranks.
    ///
    /// # Errors
    /// As [`sync`](Self::sync), and when there is not one key for each value, as when samples were left out; when keys are not given by
    /// all; and when a member keeps the values of samples in parts, as [`PerLabel`](crate::PerLabel) does.
    pub fn synced_by_key(&self, collective: &mut dyn Collective, keys: &[u64]) -> Result<Self> {
        self.exchange(collective, Some(keys))
    }

    /// Rank 0 puts together what all give, and tells them what came of it.
    fn exchange(&self, collective: &mut dyn Collective, keys: Option<&[u64]>) -> Result<Self> {
        let payloads = collective.gather(&encode(self.payload(keys)))?;
        if collective.rank() == 0 {
            let merged = self.merged(&payloads, collective.world_size()).and_then(|merged| {
                let state = merged.state_to_sync().map_err(|error| Error::sync(0, error.to_string()))?;
                Ok((merged, state))
            });
            collective.broadcast(&Answer::encode(merged.as_ref().map(|(_, state)| &state[..])))?;
            return merged.map(|(merged, _)| merged);
        }
        let answer = collective.broadcast(&[])?;
        let mut merged = self.clone();
        let states = merged.states(Answer::decode(&answer)?)?;
        merged.replace_states(states);
        Ok(merged)
    }

    fn state_to_sync(&self) -> Result<Vec<u8>> {
        Checkpoint::new(of_sync(), self.iter().map(|(name, metric)| (Some(name), metric.state())))?.to_bytes()
    }

    fn payload(&self, keys: Option<&[u64]>) -> Result<Payload<'static>> {
        let member = |(name, metric): (&str, &dyn Metric)| Member {
            name: name.into(),
            fingerprint: metric.fingerprint().clone(),
            layout: metric.state().layout(),
        };
        let (members, keys) = (self.iter().map(member).collect(), keys.map(<[u64]>::to_vec));
        Ok(Payload { members, keys, state: self.state_to_sync()?.into() })
    }

    /// A collection of these members that has what all gave.
    fn merged(&self, payloads: &[Vec<u8>], world_size: usize) -> Result<Self> {
        if payloads.len() != world_size {
            return Err(Error::collective(format!("{} of {world_size} processes gave something", payloads.len())));
        }
        let payloads = decode(payloads)?;
        check_same(&payloads)?;
        let mut merged = self.clone();
        merged.reset();
        for (rank, payload) in payloads.iter().enumerate() {
            let in_rank = |error: Error| Error::sync(rank, error.to_string());
            let states = self.states(&payload.state).map_err(in_rank)?;
            for ((name, metric), state) in merged.members.iter_mut().zip(&states) {
                check_keys(name, state, payload.keys.as_deref()).map_err(in_rank)?;
                metric.state_mut().merge(state).map_err(|error| in_rank(error.in_member(name)))?;
            }
        }
        if let Some(keys) = payloads.iter().map(|payload| payload.keys.as_deref()).collect::<Option<Vec<_>>>() {
            let keys = keys.concat();
            let mut order: Vec<_> = (0..keys.len()).collect();
            order.sort_by_key(|&index| keys[index]); // stable
            merged.members.iter_mut().for_each(|(_, metric)| metric.state_mut().reorder(&order));
        }
        Ok(merged)
    }

    /// The states that somebody gave, in the order of these members.
    fn states(&self, state: &[u8]) -> Result<Vec<State>> {
        let declared = self.iter().map(|(name, metric)| (Some(name), metric.state()));
        Ok(Checkpoint::from_bytes(state)?.states(&of_sync(), declared)?)
    }
}

fn check_keys(name: &str, state: &State, keys: Option<&[u64]>) -> Result<()> {
    let checked = keys.map_or(Ok(()), |keys| state.check_keys(keys.len()));
    checked.map_err(|message| Error::argument("keys", format!("member `{name}` {message}")))
}

/// The same for all, because members are compared one by one, so that an error can name the one that differs.
fn of_sync() -> Fingerprint {
    Fingerprint::of_members(std::iter::empty())
}

/// Whether all have the members that rank 0 has, in whatever order.
fn check_same(payloads: &[Payload]) -> Result<()> {
    let Some((first, others)) = payloads.split_first() else { return Ok(()) };
    for (rank, other) in (1..).zip(others) {
        if let Some(message) = difference(first, other) {
            return Err(Error::sync(rank, message));
        }
    }
    Ok(())
}

fn difference(first: &Payload, other: &Payload) -> Option<String> {
    let find = |payload: &'_ Payload, name: &str| payload.members.iter().position(|member| member.name == name);
    for member in &first.members {
        let name = &member.name;
        let Some(theirs) = find(other, name).map(|index| &other.members[index]) else {
            return Some(format!("there is no member `{name}`, but rank 0 has one"));
        };
        let differ = if member.fingerprint == theirs.fingerprint {
            (member.layout != theirs.layout).then(|| [member.layout.clone(), theirs.layout.clone()])
        } else {
            Some(differing(&member.fingerprint, &theirs.fingerprint))
        };
        if let Some([ours, theirs]) = differ {
            return Some(format!("member `{name}` is {theirs}, but that of rank 0 is {ours}"));
        }
    }
    if let Some(extra) = other.members.iter().find(|member| find(first, &member.name).is_none()) {
        return Some(format!("there is a member `{}`, but rank 0 has none", extra.name));
    }
    match (&first.keys, &other.keys) {
        (Some(_), None) => Some("there are no keys, but rank 0 gives some".into()),
        (None, Some(_)) => Some("there are keys, but rank 0 gives none".into()),
        _ => None,
    }
}
