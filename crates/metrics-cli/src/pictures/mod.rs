//! Pictures of a comparison: SSIM heat maps, and a report that is one page of HTML.

mod canvas;
mod chart;
mod colour;
#[cfg(test)]
mod fixture;
mod heat_map;
mod histogram;
mod html;
mod legend;
mod page;
mod pixels;
mod worst;

pub(crate) use heat_map::write_heat_map;
pub(crate) use histogram::Histogram;
pub(crate) use page::{Failure, Page};
pub(crate) use worst::Worst;
