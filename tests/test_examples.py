"""The example suites, on the real images they are written for, in a small budget."""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

import mtbench

EXAMPLES = Path(__file__).parents[1] / "docs" / "examples"
UNET = ["--set", "segmenters.unet.params={epochs=1, epoch_length=16, filters=4, levels=3}", "-m", "dice"]
SMALL = ["--executor", "inline", "--set", "threads=1", "-t", "identity", "-m", "swd:patches=16,directions=64"]


@pytest.mark.parametrize("name", sorted(path.stem for path in EXAMPLES.glob("*.toml")))
def test_every_example_can_be_planned(name: str, run_cli: Any, data_folder: Path) -> None:
    planned = run_cli("plan", EXAMPLES / f"{name}.toml", "--json")
    assert planned.code == 0, planned.err
    assert json.loads(planned.out)["rows"]


@pytest.mark.parametrize(
    ("name", "more", "folds"),
    [
        ("breast-siemens-to-ge", ["-t", "cyclegan:steps=2,ngf=4,ndf=4,n_blocks=1"], 1),
        ("lumbar-mr-to-ct", ["-t", "histogram", *UNET], 1),
        (
            "lumbar-t2-to-t1",
            [*UNET, "--set", "datasets.*.split={by='folds', folds=2, validation=0.2, same_people=false}"],
            2,
        ),
    ],
)
@pytest.mark.slow
def test_an_example_runs_on_real_images(
    name: str, more: list[str], folds: int, run_cli: Any, data_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran = run_cli("run", EXAMPLES / f"{name}.toml", *SMALL, *more, "--out", "out")
    assert ran.code == 0, ran.err
    scores = mtbench.load("out").to_pylist()
    assert {r["status"] for r in scores} == {"measured"}
    assert len({r["fold"] for r in scores}) == folds
    segmented = {"ceiling", "oracle"} if "dice" in more else set()
    assert {r["role"] for r in scores} == {"translator", "floor", *segmented}
    assert all("pipeline run, not a result" in r["task_note"].lower() for r in scores)
    if find_spec("tensorboard"):
        fits = 2 * folds if segmented else 1
        assert len({path.parent.name for path in Path("out", "tensorboard").glob("*/events.*")}) == fits
    exported = run_cli("export", "out", "--format", "md")
    assert "pipeline run, not a result" in exported.out.lower()
    assert "patients" in exported.out
    again = run_cli("run", EXAMPLES / f"{name}.toml", *SMALL, *more, "--out", "out")
    assert "Nothing to do" in again.err
