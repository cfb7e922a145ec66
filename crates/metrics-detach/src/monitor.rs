//! [`RetentionMonitor`]: notices during a run that memory is not given back.

mod finding;
mod trend;

use std::fmt;

use candle_core::Tensor;

use crate::stats::show_bytes;
use crate::{GraphStats, Growth, MemoryReport, resident_bytes};
use trend::Trend;

pub use finding::Finding;
pub use trend::Rise;

/// Is shown what holds memory, and the values kept of it, at each step of a run, and tells when something keeps growing:
/// graph nodes behind the kept values, what the holders have accumulated, or the memory of the process.
///
/// It prints nothing: [`check`](Self::check) returns what it found, which is nothing at most steps.
///
/// ```
/// use candle_core::{Device, Tensor, Var};
/// use metrics_detach::{DetachExt, Detached, Finding, MemoryReport, RetentionMonitor};
///
/// let weight = Var::new(2f32, &Device::Cpu)?;
/// let (mut naive, mut guarded): (Vec<Tensor>, Vec<Detached>) = Default::default();
/// let (mut of_naive, mut of_guarded) = (RetentionMonitor::new(), RetentionMonitor::new());
/// let (nobody, mut findings) = (MemoryReport::new(), Vec::new());
/// for _ in 0..30 {
///     let loss = weight.sqr()?;
///     guarded.push(loss.detached());
///     naive.push(loss); // and with it, its graph
///     findings.extend(of_naive.check_with(&nobody, &naive)); // only the list
///     assert_eq!(of_guarded.check_with(&nobody, &guarded), []);
/// }
/// assert!(matches!(findings[..], [Finding::Graph { .. }]), "one warning, not one a step");
/// assert_eq!(of_guarded.to_string(), "flat over 20 checks");
/// println!("{}", findings[0]);
/// # Ok::<(), candle_core::Error>(())
/// ```
///
/// # What counts as growth
///
/// The checks after the [warm-up](Self::warm_up) are gathered into at most 16 spans of equal length, and of each span
/// the lowest value counts, so that peaks and saw-teeth do not. When there are 16, neighbours are joined: spans get
/// longer as the run does, and the memory that the monitor itself needs stays the same. A number keeps growing when each
/// of the latest 8 spans is above the one before, and the last above the first by more than an allowance. The allowance
/// is 0 for graph nodes and for state, which are exact, and [`process_allowance`](Self::process_allowance) for the
/// process, which has caches of its own.
///
/// So growth at every step is noticed at the eighth check after the warm-up, and rarer or noisier growth once the spans
/// are long enough for it to stand out. What grows within the warm-up, or at a few times only, is not growth. Each kind
/// is told once, and again whenever the number has doubled since.
///
/// The state of a holder that keeps every value grows by design ([`Growth::PerImage`]): that is told once, is no warning,
/// and such states are not watched. Nor is what grows until it is full, say a window of the last updates
/// ([`Growth::Bounded`]), nor queues on a device, which fill and are emptied.
///
/// # Cost
///
/// A check asks the system for one number and adds up the holders' states: some microseconds. Kept values without a
/// graph cost a nanosecond each; the graphs of the others are walked, in full, by [`GraphStats`]. Where that is too much,
/// check [every](Self::every) so many steps.
#[derive(Clone, Debug)]
pub struct RetentionMonitor {
    every: u64,
    warm_up: u64,
    process_allowance: usize,
    calls: u64,
    checks: u64,
    said_per_image: bool,
    graph: Watch,
    state: Watch,
    process: Watch,
}

impl Default for RetentionMonitor {
    fn default() -> Self {
        Self::new()
    }
}

impl RetentionMonitor {
    /// Checks at every call, after a warm-up of 10 checks, and allows the process 32 MiB.
    pub fn new() -> Self {
        let watch = Watch { trend: Trend::new(), told: None };
        Self {
            every: 1,
            warm_up: 10,
            process_allowance: 32 << 20,
            calls: 0,
            checks: 0,
            said_per_image: false,
            graph: watch.clone(),
            state: watch.clone(),
            process: watch,
        }
    }

    /// Checks at the first of every `calls` calls only; the others return at once. 0 means 1.
    pub fn every(mut self, calls: u64) -> Self {
        self.every = calls.max(1);
        self
    }

    /// Leaves the first `checks` checks out of account: the time of first allocations and caches.
    pub fn warm_up(mut self, checks: u64) -> Self {
        self.warm_up = checks;
        self
    }

