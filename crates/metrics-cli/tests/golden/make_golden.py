"""Writes golden.json, and chelsea.jpg and coffee.jpg if they are not there: what TorchMetrics and scikit-image answer, in float64.

    python crates/metrics-cli/tests/golden/make_golden.py

The versions are those of tests/golden/requirements.txt, and Pillow's of scikit-image. The reference is a photograph of
examples/images; the tests are its JPEG version as Pillow decodes it, and the photograph with its values quantised to
`v // 32 * 32 + 16`.
"""

import json
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from skimage.metrics import peak_signal_noise_ratio, structural_similarity
from torchmetrics.functional.image import (
    multiscale_structural_similarity_index_measure,
    structural_similarity_index_measure,
)

HERE = Path(__file__).resolve().parent
IMAGES = HERE.parents[3] / "examples" / "images"
NAMES = ["astronaut", "chelsea", "coffee"]


def pixels(path):
    return np.asarray(Image.open(path).convert("RGB")).astype(np.float64) / 255


def tensor(image):
    return torch.from_numpy(image).permute(2, 0, 1)[None]


def torchmetrics(test, reference):
    pair = tensor(test), tensor(reference)
    return {
        "psnr": peak_signal_noise_ratio(reference, test, data_range=1.0),
        "ssim": structural_similarity_index_measure(*pair, data_range=1.0).item(),
        "ms_ssim": multiscale_structural_similarity_index_measure(*pair, data_range=1.0).item(),
    }


def skimage(test, reference):
    return {
        "psnr": peak_signal_noise_ratio(reference, test, data_range=1.0),
        "ssim": structural_similarity(reference, test, data_range=1.0, channel_axis=2),
    }


def main():
    golden = {}
    for name in NAMES:
        source, jpeg = IMAGES / f"{name}.png", HERE / f"{name}.jpg"
        if not jpeg.exists():
            # Without chroma subsampling: decoders interpolate it differently, by more than a rounding.
            Image.open(source).convert("RGB").save(jpeg, quality=50, subsampling=0)
        reference = pixels(source)
        quantised = (np.round(reference * 255) // 32 * 32 + 16) / 255
        for kind, test in {"jpeg": pixels(jpeg), "quantised": quantised}.items():
            pair = (test, reference)
            golden[f"{name}/{kind}"] = {"torchmetrics": torchmetrics(*pair), "skimage": skimage(*pair)}
    (HERE / "golden.json").write_text(json.dumps(golden, indent=1) + "\n")


if __name__ == "__main__":
    main()
