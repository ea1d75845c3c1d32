"""Weights and images from names, shapes and a seed, with which the originals of CUT and pix2pix were run once.

``originals.json`` holds figures of what they put out: pixels, means and losses, and the patches that CUT drew. Where
``MTBENCH_TEST_DATA`` is set, tests compare with whole images, too.
"""

from __future__ import annotations

import json
import math
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

FIGURES: dict[str, Any] = json.loads(Path(__file__).with_suffix(".json").read_text())
TAPS = {3: (1.0, 2.0, 1.0), 4: (1.0, 3.0, 3.0, 1.0)}


def _draws(seed: int, key: str) -> np.random.RandomState:
    return np.random.RandomState(zlib.crc32(f"{seed}:{key}".encode()))


def with_weights(network: nn.Module, seed: int) -> Any:
    """The network, each of its tensors made from the seed and its name."""
    state = {}
    for key, tensor in network.state_dict().items():
        shape, leaf, rng = tuple(tensor.shape), key.rpartition(".")[2], _draws(seed, key)
        if leaf == "num_batches_tracked":
            state[key] = torch.tensor(1000)
            continue
        if leaf == "filt":
            kernel = np.outer(TAPS[shape[-1]], TAPS[shape[-1]])
            value = np.broadcast_to(kernel / kernel.sum() * (4.0 if shape[-1] == 4 else 1.0), shape).copy()
        elif leaf == "running_mean":
            value = 0.2 * rng.standard_normal(shape)
        elif leaf == "running_var":
            value = 0.5 + rng.random_sample(shape)
        elif leaf == "bias":
            value = 0.1 * rng.standard_normal(shape)
        else:
            value = rng.standard_normal(shape) / math.sqrt(math.prod(shape[1:]))
        state[key] = torch.from_numpy(value).float()
    network.load_state_dict(state)
    return network


def image(shape: tuple[int, int, int, int], seed: int, key: str) -> Tensor:
    """A smooth image in [-1, 1]: the tanh of twelve waves in each channel, float32."""
    rows, columns = np.linspace(0, 1, shape[2])[:, None], np.linspace(0, 1, shape[3])[None]
    rng, waves = _draws(seed, key), np.zeros(shape)
    for channel in waves.reshape(-1, *shape[2:]):
        for _ in range(12):
            along, across = rng.uniform(-6, 6, 2)
            height, phase = rng.standard_normal(), rng.uniform(0, 2 * np.pi)
            channel += height * np.cos(2 * np.pi * (along * rows + across * columns) + phase)
    return torch.from_numpy(np.tanh(waves / 2.5)).float()
