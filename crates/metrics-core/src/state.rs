//! What a metric accumulates: declared fields of plain numbers, each with its reduction.

mod accumulate;
mod batch;
mod field;
mod host;
mod layout;
mod order;
mod parts;
mod queue;
mod read;
mod save;
mod statistics;

pub(crate) use accumulate::StagedMerge;
pub use field::Reduce;
pub(crate) use field::{ArraySum, Data, Field};
use parts::Group;
pub(crate) use parts::{EXTREMES, MAX_REPLICATES, Mode, ValueOfBatch};
pub use statistics::Statistics;
pub(crate) use statistics::{BatchValue, check_weights, reduce};

use crate::{Growth, NonFinite, Reduction};
use batch::HostBatch;
use queue::Queue;

/// The most that a counter of a state can reach. A state that would count further refuses what is added to it, so that every state
/// that there is can be saved, loaded and merged without an overflow.
const MAX_COUNT: u64 = 1 << 56;

/// The accumulated data of a metric.
///
/// An author declares fields and how they are reduced over samples; accumulating, merging, saving and resetting then need no
/// code per metric. A state holds plain numbers only, so it cannot keep a graph alive, and sums are exact, so the
/// result does not depend on the order of the updates or on how they were split over states that are merged.
///
/// ```
/// use metrics_core::{Reduce, State, Statistics};
///
/// let mut state = State::new().with("sse", Reduce::Sum).with("pixels", Reduce::Sum);
/// state.accumulate(Statistics::new(2).with_values("sse", vec![0.5, 1.5]).with_values("pixels", vec![64.0, 64.0]))?;
/// assert_eq!(state.sum("sse")? / state.sum("pixels")?, 2.0 / 128.0);
/// assert_eq!((state.updates(), state.samples()), (1, 2));
/// # Ok::<(), metrics_core::Error>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct State {
    updates: u64,
    samples: u64,
    skipped: u64,
    non_finite: NonFinite,
    fields: Vec<Field>,
    /// States within the state, and what each of them gets.
    parts: Vec<State>,
    mode: Mode,
    /// Whether several values by name are computed of it.
    group: Option<Group>,
    queue: Queue,
    /// Of the scores, where these are what the state is declared for.
    reduction: Option<Reduction>,
}

impl State {
    /// Creates a state without fields.
    pub fn new() -> Self {
        Self::default()
    }

    /// Declares a field. Declaring a name again replaces its reduction.
    pub fn with(mut self, name: impl Into<String>, reduce: Reduce) -> Self {
        let field = Field::new(name.into(), reduce);
        match self.fields.iter_mut().find(|other| other.name == field.name) {
            Some(other) => *other = field,
            None => self.fields.push(field),
        }
        self
    }

    /// Declares one score per sample, as [`Statistics::scores`] gives them, whose reduction is the value of the metric: see
    /// [`State::reduced`].
    pub fn scores(reduction: Reduction) -> Self {
        let reduce = match reduction {
            Reduction::Mean | Reduction::Sum => Reduce::Sum,
            Reduction::None => Reduce::Collect,
            Reduction::Summary => Reduce::Summary,
        };
        Self { reduction: Some(reduction), ..Self::new().with(statistics::SCORE, reduce) }
    }

    /// Declares what becomes of samples with a number that is NaN or infinite.
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

    /// How many updates are read back together.
    pub(crate) fn limit(&self) -> usize {
        self.queue.limit()
    }

    /// Lets statistics wait that are on the CPU, to test what otherwise takes another device.
    #[doc(hidden)]
    pub fn queue_everywhere(mut self) -> Self {
        self.queue.set_everywhere();
        self
    }

    /// How many updates were accumulated.
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

    /// How many samples they had, without those that were left out: of weight 0, or [skipped](Self::skipped).
    pub fn samples(&self) -> u64 {
        self.samples + self.queue.samples()
    }

    /// How many samples were left out by [`NonFinite::Skip`], here or in a part of the state. Samples that wait on a device are not
    /// known yet.
    pub fn skipped(&self) -> u64 {
        self.skipped
    }

    /// Memory held, in bytes, what waits on a device included. Of a field that collects, 8 bytes a number; spare capacity is not
    /// counted.
    pub fn bytes(&self) -> usize {
        let fields: usize = self.fields.iter().map(|f| size_of::<Field>() + f.name.len() + f.bytes()).sum();
        size_of::<Self>() + fields + self.parts_bytes() + self.queue.bytes()
    }

    /// Memory of [`State::bytes`] that waits on a device to be read back.
    pub fn queue_bytes(&self) -> usize {
        self.queue.bytes() + self.parts.iter().map(Self::queue_bytes).sum::<usize>()
    }

    /// How [`State::bytes`] grows with the data: a field that collects grows with every sample, and [`Running`](crate::Running) until
    /// its window is full.
    pub fn growth(&self) -> Growth {
        let collects = self.fields.iter().any(|field| field.reduce.collects());
        if collects { Growth::PerImage } else { self.growth_of_parts() }
    }

    /// Forgets the data and keeps what is declared.
    pub fn reset(&mut self) {
        (self.updates, self.samples, self.skipped) = (0, 0, 0);
        self.fields.iter_mut().for_each(|field| field.reset());
        self.reset_parts();
        self.queue.clear();
    }
}
