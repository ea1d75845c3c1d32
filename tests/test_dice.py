"""Dice per slice, per patient and per region."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from mtbench import DataError, ImageSet, MetricInputs, Score, Slice, Task
from mtbench.compute.context import Context
from mtbench.registry.discovery import discover
from mtbench_plugins.metrics.overlap import Dice

TASK = Task("toy", labels={1: "breast", 2: "fgt"}, regions={"breast": (1, 2), "fgt": (2,)})


def inputs(
    predicted: NDArray[Any], reference: NDArray[Any], per_patient: int = 2, cases: int = 1, task: Task = TASK
) -> MetricInputs:
    n = len(predicted)
    slices = tuple(
        Slice(f"s{i}", f"p{i // per_patient}", f"c{i // per_patient}-{i % cases}", i // cases) for i in range(n)
    )
    images = ImageSet(np.zeros((n, *predicted.shape[1:]), np.uint8), slices, None, task, "source", "test")
    guess, true = predicted.astype(np.uint8), reference.astype(np.uint8)
    return MetricInputs(task, images, predicted_masks=guess, reference_masks=true)


def by_label(scores: list[Score] | Any) -> dict[str, Score]:
    return {s.label: s for s in scores}


def random_masks(n: int = 6, seed: int = 0) -> tuple[NDArray[Any], NDArray[Any]]:
    rng = np.random.default_rng(seed)
    return rng.integers(0, 3, (n, 9, 11)), rng.integers(0, 3, (n, 9, 11))


def plain(predicted: NDArray[Any], reference: NDArray[Any], values: tuple[int, ...], smooth: float = 1e-4) -> float:
    p, t = np.isin(predicted, values), np.isin(reference, values)
    return float((2 * (p & t).sum() + smooth) / (p.sum() + t.sum() + smooth))


def test_per_slice_is_the_mean_over_slices() -> None:
    predicted, reference = random_masks()
    scores = by_label(Dice().compute(inputs(predicted, reference), Context()))
    assert list(scores) == ["breast", "fgt"]
    for region, values in TASK.regions.items():
        each = [plain(p, t, values) for p, t in zip(predicted, reference, strict=True)]
        assert scores[region].value == pytest.approx(np.mean(each), abs=1e-12)
        cases = scores[region].cases
        assert cases is not None
        np.testing.assert_allclose(cases.values, each)
        assert (cases.by, cases.ids[3], cases.patients[3]) == ("slice", "s3", "p1")


def test_per_patient_counts_the_volume_and_averages_a_patients_volumes() -> None:
    predicted, reference = random_masks(8)
    whole = by_label(Dice(per="patient").compute(inputs(predicted, reference, per_patient=4), Context()))["fgt"]
    each = [plain(predicted[i : i + 4], reference[i : i + 4], (2,)) for i in (0, 4)]
    assert whole.value == pytest.approx(np.mean(each), abs=1e-12)
    assert whole.cases is not None
    assert (whole.cases.by, whole.cases.ids) == ("patient", ("p0", "p1"))
    two = by_label(Dice(per="patient").compute(inputs(predicted, reference, 4, cases=2), Context()))["fgt"]
    first = np.mean([plain(predicted[i:4:2], reference[i:4:2], (2,)) for i in (0, 1)])
    assert two.cases is not None
    assert two.cases.values[0] == pytest.approx(first, abs=1e-12)
    assert two.cases.ids == ("p0", "p1")


def test_the_rule_for_empty_masks() -> None:
    predicted, reference = np.zeros((3, 4, 4)), np.zeros((3, 4, 4))
    predicted[0, 0, 0] = reference[0, 0, 0] = 2  # agreement
    predicted[1, 0, 0] = 2  # found where there is none
    metric_inputs = inputs(predicted, reference, per_patient=1)
    one = by_label(Dice(empty="1").compute(metric_inputs, Context()))["fgt"]
    skip = by_label(Dice(empty="skip").compute(metric_inputs, Context()))["fgt"]
    false_alarm = 1e-4 / (1 + 1e-4)
    assert one.value == pytest.approx((1 + false_alarm + 1) / 3, abs=1e-12)
    assert skip.value == pytest.approx((1 + false_alarm) / 2, abs=1e-12)
    assert skip.cases is not None
    assert np.isnan(skip.cases.values).tolist() == [False, False, True]
    without = by_label(Dice(smooth=0.0).compute(metric_inputs, Context()))["fgt"]
    assert without.value == pytest.approx(2 / 3, abs=1e-12)


def test_nothing_to_average_is_an_error() -> None:
    nothing = inputs(np.zeros((2, 4, 4)), np.zeros((2, 4, 4)))
    with pytest.raises(DataError, match="no slice has a value for 'breast'"):
        Dice(empty="skip").compute(nothing, Context())


def test_masks_that_do_not_fit() -> None:
    metric_inputs = inputs(np.zeros((2, 4, 4)), np.zeros((2, 4, 5)))
    with pytest.raises(DataError, match=r"\(2, 4, 4\).*\(2, 4, 5\)"):
        Dice().compute(metric_inputs, Context())
    with pytest.raises(DataError, match="has no labels"):
        Dice().compute(inputs(np.zeros((2, 4, 4)), np.zeros((2, 4, 4)), task=Task("bare")), Context())


def test_agrees_with_monai() -> None:
    import torch
    from monai.metrics import compute_dice

    predicted, reference = random_masks(seed=3)
    theirs = compute_dice(torch.from_numpy(predicted == 2)[:, None], torch.from_numpy(reference == 2)[:, None])
    ours = by_label(Dice(smooth=0.0).compute(inputs(predicted, reference), Context()))["fgt"]
    assert ours.value == pytest.approx(float(theirs.mean()), abs=1e-6)


def test_spec() -> None:
    registry = discover(third_party=False)
    spec = registry.get("metric", "dice").spec
    defaults = registry.get("metric", "dice").complete({})
    assert spec.printed_variant(defaults) == "slice"
    assert spec.printed_variant({**defaults, "per": "patient"}) == "patient"
    assert spec.printed_variant({**defaults, "empty": "skip"}) == "slice,skip"
    assert spec.higher_is_better
    assert isinstance(registry.get("metric", "dice").create(defaults), Dice)
