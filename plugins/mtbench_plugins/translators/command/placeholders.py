"""Placeholders in a command line: ``{input}``, and ``{{`` for a brace."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Mapping

_PATTERN = re.compile(r"\{\{|\}\}|\{(\w+)\}")


def placeholders_in(command: str) -> set[str]:
    """The names of the placeholders in a command line."""
    return {match[1] for match in _PATTERN.finditer(command) if match[1]}


def arguments(command: str, values: Mapping[str, str]) -> list[str]:
    """The program and its arguments: split as a shell would, ``~``, ``$VARIABLES`` and placeholders filled in.

    Filled-in values are never split again. Raises ``KeyError`` for a placeholder without a value.
    """

    def fill(match: re.Match[str]) -> str:
        return values[match[1]] if match[1] else match[0][0]

    parts = (os.path.expandvars(os.path.expanduser(part)) for part in shlex.split(command))
    return [_PATTERN.sub(fill, part) for part in parts]
