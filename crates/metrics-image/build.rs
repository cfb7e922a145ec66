//! Compiles the CUDA kernels, if the feature `cuda` is on: to PTX, which the driver of any GPU compiles on when it first needs it, and
//! to the machine code of the GPU that the build is for, which it need not.
//!
//! `NVCC` names the compiler, which is otherwise looked for in `CUDA_HOME`, `CUDA_PATH` and `PATH`. `METRICS_IMAGE_CUDA_ARCH` (default
//! `compute_80`) is what the PTX is for. `CUDA_COMPUTE_CAP` is the compute capability of the machine code, as for Candle's kernels; where it
//! is not set, that of the GPU of this machine, if there is one.

use std::env;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

const KERNELS: &str = "src/engine/gpu/cuda/kernels.cu";
const ARCH: &str = "METRICS_IMAGE_CUDA_ARCH";
const CAPABILITY: &str = "CUDA_COMPUTE_CAP";
const PIXELS: [&str; 5] = ["u8", "f16", "bf16", "f32", "f64"];
/// Scans by their number of taps, and all other kernels of SSIM and errors for a type of pixels.
const PARTS: [&str; 4] = ["7", "9", "11", "any"];

fn main() {
    for folder in ["src/engine/gpu", "src/engine/gpu/cuda", "src/measure"] {
        for file in std::fs::read_dir(folder).into_iter().flatten().flatten().map(|file| file.path()) {
            if file.extension().is_some_and(|kind| kind == "h" || kind == "cu") {
                println!("cargo:rerun-if-changed={}", file.display());
            }
        }
    }
    for variable in ["NVCC", "CUDA_HOME", "CUDA_PATH", ARCH, CAPABILITY] {
        println!("cargo:rerun-if-env-changed={variable}");
    }
    if env::var_os("CARGO_FEATURE_CUDA").is_none() {
        return;
    }
    let arch = env::var(ARCH).unwrap_or_else(|_| "compute_80".to_owned());
    // PTX cannot be assembled for older GPUs than it is for.
    let capability = capability().filter(|&capability| number(&arch).is_some_and(|least| least <= capability));
    let (nvcc, out) = (nvcc(), PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR")));
    let modules: Vec<String> = modules().collect();
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for part in modules.chunks(modules.len().div_ceil(threads)) {
            let compile = || part.iter().for_each(|module| compile(&nvcc, &arch, capability, module, &out));
            scope.spawn(compile);
        }
    });
    std::fs::write(out.join("modules.rs"), list(&modules, capability)).expect("the output folder can be written");
}

/// The names of the modules.
fn modules() -> impl Iterator<Item = String> {
    let scans = PIXELS.iter().flat_map(|pixels| PARTS.iter().map(move |part| format!("{pixels}_{part}")));
    scans.chain(["pool", "gmsd", "vif"].map(str::to_owned))
}

fn compile(nvcc: &Path, arch: &str, capability: Option<u32>, module: &str, out: &Path) {
    let (ptx, cubin) = (out.join(format!("{module}.ptx")), out.join(format!("{module}.cubin")));
    let mut command = Command::new(nvcc);
    command.args(["--ptx", "-O3", "--default-stream", "per-thread", "-arch", arch]);
    run(command.arg(format!("-DMODULE={module}")).arg("-o").arg(&ptx).arg(KERNELS));
    match capability {
        Some(capability) => {
            let arch = format!("sm_{capability}");
            run(Command::new(nvcc).args(["--cubin", "-O3", "-arch", &arch, "-o"]).arg(&cubin).arg(&ptx));
        }
        None => std::fs::write(cubin, []).expect("the output folder can be written"),
    }
}

fn run(command: &mut Command) {
    match command.status() {
        Ok(status) if status.success() => {}
        Ok(status) => panic!("{command:?} failed: {status}"),
        Err(error) => panic!(
            "the feature `cuda` needs nvcc, and {} does not start: {error}; install CUDA, or name the compiler with NVCC",
            command.get_program().to_string_lossy()
        ),
    }
}

/// The modules as Rust, for `cuda/mod.rs`.
fn list(modules: &[String], capability: Option<u32>) -> String {
    let mut list = format!("const CAPABILITY: Option<u32> = {capability:?};\nconst MODULES: &[Module] = &[\n");
    for module in modules {
        writeln!(
            list,
            "    Module {{ name: {module:?}, ptx: include_str!(\"{module}.ptx\"), cubin: include_bytes!(\"{module}.cubin\") }},"
        )
        .expect("a string can be written");
    }
    list + "];\n"
}

/// The compute capability that machine code is for, such as 90 for 9.0.
fn capability() -> Option<u32> {
    if let Ok(capability) = env::var(CAPABILITY) {
        let number = number(&capability);
        if number.is_none() {
            println!(
                "cargo:warning={CAPABILITY} is {capability}, expected a number such as 90: no machine code is made"
            );
        }
        return number;
    }
    let query = Command::new("nvidia-smi").args(["--query-gpu=compute_cap", "--format=csv,noheader"]).output().ok()?;
    String::from_utf8(query.stdout).ok()?.lines().next()?.replace('.', "").trim().parse().ok()
}

/// The number in `compute_80`, `90` or `90a`.
fn number(arch: &str) -> Option<u32> {
    arch.trim_start_matches("compute_").trim_end_matches(|letter: char| letter.is_ascii_lowercase()).parse().ok()
}

fn nvcc() -> PathBuf {
    if let Some(nvcc) = env::var_os("NVCC") {
        return nvcc.into();
    }
    let home = ["CUDA_HOME", "CUDA_PATH"].into_iter().filter_map(env::var_os);
    let candidates = home.map(|home| PathBuf::from(home).join("bin/nvcc"));
    candidates.into_iter().find(|nvcc| nvcc.exists()).unwrap_or_else(|| "nvcc".into())
}
