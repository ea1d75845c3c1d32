"""``mtbench stress``: metrics whose answer is known, on a tiny task, by the command."""

from __future__ import annotations

import csv
import json
import textwrap
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import TOYS

from mtbench.data import ImageSet, Slice, Task
from mtbench.stress.material import Material, _at_most, damage, overlap
from mtbench.stress.operators import OPERATORS

METRICS = """
    import numpy as np
    import mtbench


    @mtbench.hookimpl
    def mtbench_metrics():
        both = ("candidate", "reference")
        yield mtbench.MetricSpec("brightness", ":Brightness", needs=both, balanced=True, interval="jackknife")
        yield mtbench.MetricSpec("contrarian", ":Contrarian", needs=("candidate",), interval="jackknife")
        yield mtbench.MetricSpec("fragile", ":Fragile", needs=("candidate",), higher_is_better=True)
        yield mtbench.MetricSpec("error", ":Error", needs=("candidate", "paired"), interval="cases")
        yield mtbench.MetricSpec("gain", ":Gain", needs=("candidate", "source"), interval="jackknife")
        of = [mtbench.Features(side, "toy-blocks", ("blocks",)) for side in ("candidate", "training")]
        yield mtbench.MetricSpec("nearness", ":Nearness", needs=tuple(of))
        yield mtbench.MetricSpec("masked", ":Error", needs=("predicted_masks", "candidate"), interval="cases")


    class Brightness:
        def compute(self, inputs, context):
            sides = inputs.candidate, inputs.reference
            ours, theirs = (images.floats().mean(axis=(1, 2, 3), dtype=np.float64) for images in sides)
            return mtbench.Score(abs(float(np.sort(ours).mean() - theirs.mean())))


    class Contrarian:
        def compute(self, inputs, context):
            return mtbench.Score(1 - float(inputs.candidate.floats().std()))


    class Fragile:
        def compute(self, inputs, context):
            value = float(inputs.candidate.floats().mean())
            if value > 0.75:
                raise mtbench.DataError("too bright to be measured")
            return mtbench.Score(value)


    class Gain:
        def compute(self, inputs, context):
            pairs = zip(inputs.candidate.slices, inputs.source.slices, strict=True)
            assert all(ours.slice_id == theirs.slice_id for ours, theirs in pairs)
            ours, theirs = (images.floats().astype(np.float64) for images in (inputs.candidate, inputs.source))
            return mtbench.Score(float((ours - theirs).mean()))


    class Nearness:
        def compute(self, inputs, context):
            ours, known = (inputs.features[side]["blocks"] for side in ("candidate", "training"))
            assert len(inputs.training) == len(known)
            return mtbench.Score(abs(float(ours.mean() - known.mean())))


    class Error:
        def compute(self, inputs, context):
            values = np.abs(inputs.candidate.floats() - inputs.paired.floats()).mean(axis=(1, 2, 3))
            slices = inputs.candidate.slices
            ids, patients = tuple(s.slice_id for s in slices), tuple(s.patient_id for s in slices)
            cases = mtbench.Cases("slice", ids, patients, values.astype(np.float64))
            return mtbench.Score(float(values.mean()), cases=cases)
"""
DATA = "toy-paired:patients=40,slices=1"


@pytest.fixture
def stress(run_cli: Callable[..., Any], tmp_path: Path) -> Callable[..., Any]:
    """The command with the metrics above and the toys, without other plugins."""
    file = tmp_path / "metrics_of_test.py"
    file.write_text(textwrap.dedent(METRICS))

    def call(*arguments: str, data: str = DATA) -> Any:
        plugins = ("--plugin", str(file), "--plugin", str(TOYS), "--no-plugins")
        return run_cli("stress", *arguments, "-d", data, "-o", "out", *plugins)

    return call


def matrix(folder: Path) -> dict[str, dict[str, str]]:
    """The matrix by damage and score."""
    with (folder / "matrix.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    return {
        row["Damage"].partition(": ")[2]: {name.partition(" | ")[2][:-2] or name: text for name, text in row.items()}
        for row in rows
    }


def curve(folder: Path, score: str, operator: str) -> list[dict[str, str]]:
    with (folder / "curves.csv").open(newline="") as file:
        return [row for row in csv.DictReader(file) if row["score"][:-2] == score and row["operator"] == operator]


