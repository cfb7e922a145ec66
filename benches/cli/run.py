"""Times `image-metrics` beside a TorchMetrics script and a scikit-image script on the same files, in one run, and prints a table.

    python benches/cli/run.py [--pairs 1000] [--side 512] [--program target/release/image-metrics]

Needs torch, torchmetrics, scikit-image and Pillow: see benches/peers/requirements.txt. The pairs are smooth noise and the same with
finer noise on it, as PNG in a temporary folder. Decoding and start-up count for every side, and all compute the mean PSNR and SSIM.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from multiprocessing import Pool
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = ROOT / "target" / "release" / "image-metrics"
THREADS = 2
AIMS = {"torchmetrics": 15, "scikit-image": 4}  # times faster than these
SHARE, MEMORY = 0.2, 200  # at most: scoring's share of the time, and MB


def make(folder, pairs, side):
    import numpy as np
    from PIL import Image

    random = np.random.default_rng(1)
    for name in ("reference", "test"):
        (folder / name).mkdir()
    for index in range(pairs):
        coarse = random.integers(0, 256, (side // 16, side // 16, 3), dtype=np.uint8)
        reference = Image.fromarray(coarse).resize((side, side), Image.Resampling.BICUBIC)
        noise = random.normal(0, 8, (side, side, 3))
        test = np.clip(np.asarray(reference) + noise, 0, 255).round().astype(np.uint8)
        reference.save(folder / "reference" / f"{index:05}.png")
        Image.fromarray(test).save(folder / "test" / f"{index:05}.png")


def pairs_of(folder):
    return [(path, folder / "test" / path.name) for path in sorted((folder / "reference").iterdir())]


def pixels(path):
    import numpy as np
    from PIL import Image

    return np.asarray(Image.open(path).convert("RGB"))


def torchmetrics(folder):
    import torch
    from torchmetrics.functional.image import peak_signal_noise_ratio, structural_similarity_index_measure

    torch.set_num_threads(THREADS)
    psnr = ssim = 0.0
    pairs = pairs_of(folder)
    with torch.no_grad():
        for paths in pairs:
            reference, test = (torch.from_numpy(pixels(path).copy()).permute(2, 0, 1)[None].float() / 255 for path in paths)
            psnr += peak_signal_noise_ratio(test, reference, data_range=1.0).item()
            ssim += structural_similarity_index_measure(test, reference, data_range=1.0).item()
    return {"psnr": psnr / len(pairs), "ssim": ssim / len(pairs)}


def skimage_pair(paths):
    from skimage.metrics import peak_signal_noise_ratio, structural_similarity

    reference, test = map(pixels, paths)
    options = dict(gaussian_weights=True, sigma=1.5, use_sample_covariance=False)
    return (
        peak_signal_noise_ratio(reference, test, data_range=255),
        structural_similarity(reference, test, data_range=255, channel_axis=2, **options),
    )


def skimage(folder):
    pairs = pairs_of(folder)
    with Pool(THREADS) as pool:
        scores = pool.map(skimage_pair, pairs, chunksize=8)
    psnr, ssim = (sum(column) / len(pairs) for column in zip(*scores))
    return {"psnr": psnr, "ssim": ssim}


def timed(command, environment):
    """Seconds, peak MB of the largest process, standard output and standard error."""
    start = time.perf_counter()
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
        process = subprocess.Popen(command, env=environment, stdout=out, stderr=err)
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - start
        out.seek(0), err.seek(0)
        if status != 0:
            sys.exit(f"{command} failed: {err.read()}")
        return seconds, usage.ru_maxrss / 1024, out.read(), err.read()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=1000)
    parser.add_argument("--side", type=int, default=512)
    parser.add_argument("--program", type=Path, default=PROGRAM)
    parser.add_argument("--as", dest="role", choices=["torchmetrics", "scikit-image"], help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.role:
        print(json.dumps({"torchmetrics": torchmetrics, "scikit-image": skimage}[options.role](options.folder)))
        return
    environment = os.environ | {name: str(THREADS) for name in ("RAYON_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS")}
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        make(folder, options.pairs, options.side)
        report(options, folder, environment)


def report(options, folder, environment):
    ours = [options.program, "compare", folder / "reference", folder / "test", "--metrics", "psnr,ssim", "--json"]
    ours += ["--timing", "--jobs", str(THREADS)]
    timed(ours, environment)  # reads every file once, for all sides
    seconds, memory, out, err = timed(ours, environment)
    metrics = json.loads(out)["metrics"]
    words = err.split()
    loading, scoring = (float(words[words.index(word) - 3]) for word in ("loading,", "scoring"))
    share = scoring / (loading + scoring)
    print(f"{options.pairs} pairs of {options.side}×{options.side}\n")
    print("| | seconds | pairs/s | times slower | aim | psnr | ssim |\n|---|---|---|---|---|---|---|")

    def row(name, seconds_of, scores, aim):
        slower = seconds_of / seconds
        numbers = f"{seconds_of:.2f} | {options.pairs / seconds_of:.0f} | {slower:.1f} | {aim}"
        print(f"| {name} | {numbers} | {scores['psnr']:.4f} | {scores['ssim']:.6f} |")

    row("image-metrics", seconds, {name: metrics[name]["mean"] for name in ("psnr", "ssim")}, "")
    for name, aim in AIMS.items():
        command = [sys.executable, __file__, "--as", name, "--folder", folder]
        peer, _, out, _ = timed(command, environment)
        row(name, peer, json.loads(out), f"≥ {aim}")
    print(f"\nimage-metrics: {loading:.2f} s of loading and {scoring:.2f} s of scoring over {THREADS} threads,", end=" ")
    print(f"scoring {share:.0%} (aim < {SHARE:.0%}); peak {memory:.0f} MB (aim < {MEMORY} MB)")


if __name__ == "__main__":
    main()
