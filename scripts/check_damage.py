#!/usr/bin/env python3
"""Asks reference decoders about damaged files that image-metrics would score.

Run: python3 scripts/check_damage.py FOLDER
FOLDER is what the test `damage` has kept (docs/robustness.md): files, and beside each what image-metrics reads in it. A reference decoder
that refuses a file, warns of its pixels or reads others is a finding; the exit code is 1 then.
Needs: djpeg, pngtopam, tiffinfo, dwebp (libjpeg-turbo-progs netpbm libtiff-tools webp); pip install Pillow numpy tifffile imagecodecs OpenEXR
opencv-python-headless safetensors.
"""
import collections, io, json, os, re, subprocess, sys, tempfile
from pathlib import Path

import cv2, numpy as np, OpenEXR, tifffile
from PIL import Image

# libpng's remarks about chunks that do not change pixels.
BENIGN = re.compile(rb"warning: (iCCP|sRGB|gAMA|cHRM|tIME|pHYs|bKGD|hIST|sPLT|sBIT|oFFs|pCAL|sCAL|zTXt|tEXt|iTXt|eXIf|cICP|[a-z]\w{3}):|Extra compressed data")


# libtiff's about tags that do not.
BENIGN_TAGS = re.compile(
    rb'"(Software|XResolution|YResolution|ResolutionUnit|DateTime|ImageDescription)"|custom tag|not sorted|nknown field'
    rb"|TIFF directory count|read directory at"
    rb"|TIFFFetchDirectory|ASCII value|Tag \d+|DotRange"
)
# With SIMD, libjpeg clips coefficients that are out of range as no undamaged file has them otherwise than in plain C.
os.environ["JSIMD_FORCENONE"] = "1"


def run(*command, file=None):
    done = subprocess.run(command, capture_output=True, timeout=60, stdin=file and open(file, "rb"))
    return done.returncode, done.stdout, done.stderr


def netpbm(data):
    image = np.array(Image.open(io.BytesIO(data)))
    return image


def jpg(path):
    code, out, error = run("djpeg", "-pnm", path)
    if code or error:
        return error.decode().strip() or code, None
    return None, None if path.stem.endswith("cmyk") else netpbm(out)


def png(path):
    code, out, error = run("pngtopam", path)
    lines = [line for line in error.splitlines() if line.strip() and not BENIGN.search(line)]
    if code or lines:
        return b" ".join(lines).decode() or code, None
    image = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    return None, image if image is None or image.ndim == 2 else image[..., [2, 1, 0]]


def tif(path):
    # -D reads the pixels.
    code, out, error = run("tiffinfo", "-D", path)
    lines = [line for line in error.splitlines() if line.strip() and not BENIGN_TAGS.search(line)]
    if lines or (code and not error):
        return b" ".join(lines).decode(errors="replace") or code, None
    with tifffile.TiffFile(path) as file:
        page = file.pages[0]
        image = page.asarray()
        if page.planarconfig == 2 and image.ndim == 3:
            image = image.transpose(1, 2, 0)
        if page.photometric == 0 and image.dtype.kind == "u":
            image = (image.max() if image.dtype == bool else np.iinfo(image.dtype).max) - image
    return None, image


def webp(path):
    # dwebp knows no animations, and whether one is whole.
    if b"ANMF" in path.read_bytes():
        image = Image.open(path)
        image.load()
        return None, np.array(image.convert("RGB"))
    with tempfile.NamedTemporaryFile(suffix=".ppm") as out:
        code, _, error = run("dwebp", path, "-ppm", "-o", out.name)
        return (error.decode().splitlines()[:1], None) if code else (None, np.array(Image.open(out.name)))


def pillow(path):
    image = Image.open(path)
    image.load()
    return None, np.array(image.convert("RGB") if image.mode in "P1" and path.suffix == ".bmp" else image)


def pnm(path):
    code, out, error = run("pamtopam", file=path)
    if code or error:
        return error.decode().strip() or code, None
    return None, None


def exr(path):
    try:
        file = OpenEXR.File(str(path), separate_channels=True)
    except UnicodeDecodeError:  # of its Python side, about the name of an attribute
        return None, None
    header, channels = file.header(), file.channels()
    if not all(np.array_equal(a, b) for a, b in zip(header["dataWindow"], header["displayWindow"])):
        return None, None  # image-metrics takes the display window
    return None, np.stack([channels[key].pixels for key in "RGB"], -1)


def hdr(path):
    image = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    return ("not read", None) if image is None else (None, image[..., ::-1])


def npy(path):
    return None, np.load(path)


def safetensors(path):
    from safetensors.numpy import load
    tensors = load(path.read_bytes())
    return None, tensors.get("image", next(iter(tensors.values())))


READERS = {".jpg": jpg, ".png": png, ".tif": tif, ".webp": webp, ".bmp": pillow, ".exr": exr, ".hdr": hdr, ".npy": npy, ".safetensors": safetensors}
READERS |= dict.fromkeys([".pnm", ".pbm", ".pgm", ".ppm", ".pam"], pnm)
counts, findings = collections.Counter(), []
os.environ["OPENCV_IO_MAX_IMAGE_PIXELS"] = str(1 << 20)
for path in sorted(Path(sys.argv[1]).iterdir()):
    if path.suffix == ".json":
        continue
    ours = json.loads(Path(f"{path}.json").read_text())
    try:
        fault, theirs = READERS[path.suffix](path)
    except Exception as error:
        fault, theirs = f"{type(error).__name__}: {error}", None
    if fault is None and theirs is not None:
        theirs = np.asarray(theirs).astype(float)
        channels = ours["shape"][3]
        theirs = theirs[..., :channels].reshape(-1) if theirs.ndim == 3 and theirs.shape[2] > channels else theirs.reshape(-1)
        values = np.array([float("nan") if value is None else value for value in ours["values"]])
        if values.size != theirs.size:
            fault = f"{theirs.size} numbers instead of {values.size}"
        elif not np.array_equal(values[np.isfinite(theirs)], theirs[np.isfinite(theirs)]):
            differ = np.sum(values != theirs)
            fault = f"{differ} of {values.size} numbers differ"
    counts[path.suffix, "bad" if fault else "good"] += 1
    if fault:
        findings.append(f"{path.name}: {str(fault)[:160]}")
print("\n".join(findings[:400]))
print(dict(counts))
sys.exit(bool(findings))