def test_metrics_of_known_blindness_get_their_matrix(stress: Callable[..., Any], tmp_path: Path) -> None:
    scores = ("brightness", "contrarian", "error")
    damage_of = ("offset", "noise", "flip", "shuffle", "misregister", "collapse=4,2,1")
    arguments = (*scores, *(part for name in damage_of for part in ("--operator", name)))
    ran = stress(*arguments)
    assert ran.code == 0, ran.err
    out = tmp_path / "out"
    found = matrix(out)
    assert found["offset"]["brightness"] == found["offset"]["error"] == "1"
    assert found["flip"]["contrarian"] == "blind"
    assert int(found["noise"]["contrarian"]) < 0  # More noise has more spread, which it takes for a better value.
    assert found["flip"]["brightness"] == "blind"
    assert found["shuffle"]["brightness"] == "proven 0"
    assert found["shuffle"]["error"] == "1"
    assert found["misregister"]["brightness"] == ""
    assert found["misregister"]["error"] == "1"
    assert "The score reads no truth that could be moved" in found["misregister"]["Notes"]
    # An offset by 0.05 steps moves the brightness by as much, from where it was.
    values = [float(row["value"]) for row in curve(out, "error", "offset")]
    assert values[0] == 0
    assert values[1] == pytest.approx(0.05, abs=0.01)
    assert all(row["ci_low"] for row in curve(out, "error", "offset"))
    page = (out / "index.html").read_text()
    assert page.index("Phantoms prove that a metric can prefer") < page.index("<table>") < page.index("<svg")
    assert {path.suffix for path in out.glob("matrix.*")} == {".csv", ".html", ".json", ".md", ".tex"}
    assert json.loads((out / "matrix.json").read_text())["sections"][0]["rows"][0]["params"]["strengths"][0] == 0.05
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    again = stress(*arguments)
    assert "0 scores computed" in again.err
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before


def test_features_of_training_slices_come_with_these_slices(stress: Callable[..., Any], tmp_path: Path) -> None:
    ran = stress("nearness", "--operator", "offset")
    assert ran.code == 0, ran.err
    assert matrix(tmp_path / "out")["offset"]["nearness"] == "1"


def test_a_fixed_segmenter_scores_masks_and_matches_damage(stress: Callable[..., Any], tmp_path: Path) -> None:
    damage_of = ("--operator", "shift", "--operator", "offset=0.3,0.5,0.9")
    ran = stress("toy-overlap", "error", "--segmenter", "toy-threshold", *damage_of)
    assert ran.code == 0, ran.err
    rows = curve(tmp_path / "out", "error", "shift")
    dice = [float(row["segmenter_dice"]) for row in rows[1:]]
    assert dice == sorted(dice, reverse=True)
    assert dice[-1] < 0.9
    assert [row["displacement"] for row in rows[1:]] == ["1.0", "2.0", "3.0", "4.0", "5.0"]
    assert {row["displacement_unit"] for row in rows[1:]} == {"pixels"}
    # The masks that moved with the image overlap as much as those that a segmenter finds on it.
    np.testing.assert_allclose([float(row["overlap"]) for row in rows[1:]], dice, atol=0.05)
    assert matrix(tmp_path / "out")["shift"]["toy-overlap blob"] == "1"
    assert "where the segmenter loses 0.1 Dice, the response to anatomy is" in ran.out


def test_the_source_slices_stay_undamaged(stress: Callable[..., Any], tmp_path: Path) -> None:
    ran = stress("gain", "--operator", "offset=0.05,0.1", "--operator", "shuffle")
    assert ran.code == 0, ran.err
    values = [float(row["value"]) for row in curve(tmp_path / "out", "gain", "offset")]
    # The toy's truth is its source slice plus 0.3; nothing of it reaches 1.
    assert values == [pytest.approx(0.3 + change, abs=0.002) for change in (0, 0.05, 0.1)]
    assert matrix(tmp_path / "out")["offset"]["gain"] == "1"
    assert matrix(tmp_path / "out")["shuffle"]["gain"] == "proven 0"


