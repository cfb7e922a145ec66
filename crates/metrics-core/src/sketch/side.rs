//! Counts of numbers of one sign, in buckets that are ordered by distance from zero.

use super::scale;

/// Memory of a bucket.
pub(super) const BUCKET_BYTES: usize = size_of::<(u64, u64)>();

/// Buckets that are not empty, with their counts, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Side(Vec<(u64, u64)>);

impl Side {
    /// Of buckets and counts; see [`Side::is_valid`].
    pub(crate) fn new(buckets: Vec<(u64, u64)>) -> Self {
        Self(buckets)
    }

    /// Buckets and counts, in order.
    pub(crate) fn buckets(&self) -> impl ExactSizeIterator<Item = (u64, u64)> + DoubleEndedIterator {
        self.0.iter().copied()
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn count(&self) -> u64 {
        self.0.iter().fold(0, |sum, (_, count)| sum.saturating_add(*count))
    }

    /// Counts one number, unless it needs a new bucket and there must be none.
    pub(super) fn add(&mut self, bucket: u64, full: bool) -> bool {
        match self.0.binary_search_by_key(&bucket, |&(bucket, _)| bucket) {
            Ok(index) => self.0[index].1 = self.0[index].1.saturating_add(1),
            Err(_) if full => return false,
            Err(index) => self.0.insert(index, (bucket, 1)),
        }
        true
    }

    /// Joins buckets in pairs.
    pub(super) fn coarsen(&mut self) {
        self.0.iter_mut().for_each(|(bucket, _)| *bucket >>= 1);
        self.0.dedup_by(|next, kept| {
            let same = next.0 == kept.0;
            if same {
                kept.1 = kept.1.saturating_add(next.1);
            }
            same
        });
    }

    /// Both together, after this many low bits of the buckets' numbers are dropped.
    pub(super) fn merged(&self, by_ours: u32, other: &Self, by_theirs: u32) -> Self {
        let mut ours = self.0.iter().map(|&(bucket, count)| (bucket >> by_ours, count)).peekable();
        let mut theirs = other.0.iter().map(|&(bucket, count)| (bucket >> by_theirs, count)).peekable();
        let mut merged: Vec<(u64, u64)> = Vec::with_capacity(self.len().max(other.len()));
        let next = || match (ours.peek(), theirs.peek()) {
            (Some((a, _)), Some((b, _))) if a <= b => ours.next(),
            (Some(_), None) => ours.next(),
            _ => theirs.next(),
        };
        for (bucket, count) in std::iter::from_fn(next) {
            match merged.last_mut() {
                Some(last) if last.0 == bucket => last.1 = last.1.saturating_add(count),
                _ => merged.push((bucket, count)),
            }
        }
        Self(merged)
    }

    /// Gives back the memory of buckets that were joined.
    pub(super) fn shrink(&mut self) {
        self.0.shrink_to(self.0.len().next_power_of_two());
    }

    /// Whether buckets are in order, not empty and in range.
    pub(super) fn is_valid(&self, shift: u32) -> bool {
        self.0.is_sorted_by(|a, b| a.0 < b.0)
            && self.0.iter().all(|&(bucket, count)| count > 0 && scale::is_in_range(bucket, shift))
    }
}
