"""Google-style docstrings as Markdown."""

from __future__ import annotations

import inspect
import re

SECTIONS = ("Args", "Attributes", "Returns", "Yields", "Raises")
_ROLE = re.compile(r":(?:class|func|mod|data|meth|attr):`~?([\w.]+)`")
_ITEM = re.compile(r"( {4})([\w*][\w*, .]*):\s(.*)")


def inline(text: str) -> str:
    """Cross-references and double backquotes as code; one line."""
    text = _ROLE.sub(lambda match: f"`{match[1].rpartition('.')[2]}`", text)
    return re.sub(r"``(.+?)``", r"`\1`", text)


def cell(text: object) -> str:
    """A text that is valid in a cell of a Markdown table."""
    parts = inline(" ".join(str(text).split())).split("`")
    # Inside code a bar does not end the cell.
    return "`".join(part if number % 2 else part.replace("|", "\\|") for number, part in enumerate(parts))


def split(docstring: str | None) -> tuple[str, dict[str, dict[str, str]]]:
    """The text of a docstring, and the items of each of its sections by name."""
    lines = inspect.cleandoc(docstring or "").splitlines()
    text: list[str] = []
    sections: dict[str, dict[str, str]] = {}
    items: dict[str, str] | None = None
    names: list[str] = []
    for line in lines:
        if line.rstrip().removesuffix(":") in SECTIONS and line.endswith(":"):
            items, names = sections.setdefault(line.rstrip(":"), {}), []
        elif items is None:
            text.append(line)
        elif line and not line.startswith(" "):
            items = None
            text.append(line)
        elif (match := _ITEM.fullmatch(line)) is not None:
            names = [name.strip() for name in match[2].split(",")]
            items.update(dict.fromkeys(names, match[3]))
        elif names and line.strip():
            for name in names:
                listed = line.strip().startswith("- ") and not items[name].endswith(":")
                items[name] += (" " if not listed else "; ") + line.strip().removeprefix("- ").rstrip(".")
    return "\n".join(text).strip(), sections


def body(text: str) -> str:
    """The paragraphs of a docstring; indented blocks and tables as code."""
    done: list[str] = []
    for paragraph in re.split(r"\n\s*\n", text):
        literal = paragraph.startswith(("    ", "==="))
        done.append(f"```text\n{inspect.cleandoc(paragraph)}\n```" if literal else inline(paragraph))
    return "\n\n".join(done).replace("::\n", ":\n")


def markdown(docstring: str | None) -> str:
    """A whole docstring: its text, then a table for each section."""
    text, sections = split(docstring)
    parts = [body(text)] if text else []
    for title, items in sections.items():
        if items:
            rows = "".join(f"| `{name}` | {cell(about)} |\n" for name, about in items.items())
            parts.append(f"| {title.lower()} | |\n|---|---|\n{rows}".rstrip())
    return "\n\n".join(parts)
