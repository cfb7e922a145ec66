"""Times other libraries' SSIM, GMSD and VIFp beside this one's, in turn and in one run, and writes docs/benchmarks.md.

    python benches/peers/run.py [--quick] [--python PYTHON] [--machine WORDS]

Makes a virtual environment from requirements.txt, unless it is given the Python of one, and builds both Rust sides. Every side is a
process that holds the images and answers on standard input and output, so that no start-up is timed; clock.rs says what a turn is.
"""

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from statistics import median

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
PAGE = ROOT / "docs" / "benchmarks.md"
REQUIREMENTS = HERE / "requirements.txt"
BURN, CRATES = HERE / "burn", HERE / "crates"
TARGET = ROOT / "target"
MIMALLOC_TARGET = TARGET / "mimalloc"
THREADS = "2"
ENVIRONMENT = os.environ | {name: THREADS for name in ("RAYON_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS")}

# Both sides compute in f32: moments of values near 0.5 are good to 1e-7, and the smallest denominators are near 0.1.
SCORE_TOLERANCE = 1e-5


@dataclass
class Peer:
    """A library, what is called, and how many times faster this library aims to be at 1×3×1080×1920, if it has an aim."""

    name: str
    call: str
    forward: float | None
    backward: bool = True
    same: bool = True  # whether it computes what ours computes
    measure: str = "SSIM"

    @property
    def program(self):
        """Which of the programs that answer for other libraries has it."""
        return {"burn": "burn", "blazediff-ssim": "crates", "image-compare": "crates"}.get(self.name, "python")


PEERS = [
    Peer("kornia", "`kornia.metrics.ssim(pred, target, window_size=11, max_val=1.0).mean()`", 12),
    Peer("burn", "`SsimMetric::update` of burn-train on its Flex backend", 25, backward=False),
    Peer("blazediff-ssim", "`blazediff_ssim::ssim` of each plane, cut into bands that it does not shrink", None, backward=False),
    Peer("image-compare", "`rgb_similarity_structure` with `MSSIMSimple`, an image at a time", None, backward=False, same=False),
    Peer("scikit-image", "`structural_similarity(…, gaussian_weights=True, sigma=1.5)`, an image at a time", 30, backward=False),
    Peer("pytorch-msssim", "`pytorch_msssim.ssim(pred, target, data_range=1.0)`", 35),
    Peer("piq", "`piq.ssim(pred, target, data_range=1.0, downsample=False)`", 35),
    Peer("torchmetrics", "`structural_similarity_index_measure(pred, target, data_range=1.0)`", 80),
]
PEERS += [
    Peer("piq", "`piq.gmsd(pred, target, data_range=1.0)`", 20, measure="GMSD"),
    Peer("piq", "`piq.vif_p(pred, target, data_range=1.0)`", 20, measure="VIFp"),
    Peer("torchmetrics", "`visual_information_fidelity` of values in 0..255", 20, backward=False, measure="VIFp"),
]
FASTEST_BACKWARD = {"SSIM": 35, "GMSD": 20, "VIFp": 20}  # times faster than the fastest peer that has a gradient
# What the programs are asked for: the value, and the value with the gradient.
TASKS = {"SSIM": ("forward", "backward"), "GMSD": ("gmsd", "gmsd_grad"), "VIFp": ("vif", "vif_grad")}


@dataclass
class Setting:
    shape: tuple
    rounds: int
    slack: float  # what SSIM's targets are divided by


FULL = [Setting((1, 3, 1080, 1920), 9, 1.0), Setting((16, 3, 256, 256), 9, 1.5)]
QUICK = [Setting((1, 3, 96, 128), 3, 1.0), Setting((2, 3, 64, 64), 3, 1.5)]


class Side:
    """A process with a pair of images in memory, asked for one turn after the other."""

    def __init__(self, command, images, shape):
        command = [str(part) for part in (*command, images, *shape)]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=ENVIRONMENT)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.stdin.close()
        self.process.wait()

    def turn(self, task, library):
        """Seconds of a call, and the score."""
        print(task, library, file=self.process.stdin, flush=True)
        answer = self.process.stdout.readline()
        if not answer:
            raise SystemExit(f"{self.process.args[0]} stopped at: {task} {library}")
        return tuple(map(float, answer.split()))


# ---- preparing


def make_python():
    python = HERE / ".venv" / "bin" / "python"
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", python.parent.parent], check=True)
    subprocess.run([python, "-m", "pip", "install", "--quiet", "-r", REQUIREMENTS], check=True)
    return python


