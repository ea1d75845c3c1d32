"""Checks of single values in the tables of ``folder``; each raises ``ParamError``. Standard library only."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from mtbench.errors import ParamError, close_matches


def known(given: Mapping[str, Any], allowed: Iterable[str], where: str) -> None:
    """Refuse keys that are not ``allowed``."""
    names = tuple(allowed)
    for key in given:
        if key not in names:
            raise ParamError(
                f"there is no key '{key}'",
                where=where,
                matches=close_matches(key, names),
                expected="one of " + ", ".join(names),
            )


def texts(value: Any, where: str) -> tuple[str, ...]:
    """A pattern or a list of patterns below the root."""
    listed = [value] if isinstance(value, str) else value
    if not isinstance(listed, (list, tuple)) or not all(isinstance(v, str) and v for v in listed):
        raise ParamError(f"it is {value!r}", where=where, expected="a pattern or a list of patterns")
    for text in listed:
        if text.startswith(("/", "~")) or ".." in text.split("/"):
            raise ParamError(f"'{text}' leaves the root", where=where, expected="a path relative to 'root'")
    return tuple(listed)


def choice(value: Any, choices: tuple[Any, ...], where: str) -> Any:
    """One of ``choices``."""
    if value not in choices:
        named = [c for c in choices if c]
        raise ParamError(
            f"it is {value!r}",
            where=where,
            expected="one of " + ", ".join(named),
            matches=close_matches(str(value), named),
        )
    return value


def pair(value: Any, where: str) -> tuple[float, float]:
    """Two numbers, the first below the second."""
    numbers = isinstance(value, (list, tuple)) and all(isinstance(v, (int, float)) for v in value)
    if not numbers or len(value) != 2 or not value[0] < value[1]:
        raise ParamError(f"it is {value!r}", where=where, expected="[low, high] with low below high")
    return float(value[0]), float(value[1])


def percentiles(value: Any, where: str) -> tuple[float, float]:
    """Two numbers from 0 to 100, the first below the second."""
    low, high = pair(value, f"{where}.percentiles")
    if low < 0 or high > 100:
        raise ParamError(f"'percentiles' is [{low:g}, {high:g}]", where=where, expected="two numbers from 0 to 100")
    return low, high


def crop(value: Any, where: str) -> tuple[float, float, float, float]:
    """Top, bottom, left and right as fractions."""
    numbers = isinstance(value, (list, tuple)) and all(isinstance(v, (int, float)) for v in value)
    if not numbers or len(value) != 4 or not (0 <= value[0] < value[1] <= 1 and 0 <= value[2] < value[3] <= 1):
        raise ParamError(f"it is {value!r}", where=where, expected="[top, bottom, left, right], fractions from 0 to 1")
    top, bottom, left, right = (float(v) for v in value)
    return top, bottom, left, right


def span(value: Any, where: str, least: int) -> tuple[int, int]:
    """First and last of a range of whole numbers."""
    whole = isinstance(value, (list, tuple)) and all(isinstance(v, int) and not isinstance(v, bool) for v in value)
    if not whole or len(value) != 2 or not least <= value[0] <= value[1]:
        raise ParamError(f"it is {value!r}", where=where, expected=f"[first, last], whole numbers from {least}")
    return value[0], value[1]


def whole(value: Any, where: str, least: int) -> int:
    """A whole number."""
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise ParamError(f"it is {value!r}", where=where, expected=f"a whole number from {least}")
    return value


def expression(text: str, where: str) -> str:
    """A regular expression with a group; empty text stays empty."""
    if not text:
        return ""
    try:
        groups = re.compile(text).groups
    except re.error as error:
        raise ParamError(f"'patient' is no regular expression: {error}", where=where) from error
    if groups < 1:
        raise ParamError(
            f"'patient' has no group: {text}",
            where=where,
            expected="brackets around the patient's part, like '(\\d+)_z'",
        )
    return text
