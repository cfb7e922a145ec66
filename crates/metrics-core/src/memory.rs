//! What metrics and kept values hold in memory.

mod process;

use std::fmt;

use candle_core::Tensor;
use metrics_detach::GraphStats;
use serde::{Deserialize, Serialize};

pub use process::resident_bytes;

use crate::number::show_bytes;
use crate::{EvalOnly, Growth, Metric, MetricCollection, Named, table};

/// What a metric or a collection holds in memory, and what the values do that were kept of it.
///
/// `memory()` of a metric, a [`MetricCollection`] or an [`EvalOnly`] of either gives one; [`with_kept`](Self::with_kept)
/// adds the values. It displays as a table, and has serde.
///
/// ```
#[doc = include_str!("../doc/mae.md")]
/// use metrics_core::MetricCollection;
///
/// let mut metrics = MetricCollection::new().with("mae", Mae::new())?;
/// let pred = Var::new(&[[0.5f32, 0.5]], &Device::Cpu)?;
/// let values = metrics.forward(&pred, &pred.zeros_like()?)?;
///
/// let memory = metrics.memory().with_kept(values.iter().map(|(_, value)| value));
/// assert_eq!(memory.state_bytes(), metrics.state_bytes());
/// assert!(memory.kept().is_some_and(|kept| kept.tracking == 1 && kept.graph_nodes > 1));
/// print!("{memory}");
///
/// // By its type, nothing that comes out of it tracks.
/// assert!(memory.forward_may_track() && !metrics.eval_only().memory().forward_may_track());
/// # Ok::<(), metrics_core::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct MemoryReport {
    metrics: Named<MetricMemory>,
    forward_may_track: bool,
    kept: Option<KeptMemory>,
}

/// What one metric holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct MetricMemory {
    /// Bytes of accumulated data: see [`State::bytes`](crate::State::bytes).
    pub state_bytes: usize,
    /// Bytes of values that wait on a device to be read back.
    pub queue_bytes: usize,
    /// How the state grows, as the metric declares.
    pub growth: Growth,
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
    pub(crate) fn of<'a, M: Metric + ?Sized + 'a>(metrics: impl Iterator<Item = (&'a str, &'a M)>) -> Self {
        let metrics = Named::of_unique(metrics.map(|(name, metric)| (name, MetricMemory::of(metric))));
        Self { metrics, forward_may_track: true, kept: None }
    }

    /// Of what is restricted to evaluation.
    pub(crate) fn eval_only(self) -> Self {
        Self { forward_may_track: false, ..self }
    }

    /// Adds the values that are kept, say a list of what `forward` gave. Walks their graphs, if they have any.
    pub fn with_kept<'a, T: AsRef<Tensor> + 'a>(self, kept: impl IntoIterator<Item = &'a T>) -> Self {
        let kept: Vec<&Tensor> = kept.into_iter().map(AsRef::as_ref).collect();
        let GraphStats { nodes: graph_nodes, bytes, .. } = GraphStats::of_all(kept.iter().copied());
        let tracking = kept.iter().filter(|value| value.track_op()).count();
        Self { kept: Some(KeptMemory { values: kept.len(), tracking, graph_nodes, bytes }), ..self }
    }

    /// What the metric of this name holds.
    pub fn get(&self, name: &str) -> Option<&MetricMemory> {
        self.metrics.get(name)
    }

    /// Names and what each metric holds, in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, &MetricMemory)> {
        self.metrics.iter()
    }

    /// Whether what `forward` returns may hold a graph: outside of an eval scope it may, except from an [`EvalOnly`].
    /// What metrics store never does.
    pub fn forward_may_track(&self) -> bool {
        self.forward_may_track
    }

    /// What the kept values hold, if there were any given.
    pub fn kept(&self) -> Option<&KeptMemory> {
        self.kept.as_ref()
    }

    /// Bytes of accumulated data, of all metrics.
    pub fn state_bytes(&self) -> usize {
        self.iter().map(|(_, metric)| metric.state_bytes).sum()
    }

    /// Bytes of values that wait on a device, of all metrics.
    pub fn queue_bytes(&self) -> usize {
        self.iter().map(|(_, metric)| metric.queue_bytes).sum()
    }
}

impl MetricMemory {
    fn of<M: Metric + ?Sized>(metric: &M) -> Self {
        let queue_bytes = metric.state().queue_bytes();
        let state_bytes = metric.state_bytes().saturating_sub(queue_bytes); // an author may count otherwise
        Self { state_bytes, queue_bytes, growth: metric.growth() }
    }
}

const HEADINGS: [&str; 4] = ["metric", "state", "queue", "growth"];

/// A table of the metrics, then a line on `forward` and one on the kept values, if there were any given.
impl fmt::Display for MemoryReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rows = vec![HEADINGS.map(String::from)];
        rows.extend(self.iter().map(|(name, metric)| {
            let growth = match metric.growth {
                Growth::Constant => "none",
                Growth::Bounded => "bounded",
                Growth::PerImage => "8 B an image",
            };
            [name.into(), show_bytes(metric.state_bytes), show_bytes(metric.queue_bytes), growth.into()]
        }));
        table::write(f, &rows, HEADINGS.len())?;
        writeln!(f, "values of forward: {}", if self.forward_may_track { "may track" } else { "never track" })?;
        self.kept.iter().try_for_each(|kept| writeln!(f, "kept: {kept}"))
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

/// One row, under the metric's own name.
impl<M: Metric + ?Sized> From<&M> for MemoryReport {
    fn from(metric: &M) -> Self {
        Self::of(std::iter::once((metric.name(), metric)))
    }
}

impl From<&MetricCollection> for MemoryReport {
    fn from(metrics: &MetricCollection) -> Self {
        metrics.memory()
    }
}

impl<M: Metric + 'static> From<&EvalOnly<M>> for MemoryReport {
    fn from(metric: &EvalOnly<M>) -> Self {
        metric.memory()
    }
}

impl From<&EvalOnly<MetricCollection>> for MemoryReport {
    fn from(metrics: &EvalOnly<MetricCollection>) -> Self {
        metrics.memory()
    }
}
