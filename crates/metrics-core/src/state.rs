//! What a metric remembers: declared fields of plain numbers, each with its reduction.

mod accumulator;
mod batch;
mod contribution;
mod save;

use std::fmt;

pub use accumulator::Reduce;
pub use contribution::Contribution;

use crate::error::list;
use crate::{Error, Growth, NonFinite, Reduction, Result, Summary, Value};
use accumulator::Accumulator;
pub(crate) use batch::Batch;
use batch::Kept;

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
}

#[derive(Clone, Debug)]
struct Field {
    name: String,
    accumulator: Accumulator,
}

/// A contribution that was read back and checked against a state, so that nothing is left to fail.
pub(crate) struct Staged(Batch);

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

    /// How many contributions were absorbed.
    pub fn updates(&self) -> u64 {
        self.updates
    }

    /// How many images they had, without those that were left out: of weight 0, or [skipped](Self::skipped).
    pub fn images(&self) -> u64 {
        self.images
    }

    /// How many images were left out by [`NonFinite::Skip`].
    pub fn skipped(&self) -> u64 {
        self.skipped
    }

    /// Memory held, in bytes. Of a [`Reduce::Collect`] field, 8 bytes an image; spare capacity is not counted.
    pub fn bytes(&self) -> usize {
        let fields: usize = self.fields.iter().map(|f| size_of::<Field>() + f.name.len() + f.accumulator.bytes()).sum();
        size_of::<Self>() + fields
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
    }

    /// Adds one batch's contribution. Everything is read back and checked before anything is written.
    ///
    /// # Errors
    /// When the contribution has no images, lacks a declared field, has one that is not declared, or has one that is
    /// not a float tensor `[images]`; when there is not one weight per image, finite and not negative; when a number is not
    /// finite and [`NonFinite::Error`] is declared; and when reading a tensor back fails.
    pub fn absorb(&mut self, contribution: Contribution) -> Result<()> {
        let staged = self.stage(contribution)?;
        self.commit(staged);
        Ok(())
    }

    /// Reads a contribution back and checks it.
    pub(crate) fn stage(&self, contribution: Contribution) -> Result<Staged> {
        let names = self.names();
        contribution.check(&names)?;
        let batch = contribution.read(&names)?;
        batch.check(self.non_finite, &names)?;
        Ok(Staged(batch))
    }

    /// Absorbs what this state has staged.
    pub(crate) fn commit(&mut self, Staged(batch): Staged) {
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
    /// When the two do not declare the same fields, in the same order, with the same reductions and the same policy.
    pub fn merge(&mut self, other: &Self) -> Result<()> {
        self.check_layout(other)?;
        self.updates += other.updates;
        self.images += other.images;
        self.skipped += other.skipped;
        for (ours, theirs) in self.fields.iter_mut().zip(&other.fields) {
            ours.accumulator.merge(&theirs.accumulator);
        }
        Ok(())
    }

    /// Whether [`State::merge`] would succeed.
    pub(crate) fn check_layout(&self, other: &Self) -> Result<()> {
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

/// Reading fields. Each of these fails when there is no such field, or when it was declared with another
/// reduction.
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