def build():
    """Our side twice: with the system's allocator, and with mimalloc."""
    ours = ["cargo", "build", "--release", "-p", "benches", "--bins"]
    subprocess.run([*ours, "--features", "mimalloc", "--target-dir", MIMALLOC_TARGET], cwd=ROOT, check=True)
    subprocess.run(ours, cwd=ROOT, check=True)
    burn = ["cargo", "build", "--release", "--locked", "--target-dir", TARGET / "burn-peer"]
    subprocess.run(["nice", "-n", "10", *burn], cwd=BURN, check=True)
    crates = ["cargo", "build", "--release", "--locked", "--target-dir", TARGET / "crates-peer"]
    subprocess.run(crates, cwd=CRATES, check=True)


def write_images(python, path, shape):
    """Noise, and the same noise under other noise, as f32 in 0..1."""
    code = """
import sys, numpy as np
rng, shape = np.random.Generator(np.random.PCG64(1)), tuple(map(int, sys.argv[2:]))
target = rng.random(shape, dtype=np.float32)
pred = np.float32(0.8) * target + np.float32(0.2) * rng.random(shape, dtype=np.float32)
np.stack([pred, target]).astype("<f4").tofile(sys.argv[1])
"""
    subprocess.run([python, "-c", code, path, *map(str, shape)], check=True)


# ---- measuring


def measure(python, setting):
    """For each peer and task: the medians of its turns and of ours beside them; those of gradients also with mimalloc."""
    with tempfile.TemporaryDirectory() as folder:
        images = Path(folder) / "images"
        write_images(python, images, setting.shape)
        with (
            Side([TARGET / "release" / "ours"], images, setting.shape) as ours,
            Side([MIMALLOC_TARGET / "release" / "ours"], images, setting.shape) as ours_mimalloc,
            Side([python, HERE / "python_peers.py"], images, setting.shape) as python_peers,
            Side([TARGET / "burn-peer" / "release" / "burn-peer"], images, setting.shape) as burn,
            Side([TARGET / "crates-peer" / "release" / "crates-peer"], images, setting.shape) as crates,
        ):
            programs = {"python": python_peers, "burn": burn, "crates": crates}
            medians = {}
            for peer in PEERS:
                theirs, (forward, backward) = programs[peer.program], TASKS[peer.measure]
                medians[peer.name, forward] = compare(peer, forward, [theirs, ours], setting.rounds)
                if peer.backward:
                    sides = [theirs, ours, ours_mimalloc]
                    medians[peer.name, backward] = compare(peer, backward, sides, setting.rounds)
            return medians


def compare(peer, task, sides, rounds):
    """Seconds of each side; the first is the library's own."""
    turns = [[side.turn(task, peer.name) for side in sides] for _ in range(rounds)]
    their_score, *our_scores = (score for _, score in turns[0])
    if peer.same and not all(abs(their_score - score) <= SCORE_TOLERANCE for score in our_scores):
        raise SystemExit(f"{peer.name} scores {their_score}, we {our_scores}: not the same computation")
    medians = [median(seconds for seconds, _ in column) for column in zip(*turns)]
    print(f"{peer.name:15} {task:9} {', ours '.join(f'{seconds * 1e3:8.2f} ms' for seconds in medians)}", flush=True)
    return medians


