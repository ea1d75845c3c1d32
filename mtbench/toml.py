"""TOML as people write and send it: the one reader of such files and texts."""

from __future__ import annotations

import os
import re
import stat
import tomllib
from pathlib import Path
from typing import Any

from mtbench.errors import RequestError

LARGEST_FILE = 4 * 2**20
"""Bytes of a TOML file; a suite has some thousands."""
_DEEPEST = 50
_LONGEST_NUMBER = 1000
_DIGITS = re.compile(f"[0-9_]{{{_LONGEST_NUMBER}}}")
_NULL = re.compile(r"\\u0000|\\U00000000")
_FILES = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISFIFO, "a pipe"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
    (stat.S_ISSOCK, "a socket"),
)


def read_text(path: Path, where: str = "", error: type[RequestError] = RequestError) -> str:
    """The text of a TOML file; a byte-order mark is left out.

    Args:
        path: a regular file of UTF-8.
        where: what messages call it; its path by default.
        error: what is raised.

    Raises:
        RequestError: it is no regular file, cannot be read, is not UTF-8, or is larger than ``LARGEST_FILE``.
    """
    where = where or str(path)
    try:
        # A pipe would wait for its writer.
        with open(os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0)), "rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            for is_it, name in _FILES:
                if is_it(mode):
                    raise error(f"this is {name}", where=where, expected="a TOML file")
            content = file.read(LARGEST_FILE + 1)
    except OSError as refused:
        raise error(f"the file cannot be read: {refused.strerror}", where=where, expected="a TOML file") from refused
    if len(content) > LARGEST_FILE:
        raise error(f"the file has more than {LARGEST_FILE} bytes", where=where, expected="a TOML file")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as wrong:
        line = content[: wrong.start].count(b"\n") + 1
        remedy = "Save it as UTF-8"
        what, place = "the file cannot be read: its text is not UTF-8", f"{where}, line {line}"
        if content[:2] in (b"\xff\xfe", b"\xfe\xff"):
            what, place = "the file cannot be read: it is UTF-16", where
        raise error(what, where=place, expected="UTF-8", remedy=remedy) from wrong


def parse(text: str, where: str, error: type[RequestError] = RequestError) -> dict[str, Any]:
    """The tables of a TOML text.

    Args:
        text: the text; a byte-order mark at its beginning is left out.
        where: what messages call it.
        error: what is raised.

    Raises:
        RequestError: it is not valid, lists and tables in it are nested too deep, a number is too long, or a text
            holds a null character.
    """
    text = text.removeprefix("\ufeff")
    for number, line in enumerate(text.splitlines(), start=1):
        if len(line) >= _LONGEST_NUMBER and _DIGITS.search(line):
            what = f"a number has {_LONGEST_NUMBER} digits or more"
            raise error(what, where=f"{where}, line {number}", expected="numbers that 64 bits hold")
    try:
        tables = tomllib.loads(text)
    except RecursionError:
        tables = None
    except ValueError as wrong:
        raise error(f"this is not valid TOML: {wrong}", where=where) from wrong
    if tables is None or (_deeper(tables, _DEEPEST)):
        what = f"lists or tables are nested more than {_DEEPEST} deep"
        raise error(what, where=f"{where}, line {_deepest_line(text)}", expected="tables in tables, not deeper")
    if _holds_null(tables):
        number = next((n for n, line in enumerate(text.splitlines(), start=1) if _NULL.search(line)), 1)
        raise error("a text holds a null character", where=f"{where}, line {number}", expected="text")
    return tables


def _holds_null(value: object) -> bool:
    """Whether a text or a key does; no file can have such a name, and no terminal shows it."""
    if isinstance(value, dict):
        return any(_holds_null(each) for pair in value.items() for each in pair)
    if isinstance(value, list):
        return any(map(_holds_null, value))
    return isinstance(value, str) and "\0" in value


def _deeper(value: object, than: int) -> bool:
    """Whether lists and tables are nested deeper; looks no deeper than that."""
    level = [value]
    for _ in range(than):
        level = [
            each
            for one in level
            if isinstance(one, dict | list)
            for each in (one.values() if isinstance(one, dict) else one)
        ]
    return any(isinstance(each, dict | list) for each in level)


def _deepest_line(text: str) -> int:
    """The first line where brackets, or the dots of a key, are nested too deep; a good guess, for a message."""
    depth = 0
    for number, line in enumerate(text.splitlines(), start=1):
        for character in line:
            depth += (character in "[{") - (character in "]}")
            if depth > _DEEPEST:
                return number
        if line.partition("=")[0].count(".") > _DEEPEST:
            return number
    return 1
