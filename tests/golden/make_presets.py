"""Writes presets.json: what more programs answer, for fixed inputs. README.md describes the file."""

import json
import os
import platform
import warnings
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"

import cv2
import kornia
import numpy as np
import tensorflow as tf
import torch
from scipy import ndimage

import make_golden

OUTPUT = Path(__file__).resolve().parent / "presets.json"

# Sides that neither factor of the automatic downsampling divides: it is 2 (from 1.51) and 3 (from 2.5, which MATLAB rounds up).
SHAPES = {"formula_twice": (1, 2, 387, 401), "formula_thrice": (1, 1, 640, 643)}

BETAS = np.array([0.0448, 0.2856, 0.3001, 0.2363, 0.1333])


# ---- programs that are run: (pred, target, R, **settings) -> one number for each image


def kornia_ssim(pred, target, data_range, window_size, eps=1e-12):
    pred, target = torch.from_numpy(pred), torch.from_numpy(target)
    return kornia.metrics.ssim(pred, target, window_size, max_val=data_range, eps=eps).mean((1, 2, 3)).numpy()


def opencv_tutorial(pred, target, data_range):
    """`getMSSIM` of the tutorial "Video Input with OpenCV and similarity measurement", with its constants, in f64 instead of f32."""
    assert data_range == 255.0
    blur = lambda image: cv2.GaussianBlur(np.ascontiguousarray(image.transpose(1, 2, 0)), (11, 11), 1.5)

    def score(i1, i2):
        mu1, mu2 = blur(i1), blur(i2)
        sigma1_2, sigma2_2 = blur(i1 * i1) - mu1 * mu1, blur(i2 * i2) - mu2 * mu2
        sigma12 = blur(i1 * i2) - mu1 * mu2
        c1, c2 = 6.5025, 58.5225
        t3 = (2 * mu1 * mu2 + c1) * (2 * sigma12 + c2)
        return (t3 / ((mu1 * mu1 + mu2 * mu2 + c1) * (sigma1_2 + sigma2_2 + c2))).mean()

    return np.array([score(*images) for images in zip(pred, target, strict=True)])


def tensorflow(function):
    """TensorFlow computes in f32 whatever it is given."""

    def run(pred, target, data_range):
        pred, target = (tf.constant(image.transpose(0, 2, 3, 1)) for image in (pred, target))
        return getattr(tf.image, function)(pred, target, max_val=data_range).numpy().astype(np.float64)

    return run


def kornia_without_eps(pred, target, data_range, window_size):
    return kornia_ssim(pred, target, data_range, window_size, eps=0.0)


# ---- definitions in f64, of programs that are not run here, and of those that compute in f32


def gaussian():
    taps = np.exp(-(np.arange(-5, 6) ** 2) / (2 * 1.5**2))
    return taps / taps.sum()


def filtered(image, mode, valid):
    """All spatial axes filtered by 11 Gaussian taps; of `[N, C, …]`."""
    for axis in range(2, image.ndim):
        image = ndimage.correlate1d(image, gaussian(), axis, mode=mode)
    inner = slice(5, -5) if valid else slice(None)
    return image[(..., *[inner] * (image.ndim - 2))]


def maps(x, y, data_range, mode="constant", valid=True):
    """SSIM and contrast at every pixel."""
    f = lambda image: filtered(image, mode, valid)
    c1, c2 = (0.01 * data_range) ** 2, (0.03 * data_range) ** 2
    mx, my = f(x), f(y)
    sxx, syy, sxy = f(x * x) - mx * mx, f(y * y) - my * my, f(x * y) - mx * my
    contrast = (2 * sxy + c2) / (sxx + syy + c2)
    return (2 * mx * my + c1) / (mx * mx + my * my + c1) * contrast, contrast


def of_images(map_):
    return map_.mean(axis=tuple(range(1, map_.ndim)))


def tensorflow_ssim(pred, target, data_range):
    return of_images(maps(pred, target, data_range)[0])


def tensorflow_ssim_multiscale(pred, target, data_range):
    """A side that is odd gets its last line once more before pixels are averaged."""
    product = 1.0
    for scale, beta in enumerate(BETAS):
        if scale > 0:
            pred, target = (halved(image) for image in (pred, target))
        ssim, contrast = maps(pred, target, data_range)
        term = (ssim if scale + 1 == len(BETAS) else contrast).mean((2, 3))
        product = product * np.maximum(term, 0.0) ** beta
    return product.mean(1)


def halved(image):
    height, width = image.shape[2:]
    image = np.pad(image, ((0, 0), (0, 0), (0, height % 2), (0, width % 2)), mode="symmetric")
    return (image[..., ::2, ::2] + image[..., 1::2, ::2] + image[..., ::2, 1::2] + image[..., 1::2, 1::2]) / 4


