#!/usr/bin/env bash
# Runs the text of the GPU kernels on the CPU with AddressSanitizer and UndefinedBehaviorSanitizer, through their shared suite.
set -euo pipefail
cd "$(dirname "$0")/.."

export EMULATION_SANITIZE=1
suite="$(bash scripts/suite-binary.sh)"

# The program is Rust's, so the sanitizer has to be there before it. Fibers leave their stacks without telling it, hence no fake ones.
LD_PRELOAD="$(g++ -print-file-name=libasan.so)"
export LD_PRELOAD
export ASAN_OPTIONS=detect_leaks=0:detect_stack_use_after_return=0 UBSAN_OPTIONS=print_stacktrace=1
# All values and gradients, in strips of every length; laws and sizes repeat them.
tests=(engine::suite engine::gpu --skip laws --skip every_size "$@")
# A filter that matches nothing would pass.
"$suite" "${tests[@]}" --list | grep ': test$' >/dev/null || { echo "no test is named ${tests[*]}" >&2; exit 1; }
"$suite" "${tests[@]}"
