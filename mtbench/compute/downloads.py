"""A resumable download over HTTP with the standard library alone, which accepts no more bytes than announced."""

from __future__ import annotations

import contextlib
import http.client
import re
import socket
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mtbench import __version__
from mtbench.store.files import telling

_BLOCK = 1 << 18
_SILENCE = 30.0
"""Seconds without a byte after which a connection counts as broken."""
_ANSWER = 60.0
"""Seconds within which a server must answer, including redirections and headers."""
_PACE = 1000.0
"""Smallest acceptable average rate after ``_SILENCE``, bytes per second."""
_ATTEMPTS = 3
_RANGE = re.compile(r"bytes ([0-9]{1,15})-([0-9]{1,15})/([0-9]{1,15}|\*)")


class RefusedError(OSError):
    """A server's response cannot be the file."""


@dataclass(frozen=True)
class Limits:
    """Limits on the size and duration of a download.

    Attributes:
        size: bytes of the file, if known.
        ceiling: largest accepted size if it is not.
        seconds: for the whole download.
    """

    size: int | None
    ceiling: int
    seconds: float

    @property
    def bytes(self) -> int:
        """The largest number of bytes that is accepted."""
        return self.ceiling if self.size is None else self.size


def download(url: str, partial: Path, progress: Callable[[int, int | None], None], limits: Limits) -> None:
    """Fetch ``url`` into ``partial``, resuming after the bytes that it holds.

    A broken connection is resumed twice. If a server cannot resume, the download restarts.

    Args:
        progress: called with the bytes received and the total, if the server states it.
        limits: of the download.

    Raises:
        RefusedError: the server sends more than announced, too slowly, or another file; ``partial`` is removed.
        OSError: the server does not answer, refuses, breaks the connection repeatedly or takes too long; received bytes
            are kept.
        DiskFullError: the disk is full.
    """
    end = time.monotonic() + limits.seconds
    try:
        for attempt in range(1, _ATTEMPTS + 1):
            before = _length(partial)
            try:
                if _resume(url, partial, progress, limits, end):
                    return
            except RefusedError:
                raise
            except urllib.error.HTTPError as error:
                error.close()
                raise OSError(_answer(error.code)) from error
            except (OSError, http.client.HTTPException, ValueError) as error:
                if time.monotonic() < end and attempt == _ATTEMPTS and _length(partial) <= before:
                    raise OSError(_plain(getattr(error, "reason", None) or error)) from error
            if time.monotonic() >= end:
                raise OSError(
                    f"only {_length(partial):,} bytes arrived within {limits.seconds:,.0f} s; --timeout allows longer"
                )
    except RefusedError:
        partial.unlink(missing_ok=True)
        raise
    raise OSError(f"the connection broke {_ATTEMPTS} times, after {_length(partial):,} bytes")


