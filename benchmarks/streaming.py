"""The memory that `mtbench score` takes for a pair of volumes and their masks, above that for a tiny pair.

    python benchmarks/streaming.py [--gib 2] [--side 512] [--plane axial] [--metrics mae psnr ssim dice]

Writes two uncompressed NIfTI volumes of float32 that differ by 3, and two equal masks of one byte a voxel, and removes
them; the store takes half as much again. One process first scores the tiny pair, so that everything is imported, then
the large one.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel
import numpy as np

CODE = """
import json, resource, sys
import mtbench

plane, metrics = sys.argv[1], sys.argv[2:]


def peak(size):
    rows = mtbench.score(
        f"{size}/image", f"{size}/truth", masks=f"{size}/mask", predicted=f"{size}/mask", metrics=metrics, paired=True,
        plane=plane, window=(0, 2000), device="cpu"
    )
    scores = {row["metric"]: row["value"] for row in rows}
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024, scores


tiny = peak("tiny")[0]
large, scores = peak("large")
print(json.dumps([large - tiny, scores]))
"""


@dataclass(frozen=True)
class Peak:
    """The result.

    Attributes:
        above: bytes above the peak of the tiny pair.
        seconds: of the process.
        scores: by metric.
    """

    above: int
    seconds: float
    scores: dict[str, float]


def write(path: Path, side: int, depth: int, kind: Any, plane: np.ndarray) -> None:
    """A volume of ``depth`` equal slices, which is never in memory as a whole."""
    path.parent.mkdir(parents=True)
    header = nibabel.Nifti1Header()
    header.set_data_dtype(kind)
    header.set_data_shape((side, side, depth))
    header.set_sform(np.diag([-1.0, -1.0, 1.0, 1.0]), 1)
    header["magic"], header["vox_offset"] = b"n+1", 352
    with path.open("wb") as file:
        file.write(header.binaryblock + bytes(4))
        for _ in range(depth):
            file.write(plane.astype(kind).tobytes(order="F"))


def measure(folder: Path, side: int, depth: int, plane: str, metrics: list[str]) -> Peak:
    """Writes the volumes below ``folder`` and scores them in a process of its own."""
    for name, (across, slices) in {"tiny": (16, 4), "large": (side, depth)}.items():
        image = (np.arange(across * across) % 1013).reshape(across, across)
        write(folder / name / "truth" / "a.nii", across, slices, np.float32, image)
        write(folder / name / "image" / "a.nii", across, slices, np.float32, image + 3)
        write(folder / name / "mask" / "a.nii", across, slices, np.uint8, image > 500 if across > 16 else image > 100)
    started = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-c", CODE, plane, *metrics],
        cwd=folder,
        env={**os.environ, "MTBENCH_STORE": str(folder / "store")},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    above, scores = json.loads(done.stdout)
    return Peak(above, time.perf_counter() - started, scores)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gib", type=float, default=2, help="size of each of the two volumes")
    parser.add_argument("--side", type=int, default=512)
    parser.add_argument("--plane", default="axial")
    parser.add_argument("--metrics", nargs="+", default=["mae", "psnr", "ssim", "dice"])
    options = parser.parse_args()
    depth = int(options.gib * (1 << 30)) // (4 * options.side**2)
    with tempfile.TemporaryDirectory() as work:
        peak = measure(Path(work), options.side, depth, options.plane, options.metrics)
    print(f"{options.side} x {options.side} x {depth}: {peak.above / (1 << 20):.0f} MiB above, {peak.seconds:.0f} s")
    print(", ".join(f"{name} {value:.6g}" for name, value in peak.scores.items()))


if __name__ == "__main__":
    main()
