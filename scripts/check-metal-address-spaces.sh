#!/usr/bin/env bash
# Checks the address spaces of the Metal kernels with clang's front end for OpenCL C++, whose rules they share.
#
# `check-metal-address-spaces.sh [FILE...]`: the pieces of one Metal source in their order; without any, those of metrics-image.
# It knows no vector constructors, templated kernels or copies of structs between address spaces: the kernels do without them.
set -euo pipefail
cd "$(dirname "$0")/.."

clang=""
for name in clang clang-{22..14}; do
    if command -v "$name" >/dev/null; then
        clang="$name"
        break
    fi
done
if [ -z "$clang" ]; then
    echo "skipped: no clang (Debian: apt-get install clang-14)"
    exit 0
fi

# An unqualified pointer is an error in Metal. OpenCL would let it point anywhere, unless what that needs is off; then it points to
# private memory only. Metal has no f64 either.
off=(-__opencl_c_generic_address_space -__opencl_c_device_enqueue -__opencl_c_pipes -__opencl_c_program_scope_global_variables
    -cl_khr_fp64 -__opencl_c_fp64)
language=(-x clcpp -cl-std=clc++2021 -cl-no-stdinc -cl-single-precision-constant -target spir64
    -Xclang "-cl-ext=$(IFS=,; echo "${off[*]}")")
warnings=(-Wall -Werror -Wno-unknown-attributes -Wno-unused-function)
check() { "$clang" "${language[@]}" "${warnings[@]}" -fsyntax-only -Iscripts/metal-shim -; }

prelude='#include <metal_stdlib>
using namespace metal;
float of_device(device const float* p) { return *p; }
'
while IFS= read -r wrong; do
    if echo "$prelude$wrong" | check 2>/dev/null; then
        echo "$clang accepts what Metal refuses: $wrong" >&2
        exit 1
    fi
done <<'WRONG'
float f(threadgroup float* p) { return of_device(p); }
float f(constant float* p) { return of_device(p); }
float f(device float* p) { float* q = p; return *q; }
void g(thread float& x); void f(device float* p) { g(*p); }
float f(float x) { double y = x; return y; }
WRONG
echo "$prelude float f(device float* p) { threadgroup_barrier(mem_flags::mem_device); return of_device(p + 1); }" | check || {
    echo "skipped: $clang cannot check OpenCL C++"
    exit 0
}

sources=("$@")
if ((!${#sources[@]})); then
    kernel="crates/metrics-image/src/kernel"
    for source in "$kernel"/metal/dialect.metal "$kernel"/gpu/*.h "$kernel"/metal/kernels.metal; do
        [ ! -e "$source" ] || sources+=("$source")
    done
fi
if ((!${#sources[@]})); then
    echo "skipped: metrics-image has no Metal kernels"
    exit 0
fi
for source in "${sources[@]}"; do
    printf '#line 1 "%s"\n' "$source"
    # Lines that only a single file needs.
    sed -e 's/^#pragma once$//' -e 's/\[\[host_name([^]]*)\]\]//' "$source"
done | check
echo "$clang: the address spaces of ${#sources[@]} files agree"
