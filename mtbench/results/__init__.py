"""A results directory: its journal, the tables derived from it, and operations on several directories.

``Results`` is imported at its first use, because the plan reads only column names here and needs no Arrow.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mtbench.results.directory import Results

__all__ = ["Results"]


def __getattr__(name: str) -> object:
    if name != "Results":
        raise AttributeError(f"module 'mtbench.results' has no attribute {name!r}")
    from mtbench.results import directory

    return directory.Results
