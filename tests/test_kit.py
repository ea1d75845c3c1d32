"""``mtbench kit``: another laboratory's row, computed without the target's images, is the one that a run would give."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from toys import toy_suite

import mtbench

METRICS = ("toy-overlap", "toy-gap", "toy-mean")


@pytest.fixture
def ours(run: Any, tmp_path: Path) -> Path:
    """The results of a laboratory that has run ``toy-same``."""
    ran = run("-t", "toy-same", suite=toy_suite(metrics=METRICS))
    assert ran.code == 0, ran.err
    return tmp_path / "mtbench-results/toy"


@pytest.fixture
def source(run_cli: Any, toys: Path, tmp_path: Path, ours: Path) -> Path:
    """What the other laboratory exports of its own copy of the source data."""
    ran = run_cli("data", "export", "toy", "-o", tmp_path / "source", "--side", "all", "--plugin", toys)
    assert ran.code == 0, ran.err
    return tmp_path / "source"


def numbers(results: Path, translator: str) -> dict[tuple[str, str], float]:
    rows = mtbench.load(results).to_pylist()
    return {
        (r["metric"], r["label"]): r["value"] for r in rows if r["translator"] == translator and r["value"] is not None
    }


def test_a_row_from_elsewhere_stands_beside_ours(
    run: Any, run_cli: Any, toys: Path, tmp_path: Path, ours: Path, source: Path
) -> None:
    ran = run_cli("kit", ours, "-o", tmp_path / "kit")
    assert ran.code == 0, ran.err
    kit = json.loads((tmp_path / "kit/kit.json").read_text())
    usable = {judge["plugin"] for judge in kit["judges"] if not judge.get("lacks")}
    assert "toy-overlap" in usable
    # None of the target's images is in it, nor the name of a patient.
    task = run_cli("data", "export", "toy", "-o", tmp_path / "target", "--domain", "target", "--plugin", toys)
    assert task.code == 0
    images = [np.asarray(image) for image in load_all(tmp_path / "target")]
    held = b"".join(file.read_bytes() for file in (tmp_path / "kit").rglob("*") if file.is_file())
    assert images
    assert not any(image.tobytes() in held for image in images)
    names = {row["patient_id"] for row in json.loads((tmp_path / "target/manifest.json").read_text())["slices"]}
    assert names
    assert not any(f'"{name}"'.encode() in held for name in names)

    options = ("--source", source, "-o", tmp_path / "theirs", "--plugin", toys, "--device", "cpu")
    made = tmp_path / "made"
    made.mkdir()
    for row in json.loads((source / "manifest.json").read_text())["slices"]:
        image = np.asarray(Image.open(source / row["image"]))
        Image.fromarray(np.clip(image.astype(int) + 40, 0, 255).astype(np.uint8)).save(made / Path(row["image"]).name)
    choice = f"precomputed:folder={made}"
    ran = run_cli("kit", tmp_path / "kit", "-t", choice, *options)
    assert ran.code == 0, ran.err
    theirs = numbers(tmp_path / "theirs", "precomputed")
    assert run("--out", tmp_path / "whole", "-t", choice, suite=toy_suite(metrics=METRICS)).code == 0
    whole = numbers(tmp_path / "whole", "precomputed")
    assert set(theirs) == set(whole)
    assert theirs
    assert theirs == {key: pytest.approx(whole[key], abs=1e-6) for key in theirs}

    ran = run_cli("results", "merge", ours, tmp_path / "theirs", "-o", tmp_path / "all")
    assert ran.code == 0, ran.err
    assert numbers(tmp_path / "all", "toy-same") == numbers(ours, "toy-same")
    assert numbers(tmp_path / "all", "precomputed") == theirs
    shown = json.loads(run_cli("export", tmp_path / "all", "-f", "json").out)
    labels = [row["label"] for section in shown["sections"] for row in section["rows"] if row["role"] == "translator"]
    assert labels == ["toy-same", "precomputed"], "in one block, one section"


def load_all(folder: Path) -> list[np.ndarray]:
    rows = json.loads((folder / "manifest.json").read_text())["slices"]
    return [np.asarray(Image.open(folder / row["image"])) for row in rows]


@pytest.mark.parametrize("level", ["protocol", "features"])
def test_what_is_not_shared_is_left_out_with_the_reason(
    level: str, run_cli: Any, toys: Path, tmp_path: Path, ours: Path, source: Path
) -> None:
    assert run_cli("kit", ours, "-o", tmp_path / "kit", "--level", level).code == 0
    assert not (tmp_path / "kit/segmenters").exists()
    assert (tmp_path / "kit/features").exists() == (level == "features")
    options = ("--source", source, "-o", tmp_path / "theirs", "--plugin", toys, "--device", "cpu")
    ran = run_cli("kit", tmp_path / "kit", "-t", "toy-same", *options)
    assert ran.code == 0, ran.err
    assert f"toy-overlap: a kit of level '{level}' does not contain the segmenter" in ran.out


def test_what_cannot_be_compared_is_refused(run_cli: Any, toys: Path, tmp_path: Path, ours: Path, source: Path) -> None:
    assert run_cli("kit", ours, "-o", tmp_path / "kit").code == 0
    assert "already exists" in run_cli("kit", ours, "-o", tmp_path / "kit").err
    plugin = ("--plugin", toys, "--device", "cpu")

    def add(kit: Path, export: Path, translator: str = "toy-same") -> str:
        ran = run_cli("kit", kit, "-t", translator, "--source", export, "-o", tmp_path / "none", *plugin)
        assert ran.code != 0
        return str(ran.err)

    assert "needs training" in add(tmp_path / "kit", source, "toy-shift")
    other = run_cli("data", "export", "toy:size=24", "-o", tmp_path / "other", "--side", "all", "--plugin", toys)
    assert other.code == 0
    assert "source test slices are in" in add(tmp_path / "kit", tmp_path / "other")
    changed = tmp_path / "changed"
    shutil.copytree(tmp_path / "kit", changed)
    content = json.loads((changed / "kit.json").read_text())
    content["judges"][0]["revision"] = "of another time"
    (changed / "kit.json").write_text(json.dumps(content))
    assert "has revision" in add(changed, source)
    content["judges"][0]["features"] = {"x": "../../outside.npy"}
    (changed / "kit.json").write_text(json.dumps(content))
    assert "is outside of it" in add(changed, source)
    (changed / "kit.json").write_text("{}")
    assert "this is not a kit" in add(changed, source)
