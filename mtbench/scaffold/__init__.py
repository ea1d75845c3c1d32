"""What ``mtbench new`` writes: a plugin that works, to be edited; see ``templates/``, whose names say what is what."""

from __future__ import annotations

from mtbench.scaffold.project import KINDS, WRAPS, Project, new

__all__ = ["KINDS", "WRAPS", "Project", "new"]
