#!/usr/bin/env bash
# Type-checks and lints the workspace with the feature `metal` on a machine that is not a Mac.
#
# Two things stand in the way there: objc2 asks for an Objective-C runtime to be named, and objc2-metal links a framework. A copy
# of objc2-metal without them replaces it, in a workspace of links to this one, so that Cargo.lock stays as it is.
set -euo pipefail
cd "$(dirname "$0")/.."

root="$PWD"
# Shared with the check of CUDA: most dependencies are the same.
export CARGO_TARGET_DIR="${GPU_CHECK_DIR:-$PWD/target/gpu-check}"
export EMULATION_TYPES_ONLY=1 # nothing is linked
place="$CARGO_TARGET_DIR/metal"
rm -rf "$place/workspace" "$place/new"
mkdir -p "$place/workspace"

found="$(cargo metadata --format-version 1 --features metal --filter-platform aarch64-apple-darwin | python3 -c '
import json, os, sys
print(*(os.path.dirname(p["manifest_path"]) for p in json.load(sys.stdin)["packages"] if p["name"] == "objc2-metal"))')"
copy="$place/$(basename "$found")"
# Made once: a new copy would be compiled anew.
if [ ! -e "$copy" ]; then
    cp -r "$found" "$place/new"
    chmod -R u+w "$place/new"
    python3 - "$place/new" <<'PYTHON'
import re, sys
from pathlib import Path

def change(path, pattern, replacement):
    before = path.read_text()
    after, times = re.subn(pattern, replacement, before, flags=re.MULTILINE)
    if not times:
        sys.exit(f"{path} is not what this script expects: {pattern!r} was not found")
    path.write_text(after)

crate = Path(sys.argv[1])
framework = r'link\(name = "Metal", kind = "framework"\)'
change(crate / "src/generated/mod.rs", rf"#\[({framework})\]", r'#[cfg_attr(target_vendor = "apple", \1)]')
for name in ("objc2", "block2"):
    head = rf"^\[dependencies\.{name}\]\n(?:[^\[\n].*\n)*?"
    manifest = (crate / "Cargo.toml").read_text()
    table = re.search(head + r"(?=\n|\[)", manifest, re.MULTILINE)[0]
    if "features = [" in table:
        change(crate / "Cargo.toml", rf"({head}features = \[)", r'\1"gnustep-2-1", ')
    else:
        change(crate / "Cargo.toml", rf"(^\[dependencies\.{name}\]\n)", r'\1features = ["gnustep-2-1"]' + "\n")
PYTHON
    mv "$place/new" "$copy"
fi

for entry in "$root"/*; do
    case "$(basename "$entry")" in
    target | Cargo.toml | Cargo.lock) ;;
    *) ln -s "$entry" "$place/workspace/" ;;
    esac
done
cp Cargo.lock "$place/workspace/"
{
    cat Cargo.toml
    printf '\n[patch.crates-io]\nobjc2-metal = { path = "%s" }\n' "$copy"
} >"$place/workspace/Cargo.toml"

step() { printf '\n-- %s\n' "$*"; "$@"; }

cd "$place/workspace"
# Clippy checks all that `cargo check` does.
step cargo clippy --workspace --all-targets --features metal "$@" -- -D warnings
