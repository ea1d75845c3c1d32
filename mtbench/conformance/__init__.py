"""The conformance kit: tests of mtbench's requirements for each kind of plugin, on small tasks.

``mtbench check NAME``, ``pytest --mtbench NAME`` and :func:`check` do the same. Each check passes, fails with the
reason and the fix, or is untried with the reason; none is skipped silently. The checks run in a separate process, so
one that hangs or crashes only fails that check.

The stand-in for a GPU (:mod:`mtbench.conformance.fake_cuda`) is for plugin authors and mtbench's own tests.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mtbench.conformance.examine import check
    from mtbench.conformance.verdict import Report, Verdict

__all__ = ["Report", "Verdict", "check"]

_HOME = {"check": "examine", "Report": "verdict", "Verdict": "verdict"}


if not TYPE_CHECKING:  # pytest loads the package in every project where mtbench is installed

    def __getattr__(name: str) -> object:
        if name not in _HOME:
            raise AttributeError(f"module 'mtbench.conformance' has no attribute {name!r}")
        value = globals()[name] = getattr(import_module(f"mtbench.conformance.{_HOME[name]}"), name)
        return value
