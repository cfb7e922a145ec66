//! Compiles the CUDA and the Metal text of the kernels as C++, each behind a small stand-in for its compiler.

use std::env;

/// Set where nothing is linked: the C++ takes a minute and a half.
const TYPES_ONLY: &str = "EMULATION_TYPES_ONLY";

/// All but the text of the kernels.
fn build() -> cc::Build {
    let mut build = cc::Build::new();
    build.cpp(true).std("c++17").opt_level(2).warnings(false).include("shim");
    build.flag("-Wno-attributes").flag("-ffp-contract=off").flag("-fno-omit-frame-pointer");
    if sanitized() {
        build.debug(true).opt_level(1);
        build.flag("-fsanitize=address,undefined").flag("-fno-sanitize-recover=all");
    }
    build
}

fn sanitized() -> bool {
    env::var_os("EMULATION_SANITIZE").is_some()
}

fn main() {
    println!("cargo:rerun-if-env-changed={TYPES_ONLY}");
    // Its threads are fibers of Linux's C library.
    if env::var("CARGO_CFG_TARGET_OS").as_deref() != Ok("linux") || env::var_os(TYPES_ONLY).is_some() {
        return;
    }
    println!("cargo:rerun-if-changed=..");
    println!("cargo:rerun-if-changed=../../../measure");
    println!("cargo:rerun-if-env-changed=EMULATION_SANITIZE");
    build().file("emulate_cuda.cpp").file("emulate_metal.cpp").compile("emulated_kernels");
    let mut watched = build();
    watched.define("WATCHED", None).file("emulate_cuda.cpp").file("emulate_metal.cpp");
    if !sanitized() {
        // A call before each access to memory; what is called is in `memory.cpp`, not in ThreadSanitizer.
        watched.flag("-fsanitize=thread");
    }
    watched.compile("watched_kernels");
    build().file("fibers.cpp").file("memory.cpp").compile("emulation");
    if sanitized() {
        println!("cargo:rustc-link-lib=dylib=asan");
        println!("cargo:rustc-link-lib=dylib=ubsan");
    }
}
