//! How a state accumulates statistics and other states: all checks first, then what cannot fail.

use std::borrow::Cow;

use super::batch::Included;
use super::host::Host;
use super::{HostBatch, MAX_COUNT, State, Statistics};
use crate::{Error, NonFinite, Result};

/// Statistics that were checked against a state, so that nothing is left to fail.
pub(crate) enum Staged {
    /// They are to wait on their device.
    Waiting(Statistics),
    /// They and all that wait were read back.
    Read(Vec<HostBatch>),
}

/// A merge that was checked, so that nothing is left to fail.
pub(crate) struct StagedMerge<'a> {
    ours: Vec<HostBatch>,
    theirs: Cow<'a, State>,
}

impl State {
    /// Adds one batch's statistics. Everything is checked before anything is written.
    ///
    /// Tensors that are not on the CPU are not read back yet: the statistics wait, so that the update does not, and up to
    /// [64 updates](Self::queue_limit) are read back in one transfer when the state is computed, merged or saved, or
    /// when that many wait. What waits has no graph, and is not a view of a larger tensor.
    ///
    /// # Errors
    /// When there are no samples or more than can be counted, a declared field is missing, or a field is not declared, or not of the
    /// declared shape; when an integer is beyond those that [`Reduce::Count`](crate::Reduce::Count) declares; when a number is not finite
    /// and [`NonFinite::Error`] is declared; and when reading tensors back fails. The last three are noticed when they are read back;
    /// statistics that wait and are refused then are refused again each time, until the state is reset.
    pub fn accumulate(&mut self, statistics: Statistics) -> Result<()> {
        let staged = self.stage(statistics)?;
        self.commit(staged);
        Ok(())
    }

    /// Checks statistics, and reads them back with all that wait unless they are to wait too.
    pub(crate) fn stage(&self, statistics: Statistics) -> Result<Staged> {
        let statistics = statistics.without_value();
        self.check(&statistics)?;
        let (updates, samples) = self.queue.all();
        let added = (updates.saturating_add(1), samples.saturating_add(statistics.samples() as u64));
        self.check_room(added)?;
        if self.queue.takes(&statistics) {
            return statistics.compact().map(Staged::Waiting);
        }
        self.read(self.queue.waiting().iter().chain([&statistics])).map(Staged::Read)
    }

    /// Accumulates what this state has staged.
    pub(crate) fn commit(&mut self, staged: Staged) {
        match staged {
            Staged::Waiting(statistics) => self.queue.push(statistics),
            Staged::Read(batches) => self.apply_all(&batches),
        }
    }

    /// Reads back what waits on a device. [`Metric::compute`](crate::Metric::compute), merging and saving do the same.
    ///
    /// # Errors
    /// As [`accumulate`](Self::accumulate) for what is noticed late; the state has not changed then.
    pub fn drain(&mut self) -> Result<()> {
        let batches = self.read(self.queue.waiting())?;
        self.apply_all(&batches);
        Ok(())
    }

