"""Reads cubins with nvdisasm, and prints how many instructions the hottest loop of each kernel executes for a result.

`instructions.py NVDISASM CUBIN... [--kernels REGEX] [--limit KERNEL=NUMBER]... [--border-limit KERNEL=NUMBER]...`. Fails if a kernel
needs more than its limit, or keeps registers in memory.

A loop counts if it has at least 100 fused multiply-adds, approximate reciprocals, and no such loop inside of it. Each result
takes two reciprocals, so their number says how many results a pass of the loop makes, over the columns of a thread and the passes
that the compiler unrolled. Of several loops the one with the fewest instructions a result is taken: that of tiles which touch no
border; the one with the most is that of tiles which touch one, and as long as the slowest of these takes a launch that has but one wave
of blocks. Every instruction of the loop counts once, also those that only some passes or threads execute; functions that it calls
do not count.
"""

import argparse
import re
import subprocess
import sys

MULTIPLY_ADDS = 100
RECIPROCALS = 2  # of a result

# The first that matches counts: some instructions of arithmetic only move a value.
CLASSES = {
    "moves": r"(U?MOV|CS2R|R2UR|U?SEL|U?PRMT)\b|IMAD\.MOV|HFMA2.* -?RZ, -?RZ,",
    "FFMA": r"[FD]FMA",
    "FMUL": r"[FD]MUL",
    "FADD": r"[FD]ADD",
    "LDS": r"LDS",
    "LDG": r"LDG",
    "STS": r"STS",
    "STG": r"STG",
    "spills": r"LDL|STL",
    "barriers": r"BAR\b|WARPSYNC|NOP",  # a barrier of a warp whose threads go together is a NOP
    "branches, predicates": r"BR[AX]|JM[PX]|CALL|RET|EXIT|BSSY|BSYNC|BREAK|U?P2U?R|R2U?P\b|U?[IFDH]SETP|U?PLOP3|FCHK|VOTE",
    "integer": r"U?(IMAD|IADD|IMUL|IMNMX|IABS|ISCADD|LEA|LOP|SHF\b|SHL\b|SHR\b|SGXT|BMSK|POPC|FLO|VI)",
}


class Kernel:
    """The instructions of a kernel in order, and which may follow and precede which."""

    def __init__(self, listing):
        self.code, labels = [], {}
        for line in listing.splitlines():
            if label := re.match(r"([.$\w]+):", line):
                labels[label[1]] = len(self.code)
            elif instruction := re.match(r"\s*/\*[0-9a-f]+\*/\s+(@!?U?P\w+\s+)?(.*?)\s*;", line):
                self.code.append((bool(instruction[1]), instruction[2]))
        self.after = [self.following(at, labels) for at in range(len(self.code))]
        self.before = [[] for _ in self.code]
        for at in self.reached(0, self.after):
            for to in self.after[at]:
                self.before[to].append(at)

    def following(self, at, labels):
        predicated, text = self.code[at]
        operation = re.match(r"\w+", text)[0]
        branches = operation in ("BRA", "BRX", "JMP", "JMX")
        # A branch is conditional by its predicate or by one among its operands.
        conditional = predicated or re.match(r"\S+ +!?U?P\d", text)
        targets = {labels[name] for name in re.findall(r"\.L_\w+", text)} if branches else set()
        if text.startswith("BRA.DIV"):
            # Where a warp's threads diverged, which the hot way is not.
            targets, conditional = set(), True
        # Threads meet at a BSYNC and go on behind it: the compiler puts it there.
        if conditional or not branches and operation not in ("RET", "EXIT"):
            targets.add(at + 1)
        return {to for to in targets if to < len(self.code)}

    @staticmethod
    def reached(start, edges, found=()):
        """Where the edges lead from a start without going on behind what is found already; that is in it as well."""
        found, left = {start, *found}, [start]
        while left:
            for to in edges[left.pop()]:
                if to not in found:
                    found.add(to)
                    left.append(to)
        return found

    def loops(self):
        """The natural loops: of each target of branches backward, what reaches these branches without passing it."""
        loops = {}
        for head in range(len(self.code)):
            for end in self.before[head]:
                if end >= head:
                    body = {head} if end == head else self.reached(end, self.before, [head])
                    # It is no loop if it can be entered elsewhere than at its head.
                    if head == 0 or 0 not in body:
                        loops[head] = loops.get(head, set()) | body
        return loops.values()

    def count(self, pattern, body):
        return sum(bool(re.match(pattern, self.code[at][1])) for at in body)

    def hottest(self):
        """Of the loop with the fewest instructions a result, if there is one: instructions, results and the count of each class. Of that
        with the most, instructions a result."""
        large = []
        for body in self.loops():
            results = self.count(r"MUFU\.RCP", body) // RECIPROCALS
            if results and self.count(CLASSES["FFMA"], body) >= MULTIPLY_ADDS:
                large.append((len(body) / results, results, body))
        inner = [loop for loop in large if not any(other[2] < loop[2] for other in large)]
        if not inner:
            return None
        _, results, body = min(inner, key=lambda loop: loop[0])
        classes = dict.fromkeys([*CLASSES, "other"], 0)
        for at in body:
            classes[next((name for name, pattern in CLASSES.items() if re.match(pattern, self.code[at][1])), "other")] += 1
        return len(body), results, classes, max(ratio for ratio, _, _ in inner)


