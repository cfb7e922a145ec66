//! What metrics hold in memory, for a report.

use metrics_detach::HeldMemory;

use crate::{MemoryReport, Metric};

/// One row for each metric, under its name.
pub(crate) fn report<'a, M: Metric + ?Sized + 'a>(metrics: impl Iterator<Item = (&'a str, &'a M)>) -> MemoryReport {
    let empty = MemoryReport::new().tracking(true);
    metrics.fold(empty, |report, (name, metric)| report.with(name, held(metric)))
}

fn held<M: Metric + ?Sized>(metric: &M) -> HeldMemory {
    let queue_bytes = metric.state().queue_bytes();
    HeldMemory::new(metric.state_bytes() - queue_bytes, metric.growth()).queue(queue_bytes)
}