    /// By how many bytes the process may grow, over the time looked at, before it counts: 32 MiB unless told. Allocators
    /// keep what is freed, and libraries have caches.
    pub fn process_allowance(mut self, bytes: usize) -> Self {
        self.process_allowance = bytes;
        self
    }

    /// Checks the process and what `memory` reports, which is to be made anew for each check.
    pub fn check(&mut self, memory: &MemoryReport) -> Vec<Finding> {
        self.check_with(memory, std::iter::empty::<&Tensor>())
    }

    /// As [`check`](Self::check), together with the values that are kept from step to step, say a list of losses.
    pub fn check_with<'a, T: AsRef<Tensor> + 'a>(
        &mut self,
        memory: &MemoryReport,
        kept: impl IntoIterator<Item = &'a T>,
    ) -> Vec<Finding> {
        let due = self.calls.is_multiple_of(self.every);
        self.calls += 1;
        if !due {
            return Vec::new();
        }
        // Values without a graph are passed over here, so that a long list of them costs next to nothing.
        let tracking: Vec<&Tensor> = kept.into_iter().map(AsRef::as_ref).filter(|value| value.track_op()).collect();
        self.observe(memory, GraphStats::of_all(tracking), resident_bytes())
    }

    /// One check.
    fn observe(&mut self, memory: &MemoryReport, graph: GraphStats, process: Option<usize>) -> Vec<Finding> {
        let mut findings = Vec::new();
        findings.extend(self.per_image(memory));
        self.checks += 1;
        if self.checks <= self.warm_up {
            return findings;
        }
        let constant = memory.iter().filter(|(_, held)| held.growth == Growth::Constant);
        let state = constant.map(|(_, held)| held.state_bytes).sum();
        let graph_rise = self.graph.observe(graph.nodes, 0);
        findings.extend(graph_rise.map(|rise| Finding::Graph { rise, bytes: graph.bytes }));
        findings.extend(self.state.observe(state, 0).map(|rise| Finding::State { rise }));
        let process_rise = process.and_then(|bytes| self.process.observe(bytes, self.process_allowance));
        findings.extend(process_rise.map(|rise| Finding::Process { rise }));
        findings
    }

    /// The holders that keep every value, the first time that there are any.
    fn per_image(&mut self, memory: &MemoryReport) -> Option<Finding> {
        let growing = memory.iter().filter(|(_, held)| held.growth == Growth::PerImage);
        let holders: Vec<_> = growing.map(|(name, _)| name.to_owned()).collect();
        if holders.is_empty() || self.said_per_image {
            return None;
        }
        self.said_per_image = true;
        Some(Finding::PerImage { holders })
    }

    /// How many checks there were after the warm-up.
    pub fn checks(&self) -> u64 {
        self.checks.saturating_sub(self.warm_up)
    }

    /// Whether there were enough checks to tell growth from its absence: 8 after the warm-up.
    pub fn is_conclusive(&self) -> bool {
        self.graph.trend.is_known()
    }

    /// Whether anything was found that [is a warning](Finding::is_warning).
    pub fn has_warned(&self) -> bool {
        [&self.graph, &self.state, &self.process].iter().any(|watch| watch.told.is_some())
    }
}

/// The result so far, for the end of a run: `flat over 290 checks`, or what grew.
impl fmt::Display for RetentionMonitor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let checks = self.checks();
        let nodes = |rise: Rise| format!("graph nodes grew from {} to {}", rise.from, rise.to);
        let bytes = |what, rise: Rise| format!("{what} grew from {} to {}", show_bytes(rise.from), show_bytes(rise.to));
        let growth = [
            self.graph.told.map(nodes),
            self.state.told.map(|rise| bytes("state", rise)),
            self.process.told.map(|rise| bytes("process memory", rise)),
        ];
        let growth: Vec<_> = growth.into_iter().flatten().collect();
        match growth.as_slice() {
            [] if self.is_conclusive() => write!(f, "flat over {checks} checks"),
            [] => write!(f, "too few checks to tell: {checks} after the warm-up"),
            growth => f.write_str(&growth.join("; ")),
        }
    }
}

/// One number, and the last rise that was told of it.
#[derive(Clone, Debug)]
struct Watch {
    trend: Trend,
    told: Option<Rise>,
}

impl Watch {
    /// The rise, if there is one that must be told.
    fn observe(&mut self, value: usize, allowance: usize) -> Option<Rise> {
        self.trend.push(value);
        let rise = self.trend.rise(allowance)?;
        if self.told.is_some_and(|told| rise.to < told.to.saturating_mul(2)) {
            return None;
        }
        self.told = Some(rise);
        Some(rise)
    }
}
