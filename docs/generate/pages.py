"""Every generated page of the documentation, by its path."""

from __future__ import annotations

import re
from pathlib import Path

import api
import builtin_pages as builtins
import commands
import schemas

ROOT = Path(__file__).parents[2]


def pages() -> dict[str, str]:
    """Path below ``docs`` to Markdown."""
    generated = {
        "reference/command-line.md": commands.page(),
        "reference/plugin-interface.md": api.plugin_page(),
        "reference/python.md": api.python_page(),
        "reference/suite-file.md": schemas.suite_page(),
        "reference/results-tables.md": schemas.results_page(),
        "reference/builtins/index.md": builtins.index_page(),
        "changes.md": changes(),
    }
    for each in builtins.registrations():
        generated[f"reference/builtins/{builtins.file_name(each.spec.kind, each.spec.name)}"] = builtins.page(each)
    return generated


def changes() -> str:
    """The changelog, its links as seen from ``docs``."""
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    return re.sub(r"\]\(docs/", "](", text)
