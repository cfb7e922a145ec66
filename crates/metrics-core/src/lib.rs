//! Metric state and reduction for [Candle](candle_core): what every metric needs besides its formula.
//!
//! A metric is a pure measure of one batch, and a state that absorbs what the measure gives. This crate has the state:
//! exact sums that give the same bits whatever the order or the split of the data, updates that happen completely or
//! not at all, checkpoints, and collections of metrics with one report. It knows nothing of images; `metrics-image` puts PSNR, SSIM
//! and MS-SSIM on top.
//!
//! Training and evaluation are told apart: [`Metric::forward`] gives a value with a gradient, while [`Metric::update`]
//! and everything that is stored never hold a graph. [`EvalOnly`] puts the latter into the type.
//!
//! # Example
//!
//! A new metric is one file. The mean absolute error, whole:
//!
//! ```
//! use candle_core::{Device, Tensor, Var};
//! use metrics_core::{
//!     Fingerprint, Growth, Measurement, Metric, MetricCollection, MetricInfo, Reduction, Result, State, Value,
//! };
//!
//! #[derive(Clone)]
//! struct Mae {
//!     reduction: Reduction,
//!     state: State,
//! }
//!
//! impl Mae {
//!     fn new(reduction: Reduction) -> Self {
//!         Self { reduction, state: State::for_reduction("error", reduction) }
//!     }
//! }
//!
//! impl Metric for Mae {
//!     fn name(&self) -> &'static str {
//!         "mae"
//!     }
//!
//!     fn info(&self) -> MetricInfo {
//!         MetricInfo {
//!             differentiable: true,
//!             higher_is_better: Some(false),
//!             lower: Some(0.0),
//!             upper: None,
//!             growth: self.state.growth(),
//!         }
//!     }
//!
//!     fn fingerprint(&self) -> Fingerprint {
//!         Fingerprint::new("mae", format!("reduction={}", self.reduction))
//!     }
//!
//!     fn measure(&self, pred: &Tensor, target: &Tensor) -> Result<Measurement> {
//!         let per_image = (pred - target)?.abs()?.flatten_from(1)?.mean(1)?;
//!         Measurement::for_reduction("error", &per_image, self.reduction)
//!     }
//!
//!     fn state(&self) -> &State {
//!         &self.state
//!     }
//!
//!     fn state_mut(&mut self) -> &mut State {
//!         &mut self.state
//!     }
//!
//!     fn finish(&self, state: &State) -> Result<Value> {
//!         state.reduced("error", self.reduction)
//!     }
//! }
//!
//! let pred = Var::new(&[[0.5f32, 0.5], [1.0, 0.0]], &Device::Cpu)?;
//! let target = Tensor::new(&[[0.5f32, 0.0], [0.0, 0.0]], &Device::Cpu)?;
//!
//! // Training: this batch's value, with a gradient.
//! let mut mae = Mae::new(Reduction::Mean);
//! let loss = mae.forward(&pred, &target)?;
//! assert!(loss.backward()?.get(&pred).is_some());
//! // It is what the metric would compute of this batch alone.
//! assert_eq!((loss.to_scalar::<f32>()?, mae.compute()?.scalar()), (0.375, Some(0.375)));
//!
//! // Evaluation: several metrics over all batches, without a graph.
//! let mut metrics = MetricCollection::new()
//!     .with("mae", Mae::new(Reduction::Mean))?
//!     .with("mae per image", Mae::new(Reduction::Summary))?
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
//! | `metric.rs` | [`Metric`], what an author writes and what comes with it; [`Measurement`], [`MetricInfo`] |
//! | `state.rs` | [`State`]: declared fields with their [`Reduce`], parts, and the [`Contribution`] of a batch |
//! | `exact.rs` | [`exact::ExactSum`], [`exact::WeightedSum`] and [`exact::Moments`]: rounded once, when they are read |
//! | `sketch.rs`, `distribution.rs` | [`QuantileSketch`], and the [`Distribution`] that a summary is read from |
//! | `reduction.rs`, `value.rs` | [`Reduction`], and the [`Value`] or [`Summary`] it gives |
//! | `non_finite.rs` | [`NonFinite`], what becomes of NaN and infinities |
//! | `fingerprint.rs` | [`Fingerprint`], what may be merged with what |
//! | `collection.rs` | [`MetricCollection`], several metrics over the same data |
//! | `eval_only.rs` | [`EvalOnly`], a metric or collection that returns nothing that tracks |
//! | `named.rs`, `report.rs` | [`Named`], things by name in order; [`Report`], a collection's values |
//! | `wrap.rs` | metrics made of metrics: [`Running`], [`MinMax`], [`BootStrapper`], [`PerLabel`], [`Formula`] |
//! | `tracker.rs` | [`Tracker`], reports of many steps, and which was best |
//! | `checkpoint.rs` | [`Checkpoint`], saved states, and what can be wrong with one: [`CheckpointError`] |
//! | `shared.rs` | [`Work`] that several metrics share on a [`Batch`], and its [`Plan`] |
//! | `memory.rs` | private: what metrics hold, for a [`MemoryReport`] of `metrics-detach` |
//! | `collective.rs` | [`Collective`], a group of processes, and the engines behind it: [`Solo`], [`Threads`], MPI, NCCL |
//! | `error.rs` | [`Error`] |
//! | `number.rs`, `table.rs` | private: how numbers and tables are written |

#![forbid(unsafe_code)]

mod checkpoint;
mod collection;
mod collective;
mod distribution;
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
mod shared;
mod sketch;
mod state;
mod table;
mod tracker;
mod value;
mod wrap;

pub use checkpoint::{Checkpoint, CheckpointError};
pub use collection::MetricCollection;
#[cfg(feature = "mpi")]
pub use collective::Mpi;
#[cfg(feature = "nccl")]
pub use collective::Nccl;
pub use collective::{Collective, Solo, Threads};
pub use distribution::Distribution;
pub use error::{Error, Result};
pub use eval_only::EvalOnly;
pub use fingerprint::Fingerprint;
pub use metric::{CloneMetric, Measurement, Metric, MetricInfo};
pub use metrics_detach::{Growth, MemoryReport};
pub use named::{Named, Outputs};
pub use non_finite::NonFinite;
pub use reduction::Reduction;
pub use report::Report;
pub use shared::{Agenda, Batch, Plan, PlannedPass, Work};
pub use sketch::QuantileSketch;
pub use state::{Contribution, Reduce, State};
pub use tracker::Tracker;
pub use value::{Summary, Value};
pub use wrap::{BootStrapper, Formula, MinMax, PerLabel, Running};
