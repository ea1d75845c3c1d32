"""Fifty kills spread over every stage and every write; run with ``pytest -m faults``."""

from __future__ import annotations

import itertools
import json
import os
import random
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from toys import toy_suite

import mtbench
from mtbench.hashing import hash_of
from mtbench.store.files import sha256_of

pytestmark = pytest.mark.faults

FAULTS = Path(__file__).with_name("faults")
SUITE = toy_suite("threads = 1", translators=("toy-net",))
KILLS = 50
POINTS = (
    ("step", 20),
    ("rename after", 3),
    ("fsync before", 25),
    ("replace after", 6),
    ("rename before", 3),
    ("fsync after", 25),
    ("replace before", 6),
)
"""Where to kill, and at the latest at which of the calls that a run makes there."""
WHOM = ("run", "all", "self")
EVERYWHERE = {"prepare", "split", "fit", "translate", "extract", "segment", "score", "journal", "step"}
"""Where a kill must have been, see :func:`stage_of`; kills go on beyond their number until it was."""


class Place:
    """A store, results and temporary files, and runs in them."""

    def __init__(self, folder: Path, toys: Path) -> None:
        self.folder = folder
        self.toys = toys
        folder.mkdir()
        for name in ("tmp", "fault"):
            (folder / name).mkdir()
        (folder / "toy.toml").write_text(SUITE)

    def run(self, *arguments: str, order: dict[str, Any] | None = None) -> subprocess.CompletedProcess[str]:
        fault = self.folder / "fault"
        (fault / "count").unlink(missing_ok=True)
        (fault / "order.json").unlink(missing_ok=True)
        if order:
            (fault / "order.json").write_text(json.dumps(order))
        command = [sys.executable, "-m", "mtbench", "run", "toy.toml", "--device", "cpu", "--store", "store"]
        command += ["--plugin", str(self.toys), "--plugin", str(FAULTS / "net.py"), "--out", "out", *arguments]
        path = os.pathsep.join(filter(None, (str(FAULTS), os.environ.get("PYTHONPATH"))))
        env = {**os.environ, "TMPDIR": str(self.folder / "tmp"), "PYTHONPATH": path, "FAULT": str(fault)}
        return subprocess.run(command, cwd=self.folder, env=env, capture_output=True, text=True, check=False)

    def killed(self) -> list[dict[str, Any]]:
        log = self.folder / "fault" / "killed.log"
        return [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []

    def tables(self) -> list[Any]:
        return [mtbench.load(self.folder / "out", name) for name in ("scores", "cases")]

    def check(self) -> None:
        """Nothing temporary is left, no artefact is half-written, and every row is measured."""
        left = [p for p in self.folder.rglob("*") if p.name.startswith(".tmp-")]
        left += [p for p in (self.folder / "store" / "leases").rglob("*") if p.is_file()]
        left += self.folder.glob("store/partial/*")
        assert not left
        for folder in self.folder.glob("store/artefacts/*/*/*"):
            manifest = json.loads((folder / "manifest.json").read_text())
            files = {name: sha256_of(folder / name) for name in manifest["files"]}
            assert files == {name: file["sha256"] for name, file in manifest["files"].items()}
            content = {name: digest for name, digest in files.items() if not name.startswith("log/")}
            assert manifest["digest"] == hash_of(content)
        assert {row["status"] for row in self.tables()[0].to_pylist()} == {"measured"}


def stage_of(kill: dict[str, Any], place: Path) -> str:
    """What was being written: an artefact of a stage, the journal, a checkpoint, a table, ..."""
    about = kill["about"]
    for stage in ("prepare", "split", "fit", "translate", "extract", "segment", "score"):
        if f"/artefacts/{stage}/" in about:
            return stage
    if kill["point"] == "step":
        return "step"
    for text, name in (
        ("/journal/", "journal"),
        ("/partial/", "checkpoint"),
        ("outcome", "outcome"),
        ("out", "results"),
    ):
        if text in about.removeprefix(str(place)):
            return name
    return "other"


def test_fifty_kills(toys: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    unbroken = Place(tmp_path / "unbroken", toys)
    ran = unbroken.run("--executor", "inline")
    assert ran.returncode == 0, ran.stderr
    unbroken.check()
    expected = unbroken.tables()

    rng = random.Random(0)
    orders = itertools.cycle(itertools.product(WHOM, POINTS))
    kills: list[dict[str, Any]] = []
    where: Counter[str] = Counter()
    for chain in range(KILLS):
        place = Place(tmp_path / f"chain{chain}", toys)
        before = 0
        for whom, (point, latest) in orders:
            executor = ("--executor", "inline") if rng.random() < 0.3 else ("--jobs", "2")
            order = {"point": point, "nth": rng.randint(1, latest), "whom": whom}
            ran = place.run(*executor, order=order)
            assert "Traceback" not in ran.stderr, ran.stderr
            if len(place.killed()) == before:
                assert ran.returncode == 0, ran.stderr
                break
            before = len(place.killed())
        # The last one may have been complete after a kill of a unit only; whatever it was, now everything is there.
        ran = place.run("--jobs", "2")
        assert ran.returncode == 0, ran.stderr
        place.check()
        assert all(a.equals(b) for a, b in zip(place.tables(), expected, strict=True))
        kills += place.killed()
        where.update(stage_of(kill, place) for kill in place.killed())
        shutil.rmtree(place.folder)
        if len(kills) >= KILLS and where.keys() >= EVERYWHERE:
            break
    points = Counter(kill["point"] for kill in kills)
    with capsys.disabled():
        print(f"\n{len(kills)} kills: {dict(points)}; at {dict(where)}; of {dict(Counter(k['whom'] for k in kills))}")
    assert len(kills) >= KILLS
    assert points["step"] >= 5
    assert points["rename after"] >= 5
    assert where.keys() >= EVERYWHERE
