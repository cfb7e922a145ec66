"""Profiles this library's CUDA kernels with Nsight Compute: `gpu_profile.py NCU KERNELS PROGRAM [ARGUMENT...]`.

KERNELS is a file with the name of a kernel in each line; launches of others are left out. Prints a Markdown table with a row for
each kernel and number of blocks, medians over its launches, the longest first. Exits with 77 where the driver shows no counters.
"""

import csv
import os
import statistics
import subprocess
import sys
from pathlib import Path

BLOCKS, REGISTERS, WARPS, INSTRUCTIONS, TIME = METRICS = (
    "launch__grid_size",
    "launch__registers_per_thread",
    "sm__warps_active.avg.pct_of_peak_sustained_active",
    "sm__inst_executed.avg.per_cycle_active",
    "gpu__time_duration.sum",
)
LAUNCHES = 150  # at most
MICROSECONDS = {"ns": 1e-3, "nsecond": 1e-3, "us": 1, "usecond": 1, "ms": 1e3, "msecond": 1e3, "s": 1e6, "second": 1e6}
NO_COUNTERS, SKIPPED = "ERR_NVGPUCTRPERM", 77


def profile(ncu, kernels, program):
    """What ncu prints: of its own, of the program, and a CSV with a line for each launch and metric."""
    # The clocks stay as they are: who measures on a machine of others does not set them. Caches are empty before each launch.
    command = [ncu, "--csv", "--print-units", "base", "--clock-control", "none", "--launch-count", str(LAUNCHES)]
    command += ["--kernel-name", f"regex:^({'|'.join(kernels)})$", "--metrics", ",".join(METRICS), *program]
    numbers = {**os.environ, "LC_ALL": "C"}  # with points
    return subprocess.run(command, check=False, env=numbers, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def launches(lines):
    """Kernel and metrics of each launch."""
    found = {}
    for line in csv.DictReader(line for line in lines if line.startswith('"')):
        number = float(line["Metric Value"].replace(",", ""))
        if line["Metric Name"] == TIME:
            number *= MICROSECONDS[line["Metric Unit"]]
        found.setdefault(line["ID"], {"kernel": line["Kernel Name"].split("(")[0]})[line["Metric Name"]] = number
    return list(found.values())


def table(found):
    """The lines of the table."""
    groups = {}
    for launch in found:
        groups.setdefault((launch["kernel"], launch[BLOCKS]), []).append(launch)
    rows = []
    for (kernel, blocks), same in groups.items():
        registers, warps, instructions, time = (statistics.median(launch[metric] for launch in same) for metric in METRICS[1:])
        cells = f"{len(same)} | {blocks:.0f} | {registers:.0f} | {warps:.0f} % | {instructions:.2f} | {time:.1f}"
        rows.append((time, f"| `{kernel}` | {cells} |"))
    yield "| kernel | launches | blocks | registers | warps active | instructions a cycle and multiprocessor (of 4) | µs |"
    yield "|---|---:|---:|---:|---:|---:|---:|"
    yield from (line for _, line in sorted(rows, reverse=True))


def main():
    ncu, names, *program = sys.argv[1:]
    result = profile(ncu, Path(names).read_text().split(), program)
    found = launches(result.stdout.splitlines())
    if result.returncode or not found:
        print(result.stdout)
        if NO_COUNTERS in result.stdout:
            print("the driver shows performance counters to administrators only")
            sys.exit(SKIPPED)
        sys.exit(f"ncu saw {len(found)} launches and exited with {result.returncode}")
    print("\n".join(table(found)))
    print(f"\n{len(found)} launches of {len({launch['kernel'] for launch in found})} kernels")


if __name__ == "__main__":
    main()
