"""Plugins that do harm, disks that fill up, clocks and files that go wrong; run with ``pytest -m faults``."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
import uuid
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from toys import toy_suite

import mtbench
from mtbench.hashing import hash_of
from mtbench.store.files import sha256_of

pytestmark = pytest.mark.faults

HOSTILE = Path(__file__).with_name("faults") / "hostile.py"
HEAD = toy_suite("threads = 1", metrics=("toy-mean", "toy-gap"))
HARMFUL = {
    "hang": ("timeout", "limit of --timeout (8 s)"),
    "deaf": ("timeout", "limit of --timeout (8 s)"),
    "stop": ("timeout", "limit of --timeout (8 s)"),
    "segfault": ("lost", "SIGSEGV"),
    "abort": ("lost", "SIGABRT"),
    "exit": ("lost", "exit code 3"),
    "pretend": ("lost", "exit code 0"),
    "kill": ("lost", "SIGKILL"),
    "eat": ("oom", "--memory"),
    "quit": ("error", "Quit: no more"),
    "system-exit": ("error", "SystemExit"),
    "interrupt": ("lost", "process ended (exit code"),
    "overflow": ("error", "RecursionError"),
    "shout": ("error", "hoarse"),
    "huge": ("error", "translate() returned shape (1, 100000, 16, 16)"),
    "elsewhere": ("error", "meta"),
    "spoil": ("error", "ruined"),
    "unplug": ("error", "Bad file descriptor"),
}
"""What a plugin does, and the status and a part of the reason of its unit."""
HARMLESS = (
    "reuse",
    "patch",
    "seed",
    "settings",
    "threads",
    "children",
    "litter",
    "sweep",
    "mute",
    "environment",
)
"""What costs nobody anything: the numbers are those of a translator that does only its work."""


class Place:
    """A folder with a suite, a store and temporary files of its own, and runs in it."""

    def __init__(self, folder: Path, toys: Path, does: Iterable[str] = ()) -> None:
        self.folder, self.toys, self.mark = folder, toys, f"mark-{uuid.uuid4().hex}"
        (folder / "tmp").mkdir(parents=True)
        more = f'[[translators]]\nname = "hostile"\nparams.does = {json.dumps(list(does))}\n' if does else ""
        (folder / "toy.toml").write_text(HEAD + more)

    def command(self, *arguments: str | Path) -> list[str]:
        command = [sys.executable, "-m", "mtbench", "run", "toy.toml", "--device", "cpu", "--batch-size", "1"]
        command += ["--store", "store", "--out", "out", "--plugin", str(self.toys), "--plugin", str(HOSTILE)]
        return [*command, *map(str, arguments)]

    def run(self, *arguments: str | Path, prefix: Iterable[str] = (), **env: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*prefix, *self.command(*arguments)],
            cwd=self.folder,
            env={**os.environ, "TMPDIR": str(self.folder / "tmp"), "HOSTILE": self.mark, **env},
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
        )

    def rows(self, table: str = "scores") -> list[dict[str, Any]]:
        records: list[dict[str, Any]] = mtbench.load(self.folder / "out", table).to_pylist()
        return records

    def values(self) -> dict[tuple[str, ...], Any]:
        """Every number by what it is of."""
        names = ("role", "translator", "translator_params", "metric", "label")
        return {tuple(str(r[n]) for n in names): r["value"] for r in self.rows() if r["status"] == "measured"}

    def processes(self) -> list[str]:
        """What still runs of all that was started here."""
        pids = []
        for folder in Path("/proc").iterdir():
            try:
                if self.mark.encode() in (folder / "environ").read_bytes():
                    pids.append((folder / "cmdline").read_text())
            except OSError:
                continue
        return pids

    def check(self) -> None:
        """No process and no temporary file is left, and no artefact is half-written."""
        until = time.monotonic() + 5
        while self.processes() and time.monotonic() < until:
            time.sleep(0.05)
        assert not self.processes()
        assert not list((self.folder / "tmp").iterdir())
        assert not list(self.folder.rglob(".tmp-*"))
        assert not [p for p in (self.folder / "store" / "leases").rglob("*") if p.is_file()]
        for folder in self.folder.glob("store/artefacts/*/*/*"):
            manifest = json.loads((folder / "manifest.json").read_text())
            files = {name: sha256_of(folder / name) for name in manifest["files"]}
            assert manifest["digest"] == hash_of({n: d for n, d in files.items() if not n.startswith("log/")})


@pytest.fixture(scope="module")
def clean(tmp_path_factory: pytest.TempPathFactory) -> Place:
    """A run where nobody does harm."""
    place = Place(tmp_path_factory.mktemp("clean"), HOSTILE.parents[1] / "toys.py", ["nothing"])
    ran = place.run("--executor", "inline")
    assert ran.returncode == 0, ran.stderr
    return place


def of(values: dict[tuple[str, ...], Any], does: str) -> dict[tuple[str, ...], Any]:
    """The numbers of one hostile translator."""
    return {
        (*key[:2], *key[3:]): value
        for key, value in values.items()
        if key[1] == "hostile" and json.loads(key[2]).get("does", "nothing") == does
    }


# -- plugins


def test_each_hostile_plugin_hurts_only_its_own_units(clean: Place, toys: Path, tmp_path: Path) -> None:
    does = [*HARMFUL, *HARMLESS, "change"]
    place = Place(tmp_path / "hostile", toys, does)
    ran = place.run("--jobs", "3", "--timeout", "8", "--memory", "1.2")
    assert ran.returncode == 1, ran.stderr
    assert "Traceback" not in ran.stderr
    place.check()

    tries = {
        a["name"].partition("does=")[2].rstrip("]"): a
        for a in place.rows("attempts")
        if a["stage"] == "translate" and "does=" in a["name"]
    }
    assert tries.keys() == set(does)
    outcomes = {name: (tries[name]["status"], tries[name]["reason"]) for name in does}
    for name, (status, reason) in HARMFUL.items():
        assert outcomes[name][0] == status, (name, outcomes[name])
        assert reason in outcomes[name][1], (name, outcomes[name])
    assert {name: outcomes[name] for name in (*HARMLESS, "change")} == dict.fromkeys((*HARMLESS, "change"), ("ok", ""))
    assert max(len(a["log"] or "") for a in tries.values()) < 100_000

    expected, values = clean.values(), place.values()
    for name in HARMFUL:
        assert not of(values, name)
    harmless = of(expected, "nothing")
    assert len(harmless) == 2
    for name in HARMLESS:
        assert of(values, name) == harmless, name
    others = {key: value for key, value in expected.items() if key[1] != "hostile"}
    assert len(others) >= 6
    assert {key: value for key, value in values.items() if key[1] != "hostile"} == others
    failures = [r for r in place.rows() if r["status"] != "measured"]
    assert len(failures) == 2 * len(HARMFUL)
    assert all(r["translator"] == "hostile" and r["note"] for r in failures)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("import time; time.sleep(600)", "it did not finish within 3 s"),
        ("import os; os._exit(3)", "it ended the process (exit code 3)"),
        ("raise SystemExit(0)", "SystemExit: 0"),
    ],
)
def test_a_plugin_file_whose_import_does_harm(body: str, message: str, toys: Path, tmp_path: Path) -> None:
    """It is named on the command line, so it is told and nothing is begun; an installed one is set aside."""
    place = Place(tmp_path / "import", toys)
    (place.folder / "bad.py").write_text(body + "\n")
    ran = place.run("--plugin", "bad.py", MTBENCH_IMPORT_SECONDS="3")
    assert ran.returncode == 2
    assert f"bad.py: its import failed: {message}" in ran.stderr
    assert "Traceback" not in ran.stderr
    assert not (place.folder / "out").exists()
    place.check()


def test_a_translation_is_what_was_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Memory that is written to after the check for NaN does not reach the file."""
    import torch

    from mtbench.compute.context import Context
    from mtbench.data import ImageSet, Slice
    from mtbench.stages.translate import translate

    class Late:
        def translate(self, batch: Any, context: Any) -> Any:
            self.output = batch.source.clone()
            return self.output

    late, real = Late(), np.isfinite

    def check(values: Any) -> Any:
        verdict = real(values)
        with torch.inference_mode():
            late.output.fill_(torch.nan)
        return verdict

    monkeypatch.setattr(np, "isfinite", check)
    pixels = np.full((2, 4, 4), 0.5, np.float32)
    slices = tuple(Slice(f"s{n}", f"p{n}", f"p{n}", 0) for n in range(2))
    images = ImageSet(pixels, slices, None, None, "source", "test")  # type: ignore[arg-type]
    context = Context()
    output = np.concatenate(list(translate(late, images, context, conditional=False, depth="float32", blame="it")))
    assert (output == 0.5).all()


def test_a_plugin_that_fills_the_disk_pauses_the_run(clean: Place, toys: Path, tmp_path: Path) -> None:
    if shutil.which("unshare") is None or subprocess.run(["unshare", "-rm", "true"], check=False).returncode:
        pytest.skip("this system lets nobody mount a small disk")
    place = Place(tmp_path / "filled", toys, ["fill"])
    prefix = ("unshare", "-rm", "sh", "-c", 'mount -t tmpfs -o size=3m none tmp && exec "$@"', "sh")
    ran = place.run(prefix=prefix)
    assert ran.returncode == 1, ran.stderr
    assert ran.stderr.count("the disk is full") == 1
    assert "units need about" in ran.stderr
    assert "Traceback" not in ran.stderr
    again = place.run("-t", "toy-same", "-t", "toy-shift", prefix=prefix)
    assert again.returncode == 0, again.stderr
    assert " reused" in again.stderr
    place.check()
    assert place.values() == {key: value for key, value in clean.values().items() if key[1] != "hostile"}
