//! States within a state: several side by side, the last few updates, resampled ones, or one with the extremes of its batches.

use std::fmt;
use std::rc::Rc;
use std::sync::Arc;

use super::{HostBatch, Reduce, State};
use crate::{Error, Growth, Result};

/// The most replicates of [`State::resampled`].
pub(crate) const MAX_REPLICATES: usize = 1 << 16;

/// What each part of a state gets of a batch's statistics.
#[derive(Clone, Debug, Default)]
pub(crate) enum Mode {
    /// The part of the same position.
    #[default]
    Each,
    /// Statistics as they are: there is one part for each of the last `window` updates, which begins as a copy of `one`.
    Recent { one: Box<State>, window: usize },
    /// Statistics as they are for the first part. The second keeps the smallest and the largest value that a batch has, computed of a
    /// copy of `empty` that has this batch alone.
    Extremes { empty: Box<State>, value: ValueOfBatch },
    /// Statistics whose samples count as often as they are drawn.
    Resampled {
        seed: u64,
        /// The number of the first sample, and of the next.
        first: u64,
        next: u64,
    },
}

/// How the value of a batch is computed of a state that has this batch alone.
#[derive(Clone)]
pub(crate) struct ValueOfBatch(pub(crate) Arc<Compute>);

type Compute = dyn Fn(&State) -> Result<f64> + Send + Sync;

impl fmt::Debug for ValueOfBatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ValueOfBatch")
    }
}

/// Several values by name that are computed of a state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Group {
    Values,
    Labels,
}

/// The names of the extremes.
pub(crate) const EXTREMES: [&str; 2] = ["min", "max"];

/// States within a state. They accumulate, are merged, saved and reset with it.
impl State {
    /// Of several states side by side. Statistics have one [part](super::Statistics::with_part) for each.
    pub(crate) fn of_parts(parts: Vec<Self>) -> Self {
        let queue = parts.first().map(|part| part.queue.emptied()).unwrap_or_default();
        Self { parts, queue, ..Self::default() }
    }

    /// Of a state, and the extremes of its batches' values. Statistics are those that the state takes.
    pub(crate) fn extremes(mut state: Self, value: ValueOfBatch) -> Self {
        state.reset();
        let queue = state.queue.emptied();
        let [min, max] = EXTREMES;
        let extremes = Self::new().with(min, Reduce::Min).with(max, Reduce::Max);
        let mode = Mode::Extremes { empty: Box::new(state.clone()), value };
        Self { parts: vec![state, extremes], mode, queue, ..Self::default() }
    }

    /// Of the last `window` updates, at least one, each in a state that declares what `one` does. Statistics are those
    /// that `one` takes. When two are merged, the other's updates are taken to be the later ones.
    pub(crate) fn recent(mut one: Self, window: usize) -> Self {
        one.reset();
        let queue = one.queue.emptied();
        Self { mode: Mode::Recent { one: Box::new(one), window: window.max(1) }, queue, ..Self::default() }
    }

    /// Of `replicates` states that declare what `one` does, each of which counts every sample as often as it is drawn: a
    /// Poisson number of mean 1, which is a function of `seed`, the replicate's number and the sample's number alone. Samples
    /// are numbered from `first` on, those of weight 0 left out; after the largest number comes 0. Statistics are those that
    /// `one` takes.
    ///
    /// States that are to be merged have different first samples, so that no two samples have the same number.
    pub(crate) fn resampled(mut one: Self, replicates: usize, seed: u64, first: u64) -> Self {
        one.reset();
        let queue = one.queue.emptied();
        let mode = Mode::Resampled { seed, first, next: first };
        Self { parts: vec![one; replicates], mode, queue, ..Self::default() }
    }

    /// The states within this one: of [`State::recent`] one for each of the last updates, oldest first.
    ///
    /// # Errors
    /// While statistics wait on a device, which [`State::drain`] reads back.
    pub(crate) fn parts(&self) -> Result<&[Self]> {
        self.check_drained()?;
        Ok(&self.parts)
    }

