"""Results and artefacts that somebody else made: links, pipes, sockets and devices in them are named, never read."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console
from test_bad_results import directory, rows

import mtbench
from mtbench.engine.adopt import adopt
from mtbench.engine.progress import PlainProgress
from mtbench.errors import MtbenchError, StoreError
from mtbench.plan.request import PlanRequest
from mtbench.preparation.request import prepare, requests
from mtbench.registry.discovery import discover
from mtbench.results.directory import Results
from mtbench.results.entries import Attempt, RunAsked
from mtbench.results.environments import suite_file
from mtbench.results.merge import merge
from mtbench.results.provenance import environment_id
from mtbench.results.unit import unit_details
from mtbench.results.usage import look, size_of
from mtbench.results.verify import verify
from mtbench.store.artefacts import MANIFEST, Store
from mtbench.store.files import irregular_below, open_regular, read_regular

SECRET = "MY-PRIVATE-KEY"
E1, SUITE = environment_id({"python": "3.12.1"}), suite_file(b"")
SHIFT = """
translators = ["toy-shift"]
metrics = ["toy-mean"]
[suite]
name = "toy"
[[datasets]]
name = "toy"
"""
KINDS = ["link", "link within", "dangling", "device", "pipe", "socket", "folder"]


@pytest.fixture(autouse=True)
def alarm() -> Iterator[None]:
    """Whoever opens a pipe waits for ever."""

    def ring(number: int, frame: Any) -> None:
        raise AssertionError("it hangs")

    before = signal.signal(signal.SIGALRM, ring)
    signal.alarm(60)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "private").write_text(SECRET)
    return tmp_path


def strange(path: Path, kind: str) -> Path:
    """Put something else in the place of a file that is or is not there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.is_dir() and not path.is_symlink():
        path.rename(path.with_name("moved"))
    elif path.exists():
        path.rename(path.with_suffix(".kept"))
    match kind:
        case "link":
            path.symlink_to(Path("private").resolve())
        case "link within":
            path.symlink_to(next((p for p in (path.with_suffix(".kept"), path.with_name("moved")) if p.exists()), "."))
        case "dangling":
            path.symlink_to("nowhere")
        case "device":
            path.symlink_to("/dev/zero")
        case "pipe":
            os.mkfifo(path)
        case "socket":
            here = os.getcwd()
            os.chdir(path.parent)  # the address of a socket is short
            with socket.socket(socket.AF_UNIX) as bound:
                bound.bind(path.name)
            os.chdir(here)
        case "folder":
            path.mkdir()
    return path


def results(name: str) -> Path:
    """Results with a try, an environment and a suite."""
    folder = Path(directory(name, rows({"t": (0.5, 9.0)})))
    attempt = Attempt(
        unit_key="0",
        stage="score",
        name="score d t dice",
        attempt=1,
        status="ok",
        suite="bad",
        environment_id=E1,
        run="r1",
    )
    request = RunAsked(run="r1", copy=SUITE, suite=str(folder / "s.toml"))
    opened = Results.open(folder)
    with opened.writing():
        opened.append(replace(attempt, unit_key="1", name="score d t fid"))
        opened.append(attempt)
        opened.append(request)
    opened.rebuild()
    (folder / f"environment-{E1}.json").write_text(json.dumps({"python": "3.12.1"}))
    (folder / SUITE).write_text("")
    (folder / "s.toml").write_text("")
    return folder.resolve()


# -- the one place where such files are opened


@pytest.mark.parametrize("kind", KINDS)
def test_only_a_regular_file_is_opened(place: Path, kind: str) -> None:
    path = strange(place / "x", kind)
    with pytest.raises(StoreError) as caught:
        open_regular(path)
    word = {"link within": "link", "dangling": "link", "device": "link"}.get(kind, kind)
    assert str(caught.value).startswith(f"{path}: this is a {word}, which mtbench does not read.")
    assert list(irregular_below(place)) == ([] if kind == "folder" else [path])


def test_a_regular_file_is_read_and_an_absent_one_is_absent(place: Path) -> None:
    assert read_regular(place / "private") == SECRET.encode()
    with pytest.raises(FileNotFoundError):
        read_regular(place / "absent")
    with pytest.raises(StoreError, match="this is a device"):
        read_regular(Path("/dev/zero"))


# -- results directories


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("where", ["journal/another.jsonl", "journal"])
def test_a_journal_that_is_no_file_of_the_directory_is_named_by_whatever_reads_it(
    place: Path, run_cli: Any, where: str, kind: str
) -> None:
    if (where, kind) == ("journal", "folder"):
        return
    good, bad = results("good"), results("bad")
    path = strange(bad / where, kind)
    for command in (
        *(["results", "show", bad], ["results", "show", bad, "score d t dice"], ["export", bad]),
        *(["results", "merge", good, bad, "-o", "merged"], ["compare", good, bad], ["report", bad, "-o", "r.html"]),
    ):
        done = run_cli(*command)
        assert (done.code, str(path) in done.err) == (1, True), (command, done.err)
        assert "which mtbench does not read" in done.err
    checked = run_cli("results", "verify", bad)
    assert checked.code == 1
    assert f"{where}" in checked.out
    assert "which mtbench does not read" in checked.out
    assert not Path("merged").exists()
    with pytest.raises(StoreError, match="does not read"), Results.open(bad).writing():
        pass


