"""How torch's threads wait for one another, and that units do it so."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

import mtbench
from mtbench import api
from mtbench.openmp import wait_briefly

SUITE = """
metrics = ["toy-gap"]
[suite]
name = "toy"
[[datasets]]
name = "toy"
[[translators]]
name = "spin"
"""
PLUGIN = """
import os
import mtbench
from mtbench import api

@mtbench.hookimpl
def mtbench_translators():
    yield mtbench.TranslatorSpec("spin", ":Spin")

class Spin:
    def translate(self, images, context):
        print("spin", os.environ.get("GOMP_SPINCOUNT"))
        return images
"""


def test_what_the_user_has_said_stands(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GOMP_SPINCOUNT", raising=False)
    monkeypatch.setenv("OMP_WAIT_POLICY", "active")
    wait_briefly()
    assert "GOMP_SPINCOUNT" not in os.environ
    monkeypatch.delenv("OMP_WAIT_POLICY")
    monkeypatch.setenv("GOMP_SPINCOUNT", "7")
    wait_briefly()
    assert os.environ["GOMP_SPINCOUNT"] == "7"


@pytest.mark.slow
def test_units_wait_briefly(toys: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the Python call too, where no command line has said it."""
    monkeypatch.delenv("GOMP_SPINCOUNT", raising=False)
    (tmp_path / "spin.py").write_text(PLUGIN)
    (tmp_path / "toy.toml").write_text(SUITE)
    done = api.run(
        tmp_path / "toy.toml",
        out=tmp_path / "out",
        plugin_files=[toys, tmp_path / "spin.py"],
        device="cpu",
        quiet=True,
    )
    (attempt,) = [a for a in mtbench.load(done.results.path, "attempts").to_pylist() if a["stage"] == "translate"]
    assert "spin 1000" in attempt["log"]
