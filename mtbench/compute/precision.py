"""TF32 on or off, with either interface of PyTorch, whatever a plugin has set before.

Since 2.9 PyTorch has ``fp32_precision`` by backend and operation, beside older flags. Reading an old flag raises if the
two disagree, so both are written and only the new one is read.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

_MATMUL, _CUDNN, _CPU = torch.backends.cuda.matmul, torch.backends.cudnn, torch.backends.mkldnn
_NEW = hasattr(torch.backends.cuda.matmul, "fp32_precision")
_SETTINGS: list[tuple[Any, str]] = (
    [
        *((place, "fp32_precision") for place in (_MATMUL, _CUDNN.conv, _CUDNN.rnn)),  # type: ignore[attr-defined]
        *((place, "fp32_precision") for place in (_CPU.matmul, _CPU.conv, _CPU.rnn)),  # type: ignore[attr-defined]
    ]
    if _NEW
    else [(_MATMUL, "allow_tf32"), (_CUDNN, "allow_tf32")]
)


def set_tf32(on: bool) -> None:
    """Matrix products, cuDNN's convolutions and its recurrent networks in TF32 or in float32.

    oneDNN, which computes on the CPU, is set to float32 either way: a plugin may have set it with the same call.
    """
    precision = "tf32" if on else "ieee"
    _write([precision] * 3 + ["ieee"] * 3 if _NEW else [on, on])


@contextmanager
def tf32(on: bool) -> Iterator[None]:
    """:func:`set_tf32` within a block; the earlier setting is restored at the end."""
    values = [getattr(place, name) for place, name in _SETTINGS]
    set_tf32(on)
    try:
        yield
    finally:
        _write(values)


def _write(values: list[Any]) -> None:
    if _NEW:
        # Some versions warn of the old flags.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            _MATMUL.allow_tf32 = values[0] == "tf32"
            _CUDNN.allow_tf32 = values[1] == "tf32"
    for (place, name), value in zip(_SETTINGS, values, strict=True):
        setattr(place, name, value)
