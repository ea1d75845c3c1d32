"""Weight files: the catalogue, checking, adding by hand, and downloading from a server that misbehaves."""

from __future__ import annotations

import hashlib
import json
import re
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from click.testing import CliRunner

from mtbench.cli.weights import command
from mtbench.compute import downloads, weights
from mtbench.errors import StoreError, WeightsError

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
        self.asked: list[tuple[str, str | None]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        server = self.server
        wanted = self.headers.get("Range")
        server.asked.append((self.path, wanted))
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
    assert [asked for asked, _ in server.asked] == ["/gone/whole.pth", "/whole.pth"]
    assert [p.name for p in folder.iterdir()] == ["whole-file.pth"]
    weights.fetch("whole")
    assert len(server.asked) == 2


def test_a_broken_connection_is_taken_up_where_it_stopped(catalogued: Path, server: Server) -> None:
    server.cut_after = [300_000, 400_000]
    assert weights.fetch("prefix").read_bytes() == CONTENT
    assert [wanted for _, wanted in server.asked] == [None, "bytes=300000-", "bytes=700000-"]


def test_the_next_call_goes_on_with_what_came(catalogued: Path, folder: Path, server: Server) -> None:
    server.cut_after = [1000, 1000, 1000]
    with pytest.raises(WeightsError, match=r"broke off 3 times, after 3,000 bytes.*Try again"):
        weights.fetch("prefix")
    assert weights.fetch("prefix").read_bytes() == CONTENT
    assert server.asked[-1][1] == "bytes=3000-"


def test_a_server_without_ranges_starts_anew(catalogued: Path, folder: Path, server: Server) -> None:
    server.ranges = False
    server.cut_after = [300_000]
    assert weights.fetch("prefix").read_bytes() == CONTENT
    assert len(server.asked) == 2


def test_a_part_that_is_already_whole_is_used(catalogued: Path, folder: Path, server: Server) -> None:
    folder.mkdir()
    (folder / f"prefix-{DIGEST[:8]}.pth.part").write_bytes(CONTENT)
    assert weights.fetch("prefix").read_bytes() == CONTENT


@pytest.mark.parametrize("wrong", [b"<html>not found</html>", CONTENT[:-1] + b"!", CONTENT + b"more"])
def test_what_came_wrong_is_refused_and_not_kept(catalogued: Path, folder: Path, server: Server, wrong: bytes) -> None:
    server.content = wrong
    with pytest.raises(WeightsError, match="what came is refused"):
        weights.fetch("whole")
    assert list(folder.iterdir()) == []


def test_no_server_is_an_error_with_the_way_round(catalogued: Path, server: Server) -> None:
    server.status = 503
    with pytest.raises(WeightsError, match=r"503.*weights add FILE"):
        weights.fetch("prefix")


def test_nobody_listening(tmp_path: Path, server: Server) -> None:
    url = server.url
    server.shutdown()
    server.server_close()
    with pytest.raises(OSError, match="refused"):
        downloads.download(url, tmp_path / "x.part", lambda done, total: None)


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
    with pytest.raises(WeightsError, match="none of the catalogued"):
        weights.add(offered)
    with pytest.raises(WeightsError, match="no such file"):
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
