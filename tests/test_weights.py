"""Weight files: the catalogue, checking, adding by hand, and downloading from a server that misbehaves."""

from __future__ import annotations

import contextlib
import errno
import gc
import hashlib
import json
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from mtbench.cli.weights import command
from mtbench.compute import downloads, weights
from mtbench.errors import DiskFullError, StoreError, WeightsError

CONTENT = bytes(range(256)) * 4000
DIGEST = hashlib.sha256(CONTENT).hexdigest()


class Server(ThreadingHTTPServer):
    """Serves CONTENT under any path and can be told to misbehave."""

    cut_after: list[int]
    ranges = True
    content = CONTENT
    status = 200

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.cut_after = []
        self.requests: list[tuple[str, str | None]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that has seen enough hangs up."""


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        server = self.server
        wanted = self.headers.get("Range")
        server.requests.append((self.path, wanted))
        if server.status != 200 or self.path.startswith("/gone"):
            self.send_error(server.status if server.status != 200 else 404)
            return
        start = 0
        if wanted and server.ranges:
            match = re.fullmatch(r"bytes=(\d+)-", wanted)
            assert match
            start = int(match[1])
            if start >= len(server.content):
                self.send_error(416)
                return
        body = server.content[start:]
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(body)))
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(server.content) - 1}/{len(server.content)}")
        self.end_headers()
        cut = server.cut_after.pop(0) if server.cut_after else len(body)
        self.wfile.write(body[:cut])

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[Server]:
    running = Server()
    thread = threading.Thread(target=running.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    yield running
    running.shutdown()
    running.server_close()
    thread.join()


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    chosen = tmp_path / "weights"
    monkeypatch.setenv("MTBENCH_WEIGHTS", str(chosen))
    return chosen


@pytest.fixture
def catalogued(server: Server, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A catalogue with a file of known size, and one of which the first eight digits alone are known."""
    path = tmp_path / "registry.toml"
    path.write_text(
        f"""
[weights.whole]
description = "d"
file = "whole-file.pth"
urls = ["{server.url}/gone/whole.pth", "{server.url}/whole.pth"]
sha256 = "{DIGEST}"
bytes = {len(CONTENT)}
licence = "MIT"

[weights.prefix]
description = "d"
file = "prefix-{DIGEST[:8]}.pth"
urls = ["{server.url}/prefix.pth"]
sha256 = "{DIGEST[:8]}"
licence = "MIT"
"""
    )
    monkeypatch.setattr(weights, "resource_path", lambda name: path)
    return path


def test_the_shipped_catalogue_is_complete() -> None:
    known = weights.catalogue()
    assert {"inception-fid", "inception-imagenet"} <= set(known)
    for file in known.values():
        assert re.fullmatch(r"[0-9a-f]{8,64}", file.sha256)
        assert file.urls
        assert all(url.startswith("https://") for url in file.urls)
        assert file.licence
        assert file.description
        # Publishers put the first digits into the name.
        assert file.sha256[:8] in file.file
    fid = known["inception-fid"]
    assert (len(fid.sha256), fid.size) == (64, 95_628_359)


def test_a_broken_catalogue_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "registry.toml"
    path.write_text("[weights.x]\nfile = 'x'\n")
    monkeypatch.setattr(weights, "resource_path", lambda name: path)
    with pytest.raises(StoreError, match=r"registry\.toml.*urls"):
        weights.catalogue()


def test_missing_weights_say_both_ways_to_get_them(catalogued: Path, folder: Path) -> None:
    with pytest.raises(WeightsError) as caught:
        weights.find("whole")
    text = str(caught.value)
    assert "mtbench weights fetch whole" in text
    assert "mtbench weights add" in text
    assert "/whole.pth" in text
    assert str(folder) in text


def test_unknown_names_have_close_matches(catalogued: Path) -> None:
    with pytest.raises(WeightsError, match="Did you mean 'whole'"):
        weights.find("whol")


def test_fetch_puts_a_checked_file_in_place(catalogued: Path, folder: Path, server: Server) -> None:
    seen: list[tuple[int, int | None]] = []
    path = weights.fetch("whole", lambda done, total: seen.append((done, total)))
    assert path == folder / "whole-file.pth"
    assert path.read_bytes() == CONTENT
    assert weights.find("whole") == path
    assert seen[-1] == (len(CONTENT), len(CONTENT))
    # The first address is gone, the second one answered; nothing half-done stays.
    assert [request for request, _ in server.requests] == ["/gone/whole.pth", "/whole.pth"]
    assert [p.name for p in folder.iterdir()] == ["whole-file.pth"]
    weights.fetch("whole")
    assert len(server.requests) == 2


def test_a_broken_connection_is_taken_up_where_it_stopped(catalogued: Path, server: Server) -> None:
    server.cut_after = [300_000, 400_000]
    assert weights.fetch("prefix").read_bytes() == CONTENT
    assert [wanted for _, wanted in server.requests] == [None, "bytes=300000-", "bytes=700000-"]


def test_the_next_call_goes_on_with_what_came(catalogued: Path, folder: Path, server: Server) -> None:
    server.cut_after = [1000, 1000, 1000]
    with pytest.raises(WeightsError, match=r"broke 3 times, after 3,000 bytes.*Retry"):
        weights.fetch("prefix")
    assert weights.fetch("prefix").read_bytes() == CONTENT
    assert server.requests[-1][1] == "bytes=3000-"


def test_a_server_without_ranges_starts_anew(catalogued: Path, folder: Path, server: Server) -> None:
    server.ranges = False
    server.cut_after = [300_000]
    assert weights.fetch("prefix").read_bytes() == CONTENT
    assert len(server.requests) == 2


def test_a_part_that_is_already_whole_is_used(catalogued: Path, folder: Path, server: Server) -> None:
    folder.mkdir()
    (folder / f"prefix-{DIGEST[:8]}.pth.part").write_bytes(CONTENT)
    assert weights.fetch("prefix").read_bytes() == CONTENT


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        (b"<html>not found</html>", "it announces 22 bytes, but the file has 1,024,000"),
        (CONTENT[:-1] + b"!", "the download is refused, it is altered"),
        (CONTENT + b"more", "it announces 1,024,004 bytes, but the file has 1,024,000"),
    ],
)
def test_what_came_wrong_is_refused_and_not_kept(
    catalogued: Path, folder: Path, server: Server, wrong: bytes, reason: str
) -> None:
    server.content = wrong
    with pytest.raises(WeightsError, match=reason):
        weights.fetch("whole")
    assert list(folder.iterdir()) == []