    /// The last updates of [`State::recent`] together, in one state.
    ///
    /// # Errors
    /// As [`State::parts`], and for a state of another kind.
    pub(crate) fn together(&self) -> Result<Self> {
        self.check_drained()?;
        let Mode::Recent { one, .. } = &self.mode else {
            return Err(Error::argument(
                "state",
                "`together` is for states of the last updates; this state keeps none",
            ));
        };
        let mut together = (**one).clone();
        self.parts.iter().try_for_each(|part| together.add(part))?;
        Ok(together)
    }

    /// Of which several values by name are computed, so that they are not one number.
    pub(crate) fn grouped(self) -> Self {
        Self { group: Some(Group::Values), ..self }
    }

    /// Of which a value for each label is computed.
    pub(crate) fn per_label(self) -> Self {
        Self { group: Some(Group::Labels), ..self }
    }

    /// Whether several values by name are computed of it, or of the updates that it keeps.
    pub(crate) fn is_grouped(&self) -> bool {
        self.group.is_some() || self.inner().is_some_and(Self::is_grouped)
    }

    /// Whether these are the values of labels.
    pub(crate) fn is_per_label(&self) -> bool {
        self.group == Some(Group::Labels) || self.inner().into_iter().chain(&self.parts).any(Self::is_per_label)
    }

    pub(super) fn is_recent(&self) -> bool {
        matches!(self.mode, Mode::Recent { .. })
    }

    /// The state whose statistics this one takes, if that is not itself.
    pub(super) fn inner(&self) -> Option<&Self> {
        match &self.mode {
            Mode::Each => None,
            Mode::Recent { one, .. } => Some(one),
            Mode::Extremes { .. } | Mode::Resampled { .. } => self.parts.first(),
        }
    }

    pub(super) fn apply_to_parts(&mut self, batch: &HostBatch) {
        match &mut self.mode {
            Mode::Each => self.parts.iter_mut().zip(&batch.parts).for_each(|(part, batch)| part.apply(batch)),
            Mode::Extremes { empty, value } => {
                let mut alone = (**empty).clone();
                alone.apply(batch);
                // A batch without a sample that counts has no value, and a value that cannot be computed is NaN.
                let value = (alone.samples > 0).then(|| (value.0)(&alone).unwrap_or(f64::NAN));
                let columns = |value: f64| HostBatch {
                    samples: 1,
                    weights: None,
                    columns: vec![Rc::from([value]); 2],
                    parts: Vec::new(),
                };
                let batches = [Some(batch.clone()), value.map(columns)];
                for (part, batch) in self.parts.iter_mut().zip(batches) {
                    batch.iter().for_each(|batch| part.apply(batch));
                }
            }
            Mode::Recent { one, .. } => {
                let mut update = (**one).clone();
                update.apply(batch);
                one.number_after(&update);
                self.parts.push(update);
                self.forget_old();
            }
            Mode::Resampled { seed, next, .. } => {
                // A sample of weight 0 gets no number.
                let number = |sample: usize| {
                    let counts = batch.weight(sample) != 0.0;
                    counts.then(|| std::mem::replace(next, next.wrapping_add(1)))
                };
                let numbers: Vec<Option<u64>> = (0..batch.samples).map(number).collect();
                for (replicate, part) in (0..).zip(&mut self.parts) {
                    let draw = |number: &Option<u64>| number.map_or(0.0, |sample| draws(*seed, replicate, sample));
                    part.apply(&batch.reweighted(&numbers.iter().map(draw).collect::<Vec<_>>()));
                }
            }
        }
    }

    pub(super) fn add_parts(&mut self, other: &Self) -> Result<()> {
        match (&mut self.mode, &other.mode) {
            (Mode::Recent { one, .. }, Mode::Recent { one: other_one, .. }) => {
                one.number_after(other_one);
                self.parts.extend(other.parts.iter().cloned());
                self.forget_old();
                return Ok(());
            }
            (Mode::Resampled { next, .. }, Mode::Resampled { next: other, .. }) => *next = *other.max(next),
            _ => {}
        }
        self.parts.iter_mut().zip(&other.parts).try_for_each(|(ours, theirs)| ours.add(theirs))
    }

