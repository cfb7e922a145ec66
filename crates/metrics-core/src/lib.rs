//! Metric state and reduction for [Candle](candle_core): what every metric needs besides its formula.
//!
//! A metric is a [`Definition`], which says what one batch gives, and an [`Accumulator`] of it. This crate has the latter:
//! exact sums that give the same bits whatever the order or the split of the data, updates that happen completely or
//! not at all, checkpoints, and collections of metrics with one report. It knows nothing of images; `metrics-image` puts PSNR, SSIM
//! and MS-SSIM on top.
//!
//! Training and evaluation are different methods: [`Metric::forward`] gives a value with a gradient, while [`Metric::update`]
//! and everything that is stored never hold a graph. [`EvalOnly`] puts the latter into the type.
//!
//! # Example
//!
//! A new metric is one file. The mean absolute error:
//!
//! ```
//! use candle_core::{Device, Tensor, Var};
//! use metrics_core::{Accumulator, Definition, Metric, MetricCollection, Reduction, Result, Samples, State, Statistics};
//! use serde::Serialize;
//!
//! #[derive(Clone, Serialize)]
//! struct Mae {
//!     reduction: Reduction,
//! }
//!
//! impl Definition for Mae {
//!     fn name(&self) -> &'static str {
//!         "mae"
//!     }
//!
//!     fn states(&self) -> State {
//!         State::scores(self.reduction)
//!     }
//!
//!     fn statistics(&self, samples: &Samples) -> Result<Statistics> {
//!         Statistics::scores(&(samples.pred()? - samples.target()?)?.abs()?.flatten_from(1)?.mean(1)?)
//!     }
//! }
//!
//! let mae = |reduction| Accumulator::of(Mae { reduction });
//! let pred = Var::new(&[[0.5f32, 0.5], [1.0, 0.0]], &Device::Cpu)?;
//! let target = Tensor::new(&[[0.5f32, 0.0], [0.0, 0.0]], &Device::Cpu)?;
//!
//! // Training: this batch's value, with a gradient.
//! let mut metric = mae(Reduction::Sum)?;
//! let loss = metric.forward(&pred, &target)?;
//! assert!(loss.backward()?.get(&pred).is_some());
//! // It is what the metric would compute of this batch alone.
//! assert_eq!((loss.to_scalar::<f32>()?, metric.compute()?.scalar()), (0.75, Some(0.75)));
//!
//! // Evaluation: several metrics over all batches, without a graph.
//! let mut metrics = MetricCollection::new()
//!     .with("mae", mae(Reduction::Mean)?)?
//!     .with("mae per image", mae(Reduction::Summary)?)?
//!     .eval_only();
//! metrics.update(&pred, &target)?;
//! let report = metrics.compute()?;
//! assert_eq!(report.scalar("mae"), Some(0.375));
//! assert_eq!(
//!     format!("\n{report:.3}"),
//!     "
//! metric         value  count    std    min     p5  median    p95    max
//! mae            0.375
//! mae per image  0.375      2  0.125  0.250  0.263   0.375  0.487  0.500
//! "
//! );
//! # Ok::<(), metrics_core::Error>(())
//! ```
//!
//! # Modules
//!
//! Names are at the root, except for the exact accumulators, which are in [`exact`].
//!
//! | file | what is in it |
//! |---|---|
//! | `error.rs` | [`Error`] |
//! | `entries.rs` | private: what states are saved as; what can be wrong with that: [`CheckpointError`] |
//! | `exact.rs` | [`exact::ExactSum`], [`exact::WeightedSum`], [`exact::ExactArray`] and [`exact::Moments`]: rounded once, when they are read |
//! | `sketch.rs`, `distribution.rs` | [`QuantileSketch`], and the [`Distribution`] that a summary is read from |
//! | `reduction.rs`, `value.rs` | [`Reduction`], and the [`Value`] or [`Summary`] it gives |
//! | `non_finite.rs` | [`NonFinite`], what becomes of NaN and infinities |
//! | `named.rs`, `report.rs` | [`Named`], things by name in order; [`Report`], a collection's values |
//! | `state.rs` | [`State`]: declared fields with their [`Reduce`], and the [`Statistics`] of a batch |
//! | `fingerprint.rs` | [`Fingerprint`], what may be merged with what |
//! | `checkpoint.rs` | [`Checkpoint`], saved states |
//! | `shared.rs` | [`SharedPasses`] over a batch, which serve several metrics, and their [`Plan`] |
//! | `samples.rs` | [`Samples`], what a metric is updated with |
//! | `definition.rs` | [`Definition`], what an author writes; [`MetricInfo`] |
//! | `metric.rs`, `accumulator.rs` | [`Metric`], what can be done with every metric; [`Accumulator`], which implements it |
//! | `aggregate.rs` | [`Aggregate`]: numbers of the loop as metrics |
//! | `wrap.rs` | metrics made of metrics: [`Running`], [`MinMax`], [`BootStrapper`], [`PerLabel`], [`Formula`] |
//! | `collective.rs` | [`Collective`], a group of processes, and the engines behind it: [`Solo`], [`Threads`], MPI |
//! | `collection.rs` | [`MetricCollection`], several metrics over the same data |
//! | `eval_only.rs` | [`EvalOnly`], a metric or collection that returns nothing that tracks |
//! | `tracker.rs` | [`Tracker`], reports of many steps, and which was best |
//! | `memory.rs` | private: what metrics hold, for a [`MemoryReport`] of `metrics-detach` |
//! | `number.rs`, `table.rs` | private: how numbers and tables are written |

#![forbid(unsafe_code)]

/// The code of docs/custom_metric.md, as tests.
#[cfg(doctest)]
#[doc = include_str!("../../../docs/custom_metric.md")]
mod custom_metric {}

mod accumulator;
mod aggregate;
mod checkpoint;
mod collection;
mod collective;
mod definition;
mod distribution;
mod entries;
mod error;
mod eval_only;
pub mod exact;
mod fingerprint;
mod memory;
mod metric;
mod named;
mod non_finite;
mod number;
mod reduction;
mod report;
mod samples;
mod shared;
mod sketch;
mod state;
mod table;
mod tracker;
mod value;
mod wrap;

pub use accumulator::Accumulator;
pub use aggregate::Aggregate;
pub use checkpoint::Checkpoint;
pub use collection::MetricCollection;
#[cfg(feature = "mpi")]
pub use collective::Mpi;
pub use collective::{Collective, Solo, Threads};
pub use definition::{Configured, Definition, MetricInfo};
pub use distribution::Distribution;
pub use entries::CheckpointError;
pub use error::{Error, Result};
pub use eval_only::{EvalOnly, Evaluate};
pub use fingerprint::Fingerprint;
pub use metric::Metric;
pub use metrics_detach::{Growth, MemoryReport};
pub use named::{Named, Outputs};
pub use non_finite::NonFinite;
pub use reduction::Reduction;
pub use report::Report;
pub use samples::{Number, Samples};
pub use shared::{Passes, Plan, PlannedPass, SharedPasses};
pub use sketch::QuantileSketch;
pub use state::{Reduce, State, Statistics};
pub use tracker::Tracker;
pub use value::{Summary, Value};
pub use wrap::{BootStrapper, Formula, MinMax, PerLabel, Running};