class Liar:
    """A server on a socket that answers each connection with given bytes, and then, for ever, with ``more``."""

    def __init__(self, head: str, body: bytes = b"", more: bytes = b"", pause: float = 0.0) -> None:
        self.sent = 0
        self.requests: list[bytes] = []
        self._first = head.replace("\n", "\r\n").encode() + body
        self._more, self._pause = more, pause
        self._listening = socket.create_server(("127.0.0.1", 0))
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._listening.getsockname()[1]}"

    def _serve(self) -> None:
        while not self._over.is_set():
            try:
                connection, _ = self._listening.accept()
            except OSError:
                return
            with connection, contextlib.suppress(OSError):
                self.requests.append(connection.recv(65536))
                connection.sendall(self._first)
                # Bounded, should the client not be.
                while self._more and not self._over.wait(self._pause) and self.sent < 64_000_000:
                    connection.sendall(self._more)
                    self.sent += len(self._more)

    def close(self) -> None:
        self._over.set()
        # accept() does not notice that its socket is closed.
        with contextlib.suppress(OSError):
            socket.create_connection(self._listening.getsockname()).close()
        self._listening.close()
        self._thread.join(10)


OK = "HTTP/1.1 200 OK\n"
LIMITS = downloads.Limits(None, 300_000, 20.0)


