"""Tensors that a plugin left on the wrong device: an error that names the plugin and the fix."""

from __future__ import annotations

import re
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mtbench.errors import MtbenchError, PluginError

_MISPLACED = re.compile(
    r"on the same device|can't convert \S+ device type tensor|device type for generator|is on cpu, but expected"
    r"|should be the same.*mkldnn|Input type \(.*cuda.*weight type|Input type \(.*weight type \(.*cuda",
    re.IGNORECASE | re.DOTALL,
)
"""PyTorch's messages if tensors of two devices are combined, or one is on the wrong device."""

_CORE = Path(__file__).parents[1]


@contextmanager
def placed_by(blame: str, device: str) -> Iterator[None]:
    """Name the plugin if its tensors are on two devices; other exceptions pass unchanged.

    Args:
        blame: the plugin whose code runs: ``Registration.blame``.
        device: of the context. No effect on the CPU.

    Raises:
        PluginError: PyTorch's message, the line of the plugin, and the fix.
    """
    try:
        yield
    except MtbenchError:
        raise
    except (RuntimeError, TypeError) as error:
        if not device.startswith("cuda") or not _MISPLACED.search(str(error)):
            raise
        raise PluginError(
            f"tensors are on two devices{_line(error)}: {_first(error)}",
            where=blame,
            remedy=f"Move its networks, tensors and generators to context.device (here {device}), and use .cpu() "
            "before NumPy",
        ) from error


def _line(error: BaseException) -> str:
    """The innermost line outside PyTorch and the core."""
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        path = Path(frame.filename)
        if "torch" not in path.parts and _CORE not in path.parents:
            return f" ({path.name}, line {frame.lineno})"
    return ""


def _first(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
