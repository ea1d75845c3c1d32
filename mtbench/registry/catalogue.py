"""The catalogue ``registry.toml``: known plugins, weight files, data sets, published results and suites.

It is text to read and search; nothing in it is run, or downloaded without a request. ``docs/catalogue.md`` describes
the schema, :data:`SECTIONS`.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mtbench.errors import MtbenchError, RequestError
from mtbench.paths import expand
from mtbench.resources import resource_path
from mtbench.toml import parse, read_text

FILE = "registry.toml"
VARIABLE = "MTBENCH_CATALOGUE"
SCHEMA = 1


@dataclass(frozen=True)
class Section:
    """The schema of one section's entries.

    Attributes:
        required, optional: key to the type of its value: "text", "texts", "whole number", "sha256", "address",
            "addresses" or "kind and name".
    """

    required: Mapping[str, str]
    optional: Mapping[str, str]


SECTIONS: Mapping[str, Section] = {
    "plugins": Section(
        {"description": "text", "provides": "kinds and names", "source": "address", "licence": "text"},
        {"install": "text", "mtbench": "text", "citation": "text", "maintainer": "text"},
    ),
    "weights": Section(
        {"description": "text", "file": "text", "urls": "addresses", "sha256": "sha256", "licence": "text"},
        {"bytes": "whole number", "citation": "text"},
    ),
    "datasets": Section(
        {"description": "text", "source": "address", "licence": "text", "access": "text"},
        {"plugin": "text", "citation": "text", "size": "text"},
    ),
    "published": Section({"description": "text", "file": "text", "source": "text"}, {"address": "address"}),
    "suites": Section({"description": "text"}, {"suite": "text", "source": "address", "needs": "texts"}),
}
_KINDS = ("translator", "dataset", "segmenter", "extractor", "metric", "executor", "exporter", "challenge", "suite")


@dataclass(frozen=True)
class Entry:
    """One entry: its section, name, values and file."""

    section: str
    name: str
    values: Mapping[str, Any]
    file: str

    @property
    def text(self) -> str:
        """The whole entry as one text, for searching."""
        return " ".join((self.section, self.name, *(str(value) for value in self.values.values()))).lower()


def files() -> list[Path]:
    """The catalogue of this installation, and the one that ``MTBENCH_CATALOGUE`` names."""
    own = os.environ.get(VARIABLE)
    return [resource_path(FILE), *([expand(own).resolve()] if own else [])]


def entries(*paths: Path) -> list[Entry]:
    """All entries of these files, or of :func:`files`; values that are not tables of tables are ignored.

    Raises:
        RequestError: a file cannot be read as TOML.
    """
    result = []
    for path in paths or files():
        content = parse(read_text(path), str(path))
        for section in SECTIONS:
            table = content.get(section, {})
            for name, values in table.items() if isinstance(table, dict) else ():
                if isinstance(values, dict):
                    result.append(Entry(section, name, values, str(path)))
    return result


def search(words: str) -> list[Entry]:
    """The entries that contain all of these words, ignoring case."""
    return [entry for entry in entries() if all(word in entry.text for word in words.lower().split())]


def provider(kind: str, name: str) -> str | None:
    """A sentence on the catalogued plugin of this kind and name; ``None`` without such a plugin or a catalogue."""
    try:
        known = [e for e in entries() if e.section == "plugins" and f"{kind} {name}" in e.values.get("provides", ())]
    except (MtbenchError, OSError):
        return None
    if not known:
        return None
    values = known[0].values
    how = values.get("install") or f"see {values.get('source')}"
    return f"The catalogue lists it in the plugin '{known[0].name}' ({values.get('description')}). To install it: {how}"


def verify(path: Path) -> Iterator[str]:
    """The problems of a catalogue, one sentence each."""
    try:
        content = parse(read_text(path), str(path))
    except (RequestError, OSError) as error:
        yield str(error)
        return
    if content.get("schema") != SCHEMA:
        yield f"'schema' is {content.get('schema')!r}; expected {SCHEMA}"
    for section, table in content.items():
        if section == "schema":
            continue
        if section not in SECTIONS:
            yield f"unknown section '{section}'; expected {', '.join(SECTIONS)}"
            continue
        for name, values in table.items() if isinstance(table, dict) else ((section, table),):
            if not isinstance(values, dict):
                yield f"[{section}.{name}] is not a table"
            else:
                yield from (f"[{section}.{name}] {problem}" for problem in _entry(SECTIONS[section], values))
    for name, entry in content.get("published", {}).items():
        file = str(entry.get("file", "")) if isinstance(entry, dict) else ""
        if file and not any((base / file).is_file() for base in (path.parent, path.parent.parent)):
            yield f"[published.{name}] the file {file!r} does not exist"


def _entry(section: Section, values: Mapping[str, Any]) -> Iterator[str]:
    for key in section.required:
        if key not in values:
            yield f"has no '{key}'"
    for key, value in values.items():
        kind = section.required.get(key) or section.optional.get(key)
        if kind is None:
            yield f"has an unknown key '{key}'; expected {', '.join((*section.required, *section.optional))}"
        elif not _is(kind, value):
            yield f"{key} = {value!r}; expected {kind}"


def _is(kind: str, value: Any) -> bool:
    match kind:
        case "text":
            return isinstance(value, str) and bool(value.strip())
        case "texts":
            return isinstance(value, list) and all(_is("text", each) for each in value)
        case "whole number":
            return isinstance(value, int) and not isinstance(value, bool) and value > 0
        case "sha256":
            return isinstance(value, str) and bool(re.fullmatch(r"[0-9a-f]{8,64}", value))
        case "address":
            return isinstance(value, str) and bool(re.fullmatch(r"https?://[^\s/]+(/\S*)?", value))
        case "addresses":
            return isinstance(value, list) and bool(value) and all(_is("address", each) for each in value)
        case _:
            texts = isinstance(value, list) and bool(value) and all(isinstance(each, str) for each in value)
            return texts and all(each.partition(" ")[0] in _KINDS and each.partition(" ")[2] for each in value)
