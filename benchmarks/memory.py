"""Does memory grow with the number of images? Peak of `mtbench score` for few and for many images.

    python benchmarks/memory.py [--counts 500 4000] [--side 256] [--extractor stub|inception-random]

Each count runs in a process of its own, on that many grey PNGs a side (--images DIR: real ones, repeated with one
pixel changed so that no two files are equal). The stub extractor gives 2048 numbers an image without a network.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image

STUB = """
import numpy as np
import torch

import mtbench


@mtbench.hookimpl
def mtbench_extractors():
    yield mtbench.ExtractorSpec("stub", ":Stub", arrays=("pool", "logits"))


class Stub:
    def extract(self, images, context):
        flat = images.flatten(1)
        index = torch.arange(2048) * 31 % flat.shape[1]
        return {"pool": flat[:, index], "logits": flat[:, index[:1008]]}
"""


def make(folder: Path, count: int, side: int, seed: int, real: list[Path]) -> None:
    """``count`` different grey PNGs."""
    folder.mkdir()
    rng = np.random.default_rng(seed)
    for number in range(count):
        if real:
            pixels = np.array(Image.open(real[number % len(real)]).convert("L"))
            pixels[rng.integers(pixels.shape[0]), rng.integers(pixels.shape[1])] ^= 255
        else:
            pixels = rng.integers(0, 255, (side // 8, side // 8)).astype(np.uint8).repeat(8, 0).repeat(8, 1)
        Image.fromarray(pixels).save(folder / f"{number:06d}.png")


def measure(count: int, options: argparse.Namespace) -> float:
    """Peak resident memory in MB of scoring ``count`` images per side."""
    real = sorted(Path(options.images).rglob("*.png")) if options.images else []
    with tempfile.TemporaryDirectory() as work:
        root = Path(work)
        (root / "stub.py").write_text(STUB)
        for seed, name in enumerate(("translated", "target")):
            make(root / name, count, options.side, seed, real)
        metrics = [f"{name}:extractor={options.extractor}" for name in ("fid", "kid", "is")]
        command = [sys.executable, "-m", "mtbench", "score", str(root / "translated"), str(root / "target")]
        command += [part for metric in metrics for part in ("-m", metric)]
        command += ["--plugin", str(root / "stub.py"), "--store", str(root / "store"), "--device", "cpu"]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--counts", type=int, nargs="+", default=[500, 4000], help="ascending")
    parser.add_argument("--side", type=int, default=256)
    parser.add_argument("--images", help="a folder of real PNGs")
    parser.add_argument("--extractor", default="stub")
    options = parser.parse_args()
    peaks = []
    for count in options.counts:
        # The peak of all children so far, which is correct if counts ascend.
        peaks.append(measure(count, options))
        print(f"{count:7d} images a side: {peaks[-1]:8.0f} MB", flush=True)
    if len(peaks) > 1:
        growth = (peaks[-1] - peaks[0]) * 1024 / (2 * (options.counts[-1] - options.counts[0]))
        print(f"{growth:.1f} kB more for each image")


if __name__ == "__main__":
    main()
