"""Helpers for TOML text: the line of a key, and settings that override values."""

from __future__ import annotations

import re
from typing import Any

from mtbench.errors import RequestError
from mtbench.toml import parse


def override(raw: dict[str, Any], setting: str) -> None:
    """Set ``key=value`` in a suite's raw tables; ``*`` means every entry of a section.

    Raises:
        RequestError: the key matches nothing.
    """
    key, equals, text = setting.partition("=")
    if not equals:
        raise RequestError(f"--set {setting}", expected="--set key=value")
    try:
        value = parse(f"value = {text}", "--set")["value"]
    except RequestError:
        value = text
    parts = key.strip().split(".")
    if len(parts) == 1:
        parts = ["suite", *parts]
    targets: list[Any] = [raw.setdefault(parts[0], {} if parts[0] == "suite" else [])]
    for part in parts[1:-1]:
        following: list[Any] = []
        for target in targets:
            if isinstance(target, list):
                target[:] = [{"name": e} if isinstance(e, str) else e for e in target]
                tables = [e for e in target if isinstance(e, dict)]
                following += [e for e in tables if part in ("*", e.get("name", e.get("plugin")))]
            elif isinstance(target, dict):
                following.append(target.setdefault(part, {}))
        targets = following
    if not targets or not all(isinstance(t, dict) for t in targets):
        raise RequestError(
            f"--set {setting} matches no key",
            expected="suite keys (seeds=[0,1]) or SECTION.NAME.KEY (datasets.NAME.params.size=64)",
        )
    for target in targets:
        target[parts[-1]] = value


class Lines:
    """Finds the line of a key, which tomllib does not report."""

    def __init__(self, text: str, where: str) -> None:
        self._where = where
        self._at: dict[tuple[str | int, ...], int] = {}
        section: tuple[str | int, ...] = ()
        counts: dict[str, int] = {}
        for number, line in enumerate(text.splitlines(), start=1):
            content = line.strip()
            if match := re.match(r"\[\[\s*([\w-]+)\s*\]\]", content):
                counts[match[1]] = counts.get(match[1], -1) + 1
                section = (match[1], counts[match[1]])
            elif match := re.match(r"\[\s*([\w.-]+)\s*\]", content):
                names = match[1].split(".")
                section = (names[0], counts[names[0]], *names[1:]) if names[0] in counts else tuple(names)
            elif match := re.match(r"([\w\".-]+)\s*=", content):
                self._at.setdefault((*section, *match[1].replace('"', "").split(".")), number)
                continue
            else:
                continue
            self._at.setdefault(section, number)

    def at(self, path: tuple[str | int, ...]) -> str:
        """``file, line N`` of the key, or of the nearest enclosing table with a known line."""
        for length in range(len(path), 0, -1):
            for candidate, number in self._at.items():
                if candidate[:length] == path[:length] and len(candidate) >= length:
                    return f"{self._where}, line {number}"
        return self._where
