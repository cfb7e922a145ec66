//! Helpers shared by the workspace tests.

pub mod device;
pub mod golden;
pub mod images;

/// The README's programs run as tests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
pub struct Readme;
