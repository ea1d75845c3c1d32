"""Regular expressions that people write: searched within a time, for some need longer than the age of the universe."""

from __future__ import annotations

import os
import re
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from mtbench.errors import RequestError

LONGEST = 1000
"""Characters of an expression."""
SECONDS = 2.0
"""That the search in one name may take; a sane one takes microseconds."""
_PROBE = 60


class _TooSlowError(Exception):
    """The time is over."""


def check(expression: str) -> int:
    """Refuse an expression that cannot be searched for.

    It is tried on repetitions of its own letters, which is where such expressions get lost.

    Args:
        expression: as :mod:`re` has it.

    Returns:
        The number of its groups.

    Raises:
        ValueError: it is not valid, longer than ``LONGEST``, or does not come to an end; a text for people.
    """
    if len(expression) > LONGEST:
        raise ValueError(f"it has more than {LONGEST} characters")
    try:
        compiled = re.compile(expression)
    except (re.error, OverflowError, RecursionError) as error:
        raise ValueError(str(error)) from error
    letters = dict.fromkeys([*(c for c in expression if c.isalnum() or c in "_-/ "), "a", "0", "_"])
    try:
        with _within(SECONDS / 2):
            for letter in letters:
                compiled.search(letter * _PROBE + "\n!")
    except _TooSlowError:
        raise ValueError("it does not come to an end on some names, as (a+)+ does not") from None
    return compiled.groups


def search(expression: str, text: str) -> re.Match[str] | None:
    """As :func:`re.search`.

    Raises:
        RequestError: it takes more than ``SECONDS``.
    """
    try:
        with _within(SECONDS):
            return re.search(expression, text)
    except _TooSlowError:
        raise RequestError(
            f"the regular expression {expression!r} does not come to an end on '{text}'",
            remedy="Write it without repetitions inside of repetitions, as in (a+)+",
        ) from None


@contextmanager
def _within(seconds: float) -> Iterator[None]:
    """Raise :class:`_TooSlowError` in the block when the time is over; without effect beside the main thread."""
    if not hasattr(os, "fork") or threading.current_thread() is not threading.main_thread():
        yield
        return

    def ring(number: int, frame: FrameType | None) -> None:
        raise _TooSlowError

    begun = time.monotonic()
    before = signal.signal(signal.SIGALRM, ring)
    remaining, interval = signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
        if remaining:
            signal.setitimer(signal.ITIMER_REAL, max(remaining - (time.monotonic() - begun), 1e-3), interval)
