"""Selects rows and columns by the names that a user types."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence

from mtbench.errors import RequestError, close_matches


def select(patterns: Sequence[str], present: Collection[int], names: Sequence[Collection[str]], what: str) -> list[int]:
    """The positions whose names match, in the order of the patterns; without patterns, all positions.

    Args:
        patterns: names; ``*`` matches any text, brackets match themselves (``swd[karras]``).
        present: the available positions.
        names: the names of each position.
        what: the word for a position in an error.

    Raises:
        RequestError: a pattern matches nothing.
    """
    everything = sorted(present)
    if not patterns:
        return everything
    positions: dict[int, None] = {}
    for pattern in patterns:
        expression = ".*".join(map(re.escape, pattern.lower().split("*")))
        matching = [i for i in everything if any(re.fullmatch(expression, n.lower(), re.DOTALL) for n in names[i])]
        if not matching:
            candidates = list(dict.fromkeys(name for i in everything for name in sorted(names[i])))
            raise RequestError(
                f"no {what} is called '{pattern}'",
                matches=close_matches(pattern, candidates),
                expected="one of " + ", ".join(candidates) if candidates else None,
            )
        positions.update(dict.fromkeys(matching))
    return list(positions)
