"""The Python libraries' side of the comparison: `python_peers.py FILE N C H W`, asked and answering as benches/src/bin/ours.rs."""

import sys
import time

import kornia
import numpy as np
import piq
import pytorch_msssim
import torch
from skimage.metrics import structural_similarity
from torchmetrics.functional.image import structural_similarity_index_measure, visual_information_fidelity

BUDGET = 0.2  # seconds of calls in a turn


def scikit_image(pred, target):
    """scikit-image takes one image and arrays."""
    settings = {"data_range": 1.0, "channel_axis": 0, "gaussian_weights": True, "sigma": 1.5}
    return np.mean([structural_similarity(x, y, **settings) for x, y in zip(pred.numpy(), target.numpy(), strict=True)])


SSIM = {
    "torchmetrics": lambda pred, target: structural_similarity_index_measure(pred, target, data_range=1.0),
    "pytorch-msssim": lambda pred, target: pytorch_msssim.ssim(pred, target, data_range=1.0),
    "piq": lambda pred, target: piq.ssim(pred, target, data_range=1.0, downsample=False),
    "kornia": lambda pred, target: kornia.metrics.ssim(pred, target, window_size=11, max_val=1.0).mean(),
    "scikit-image": scikit_image,
}
GMSD = {"piq": lambda pred, target: piq.gmsd(pred, target, data_range=1.0)}
VIF = {"piq": lambda pred, target: piq.vif_p(pred, target, data_range=1.0), "torchmetrics": visual_information_fidelity}
IN_BYTES_RANGE = {("vif", "torchmetrics")}  # takes values in 0..255


def forward(measure, pred, target):
    @torch.no_grad()
    def call():
        return float(measure(pred, target))

    return call


def backward(measure, pred, target):
    pred = pred.clone().requires_grad_()

    def call():
        pred.grad = None
        score = measure(pred, target)
        (1 - score).backward()
        return float(score.detach())

    return call


TASKS = {
    "forward": (forward, SSIM),
    "backward": (backward, SSIM),
    "gmsd": (forward, GMSD),
    "gmsd_grad": (backward, GMSD),
    "vif": (forward, VIF),
    "vif_grad": (backward, VIF),
}


def turn(call):
    """Seconds of a call, as benches/src/clock.rs takes them, and what it returned."""

    def seconds():
        start = time.perf_counter()
        score = call()
        return time.perf_counter() - start, score

    first, score = seconds()
    times = [seconds()[0] for _ in range(int(BUDGET / first))] or [first]
    return sorted(times)[len(times) // 2], score


def main():
    path, *sides = sys.argv[1:]
    pair = torch.from_numpy(np.fromfile(path, "<f4").reshape(2, *map(int, sides)))
    for line in sys.stdin:
        task, name = line.split()
        direction, measures = TASKS[task]
        images = 255 * pair if (task, name) in IN_BYTES_RANGE else pair
        print(*turn(direction(measures[name], *images)), flush=True)


if __name__ == "__main__":
    main()
