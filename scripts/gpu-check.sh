#!/usr/bin/env bash
# Proves a CUDA build on a GPU: `gpu-check.sh build FILE.tar.xz` anywhere on Linux, then `gpu-check.sh run FOLDER` beside the GPU.
#
# FOLDER is what the archive unpacks to. The machine with the GPU needs a driver of the 580 series or newer, and cuBLAS and cuRAND
# of CUDA 13, from CUDA or from Python wheels; with Python, PyTorch and TorchMetrics it compares with these too.
set -euo pipefail

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
import json, shutil, sys

names = {"device": "device", "scores": "scores", "train_denoiser": "train_denoiser", "device_memory": "device_memory",
         "metrics_image": "suite"}
for line in open(sys.argv[1]):
    message = json.loads(line)
    if message.get("executable") and (name := names.pop(message["target"]["name"], None)):
        shutil.copy(message["executable"], f"{sys.argv[2]}/{name}")
if names:
    sys.exit(f"not built: {', '.join(names)}")
PYTHON
    strip "$folder"/*
    cp -r examples/images "$folder/images"
    cp scripts/gpu-check.sh scripts/gpu_oracle.py "$folder/"
    git rev-parse HEAD >"$folder/commit"
    XZ_OPT=-T0 tar -C "$stage" -cJf "$archive" gpu-check
    ls -lh "$archive"
}

run() {
    cd "$1"
    # The libraries of CUDA may be those that came with PyTorch.
    local libraries
    libraries="$(python3 -c 'import nvidia.cu13; print(list(nvidia.cu13.__path__)[0] + "/lib")' 2>/dev/null || true)"
    export LD_LIBRARY_PATH="$libraries${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}" METRICS_TEST_DEVICE=cuda
    export PROPTEST_RNG_SEED=20261127 # as .cargo/config.toml

    local failed=() skipped=()
    step() { # name, seconds, command
        local name="$1" limit="$2"
        shift 2
        printf '\n== %s: %s\n' "$name" "$*"
        local start=$SECONDS
        timeout "$limit" "$@" || failed+=("$name")
        echo "-- $((SECONDS - start)) s"
    }

    echo "commit $(cat commit), $(date -u +%F)"
    nvidia-smi --query-gpu=name,driver_version,memory.total --format=csv,noheader
    step "shared suite" 600 ./suite
    step "memory over 10,000 updates" 300 ./device_memory
    step "train_denoiser" 300 ./train_denoiser --device cuda --images images --out out
    step "times" 300 ./device cuda
    if python3 -c 'import torch, torchmetrics' 2>/dev/null; then
        step "TorchMetrics" 600 python3 gpu_oracle.py ./scores cuda
    else
        skipped+=("TorchMetrics: PyTorch and TorchMetrics are not installed")
    fi
    local sanitizer
    sanitizer="$(PATH="$PATH:/usr/local/cuda/bin" command -v compute-sanitizer || true)"
    if [ -n "$sanitizer" ]; then
        # Small images through every kernel; the tools make a kernel tens of times slower.
        python3 -c 'import random, struct; random.seed(1); n = 2 * 2 * 3 * 177 * 180
open("pair", "wb").write(struct.pack(f"<{n}f", *(random.random() for _ in range(n))))'
        for dtype in f32 f16; do
            for tool in memcheck racecheck initcheck; do
                step "$tool, $dtype" 300 "$sanitizer" --tool "$tool" --error-exitcode 1 ./scores cuda "$dtype" pair 2 3 177 180
            done
        done
    else
        skipped+=("memcheck, racecheck and initcheck: there is no compute-sanitizer")
    fi

    printf '\n'
    ((!${#skipped[@]})) || printf 'skipped: %s\n' "${skipped[@]}"
    if ((${#failed[@]})); then
        printf 'FAILED: %s\n' "${failed[@]}"
        exit 1
    fi
    echo "all passed"
}

case "${1:-}" in
build) build "${2:?$(usage)}" ;;
run) run "${2:?$(usage)}" ;;
*) usage ;;
esac
