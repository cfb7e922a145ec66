//! What a metric remembers: declared fields of plain numbers, each with its reduction.

mod accumulator;
mod batch;
mod contribution;
mod host;
mod queue;
mod save;

use std::borrow::Cow;
use std::fmt;

pub use accumulator::Reduce;
pub use contribution::Contribution;

use crate::error::list;
use crate::{Error, Growth, NonFinite, Reduction, Result, Summary, Value};
use accumulator::Accumulator;
pub(crate) use batch::Batch;
use batch::Kept;
use host::Host;
use queue::Queue;

/// The accumulated data of a metric.
///
/// An author declares fields and how their per-image numbers are reduced; absorbing, merging and resetting then need no
/// code per metric. A state holds plain numbers only, so it cannot keep a graph alive, and sums are exact, so the
/// result does not depend on the order of the updates or on how they were split over states that are merged.
///
/// ```
/// use metrics_core::{Contribution, Reduce, State};
///
/// let mut state = State::new().with("sse", Reduce::Sum).with("pixels", Reduce::Sum);
/// state.absorb(Contribution::new(2).with_values("sse", vec![0.5, 1.5]).with_values("pixels", vec![64.0, 64.0]))?;
/// assert_eq!(state.sum("sse")? / state.sum("pixels")?, 2.0 / 128.0);
/// assert_eq!((state.updates(), state.images()), (1, 2));
/// # Ok::<(), metrics_core::Error>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct State {
    updates: u64,
    images: u64,
    skipped: u64,
    non_finite: NonFinite,
    fields: Vec<Field>,
    queue: Queue,
}

#[derive(Clone, Debug)]
struct Field {
    name: String,
    accumulator: Accumulator,
}

/// A contribution that was checked against a state, so that nothing is left to fail.
pub(crate) enum Staged {
    /// It is to wait on its device.
    Waiting(Contribution),
    /// It and all that wait were read back.
    Read(Vec<Batch>),
}

/// A merge that was checked, so that nothing is left to fail.
pub(crate) struct StagedMerge<'a> {
    ours: Vec<Batch>,
    theirs: Cow<'a, State>,
}

impl State {
    /// Without fields.
    pub fn new() -> Self {
        Self::default()
    }

    /// Declares a field. Declaring a name again replaces its reduction.
    pub fn with(mut self, name: impl Into<String>, reduce: Reduce) -> Self {
        let field = Field { name: name.into(), accumulator: Accumulator::new(reduce) };
        match self.fields.iter_mut().find(|other| other.name == field.name) {
            Some(other) => *other = field,
            None => self.fields.push(field),
        }
        self
    }

    /// With one field that holds what `reduction` needs: see [`State::reduced`].
    pub fn for_reduction(name: impl Into<String>, reduction: Reduction) -> Self {
        Self::new().with(
            name,
            match reduction {
                Reduction::Mean | Reduction::Sum => Reduce::Sum,
                Reduction::None => Reduce::Collect,
                Reduction::Summary => Reduce::Summary,
            },
        )
    }

    /// Declares what becomes of images with a number that is NaN or infinite.
    pub fn non_finite(mut self, policy: NonFinite) -> Self {
        self.non_finite = policy;
        self
    }

    /// Sets how many updates are read back together from a device that is not the CPU: 64 unless set. With 1, each update
    /// waits for its own.
    pub fn queue_limit(mut self, updates: usize) -> Self {
        self.queue.set_limit(updates);
        self
    }

    /// Lets contributions wait that are on the CPU, to test what otherwise takes another device.
    #[doc(hidden)]
    pub fn queue_everywhere(mut self) -> Self {
        self.queue.set_everywhere();
        self
    }

    /// How many contributions were absorbed.
    pub fn updates(&self) -> u64 {
        self.updates + self.queue.updates()
    }

    /// How many of them wait on a device to be read back: none on the CPU.
    pub fn waiting(&self) -> usize {
        self.queue.waiting().len()
    }

    /// How many images they had, without those that were left out: of weight 0, or [skipped](Self::skipped).
    pub fn images(&self) -> u64 {
        self.images + self.queue.images()
    }

    /// How many images were left out by [`NonFinite::Skip`]. Those that wait on a device are not known yet.
    pub fn skipped(&self) -> u64 {
        self.skipped
    }