@pytest.fixture
def lie(tmp_path: Path) -> Iterator[Callable[..., tuple[Liar, Exception, float, Path]]]:
    """Download from a :class:`Liar`: the server, what is raised, after how long, and the file that was written to."""
    servers: list[Liar] = []

    def go(
        *answer: Any, there: bytes = b"", limits: downloads.Limits = LIMITS, **more: Any
    ) -> tuple[Liar, Exception, float, Path]:
        partial = tmp_path / "x.part"
        if there:
            partial.write_bytes(there)
        servers.append(Liar(*answer, **more))
        begun = time.monotonic()
        with pytest.raises(OSError) as caught:  # noqa: PT011
            downloads.download(servers[-1].url, partial, lambda done, total: None, limits)
        return servers[-1], caught.value, time.monotonic() - begun, partial

    yield go
    for server in servers:
        server.close()


@pytest.mark.parametrize("size", [None, 200_000])
@pytest.mark.parametrize("head", [OK + "\n", OK + "Transfer-Encoding: chunked\n\n"])
def test_no_more_is_taken_than_was_promised(lie: Any, head: str, size: int | None) -> None:
    block = b"x" * 65536
    more = block if "chunked" not in head else b"10000\r\n" + block + b"\r\n"
    server, error, _, partial = lie(head, more=more, limits=replace(LIMITS, size=size))
    assert str(error) == f"it sends more than {size or 300_000:,} bytes"
    assert not partial.exists()
    assert server.sent < 8_000_000  # what the kernel holds on the way
    assert len(server.requests) == 1


def test_what_is_sent_beyond_its_content_length_is_left_alone(tmp_path: Path) -> None:
    server = Liar(OK + "Content-Length: 5\n\n", b"12345", more=b"x" * 65536)
    partial = tmp_path / "x.part"
    downloads.download(server.url, partial, lambda done, total: None, LIMITS)
    server.close()
    assert partial.read_bytes() == b"12345"


@pytest.mark.parametrize(
    ("head", "reason"),
    [
        ("Content-Length: banana", "its Content-Length is 'banana'"),
        ("Content-Length: -5", "its Content-Length is '-5'"),
        ("Content-Length: 99999999999999999999", "its Content-Length is '9+'"),
        ("Content-Length: 5\nContent-Length: 6", "its Content-Length is '5, 6'"),
        ("Content-Length: 1\x1b[31m", r"its Content-Length is '1\\x1b\[31m'"),
        ("Content-Length: 300001", "it announces 300,001 bytes, more than 300,000; --max-size accepts more"),
        ("Content-Encoding: gzip", "its Content-Encoding is 'gzip'"),
        ("Transfer-Encoding: gzip, chunked", "its Transfer-Encoding is 'gzip, chunked'"),
    ],
)
def test_headers_that_are_none_of_a_file_are_named(lie: Any, head: str, reason: str) -> None:
    server, error, _, partial = lie(f"{OK}{head}\n\n", b"12345")
    assert re.match(reason, str(error)), error
    assert not partial.exists()
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    "answer",
    [
        "Content-Range: bytes 0-4/10",
        "Content-Range: bytes 5-3/10",
        "Content-Range: bytes 5-9/ten",
        "Content-Length: 5",
        "Content-Range: bytes 5-300000/300001",
    ],
)
def test_another_part_than_was_asked_for_is_refused(lie: Any, answer: str) -> None:
    server, error, _, partial = lie(f"HTTP/1.1 206 Partial Content\n{answer}\n\n", b"12345", there=b"01234")
    assert "Content-Range" in str(error) or "more than 300,000" in str(error)
    assert b"Range: bytes=5-" in server.requests[0]
    assert not partial.exists()


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ("HTTP/1.1 204 No Content\n\n", "answered 204"),
        ("HTTP/1.1 206 Partial Content\nContent-Range: bytes 0-4/5\n\n", "Content-Range"),
        ("HTTP/1.1 302 Found\nLocation: file:///etc/passwd\n\n", "something other than http"),
        ("HTTP/1.1 302 Found\nLocation: ftp://127.0.0.1/x\n\n", "unknown url type: ftp"),
        ("HTTP/1.1 302 Found\nLocation: http://[\n\n", "Invalid"),
        ("HTTP/1.1 302 Found\nLocation: /again\nConnection: close\n\n", "too many redirections"),
        ("HTTP/1.1 302 Found\n\n", "answered 302"),
        ("SSH-2.0-OpenSSH\n\n", "SSH-2.0-OpenSSH"),
        ("HTTP/1.1 404 \x1b[31mred\n\n", "^the server answered 404 Not Found$"),
        ("\x1b[31m\n\n", r"^\?\[31m\?\?$"),
    ],
)
def test_answers_that_are_no_file_are_named(lie: Any, answer: str, reason: str) -> None:
    _, error, _, partial = lie(answer)
    assert re.search(reason, str(error)), error
    assert not partial.exists()


