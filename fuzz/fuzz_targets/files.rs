//! Whatever a manifest or an image file holds, reading it gives pairs, an image or an error, within the limits.

#![no_main]

use libfuzzer_sys::fuzz_target;
use metrics_cli::fuzzing;

fuzz_target!(|data: &[u8]| {
    let _ = fuzzing::numbers(data);
    fuzzing::manifest(data);
});
