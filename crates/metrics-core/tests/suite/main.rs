//! Tests of metrics-core through its public interface, in one program so that it is linked once.

mod collection;
mod error;
mod eval_only;
mod exact;
mod exact_moments;
mod graph;
mod memory;
mod metric;
mod report;
mod state;
mod toy;