def test_nothing_but_http_is_opened(tmp_path: Path) -> None:
    (tmp_path / "private").write_text("secret")
    for url in (f"file://{tmp_path}/private", "data:,x", "ftp://127.0.0.1/x"):
        with pytest.raises(OSError, match="unknown url type"):
            downloads.download(url, tmp_path / "x.part", lambda done, total: None, LIMITS)
    assert not (tmp_path / "x.part").exists()


def test_a_server_that_drips_is_given_up(lie: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(downloads, "_SILENCE", 0.5)
    _, error, seconds, partial = lie(OK + "Content-Length: 100000\n\n", more=b"x", pause=0.05)
    assert "which is too slow" in str(error)
    assert seconds < 10
    assert not partial.exists()


def test_time_ends_and_what_came_stays(lie: Any) -> None:
    limits = replace(LIMITS, seconds=0.5)
    server, error, seconds, partial = lie(OK + "\n", more=b"x" * 1000, pause=0.02, limits=limits)
    assert "bytes arrived within 0 s" in str(error)
    assert "--timeout" in str(error)
    assert seconds < 10
    assert 0 < partial.stat().st_size <= server.sent + 1000


@pytest.mark.parametrize("head", ["", OK + "X-Slow: "])
def test_headers_that_never_end_are_given_up(lie: Any, head: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(downloads, "_ANSWER", 0.3)
    _, error, seconds, partial = lie(head, more=b"x", pause=0.05)
    assert str(error) == "it did not answer within 0 s"
    assert seconds < 10
    assert not partial.exists()


@pytest.mark.filterwarnings("ignore::ResourceWarning")  # ssl leaves a socket open whose handshake was cut off
def test_a_handshake_that_never_ends_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(downloads, "_ANSWER", 0.3)
    server = Liar("\x16", more=b"\x03", pause=0.05)
    begun = time.monotonic()
    with pytest.raises(OSError, match=r"not answer within|SSL"):
        downloads.download(server.url.replace("http:", "https:"), tmp_path / "x", lambda done, total: None, LIMITS)
    server.close()
    assert time.monotonic() - begun < 10
    gc.collect()


def test_what_one_address_sent_is_not_gone_on_with_at_the_next(
    folder: Path, server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    liar = Liar(OK + f"Content-Length: {len(CONTENT)}\n\n", b"garbage")
    path = tmp_path / "registry.toml"
    path.write_text(
        f'[weights.two]\ndescription = "d"\nfile = "two.pth"\nurls = ["{liar.url}", "{server.url}/two"]\n'
        f'sha256 = "{DIGEST}"\nlicence = "MIT"\n'
    )
    monkeypatch.setattr(weights, "resource_path", lambda name: path)
    assert weights.fetch("two").read_bytes() == CONTENT
    liar.close()
    assert server.requests == [("/two", None)]
    assert [p.name for p in folder.iterdir()] == ["two.pth"]


def test_a_full_disk_is_named(catalogued: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = Path.open

    def full(path: Path, *args: Any, **named: Any) -> Any:
        if path.suffix == ".part":
            raise OSError(errno.ENOSPC, "No space left on device")
        return plain(path, *args, **named)

    monkeypatch.setattr(Path, "open", full)
    with pytest.raises(DiskFullError, match="disk is full"):
        weights.fetch("prefix")


def test_limits_on_the_command_line(catalogued: Path, folder: Path) -> None:
    run = CliRunner()
    refused = run.invoke(command, ["fetch", "prefix", "--max-size", "1"])
    assert "it announces 1,024,000 bytes, more than 1,000,000" in str(refused.exception)
    assert list(folder.iterdir()) == []
    assert run.invoke(command, ["fetch", "prefix", "--max-size", "2", "--timeout", "60"]).exit_code == 0
    assert run.invoke(command, ["fetch", "prefix", "--timeout", "inf"]).exit_code == 2


def test_no_server_is_an_error_with_the_way_round(catalogued: Path, server: Server) -> None:
    server.status = 503
    with pytest.raises(WeightsError, match=r"503.*weights add FILE"):
        weights.fetch("prefix")


def test_nobody_listening(tmp_path: Path, server: Server) -> None:
    url = server.url
    server.shutdown()
    server.server_close()
    with pytest.raises(OSError, match="refused"):
        downloads.download(url, tmp_path / "x.part", lambda done, total: None, LIMITS)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (CONTENT[:5000], r"truncated: 5,000 of 1,024,000 bytes"),
        (CONTENT + b"x", r"another file: 1,024,001 bytes instead of 1,024,000"),
        (CONTENT[:-1] + b"!", r"altered.*its sha256 is"),
    ],
)
def test_files_that_are_not_it_are_refused_with_the_reason(
    catalogued: Path, folder: Path, tmp_path: Path, content: bytes, reason: str
) -> None:
    offered = tmp_path / "download.bin"
    offered.write_bytes(content)
    with pytest.raises(WeightsError, match=reason):
        weights.add(offered, "whole")
    assert not folder.exists()
    # The same in place: found before anything uses it.
    folder.mkdir()
    (folder / "whole-file.pth").write_bytes(content)
    with pytest.raises(WeightsError, match=reason):
        weights.find("whole")


def test_add_knows_a_file_by_its_content(catalogued: Path, folder: Path, tmp_path: Path) -> None:
    offered = tmp_path / "whatever.bin"
    offered.write_bytes(CONTENT)
    assert weights.add(offered).name == "whole"
    assert weights.find("whole").read_bytes() == CONTENT
    assert weights.add(offered, "prefix").name == "prefix"
    assert offered.exists()
    # In place already: adding it again is no error and loses nothing.
    assert weights.add(weights.find("whole")).name == "whole"
    assert weights.find("whole").read_bytes() == CONTENT


def test_add_refuses_what_is_not_catalogued(catalogued: Path, tmp_path: Path) -> None:
    offered = tmp_path / "x.pth"
    offered.write_bytes(b"something else")
    with pytest.raises(WeightsError, match="not in the catalogue"):
        weights.add(offered)
    with pytest.raises(WeightsError, match="does not exist"):
        weights.add(tmp_path / "absent.pth")


def test_a_changed_file_is_checked_again(catalogued: Path, folder: Path, tmp_path: Path) -> None:
    path = weights.fetch("prefix")
    assert weights.state(weights.entry("prefix")) == "ready"
    path.write_bytes(CONTENT[::-1] + b"longer")
    assert "sha256" in weights.state(weights.entry("prefix"))
    # A fetch mends it.
    assert weights.fetch("prefix").read_bytes() == CONTENT


def test_command_line(catalogued: Path, folder: Path, tmp_path: Path) -> None:
    run = CliRunner()
    listed = json.loads(run.invoke(command, ["list", "--json"], catch_exceptions=False).output)
    assert [(row["name"], row["state"]) for row in listed] == [("whole", "missing"), ("prefix", "missing")]
    offered = tmp_path / "d.bin"
    offered.write_bytes(CONTENT)
    assert "whole" in run.invoke(command, ["add", str(offered)], catch_exceptions=False).output
    assert "prefix" in run.invoke(command, ["fetch", "prefix"], catch_exceptions=False).output
    shown = run.invoke(command, ["list"], catch_exceptions=False).output
    assert shown.count("ready") == 2
    assert "missing" not in shown
    result = run.invoke(command, ["fetch", "whol"])
    assert isinstance(result.exception, WeightsError)