@pytest.mark.parametrize("kind", [*KINDS])
@pytest.mark.parametrize("name", [f"environment-{E1}.json", "environment-e2.json", SUITE, "suite-2.toml"])
def test_merging_copies_files_and_nothing_that_they_lead_to(place: Path, name: str, kind: str) -> None:
    good, bad = results("good"), results("bad")
    path = strange(bad / name, kind)
    with pytest.raises(StoreError) as caught:
        merge([good, bad], Path("merged"))
    assert caught.value.where == str(path)
    assert not Path("merged").exists()
    findings = [finding for finding in verify(bad) if finding.where == name]
    assert [finding.problem for finding in findings] == [True]


@pytest.mark.parametrize("kind", KINDS)
def test_tables_and_markers_that_are_no_files_are_named(place: Path, kind: str) -> None:
    tables, marker = results("tables"), results("marker")
    strange(tables / "scores.parquet", kind)
    strange(marker / "mtbench-results.json", kind)
    with pytest.raises(StoreError, match=r"scores\.parquet: this is a"):
        mtbench.load(tables)
    with pytest.raises(MtbenchError, match="marker"):
        Results.open(marker)
    if kind != "folder":
        assert any(finding.problem and finding.where == "scores.parquet" for finding in verify(tables))


@pytest.mark.parametrize("kind", KINDS)
def test_what_a_unit_was_made_with_is_not_read_from_elsewhere(place: Path, kind: str) -> None:
    environment, suite = results("environment"), results("suite")
    strange(environment / f"environment-{E1}.json", kind)
    strange(suite / SUITE, kind)
    for folder in (environment, suite):
        with pytest.raises(StoreError, match="does not read"):
            unit_details(folder, "score d t dice")


def test_a_journal_names_no_file_outside(place: Path) -> None:
    folder = results("out")
    outside = place / "outside"
    outside.mkdir()
    (outside / "environment-x.json").write_text(json.dumps({"python": SECRET}))
    opened = Results.open(folder)
    (attempt,) = [entry for entry in opened.entries() if isinstance(entry, Attempt) and entry.unit_key == "0"]
    (request,) = [entry for entry in opened.entries() if isinstance(entry, RunAsked)]
    (folder / "environment-").mkdir()
    with opened.writing():
        opened.append(replace(attempt, environment_id="/../../outside/environment-x"))
        opened.append(replace(request, copy=str(strange(place / "pipe", "pipe"))))
    details = unit_details(folder, "score d t dice")
    assert SECRET not in str(details)


# -- artefacts


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "folder"])
@pytest.mark.parametrize("name", ["extra", "below/extra", "manifest.json", "log/extra"])
def test_an_artefact_that_leads_elsewhere_is_none(place: Path, kind: str, name: str) -> None:
    store = Store(place / "store")
    with store.create("fit", "aa1", {"unit": {"name": "fit x"}}, {}) as folder:
        (folder / "weights").write_bytes(b"1")
    output = store.get("fit", "aa1")
    assert output is not None
    strange(output.path / name, kind)
    with pytest.raises(StoreError, match="does not read"):
        store.get("fit", "aa1")
    assert all(artefact.bytes < 10_000 for artefact in look(store).artefacts)
    (output.path / name).unlink()


def test_an_artefact_that_is_a_link_is_none(place: Path) -> None:
    store = Store(place / "store")
    with store.create("fit", "aa1", {}, {}) as folder:
        (folder / "weights").write_bytes(b"1")
    path = store.path("fit", "aa1")
    shutil.move(path, place / "elsewhere")
    path.symlink_to(place / "elsewhere")
    with pytest.raises(StoreError, match="this is a link"):
        store.get("fit", "aa1")


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "folder"])
def test_a_plugin_leaves_files_in_an_artefact(place: Path, kind: str) -> None:
    store = Store(place / "store")
    with (
        pytest.raises(StoreError, match=r"fit x: 'below/weights' in the artefact is a link, a pipe"),
        store.create("fit", "aa1", {"unit": {"name": "fit x"}}, {}) as folder,
    ):
        strange(folder / "below/weights", kind)
    assert store.get("fit", "aa1") is None
    assert not [path for path in store.root.rglob("*") if path.is_file()]


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "folder"])
def test_what_is_adopted_is_in_the_folder_that_was_named(place: Path, kind: str, toys: Path) -> None:
    registry, store = discover([toys]), Store(place / "store")
    (place / "toy.toml").write_text(SHIFT)
    request = PlanRequest("toy.toml")
    prepare(requests("toy.toml", registry)[0], registry, store, PlainProgress(Console(quiet=True)))

    def adopted(what: Path) -> dict[str, bytes]:
        fit = adopt(request.plan(registry), registry, store, "translator", what, replace=True).path
        return {path.name: path.read_bytes() for path in fit.iterdir() if path.name != MANIFEST}

    (place / "model").mkdir()
    np.save(place / "model/step.npy", 0.25)
    content = (place / "model/step.npy").read_bytes()
    assert adopted(place / "model") == {"step.npy": content}
    strange(place / "model/more", kind)
    with pytest.raises(StoreError, match="does not read"):
        adopted(place / "model")
    # A file that the user names may be a link: a cache of models keeps them so.
    (place / "named").mkdir()
    (place / "named/step.npy").symlink_to(place / "model/step.npy")
    assert adopted(place / "named/step.npy") == {"step.npy": content}


def test_what_links_lead_to_is_not_counted(place: Path) -> None:
    (place / "big").write_bytes(bytes(100_000))
    folder = place / "folder"
    folder.mkdir()
    (folder / "file").write_bytes(bytes(10))
    (folder / "link").symlink_to(place / "big")
    (folder / "nowhere").symlink_to(place / "absent")
    os.mkfifo(folder / "pipe")
    assert 10 <= size_of(folder) < 1000
