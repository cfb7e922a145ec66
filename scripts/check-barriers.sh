#!/usr/bin/env bash
# Leaves out each barrier of the GPU kernels in turn, and expects the tests of their values to fail in emulation.
#
# `check-barriers.sh [--of-device]`: with the option, only those that order the accesses of a block to the memory of the device.
#
# The emulation's watch over memory is off: this shows that wrong numbers are noticed too. With the watch, the unit test
# `threads_race_without_any_barrier_of_any_kernel` goes through the barriers of each kernel.
set -euo pipefail
cd "$(dirname "$0")/.."

barriers='BARRIER(_OF_DEVICE)?\(\);'
[ "${1:-}" != --of-device ] || barriers='BARRIER_OF_DEVICE\(\);'
kernels="$PWD/crates/metrics-image/src/engine/gpu"
suite="$(bash scripts/suite-binary.sh)"

# Small images through every kernel: values, gradients, errors, scales, volumes, strided views. Those that take a moment come first.
quick=(engine::gpu::tests::views engine::gpu::tests::few_launches engine::gpu::tests::planar::gmsd)
slow=(engine::gpu::tests::strips_of)
cd crates/metrics-image
export EMULATION_WATCH=0 RUST_BACKTRACE=0
"$suite" "${quick[@]}" "${slow[@]}" >/dev/null || { echo "the tests fail with all barriers" >&2; exit 1; }

missed=0
while IFS=: read -r file line _; do
    place="$(basename "$file"):$line"
    export EMULATION_WITHOUT_BARRIER="$place"
    if "$suite" "${quick[@]}" >/dev/null 2>&1 && "$suite" "${slow[@]}" >/dev/null 2>&1; then
        echo "no test fails without the barrier at $place" >&2
        missed=1
    else
        echo "without the barrier at $place: tests fail"
    fi
done < <(grep -nE "$barriers" "$kernels"/*.h "$kernels"/../../measure/*.h)
exit "$missed"
