"""Merges modules: their imports, sorted like ruff, then their definitions."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable


def merged(texts: list[str]) -> str:
    """The text of one module with the content of several; the docstring is that of the first.

    Each text is a docstring, imports, an optional block of ``if TYPE_CHECKING:`` with one import a line, and the rest.
    """
    docstring = texts[0].partition("\n")[0]
    imports: set[str] = set()
    for_types: set[str] = set()
    bodies = []
    for text in texts:
        lines = text.splitlines()[1:]
        at = 0
        while at < len(lines) and re.match(r"from |import |if TYPE_CHECKING|    from |    import |$", lines[at]):
            line = lines[at]
            (for_types if line.startswith("    ") else imports).add(line.strip())
            at += 1
        bodies.append("\n".join(lines[at:]).strip("\n"))
    imports -= {"", "if TYPE_CHECKING:"}
    head = [docstring, "", *_sorted(imports)]
    if for_types:
        head += ["", "if TYPE_CHECKING:", *(f"    {line}" if line else "" for line in _sorted(for_types))]
    space = "\n\n\n" if re.match(r"@|class |def ", bodies[0]) else "\n\n"
    return "\n".join(head) + space + "\n\n\n".join(bodies) + "\n"


def _sorted(lines: Iterable[str]) -> list[str]:
    groups: dict[int, list[str]] = {}
    for line in _joined(lines):
        top = line.split()[1].partition(".")[0]
        group = 0 if top == "__future__" else 1 if top in sys.stdlib_module_names else 2
        groups.setdefault(group, []).append(line)
    result: list[str] = []
    for _, group_lines in sorted(groups.items()):
        plain_first = sorted(group_lines, key=lambda line: (line.startswith("from"), line.lower()))
        result += [*([""] if result else []), *plain_first]
    return result


def _joined(lines: Iterable[str]) -> list[str]:
    """Joins imports from the same module into one line."""
    names: dict[str, set[str]] = {}
    plain = []
    for line in lines:
        match = re.fullmatch(r"from (\S+) import (.+)", line)
        if match:
            names.setdefault(match[1], set()).update(name.strip() for name in match[2].split(","))
        else:
            plain.append(line)
    return [*plain, *(f"from {module} import {', '.join(sorted(each))}" for module, each in names.items())]
