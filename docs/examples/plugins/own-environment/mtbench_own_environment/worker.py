"""The side of the model: run by the interpreter of its own environment, which has NumPy and no mtbench.

python worker.py FOLDER [--device cpu] [--noise 0.02]
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from numpy.typing import NDArray


def translate(image: NDArray[np.float32], rng: np.random.Generator, noise: float) -> NDArray[np.float32]:
    """Replace this by your model: H x W in [0, 1], the same out."""
    result: NDArray[np.float32] = np.sqrt(image) + rng.normal(0, noise, image.shape).astype(np.float32)
    return result.clip(0, 1)


def main() -> None:
    """Translate FOLDER/source.npy (float32, N x H x W) to FOLDER/translated.npy, with the seeds of FOLDER/seeds.npy."""
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--noise", type=float, default=0.02)
    arguments = parser.parse_args()
    source = np.load(arguments.folder / "source.npy", mmap_mode="r")
    seeds = np.load(arguments.folder / "seeds.npy")
    result = np.lib.format.open_memmap(arguments.folder / "translated.npy", "w+", np.float32, source.shape)
    for index, seed in enumerate(seeds):
        result[index] = translate(source[index], np.random.default_rng(int(seed)), arguments.noise)
    result.flush()


if __name__ == "__main__":
    main()