    /// Memory held, in bytes, what waits on a device included. Of a [`Reduce::Collect`] field, 8 bytes an image; spare capacity is not counted.
    pub fn bytes(&self) -> usize {
        let fields: usize = self.fields.iter().map(|f| size_of::<Field>() + f.name.len() + f.accumulator.bytes()).sum();
        size_of::<Self>() + fields + self.queue.bytes()
    }

    /// Whether [`State::bytes`] grows with the data: with a [`Reduce::Collect`] field it does.
    pub fn growth(&self) -> Growth {
        let collects = self.layout().any(|(_, reduce)| reduce == Reduce::Collect);
        if collects { Growth::PerImage } else { Growth::Constant }
    }

    /// Forgets the data and keeps the fields.
    pub fn reset(&mut self) {
        (self.updates, self.images, self.skipped) = (0, 0, 0);
        self.fields.iter_mut().for_each(|field| field.accumulator.reset());
        self.queue.clear();
    }

    /// Adds one batch's contribution. Everything is checked before anything is written.
    ///
    /// Tensors that are not on the CPU are not read back yet: the contribution waits, so that the update does not, and up to
    /// [64 contributions](Self::queue_limit) are read back in one transfer when the state is computed, merged or saved, or
    /// when that many wait. What waits has no graph, and is not a view of a larger tensor.
    ///
    /// # Errors
    /// When the contribution has no images, lacks a declared field, has one that is not declared, or has one that is
    /// not a float tensor `[images]`; when there is not one weight per image, finite and not negative; when a number is not
    /// finite and [`NonFinite::Error`] is declared; and when reading tensors back fails. The last two are noticed when they
    /// are read back; a contribution that waits and is refused then is refused again each time, until the state is reset.
    pub fn absorb(&mut self, contribution: Contribution) -> Result<()> {
        let staged = self.stage(contribution)?;
        self.commit(staged);
        Ok(())
    }

    /// Checks a contribution, and reads it back with all that wait unless it is to wait too.
    pub(crate) fn stage(&self, contribution: Contribution) -> Result<Staged> {
        contribution.check(&self.names())?;
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

    /// Contributions as numbers, in one transfer.
    fn read<'a>(&self, contributions: impl IntoIterator<Item = &'a Contribution> + Clone) -> Result<Vec<Batch>> {
        let host = Host::read(contributions.clone().into_iter().flat_map(Contribution::tensors))?;
        let names = self.names();
        let read = |contribution: &Contribution| {
            let batch = contribution.read(&names, &host);
            batch.check(self.non_finite, &names).map(|()| batch)
        };
        contributions.into_iter().map(read).collect()
    }

    /// Absorbs batches, which are all that waited and perhaps one more.
    fn apply_all(&mut self, batches: &[Batch]) {
        self.queue.clear();
        batches.iter().for_each(|batch| self.apply(batch));
    }

    fn apply(&mut self, batch: &Batch) {
        let Kept { weights, images, skipped } = batch.kept(self.non_finite);
        self.updates += 1;
        self.images += images;
        self.skipped += skipped;
        for (field, column) in self.fields.iter_mut().zip(&batch.columns) {
            field.accumulator.absorb(column, weights.as_deref());
        }
    }

    /// Adds everything that `other` has absorbed. Values of [`Reduce::Collect`] fields are appended.
    ///
    /// # Errors
    /// When the two do not declare the same fields, in the same order, with the same reductions and the same policy; and
    /// when reading back what waits on a device fails.
    pub fn merge(&mut self, other: &Self) -> Result<()> {
        let staged = self.stage_merge(other)?;
        self.commit_merge(staged);
        Ok(())
    }

    /// Checks a merge, and reads back what waits.
    pub(crate) fn stage_merge<'a>(&self, other: &'a Self) -> Result<StagedMerge<'a>> {
        self.check_layout(other)?;
        Ok(StagedMerge { ours: self.read(self.queue.waiting())?, theirs: other.drained()? })
    }

    /// Merges what this state has staged.
    pub(crate) fn commit_merge(&mut self, StagedMerge { ours, theirs }: StagedMerge<'_>) {
        self.apply_all(&ours);
        self.updates += theirs.updates;
        self.images += theirs.images;
        self.skipped += theirs.skipped;
        for (ours, theirs) in self.fields.iter_mut().zip(&theirs.fields) {
            ours.accumulator.merge(&theirs.accumulator);
        }
    }

    /// Whether the two declare the same.
    fn check_layout(&self, other: &Self) -> Result<()> {
        if self.layout().eq(other.layout()) && self.non_finite == other.non_finite {
            return Ok(());
        }
        Err(Error::Incompatible { ours: Layout(self).to_string(), theirs: Layout(other).to_string() })
    }

    fn layout(&self) -> impl Iterator<Item = (&str, Reduce)> {
        self.fields.iter().map(|field| (field.name.as_str(), field.accumulator.reduce()))
    }

    fn names(&self) -> Vec<&str> {
        self.fields.iter().map(|field| field.name.as_str()).collect()
    }
}

