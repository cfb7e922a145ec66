//! Explicit detach guards for [Candle](candle_core): evaluate and keep results without keeping graphs.
//!
//! In Candle the graph *is* the tensors: the result of an operation on a tracked tensor owns the operands, and so on back to
//! the variables. There is no `no_grad`. A metric value that is pushed to a list, or a running sum of them, thus keeps every
//! activation of every step alive, and in the end either memory runs out or dropping the sum overflows the stack. This crate
//! makes the difference between "a value" and "a value with its history" visible in the types, and measurable.
//!
//! ```
//! use candle_core::{DType, Device, Result, Tensor};
//! use candle_nn::{AdamW, Module, Optimizer, VarBuilder, VarMap, linear, loss};
//! use metrics_detach::{DetachExt, Detached, GraphStats, eval_scope, eval_var_builder};
//!
//! fn main() -> Result<()> {
//!     let vars = VarMap::new();
//!     let model = linear(8, 1, VarBuilder::from_varmap(&vars, DType::F32, &Device::Cpu))?;
//!     let twin = linear(8, 1, eval_var_builder(&vars, DType::F32, &Device::Cpu)?)?; // same weights, no graph
//!     let mut optimiser = AdamW::new_lr(vars.all_vars(), 0.1)?;
//!
//!     let x = Tensor::rand(0f32, 1., (16, 8), &Device::Cpu)?;
//!     let y = x.sum_keepdim(1)?;
//!
//!     let mut curve: Vec<Detached> = Vec::new(); // a list that cannot hold a graph
//!     for _ in 0..10 {
//!         let error = loss::mse(&model.forward(&x)?, &y)?;
//!         optimiser.backward_step(&error)?;
//!         curve.push(error.detached());
//!     }
//!     assert!(GraphStats::of_all(&curve).is_free());
//!
//!     let restored = eval_scope(|| twin.forward(&x))?;
//!     assert!(GraphStats::of(&restored).is_free());
//!     Ok(())
//! }
//! ```
//!
//! # Modules
//!
//! The names are all at the root; each file has one subject.
//!
//! | file | what is in it |
//! |---|---|
//! | `detached.rs` | [`Detached`], a tensor that cannot hold a graph, and [`DetachExt`], which makes one |
//! | `container.rs` | [`Detach`], the same for collections of tensors and structs of your own |
//! | `eval.rs` | [`EvalGuard`], [`eval_scope`], [`is_eval`]: a mark on the thread that metrics and losses respect |
//! | `vars.rs` | [`eval_var_builder`], for a model that shares the weights in training but builds no graph |
//! | `reads.rs` | [`host_reads`], how often a thread has waited for a device |
//! | `stats.rs` | [`GraphStats`], what a tensor keeps alive |
//! | `memory.rs` | [`MemoryReport`], what named holders and kept values have in memory |
//! | `process.rs` | [`resident_bytes`], what the process has |
//! | `monitor.rs` | [`RetentionMonitor`], which tells when one of these keeps growing |
//! | `storage.rs`, `deep.rs` | private: sizes of storages, and a stack for deep graphs |

#![forbid(unsafe_code)]

mod container;
mod deep;
mod detached;
mod eval;
mod memory;
mod monitor;
mod process;
mod reads;
mod stats;
mod storage;
mod vars;

pub use container::Detach;
pub use detached::{DetachExt, Detached};
pub use eval::{EvalGuard, eval_scope, is_eval};
pub use memory::{Growth, HeldMemory, KeptMemory, MemoryReport};
pub use monitor::{Finding, RetentionMonitor, Rise};
pub use process::resident_bytes;
pub use reads::host_reads;
pub use stats::GraphStats;
pub use vars::eval_var_builder;
