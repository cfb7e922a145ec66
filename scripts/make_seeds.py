#!/usr/bin/env python3
"""Makes the small files that tests read and damage, and what other programs read in them.

Run: python3 scripts/make_seeds.py crates/metrics-cli/tests/seeds
Needs: pip install Pillow numpy tifffile imagecodecs OpenEXR opencv-python-headless; cjpeg and jpegtran (libjpeg-turbo-progs).

The files come from encoders that are not those of image-metrics, and expected.json holds what libjpeg, libpng, libwebp, libtiff and
OpenEXR decode: shape [H, W, C] and the numbers as they are stored, integers not divided by anything.
"""
import io, json, struct, subprocess, sys, zlib
from pathlib import Path

import cv2, numpy as np, OpenEXR, tifffile
from PIL import Image

out = Path(sys.argv[1])
out.mkdir(exist_ok=True)
rng = np.random.default_rng(7)
H, W = 13, 19
y, x = np.mgrid[:H, :W]
grey = ((x * 11 + y * 17) % 256).astype(np.uint8)
rgb = np.stack([grey, (255 - x * 13).clip(0) % 256, (y * 19) % 256], -1).astype(np.uint8)
alpha = ((x * 29 + y * 7) % 256).astype(np.uint8)
rgba = np.dstack([rgb, alpha])
noise = rng.integers(0, 256, (H, W, 3), dtype=np.uint8)
deep = rng.integers(0, 65536, (H, W, 3), dtype=np.uint16)
floats = (rng.random((H, W, 3)) * 4 - 1).astype(np.float32)
expected = {}


def expect(name, values):
    values = np.asarray(values)
    values = values[..., None] if values.ndim == 2 else values
    expected[name] = {"shape": list(values.shape), "values": [v.item() for v in values.reshape(-1)]}


def write(name, data, values=None):
    (out / name).write_bytes(data)
    if values is not None:
        expect(name, values)


def pil(image, kind, **options):
    file = io.BytesIO()
    Image.fromarray(image).save(file, kind, **options) if isinstance(image, np.ndarray) else image.save(file, kind, **options)
    return file.getvalue()


def djpeg(data):
    done = subprocess.run(["djpeg", "-pnm"], input=data, capture_output=True, check=True)
    assert not done.stderr, done.stderr
    return np.array(Image.open(io.BytesIO(done.stdout)))


def tool(*command, stdin):
    return subprocess.run(command, input=stdin, capture_output=True, check=True).stdout


# JPEG: subsamplings, progression, several scans, restarts, grey, inks.
ppm = pil(rgb, "PPM")
for name, options in {
    "444": ["-sample", "1x1"], "422": ["-sample", "2x1"], "440": ["-sample", "1x2"], "420": ["-sample", "2x2"], "411": ["-sample", "4x1"],
    "progressive": ["-progressive"], "restarts": ["-restart", "1B", "-sample", "1x1"], "grey": ["-grayscale"], "rgb": ["-rgb"],
}.items():
    data = tool("cjpeg", "-quality", "85", *options, stdin=ppm)
    write(f"{name}.jpg", data, djpeg(data))
