"""torch.compile, kept within a unit."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_PLACES = ("TORCHINDUCTOR_CACHE_DIR", "TRITON_CACHE_DIR")


@contextmanager
def compiled_within(folder: Path) -> Iterator[None]:
    """What is compiled in this block lies below ``folder``, and this process forgets it at the end.

    Compiled code is chosen by timing it on the machine as it was at that moment. Shared with other units it would make
    what a unit computes depend on who came before. An own ``TORCHINDUCTOR_CACHE_DIR`` is set aside meanwhile.
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
