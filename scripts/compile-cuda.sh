#!/usr/bin/env bash
# Compiles the CUDA kernels with the real nvcc, fails on errors and register spills, and prints what each kernel needs.
#
# `compile-cuda.sh [FILE.cu...]`; without files, all kernels of metrics-image. NVCC names the compiler, else it is fetched.
set -euo pipefail
cd "$(dirname "$0")/.."

sources=("$@")
if ((!${#sources[@]})); then
    mapfile -t sources < <(find crates/metrics-image/src/engine/gpu/cuda -name '*.cu' | sort)
fi
if ((!${#sources[@]})); then
    echo "there is no .cu file in crates/metrics-image/src/engine/gpu/cuda" >&2
    exit 1
fi

if [ -z "${NVCC:-}" ]; then
    toolkit="$(scripts/fetch-nvcc.sh)"
    [ -n "$toolkit" ] || exit 0
    NVCC="$toolkit/bin/nvcc"
fi
ptxas="$(dirname "$NVCC")/ptxas"

out="${CUDA_KERNELS_OUT:-$PWD/target/cuda-kernels}"
mkdir -p "$out"
reports=()
for source in "${sources[@]}"; do
    # What the build script of metrics-image makes, a module for each type of pixels; warnings are errors here.
    for pixels in u8 f16 bf16 f32 f64; do
        module="$out/$(basename "$source" .cu)-$pixels"
        "$NVCC" --ptx -O3 --default-stream per-thread -arch compute_80 -DPIXELS="$pixels" --Werror all-warnings -o "$module.ptx" "$source"
        # A driver compiles that text for the card it finds: so does this, for an H100 or H200 and for what came before and after.
        for arch in sm_80 sm_90 sm_100 sm_120; do
            "$ptxas" -v -O3 -arch="$arch" -o "$module.$arch.cubin" "$module.ptx" 2>"$module.$arch.txt" ||
                { cat "$module.$arch.txt" >&2; exit 1; }
        done
        reports+=("$module")
    done
done
printf '%d modules: PTX for compute_80, compiled on for sm_80, sm_90, sm_100 and sm_120.\n\n' "${#reports[@]}"
python3 scripts/occupancy.py "${reports[@]}"

# The inner loops of the scans, as a GPU executes them; the limits say how far ahead of other libraries they are meant to be.
limits=(--limit value_11_f32=155 --limit gradient_11_f32=285)
for module in "${reports[@]}"; do
    [ "$(basename "$module")" = kernels-f32 ] || continue
    printf '\n'
    python3 scripts/instructions.py "$(dirname "$NVCC")/nvdisasm" "$module.sm_90.cubin" "${limits[@]}"
done
