"""A resumable download over HTTP, with nothing but the standard library."""

from __future__ import annotations

import http.client
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

from mtbench import __version__

_BLOCK = 1 << 18
_SECONDS = 30.0
_TRIES = 3


def download(url: str, partial: Path, progress: Callable[[int, int | None], None]) -> None:
    """Fetch ``url`` into ``partial``, after what is already there.

    A connection that breaks is taken up again twice. A server that cannot go on from the middle starts anew.

    Args:
        progress: called with the bytes that are there and the bytes in all, where the server says so.

    Raises:
        OSError: the server does not answer, refuses, or keeps breaking off; what came stays in ``partial``.
    """
    for attempt in range(1, _TRIES + 1):
        before = _length(partial)
        try:
            if _go_on(url, partial, progress):
                return
        except urllib.error.HTTPError as error:
            error.close()
            raise OSError(f"the server answered {error.code} {error.reason}") from error
        except (OSError, http.client.HTTPException) as error:
            if attempt == _TRIES and _length(partial) <= before:
                raise OSError(getattr(error, "reason", None) or str(error) or type(error).__name__) from error
    raise OSError(f"the connection broke off {_TRIES} times, after {_length(partial):,} bytes")


def _length(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _go_on(url: str, partial: Path, progress: Callable[[int, int | None], None]) -> bool:
    """One connection; whether all has come."""
    start = _length(partial)
    headers = {"User-Agent": f"mtbench/{__version__}"}
    if start:
        headers["Range"] = f"bytes={start}-"
    try:
        response = urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=_SECONDS)
    except urllib.error.HTTPError as error:
        if error.code == http.client.REQUESTED_RANGE_NOT_SATISFIABLE and start:
            # Nothing behind what we have: it is complete, or too long and will be refused.
            error.close()
            return True
        raise
    with response:
        if response.status != http.client.PARTIAL_CONTENT:
            start = 0
        length = response.headers.get("Content-Length")
        total = start + int(length) if length else None
        done = start
        with partial.open("ab" if start else "wb") as file:
            progress(done, total)
            while block := response.read(_BLOCK):
                file.write(block)
                done += len(block)
                progress(done, total)
    # A connection that breaks early ends like a complete one: only the length tells.
    return total is None or done >= total
