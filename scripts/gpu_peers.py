"""Times other libraries' SSIM and MS-SSIM on a GPU, for rows beside those of benches/src/bin/device.rs: `gpu_peers.py`.

Every library that can be imported is timed as that program times ours: each call ends with its value on the host. A row has the
name of ours and that of the library, `| SSIM, fused-ssim | 0.084 ms |`. Lines below the rows say what a loss holds, and versions.
"""

import math
import statistics
import time
from importlib import metadata

import torch

SHAPES = [(1, 3, 64, 64), (16, 3, 256, 256), (1, 3, 1080, 1920), (1, 3, 2160, 3840)]
LEAST_SIDE = {"MS-SSIM": 161}  # five scales of windows of 11 pixels
WARM_UP, CALLS, BUDGET = 5, 30, 0.3  # calls, calls at least, seconds at least


def fused_ssim():
    from fused_ssim import fused_ssim

    # `train` also computes what the gradient needs.
    return {"SSIM": lambda x, y: fused_ssim(x, y, padding="same", train=torch.is_grad_enabled())}


def pytorch_msssim():
    from pytorch_msssim import ms_ssim, ssim

    return {"SSIM": lambda x, y: ssim(x, y, data_range=1.0), "MS-SSIM": lambda x, y: ms_ssim(x, y, data_range=1.0)}


def torchmetrics():
    from torchmetrics.functional import image

    return {
        "SSIM": lambda x, y: image.structural_similarity_index_measure(x, y, data_range=1.0),
        "MS-SSIM": lambda x, y: image.multiscale_structural_similarity_index_measure(x, y, data_range=1.0),
        "PSNR": lambda x, y: image.peak_signal_noise_ratio(x, y, data_range=1.0),
    }


LIBRARIES = {"fused-ssim": fused_ssim, "pytorch-msssim": pytorch_msssim, "torchmetrics": torchmetrics}


@torch.no_grad()
def copies(pred, target):
    """Both images copied, and numbers of each read."""
    return sum(image.clone()[..., :1].sum().item() for image in (pred, target))


def value(metric):
    @torch.no_grad()
    def call(pred, target):
        return metric(pred, target).item()

    return call


def loss(metric):
    def call(pred, target):
        pred.grad = None
        score = metric(pred, target)
        (1 - score).backward()
        return score.item()

    return call


# The name of our row, the score, and what is made of it.
ROWS = [
    ("SSIM", "SSIM", value),
    ("SsimLoss with gradient", "SSIM", loss),
    ("MS-SSIM", "MS-SSIM", value),
    ("MsSsimLoss with gradient", "MS-SSIM", loss),
    ("PSNR", "PSNR", value),
]


def images(shape, device):
    """A prediction that tracks and a target: noise, and the same noise under other noise."""
    generator = torch.Generator().manual_seed(1)
    target, other = (torch.rand(shape, generator=generator).to(device) for _ in range(2))
    return (0.8 * target + 0.2 * other).requires_grad_(), target


def milliseconds(call):
    """The median time of a call."""
    for _ in range(WARM_UP):
        result = call()
    if not math.isfinite(result):
        raise ValueError(f"the score is {result}")
    times, end = [], time.perf_counter() + BUDGET
    while len(times) < CALLS or time.perf_counter() < end:
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return 1e3 * statistics.median(times)


def row(name, call, pairs, least_side=1):
    cells = [
        f"{milliseconds(lambda pair=pair: call(*pair)):.3f} ms" if min(shape[2:]) >= least_side else "–"
        for shape, pair in pairs.items()
    ]
    print(f"| {name} | {' | '.join(cells)} |", flush=True)


def held(metric, pred, target):
    """What a loss keeps on the device until its backward pass, beside its inputs, in images of the input's size."""
    before = torch.cuda.memory_allocated()
    score = metric(pred, target)
    kept = torch.cuda.memory_allocated() - before
    del score
    return kept / (target.element_size() * target.nelement())


def version(name):
    try:
        return f"{name} {metadata.version(name)}"
    except metadata.PackageNotFoundError:  # built from its source
        return name


def main():
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    found, missing = {}, []
    for name, scores in LIBRARIES.items():
        try:
            found[name] = scores()
        except ImportError as error:
            missing.append(f"not timed: {name}: {error}")

    pairs = {shape: images(shape, device) for shape in SHAPES}
    row("copies of both images, PyTorch", copies, pairs)
    for ours, score, kind in ROWS:
        for name, scores in found.items():
            if score in scores:
                row(f"{ours}, {name}", kind(scores[score]), pairs, LEAST_SIDE.get(score, 1))

    print()
    if found and device.type == "cuda":
        kept = [f"{name} {held(scores['SSIM'], *pairs[SHAPES[2]]):.2f}" for name, scores in found.items()]
        print(f"What an SSIM loss holds until its backward pass, beside its inputs, in images: {', '.join(kept)}.")
    print(*missing, sep="\n", end="\n" if missing else "")
    print(f"timed: {', '.join(version(name) for name in ['torch', *found])}; {device}")


if __name__ == "__main__":
    main()