def _length(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _answer(code: int) -> str:
    if 300 <= code < 400:
        return f"the server answered {code}: too many redirections, or one to something other than http or https"
    return f"the server answered {code} {http.client.responses.get(code, '')}".rstrip()


def _plain(error: object) -> str:
    """The text of an error, without control characters that a server may have put into it."""
    return "".join(c if c.isprintable() else "?" for c in str(error) or type(error).__name__)[:300]


def _resume(url: str, partial: Path, progress: Callable[[int, int | None], None], limits: Limits, end: float) -> bool:
    """One connection; returns whether the file is complete."""
    start = _length(partial)
    if start > limits.bytes:
        partial.unlink()
        start = 0
    with contextlib.ExitStack() as stack:
        connections = stack.enter_context(contextlib.closing(_Connections()))
        try:
            response = stack.enter_context(_open(url, start, connections, end))
        except urllib.error.HTTPError as error:
            if error.code == http.client.REQUESTED_RANGE_NOT_SATISFIABLE and start:
                # No bytes after those received: the file is complete, or too long and will be refused.
                error.close()
                return True
            raise
        start, total = _announced_range(response, start, limits)
        stack.enter_context(connections.limited(end - time.monotonic()))
        limit = limits.bytes if total is None else total
        done, begin = start, time.monotonic()
        with telling(partial), partial.open("ab" if start else "wb") as file:
            progress(done, total)
            # Not read(): that waits for a whole block, however slow the connection.
            while block := response.read1(_BLOCK):
                done += len(block)
                if done > limit:
                    raise RefusedError(f"it sends more than {limit:,} bytes")
                file.write(block)
                progress(done, total)
                seconds = time.monotonic() - begin
                if seconds > _SILENCE and done - start < seconds * _PACE:
                    raise RefusedError(f"it sent {done - start:,} bytes in {seconds:.0f} s, which is too slow")
    # A connection that breaks early ends like a complete one: only the length shows it.
    return done >= (total or limits.size or 0) and not connections.timed_out


def _open(url: str, start: int, connections: _Connections, end: float) -> http.client.HTTPResponse:
    """The server's answer, of which only the headers have been read."""
    headers = {"User-Agent": f"mtbench/{__version__}"}
    if start:
        headers["Range"] = f"bytes={start}-"
    seconds = min(_ANSWER, end - time.monotonic())
    with connections.limited(seconds):
        try:
            request = urllib.request.Request(url, headers=headers)
            response: http.client.HTTPResponse = _opener(connections).open(request, timeout=_SILENCE)
        except urllib.error.HTTPError:
            raise
        except Exception as error:
            if connections.timed_out:
                raise OSError(_late(seconds)) from error
            raise
        # Truncated headers look like complete ones.
        if connections.timed_out:
            response.close()
            raise OSError(_late(seconds))
    return response


def _late(seconds: float) -> str:
    return f"it did not answer within {seconds:.0f} s"


def _announced_range(response: http.client.HTTPResponse, start: int, limits: Limits) -> tuple[int, int | None]:
    """The offset of the response, and the size of the whole file if the headers state it.

    Raises:
        RefusedError: the headers are not those of this file.
    """
    if response.status not in (http.client.OK, http.client.PARTIAL_CONTENT):
        raise RefusedError(_answer(response.status))
    for name, plain in (("Content-Encoding", "identity"), ("Transfer-Encoding", "chunked")):
        for value in response.headers.get_all(name, []):
            if value.strip().lower() != plain:
                raise RefusedError(f"its {name} is {_plain(repr(value))}; expected an unencoded file")
    lengths = {value.strip() for value in response.headers.get_all("Content-Length", [])}
    if len(lengths) > 1 or not all(re.fullmatch("[0-9]{1,15}", value) for value in lengths):
        raise RefusedError(f"its Content-Length is {_plain(repr(', '.join(sorted(lengths))))}, not a length")
    total = int(lengths.pop()) if lengths else None
    if response.status == http.client.PARTIAL_CONTENT:
        text = response.headers.get("Content-Range", "")
        match = _RANGE.fullmatch(text.strip())
        if not match or int(match[1]) != start or int(match[2]) < start or not start:
            raise RefusedError(f"its Content-Range is {_plain(repr(text))}; expected data from byte {start} on")
        total = int(match[2]) + 1 if match[3] == "*" else int(match[3])
    else:
        start = 0
    if total is not None and limits.size is not None and total != limits.size:
        raise RefusedError(f"it announces {total:,} bytes, but the file has {limits.size:,}")
    if total is not None and total > limits.bytes:
        raise RefusedError(f"it announces {total:,} bytes, more than {limits.bytes:,}; --max-size accepts more")
    return start, total


# -- connections that another thread can close, even in the middle of a header


class _Connections:
    """The connections of one attempt, redirected or not, which another thread can close."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._sockets: list[socket.socket] = []
        self.timed_out = False

    def add(self, connected: socket.socket) -> None:
        # TLS takes over the socket from its object; a copy of it is the same connection.
        with self._lock:
            self._sockets.append(connected.dup())
            if self.timed_out:
                self._shut_down()

    def close(self) -> None:
        with self._lock:
            for each in self._sockets:
                each.close()

    @contextlib.contextmanager
    def limited(self, seconds: float) -> Iterator[None]:
        """Close all of them, and new ones, after so many seconds unless the block ends before."""
        timer = threading.Timer(max(0.0, seconds), self._time_is_over)
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()

    def _time_is_over(self) -> None:
        with self._lock:
            self.timed_out = True
            self._shut_down()

    def _shut_down(self) -> None:
        for each in self._sockets:
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)


def _opener(connections: _Connections) -> urllib.request.OpenerDirector:
    """Opens only http and https, redirected or not; proxies from the environment."""

    class Connection(http.client.HTTPConnection):
        def connect(self) -> None:
            super().connect()
            connections.add(self.sock)

    class SecureConnection(http.client.HTTPSConnection, Connection):
        pass

    class Redirect(urllib.request.HTTPRedirectHandler):
        def http_error_302(self, req: Any, fp: Any, code: int, msg: str, headers: Any) -> Any:
            try:
                return super().http_error_302(req, fp, code, msg, headers)
            except ValueError:  # no address
                fp.close()
                raise

        http_error_301 = http_error_303 = http_error_307 = http_error_308 = http_error_302

    class Open(urllib.request.HTTPHandler):
        def http_open(self, req: urllib.request.Request) -> http.client.HTTPResponse:
            return self.do_open(Connection, req)

    class OpenSecure(urllib.request.HTTPSHandler):
        def https_open(self, req: urllib.request.Request) -> http.client.HTTPResponse:
            return self.do_open(SecureConnection, req)

    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler(),
        urllib.request.UnknownHandler(),
        urllib.request.HTTPDefaultErrorHandler(),
        Redirect(),
        urllib.request.HTTPErrorProcessor(),
        Open(),
        OpenSecure(),
    ):
        opener.add_handler(handler)
    return opener
