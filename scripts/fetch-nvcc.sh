#!/usr/bin/env bash
# Fetches nvcc 13.0 and nvdisasm from their PyPI wheels and prints the folder of the toolkit.
#
# `--all` adds what Candle's own kernels and linking need.
# It goes to NVCC_HOME, or target/nvcc; nothing is fetched twice. Prints nothing and succeeds where it cannot be had.
set -euo pipefail
cd "$(dirname "$0")/.."

home="${NVCC_HOME:-$PWD/target/nvcc}"
toolkit="$home/nvidia/cu13"

# 13.0 is the newest whose PTX a driver of the 580 series takes. No nvdisasm of 13.0 is on PyPI; it reads what older compilers made.
set_of="compiler"
wheels=(nvidia-cuda-nvcc==13.0.88 nvidia-cuda-crt==13.0.88 nvidia-nvvm==13.0.88 nvidia-cuda-runtime==13.0.96
    nvidia-cuda-nvdisasm==13.2.51)
if [ "${1:-}" = "--all" ]; then
    set_of="all"
    wheels+=(nvidia-cuda-cccl==13.0.85 nvidia-curand==10.4.0.35 nvidia-cuda-nvrtc==13.0.88)
fi

# Counts up when a list of wheels changes, so that a folder filled from an older one is filled again.
edition=2

skip() {
    echo "skipped: nvcc cannot be had here ($1)" >&2
    exit 0
}

if [ ! -e "$home/$set_of-$edition.complete" ]; then
    [ "$(uname -sm)" = "Linux x86_64" ] || skip "its wheels are fetched for Linux on x86-64 only"
    command -v python3 >/dev/null || skip "no python3"
    python3 -m pip --version >/dev/null 2>&1 || skip "no pip"
    mkdir -p "$home"
    download="$(mktemp -d "$home/wheels.XXXXXX")"
    trap 'rm -rf "$download"' EXIT
    echo "fetching ${wheels[*]}" >&2
    python3 -m pip download --quiet --disable-pip-version-check --no-deps --dest "$download" "${wheels[@]}" >&2 ||
        skip "the download failed"
    for wheel in "$download"/*.whl; do
        python3 -m zipfile -e "$wheel" "$home"
    done
    # Wheels carry neither permissions nor the links that a linker looks for.
    chmod +x "$toolkit"/bin/* "$toolkit"/nvvm/bin/*
    ln -sfn lib "$toolkit/lib64"
    for library in "$toolkit"/lib/*.so.*; do
        ln -sf "$(basename "$library")" "${library%%.so.*}.so"
    done
    touch "$home/compiler-$edition.complete" "$home/$set_of-$edition.complete"
fi
"$toolkit/bin/nvcc" --version >/dev/null || skip "it does not run on this machine"
echo "$toolkit"
