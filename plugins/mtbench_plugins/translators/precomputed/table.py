"""Slices and files that do not match, as one table."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

_LINES = 12
Kind = Literal["missing", "extra", "another size", "another grid", "no header", "values", "unreadable", "twice"]


@dataclass(frozen=True)
class Misfit:
    """One line of the table.

    Attributes:
        kind: what is wrong.
        what: the slice, or the file below the folder.
        expected: the correct name or size.
        count: the number of slices or files that the line covers.
    """

    kind: Kind
    what: str
    expected: str
    count: int = 1


def text(misfits: Sequence[Misfit], files: int, slices: int) -> str:
    """The table with its heading; of many lines of one kind the first few, then the number of the others.

    Args:
        misfits: at least one.
        files, slices: their numbers.
    """
    count: Counter[str] = Counter()
    for item in misfits:
        count[item.kind] += item.count
    total = ", ".join(f"{number} {kind}" for kind, number in count.items())
    room = max(2, _LINES // len(count))
    shown = [item for kind in count for item in [m for m in misfits if m.kind == kind][:room]]
    kinds, whats = (max(len(getattr(item, name)) for item in shown) for name in ("kind", "what"))
    lines = [f"  {item.kind:<{kinds}}  {item.what:<{whats}}  {item.expected}" for item in shown]
    hidden = len(misfits) - len(shown)
    last = [f"  and {hidden} more lines"] if hidden else []
    return "\n".join([f"{files} files for {slices} slices: {total}", *lines, *last])