def kernels(nvdisasm, cubin):
    """Name and code of each kernel."""
    listing = subprocess.run([nvdisasm, "-c", cubin], check=True, stdout=subprocess.PIPE, text=True).stdout
    for part in re.split(r"\n\s*\.section\s+\.text\.", listing)[1:]:
        yield re.match(r"[^,\s]+", part)[0], part


def limit(text):
    name, number = text.rsplit("=", 1)
    return name, float(number)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("nvdisasm")
    parser.add_argument("cubin", nargs="+")
    parser.add_argument("--kernels", metavar="REGEX", default="^(value|gradient)_")
    parser.add_argument("--limit", metavar="KERNEL=NUMBER", type=limit, action="append", default=[])
    parser.add_argument("--border-limit", metavar="KERNEL=NUMBER", type=limit, action="append", default=[])
    arguments = parser.parse_args()

    rows = []
    for cubin in arguments.cubin:
        for name, text in kernels(arguments.nvdisasm, cubin):
            loop = re.search(arguments.kernels, name) and Kernel(text).hottest()
            if loop:
                rows.append((name, *loop))
    if not rows:
        sys.exit("no kernel with such a loop was found")
    columns = ["kernel", "instructions", "results", "instructions a result", "at a border", *rows[0][3]]
    print(f"| {' | '.join(columns)} |")
    print(f"|---{'|---:' * (len(columns) - 1)}|")
    for name, instructions, results, classes, border in sorted(rows, key=lambda row: row[0]):
        counts = " | ".join(str(count) for count in classes.values())
        print(f"| `{name}` | {instructions} | {results} | {instructions / results:.1f} | {border:.1f} | {counts} |")

    faults = [f"{name} keeps registers in memory in its inner loop" for name, *_, classes, _ in rows if classes["spills"]]
    inside = {name: instructions / results for name, instructions, results, *_ in rows}
    borders = {name: border for name, *_, border in rows}
    for found, where, limits in (inside, "", arguments.limit), (borders, " at a border", arguments.border_limit):
        for name, most in limits:
            if name not in found:
                faults.append(f"{name} has no loop to hold to its limit of {most:g}")
            elif found[name] > most:
                faults.append(f"{name} executes {found[name]:.1f} instructions a result{where}, more than its limit of {most:g}")
    if faults:
        sys.exit("\n" + "\n".join(faults))


if __name__ == "__main__":
    main()
