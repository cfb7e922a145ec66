//! How a state takes in contributions and other states: all checks first, then what cannot fail.

use std::borrow::Cow;

use super::batch::Kept;
use super::host::Host;
use super::{Contribution, HostBatch, MAX_COUNT, State};
use crate::{Error, NonFinite, Result};

/// A contribution that was checked against a state, so that nothing is left to fail.
pub(crate) enum Staged {
    /// It is to wait on its device.
    Waiting(Contribution),
    /// It and all that wait were read back.
    Read(Vec<HostBatch>),
}

/// A merge that was checked, so that nothing is left to fail.
pub(crate) struct StagedMerge<'a> {
    ours: Vec<HostBatch>,
    theirs: Cow<'a, State>,
}

impl State {
    /// Adds one batch's contribution. Everything is checked before anything is written.
    ///
    /// Tensors that are not on the CPU are not read back yet: the contribution waits, so that the update does not, and up to
    /// [64 contributions](Self::queue_limit) are read back in one transfer when the state is computed, merged or saved, or
    /// when that many wait. What waits has no graph, and is not a view of a larger tensor.
    ///
    /// # Errors
    /// When the contribution has no images or more than can be counted, lacks a declared field or part, has one that is not declared, or has a field that
    /// is not a float tensor `[images]`; when there is not one weight per image, finite and not negative; when a number is
    /// not finite and [`NonFinite::Error`] is declared; and when reading tensors back fails. The
    /// last two are noticed when they are read back; a contribution that waits and is refused then is refused again each
    /// time, until the state is reset.
    pub fn absorb(&mut self, contribution: Contribution) -> Result<()> {
        let staged = self.stage(contribution)?;
        self.commit(staged);
        Ok(())
    }

    /// Checks a contribution, and reads it back with all that wait unless it is to wait too.
    pub(crate) fn stage(&self, contribution: Contribution) -> Result<Staged> {
        self.check(&contribution)?;
        let (updates, images) = self.queue.all();
        let added = (updates.saturating_add(1), images.saturating_add(contribution.images() as u64));
        self.check_room(added)?;
        if self.queue.takes(&contribution) {
            return contribution.compact().map(Staged::Waiting);
        }
        self.read(self.queue.waiting().iter().chain([&contribution])).map(Staged::Read)
    }

    /// Absorbs what this state has staged.
    pub(crate) fn commit(&mut self, staged: Staged) {
        match staged {
            Staged::Waiting(contribution) => self.queue.push(contribution),
            Staged::Read(batches) => self.apply_all(&batches),
        }
    }

    /// Reads back what waits on a device. [`Metric::compute`](crate::Metric::compute), merging and saving do the same.
    ///
    /// # Errors
    /// As [`absorb`](Self::absorb) for what is noticed late; the state has not changed then.
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

