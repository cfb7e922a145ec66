#!/usr/bin/env bash
# Builds the unit tests of metrics-image and prints where they are; SUITE names a build that is there.
set -euo pipefail
cd "$(dirname "$0")/.."

if [ -n "${SUITE:-}" ]; then
    realpath "$SUITE"
    exit 0
fi
# All of the workspace, whose dependencies are built by now with the features that it takes together.
cargo test --workspace --lib --no-run --message-format json-render-diagnostics | python3 -c '
import json, sys
print(*(m["executable"] for m in map(json.loads, sys.stdin) if m.get("executable") and m["target"]["name"] == "metrics_image"))'
