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

pub(crate) use heat_map::{SUFFIX, draw_heat_map, is_heat_map};
pub(crate) use histogram::Histogram;
pub(crate) use page::{MOST_PAIRS, Page};
pub(crate) use worst::{Pictures, Worst};

#[cfg(test)]
#[path = "../../tests/browser/mod.rs"]
mod browser;

#[cfg(test)]
mod tests {
    use super::{browser, fixture};

    #[test]
    fn a_browser_shows_the_page() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("report.html");
        let page = fixture::page();
        std::fs::write(&path, page.html()).unwrap();
        browser::assert_renders(&path);
    }
}