    /// Numbers the samples that come next after those that `other` has seen.
    pub(super) fn number_after(&mut self, other: &Self) {
        match (&mut self.mode, &other.mode) {
            (Mode::Recent { one, .. }, Mode::Recent { one: other, .. }) => one.number_after(other),
            (Mode::Resampled { next, .. }, Mode::Resampled { next: other, .. }) => *next = *other.max(next),
            _ => {}
        }
        self.parts.iter_mut().zip(&other.parts).for_each(|(ours, theirs)| ours.number_after(theirs));
    }

    fn forget_old(&mut self) {
        if let Mode::Recent { window, .. } = self.mode {
            self.parts.drain(..self.parts.len().saturating_sub(window));
        }
    }

    pub(super) fn reset_parts(&mut self) {
        match &mut self.mode {
            Mode::Recent { one, .. } => {
                one.reset();
                self.parts.clear();
            }
            Mode::Resampled { first, next, .. } => *next = *first,
            Mode::Each | Mode::Extremes { .. } => {}
        }
        self.parts.iter_mut().for_each(Self::reset);
    }

    pub(super) fn parts_bytes(&self) -> usize {
        let one = match &self.mode {
            Mode::Recent { one: state, .. } | Mode::Extremes { empty: state, .. } => state.bytes(),
            Mode::Each | Mode::Resampled { .. } => 0,
        };
        one + self.parts.iter().map(Self::bytes).sum::<usize>()
    }

    pub(super) fn growth_of_parts(&self) -> Growth {
        match self.mode {
            Mode::Recent { .. } => Growth::Bounded,
            _ => self.parts.iter().map(Self::growth).max().unwrap_or(Growth::Constant),
        }
    }

    /// Whether a part leaves the sample out because of a number that is not finite.
    pub(super) fn is_skipped_by_parts(&self, batch: &HostBatch, sample: usize) -> bool {
        match self.inner() {
            Some(inner) => inner.is_skipped(batch, sample),
            None => self.parts.iter().zip(&batch.parts).any(|(part, batch)| part.is_skipped(batch, sample)),
        }
    }
}

/// How often a sample is drawn: a Poisson number of mean 1, which is how often each of many samples occurs when as many are
/// drawn from them, without having to know how many there will be.
fn draws(seed: u64, replicate: u64, sample: u64) -> f64 {
    let hash = mix(mix(mix(seed).wrapping_add(replicate)).wrapping_add(sample));
    let mut rest = (hash >> 11) as f64 * 2f64.powi(-53);
    let (mut count, mut probability) = (0.0, (-1f64).exp());
    // Beyond 20 draws the probability is less than a step of `rest`.
    while rest >= probability && count < 20.0 {
        rest -= probability;
        count += 1.0;
        probability /= count;
    }
    count
}

/// The finaliser of SplitMix64 (Steele, Lea and Flood, "Fast splittable pseudorandom number generators", 2014), after one
/// step of its counter.
fn mix(x: u64) -> u64 {
    let x = x.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn draws_have_the_moments_of_a_poisson_number() {
        let n = 200_000;
        let drawn: Vec<_> = (0..n).map(|sample| draws(1, sample % 100, sample / 100)).collect();
        let mean = drawn.iter().sum::<f64>() / n as f64;
        let variance = drawn.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / n as f64;
        // Standard errors: sqrt(1 / n) = 0.0022 and sqrt(3 / n) = 0.0039; five of them.
        assert!((mean - 1.0).abs() < 0.011 && (variance - 1.0).abs() < 0.02, "{mean}, {variance}");
    }

    #[test]
    fn draws_are_the_same_on_every_platform() {
        // The first output of SplitMix64 seeded with 0, as published with its reference implementation.
        assert_eq!(mix(0), 0xe220_a839_7b1d_cdaf);
    }
}
