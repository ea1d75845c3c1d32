"""JSON as strangers send it: the one reader of their texts, and the limits of what it reads."""

from __future__ import annotations

import json
import re
from typing import Any

from mtbench.integers import fits

LARGEST = 32 * 2**20
"""Bytes of one text: a line of a journal, or a file beside it. A row with 100,000 cases has some five million."""
LONGEST_TEXT = 2**17
"""Characters of a text in it, as they are written there."""
DEEPEST = 50
_STRING_OR_BRACKET = re.compile(r'"(?:[^"\\]++|\\.)*+"?|[\[{\]}]', re.DOTALL)


def parse(text: bytes | str) -> Any:
    """What a JSON text says.

    Raises:
        ValueError: it is no JSON, longer than ``LARGEST``, nested deeper than ``DEEPEST``, or holds a text longer than
            ``LONGEST_TEXT``, a whole number that 64 bits do not or letters that are none; the text says which.
    """
    if len(text) > LARGEST:
        raise ValueError(f"this has more than {LARGEST} bytes")
    try:
        text = text.decode() if isinstance(text, bytes) else text
    except UnicodeDecodeError as error:
        raise ValueError("this is no JSON") from error
    if len(text) > LONGEST_TEXT or text.count("[") + text.count("{") > DEEPEST:
        _check_shape(text)
    try:
        value = json.loads(text, parse_int=_whole)
    except json.JSONDecodeError as error:
        raise ValueError("this is no JSON") from error
    if "\\ud" in text.lower():
        _check_letters(value)
    return value


def _check_shape(text: str) -> None:
    """Look at brackets and lengths without recursion, before anything is made of them."""
    depth = 0
    for match in _STRING_OR_BRACKET.finditer(text):
        depth += (match[0] in ("[", "{")) - (match[0] in ("]", "}"))
        if depth > DEEPEST:
            raise ValueError(f"lists and tables are nested more than {DEEPEST} deep")
        if match.end() - match.start() > LONGEST_TEXT + 2:
            raise ValueError(f"a text in it has more than {LONGEST_TEXT} characters")


def _whole(digits: str) -> int:
    if len(digits) > 20 or not fits(int(digits)):
        raise ValueError("a whole number does not fit into 64 bits")
    return int(digits)


def _check_letters(value: object) -> None:
    """Half a pair of surrogates is no letter; the bytes of a file name that is not UTF-8 are kept as such halves."""
    try:
        json.dumps(value, ensure_ascii=False).encode("utf-8", "surrogateescape")
    except UnicodeEncodeError as error:
        raise ValueError("a text holds half a character") from error
