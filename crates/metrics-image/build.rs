//! Compiles the CUDA kernels to PTX, if the feature `cuda` is on.
//!
//! `NVCC` names the compiler, which is otherwise looked for in `CUDA_HOME`, `CUDA_PATH` and `PATH`. `METRICS_IMAGE_CUDA_ARCH` (default
//! `compute_80`) is what the PTX is for; the driver compiles it for that and everything newer.

use std::env;
use std::path::PathBuf;
use std::process::Command;

const KERNELS: &str = "src/engine/gpu/cuda/kernels.cu";
const ARCH: &str = "METRICS_IMAGE_CUDA_ARCH";

fn main() {
    println!("cargo:rerun-if-changed=src/engine/gpu");
    println!("cargo:rerun-if-changed=src/measure");
    for variable in ["NVCC", "CUDA_HOME", "CUDA_PATH", ARCH] {
        println!("cargo:rerun-if-env-changed={variable}");
    }
    if env::var_os("CARGO_FEATURE_CUDA").is_none() {
        return;
    }
    let arch = env::var(ARCH).unwrap_or_else(|_| "compute_80".to_owned());
    let nvcc = nvcc();
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR"));
    for pixels in ["u8", "f16", "bf16", "f32", "f64"] {
        let mut command = Command::new(&nvcc);
        command.args(["--ptx", "-O3", "--default-stream", "per-thread", "-arch", &arch]);
        command.arg(format!("-DPIXELS={pixels}")).arg("-o").arg(out.join(format!("{pixels}.ptx"))).arg(KERNELS);
        match command.status() {
            Ok(status) if status.success() => {}
            Ok(status) => panic!("{command:?} failed: {status}"),
            Err(error) => panic!(
                "the feature `cuda` needs nvcc, and {} does not start: {error}; install CUDA, or name the compiler with NVCC",
                nvcc.display()
            ),
        }
    }
}

fn nvcc() -> PathBuf {
    if let Some(nvcc) = env::var_os("NVCC") {
        return nvcc.into();
    }
    let home = ["CUDA_HOME", "CUDA_PATH"].into_iter().filter_map(env::var_os);
    let candidates = home.map(|home| PathBuf::from(home).join("bin/nvcc"));
    candidates.into_iter().find(|nvcc| nvcc.exists()).unwrap_or_else(|| "nvcc".into())
}
