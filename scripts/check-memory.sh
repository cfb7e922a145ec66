#!/usr/bin/env bash
# Runs tests of the kernels at small sizes under valgrind's memcheck: a decision that rests on memory nobody wrote is an error, as is an
# access beyond what was allocated.
#
# `check-memory.sh [TEST...]`: the names of tests, or parts of names; without any, those of the engine that take seconds there.
# valgrind 3.19 says that the machine has no AVX-512, so this takes the path of AVX2. The emulation of GPU kernels is left out: it has a
# watch of its own over memory.
set -euo pipefail
cd "$(dirname "$0")/.."

command -v valgrind >/dev/null || { apt-get update && apt-get install -y --no-install-recommends valgrind; } >&2 ||
    { echo "skipped: valgrind cannot be had here" >&2; exit 0; }

suite="$(bash scripts/suite-binary.sh)"

tests=("$@")
((${#tests[@]})) || tests=(engine:: --skip engine::gpu --skip engine::suite --skip every_instruction_set --skip sizes --skip tests::gradients --skip same_bits)
# A filter that matches nothing would pass.
"$suite" "${tests[@]}" --list | grep ': test$' >/dev/null || { echo "no test is named ${tests[*]}" >&2; exit 1; }
cd crates/metrics-image
RAYON_NUM_THREADS=2 RUST_BACKTRACE=0 valgrind --quiet --error-exitcode=1 --exit-on-first-error=yes --errors-for-leak-kinds=none \
    "$suite" "${tests[@]}" --test-threads 1
