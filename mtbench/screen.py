"""All terminal output, for any encoding and width, and for text of any origin.

Names and reasons may come from other people's suites, results and files. A control character in them could clear the
screen, hide lines or set a title, so a visible sign replaces it.
"""

from __future__ import annotations

import codecs
import contextlib
import io
import json
import re
import sys
import unicodedata
from collections.abc import Callable, Iterable
from typing import Any

import click
from rich.console import Console, ConsoleOptions, RenderableType
from rich.measure import Measurement
from rich.segment import Segment
from rich.table import Table

UNSAFE = "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]"
"""Characters that a terminal executes instead of showing: control characters, and those that reverse text."""
_UNSAFE = re.compile(UNSAFE + r"|\r(?!\n)")
_UNSAFE_IN_JSON = re.compile("[\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")
_PLAIN = {
    "●": "*", "○": "o", "◌": ".", "•": "*", "†": "+", "–": "-", "—": "-", "−": "-", "→": "->", "←": "<-", "↑": "^",
    "↓": "v", "×": "x", "·": ".", "±": "+-", "≤": "<=", "≥": ">=", "≈": "~", "…": "...", "“": '"', "”": '"', "‘": "'",
    "’": "'", "\ufffd": "?", "˒": ",",
}  # fmt: skip
"""Replacements for characters that the output's encoding lacks."""
_HANDLER = "mtbench.plain"
_SHORT = 12


def visible(text: str) -> str:
    """``text`` with each control character replaced by a visible sign; line ends and tabs stay."""
    return _UNSAFE.sub(_sign, text)


def one_line(text: str) -> str:
    """A name as one line of visible text."""
    return visible(" ".join(re.split(r"[\n\t]+", text)))


def _sign(match: re.Match[str]) -> str:
    code = ord(match[0])
    return chr(0x2400 + code) if code < 32 else "␡" if code == 127 else "\ufffd"


def _plain(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return "".join(map(_plain_character, error.object[error.start : error.end])), error.end


def _plain_character(character: str) -> str:
    code = ord(character)
    if 0xDC80 <= code <= 0xDCFF:  # a byte of a file name that is not UTF-8
        return f"\\x{code - 0xDC00:02x}"
    if 0x2400 <= code <= 0x2420:
        return "^" + chr(code - 0x2400 + 64)
    decomposed = unicodedata.normalize("NFKD", character).encode("ascii", "ignore").decode()
    return _PLAIN.get(character) or decomposed or character.encode("ascii", "backslashreplace").decode()


codecs.register_error(_HANDLER, _plain)


def prepare_streams() -> None:
    """Make standard output and error accept every character; those that their encoding lacks are replaced."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper) and stream.errors in ("strict", "backslashreplace"):
            with contextlib.suppress(OSError, ValueError):
                stream.reconfigure(errors=_HANDLER)


class Screen(Console):
    """A rich console for all output of mtbench, with the arguments of rich's.

    It removes control characters other than rich's own, and does not cut tables: on a terminal that is too narrow,
    words are wrapped and numbers stay whole.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        prepare_streams()
        super().__init__(*args, **kwargs)

    def print(self, *objects: Any, **kwargs: Any) -> None:
        """As :meth:`rich.console.Console.print`."""
        for table in objects:
            if isinstance(table, Table):
                _keep_words(table, self)
                kwargs["crop"] = False
        super().print(*objects, **kwargs)

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """As :meth:`rich.console.Console.render`, with control characters as visible signs."""
        for segment in super().render(renderable, options):
            if segment.control is None and not segment.text.isprintable():
                segment = Segment(visible(segment.text), segment.style)
            yield segment


def _keep_words(table: Table, console: Console) -> None:
    """Set the width of number columns to their longest word, and a minimum width for the others."""
    options = console.options.update(width=10_000)
    for column in table.columns:
        head = Measurement.get(console, options, column.header).minimum
        longest = max((Measurement.get(console, options, cell).minimum for cell in column.cells), default=1)
        numbers = column.justify in ("right", "center")
        column.min_width = max(longest if numbers else min(longest, _SHORT), min(head, _SHORT))
        if not column.no_wrap:
            column.overflow = "fold"


def echo(text: object = "", *, err: bool = False, nl: bool = True) -> None:
    """Print a text without formatting, with control characters as visible signs."""
    click.echo(visible(str(text)), err=err, nl=nl)


def echo_json(value: object, *, readable: bool = False) -> None:
    """Print JSON.

    Args:
        value: values that :mod:`json` can write; others as their text.
        readable: indent, and do not escape letters beyond ASCII if the output can show them.
    """
    utf8 = (sys.stdout.encoding or "").lower().replace("-", "") in ("utf8", "utf8sig")
    encoder = json.JSONEncoder(ensure_ascii=not (readable and utf8), indent=1 if readable else None, default=str)
    text = encoder.encode(value) if readable else _by_lines(value, encoder.encode)
    text = _UNSAFE_IN_JSON.sub(lambda match: f"\\u{ord(match[0]):04x}", text)
    click.echo(re.sub("[\ud800-\udfff]", lambda match: f"\\u{ord(match[0]):04x}", text))


def _by_lines(value: object, encode: Callable[[object], str]) -> str:
    """JSON with a line for each member of an object or a list, and of the lists in an object.

    The standard library's encoder is many times slower if it indents.
    """
    match value:
        case dict() if value:
            lines = (
                f"{encode(str(k))}: {_by_lines(v, encode) if isinstance(v, list) else encode(v)}"
                for k, v in value.items()
            )
            return "{\n" + ",\n".join(lines) + "\n}"
        case list() if value:
            return "[\n" + ",\n".join(map(encode, value)) + "\n]"
    return encode(value)
