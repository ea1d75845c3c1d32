"""The conformance kit: what mtbench expects of a plugin of each kind, tried out on small tasks.

``mtbench check NAME``, ``pytest --mtbench NAME`` and :func:`check` do the same. Each check passes, fails with the
reason and the fix, or could not be tried, with the reason; none is left out in silence. The checks run in a process of
their own, so that one that hangs or crashes is a failure of that check alone.

The stand-in for a GPU (:mod:`mtbench.conformance.fake_cuda`) serves authors of plugins and mtbench's own tests.
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