    /// This state, or a copy of it, with nothing waiting.
    pub(crate) fn drained(&self) -> Result<Cow<'_, Self>> {
        if self.waiting() == 0 {
            return Ok(Cow::Borrowed(self));
        }
        let mut state = self.clone();
        state.drain()?;
        Ok(Cow::Owned(state))
    }

    /// Adds everything that `other` has accumulated. Values of [`Reduce::Collect`](crate::Reduce::Collect) fields are appended.
    ///
    /// # Errors
    /// When the two do not declare the same fields, in the same order, with the same reductions, the same policy and the same
    /// parts; when both together have more updates or samples than can be counted; and when reading back what waits on a device
    /// fails.
    pub fn merge(&mut self, other: &Self) -> Result<()> {
        let staged = self.stage_merge(other)?;
        self.commit_merge(staged)
    }

    /// Checks a merge, and reads back what waits.
    pub(crate) fn stage_merge<'a>(&self, other: &'a Self) -> Result<StagedMerge<'a>> {
        self.check_layout(other)?;
        let theirs = other.drained()?;
        self.check_room_for(&theirs, self.queue.all())?;
        Ok(StagedMerge { ours: self.read(self.queue.waiting())?, theirs })
    }

    /// Merges what this state has staged, which therefore gives no error.
    pub(crate) fn commit_merge(&mut self, StagedMerge { ours, theirs }: StagedMerge<'_>) -> Result<()> {
        self.apply_all(&ours);
        self.add(&theirs)
    }

    /// Adds a state that declares the same and in which nothing waits.
    pub(super) fn add(&mut self, other: &Self) -> Result<()> {
        let [updates, samples, skipped] = self.counters_with(other.counters())?;
        for (ours, theirs) in self.fields.iter_mut().zip(&other.fields) {
            ours.merge(theirs)?;
        }
        self.add_parts(other)?;
        (self.updates, self.samples, self.skipped) = (updates, samples, skipped);
        Ok(())
    }

    /// Accumulates batches, which are all that waited and perhaps one more.
    fn apply_all(&mut self, batches: &[HostBatch]) {
        self.queue.clear();
        batches.iter().for_each(|batch| self.apply(batch));
    }

    pub(super) fn apply(&mut self, batch: &HostBatch) {
        let skipped: Vec<usize> = if self.may_skip() {
            (0..batch.samples).filter(|&sample| self.is_skipped(batch, sample)).collect()
        } else {
            Vec::new()
        };
        let Included { weights, samples, skipped } = batch.without(&skipped);
        self.updates += 1;
        self.samples += samples;
        self.skipped += skipped;
        if self.inner().is_none() {
            for (field, column) in self.fields.iter_mut().zip(&batch.columns) {
                field.accumulate(column, batch.samples, weights.as_deref());
            }
        }
        self.apply_to_parts(batch);
    }

    /// Whether the sample is left out because of a number that is not finite, here or in a part.
    pub(super) fn is_skipped(&self, batch: &HostBatch, sample: usize) -> bool {
        let here = self.inner().is_none() && self.non_finite == NonFinite::Skip && batch.is_bad(sample);
        here || self.is_skipped_by_parts(batch, sample)
    }

    /// Whether [samples are skipped](NonFinite::Skip), here or in a part.
    pub(crate) fn may_skip(&self) -> bool {
        self.non_finite == NonFinite::Skip || self.inner().into_iter().chain(&self.parts).any(Self::may_skip)
    }

    /// Statistics as numbers, in one transfer.
    fn read<'a>(&self, statistics: impl IntoIterator<Item = &'a Statistics> + Clone) -> Result<Vec<HostBatch>> {
        let host = Host::read(statistics.clone().into_iter().flat_map(Statistics::tensors))?;
        let read = |statistics: &Statistics| {
            let batch = self.batch(statistics, &host);
            self.check_batch(&batch).map(|()| batch)
        };
        statistics.into_iter().map(read).collect()
    }

    /// Whether the statistics are what this state declares.
    fn check(&self, statistics: &Statistics) -> Result<()> {
        if let Some(inner) = self.inner() {
            return inner.check(statistics);
        }
        statistics.check(&self.fields)?;
        let (parts, declared) = (statistics.parts(), self.parts.len());
        if parts.len() != declared {
            return Err(Error::statistics(format!("there are {} parts, but the state has {declared}", parts.len())));
        }
        for (part, state) in parts.iter().zip(&self.parts) {
            if part.samples() != statistics.samples() {
                let (part, all) = (part.samples(), statistics.samples());
                return Err(Error::statistics(format!("a part has {part} samples, but there are {all}")));
            }
            state.check(part)?;
        }
        Ok(())
    }

    /// Statistics that were checked, as numbers in the order of the fields and parts.
    fn batch(&self, statistics: &Statistics, host: &Host) -> HostBatch {
        if let Some(inner) = self.inner() {
            return inner.batch(statistics, host);
        }
        let parts = self.parts.iter().zip(statistics.parts()).map(|(state, part)| state.batch(part, host)).collect();
        statistics.read(&self.fields, host, parts)
    }

    fn counters(&self) -> [u64; 3] {
        [self.updates, self.samples, self.skipped]
    }

    /// The counters with these added.
    fn counters_with(&self, added: [u64; 3]) -> Result<[u64; 3]> {
        let mut counts = self.counters();
        for (count, added) in counts.iter_mut().zip(added) {
            *count = count.checked_add(added).filter(|sum| *sum <= MAX_COUNT).ok_or_else(|| {
                let message =
                    format!("it has counted {count} and is to count {added} more, but no more than {MAX_COUNT} in all");
                Error::argument("state", message)
            })?;
        }
        Ok(counts)
    }

    /// Whether so many updates and samples can be added, here and in every part, whichever of its counters a sample goes to.
    fn check_room(&self, (updates, samples): (u64, u64)) -> Result<()> {
        self.counters_with([updates, samples, samples])?;
        let parts = if self.is_recent() { &[] } else { &self.parts[..] };
        parts.iter().try_for_each(|part| part.check_room((updates, samples)))
    }

    /// Whether `other` can be added after so many updates and samples that wait.
    fn check_room_for(&self, other: &Self, (updates, samples): (u64, u64)) -> Result<()> {
        let [theirs, their_samples, their_skipped] = other.counters();
        let with_waiting = |count: u64, waiting: u64| count.saturating_add(waiting);
        self.counters_with([
            with_waiting(theirs, updates),
            with_waiting(their_samples, samples),
            with_waiting(their_skipped, samples),
        ])?;
        self.fields.iter().zip(&other.fields).try_for_each(|(ours, theirs)| ours.check_room_for(theirs))?;
        let parts = if self.is_recent() { &[] } else { &self.parts[..] };
        parts.iter().zip(&other.parts).try_for_each(|(ours, theirs)| ours.check_room_for(theirs, (updates, samples)))
    }

    /// Whether the numbers are allowed.
    fn check_batch(&self, batch: &HostBatch) -> Result<()> {
        if let Some(inner) = self.inner() {
            return inner.check_batch(batch);
        }
        batch.check(self.non_finite, &self.fields)?;
        self.parts.iter().zip(&batch.parts).try_for_each(|(state, part)| state.check_batch(part))
    }
}
