#!/usr/bin/env bash
# Checks the address spaces of the Metal kernels with clang's front end for OpenCL C++, whose rules they share.
#
# `check-metal-address-spaces.sh [FILE...]`: the pieces of one Metal source in their order; without any, those of metrics-image.
# It knows no vector constructors, templated kernels or copies of structs between address spaces: the kernels do without.
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

# Metal has no f64.
language=(-x clcpp -cl-std=clc++2021 -cl-no-stdinc -cl-single-precision-constant -target spir64
    -Xclang "-cl-ext=-cl_khr_fp64,-__opencl_c_fp64")
warnings=(-Wall -Werror -Wno-unknown-attributes -Wno-unused-function)
# An unqualified pointer or reference is an error in Metal; in OpenCL it may point anywhere, and clang's tree says so.
check() {
    local tree
    tree="$("$clang" "${language[@]}" "${warnings[@]}" -fsyntax-only -Xclang -ast-dump -Iscripts/metal-shim -)" || return 1
    # Only what has a name: the rest are operators that nobody wrote.
    grep -E "(ParmVar|Var|Field)Decl .*:[0-9]+( used| referenced)? [A-Za-z_][A-Za-z0-9_]* '[^']*__generic" <<<"$tree" |
        grep -vE ":[0-9]+ (used|referenced) '" >&2 && return 1
    return 0
}

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
    kernels="crates/metrics-image/src/engine/gpu"
    # As the library puts them together.
    mapfile -t sources < <(sed -n 's/^ *include_str!("\(.*\)"),$/\1/p' "$kernels/metal/mod.rs" | sed "s|^|$kernels/metal/|")
    ((${#sources[@]})) || { echo "no source was found in $kernels/metal/mod.rs" >&2; exit 1; }
fi
for source in "${sources[@]}"; do
    printf '#line 1 "%s"\n' "$source"
    cat "$source"
done | check
echo "$clang: the address spaces of ${#sources[@]} files agree"
