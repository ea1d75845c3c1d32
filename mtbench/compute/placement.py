"""Tensors that a plugin left on the other device: a fault of the plugin, in words that say whose and what to do."""

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
"""What PyTorch says where tensors of two devices meet, or one is not where its user needs it."""

_CORE = Path(__file__).parents[1]


@contextmanager
def placed_by(blame: str, device: str) -> Iterator[None]:
    """Name the plugin where its tensors are on two devices; whatever else is raised passes.

    Args:
        blame: whose code runs: ``Registration.blame``.
        device: of the context. On the CPU there is nothing to confuse.

    Raises:
        PluginError: what PyTorch says of it, the line of the plugin, and the fix.
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
    """The innermost line that is neither PyTorch's nor the core's."""
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        path = Path(frame.filename)
        if "torch" not in path.parts and _CORE not in path.parents:
            return f" ({path.name}, line {frame.lineno})"
    return ""


def _first(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
