//! Pictures of a comparison.

mod histogram;

pub(crate) use histogram::Histogram;
