//! Helpers shared by the workspace tests.

pub mod golden;
pub mod images;
