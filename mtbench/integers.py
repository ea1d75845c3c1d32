"""Which whole numbers a request may hold: a table, a TOML file and PyTorch keep 64 bits, with their sign."""

from __future__ import annotations

import operator
from collections.abc import Iterator
from typing import Annotated, Any

from mtbench.errors import RequestError
from mtbench.typed import Rule

LARGEST = 2**63 - 1
MOST_DECIMALS = 12
"""Digits after the point that a number is printed with at most."""


def check_seed(value: Any, where: str, *, name: str = "a seed", error: type[RequestError] = RequestError) -> int:
    """``value`` as an int, if it can be a seed: a whole number from 0 to ``LARGEST``.

    Args:
        value: what was written.
        where: file and line, or the option.
        name: what it is called there.
        error: what is raised.

    Raises:
        RequestError: it cannot be one.
    """
    return check_whole(value, where, name=name, minimum=0, error=error)


def check_whole(
    value: Any,
    where: str,
    *,
    name: str,
    minimum: int,
    maximum: int = LARGEST,
    error: type[RequestError] = RequestError,
) -> int:
    """``value`` as an int, if it is a whole number within bounds; true and false are none.

    Raises:
        RequestError: it is not.
    """
    try:
        number = None if isinstance(value, bool) else operator.index(value)
    except TypeError:
        number = None
    if number is None or not minimum <= number <= maximum:
        expected = f"a whole number from {minimum} to {maximum}"
        raise error(f"{name} is {brief(value)}", where=where, expected=expected)
    return number


def whole(minimum: int, maximum: int = LARGEST, name: str = "") -> Rule:
    """For ``Annotated[int, ...]``: bounds, both inclusive; ``name`` is what a message calls the value."""
    what = f"{name} is {{value!r}}" if name else ""
    return Rule(f"a whole number from {minimum} to {maximum}", lambda number: minimum <= number <= maximum, what)


Seed = Annotated[int, whole(0)]


def fits(value: int) -> bool:
    """Whether 64 bits hold it."""
    return -LARGEST - 1 <= value <= LARGEST


def too_large(raw: object, path: tuple[str | int, ...] = ()) -> Iterator[tuple[tuple[str | int, ...], int]]:
    """The integers in nested tables and lists that 64 bits do not hold, each with the keys that lead to it."""
    if isinstance(raw, int) and not fits(raw):
        yield path, raw
    elif isinstance(raw, dict | list):
        for key, value in raw.items() if isinstance(raw, dict) else enumerate(raw):
            yield from too_large(value, (*path, key))


def brief(value: object) -> str:
    """``repr``, but not of thousands of digits, which Python may refuse to print."""
    return "a number of more than 100 digits" if isinstance(value, int) and abs(value) >= 10**100 else repr(value)
