"""Lesions one by one, and what was added or removed: against panoptica, and values computed by hand."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import panoptica_reference as panoptica
import pytest
from numpy.typing import NDArray

from mtbench import DataError, ImageSet, MetricInputs, Score, Slice, Task
from mtbench.compute.context import Context
from mtbench.registry.discovery import discover
from mtbench_plugins.metrics.lesion_scores import LesionError, LesionScore
from mtbench_plugins.metrics.structure_changes import Changes

TASK = Task("toy", labels={1: "lesion"})
GOLDEN: dict[str, Any] = json.loads(panoptica.FILE.read_text())["cases"]
Spacing = tuple[float, float, float] | None
Volume = tuple[NDArray[np.uint8], NDArray[np.uint8]]


def inputs(*volumes: Volume, spacing: Spacing = (3.0, 0.5, 1.25), task: Task = TASK, **about: Any) -> MetricInputs:
    """Volumes of one patient each, or of ``patients``; ``indices`` numbers the slices of each."""
    patients = about.get("patients", [f"p{i}" for i in range(len(volumes))])
    pixels, thickness = ((spacing[1], spacing[2]), spacing[0]) if spacing else (None, None)
    slices = tuple(
        Slice(f"{v}-{i}", patients[v], f"case{v}", i, pixels, about.get("thickness", thickness))
        for v, (predicted, _) in enumerate(volumes)
        for i in about.get("indices", range(len(predicted)))
    )
    predicted, reference = (np.concatenate([volume[side] for volume in volumes]) for side in (0, 1))
    images = ImageSet(np.zeros(predicted.shape, np.uint8), slices, None, task, "source", "test")
    return MetricInputs(task, images, predicted_masks=predicted, reference_masks=reference)


def only(scores: Any) -> Score:
    (score,) = scores
    assert isinstance(score, Score)
    return score


def lesions(*volumes: Volume, **settings: Any) -> Score:
    about = {name: settings.pop(name) for name in ("spacing", "patients", "indices", "thickness") if name in settings}
    return only(LesionScore(**settings).compute(inputs(*volumes, **about), Context()))


def mask(*boxes: tuple[int, int, int, int], slices: int = 4) -> NDArray[np.uint8]:
    """Boxes of two slices: first slice, first row, first column, and side in pixels."""
    labels = np.zeros((slices, 32, 32), np.uint8)
    for first, row, column, side in boxes:
        labels[first : first + 2, row : row + side, column : column + side] = 1
    return labels


A, B, C = (0, 2, 2, 4), (2, 12, 12, 6), (0, 24, 24, 5)
NONE = mask()


@pytest.mark.parametrize("overlap", panoptica.OVERLAPS)
@pytest.mark.parametrize("seed", panoptica.SEEDS)
def test_agrees_with_panoptica(seed: int, overlap: float) -> None:
    theirs = GOLDEN[f"{seed} {overlap:g}"]
    volume = panoptica.volumes(seed)
    tp, fp, fn = theirs["tp"], theirs["fp"], theirs["fn"]
    expected = {
        "recall": tp / (tp + fn),
        "precision": tp / (tp + fp),
        "f1": theirs["f1"],
        # Theirs is the mean over pairs; ours counts what was missed or invented as 0.
        "dice": theirs["dice"] * tp / (tp + fp + fn),
    }
    assert {
        score: lesions(volume, score=score, overlap=overlap, spacing=panoptica.SPACING).value for score in expected
    } == pytest.approx(expected, abs=1e-9)
    for error in ("volume", "location"):
        ours = LesionError(error=error, overlap=overlap).compute(inputs(volume, spacing=panoptica.SPACING), Context())
        assert only(ours).value == pytest.approx(theirs[error], abs=1e-9)


def test_a_patient_is_the_mean_of_its_volumes() -> None:
    found, half = (mask(A), mask(A)), (mask(A), mask(A, B))
    score = lesions(found, half, half, score="recall", patients=["p", "p", "q"])
    assert score.cases is not None
    assert score.cases.ids == ("p", "q")
    assert score.cases.values.tolist() == [0.75, 0.5]
    assert score.value == 0.625
    volumes = lesions(found, half, half, score="recall", patients=["p", "p", "q"], per="volume")
    assert volumes.cases is not None
    assert volumes.cases.values.tolist() == [1.0, 0.5, 0.5]
    assert score.note == "3 of 5 matched (IoU >= 0.1), 0 without reference"


@pytest.mark.parametrize(
    ("predicted", "reference", "expected"),
    [
        # recall, precision, f1, dice
        (NONE, NONE, (None, None, 1.0, 1.0)),
        (mask(A), NONE, (None, 0.0, 0.0, 0.0)),
        (NONE, mask(A), (0.0, None, 0.0, 0.0)),
        (mask(A), mask(A), (1.0, 1.0, 1.0, 1.0)),
    ],
)
def test_empty_on_both_sides_or_on_one(predicted: Any, reference: Any, expected: tuple[float | None, ...]) -> None:
    other = (mask(A), mask(A, B))  # recall and dice 1/2, precision 1, f1 2/3
    whole = {"recall": 0.5, "precision": 1.0, "f1": 2 / 3, "dice": 0.5}
    for (score, value), mine in zip(whole.items(), expected, strict=True):
        got = lesions((predicted, reference), other, score=score)
        assert got.value == pytest.approx(value if mine is None else (value + mine) / 2)
        assert ("1 of 2 volumes skipped: no" in got.note) == (mine is None)
    if not predicted.any() and not reference.any():
        assert lesions((predicted, reference), other, empty="skip").value == pytest.approx(2 / 3)


def test_nothing_to_average_is_an_error() -> None:
    with pytest.raises(DataError, match="lesions: no patient has a value for 'lesion'"):
        lesions((mask(A), NONE), score="recall")


def test_size_classes_go_by_the_reference_and_by_what_was_invented() -> None:
    # A voxel is 1 mm3: 32, 72 and 50 voxels are balls of 3.94, 5.16 and 4.57 mm.
    volume = (mask(A, C), mask(A, B))
    of = {"medium_from": 4.2, "large_from": 5.0, "spacing": (1.0, 1.0, 1.0)}
    assert lesions(volume, score="recall", size="small", **of).value == 1.0
    assert lesions(volume, score="recall", size="large", **of).value == 0.0
    assert lesions(volume, score="precision", size="medium", **of).value == 0.0
    assert lesions(volume, score="f1", size="large", **of).value == 0.0
    with pytest.raises(DataError, match="no patient has a value"):
        lesions(volume, score="recall", size="medium", **of)
    with pytest.raises(DataError, match="medium lesions begin at 9 mm and large ones at 5 mm"):
        lesions(volume, size="large", medium_from=9.0, large_from=5.0)
    with pytest.raises(DataError, match="no diameter in mm"):
        lesions(volume, size="large", spacing=None)


def test_errors_are_in_mm_along_each_axis() -> None:
    there, moved = mask((0, 2, 2, 4)), mask((1, 3, 2, 4))  # one slice (3 mm) and one row (0.5 mm)
    error = only(LesionError(error="location").compute(inputs((moved, there)), Context()))
    assert error.value == pytest.approx(math.hypot(3.0, 0.5))
    assert error.note.startswith("in mm; 1 of 1 matched")
    pixels = only(LesionError(error="location").compute(inputs((moved, there), spacing=None), Context()))
    assert (pixels.value, pixels.note[:9]) == (pytest.approx(math.sqrt(2)), "in pixels")
    larger = mask((0, 2, 2, 5))
    assert only(LesionError().compute(inputs((larger, there)), Context())).value == pytest.approx(50 / 32 - 1)


def test_one_slice_is_a_volume_with_areas() -> None:
    flat = (mask((0, 2, 2, 4))[:1], mask((0, 2, 2, 4), (0, 20, 20, 4))[:1])
    # 16 pixels of 0.625 mm2: a disc of 3.57 mm.
    assert lesions(flat, score="recall", size="small", medium_from=3.6).value == 0.5
    with pytest.raises(DataError, match="no patient has a value"):
        lesions(flat, score="recall", size="small", medium_from=3.5)


def test_slices_one_by_one() -> None:
    score = lesions((mask(A), mask(A, B)), score="recall", per="slice")
    assert score.cases is not None
    np.testing.assert_array_equal(score.cases.values, [1.0, 1.0, 0.0, 0.0])
    assert score.cases.by == "slice"


def test_a_gap_separates_lesions_and_is_said() -> None:
    tall = np.zeros((4, 32, 32), np.uint8)
    tall[:, 2:6, 2:6] = 1
    split = lesions((tall, tall), score="recall", indices=(0, 1, 5, 6))
    assert split.note.startswith("2 of 2 matched")
    assert split.note.endswith("1 of 1 volumes lack slices")


def test_masks_that_do_not_fit() -> None:
    wrong = inputs((mask(A), mask(A)))
    with pytest.raises(DataError, match=r"lesions: predicted masks are \(4, 32, 32\)"):
        LesionScore().compute(
            MetricInputs(TASK, wrong.candidate, predicted_masks=mask(A), reference_masks=mask(A)[:3]), Context()
        )
    with pytest.raises(DataError, match="a mask holds the value 7, in 32 pixels"):
        LesionScore().compute(inputs((mask(A) * 7, mask(A) * 7)), Context())
    with pytest.raises(DataError, match="has no labels"):
        LesionScore().compute(inputs((mask(A), mask(A)), task=Task("bare")), Context())


# -- changes


def changes(*volumes: Volume, spacing: Spacing = (3.0, 0.5, 1.25), thickness: Any = 3.0, **settings: Any) -> Score:
    given = inputs(*volumes, spacing=spacing, **({} if thickness else {"thickness": None}))
    return only(Changes(**settings).compute(given, Context()))


def test_added_and_removed_are_volumes_of_each_patient() -> None:
    volumes = ((mask(A, C), mask(A, B)), (mask(A), mask(A)))
    added, removed = changes(*volumes), changes(*volumes, change="removed")
    for score, voxels in ((added, 50), (removed, 72)):
        assert score.cases is not None
        assert score.cases.values.tolist() == pytest.approx([voxels * 1.875 / 1000, 0.0])
        assert score.note == "in mL"


def test_the_unit_is_what_all_volumes_allow() -> None:
    volume = (mask(A, C), mask(A))
    assert changes(volume, thickness=None).note == "in mm2"
    assert changes(volume, thickness=None).value == pytest.approx(50 * 0.625)
    assert (changes(volume, spacing=None).note, changes(volume, spacing=None).value) == ("in pixels", 50.0)


def test_components_leave_contours_out() -> None:
    # A is 16 of 32 voxels larger at one side; C is new.
    volume = (mask((0, 2, 2, 5), C), mask(A))
    assert changes(volume).value == pytest.approx((18 + 50) * 1.875e-3)
    assert changes(volume, count="components").value == pytest.approx(50 * 1.875e-3)
    assert changes(volume, count="components", change="removed").value == 0.0


def test_a_region_that_no_mask_shows_is_unknown() -> None:
    task = Task("toy", labels={1: "lesion", 2: "organ"})
    scores = Changes().compute(inputs((mask(A, C) * 2, mask(A) * 1), task=task), Context())
    assert [(score.label, score.value) for score in scores] == [("lesion", 0.0)]
    assert "no predicted mask shows it: lost everywhere, or not a label of the segmenter" in scores[0].note
    with pytest.raises(DataError, match="changes: no reference mask shows lesion"):
        changes((mask(A), NONE))


# -- specs


@pytest.mark.parametrize(
    ("name", "settings", "variant"),
    [
        ("lesions", {}, "f1"),
        ("lesions", {"score": "recall", "size": "small"}, "recall,<7.5mm"),
        ("lesions", {"size": "medium", "per": "slice"}, "f1,slice,7.5-15mm"),
        ("lesions", {"size": "large", "overlap": 0.0, "empty": "skip"}, "f1,>=15mm,IoU>0,skip"),
        ("lesion-error", {"error": "location", "overlap": 0.5}, "location,IoU>=0.5"),
        ("changes", {}, "added"),
        ("changes", {"change": "removed", "count": "components", "overlap": 0.2}, "removed,components,IoU>=0.2"),
    ],
)
def test_variants(name: str, settings: dict[str, Any], variant: str) -> None:
    registration = discover(third_party=False).get("metric", name)
    assert registration.spec.printed_variant(registration.complete(settings)) == variant
