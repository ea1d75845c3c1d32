"""Sizes, durations and counts as text."""

from __future__ import annotations


def size(count: float) -> str:
    """Bytes as text: "1.2 GB"."""
    for unit in ("bytes", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "bytes" or count >= 10 else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"


def duration(seconds: float) -> str:
    """Seconds as text: "3.2 s", "4.0 min", "1.5 h"."""
    if seconds < 90:
        return f"{seconds:.1f} s"
    return f"{seconds / 60:.1f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def counted(number: int, one: str, several: str = "") -> str:
    """A count with its noun: "1 artefact", "2 artefacts"."""
    return f"{number} {one if number == 1 else several or one + 's'}"
