#!/usr/bin/env bash
# Proves a CUDA build on a GPU: `gpu-check.sh build FILE.tar.xz` anywhere on Linux, then `gpu-check.sh run FOLDER` beside the GPU.
#
# FOLDER is what the archive unpacks to. The machine with the GPU needs a driver of the 580 series or newer, cuBLAS and cuRAND of
# CUDA 13, from CUDA or from Python wheels, and Python. What else is there is used: PyTorch and TorchMetrics to compare with,
# pytorch-msssim to time, Nsight Compute (ncu) and compute-sanitizer. FUSED_SSIM names a folder with the source of fused-ssim
# (github.com/rahul-goel/fused-ssim), which is then built, for this run alone, and timed. A run ends after GPU_CHECK_SECONDS, 360
# if not set: what has not begun by then is skipped. Its tables are printed last and written to FOLDER/measured.md.
set -euo pipefail

MSSSIM="pytorch-msssim==1.0.0"

usage() {
    echo "usage: gpu-check.sh build FILE.tar.xz | gpu-check.sh run FOLDER" >&2
    exit 2
}

build() {
    local archive root home toolkit folder
    archive="$(realpath -m "$1")"
    cd "$(dirname "${BASH_SOURCE[0]}")/.."
    root="$PWD"
    home="$(scripts/fetch-nvcc.sh --all)"
    [ -n "$home" ] || { echo "a CUDA build needs nvcc" >&2; exit 1; }

    # A target directory for this compiler alone: Candle's build script does not notice another one.
    export CARGO_TARGET_DIR="${GPU_BUILD_DIR:-$root/target/gpu-build}"
    # A toolkit of links, with the compiler and the libraries that this one lacks.
    toolkit="$CARGO_TARGET_DIR/cuda"
    rm -rf "${toolkit:?}"
    mkdir -p "$toolkit/bin" "$toolkit/lib"
    cp scripts/nvcc-quick "$toolkit/bin/nvcc"
    ln -s "$home/include" "$toolkit/include"
    ln -s "$home"/lib/* "$toolkit/lib/"
    ln -s lib "$toolkit/lib64"
    scripts/cuda-link-stubs "$toolkit/lib/stubs"

    export REAL_NVCC="$home/bin/nvcc" NVCC="$toolkit/bin/nvcc" CUDA_HOME="$toolkit" CUDA_PATH="$toolkit"
    export PATH="$toolkit/bin:$PATH" CUDA_COMPUTE_CAP=80
    stage="$(mktemp -d)"
    trap 'rm -rf "$stage"' EXIT
    folder="$stage/gpu-check"
    mkdir "$folder"
    # One selection of packages for both commands, so that neither builds dependencies anew for other features.
    local selection=(--release --features cuda -p metrics-image -p tests -p benches -p examples)
    {
        cargo build "${selection[@]}" --bin device --bin scores --example train_denoiser --test device_memory \
            --message-format json-render-diagnostics
        cargo test "${selection[@]}" --no-run --lib --message-format json-render-diagnostics
    } >"$stage/artifacts.json"
    python3 - "$stage/artifacts.json" "$folder" <<'PYTHON'
import json, re, shutil, sys
from pathlib import Path

names = {"device": "device", "scores": "scores", "train_denoiser": "train_denoiser", "device_memory": "device_memory",
         "metrics_image": "suite", "kernels": "kernels"}
for line in open(sys.argv[1]):
    message = json.loads(line)
    if message.get("executable") and (name := names.pop(message["target"]["name"], None)):
        shutil.copy(message["executable"], f"{sys.argv[2]}/{name}")
    # The names of the kernels, from what the build script of metrics-image made.
    if message["reason"] == "build-script-executed" and (ptx := [path for path in Path(message["out_dir"]).glob("*.ptx") if re.match("f32|pool|gmsd|vif", path.name)]):
        kernels = [name for part in ptx for name in re.findall(r"\.entry (\w+)", part.read_text())]
        Path(sys.argv[2], "kernels").write_text("\n".join(kernels) + "\n")
        names.pop("kernels", None)
if names:
    sys.exit(f"not built: {', '.join(names)}")
PYTHON
    strip "$folder"/{device,scores,train_denoiser,device_memory,suite}
    cp -r examples/images "$folder/images"
    cp scripts/gpu-check.sh scripts/gpu_*.py "$folder/"
    # The machine with the GPU may have no network.
    python3 -m pip download --quiet --disable-pip-version-check --no-deps --only-binary :all: --dest "$folder/wheels" "$MSSSIM" ||
        echo "without $MSSSIM" >&2
    git describe --always --exclude '*' --abbrev=40 --dirty >"$folder/commit"
    XZ_OPT=-T0 tar -C "$stage" -cJf "$archive" gpu-check
    ls -lh "$archive"
}

# What a run leaves in FOLDER: logs/, rows (of the table of results) and measured.md.
run() {
    [ -z "${FUSED_SSIM:-}" ] || FUSED_SSIM="$(realpath "$FUSED_SSIM")"
    cd "$1"
    prepare
    with_peers & # while nothing is timed
    step "shared suite" 150 '[1-9]\d* passed; 0 failed' ./suite engine::suite engine::gpu
    wait
    step "times" 100 '' ./device cuda
    compare
    step "train_denoiser" 40 'PSNR .* -> .*|\d+ steps in \d+ s|^memory: \K.*[^.]' \
        ./train_denoiser --device cuda --images images --out out
    step "memory over 10,000 updates" 60 '.* bytes of the device in use .*' ./device_memory
    profile
    sanitize
    report
}

prepare() {
    rm -rf logs rows measured.md
    mkdir logs
    touch rows
    scratch="$(mktemp -d)"
    trap 'rm -rf "$scratch"' EXIT
    # The libraries of CUDA may be those that came with PyTorch.
    local libraries
    libraries="$(python3 -c 'import nvidia.cu13; print(list(nvidia.cu13.__path__)[0] + "/lib")' 2>/dev/null || true)"
    export LD_LIBRARY_PATH="$libraries${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}" METRICS_TEST_DEVICE=cuda
    export PROPTEST_RNG_SEED=20261127 # as .cargo/config.toml
    # Python packages for this run alone.
    export PYTHONPATH="$scratch/site${PYTHONPATH:+:$PYTHONPATH}"
}

# Runs a command, keeps its output in logs/NAME and adds a row to the table. It has passed if it exits with 0 and RESULT, a Perl
# pattern, is in its output; what matches is its result. An exit with 77 means that it has to be left out.
step() { # NAME SECONDS RESULT COMMAND...
    local name="$1" limit="$2" pattern="$3" start=$SECONDS status=0 result
    shift 3
    local left=$((${GPU_CHECK_SECONDS:-360} - SECONDS))
    ((left > 3)) || { skip "$name" "no time was left"; return 0; }
    timeout --kill-after 3 "$((limit < left ? limit : left))" "$@" >"logs/$name" 2>&1 || status=$?
    result="$(grep -oP -- "$pattern" "logs/$name" | awk '!seen[$0]++ { printf "%s%s", separator, $0; separator = "; " }')" || true
    case "$status" in
    0) [ -z "$pattern" ] || [ -n "$result" ] || result="**FAILED**: no result in its output" ;;
    77) result="skipped: $(tail -n 1 "logs/$name")" ;;
    124 | 137) result="**FAILED**: stopped after $((SECONDS - start)) s" ;;
    *) result="**FAILED** with $status: $(tail -n 1 "logs/$name")" ;;
    esac
    add "$name" "${result:-done}" "$((SECONDS - start))"
    printf '\n== %s: %s\n%s\n-- %s, %d s\n' "$name" "$*" "$(cat "logs/$name")" "${result:-done}" "$((SECONDS - start))"
}

skip() { add "$1" "skipped: $2" ""; }

add() { printf '| %s | %s | %s |\n' "$1" "${2//|//}" "$3" >>rows; }

# Where a program of the CUDA toolkit is, or nothing.
tool() { PATH="$PATH:/usr/local/cuda/bin" command -v "$1" || true; }

# Whether Python finds all of these packages; importing PyTorch would take seconds.
python_has() { python3 -c 'import sys; from importlib.util import find_spec; sys.exit(not all(map(find_spec, sys.argv[1:])))' "$@"; }

# Other libraries for this run alone: fused-ssim from the source that FUSED_SSIM names, and pytorch-msssim.
with_peers() {
    if ! python_has torch; then
        return
    elif [ -n "${FUSED_SSIM:-}" ]; then
        build_fused_ssim
    else
        skip "build of fused-ssim" "FUSED_SSIM names no folder with its source"
    fi
    local wheel=(wheels/pytorch_msssim-*.whl)
    python_has pytorch_msssim || python3 -m pip install --quiet --disable-pip-version-check --retries 0 --timeout 10 --no-deps \
        --target "$scratch/site" "$([ -e "${wheel[0]}" ] && echo "${wheel[0]}" || echo "$MSSSIM")" >logs/pip 2>&1 ||
        skip "pytorch-msssim" "$(tail -n 1 logs/pip)"
}

build_fused_ssim() {
    local source="$scratch/fused-ssim" commit capability
    # The commit of a folder that is a repository of its own; of another, its name.
    commit="$(basename "$FUSED_SSIM")"
    [ ! -e "$FUSED_SSIM/.git" ] || commit="$(git -C "$FUSED_SSIM" rev-parse --short HEAD)" || true
    capability="$(nvidia-smi --query-gpu=compute_cap --format=csv,noheader | head -n 1)" || true
    cp -r "$FUSED_SSIM" "$source" # the build writes beside its source
    step "build of fused-ssim, $commit" 150 'Detected GPU architecture: \K.*' \
        env -C "$source" TORCH_CUDA_ARCH_LIST="$capability" python3 setup.py build --build-base "$scratch/build" --build-lib "$scratch/site"
}

# Times and scores beside other libraries.
compare() {
    if ! python_has torch; then
        skip "times of other libraries" "PyTorch is not installed"
    else
        step "times of other libraries" 60 '^timed: \K.*' python3 gpu_peers.py
    fi
    if ! python_has torch torchmetrics; then
        skip "TorchMetrics" "PyTorch and TorchMetrics are not installed"
    else
        step "TorchMetrics" 100 '(\d+) of \1 within limits.*' python3 gpu_oracle.py ./scores cuda
    fi
}

profile() {
    local ncu
    ncu="$(tool ncu)"
    if [ -z "$ncu" ]; then
        skip "profile" "there is no ncu"
    else
        noise "$scratch/photograph" 1 3 1080 1920
        step "profile" 60 '\d+ launches of \d+ kernels' \
            python3 gpu_profile.py "$ncu" kernels ./scores cuda f32 "$scratch/photograph" 1 3 1080 1920
    fi
}

# Small images through every kernel; these tools make a kernel tens of times slower. The three of a dtype run at once.
sanitize() {
    local sanitizer dtype check
    sanitizer="$(tool compute-sanitizer)"
    for dtype in f32 f16; do
        for check in memcheck racecheck initcheck; do
            if [ -z "$sanitizer" ]; then
                skip "$check, $dtype" "there is no compute-sanitizer"
            else
                noise "$scratch/$check" 2 3 177 180
                step "$check, $dtype" 120 'SUMMARY: \K0 (errors|hazards).*' \
                    "$sanitizer" --tool "$check" --error-exitcode 1 ./scores cuda "$dtype" "$scratch/$check" 2 3 177 180 &
            fi
        done
        wait
    done
}

# Two images of noise in 0..1, as ./scores reads them.
noise() { # FILE N C H W
    python3 - "$@" <<'PYTHON'
import array, math, random, sys

count = 2 * math.prod(map(int, sys.argv[2:]))
random.seed(1)
some = array.array("f", (random.random() for _ in range(65_537)))
with open(sys.argv[1], "wb") as file:
    file.write((some * (count // len(some) + 1))[:count].tobytes())
PYTHON
}

# Prints what was measured, also to measured.md: a table of the steps, then times and kernels. Fails if a step failed.
report() {
    printf '\n\n'
    {
        about
        printf '\n| what | result | seconds |\n|---|---|---:|\n'
        cat rows
        printf '\nWall time of a call with its result on the host, images in f32:\n\n'
        beside | grep . || echo "not timed"
        printf '\n%s\n' "$(grep -s '^What an SSIM loss holds' "logs/times of other libraries")"
        printf '\nKernels of PSNR, SSIM, MS-SSIM, GMSD and VIFp, values and losses, 1×3×1080×1920, f32, with empty caches:\n\n'
        grep -s '^|' logs/profile || echo "not profiled"
    } | tee measured.md
    printf '\n'
    if grep -F '**FAILED**' rows; then
        exit 1
    fi
    echo "all that was not skipped passed"
}

# The heading, and what this was measured on and with.
about() {
    local gpu driver cuda torch
    IFS=, read -r gpu driver < <(nvidia-smi --query-gpu=name,driver_version --format=csv,noheader | head -n 1) || true
    cuda="$(nvidia-smi | grep -oP 'CUDA [A-Z ]*Version: \K[\d.]+' | head -n 1)" || true
    torch="$(python3 -c 'from importlib.metadata import version; print(version("torch"))' 2>/dev/null)" || true
    printf '## Measured on an %s\n\n' "$gpu"
    printf 'Driver%s, CUDA %s, PyTorch %s; commit %s, %s.\n' "$driver" "${cuda:-unknown}" "${torch:-none}" "$(cat commit)" "$(date -u +%F)"
}

# The table of our times, with the rows of other libraries below the row of ours that they are named after.
beside() {
    touch "logs/times" "logs/times of other libraries"
    awk -F'|' '!/^\|/ { next }
        FILENAME == ARGV[1] { name = $2; sub(/, [^,]*$/, "", name); theirs[name] = theirs[name] "\n" $0; next }
        { name = $2; sub(/ $/, "", name); print $0 theirs[name] }' "logs/times of other libraries" "logs/times"
}

case "${1:-}" in
build) build "${2:?$(usage)}" ;;
run) run "${2:?$(usage)}" ;;
*) usage ;;
esac
