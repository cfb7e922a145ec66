//! `--device`.

use anyhow::Result;
use candle_core::utils::{cuda_is_available, metal_is_available};

use crate::common::{assert_lines, compare, photograph, stderr, stdout};

#[test]
fn the_cpu_is_what_there_is_without_asking() {
    let chelsea = photograph("chelsea.png");
    let assert = compare(&chelsea, &chelsea, &["--device", "cpu"]).success();
    assert_eq!(stderr(&assert), "");
    assert_eq!(stdout(&assert), stdout(&compare(&chelsea, &chelsea, &[]).success()));
}

#[test]
fn auto_says_what_it_took() -> Result<()> {
    let chelsea = photograph("chelsea.png");
    let assert = compare(&chelsea, &chelsea, &["--device", "auto"]).success();
    assert_lines(&assert, 1, &["note: device: auto is "]);
    // Equal images have the same scores on every device.
    assert_eq!(stdout(&assert), stdout(&compare(&chelsea, &chelsea, &[]).success()));
    assert_eq!(stderr(&compare(&chelsea, &chelsea, &["--device", "auto", "--quiet"]).success()), "");
    Ok(())
}

#[test]
fn devices_that_are_not_there_are_refused() {
    let chelsea = photograph("chelsea.png");
    let refused = [("cuda:9999", "cuda", cuda_is_available()), ("metal", "metal", metal_is_available())];
    for (device, feature, is_built) in refused {
        let expected = if is_built {
            format!("error: device: `{device}` cannot be opened: ")
        } else {
            format!("`{device}` is not in this build; build with the feature `{feature}`")
        };
        // Where there is a Metal device, it is one.
        if device != "metal" || !is_built {
            let assert = compare(&chelsea, &chelsea, &["--device", device]).code(2);
            assert!(stderr(&assert).contains(&expected), "{}", stderr(&assert));
            assert_eq!(stdout(&assert), "");
        }
    }
    let unknown = compare(&chelsea, &chelsea, &["--device", "gpu"]).code(2);
    assert!(stderr(&unknown).contains("it is `gpu`, expected `auto`, `cpu`, `cuda`"), "{}", stderr(&unknown));
}
