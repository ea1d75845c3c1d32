"""What the tests of the Inception metrics share: random weights for us and for the installed peers, and slices."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from mtbench.compute.seeds import generator
from mtbench_plugins.extractors.inception_weights import random_state

State = dict[str, torch.Tensor]


def shared_state(seed: int = 1) -> State:
    """Random weights with batch-norm statistics that do something, in the layout of 566 entries."""
    state: State = {}
    for name, value in random_state(seed).items():
        draws = torch.from_numpy(generator(seed, name).standard_normal(tuple(value.shape), dtype="float32"))
        if name.endswith("bn.weight"):
            value = 1 + 0.1 * draws
        elif name.endswith(("bn.bias", "bn.running_mean")):
            value = 0.02 * draws
        elif name.endswith("bn.running_var"):
            value = 1 + 0.2 * draws.abs()
        elif name == "fc.bias":
            value = draws
        state[name] = value
        if name.endswith("bn.running_var"):
            state[name.replace("running_var", "num_batches_tracked")] = torch.tensor(7)
    return state


@contextmanager
def peer(module: str) -> Iterator[None]:
    """Skip where a library of the extra [bench] is not installed; its own warnings are its own affair."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pytest.importorskip(module, reason=f"{module} is not installed (extra [bench])")
        yield


def slices(folder: str, count: int) -> NDArray[np.uint8]:
    """Real 8-bit slices of one size, N x H x W, or skip."""
    root = os.environ.get("MTBENCH_TEST_DATA")
    if not root:
        pytest.skip("MTBENCH_TEST_DATA is not set")
    files = sorted((Path(root) / "data" / folder).glob("*.png"))
    chosen = files[:: max(1, len(files) // count)][:count]
    return np.stack([np.asarray(Image.open(file).convert("L")) for file in chosen])


def drawn(count: int, height: int, width: int, seed: int = 0) -> NDArray[np.uint8]:
    """Smooth random 8-bit images, N x H x W, for tests that need no real ones."""
    coarse = generator("images", seed).integers(0, 256, (count, height // 8, width // 8)).astype(np.uint8)
    return np.stack(
        [np.asarray(Image.fromarray(one).resize((width, height), Image.Resampling.BICUBIC)) for one in coarse]
    )


def tensor(images: NDArray[np.uint8] | NDArray[np.uint16]) -> torch.Tensor:
    """Stored images as they are handed to extractors: float32 N x 1 x H x W in [0, 1]."""
    white = np.float32(np.iinfo(images.dtype).max)
    return torch.from_numpy(images.astype(np.float32) / white)[:, None]


def save_png(images: NDArray[np.uint8], folder: Path) -> Path:
    """Images as PNG files."""
    folder.mkdir(parents=True)
    for index, image in enumerate(images):
        Image.fromarray(image).save(folder / f"{index:05d}.png")
    return folder
