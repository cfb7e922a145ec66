//! What is held in memory by those who accumulate, and by the values that were kept of them.

use std::fmt;

use candle_core::Tensor;
use indexmap::IndexMap;
use serde::{Deserialize, Serialize};

use crate::GraphStats;
use crate::stats::show_bytes;

/// What named holders of memory have, say the metrics of an evaluation, and what the values do that were kept of them.
///
/// It displays as a table, and has serde.
///
/// ```
/// use candle_core::{Device, Var};
/// use metrics_detach::{Growth, HeldMemory, MemoryReport};
///
/// let losses = HeldMemory::new(2400, Growth::Constant).queue(16);
/// let kept = [Var::new(2f32, &Device::Cpu)?.sqr()?];
/// let memory = MemoryReport::new().with("losses", losses).with_kept(&kept);
/// assert_eq!(memory.state_bytes(), 2400);
/// assert!(memory.kept().is_some_and(|kept| kept.tracking == 1 && kept.graph_nodes == 2));
/// print!("{memory}");
/// # Ok::<(), candle_core::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct MemoryReport {
    holders: IndexMap<String, HeldMemory>,
    values_may_track: bool,
    kept: Option<KeptMemory>,
}

/// What one holder has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct HeldMemory {
    /// Bytes of accumulated data.
    pub state_bytes: usize,
    /// Bytes of values that wait on a device to be read back.
    pub queue_bytes: usize,
    /// How the accumulated data grows, as the holder declares.
    pub growth: Growth,
}

impl HeldMemory {
    /// Describes accumulated data of this many bytes, with nothing that waits.
    pub fn new(state_bytes: usize, growth: Growth) -> Self {
        Self { state_bytes, queue_bytes: 0, growth }
    }

    /// Adds values of this many bytes that wait on a device.
    pub fn queue(self, queue_bytes: usize) -> Self {
        Self { queue_bytes, ..self }
    }
}

/// How what is accumulated grows with the data, from least to most.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Growth {
    /// Not at all.
    Constant,
    /// Until as much is kept as there may be, say a number of latest updates.
    Bounded,
    /// By 8 bytes for each image and each number that is kept of every image.
    PerImage,
}

/// What the values hold that were kept by the one who asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct KeptMemory {
    /// How many values.
    pub values: usize,
    /// How many of them track, so that they hold a graph.
    pub tracking: usize,
    /// Nodes of their graphs, each counted once; a lower bound, see [`GraphStats`].
    pub graph_nodes: usize,
    /// Bytes of the storages that the values and their graphs keep alive, each counted once; a lower bound as well.
    pub bytes: usize,
}

impl MemoryReport {
    /// Of nobody, who returns no values that track.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a holder at the end, or puts it in the place of the one of this name.
    pub fn with(mut self, name: impl Into<String>, held: HeldMemory) -> Self {
        self.holders.insert(name.into(), held);
        self
    }

    /// Says whether the values that the holders return may hold a graph.
    pub fn tracking(self, values_may_track: bool) -> Self {
        Self { values_may_track, ..self }
    }

    /// Adds the values that are kept, say a list of losses. Walks their graphs, if they have any.
    pub fn with_kept<'a, T: AsRef<Tensor> + 'a>(self, kept: impl IntoIterator<Item = &'a T>) -> Self {
        let kept: Vec<&Tensor> = kept.into_iter().map(AsRef::as_ref).collect();
        let GraphStats { nodes: graph_nodes, bytes, .. } = GraphStats::of_all(kept.iter().copied());
        let tracking = kept.iter().filter(|value| value.track_op()).count();
        Self { kept: Some(KeptMemory { values: kept.len(), tracking, graph_nodes, bytes }), ..self }
    }

    /// What the holder of this name has.
    pub fn get(&self, name: &str) -> Option<&HeldMemory> {
        self.holders.get(name)
    }

    /// Names and what each holder has, in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, &HeldMemory)> {
        self.holders.iter().map(|(name, held)| (name.as_str(), held))
    }

    /// Whether the values that the holders return may hold a graph, outside of an eval scope. What they accumulate never
    /// does.
    pub fn values_may_track(&self) -> bool {
        self.values_may_track
    }

    /// What the kept values hold, if there were any given.
    pub fn kept(&self) -> Option<&KeptMemory> {
        self.kept.as_ref()
    }

    /// Bytes of accumulated data, of all holders.
    pub fn state_bytes(&self) -> usize {
        self.iter().map(|(_, held)| held.state_bytes).sum()
    }

    /// Bytes of values that wait on a device, of all holders.
    pub fn queue_bytes(&self) -> usize {
        self.iter().map(|(_, held)| held.queue_bytes).sum()
    }
}

/// A table of the holders, then a line on the values they return and one on the kept values, if there were any given.
impl fmt::Display for MemoryReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rows = vec![["holder", "state", "queue", "growth"].map(String::from)];
        rows.extend(self.iter().map(|(name, held)| {
            [escaped(name), show_bytes(held.state_bytes), show_bytes(held.queue_bytes), held.growth.to_string()]
        }));
        let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
        let [names, states, queues, growths] = [0, 1, 2, 3].map(width);
        for [name, state, queue, growth] in &rows {
            writeln!(f, "{name:<names$}  {state:>states$}  {queue:>queues$}  {growth:>growths$}")?;
        }
        writeln!(f, "returned values: {}", if self.values_may_track { "may track" } else { "never track" })?;
        self.kept.iter().try_for_each(|kept| writeln!(f, "kept: {kept}"))
    }
}

/// Without what would break a line, or do something to a terminal.
fn escaped(name: &str) -> String {
    let escape = |char: char| if char.is_control() { char.escape_debug().to_string() } else { char.into() };
    name.chars().map(escape).collect()
}

/// In words: `none`, `bounded` or `8 B an image`.
impl fmt::Display for Growth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Constant => "none",
            Self::Bounded => "bounded",
            Self::PerImage => "8 B an image",
        })
    }
}

/// `30 values, of which 30 track: 666 graph nodes, 191.3 MiB`
impl fmt::Display for KeptMemory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plural = |count| if count == 1 { "" } else { "s" };
        let Self { values, tracking, graph_nodes: nodes, bytes } = *self;
        write!(f, "{values} value{}, of which {tracking} track: ", plural(values))?;
        write!(f, "{nodes} graph node{}, {}", plural(nodes), show_bytes(bytes))
    }
}