def measure_ratios(quick):
    """With the system's allocator; then the rows of gradients and threads with one that keeps memory."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "ratios.json"

        def run(target):
            command = [target / "release" / "ratios", *["--quick"] * quick, "--json", file]
            subprocess.run(command, cwd=ROOT, env=ENVIRONMENT, check=True)
            return json.loads(file.read_text())

        kept = [row for row in run(MIMALLOC_TARGET) if re.search("with gradient|value_and_grad", row["what"])]
        return run(TARGET) + [row | {"what": row["what"] + ", mimalloc"} for row in kept]


# ---- the page


def peer_table(measure, setting, medians):
    forward, backward = TASKS[measure]
    slack = setting.slack if measure == "SSIM" else 1.0
    lines = [
        "| | forward | ours | times faster | aim | forward + backward | ours | times faster | ours, mimalloc | times faster |",
        "|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for peer in PEERS:
        if peer.measure != measure:
            continue
        their, our = medians[peer.name, forward]
        aim = f"{peer.forward / slack:.0f}" if peer.forward else "–"
        cells = [peer.name, ms(their), ms(our), f"{their / our:.1f}", aim]
        if peer.backward:
            their, *ours = medians[peer.name, backward]
            cells += [ms(their), *(cell for our in ours for cell in (ms(our), f"{their / our:.1f}"))]
        else:
            cells += ["–"] * 5
        lines.append(f"| {' | '.join(cells)} |")
    fastest, ours, ours_mimalloc = min(times for (_, task), times in medians.items() if task == backward)
    lines += [
        "",
        f"Forward and backward, against the fastest that has a gradient: {fastest / ours:.1f} times faster,"
        f" {fastest / ours_mimalloc:.1f} times with mimalloc (aim: {FASTEST_BACKWARD[measure] / slack:.0f}).",
    ]
    return "\n".join(lines)


def ratio_table(rows):
    lines = ["| | aim | reached | met | times |", "|---|---:|---:|---|---|"]
    for row in rows:
        cells = [row["what"], row["target"], row["reached"], "yes" if row["met"] else "no", row["detail"]]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def ms(seconds):
    return f"{seconds * 1e3:.{0 if seconds >= 0.1 else 2 if seconds >= 1e-3 else 3}f} ms"


def this_machine():
    """This machine in words."""
    model = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())[1]
    memory = int(re.search(r"MemTotal:\s*(\d+)", Path("/proc/meminfo").read_text())[1]) / 2**20
    return f"{os.cpu_count()} cores of an {model.removesuffix(' Processor')}, {memory:.0f} GiB of memory"


def installed(python):
    names = re.findall(r"^([\w-]+)==", REQUIREMENTS.read_text(), re.MULTILINE)
    code = "import sys, importlib.metadata as m; print(*(f'{name} {m.version(name)}' for name in sys.argv[1:]), sep=', ')"
    libraries = subprocess.run([python, "-c", code, *names], check=True, capture_output=True, text=True).stdout.strip()
    rustc = subprocess.run(["rustc", "--version"], check=True, capture_output=True, text=True).stdout.split()[1]
    manifests = "".join((project / "Cargo.toml").read_text() for project in (BURN, CRATES))
    crates = re.findall(r'^(burn-train|blazediff-ssim|image-compare) = .*?"=([\d.]+)"', manifests, re.MULTILINE)
    return ", ".join([f"rustc {rustc}", *map(" ".join, crates), libraries])


def page(machine, versions, ratios, results):
    calls = "\n".join(f"- {peer.measure}, {peer.name}: {peer.call}" for peer in PEERS)
    tables = "\n\n".join(
        f"### {measure}, {'×'.join(map(str, setting.shape))}\n\n{peer_table(measure, setting, medians)}"
        for measure in TASKS
        for setting, medians in results
    )
    return f"""# Benchmarks

Written by `python benches/peers/run.py`, which measures all of this again (Python 3.11 or newer, a Rust toolchain; about 3 GB of
Python packages). `cargo run --release -p benches --bin ratios` measures the second part alone, and `cargo bench -p benches` runs
the Criterion benches.

Machine: {machine}. {THREADS} threads on every side, default build flags, f32 images with values in 0..1.
Versions: {versions}.

## Beside other libraries

SSIM with a Gaussian window of sigma 1.5 and 11 taps, GMSD and VIFp; and the gradients of `1 - ssim`, `gmsd` and `1 - vif` with respect
to the prediction, where the library has one.
The two sides take turns in one run, each in a process of its own that holds the images; a turn is the median of as many calls as
fit in 0.2 s after one to warm up, and the table shows the median over turns. Ours is timed with the preset that computes what the
other library computes, and the run fails unless both scores agree to {SCORE_TOLERANCE:.5f}. Gradients are timed in two programs of ours, one with the
system's allocator and one with mimalloc.

What is called, on CPU tensors:

{calls}

scikit-image and blazediff-ssim use one thread whatever they are given; they, image-compare and Burn's metric have no gradient.
blazediff-ssim shrinks planes of 384 rows and columns or more, so each is given to it in bands of at most 383 rows that share 10.
image-compare computes something else, for which there is no preset, and its score is not compared: blocks of 8×8 bytes without
overlap, and the least of the three channels. TorchMetrics' VIF cannot be differentiated; it scores each channel, and ours is given
the channels as images beside it.

{tables}

## Beside the memory, Candle's operations and itself

Medians over turns in one run. *Squared differences* is a plain loop that sums `(x - y)²` over the same two images, *reading* one
that sums both, each on the same threads. A *Candle composition* is the usual SSIM formula written with Candle's operations, the
fastest of three ways to filter. Costs of a value are nanoseconds for each value of a 1×3×side×side image. All allocate with
glibc, which may give a gradient's memory back to the system after every step, depending on what the process did before, and then
needs nearly twice the time. The last rows are of another run, with mimalloc on both sides: see [engine.md](engine.md). Of a loss with the
gradient of f16 images, Candle's addition of the gradient to zeros takes a third: it converts f16 one number at a time.

{ratio_table(ratios)}
"""


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="small images and few rounds; prints the page and writes nothing")
    parser.add_argument("--python", type=Path, help="a Python that has requirements.txt installed")
    parser.add_argument("--machine", default=this_machine(), help="the machine in words")
    options = parser.parse_args()

    python = options.python or make_python()
    build()
    ratios = measure_ratios(options.quick)
    results = [(setting, measure(python, setting)) for setting in (QUICK if options.quick else FULL)]
    text = page(options.machine, installed(python), ratios, results)
    if options.quick:
        print(text)
    else:
        PAGE.write_text(text)


if __name__ == "__main__":
    main()