    /// Adds everything that `other` has absorbed. Values of [`Reduce::Collect`](crate::Reduce::Collect) fields are appended.
    ///
    /// # Errors
    /// When the two do not declare the same fields, in the same order, with the same reductions, the same policy and the same
    /// parts; when both together have more updates or images than can be counted; and when reading back what waits on a device
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
        let [updates, images, skipped] = self.counts_with(other.counts())?;
        for (ours, theirs) in self.fields.iter_mut().zip(&other.fields) {
            ours.accumulator.merge(&theirs.accumulator)?;
        }
        self.add_parts(other)?;
        (self.updates, self.images, self.skipped) = (updates, images, skipped);
        Ok(())
    }

    /// Absorbs batches, which are all that waited and perhaps one more.
    fn apply_all(&mut self, batches: &[HostBatch]) {
        self.queue.clear();
        batches.iter().for_each(|batch| self.apply(batch));
    }

    pub(super) fn apply(&mut self, batch: &HostBatch) {
        let skipped: Vec<usize> = if self.may_skip() {
            (0..batch.images).filter(|&image| self.is_skipped(batch, image)).collect()
        } else {
            Vec::new()
        };
        let Kept { weights, images, skipped } = batch.without(&skipped);
        self.updates += 1;
        self.images += images;
        self.skipped += skipped;
        for (field, column) in self.fields.iter_mut().zip(&batch.columns) {
            field.accumulator.absorb(column, weights.as_deref());
        }
        self.apply_to_parts(batch);
    }

    /// Whether the image is left out because of a number that is not finite, here or in a part.
    pub(super) fn is_skipped(&self, batch: &HostBatch, image: usize) -> bool {
        let here = self.inner().is_none() && self.non_finite == NonFinite::Skip && batch.is_bad(image);
        here || self.is_skipped_by_parts(batch, image)
    }

    /// Whether [images are skipped](NonFinite::Skip), here or in a part.
    pub(crate) fn may_skip(&self) -> bool {
        self.non_finite == NonFinite::Skip || self.inner().into_iter().chain(&self.parts).any(Self::may_skip)
    }

    /// Contributions as numbers, in one transfer.
    fn read<'a>(&self, contributions: impl IntoIterator<Item = &'a Contribution> + Clone) -> Result<Vec<HostBatch>> {
        let host = Host::read(contributions.clone().into_iter().flat_map(Contribution::tensors))?;
        let read = |contribution: &Contribution| {
            let batch = self.batch(contribution, &host);
            self.check_batch(&batch).map(|()| batch)
        };
        contributions.into_iter().map(read).collect()
    }

    /// Whether a contribution has what this state declares.
    fn check(&self, contribution: &Contribution) -> Result<()> {
        if let Some(inner) = self.inner() {
            return inner.check(contribution);
        }
        contribution.check(&self.names())?;
        let (parts, declared) = (contribution.parts(), self.parts.len());
        if parts.len() != declared {
            return Err(Error::contribution(format!("it has {} parts, but the state has {declared}", parts.len())));
        }
        for (part, state) in parts.iter().zip(&self.parts) {
            if !part.is_once() && part.images() != contribution.images() {
                let (part, whole) = (part.images(), contribution.images());
                return Err(Error::contribution(format!("a part has {part} images, but the whole has {whole}")));
            }
            state.check(part)?;
        }
        Ok(())
    }

    /// A contribution that was checked, as numbers in the order of the fields and parts.
    fn batch(&self, contribution: &Contribution, host: &Host) -> HostBatch {
        if let Some(inner) = self.inner() {
            return inner.batch(contribution, host);
        }
        let parts = self.parts.iter().zip(contribution.parts()).map(|(state, part)| state.batch(part, host)).collect();
        contribution.read(&self.names(), host, parts)
    }

    fn counts(&self) -> [u64; 3] {
        [self.updates, self.images, self.skipped]
    }

    /// The counters with these added.
    fn counts_with(&self, added: [u64; 3]) -> Result<[u64; 3]> {
        let mut counts = self.counts();
        for (count, added) in counts.iter_mut().zip(added) {
            *count = count.checked_add(added).filter(|sum| *sum <= MAX_COUNT).ok_or_else(|| {
                let message =
                    format!("it has counted {count} and is to count {added} more, but no more than {MAX_COUNT} in all");
                Error::argument("state", message)
            })?;
        }
        Ok(counts)
    }

    /// Whether so many updates and images can be added, here and in every part, whichever of its counters an image goes to.
    fn check_room(&self, (updates, images): (u64, u64)) -> Result<()> {
        self.counts_with([updates, images, images])?;
        let parts = if self.is_recent() { &[] } else { &self.parts[..] };
        parts.iter().try_for_each(|part| part.check_room((updates, images)))
    }

    /// Whether `other` can be added after so many updates and images that wait.
    fn check_room_for(&self, other: &Self, (updates, images): (u64, u64)) -> Result<()> {
        let [theirs, their_images, their_skipped] = other.counts();
        let with_waiting = |count: u64, waiting: u64| count.saturating_add(waiting);
        self.counts_with([
            with_waiting(theirs, updates),
            with_waiting(their_images, images),
            with_waiting(their_skipped, images),
        ])?;
        let parts = if self.is_recent() { &[] } else { &self.parts[..] };
        parts.iter().zip(&other.parts).try_for_each(|(ours, theirs)| ours.check_room_for(theirs, (updates, images)))
    }

    /// Whether the numbers are allowed.
    fn check_batch(&self, batch: &HostBatch) -> Result<()> {
        if let Some(inner) = self.inner() {
            return inner.check_batch(batch);
        }
        batch.check(self.non_finite, &self.names())?;
        self.parts.iter().zip(&batch.parts).try_for_each(|(state, part)| state.check_batch(part))
    }
}