scans = out / "scans.txt"
scans.write_text("0;\n1;\n2;\n")
data = tool("cjpeg", "-quality", "85", "-sample", "2x2", "-scans", str(scans), stdin=ppm)
scans.unlink()
write("scans.jpg", data, djpeg(data))
data = pil(Image.fromarray(np.dstack([rgb, grey]), "CMYK"), "JPEG", quality=85)
left = 255 - np.array(Image.open(io.BytesIO(data))).astype(int)  # Pillow gives inks, Adobe's files what they leave
write("cmyk.jpg", data, (left[..., :3] * left[..., 3:] + 127) // 255)


# PNG: every color type and depth, interlaced, several IDAT chunks.
def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(image, depth, color, extra=(), interlaced=False, pieces=1):
    bits = image.reshape(H, W, -1)
    passes = [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)] if interlaced else [(0, 0, 1, 1)]
    stream, step = b"", max(1, bits.shape[2] * depth // 8)
    for x0, y0, dx, dy in passes:
        part, above = bits[y0::dy, x0::dx], None
        if part.size == 0:
            continue
        for index, row in enumerate(part):
            values = row.reshape(-1)
            if depth == 16:
                packed = values.astype(">u2").tobytes()
            elif depth == 8:
                packed = values.astype(np.uint8).tobytes()
            else:
                packed = np.packbits(np.unpackbits(values.astype(np.uint8)[:, None], axis=1)[:, 8 - depth:].reshape(-1)).tobytes()
            packed = np.frombuffer(packed, np.uint8).astype(int)
            above = np.zeros_like(packed) if above is None else above
            a, c = [np.concatenate([np.zeros(step, int), v])[: len(packed)] for v in (packed, above)]
            p = a + above - c
            pa, pb, pc = abs(p - a), abs(p - above), abs(p - c)
            paeth = np.where((pa <= pb) & (pa <= pc), a, np.where(pb <= pc, above, c))
            kind = index % 5
            stream += bytes([kind]) + ((packed - [0, a, above, (a + above) // 2, paeth][kind]) % 256).astype(np.uint8).tobytes()
            above = packed
    data = zlib.compress(stream)
    parts = np.array_split(np.frombuffer(data, np.uint8), pieces)
    header = struct.pack(">IIBBBBB", W, H, depth, color, 0, 0, int(interlaced))
    return b"".join([b"\x89PNG\r\n\x1a\n", chunk(b"IHDR", header), *extra, *(chunk(b"IDAT", p.tobytes()) for p in parts), chunk(b"IEND", b"")])


def libpng(data):
    image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    return image[..., [2, 1, 0, 3][: image.shape[2]]] if image.ndim == 3 else image


palette = rng.integers(0, 256, (16, 3), dtype=np.uint8)
indices = (x + y) % 16
plte = chunk(b"PLTE", palette.tobytes())
for depth in (1, 2, 4, 8, 16):
    values = (deep[..., 0] >> (16 - depth)) if depth < 16 else deep[..., 0]
    # Less than eight bits fill eight when they are decoded.
    scaled = values * (255 // (2**depth - 1)) if depth < 8 else values
    data = png(values, depth, 0, interlaced=depth in (2, 16))
    assert (libpng(data).reshape(H, W) == scaled).all()
    write(f"grey{depth}.png", data, scaled)
write("rgb8.png", png(rgb, 8, 2, pieces=5), rgb)
write("rgb8_adam7.png", png(rgb, 8, 2, interlaced=True), rgb)
write("rgb16.png", png(deep, 16, 2), deep)
write("rgba8.png", png(rgba, 8, 6), rgb)
write("rgba16.png", png(np.dstack([deep, deep[..., 0]]), 16, 6), deep)
write("greya8.png", png(np.dstack([grey, alpha]), 8, 4), grey)
write("palette4.png", png(indices, 4, 3, [plte]), palette[indices])
write("palette8.png", png(indices, 8, 3, [plte, chunk(b"tRNS", bytes(range(9)))], interlaced=True), palette[indices])
write("key.png", png(rgb, 8, 2, [chunk(b"tRNS", struct.pack(">HHH", *rgb[3, 3]))]), rgb)

# WebP
for name, image, options in [
    ("lossy.webp", rgb, dict(quality=80)), ("lossless.webp", rgb, dict(lossless=True)), ("alpha.webp", rgba, dict(quality=70)),
    ("lossless_alpha.webp", rgba, dict(lossless=True, exact=True)),
]:
    data = pil(image, "WEBP", **options)
    write(name, data, np.array(Image.open(io.BytesIO(data)))[..., :3])
frames = [Image.fromarray(rgb), Image.fromarray(noise)]
data = pil(frames[0], "WEBP", save_all=True, append_images=frames[1:], lossless=True)
write("animation.webp", data, rgb)

# TIFF: kinds of numbers, compressions, planes, tiles, predictors.
for name, image, options in [
    ("grey8", grey, {}), ("rgb8_lzw", rgb, dict(compression="lzw")), ("rgb8_deflate", rgb, dict(compression="deflate", predictor=True)),
    ("rgb8_packbits", rgb, dict(compression="packbits")), ("rgb16_planar", deep, dict(planarconfig="separate")),
    ("rgb16_big_endian", deep, dict(byteorder=">", compression="lzw", predictor=True)), ("rgb8_tiled", rgb, dict(tile=(16, 16), compression="deflate")),
    ("rgba8", rgba, dict(extrasamples=["unassalpha"])), ("white_is_zero", grey, dict(photometric="miniswhite")),
    ("f32", floats, {}), ("f32_predictor", floats, dict(compression="deflate", predictor=True)), ("f16", floats.astype(np.float16), {}),
    ("f64", floats.astype(np.float64), dict(rowsperstrip=5)), ("i16", deep.astype(np.int16), {}), ("i8", noise.astype(np.int8), {}),
    ("u32", deep.astype(np.uint32) * 65537, {}), ("i32", deep.astype(np.int32) * -30000, {}), ("big", grey, dict(bigtiff=True)),
]:
    file = io.BytesIO()
    photometric = options.pop("photometric", "rgb" if image.ndim == 3 else "minisblack")
    planes = image.transpose(2, 0, 1) if options.get("planarconfig") == "separate" else image
    with tifffile.TiffWriter(file, byteorder=options.pop("byteorder", "<"), bigtiff=options.pop("bigtiff", False)) as tiff:
        tiff.write(planes, photometric=photometric, metadata=None, **options)
    values = 255 - image if photometric == "miniswhite" else image[..., :3] if image.ndim == 3 else image
    write(f"{name}.tif", file.getvalue(), values.astype(float) if values.dtype.kind == "f" else values)
data = pil(Image.fromarray((grey > 99) * np.uint8(255)).convert("1"), "TIFF")
write("bilevel.tif", data, (grey > 99).astype(int))

# BMP, PNM, PAM
write("rgb8.bmp", pil(rgb, "BMP"), rgb)
write("palette.bmp", pil(Image.fromarray(indices.astype(np.uint8), "P"), "BMP"))
image = Image.fromarray(indices.astype(np.uint8), "P")
image.putpalette(palette.tobytes())
write("palette.bmp", pil(image, "BMP"), palette[indices])
write("bilevel.bmp", pil(Image.fromarray((grey > 99) * np.uint8(255)).convert("1"), "BMP"), np.repeat(((grey > 99) * 255)[..., None], 3, 2))
write("rgb8.ppm", b"P6\n# a comment\n%d %d 255\n" % (W, H) + rgb.tobytes(), rgb)
write("rgb16.ppm", b"P6 %d %d 65535\n" % (W, H) + deep.astype(">u2").tobytes(), deep)
write("ten_bits.pgm", b"P5 %d %d 1023\n" % (W, H) + (deep[..., 0] >> 6).astype(">u2").tobytes(), deep[..., 0] >> 6)
write("hundred.pgm", b"P5 %d %d 100\n" % (W, H) + (grey % 101).tobytes(), grey % 101)
write("text.ppm", b"P3 %d %d 255\n" % (W, H) + b"\n".join(b"%d" % v for v in rgb.reshape(-1)) + b"\n", rgb)
write("bitmap.pbm", b"P4 %d %d\n" % (W, H) + np.packbits(grey > 99, axis=1).tobytes(), 1 - (grey > 99))
write("digits.pbm", b"P1 %d %d\n" % (W, H) + b"\n".join(b"".join(b"%d" % v for v in row) for row in (grey > 99)), 1 - (grey > 99))
write("rgba.pam", b"P7\nWIDTH %d\nHEIGHT %d\nDEPTH 4\nMAXVAL 255\nTUPLTYPE RGB_ALPHA\nENDHDR\n" % (W, H) + rgba.tobytes(), rgb)


# OpenEXR
def exr(name, channels, compression, tiled=False):
    header = {"compression": compression, "type": OpenEXR.tiledimage if tiled else OpenEXR.scanlineimage}
    if tiled:
        header["tiles"] = OpenEXR.TileDescription()
    OpenEXR.File(header, {key: np.ascontiguousarray(value) for key, value in channels.items()}).write(str(out / name))
    read = OpenEXR.File(str(out / name), separate_channels=True).channels()
    expect(name, np.stack([read[key].pixels.astype(float) for key in "RGB"], -1))


split = dict(zip("RGB", floats.transpose(2, 0, 1)))
half = {key: value.astype(np.float16) for key, value in split.items()}
exr("none.exr", split, OpenEXR.NO_COMPRESSION)
exr("zip.exr", half, OpenEXR.ZIP_COMPRESSION)
exr("zips.exr", half | {"A": np.ones((H, W), np.float16)}, OpenEXR.ZIPS_COMPRESSION)
exr("rle.exr", half, OpenEXR.RLE_COMPRESSION)
exr("piz.exr", half, OpenEXR.PIZ_COMPRESSION)
exr("pxr24.exr", split, OpenEXR.PXR24_COMPRESSION)
exr("b44.exr", half, OpenEXR.B44_COMPRESSION)
exr("tiles.exr", half, OpenEXR.ZIP_COMPRESSION, tiled=True)

# Radiance HDR
light = (np.abs(floats) + 0.01)[..., ::-1]
data = cv2.imencode(".hdr", light)[1].tobytes()
write("light.hdr", data, cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)[..., ::-1].astype(float))
data = cv2.imencode(".hdr", light, [cv2.IMWRITE_HDR_COMPRESSION, cv2.IMWRITE_HDR_COMPRESSION_NONE])[1].tobytes()
write("flat.hdr", data, cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)[..., ::-1].astype(float))

# Arrays
for name, array in [("u8", rgb), ("u16", deep), ("f16", floats.astype(np.float16)), ("f32", floats), ("f64", floats.astype(np.float64))]:
    file = io.BytesIO()
    np.save(file, array)
    write(f"{name}.npy", file.getvalue(), array.astype(float))
def safetensors(tensors):
    header, data = {}, b""
    for name, (dtype, array) in tensors.items():
        header[name] = {"dtype": dtype, "shape": list(array.shape), "data_offsets": [len(data), len(data) + array.nbytes]}
        data += array.tobytes()
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data
write("one.safetensors", safetensors({"pixels": ("F32", floats)}), floats.astype(float))
write("two.safetensors", safetensors({"else": ("F32", floats[:2]), "image": ("U8", rgb)}), rgb)
(out / "expected.json").write_text(json.dumps(expected, separators=(",", ":")).replace('},"', '},\n"') + "\n")
print(len(expected), "files")