/// Reading fields. Each of these fails when there is no such field, when it was declared with another
/// reduction, or while contributions wait on a device, which [`State::drain`] reads back.
impl State {
    /// The sum of a [`Reduce::Sum`] field over all images, each times its weight, correctly rounded; 0 of no images.
    pub fn sum(&self, name: &str) -> Result<f64> {
        match self.field(name)? {
            Accumulator::Sum(sum) => Ok(sum.value()),
            other => Err(wrong_kind(name, other.reduce(), Reduce::Sum)),
        }
    }

    /// The weighted mean of a [`Reduce::Sum`] field over all images, rounded once; NaN of no images.
    pub fn mean(&self, name: &str) -> Result<f64> {
        match self.field(name)? {
            Accumulator::Sum(sum) => Ok(sum.mean()),
            other => Err(wrong_kind(name, other.reduce(), Reduce::Sum)),
        }
    }

    /// The smallest value of a [`Reduce::Min`] field; NaN if any was NaN, `+inf` of no images.
    pub fn min(&self, name: &str) -> Result<f64> {
        match self.field(name)? {
            Accumulator::Min(min) => Ok(*min),
            other => Err(wrong_kind(name, other.reduce(), Reduce::Min)),
        }
    }

    /// The largest value of a [`Reduce::Max`] field; NaN if any was NaN, `-inf` of no images.
    pub fn max(&self, name: &str) -> Result<f64> {
        match self.field(name)? {
            Accumulator::Max(max) => Ok(*max),
            other => Err(wrong_kind(name, other.reduce(), Reduce::Max)),
        }
    }

    /// Every value of a [`Reduce::Collect`] field, in the order of the updates.
    pub fn values(&self, name: &str) -> Result<&[f64]> {
        match self.field(name)? {
            Accumulator::Collect(values) => Ok(values),
            other => Err(wrong_kind(name, other.reduce(), Reduce::Collect)),
        }
    }

    /// The distribution of a [`Reduce::Summary`] field over all images.
    pub fn summary(&self, name: &str) -> Result<Summary> {
        match self.field(name)? {
            Accumulator::Summary(distribution) => Ok(distribution.summary()),
            other => Err(wrong_kind(name, other.reduce(), Reduce::Summary)),
        }
    }

    /// The value of a field declared by [`State::for_reduction`] with the same reduction.
    pub fn reduced(&self, name: &str, reduction: Reduction) -> Result<Value> {
        Ok(match reduction {
            Reduction::Mean => Value::Scalar(self.mean(name)?),
            Reduction::Sum => Value::Scalar(self.sum(name)?),
            Reduction::None => Value::PerImage(self.values(name)?.to_vec()),
            Reduction::Summary => Value::Summary(self.summary(name)?),
        })
    }

    fn field(&self, name: &str) -> Result<&Accumulator> {
        if self.waiting() > 0 {
            let message =
                format!("{} updates wait on a device, but must be read back with `drain` first", self.waiting());
            return Err(Error::argument("state", message));
        }
        let field = self.fields.iter().find(|field| field.name == name);
        field.map(|field| &field.accumulator).ok_or_else(|| {
            Error::argument("state", format!("there is no field `{name}`; there is {}", list(&self.names())))
        })
    }
}

fn wrong_kind(name: &str, declared: Reduce, asked: Reduce) -> Error {
    Error::argument("state", format!("the field `{name}` is declared as {declared}, but was read as {asked}"))
}

/// Fields and reductions, for errors.
struct Layout<'a>(&'a State);

impl fmt::Display for Layout<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fields: Vec<_> = self.0.layout().map(|(name, reduce)| format!("{name}: {reduce}")).collect();
        let policy = match self.0.non_finite {
            NonFinite::Propagate => String::new(),
            policy => format!("; non-finite: {policy}"),
        };
        write!(f, "state[{}{policy}]", fields.join(", "))
    }
}
