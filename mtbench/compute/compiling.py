"""torch.compile, confined to a unit."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_PLACES = ("TORCHINDUCTOR_CACHE_DIR", "TRITON_CACHE_DIR")


@contextmanager
def compiled_within(folder: Path) -> Iterator[None]:
    """Code compiled in this block is stored below ``folder``, and this process discards it at the end.

    Compiled code is selected by timing on the machine at that moment. If units shared it, a unit's result would depend
    on earlier units. The user's ``TORCHINDUCTOR_CACHE_DIR`` is ignored meanwhile.
    """
    before = {name: os.environ.get(name) for name in _PLACES}
    os.environ.update({name: str(folder / name.lower()) for name in _PLACES})
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
        if "torch._dynamo" in sys.modules:
            import torch

            torch.compiler.reset()
