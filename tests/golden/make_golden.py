"""Writes golden.safetensors: what other libraries answer, in float64, for fixed inputs. README.md describes the file."""

import contextlib
import importlib
import itertools
import json
import platform
import warnings
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from unittest import mock

import numpy as np
import piq
import pytorch_msssim
import torch
import torchmetrics.functional.image as tm
from PIL import Image
from safetensors.numpy import save
from skimage import metrics as skimage_metrics

HERE = Path(__file__).resolve().parent
IMAGES = HERE.parent.parent / "examples" / "images"
OUTPUT = HERE / "golden.safetensors"

# Gradients of larger inputs are stored at every 13th element: 13 shares no factor with any width used here, so the samples fall on
# every column, and the stored sums cover the elements in between.
FULL_GRADIENT_ELEMENTS = 12_000
GRADIENT_STRIDE = 13


# ---- inputs


def smooth_field(rng, shape, cell):
    """Random values on a coarse grid, linearly interpolated along each axis to `shape`; range 0..1."""
    out = rng.random([side // cell + 2 for side in shape])
    for axis, side in enumerate(shape):
        position = np.arange(side) / cell
        out = np.apply_along_axis(lambda line: np.interp(position, np.arange(line.size), line), axis, out)
    return out


def natural_pair(rng, shape, noise=12.0):
    """A target with structure at several scales and some saturated areas; a prediction with a brightness error and noise."""
    pred, target = np.empty(shape), np.empty(shape)
    for index in np.ndindex(shape[:2]):
        spatial = shape[2:]
        field_ = sum(weight * smooth_field(rng, spatial, cell) for weight, cell in ((0.6, 16), (0.3, 5), (0.1, 1)))
        target[index] = -40.0 + 330.0 * field_
        gain, offset = rng.uniform(0.85, 1.1), rng.uniform(-10.0, 10.0)
        pred[index] = gain * target[index] + offset + noise * rng.standard_normal(spatial)
    return to_u8(pred), to_u8(target)


def to_u8(values):
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)


def inverted_pair(rng, shape):
    """Negative structure: image 0 is inverted in every channel, image 1 in its first channel only, image 2 in none."""
    pred, target = natural_pair(rng, shape)
    pred[0], pred[1, 0] = 255 - pred[0], 255 - pred[1, 0]
    return pred, target


def flat_pair(rng, shape):
    """Low contrast: values 126..130; the left half is constant in the target and the top half in the prediction."""
    pred, target = (rng.integers(126, 131, shape, dtype=np.uint8) for _ in range(2))
    target[..., : shape[-1] // 2] = 128
    pred[..., : shape[-2] // 2, :] = 127
    return pred, target


def narrow_pair(rng, shape):
    """A different range of values in every image, none of them the whole 0..255."""
    pred, target = natural_pair(rng, shape)
    for index in range(shape[0]):
        low, width = 30 + 50 * index, 70 + 35 * index
        pred[index], target[index] = (to_u8(low + image / 255.0 * width) for image in (pred[index], target[index]))
    return pred, target


def textured_pair(rng, shape):
    """Structure at several scales with noise on both images: no 3×3 patch is flat, where piq's gradient of GMSD is NaN."""
    fields = np.empty(shape)
    for index in np.ndindex(shape[:2]):
        fields[index] = sum(weight * smooth_field(rng, shape[2:], cell) for weight, cell in ((0.7, 12), (0.3, 4)))
    target = 40.0 + 170.0 * fields + 7.0 * rng.standard_normal(shape)
    gain, offset = rng.uniform(0.8, 1.1, (*shape[:2], 1, 1)), rng.uniform(-8.0, 8.0, (*shape[:2], 1, 1))
    return to_u8(128.0 + gain * (target - 128.0) + offset + 10.0 * rng.standard_normal(shape)), to_u8(target)


def branches_pair(rng, shape):
    """Every case that VIFp tells apart: a flat target (left third), a flat prediction (top third), both, negative covariance (bottom
    right) and noise (between them). Nowhere are the two equal: there rounding would decide which branch has the gradient."""
    pred, target = textured_pair(rng, shape)
    down, right = shape[-2] // 3, shape[-1] // 3
    pred[..., 2 * down :, 2 * right :] = 255 - target[..., 2 * down :, 2 * right :]
    target[..., :right] = 90
    pred[..., :down, :] = 140
    return pred, target


def enhanced_pair(rng, shape):
    """A prediction of more contrast than its target: VIFp is above 1."""
    _, target = textured_pair(rng, shape)
    return to_u8(128.0 + 1.3 * (target - 128.0)), target


def flat_target_pair(rng, shape):
    """Nothing in the target that could be lost."""
    pred, target = textured_pair(rng, shape)
    return pred, np.full_like(target, 90)


def stored_sets():
    """The input sets kept in the file. Each has its own seed, so that adding one does not change the others."""
    makers = {
        "small": (natural_pair, (2, 3, 40, 37)),
        "tall": (natural_pair, (1, 1, 33, 61)),
        "volume": (natural_pair, (2, 1, 19, 22, 21)),
        "large": (natural_pair, (2, 2, 192, 200)),
        "odd": (natural_pair, (1, 2, 181, 187)),
        "mixed": (natural_pair, (1, 2, 182, 187)),
        "piq_big": (natural_pair, (1, 1, 390, 400)),
        "inverted": (inverted_pair, (3, 2, 40, 37)),
        "flat": (flat_pair, (1, 1, 32, 35)),
        "narrow": (narrow_pair, (3, 1, 26, 29)),
        "textured": (textured_pair, (2, 3, 46, 41)),
        "textured_gray": (textured_pair, (2, 1, 45, 52)),
        "tiny": (textured_pair, (2, 3, 5, 7)),
        "branches": (branches_pair, (1, 1, 71, 68)),
        "enhanced": (enhanced_pair, (1, 1, 44, 50)),
        "flat_target": (flat_target_pair, (1, 1, 42, 43)),
    }
    return {
        name: make(np.random.Generator(np.random.PCG64([20260, seed])), shape)
        for seed, (name, (make, shape)) in enumerate(makers.items())
    }


PHOTOS = ("astronaut", "chelsea", "coffee")
DEGRADATIONS = {
    "quantised": ("pred = (target & 0xE0) | 0x10", lambda v: (v & 0xE0) | 0x10),
    "shifted": ("pred[.., x] = target[.., max(x - 2, 0)]", lambda v: v[..., np.maximum(np.arange(v.shape[-1]) - 2, 0)]),
}


def photo_sets():
    """Pairs made from the photographs by integer arithmetic, so that they need not be stored."""
    sets = {}
    for photo, (name, (_, degrade)) in itertools.product(PHOTOS, DEGRADATIONS.items()):
        pixels = np.asarray(Image.open(IMAGES / f"{photo}.png").convert("RGB"))
        target = np.ascontiguousarray(pixels.transpose(2, 0, 1))[None]
        sets[f"{photo}_{name}"] = (degrade(target), target)
    return sets


FORMULA = (
    "c, i, j: channel, row, column; t = ((31*i*i + 17*j*j + 13*i*j + 101*c) mod 256) / 255; b = sin(0.11*i + 0.6*c) * cos(0.07*j); "
    "target = 0.5 + 0.3*b + 0.2*(t - 0.5); pred = 0.5 + 0.27*b + 0.06*(t - 0.5) + 0.08*sin(0.7*i + 0.45*j + 2*c)"
)
FORMULA_SHAPES = {"formula_a": (1, 3, 176, 192), "formula_b": (1, 3, 181, 163), "formula_crop": (1, 3, 64, 64)}


def formula_sets():
    """Pairs made from a formula, in f64 and within 0..1, so that they need not be stored."""
    sets = {}
    for name, shape in FORMULA_SHAPES.items():
        c, i, j = np.ogrid[tuple(slice(side) for side in shape[1:])]
        t = (31 * i * i + 17 * j * j + 13 * i * j + 101 * c) % 256 / 255.0
        b = np.sin(0.11 * i + 0.6 * c) * np.cos(0.07 * j)
        target = 0.5 + 0.3 * b + 0.2 * (t - 0.5)
        pred = 0.5 + 0.27 * b + 0.06 * (t - 0.5) + 0.08 * np.sin(0.7 * i + 0.45 * j + 2.0 * c)
        sets[name] = (pred[None], target[None])
    return sets


def to_f64(values, data_range):
    """The value that every consumer must reproduce in f64: u8 / 255.0 * R, in this order, or the formula's value * R."""
    unit = values / 255.0 if values.dtype == np.uint8 else values
    return torch.from_numpy(unit * data_range)


# ---- one function a library: (pred, target, **settings) -> {output name: f64 tensor}; `value` is [N], or [] where N is pooled away


def tm_ssim(pred, target, output=None, reduction="none", **settings):
    flags = {"map": {"return_full_image": True}, "contrast": {"return_contrast_sensitivity": True}}.get(output, {})
    result = tm.structural_similarity_index_measure(pred, target, reduction=reduction, **settings, **flags)
    return {"value": result[0], output: result[1]} if output else {"value": result}


def tm_ms_ssim(pred, target, reduction="none", **settings):
    return {"value": tm.multiscale_structural_similarity_index_measure(pred, target, reduction=reduction, **settings)}


def tm_psnr(pred, target, **settings):
    return {"value": tm.peak_signal_noise_ratio(pred, target, **settings)}


def tm_vif(pred, target, reduction="none", **settings):
    return {"value": tm.visual_information_fidelity(pred, target, reduction=reduction, **settings)}


def pm_ssim(pred, target, **settings):
    return {"value": pytorch_msssim.ssim(pred, target, size_average=False, **settings)}


def pm_ms_ssim(pred, target, **settings):
    return {"value": pytorch_msssim.ms_ssim(pred, target, size_average=False, **settings)}


def piq_ssim(pred, target, **settings):
    return {"value": piq.ssim(pred, target, reduction="none", **settings)}


def piq_ms_ssim(pred, target, scale_weights=None, **settings):
    weights = None if scale_weights is None else torch.tensor(scale_weights, dtype=torch.float64)
    return {"value": piq.multi_scale_ssim(pred, target, reduction="none", scale_weights=weights, **settings)}


def piq_psnr(pred, target, **settings):
    return {"value": piq.psnr(pred, target, reduction="none", **settings)}


def piq_gmsd(pred, target, **settings):
    return {"value": piq.gmsd(pred, target, reduction="none", **settings)}


def piq_vif(pred, target, **settings):
    return {"value": piq.vif_p(pred, target, reduction="none", **settings)}


def skimage_ssim(pred, target, full=False, **settings):
    pairs = zip(target.numpy(), pred.numpy(), strict=True)
    results = [skimage_metrics.structural_similarity(t, p, channel_axis=0, full=full, **settings) for t, p in pairs]
    if not full:
        return {"value": torch.tensor(results, dtype=torch.float64)}
    values, maps = zip(*results, strict=True)
    return {"value": torch.tensor(values, dtype=torch.float64), "map": torch.from_numpy(np.stack(maps))}


def skimage_psnr(pred, target, **settings):
    pairs = zip(target.numpy(), pred.numpy(), strict=True)
    values = [skimage_metrics.peak_signal_noise_ratio(t, p, **settings) for t, p in pairs]
    return {"value": torch.tensor(values, dtype=torch.float64)}


RUNNERS = {
    "torchmetrics.ssim": tm_ssim,
    "torchmetrics.ms_ssim": tm_ms_ssim,
    "torchmetrics.psnr": tm_psnr,
    "torchmetrics.visual_information_fidelity": tm_vif,
    "pytorch_msssim.ssim": pm_ssim,
    "pytorch_msssim.ms_ssim": pm_ms_ssim,
    "piq.ssim": piq_ssim,
    "piq.multi_scale_ssim": piq_ms_ssim,
    "piq.psnr": piq_psnr,
    "piq.gmsd": piq_gmsd,
    "piq.vif_p": piq_vif,
    "skimage.structural_similarity": skimage_ssim,
    "skimage.peak_signal_noise_ratio": skimage_psnr,
}
WITHOUT_DATA_RANGE = {"torchmetrics.visual_information_fidelity"}  # made for values in 0..255, whatever it is given


@contextlib.contextmanager
def f64_constants():
    """Within: constants that a library rounds to f32 even for f64 images stay f64 (torchmetrics' betas, log R and log base;
    pytorch-msssim's window). The difference to the library as released is recorded with each case."""

    def gauss_1d(size, sigma):
        offsets = torch.arange(size, dtype=torch.float64) - size // 2
        taps = torch.exp(-(offsets**2) / (2 * sigma**2))
        return (taps / taps.sum())[None, None]

    module = importlib.import_module("pytorch_msssim.ssim")
    torch.set_default_dtype(torch.float64)
    try:
        with mock.patch.object(module, "_fspecial_gauss_1d", gauss_1d):
            yield
    finally:
        torch.set_default_dtype(torch.float32)


# ---- the table of cases


@dataclass
class Case:
    name: str
    set: str
    function: str  # a key of RUNNERS
    settings: dict = field(default_factory=dict)  # the library's own argument names; data_range, if it has one, is R unless given
    data_range: float = 1.0  # R: the input is u8 / 255.0 * R, or the formula's value * R
    grad: bool = False

    def arguments(self):
        own = {} if self.function in WITHOUT_DATA_RANGE else {"data_range": self.data_range}
        return own | self.settings


def torchmetrics_ssim_cases():
    f = "torchmetrics.ssim"
    uniform = {"gaussian_kernel": False, "kernel_size": 7}
    yield Case("tm_ssim_default", "small", f, grad=True)
    for sigma in (0.5, 1.0, 2.0, 2.5):
        yield Case(f"tm_ssim_sigma_{sigma}", "small", f, {"sigma": sigma})
    yield Case("tm_ssim_sigma_per_axis", "small", f, {"sigma": (1.5, 2.0)}, grad=True)
    yield Case("tm_ssim_uniform_7", "small", f, uniform, grad=True)
    yield Case("tm_ssim_uniform_5x9", "small", f, {"gaussian_kernel": False, "kernel_size": (5, 9)})
    yield Case("tm_ssim_range_255", "small", f, data_range=255.0)
    yield Case("tm_ssim_clamp", "small", f, {"data_range": (0.2, 0.8)}, grad=True)
    yield Case("tm_ssim_range_of_batch", "narrow", f, {"data_range": None})
    yield Case("tm_ssim_k", "small", f, {"k1": 0.02, "k2": 0.07})
    yield Case("tm_ssim_mean", "small", f, {"reduction": "elementwise_mean"})
    yield Case("tm_ssim_sum", "small", f, {"reduction": "sum"})
    yield Case("tm_ssim_tall", "tall", f, grad=True)
    yield Case("tm_ssim_map", "tall", f, {"output": "map"})
    yield Case("tm_ssim_map_sigma_per_axis", "tall", f, {"output": "map", "sigma": (1.0, 2.0)})
    yield Case("tm_ssim_map_uniform_7", "tall", f, {"output": "map", **uniform})
    yield Case("tm_ssim_contrast", "small", f, {"output": "contrast"})
    yield Case("tm_ssim_volume", "volume", f, grad=True)
    # kernel_size too: for a volume torchmetrics pads the last axis by it instead of by the Gaussian's own size.
    yield Case("tm_ssim_volume_sigma_1", "volume", f, {"sigma": 1.0, "kernel_size": 9})
    yield Case("tm_ssim_volume_sigma_per_axis", "volume", f, {"sigma": (0.5, 1.0, 1.5), "kernel_size": (5, 9, 11)})
    yield Case("tm_ssim_volume_uniform_7", "volume", f, uniform)
    yield Case("tm_ssim_inverted", "inverted", f, grad=True)
    yield Case("tm_ssim_flat", "flat", f, grad=True)


def torchmetrics_ms_ssim_cases():
    f, two_scales, three_scales = "torchmetrics.ms_ssim", (0.4, 0.6), (0.3, 0.4, 0.3)
    yield Case("tm_ms_ssim_large", "large", f, grad=True)
    yield Case("tm_ms_ssim_odd", "odd", f, grad=True)
    yield Case("tm_ms_ssim_mixed", "mixed", f, grad=True)
    yield Case("tm_ms_ssim_simple", "large", f, {"normalize": "simple"})
    yield Case("tm_ms_ssim_unnormalised", "large", f, {"normalize": None})
    yield Case("tm_ms_ssim_three_betas", "large", f, {"betas": three_scales})
    yield Case("tm_ms_ssim_sigma_1", "large", f, {"sigma": 1.0})
    yield Case("tm_ms_ssim_mean", "large", f, {"reduction": "elementwise_mean"})
    yield Case("tm_ms_ssim_sum", "large", f, {"reduction": "sum"})
    yield Case("tm_ms_ssim_inverted_relu", "inverted", f, {"betas": two_scales})
    yield Case("tm_ms_ssim_inverted_simple", "inverted", f, {"betas": two_scales, "normalize": "simple"}, grad=True)
    yield Case("tm_ms_ssim_volume", "volume", f, {"betas": two_scales, "sigma": 0.5, "kernel_size": 5}, grad=True)


def torchmetrics_psnr_cases():
    f, per_image = "torchmetrics.psnr", {"dim": (1, 2, 3), "reduction": "none"}
    yield Case("tm_psnr_pooled", "small", f, grad=True)
    yield Case("tm_psnr_base_2", "small", f, {"base": 2.0})
    yield Case("tm_psnr_clamp", "small", f, {"data_range": (0.2, 0.8)}, grad=True)
    yield Case("tm_psnr_range_255", "small", f, data_range=255.0)
    yield Case("tm_psnr_per_image", "small", f, per_image)
    yield Case("tm_psnr_mean", "small", f, per_image | {"reduction": "elementwise_mean"}, grad=True)
    yield Case("tm_psnr_volume", "volume", f)


def pytorch_msssim_cases():
    f = "pytorch_msssim.ssim"
    yield Case("pm_ssim_default", "small", f, grad=True)
    yield Case("pm_ssim_range_255", "small", f, data_range=255.0)
    yield Case("pm_ssim_window_7", "small", f, {"win_size": 7})
    yield Case("pm_ssim_inverted", "inverted", f)
    yield Case("pm_ssim_nonnegative", "inverted", f, {"nonnegative_ssim": True})
    yield Case("pm_ssim_volume", "volume", f, grad=True)

    f = "pytorch_msssim.ms_ssim"
    for name in ("large", "odd", "mixed"):
        yield Case(f"pm_ms_ssim_{name}", name, f, grad=True)
    yield Case("pm_ms_ssim_inverted", "inverted", f, {"win_size": 3, "weights": [0.4, 0.6]})


def piq_cases():
    f = "piq.ssim"
    yield Case("piq_ssim_full_size", "small", f, {"downsample": False}, grad=True)
    yield Case("piq_ssim_range_255", "small", f, data_range=255.0)
    yield Case("piq_ssim_downsampled", "piq_big", f, {"downsample": True}, grad=True)
    yield Case("piq_ssim_big_full_size", "piq_big", f, {"downsample": False})

    f = "piq.multi_scale_ssim"
    yield Case("piq_ms_ssim_large", "large", f, grad=True)
    yield Case("piq_ms_ssim_odd", "odd", f)
    yield Case("piq_ms_ssim_mixed", "mixed", f, grad=True)
    yield Case("piq_ms_ssim_weights", "large", f, {"scale_weights": [0.5, 1.0, 0.75]})
    yield Case("piq_ms_ssim_inverted", "inverted", f, {"scale_weights": [0.4, 0.6]})

    yield Case("piq_psnr", "small", "piq.psnr", grad=True)
    yield Case("piq_psnr_range_255", "small", "piq.psnr", data_range=255.0)


def skimage_cases():
    f, gaussian = "skimage.structural_similarity", {"gaussian_weights": True, "sigma": 1.5}
    population = {"use_sample_covariance": False}
    yield Case("skimage_ssim_default", "small", f)
    yield Case("skimage_ssim_window_9", "small", f, {"win_size": 9})
    yield Case("skimage_ssim_uniform_population", "small", f, population)
    yield Case("skimage_ssim_gaussian", "small", f, gaussian)
    yield Case("skimage_ssim_wang2004", "small", f, gaussian | population)
    yield Case("skimage_ssim_gaussian_sigma_2", "small", f, gaussian | {"sigma": 2.0})
    yield Case("skimage_ssim_range_255", "small", f, data_range=255.0)
    yield Case("skimage_ssim_map", "tall", f, {"full": True})
    yield Case("skimage_ssim_map_gaussian", "tall", f, gaussian | {"full": True})
    yield Case("skimage_ssim_volume", "volume", f)
    yield Case("skimage_ssim_volume_wang2004", "volume", f, gaussian | population)
    yield Case("skimage_psnr", "small", "skimage.peak_signal_noise_ratio")


def gmsd_cases():
    f = "piq.gmsd"
    for name in ("small", "tall", "flat", "narrow", "piq_big"):
        yield Case(f"piq_gmsd_{name}", name, f)
    for name in ("formula_a", "formula_b", "formula_crop", "textured", "textured_gray", "tiny"):
        yield Case(f"piq_gmsd_{name}", name, f, grad=True)
    yield Case("piq_gmsd_range_255", "small", f, data_range=255.0)
    yield Case("piq_gmsd_range_255_gray", "textured_gray", f, data_range=255.0, grad=True)
    yield Case("piq_gmsd_range_4095", "tall", f, data_range=4095.0)
    yield Case("piq_gmsd_t", "textured_gray", f, {"t": 0.01}, grad=True)


def vif_cases():
    f = "piq.vif_p"
    for name in ("enhanced", "flat_target", "piq_big"):
        yield Case(f"piq_vif_{name}", name, f)
    for name in ("formula_a", "formula_b", "formula_crop", "textured", "textured_gray", "branches"):
        yield Case(f"piq_vif_{name}", name, f, grad=True)
    yield Case("piq_vif_range_255", "textured", f, data_range=255.0)
    yield Case("piq_vif_range_255_gray", "textured_gray", f, data_range=255.0, grad=True)
    yield Case("piq_vif_range_4095", "textured_gray", f, data_range=4095.0)
    yield Case("piq_vif_sigma", "textured_gray", f, {"sigma_n_sq": 0.4}, grad=True)

    # Of each channel, then their mean; not differentiable, for it writes in place.
    f = "torchmetrics.visual_information_fidelity"
    sets = ("formula_a", "formula_b", "textured", "textured_gray", "large", "odd", "mixed", "piq_big", "branches", "enhanced")
    for name in sets:
        yield Case(f"tm_vif_{name}", name, f, data_range=255.0)
    yield Case("tm_vif_mean", "textured", f, {"reduction": "mean"}, data_range=255.0)
    yield Case("tm_vif_sigma", "textured", f, {"sigma_n_sq": 0.4}, data_range=255.0)
    yield Case("tm_vif_unscaled", "formula_a", f)


def photo_cases():
    functions = {
        "tm_ssim": "torchmetrics.ssim",
        "tm_ms_ssim": "torchmetrics.ms_ssim",
        "tm_psnr": "torchmetrics.psnr",
        "pm_ssim": "pytorch_msssim.ssim",
        "pm_ms_ssim": "pytorch_msssim.ms_ssim",
        "piq_ssim": "piq.ssim",
        "piq_ms_ssim": "piq.multi_scale_ssim",
        "skimage_ssim": "skimage.structural_similarity",
    }
    for photo, degradation, (short, function) in itertools.product(PHOTOS, DEGRADATIONS, functions.items()):
        yield Case(f"photo_{photo}_{degradation}_{short}", f"{photo}_{degradation}", function)


def photo_gmsd_and_vif_cases():
    functions = {
        "piq_gmsd": ("piq.gmsd", 1.0),
        "piq_vif": ("piq.vif_p", 1.0),
        "tm_vif": ("torchmetrics.visual_information_fidelity", 255.0),
    }
    for photo, degradation, (short, (function, data_range)) in itertools.product(PHOTOS, DEGRADATIONS, functions.items()):
        yield Case(f"photo_{photo}_{degradation}_{short}", f"{photo}_{degradation}", function, data_range=data_range)


def all_cases():
    groups = (
        torchmetrics_ssim_cases,
        torchmetrics_ms_ssim_cases,
        torchmetrics_psnr_cases,
        pytorch_msssim_cases,
        piq_cases,
        skimage_cases,
        photo_cases,
        gmsd_cases,
        vif_cases,
        photo_gmsd_and_vif_cases,
    )
    cases = [case for group in groups for case in group()]
    assert len({case.name for case in cases}) == len(cases), "two cases share a name"
    return cases


# ---- running


def evaluate(case, pair):
    """The library's outputs and, for a gradient case, d mean(value) / d input."""
    pred, target = (to_f64(values, case.data_range).requires_grad_(case.grad) for values in pair)
    outputs = RUNNERS[case.function](pred, target, **case.arguments())
    if case.grad:
        outputs["value"].mean().backward()
        outputs |= {"grad_pred": pred.grad, "grad_target": target.grad}
    outputs = {name: tensor.detach() for name, tensor in outputs.items()}
    for name, tensor in outputs.items():
        assert tensor.dtype == torch.float64 and tensor.isfinite().all(), f"{case.name}: bad {name}"
    return outputs


def inexactness(outputs, ideal):
    """How far the library is from itself with f64 constants; None where the constants make no difference."""
    errors = {"value": (outputs["value"] - ideal["value"]).abs().max().item()}
    for name in ("grad_pred", "grad_target"):
        if name in outputs:
            errors[name] = ((outputs[name] - ideal[name]).abs().max() / ideal[name].abs().max()).item()
    if not any(errors.values()):
        return None
    return {"note": "f32 constants in the library; value: largest |difference|; gradients: relative to the largest element", **errors}


def gradient_entries(prefix, grad, stride):
    """A gradient as stored: f32 samples, and the exact sum and sum of squares of all its elements."""
    return {
        prefix: np.ascontiguousarray(grad.numpy().reshape(-1)[::stride].astype(np.float32)),
        f"{prefix}_sums": np.array([grad.sum().item(), (grad**2).sum().item()]),
    }


def run(case, pair):
    """The case's tensors and its metadata."""
    outputs = evaluate(case, pair)
    with f64_constants():
        ideal = evaluate(case, pair)
    inexact = inexactness(outputs, ideal)
    stride = 1 if pair[0].size <= FULL_GRADIENT_ELEMENTS else GRADIENT_STRIDE

    tensors = {}
    for name, tensor in outputs.items():
        key = f"cases/{case.name}/{name}"
        # Gradients come from the f64 constants: a window rounded to f32 moves them by 1e-5, more than a test should allow.
        tensors |= gradient_entries(key, ideal[name], stride) if name.startswith("grad") else {key: tensor.numpy()}
    if inexact:
        tensors[f"cases/{case.name}/ideal"] = ideal["value"].numpy()

    library, function = case.function.split(".")
    meta = {
        "name": case.name,
        "set": case.set,
        "library": library,
        "function": function,
        "settings": case.arguments(),
        "R": case.data_range,
        "value": "per_image" if outputs["value"].ndim else "scalar",
    }
    if case.grad:
        meta |= {"differentiated": "mean(value)" if outputs["value"].ndim else "value", "grad_stride": stride}
    if inexact:
        meta["inexact"] = inexact
    return tensors, meta


def describe_sets(stored, photos, formulas):
    described = {name: {"stored": True, "shape": pair[0].shape} for name, pair in stored.items()}
    for name, pair in photos.items():
        photo, degradation = name.split("_")
        described[name] = {
            "stored": False,
            "shape": pair[0].shape,
            "photo": f"examples/images/{photo}.png",
            "degradation": DEGRADATIONS[degradation][0],
        }
    for name, pair in formulas.items():
        described[name] = {"stored": False, "shape": pair[0].shape, "formula": FORMULA}
    return described


def versions():
    packages = ("torch", "torchmetrics", "pytorch-msssim", "piq", "scikit-image", "scipy", "numpy", "pillow", "safetensors")
    return {"python": platform.python_version()} | {package: version(package) for package in packages}


def serialise(tensors, metadata):
    """safetensors bytes with the metadata in sorted order (the library writes it in an arbitrary one): same bytes every run."""
    raw = save(tensors)
    length = int.from_bytes(raw[:8], "little")
    header = {"__metadata__": {key: json.dumps(metadata[key]) for key in sorted(metadata)}} | json.loads(raw[8 : 8 + length])
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)  # the data must start at a multiple of 8
    return len(text).to_bytes(8, "little") + text + raw[8 + length :]


def print_row(meta, tensors):
    values = np.atleast_1d(tensors[f"cases/{meta['name']}/value"])
    shown = " ".join(f"{value:.10f}" for value in values)
    inexact = f"f32 constants: {meta['inexact']['value']:.1e}" if "inexact" in meta else ""
    print(f"{meta['name']:42} {meta['library']}.{meta['function']:27} {'G' if 'grad_stride' in meta else ' '} {shown}  {inexact}")


def main():
    torch.set_num_threads(1)
    warnings.simplefilter("error")
    stored, photos, formulas = stored_sets(), photo_sets(), formula_sets()
    pairs = stored | photos | formulas
    tensors = {f"inputs/{set_}/{side}": u8 for set_, pair in stored.items() for side, u8 in zip(("pred", "target"), pair)}
    metas = []
    for case in all_cases():
        entries, meta = run(case, pairs[case.set])
        tensors |= entries
        metas.append(meta)
        print_row(meta, entries)
    raw = serialise(tensors, {"cases": metas, "sets": describe_sets(stored, photos, formulas), "versions": versions()})
    OUTPUT.write_bytes(raw)
    print(f"{len(metas)} cases, {len(tensors)} tensors, {len(raw)} bytes")


if __name__ == "__main__":
    main()
