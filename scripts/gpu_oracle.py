"""Holds this library's scores and gradients on a device to TorchMetrics: `gpu_oracle.py SCORES DEVICE`.

SCORES is the program benches/src/bin/scores.rs. TorchMetrics computes in f64, on the GPU if PyTorch sees one.
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

import torch
from torchmetrics.functional.image import (
    multiscale_structural_similarity_index_measure,
    peak_signal_noise_ratio,
    structural_similarity_index_measure,
)

SHAPES = [(1, 1, 177, 180), (2, 3, 191, 257), (1, 3, 1080, 1920), (16, 3, 256, 256)]
VALUE = 1e-6  # absolute; half types are computed in f32 from the rounded pixels
PSNR_VALUE = 64e-6  # a PSNR below 64 dB has six bits more before the point
# Of gradients, relative L2, and of each of its numbers before that: half the least step of f16, which gradients of means fall below.
GRADIENT = {"f32": (1e-5, 0), "f16": (2**-10, 2**-25), "bf16": (2**-7, 0)}
TYPES = {"f32": torch.float32, "f16": torch.float16, "bf16": torch.bfloat16}

METRICS = {
    "psnr": lambda x, y: peak_signal_noise_ratio(x, y, data_range=1.0),
    "ssim": lambda x, y: structural_similarity_index_measure(x, y, data_range=1.0),
    "ms_ssim": lambda x, y: multiscale_structural_similarity_index_measure(x, y, data_range=1.0),
}


def pair(shape):
    """A smooth pattern with noise, and the same under other noise, in 0..1."""
    rows, columns = torch.arange(shape[2])[:, None], torch.arange(shape[3])[None, :]
    wave = 0.5 + 0.25 * torch.sin(columns / 5) * torch.cos(rows / 7)
    noise = torch.Generator().manual_seed(sum(shape))
    target = wave + 0.2 * (torch.rand(shape, generator=noise) - 0.5)
    return (target + 0.1 * (torch.rand(shape, generator=noise) - 0.5)).clamp(0, 1), target.clamp(0, 1)


def theirs(metric, pred, target):
    """The score of each image, and the gradient of the batch's score, negative as a loss is."""
    with torch.no_grad():
        scores = torch.stack([metric(x[None], y[None]) for x, y in zip(pred, target, strict=True)])
    pred = pred.clone().requires_grad_()
    (-metric(pred, target)).backward()
    return scores, pred.grad


def main():
    program, kind = sys.argv[1:]
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    passed, largest = [], {}
    print("| image | dtype | metric | value off by | gradient off by (relative) | |\n|---|---|---|---:|---:|---|")
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "pair")
        for shape in SHAPES:
            images = pair(shape)
            file.write_bytes(torch.stack(images).numpy().astype("<f4").tobytes())
            for dtype, (limit, step) in GRADIENT.items():
                command = [program, kind, dtype, str(file), *map(str, shape)]
                scores = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
                wide = [image.to(device).to(TYPES[dtype]).double() for image in images]
                for name, metric in METRICS.items():
                    want, want_gradient = theirs(metric, *wide)
                    off = (torch.tensor(scores[name], dtype=torch.float64) - want.cpu()).abs().max().item()
                    raw = bytearray(Path(f"{file}.{name}").read_bytes())
                    gradient = torch.frombuffer(raw, dtype=torch.float32).double().reshape(shape)
                    want_gradient = want_gradient.cpu()
                    beyond = ((gradient - want_gradient).abs() - step).clamp(min=0)
                    relative = (beyond.norm() / want_gradient.norm()).item()
                    good = off <= (PSNR_VALUE if name == "psnr" else VALUE) and relative <= limit
                    passed.append(good)
                    if dtype == "f32":
                        largest[name] = [max(both) for both in zip(largest.get(name, (0, 0)), (off, relative), strict=True)]
                    size = "×".join(map(str, shape))
                    print(f"| {size} | {dtype} | {name} | {off:.1e} | {relative:.1e} | {'' if good else 'TOO FAR'} |")

    most = "; ".join(f"{name} {off:.1e}, {relative:.1e}" for name, (off, relative) in largest.items())
    print(f"\nTorchMetrics on {device}: {sum(passed)} of {len(passed)} within limits; largest in f32, value and gradient: {most}")
    sys.exit("too far from TorchMetrics" if not all(passed) else 0)


if __name__ == "__main__":
    main()
