"""TF32 on or off, whichever interface PyTorch has for it, and whatever a plugin has set before.

Since 2.9 PyTorch has ``fp32_precision`` by backend and operation, beside older flags. Reading an old flag raises where
the two disagree, so both are written and only the new one is read.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch


def set_tf32(on: bool) -> None:
    """Matrix products, cuDNN's convolutions and its recurrent networks in TF32 or in float32.

    oneDNN, which computes on the CPU, is set to float32 either way: a plugin may have set it with the same call.
    """
    precision = "tf32" if on else "ieee"
    _write([precision] * 3 + ["ieee"] * 3 if _new() else [on, on])


@contextmanager
def tf32(on: bool) -> Iterator[None]:
    """:func:`set_tf32` for a while; what was set before comes back."""
    values = [getattr(place, name) for place, name in _settings()]
    set_tf32(on)
    try:
        yield
    finally:
        _write(values)


def _new() -> bool:
    return hasattr(torch.backends.cuda.matmul, "fp32_precision")


def _settings() -> list[tuple[Any, str]]:
    matmul, cudnn, cpu = torch.backends.cuda.matmul, torch.backends.cudnn, torch.backends.mkldnn
    if not _new():
        return [(matmul, "allow_tf32"), (cudnn, "allow_tf32")]
    places: list[Any] = [matmul, cudnn.conv, cudnn.rnn, cpu.matmul, cpu.conv, cpu.rnn]  # type: ignore[attr-defined]
    return [(place, "fp32_precision") for place in places]


def _write(values: list[Any]) -> None:
    if _new():
        # Some versions warn of the old flags.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            torch.backends.cuda.matmul.allow_tf32 = values[0] == "tf32"
            torch.backends.cudnn.allow_tf32 = values[1] == "tf32"
    for (place, name), value in zip(_settings(), values, strict=True):
        setattr(place, name, value)
