#!/usr/bin/env bash
# Type-checks and lints the workspace with the CUDA features; needs neither a GPU nor CUDA.
set -euo pipefail
cd "$(dirname "$0")/.."

# A target directory for type checks alone: Candle's build script does not notice another nvcc, and a build over this one's empty
# PTX would fail only when it runs.
export CARGO_TARGET_DIR="${GPU_CHECK_DIR:-$PWD/target/gpu-check}"
export EMULATION_TYPES_ONLY=1 # nothing is linked
mkdir -p "$CARGO_TARGET_DIR/bin"
ln -sf "$PWD/scripts/nvcc-typecheck" "$CARGO_TARGET_DIR/bin/nvcc"
# Candle's build script looks at NVCC first, that of its driver bindings at the path alone.
export NVCC="$CARGO_TARGET_DIR/bin/nvcc" PATH="$CARGO_TARGET_DIR/bin:$PATH" CUDA_COMPUTE_CAP=80
unset CUDARC_CUDA_VERSION

step() { printf '\n-- %s\n' "$*"; "$@"; }

# Lints with everything on; then whether `cuda` lacks anything that only `cudnn` brings.
step cargo clippy --workspace --all-targets --features cuda,cudnn "$@" -- -D warnings
step cargo check --workspace --all-targets --features cuda "$@"
