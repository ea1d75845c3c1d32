"""The files that ``mtbench new`` writes, a working plugin to start from; see ``templates/``."""

from __future__ import annotations

from mtbench.scaffold.project import KINDS, WRAPS, Project, new

__all__ = ["KINDS", "WRAPS", "Project", "new"]
