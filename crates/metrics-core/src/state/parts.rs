//! States within a state: several side by side, the last few updates, or resampled ones.

use super::{HostBatch, State};
use crate::{Error, Growth, Result};

/// The most replicates of [`State::resampled`].
pub(crate) const MAX_REPLICATES: usize = 1 << 16;

/// What each part of a state gets of a contribution.
#[derive(Clone, Debug, Default)]
pub(super) enum Mode {
    /// The contribution's part of the same position.
    #[default]
    Each,
    /// A whole contribution: there is one part for each of the last `window` updates, which begins as a copy of `one`.
    Recent { one: Box<State>, window: usize },
    /// Each contribution, with its images counted as often as drawn.
    Resampled {
        seed: u64,
        /// The number of the first image, and of the next.
        first: u64,
        next: u64,
    },
}

/// States within a state. They absorb, are merged, saved and reset with it.
///
/// ```
/// use metrics_core::{Contribution, Reduction, State};
///
/// let score = || State::for_reduction("score", Reduction::Mean);
/// let mut state = State::of_parts(vec![score(), State::recent(score(), 1)]);
/// for value in [1.0, 3.0] {
///     let score = || Contribution::new(1).with_values("score", vec![value]);
///     state.absorb(Contribution::new(1).with_part(score()).with_part(score()))?;
/// }
/// let [all, last] = state.parts()? else { unreachable!() };
/// assert_eq!((all.mean("score")?, last.together()?.mean("score")?), (2.0, 3.0));
/// # Ok::<(), metrics_core::Error>(())
/// ```
impl State {
    /// Of several states side by side. A contribution has one [part](crate::Contribution::with_part) for each.
    pub fn of_parts(parts: Vec<Self>) -> Self {
        let queue = parts.first().map(|part| part.queue.emptied()).unwrap_or_default();
        Self { parts, queue, ..Self::default() }
    }

    /// Of the last `window` updates, at least one, each in a state that declares what `one` does. Contributions are those
    /// that `one` takes. When two are merged, the other's updates are taken to be the later ones.
    pub fn recent(mut one: Self, window: usize) -> Self {
        one.reset();
        let queue = one.queue.emptied();
        Self { mode: Mode::Recent { one: Box::new(one), window: window.max(1) }, queue, ..Self::default() }
    }

    /// Of `replicates` states that declare what `one` does, each of which counts every image as often as it is drawn: a
    /// Poisson number of mean 1, which is a function of `seed`, the replicate's number and the image's number alone. Images
    /// are numbered from `first` on, those of weight 0 left out; after the largest number comes 0. Contributions are those that
    /// `one` takes.
    ///
    /// States that are to be merged have different first images, so that no two images have the same number.
    ///
    /// # Errors
    /// When `replicates`, for each of which a state is made at once, is 0 or more than 65,536.
    pub fn resampled(mut one: Self, replicates: usize, seed: u64, first: u64) -> Result<Self> {
        if !(1..=MAX_REPLICATES).contains(&replicates) {
            let message = format!("`replicates` is {replicates}, but must be 1 to {MAX_REPLICATES}");
            return Err(Error::argument("resampled", message));
        }
        one.reset();
        let queue = one.queue.emptied();
        let mode = Mode::Resampled { seed, first, next: first };
        Ok(Self { parts: vec![one; replicates], mode, queue, ..Self::default() })
    }

    /// Numbers the images of [`State::resampled`] from `first` on, and forgets the data.
    pub(crate) fn number_from(&mut self, number: u64) {
        if let Mode::Resampled { first, .. } = &mut self.mode {
            *first = number;
        }
        self.reset();
    }

    /// The states within this one: of [`State::recent`] one for each of the last updates, oldest first.
    ///
    /// # Errors
    /// While contributions wait on a device, which [`State::drain`] reads back.
    pub fn parts(&self) -> Result<&[Self]> {
        self.check_drained()?;
        Ok(&self.parts)
    }

    /// The last updates of [`State::recent`] together, in one state.
    ///
    /// # Errors
    /// As [`State::parts`], and for a state of another kind.
    pub fn together(&self) -> Result<Self> {
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
        Self { grouped: true, ..self }
    }

    /// Whether several values by name are computed of it, or of the updates that it keeps.
    pub(crate) fn is_grouped(&self) -> bool {
        self.grouped || self.inner().is_some_and(Self::is_grouped)
    }

    pub(super) fn is_recent(&self) -> bool {
        matches!(self.mode, Mode::Recent { .. })
    }

    /// The state whose contributions this one takes, if that is not itself.
    pub(super) fn inner(&self) -> Option<&Self> {
        match &self.mode {
            Mode::Each => None,
            Mode::Recent { one, .. } => Some(one),
            Mode::Resampled { .. } => self.parts.first(),
        }
    }

    pub(super) fn apply_to_parts(&mut self, batch: &HostBatch) {
        match &mut self.mode {
            Mode::Each => self.parts.iter_mut().zip(&batch.parts).for_each(|(part, batch)| part.apply(batch)),
            Mode::Recent { one, .. } => {
                let mut update = (**one).clone();
                update.apply(batch);
                one.number_after(&update);
                self.parts.push(update);
                self.forget_old();
            }
            Mode::Resampled { seed, next, .. } => {
                // An image of weight 0 gets no number.
                let number = |image: usize| {
                    let counts = batch.weight(image) != 0.0;
                    counts.then(|| std::mem::replace(next, next.wrapping_add(1)))
                };
                let numbers: Vec<Option<u64>> = (0..batch.images).map(number).collect();
                for (replicate, part) in (0..).zip(&mut self.parts) {
                    let draw = |number: &Option<u64>| number.map_or(0.0, |image| draws(*seed, replicate, image));
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

    /// Numbers the images that come next after those that `other` has seen.
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
            Mode::Each => {}
        }
        self.parts.iter_mut().for_each(Self::reset);
    }

    pub(super) fn parts_bytes(&self) -> usize {
        let one = if let Mode::Recent { one, .. } = &self.mode { one.bytes() } else { 0 };
        one + self.parts.iter().map(Self::bytes).sum::<usize>()
    }

    pub(super) fn growth_of_parts(&self) -> Growth {
        match self.mode {
            Mode::Recent { .. } => Growth::Bounded,
            _ => self.parts.iter().map(Self::growth).max().unwrap_or(Growth::Constant),
        }
    }

    /// Whether a part leaves the image out because of a number that is not finite.
    pub(super) fn is_skipped_by_parts(&self, batch: &HostBatch, image: usize) -> bool {
        match self.inner() {
            Some(inner) => inner.is_skipped(batch, image),
            None => {
                self.parts.iter().zip(&batch.parts).any(|(part, batch)| !batch.once && part.is_skipped(batch, image))
            }
        }
    }
}

/// How often an image is drawn: a Poisson number of mean 1, which is how often each of many images occurs when as many are
/// drawn from them, without having to know how many there will be.
fn draws(seed: u64, replicate: u64, image: u64) -> f64 {
    let hash = mix(mix(mix(seed).wrapping_add(replicate)).wrapping_add(image));
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
        let drawn: Vec<_> = (0..n).map(|image| draws(1, image % 100, image / 100)).collect();
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
