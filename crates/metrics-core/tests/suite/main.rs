//! Tests of metrics-core through its public interface, in one program so that it is linked once.

mod aggregate;
mod checkpoint;
mod collection;
mod distribution;
mod error;
mod eval_only;
mod exact;
mod exact_moments;
mod graph;
mod memory;
mod metric;
mod non_finite;
mod queue;
mod reduce;
mod report;
mod shards;
mod sketch;
mod state;
mod sync;
mod toy;
mod tracker;
mod weights;
mod wrap;
