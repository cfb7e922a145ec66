"""Reads `NAME.ptx` and what ptxas said of it (`NAME.ARCH.txt`), and prints registers, shared memory and occupancy on sm_90.

Fails if a kernel spills registers on any architecture. The block size is that of the kernel's `__launch_bounds__`, or 256;
shared memory asked for at launch is not in these files and has to be added.
"""

import glob
import re
import sys

# Limits of a multiprocessor of compute capability 9.0, from NVIDIA's tables of technical specifications.
WARPS, BLOCKS, REGISTERS, SHARED = 64, 32, 65536, 228 * 1024
SCHEDULERS, REGISTER_UNIT, SHARED_UNIT, SHARED_RESERVED = 4, 256, 128, 1024


def up(value, unit):
    return -(-value // unit) * unit


def occupancy(threads, registers, shared):
    """Blocks on a multiprocessor, and what limits them."""
    warps = up(threads, 32) // 32
    warp_registers = up(max(registers, 1) * 32, REGISTER_UNIT)
    limits = {
        "warps": WARPS // warps,
        "blocks": BLOCKS,
        "registers": REGISTERS // SCHEDULERS // warp_registers * SCHEDULERS // warps,
        "shared memory": SHARED // up(shared + SHARED_RESERVED, SHARED_UNIT),
    }
    limit = min(limits, key=limits.get)
    return limits[limit], warps, limit


def kernels(report):
    """Name, registers, shared memory and spilled bytes of each entry of a report of ptxas."""
    for part in re.split(r"Compiling entry function ", report)[1:]:
        name = re.match(r"'([^']+)'", part)[1]
        spilled = sum(int(n) for n in re.findall(r"(\d+) bytes spill", part))
        shared = re.search(r"(\d+) bytes smem", part)
        yield name, int(re.search(r"Used (\d+) registers", part)[1]), int(shared[1]) if shared else 0, spilled


def threads(ptx, name):
    """The product of the kernel's `.maxntid`, if it states one."""
    entry = re.search(rf"\.entry {re.escape(name)}\((?:[^{{]*)\{{", ptx)
    bound = entry and re.search(r"\.maxntid ([\d, ]+)", entry[0])
    if not bound:
        return None
    product = 1
    for side in bound[1].split(","):
        product *= int(side)
    return product


def main():
    spills, rows = [], []
    for path in sys.argv[1:]:
        with open(f"{path}.ptx") as file:
            ptx = file.read()
        for report in sorted(glob.glob(f"{path}.sm_*.txt")):
            arch = report.rsplit(".", 2)[1]
            with open(report) as file:
                found = list(kernels(file.read()))
            spills += [(name, spilled, arch) for name, _, _, spilled in found if spilled]
            if arch == "sm_90":
                rows += [(name, threads(ptx, name), registers, shared) for name, registers, shared, _ in found]
    if not rows:
        sys.exit("no kernel was found in the reports")
    print("| kernel | threads | registers | shared memory | blocks on a multiprocessor | occupancy | limited by |")
    print("|---|---:|---:|---:|---:|---:|---|")
    for name, bound, registers, shared in sorted(rows):
        block = bound or 256
        blocks, warps, limit = occupancy(block, registers, shared)
        stated = block if bound else f"{block} (assumed)"
        print(f"| `{name}` | {stated} | {registers} | {shared} | {blocks} | {100 * blocks * warps / WARPS:.0f} % | {limit} |")
    for name, spilled, arch in spills:
        print(f"\n{name} spills {spilled} bytes on {arch}")
    if spills:
        sys.exit(1)


if __name__ == "__main__":
    main()
