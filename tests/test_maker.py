"""Runs, ``data prepare`` and ``store adopt`` on one store at a time: one makes an artefact, the others use it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from io import StringIO
from pathlib import Path
from typing import Generic, TypeVar

import numpy as np
import pytest
from processes import until
from rich.console import Console

from mtbench.api import run as run_suite
from mtbench.engine.adopt import adopt
from mtbench.engine.maker import Maker
from mtbench.engine.progress import PlainProgress
from mtbench.errors import DataError, RequestError
from mtbench.plan.address import locate
from mtbench.plan.request import PlanRequest
from mtbench.preparation.request import PreparedDataset, lookup, prepare, requests
from mtbench.registry.discovery import discover
from mtbench.registry.registry import Registry
from mtbench.store.artefacts import Artefact, Store
from mtbench.store.hashes import Hashes

T = TypeVar("T")
PLUGIN = '''
import os, time
from pathlib import Path
import numpy as np
import mtbench
from mtbench.formats import read
from mtbench.preparation import prepare_cases

@mtbench.hookimpl
def mtbench_datasets():
    sides = frozenset({"source", "target"})
    yield mtbench.DatasetSpec("gated", ":Gated", labels={1: "blob"}, masks=sides, needs_root=True, obtain="here")

@mtbench.hookimpl
def mtbench_translators():
    yield mtbench.TranslatorSpec("gated-fit", ":Fit", trains=True)

def gate(name):
    """Note the call; one whose name the gate holds says that it is there and waits until it may pass."""
    place = Path(os.environ["GATE"])
    with (place / "log").open("a") as log:
        log.write(name + "\\n")
    if (place / "at").read_text() == name:
        (place / "reached").touch()
        until = time.monotonic() + 180
        while not (place / "open").exists() and time.monotonic() < until:
            time.sleep(0.01)

class Gated:
    def files(self, root):
        return sorted(root.glob("*/*.npy"))

    def prepare(self, root, context):
        cases = {f"{path.parent.name}/{path.stem}": path for path in self.files(root)}
        yield from prepare_cases(cases, one, context, workers=1)

def one(path):
    gate(f"{path.parent.name}/{path.stem}")
    image = read(path).array
    record = mtbench.Slice(path.stem, path.stem, path.stem, 0, file=path.name)
    return [mtbench.Sample(path.parent.name, image, record, (image > image.mean()).astype(np.uint8))]

class Fit:
    def fit(self, data, context):
        gate("fit")

    def save(self, folder):
        (folder / "weights.bin").write_bytes(b"trained here")

    def load(self, folder):
        gate("load")
        if not (folder / "weights.bin").read_bytes().startswith(b"trained"):
            raise ValueError("these are no weights")

    def translate(self, batch, context):
        return batch.source
'''
SUITE = """
translators = ["gated-fit"]
metrics = ["swd"]
[suite]
name = "gated"
[[datasets]]
name = "gated"
root = "raw"
"""
CASES = [f"{domain}/{domain[0]}{number}" for domain in ("source", "target") for number in range(4)]
MIDDLE = CASES[3]


class Place:
    """A suite whose units can be stopped half-way, and threads that want it at the same time."""

    def __init__(self, folder: Path, store: Path) -> None:
        self.folder, self.store = folder, Store(store)
        self.gate = folder / "gate"
        self.gate.mkdir()
        (folder / "gated.py").write_text(PLUGIN)
        (folder / "gated.toml").write_text(SUITE)
        for number, case in enumerate(CASES):
            path = folder / "raw" / f"{case}.npy"
            path.parent.mkdir(parents=True, exist_ok=True)
            np.save(path, np.random.default_rng(number).uniform(0, 1, (16, 16)).astype(np.float32))
        self.hold("")

    def hold(self, name: str) -> None:
        """Have the call of that name wait until :meth:`open`."""
        (self.gate / "at").write_text(name)
        for mark in ("reached", "open", "log"):
            (self.gate / mark).unlink(missing_ok=True)

    def reached(self) -> None:
        until((self.gate / "reached").exists)

    def open(self) -> None:
        (self.gate / "open").touch()

    def calls(self) -> Counter[str]:
        log = self.gate / "log"
        return Counter(log.read_text().split() if log.exists() else ())

    def registry(self) -> Registry:
        return discover([str(self.folder / "gated.py")])

    def prepare(self, console: Console) -> PreparedDataset:
        registry = self.registry()
        (request,) = requests(str(self.folder / "gated.toml"), registry)
        return prepare(request, registry, self.store, PlainProgress(console))

    def run(self, console: Console) -> dict[str, int]:
        suite, plugin = str(self.folder / "gated.toml"), str(self.folder / "gated.py")
        ran = run_suite(
            suite, out=str(self.folder / "out"), device="cpu", executor="inline", plugin_files=[plugin], console=console
        )
        return ran.summary.counts

    def adopt(self, what: Path, *, replace: bool = False) -> Callable[[Console], Artefact]:
        def go(console: Console) -> Artefact:
            registry = self.registry()
            plan = PlanRequest(str(self.folder / "gated.toml")).plan(registry)
            return adopt(plan, registry, self.store, "translator", what, replace=replace, note=console.print)

        return go

    def partial(self) -> list[Path]:
        return sorted(self.store.root.glob("partial/*/*.case"))

    def manifests(self, stage: str) -> list[Path]:
        return sorted(self.store.root.glob(f"artefacts/{stage}/*/*/manifest.json"))

    def claims(self) -> list[Path]:
        return [path for path in (self.store.root / "leases").rglob("*") if path.is_file()]


class Doing(Generic[T]):
    """Something that a thread does, what it prints, and what comes of it."""

    def __init__(self, what: Callable[[Console], T]) -> None:
        self._printed = StringIO()
        self._what = what
        self._got: T | None = None
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._go, daemon=True)
        self._thread.start()

    def _go(self) -> None:
        try:
            self._got = self._what(Console(file=self._printed, width=400))
        except BaseException as error:
            self._error = error

    def waits(self) -> None:
        """Return when it says that it waits for another."""
        until(lambda: "; waiting for " in self._printed.getvalue() or not self._thread.is_alive())
        assert self._thread.is_alive(), (self._printed.getvalue(), self._error)

    def result(self) -> T:
        self._thread.join(60)
        assert not self._thread.is_alive()
        if self._error is not None:
            raise self._error
        assert self._got is not None
        return self._got


@pytest.fixture
def place(tmp_path: Path, store: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    monkeypatch.setattr("mtbench.engine.maker.POLL", 0.02)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GATE", str(tmp_path / "gate"))
    return Place(tmp_path, store)


def test_two_preparations_at_once_read_each_case_once(place: Place) -> None:
    place.hold(MIDDLE)
    first = Doing(place.prepare)
    place.reached()
    second = Doing(place.prepare)
    second.waits()
    assert len(place.partial()) == 3
    place.open()
    one, two = first.result(), second.result()
    assert place.calls() == Counter(CASES)
    assert (one.is_new, two.is_new) == (True, False)
    assert one.data.path == two.data.path
    assert len(place.manifests("prepare")) == 1
    assert not place.partial()
    assert not place.claims()


@pytest.mark.parametrize("first", ["run", "prepare"])
def test_a_run_and_a_preparation_at_once_read_each_case_once(place: Place, first: str) -> None:
    place.hold(MIDDLE)
    doing: dict[str, Doing[object]] = {first: Doing(getattr(place, first))}
    place.reached()
    second = "prepare" if first == "run" else "run"
    doing[second] = Doing(getattr(place, second))
    doing[second].waits()
    place.open()
    prepared = doing["prepare"].result()
    assert isinstance(prepared, PreparedDataset)
    assert str(prepared.data.path / "manifest.json") == str(place.manifests("prepare")[0])
    assert doing["run"].result()
    assert {case: place.calls()[case] for case in CASES} == dict.fromkeys(CASES, 1)
    assert len(place.manifests("prepare")) == 1
    assert not place.claims()


def test_a_preparation_that_was_killed_is_gone_on_with(place: Place) -> None:
    place.hold(MIDDLE)
    process = subprocess.Popen(
        [sys.executable, "-m", "mtbench", "data", "prepare", "gated.toml", "--plugin", "gated.py"], cwd=place.folder
    )
    place.reached()
    waiting = Doing(place.prepare)
    waiting.waits()
    assert len(place.partial()) == 3
    place.hold("")
    process.kill()
    process.wait()
    assert waiting.result().is_new
    assert place.calls() == Counter(CASES[3:])
    assert not place.partial()


def test_one_that_fell_silent_leaves_the_commit_to_the_next(
    place: Place, monkeypatch: pytest.MonkeyPatch, refuse_writing: Callable[[Path], None]
) -> None:
    """Its process lives, but it shows no sign of life for longer than is waited."""
    monkeypatch.setattr(Maker.__init__, "__defaults__", (0.6,))
    place.hold(MIDDLE)
    silent = Doing(place.prepare)
    place.reached()
    (beat,) = (place.store.root / "leases/runs").iterdir()
    refuse_writing(beat)
    next_ = Doing(place.prepare)
    until(lambda: place.calls()[MIDDLE] == 2)  # it went on with what the other had done
    assert place.calls()[CASES[0]] == 1
    place.open()
    one, two = silent.result(), next_.result()
    assert one.data.path == two.data.path
    assert len(place.manifests("prepare")) == 1


def test_a_preparation_that_fails_lets_the_next_try(place: Place) -> None:
    place.hold(MIDDLE)
    failing = Doing(place.prepare)
    place.reached()
    waiting = Doing(place.prepare)
    waiting.waits()
    shutil.move(place.folder / "raw/target", place.folder / "elsewhere")
    place.open()
    with pytest.raises(DataError):
        failing.result()
    with pytest.raises(DataError):
        waiting.result()
    assert not place.claims()
    shutil.move(place.folder / "elsewhere", place.folder / "raw/target")
    assert Doing(place.prepare).result().is_new


def test_what_was_made_and_not_moved_is_found(place: Place) -> None:
    """Whoever made it was killed before it could give it its address, which is known to all others meanwhile."""
    console = Console(file=StringIO())
    data = place.prepare(console).data
    registry = place.registry()
    (request,) = requests(str(place.folder / "gated.toml"), registry)
    unit = request.builder.plan.units[request.builder.base["data"]]
    with closing(Hashes(place.store.root / "hashes.sqlite")) as hashes:
        final = locate(unit, registry, hashes, place.store, {})
    for path in (place.folder / "raw").rglob("*.npy"):
        os.utime(path, (1, 1))
    shutil.move(place.store.root / "hashes.sqlite", place.folder / "kept.sqlite")
    with closing(Hashes(place.store.root / "hashes.sqlite")) as hashes:
        provisional = locate(unit, registry, hashes, place.store, {})
    assert (final.provisional, provisional.provisional) == (False, True)
    place.store.move("prepare", final.address, provisional.address, {})
    shutil.move(place.folder / "kept.sqlite", place.store.root / "hashes.sqlite")
    place.hold("")
    again = place.prepare(console)
    assert (again.is_new, again.data.path, again.data.digest) == (False, data.path, data.digest)
    assert not place.calls()
    assert lookup(request, registry, place.store) is not None


def test_a_copy_that_is_settled_at_the_same_time_is_dropped(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    for address, content in (("aa1", b"1"), ("bb2", b"1")):
        with place.store.create("prepare", address, {}, {}) as folder:
            (folder / "x").write_bytes(content)
    monkeypatch.setattr(Path, "exists", lambda path: path.name == "aa1")  # the other came after the look
    place.store.move("prepare", "aa1", "bb2", {})
    monkeypatch.undo()
    assert [path.parent.name for path in place.manifests("prepare")] == ["bb2"]


# -- adopt


def test_adoption_waits_for_a_run_that_fits(place: Place) -> None:
    what = place.folder / "weights.bin"
    what.write_bytes(b"trained elsewhere")
    place.hold("fit")
    running = Doing(place.run)
    place.reached()
    refused, replacing = Doing(place.adopt(what)), Doing(place.adopt(what, replace=True))
    refused.waits()
    replacing.waits()
    place.open()
    assert running.result()["ok"] > 3
    adopted = replacing.result()
    assert (adopted.path / "weights.bin").read_bytes() == b"trained elsewhere"
    with pytest.raises(RequestError, match="already in the store"):
        refused.result()
    assert len(place.manifests("fit")) == 1
    assert not place.claims()


def test_a_run_waits_for_an_adoption_and_uses_it(place: Place) -> None:
    what = place.folder / "weights.bin"
    what.write_bytes(b"trained elsewhere")
    Doing(place.prepare).result()
    place.hold("load")
    adopting = Doing(place.adopt(what))
    place.reached()
    running = Doing(place.run)
    running.waits()
    place.open()
    assert (adopting.result().path / "weights.bin").read_bytes() == b"trained elsewhere"
    assert running.result()["cached"] == 3
    assert "fit" not in place.calls()


def test_a_replacement_that_cannot_be_loaded_costs_nothing(place: Place) -> None:
    Doing(place.run).result()
    what = place.folder / "weights.bin"
    what.write_bytes(b"no")
    with pytest.raises(DataError, match="cannot load the files"):
        Doing(place.adopt(what, replace=True)).result()
    (fit,) = place.manifests("fit")
    assert (fit.parent / "weights.bin").read_bytes() == b"trained here"
    assert not place.claims()
