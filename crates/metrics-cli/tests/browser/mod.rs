//! What a browser makes of a report.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use image::RgbImage;

/// High enough for the tables, the charts and the first pictures of a page.
const WINDOW: (u32, u32) = (1200, 2400);

/// Checks in headless Chromium that the tables, charts and pictures of a report show; it must have some of each.
///
/// Without `chromium` on the path it fails, unless `WITHOUT_CHROMIUM` is set: who does that knows that nothing was looked at.
pub(crate) fn assert_renders(page: &Path) {
    let Some(chromium) = chromium() else {
        let waived = std::env::var_os("WITHOUT_CHROMIUM").is_some();
        assert!(waived, "`chromium` is not on the path; install it, or set WITHOUT_CHROMIUM to go without this test");
        return;
    };
    let html = fs::read_to_string(page).unwrap();
    let dom = dump(&chromium, page);
    for part in ["<table", "<tr>", "<svg", "<img"] {
        assert_eq!(dom.matches(part).count(), html.matches(part).count(), "{part} in {}", page.display());
    }
    let whole = screenshot(&chromium, page);
    // What shows is what changes when it is hidden; of pictures, when they cannot be decoded.
    let hidden = |part: &str| html.replace("</style>", &format!("{part} {{ visibility: hidden }}</style>"));
    let spoilt = html.replace(";base64,", ";base64,AAAA");
    let variants = [("table", hidden("table"), 1_000), (".chart", hidden(".chart"), 2_000), ("img", spoilt, 50_000)];
    for (part, without, least) in variants {
        let path = page.with_extension("without.html");
        fs::write(&path, without).unwrap();
        let changed = differing(&whole, &screenshot(&chromium, &path));
        assert!(changed >= least, "{part} is only {changed} pixels of {}", page.display());
    }
}

fn chromium() -> Option<PathBuf> {
    let folders = std::env::var_os("PATH")?;
    std::env::split_paths(&folders).map(|folder| folder.join("chromium")).find(|path| path.is_file())
}

fn dump(chromium: &Path, page: &Path) -> String {
    String::from_utf8(run(chromium, page, &["--dump-dom".to_string()])).unwrap()
}

fn screenshot(chromium: &Path, page: &Path) -> RgbImage {
    let path = page.with_extension("png");
    let (width, height) = WINDOW;
    let options = [
        format!("--screenshot={}", path.display()),
        format!("--window-size={width},{height}"),
        "--hide-scrollbars".to_string(),
    ];
    run(chromium, page, &options);
    image::open(&path).unwrap_or_else(|error| panic!("no screenshot of {}: {error}", page.display())).into_rgb8()
}

/// Runs it with a new profile, and nothing that talks to the network.
fn run(chromium: &Path, page: &Path, options: &[String]) -> Vec<u8> {
    let profile = tempfile::tempdir().unwrap();
    let output = Command::new(chromium)
        .args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"])
        .args(["--disable-background-networking", "--disable-component-update", "--disable-sync"])
        .arg(format!("--user-data-dir={}", profile.path().display()))
        .args(options)
        .arg(page)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

fn differing(a: &RgbImage, b: &RgbImage) -> usize {
    a.pixels().zip(b.pixels()).filter(|(a, b)| a != b).count()
}
