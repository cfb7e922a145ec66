//! What a metric remembers: declared fields of plain numbers, each with its reduction.

mod absorb;
mod accumulator;
mod batch;
mod contribution;
mod host;
mod layout;
mod order;
mod parts;
mod queue;
mod read;
mod save;

pub(crate) use absorb::StagedMerge;
pub use accumulator::Reduce;
pub use contribution::Contribution;
pub(crate) use parts::MAX_REPLICATES;

use crate::{Growth, NonFinite, Reduction};
use accumulator::Accumulator;
use batch::HostBatch;
use parts::Mode;
use queue::Queue;

/// The most that a counter of a state can reach. A state that would count further refuses what is added to it, so that every state
/// that there is can be saved, loaded and merged without an overflow.
const MAX_COUNT: u64 = 1 << 56;

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
    /// States within the state, and what each of them gets.
    parts: Vec<State>,
    mode: Mode,
    /// Whether several values by name are computed of it.
    grouped: bool,
    queue: Queue,
}

#[derive(Clone, Debug)]
struct Field {
    name: String,
    accumulator: Accumulator,
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

    /// Memory of what waits, in bytes, on the device and beside it.
    pub fn waiting_bytes(&self) -> usize {
        self.queue.bytes()
    }

    /// How many images they had, without those that were left out: of weight 0, or [skipped](Self::skipped).
    pub fn images(&self) -> u64 {
        self.images + self.queue.images()
    }

    /// How many images were left out by [`NonFinite::Skip`], here or in a part of the state. Images that wait on a device are not
    /// known yet.
    pub fn skipped(&self) -> u64 {
        self.skipped
    }

    /// Memory held, in bytes, what waits on a device included. Of a [`Reduce::Collect`] field, 8 bytes an image; spare
    /// capacity is not counted.
    pub fn bytes(&self) -> usize {
        let fields: usize = self.fields.iter().map(|f| size_of::<Field>() + f.name.len() + f.accumulator.bytes()).sum();
        size_of::<Self>() + fields + self.parts_bytes() + self.queue.bytes()
    }

    /// The part of [`State::bytes`] that waits on a device to be read back.
    pub fn queue_bytes(&self) -> usize {
        self.queue.bytes() + self.parts.iter().map(Self::queue_bytes).sum::<usize>()
    }

    /// How [`State::bytes`] grows with the data: with a [`Reduce::Collect`] field it does, and [`State::recent`] fills its window.
    pub fn growth(&self) -> Growth {
        let collects = self.fields.iter().any(|field| field.accumulator.reduce() == Reduce::Collect);
        if collects { Growth::PerImage } else { self.growth_of_parts() }
    }

    /// Forgets the data and keeps what is declared.
    pub fn reset(&mut self) {
        (self.updates, self.images, self.skipped) = (0, 0, 0);
        self.fields.iter_mut().for_each(|field| field.accumulator.reset());
        self.reset_parts();
        self.queue.clear();
    }

    fn names(&self) -> Vec<&str> {
        self.fields.iter().map(|field| field.name.as_str()).collect()
    }
}
