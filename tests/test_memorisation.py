"""``nearest-neighbour`` and ``nmi-source``: what a translation shares with a training slice, and with its source."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from skimage.metrics import normalized_mutual_information

from mtbench import Context, DataError, ImageSet, MetricInputs, Slice, Task
from mtbench_plugins.metrics.information import NmiSource, normalised_mutual_information
from mtbench_plugins.metrics.memorisation import NearestNeighbour

TASK = Task("t")


def images(patients: list[str], name: str, pixels: Any = None) -> ImageSet:
    slices = tuple(Slice(f"{name}{at}", patient, patient) for at, patient in enumerate(patients))
    return ImageSet(
        np.zeros((len(slices), 2, 2), np.uint8) if pixels is None else pixels, slices, None, TASK, "source", "test"
    )


def inputs(made: Any, held_out: Any, training: Any, owners: dict[str, list[str]]) -> MetricInputs:
    arrays = {"candidate": made, "reference": held_out, "training": training}
    names = {side: owners.get(side, [f"{side}{i}" for i in range(len(rows))]) for side, rows in arrays.items()}
    sets = {side: images(patients, side) for side, patients in names.items()}
    return MetricInputs(
        TASK,
        sets["candidate"],
        sets["reference"],
        training=sets["training"],
        features={side: {"pool": rows} for side, rows in arrays.items()},
    )


def share(**more: Any) -> NearestNeighbour:
    return NearestNeighbour(**{"share": 0.1, "extractor": "inception-fid", "array": None, **more})


def test_the_share_is_counted_below_the_distance_of_held_out_slices() -> None:
    rng = np.random.default_rng(3)
    training, held_out, made = (rng.normal(size=(n, 4)) for n in (30, 40, 25))
    made[:6] = training[:6] + 1e-3  # six copies
    score = share().compute(inputs(made, held_out, training, {}), Context())
    to_held_out, to_made = (
        [min(float(np.linalg.norm(row - seen)) for seen in training) for row in rows] for rows in (held_out, made)
    )
    threshold = sorted(to_held_out)[3] + 0.9 * (sorted(to_held_out)[4] - sorted(to_held_out)[3])  # at 0.1 x 39
    expected = [float(distance < threshold) for distance in to_made]
    assert score.cases is not None
    assert score.cases.values.tolist() == expected
    assert score.value == pytest.approx(sum(expected) / 25)
    assert expected[:6] == [1.0] * 6
    assert score.mark == ""
    assert "10.0% of 40 target test slices" in score.note


def test_a_model_without_memory_has_about_the_calibrated_share() -> None:
    rng = np.random.default_rng(4)
    values = [
        share().compute(inputs(*(rng.normal(size=(n, 5)) for n in (60, 60, 60)), {}), Context()).value
        for _ in range(40)
    ]
    assert np.mean(values) == pytest.approx(0.1, abs=0.025)


def test_training_slices_of_the_same_patient_do_not_count() -> None:
    rng = np.random.default_rng(5)
    training, held_out = rng.normal(size=(20, 3)), rng.normal(size=(20, 3))
    patients = [f"p{i // 2}" for i in range(20)]
    own = share().compute(
        inputs(training, held_out, training, {"candidate": patients, "training": patients}), Context()
    )
    others = share().compute(inputs(training, held_out, training, {"training": patients}), Context())
    assert others.value == 1.0  # each is its own copy
    assert own.value < 0.5


def test_a_threshold_from_few_slices_is_marked_and_one_patient_is_refused() -> None:
    rng = np.random.default_rng(6)
    sets = [rng.normal(size=(n, 3)) for n in (8, 8, 8)]
    score = share().compute(inputs(*sets, {}), Context())
    assert score.mark == "*"
    assert "fewer than 10 target test slices" in score.note
    with pytest.raises(DataError, match="two training patients"):
        share().compute(inputs(*sets, {"candidate": ["a"] * 8, "training": ["a"] * 8}), Context())


def test_mutual_information_equals_scikit_image_where_its_bins_are_ours() -> None:
    rng = np.random.default_rng(7)
    first = rng.uniform(size=(40, 30))
    second = np.clip(0.6 * first + 0.3 * rng.uniform(size=(40, 30)), 0, 1)
    for image in (first, second):
        image[0, :2] = 0, 1  # scikit-image's bins are equal parts of the range of values
    expected = normalized_mutual_information(first, second, bins=32)
    assert normalised_mutual_information(first, second, 32) == pytest.approx(expected, abs=1e-9)


def test_mutual_information_is_2_for_identity_and_1_for_independence() -> None:
    image = np.tile(np.linspace(0, 1, 16), (16, 1))
    assert normalised_mutual_information(image, image, 8) == 2.0
    assert normalised_mutual_information(image, 1 - image, 8) == 2.0
    assert normalised_mutual_information(image, image.T, 8) == pytest.approx(1.0)
    assert np.isnan(normalised_mutual_information(image, np.zeros_like(image), 8))


def test_the_source_is_compared_slice_by_slice_and_constant_slices_are_skipped() -> None:
    rng = np.random.default_rng(8)
    pixels = rng.integers(0, 256, (3, 12, 10)).astype(np.uint8)
    changed = pixels.copy()
    changed[1] = rng.permuted(changed[1].ravel()).reshape(12, 10)
    changed[2] = 7
    source = images(["a", "b", "c"], "s", pixels)
    given = MetricInputs(TASK, images(["a", "b", "c"], "s", changed), source=source)
    score = NmiSource(bins=16).compute(given, Context())
    assert score.cases is not None
    assert score.cases.values[0] == 2.0
    assert 1 < score.cases.values[1] < 1.7
    assert np.isnan(score.cases.values[2])
    assert score.value == pytest.approx((2 + score.cases.values[1]) / 2)
    assert score.note == "1 of 3 slices skipped: one grey level only"
    small = replace(given, source=images(["a", "b", "c"], "s", pixels[:, :8]))
    with pytest.raises(DataError, match="their source slices"):
        NmiSource(bins=16).compute(small, Context())