def matlab_ssim(pred, target, data_range):
    """`ssim` of the Image Processing Toolbox, of each channel: Gaussian weights of sigma 1.5, reaching `ceil(3 * 1.5)` pixels, in a
    border that is replicated, and the moments of the population, as its documentation says."""
    return of_images(maps(pred, target, data_range, mode="nearest", valid=False)[0])


def wang2009_ssim(pred, target, data_range):
    """Zhou Wang's `ssim.m`, "SSIM Index with automatic downsampling, Version 1.0"."""
    factor = max(1, int(np.floor(min(pred.shape[2:]) / 256 + 0.5)))
    pred, target = (imfilter(image, factor)[..., ::factor, ::factor] for image in (pred, target))
    return of_images(maps(pred, target, data_range)[0])


def imfilter(image, factor):
    """`imfilter(image, ones(factor) / factor^2, 'symmetric', 'same')`; the center of a filter is at `floor((factor + 1) / 2)`, counted
    from 1."""
    before = (factor + 1) // 2 - 1
    padding = (before, factor - 1 - before)
    height, width = image.shape[2:]
    padded = np.pad(image, ((0, 0), (0, 0), padding, padding), mode="symmetric")
    steps = range(factor)
    return sum(padded[..., i : i + height, j : j + width] for i in steps for j in steps) / factor**2


# ---- the table of cases


@dataclass
class Case:
    name: str
    set: str
    library: str
    function: str
    run: object
    settings: dict = field(default_factory=dict)
    data_range: float = 1.0
    ideal: object = None  # without what the program adds to its formula: kornia's eps, and rounding to f32


def all_cases():
    for set_, window in (("small", 11), ("small", 7), ("tall", 5), ("flat", 11)):
        settings = {"window_size": window}
        yield Case(f"kornia_ssim_{set_}_{window}", set_, "kornia", "ssim", kornia_ssim, settings, ideal=kornia_without_eps)
    for set_ in ("small", "tall", "flat"):
        yield Case(f"opencv_tutorial_{set_}", set_, "opencv_tutorial", "ssim", opencv_tutorial, data_range=255.0)
    for set_, data_range in (("small", 1.0), ("small", 255.0), ("tall", 1.0)):
        name = f"tensorflow_ssim_{set_}_{data_range:.0f}"
        run = tensorflow("ssim")
        yield Case(name, set_, "tensorflow", "ssim", run, data_range=data_range, ideal=tensorflow_ssim)
    for set_ in ("large", "odd", "mixed", "formula_a"):
        name, function = f"tensorflow_ms_ssim_{set_}", "ssim_multiscale"
        yield Case(name, set_, "tensorflow", function, tensorflow(function), ideal=tensorflow_ssim_multiscale)
    for set_, data_range in (("small", 1.0), ("small", 255.0), ("tall", 1.0), ("flat", 1.0), ("tiny", 1.0), ("volume", 1.0)):
        yield Case(f"matlab_ssim_{set_}_{data_range:.0f}", set_, "matlab", "ssim", matlab_ssim, data_range=data_range)
    for set_ in ("small", "piq_big", *SHAPES):
        yield Case(f"wang2009_ssim_{set_}", set_, "wang2009", "ssim", wang2009_ssim, data_range=255.0)


# ---- running


def evaluate(case, pair):
    images = [make_golden.to_f64(values, case.data_range).numpy() for values in pair]
    value = case.run(*images, case.data_range, **case.settings)
    own = {} if case.library == "opencv_tutorial" else {"data_range": case.data_range}
    entry = {
        "name": case.name,
        "set": case.set,
        "library": case.library,
        "function": case.function,
        "settings": own | case.settings,
        "R": case.data_range,
        "value": value.tolist(),
    }
    if case.ideal is not None:
        ideal = case.ideal(*images, case.data_range, **case.settings)
        entry |= {"ideal": ideal.tolist(), "inexact": {"value": np.abs(value - ideal).max()}}
    print(f"{case.name:32} {' '.join(f'{number:.10f}' for number in value)}  {entry.get('inexact', '')}")
    return entry


def main():
    warnings.simplefilter("error")
    make_golden.FORMULA_SHAPES |= SHAPES
    formulas = make_golden.formula_sets()
    pairs = make_golden.stored_sets() | formulas
    cases = [evaluate(case, pairs[case.set]) for case in all_cases()]
    sets = make_golden.describe_sets({}, {}, {name: formulas[name] for name in SHAPES})
    packages = ("tensorflow-cpu", "kornia", "opencv-python-headless", "torch", "scipy", "numpy")
    versions = {"python": platform.python_version()} | {package: version(package) for package in packages}
    OUTPUT.write_text(json.dumps({"versions": versions, "sets": sets, "cases": cases}, indent=1) + "\n")


if __name__ == "__main__":
    main()