def test_networks_that_are_trained_are_fitted_on_the_target_once(
    stress: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOY_LOG", str(tmp_path / "log"))
    metrics = ("toy-distance", "toy-distance:toy-of-segmenter")
    options = (*metrics, "--operator", "offset=0.3,0.4,0.5,0.6,0.7")
    ran = stress(*options)
    assert ran.code == 0, ran.err
    assert "'toy-of-segmenter' reads features of a segmenter: name one with --segmenter" in ran.out
    ran = stress(*options, "--segmenter", "toy-threshold")
    assert ran.code == 0, ran.err
    fits = [line for line in (tmp_path / "log").read_text().splitlines() if line.startswith("fit")]
    assert fits == ["fit learnt on target", "fit threshold on target"]
    # The threshold cancels in a distance of means: an offset moves it by as much.
    rows = curve(tmp_path / "out", "toy-distance[toy-of-segmenter]", "offset")
    assert [float(row["value"]) for row in rows[1:3]] == [pytest.approx(s, abs=0.05) for s in (0.3, 0.4)]
    assert float(curve(tmp_path / "out", "toy-distance[toy-learnt]", "offset")[2]["value"]) > 0.05


def test_a_metric_that_fails_at_a_level_leaves_a_hole(stress: Callable[..., Any], tmp_path: Path) -> None:
    ran = stress("fragile", "masked", "--operator", "offset=0.01,0.5,0.6")
    assert ran.code == 0, ran.err
    rows = curve(tmp_path / "out", "fragile", "offset")
    assert [bool(row["value"]) for row in rows] == [True, True, False, False]
    assert "too bright to be measured" in rows[2]["note"]
    assert "No value at levels 2, 3: " in matrix(tmp_path / "out")["offset"]["Notes"]
    assert "masked ↓\n  not scored: it compares masks that a segmenter predicts" in ran.out


def test_too_few_patients_make_no_band(stress: Callable[..., Any], tmp_path: Path) -> None:
    ran = stress("brightness", "--operator", "offset", data="toy-paired:patients=12,slices=2")
    assert ran.code == 0, ran.err
    found = matrix(tmp_path / "out")["offset"]
    assert found["brightness"] == "no band"
    assert "patients, at least 10 of each are needed" in found["Notes"]
    assert "No verdict: give it more patients" in ran.out
    assert all(row["band_low"] == "" for row in curve(tmp_path / "out", "brightness", "offset"))


def test_without_truth_only_metrics_of_the_target_are_scored(stress: Callable[..., Any], tmp_path: Path) -> None:
    ran = stress(
        "brightness", "error", "--operator", "offset", "--operator", "remove", data="toy-bare:patients=70,slices=1"
    )
    assert ran.code == 0, ran.err
    assert "error ↓ was not scored: it compares with the truth, its masks or its source" in ran.out
    assert "real target slices" in ran.out
    assert matrix(tmp_path / "out")["remove"]["brightness"] == ""
    assert "The slices have no masks, so no structure can be damaged" in ran.out
    assert "failed" not in ran.out
    ran = stress("error", data="toy-bare:patients=70,slices=1")
    assert ran.code == 2
    assert "no metric can be scored on this data set (error: it compares with the truth" in ran.err


def test_what_cannot_be_done_is_said(stress: Callable[..., Any]) -> None:
    ran = stress("brightness", "--operator", "collapse=500")
    assert ran.code == 0
    assert "a collapse to 500 images was asked for, and there are" in ran.out
    for arguments, message in (
        (("brightnes",), "Did you mean 'brightness'"),
        (("brightness", "--operator", "blurr"), "Did you mean 'blur'"),
        (("brightness", "--levels", "4"), "4 is not in the range 5<=x<=10"),
    ):
        ran = stress(*arguments)
        assert ran.code == 2
        assert message in ran.err


def test_operators_are_listed(run_cli: Callable[..., Any]) -> None:
    listed = run_cli("stress", "--list").out
    assert all(f"\n{name} " in f"\n{listed}" for name in OPERATORS)
    assert "misregister" in listed


def images(count: int = 6, size: int = 24, per_patient: int = 2, domain: str = "target") -> ImageSet:
    rng = np.random.default_rng(len(domain))
    slices = tuple(
        Slice(f"{domain}{i}", f"{domain}p{i // per_patient}", "c", i % per_patient, (1.0, 1.0)) for i in range(count)
    )
    masks = np.zeros((count, size, size), np.uint8)
    masks[:, 8:14, 3:9] = masks[:, 8:14, 11:17] = 1
    pixels = rng.integers(40, 200, (count, size, size)).astype(np.uint8)
    return ImageSet(pixels, slices, masks, Task("made", labels={1: "blob"}), domain, "test")  # type: ignore[arg-type]


def made() -> Material:
    task, others, sources = Task("made", labels={1: "blob"}), images(domain="other"), images(domain="source")
    return Material(task, images(), images(), others, sources, "made")


def test_damage_keeps_the_range_and_the_original_masks() -> None:
    for operator in OPERATORS.values():
        strength = operator.strengths(5, 6)[-1]
        one, other = (damage(made(), operator, strength, 0) for _ in range(2))
        np.testing.assert_array_equal(one.candidate.images, other.candidate.images)
        assert one.candidate.images.dtype == np.uint8
        assert one.candidate.images.shape == (6, 24, 24)
        np.testing.assert_array_equal(one.candidate.masks, made().masks)
        assert 0 < one.facts.changed <= one.facts.slices == 6
        if operator.family == "registration":
            np.testing.assert_array_equal(one.candidate.images, made().candidate.images)
            assert not np.array_equal(one.truth.images, made().candidate.images)
            assert not np.array_equal(one.masks, made().masks)
        if operator.effect == "image_only":
            assert one.facts.overlap == 1
            assert one.facts.displacement == 0
    bright = damage(made(), OPERATORS["offset"], 1.0, 0)
    assert bright.facts.clamped == pytest.approx(1.0)
    assert damage(made(), OPERATORS["noise"], 0.1, 0).candidate.images.tolist() != (
        damage(made(), OPERATORS["noise"], 0.1, 1).candidate.images.tolist()
    )


def test_overlap_is_dice_over_labels() -> None:
    before, after = np.zeros((1, 4, 4), np.uint8), np.zeros((1, 4, 4), np.uint8)
    before[0, 0], after[0, 0, :2], after[0, 1] = 1, 1, 2
    assert overlap(after, before) == pytest.approx(2 * 2 / (6 + 4))
    assert overlap(None, before) is None


def test_a_limit_of_slices_keeps_the_patients() -> None:
    kept = _at_most(images(12, per_patient=4), 6)
    assert len(set(kept.patients)) == 3
    assert [s.index for s in kept.slices] == [1, 2, 1, 2, 1, 2]
    assert len(_at_most(replace(images()), 100)) == 6
