"""One text and one hash for a value: what keys, addresses and digests are made of."""

from __future__ import annotations

import hashlib
import json

_ENCODER = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False, default=str)


def canonical(value: object) -> str:
    """JSON with sorted keys and no spaces: the same text for the same value."""
    return _ENCODER.encode(value)


def hash_of(value: object) -> str:
    """The sha256 of :func:`canonical`, in hexadecimal; file names that are not UTF-8 count by their bytes."""
    return hashlib.sha256(canonical(value).encode("utf-8", "surrogateescape")).hexdigest()
