//! How any measure runs fast on a CPU: each pixel is read once, row- and column-filtered in registers and first-level cache, and
//! nothing of the size of an image is kept but what a measure asks for: gradients, maps, coarser scales.
//!
//! Planes are cut into sum blocks and tiles by their size alone, and sums of both are added in order, so that results have the same
//! bits on one thread or many, for an image alone or in a batch, and whatever the strides.
//!
//! What other devices run is in `gpu` and `reference`, behind `backend`.

// One index into several arrays says more here than zipped iterators would.
#![allow(clippy::needless_range_loop, clippy::too_many_arguments)]

mod adjoint;
pub(crate) mod backend;
mod basis;
mod batch;
mod border;
mod buffer;
mod downsample;
mod errors;
mod filter;
#[cfg(any(all(test, target_os = "linux"), feature = "cuda", feature = "metal"))]
mod gpu;
mod line_buffer;
mod mask;
mod pixel;
mod prefetch;
pub(crate) mod reference;
mod rows;
mod scan;
mod schedule;
mod score;
mod scratch;
mod sheets;
mod simd;
mod slide;
mod spread;
mod sums;
mod taps;

#[cfg(test)]
mod naive;
#[cfg(test)]
pub(crate) mod suite;
#[cfg(test)]
mod tests;

pub(crate) use self::batch::{Batch, Gradients, Scanned};
pub use self::border::Padding;
pub(crate) use self::buffer::{Region, rows};
pub use self::downsample::OddSides;
pub(crate) use self::downsample::{Downsampling, add_coarser, downsample};
pub(crate) use self::errors::{ErrorSlopes, errors};
pub(crate) use self::filter::USUAL;
pub(crate) use self::mask::{CoarserMasks, add_coarser_masked, averaged, downsample_masked, multiply, weight_sums};
pub(crate) use self::pixel::Pixel;
pub(crate) use self::rows::{Clamp, Composite, Plane, RowReader, WeightedSum, Widened, with_dense_pairs};
pub(crate) use self::scan::Upstream;
pub(crate) use self::simd::{Array, Lanes, Real};
pub(crate) use self::spread::{Spread as PixelSpread, spread};
pub(crate) use self::sums::Errors;
pub(crate) use self::taps::{AxisTaps, Filters};
