#!/usr/bin/env bash
# Compiles the CUDA kernels with the real nvcc, fails on errors and register spills, and prints what each kernel needs.
#
# `compile-cuda.sh [FILE.cu...]`; without files, all kernels of metrics-image. NVCC names the compiler, else it is fetched. CUDA_ARCHS are
# the compute capabilities to compile for; 90 has to be among them.
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

read -ra archs <<<"${CUDA_ARCHS:-80 90 100 120}"
out="${CUDA_KERNELS_OUT:-$PWD/target/cuda-kernels}"
mkdir -p "$out"
reports=()
for source in "${sources[@]}"; do
    # The modules that the build script of metrics-image makes; warnings are errors here.
    modules=({u8,f16,bf16,f32,f64}_{7,9,11,any} pool gmsd vif)
    printf '%s\n' "${modules[@]}" | xargs -P "$(nproc)" -I{} "$NVCC" --ptx -O3 --default-stream per-thread -arch compute_80 -DMODULE={} \
        --Werror all-warnings -o "$out/{}.ptx" "$source"
    reports+=("${modules[@]/#/$out/}")
done
# A driver compiles that text for the card it finds: so does this, for an H100 or H200 and for what came before and after.
assemble() {
    "$1" -v -O3 -arch="sm_$3" -o "$2.sm_$3.cubin" "$2.ptx" 2>"$2.sm_$3.txt" || { cat "$2.sm_$3.txt" >&2; exit 255; }
}
export -f assemble
for arch in "${archs[@]}"; do
    printf '%s\n' "${reports[@]}" | xargs -P "$(nproc)" -I{} bash -c "assemble '$ptxas' {} $arch"
done
printf '%d modules: PTX for compute_80, compiled on for compute capability %s.\n\n' "${#reports[@]}" "${archs[*]}"
python3 scripts/occupancy.py "${reports[@]}"

# The inner loops of the scans, as a GPU executes them.
printf '\n'
python3 scripts/instructions.py "$(dirname "$NVCC")/nvdisasm" "$out"/{f32,f64}_{7,9,11}.sm_90.cubin \
    --limit value_11_f32=155 --limit gradient_11_f32=285 --border-limit value_11_f32=230 --border-limit gradient_11_f32=520
