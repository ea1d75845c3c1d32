"""Precision, recall, density and coverage, against the package ``prdc`` and against loops over single distances."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from mtbench import Context, DataError, ImageSet, MetricInputs, Slice, Task
from mtbench_plugins.metrics.manifolds import Prdc, overlap
from mtbench_plugins.metrics.neighbours import nearest, owners, points, radii
from mtbench_plugins.metrics.prdc import mtbench_metrics

Sets = tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]


def normal(n: int, m: int, width: int, shift: float, spread: float) -> Sets:
    rng = np.random.default_rng(7)
    return rng.normal(size=(n, width)), shift + spread * rng.normal(size=(m, width))


def alone(features: np.ndarray[Any, Any]) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, np.dtype[np.int64]]]:
    return features, np.arange(len(features))


def images(patients: list[str], name: str) -> ImageSet:
    slices = tuple(Slice(f"{name}{at}", patient, patient) for at, patient in enumerate(patients))
    pixels = np.zeros((len(slices), 2, 2), np.uint8)
    return ImageSet(pixels, slices, None, Task("t"), "source", "test")


def inputs(real: Any, made: Any, real_patients: list[str], made_patients: list[str]) -> MetricInputs:
    features = {"candidate": {"pool": made}, "reference": {"pool": real}}
    return MetricInputs(Task("t"), images(made_patients, "c"), reference=images(real_patients, "r"), features=features)


def slowly(real: Any, made: Any, real_patients: list[str], made_patients: list[str], k: int) -> list[float]:
    """The four definitions, written out pair by pair."""

    def radius(rows: Any, patients: list[str], at: int) -> float:
        others = [np.linalg.norm(rows[at] - rows[j]) for j in range(len(rows)) if patients[j] != patients[at]]
        return float(sorted(others)[k - 1])

    of_real = [radius(real, real_patients, i) for i in range(len(real))]
    of_made = [radius(made, made_patients, j) for j in range(len(made))]
    pairs = [[float(np.linalg.norm(x - y)) for y in made] for x in real]
    n, m = range(len(real)), range(len(made))
    return [
        sum(any(pairs[i][j] < of_real[i] for i in n) for j in m) / len(made),
        sum(any(pairs[i][j] < of_made[j] for j in m) for i in n) / len(real),
        sum(pairs[i][j] < of_real[i] for i in n for j in m) / (k * len(made)),
        sum(min(pairs[i]) < of_real[i] for i in n) / len(real),
    ]


@pytest.mark.parametrize(
    ("sets", "k", "expected"),
    [
        ((60, 50, 8, 0.3, 1.0), 3, (0.76, 0.7333333333333333, 0.72, 0.7166666666666667)),
        ((200, 150, 16, 0.2, 0.8), 5, (1.0, 0.505, 2.12, 0.965)),
    ],
)
def test_equal_to_the_package_prdc_0_2(sets: Any, k: int, expected: tuple[float, ...]) -> None:
    real, made = normal(*sets)
    assert overlap(*points([alone(real), alone(made)]), k).values() == pytest.approx(expected, abs=1e-12)


def test_neighbours_are_slices_of_other_patients_where_patients_are_known() -> None:
    real, made = normal(24, 18, 5, 0.2, 1.0)
    real += np.repeat(3 * np.random.default_rng(1).normal(size=(8, 5)), 3, axis=0)  # a patient's slices are alike
    patients = [f"r{i // 3}" for i in range(24)], [f"c{i // 3}" for i in range(18)]
    given = inputs(real, made, *patients)
    metric = Prdc(2, "other-patients", extractor="inception-fid", array=None)
    values = [score.value for score in metric.compute(given, Context())]
    assert values == pytest.approx(slowly(real, made, *patients, 2), abs=1e-12)
    singles = [str(i) for i in range(24)], [str(i) for i in range(18)]
    everybody = [s.value for s in Prdc(2, "all", extractor="x", array="pool").compute(given, Context())]
    assert everybody == pytest.approx(slowly(real, made, *singles, 2), abs=1e-12)
    assert values != everybody
    unknown = metric.compute(inputs(real, made, [""] * 24, [""] * 18), Context())
    assert [score.value for score in unknown] == everybody
    assert "patients not known" in unknown[0].note


def test_intervals_measure_what_compute_measures() -> None:
    real, made = normal(24, 18, 5, 0.2, 1.0)
    patients = [f"r{i // 3}" for i in range(24)], [f"c{i // 3}" for i in range(18)]
    given, metric = inputs(real, made, *patients), Prdc(2, "other-patients", extractor="inception-fid", array=None)
    measure = metric.resample(given, Context())
    chosen = np.arange(3, 18), np.arange(21)
    for candidates, references in ((None, None), chosen):
        part = given.select(candidates, references)
        expected = [score.value for score in metric.compute(part, Context())]
        assert np.asarray(measure(candidates, references)).tolist() == pytest.approx(expected, abs=1e-12)


def test_equal_sets_have_the_values_that_ties_outside_of_the_ball_give() -> None:
    real, _ = normal(40, 2, 6, 0.0, 1.0)
    shifted = real + 1e4  # far from the origin, where squared distances lose digits
    result = overlap(*points([alone(shifted), alone(shifted.copy())]), 4)
    # Each slice lies in its own ball and in those of k - 1 neighbours; the k-th is on the border, outside.
    assert result.values() == (1.0, 1.0, 1.0, 1.0)


def test_copies_have_empty_neighbourhoods() -> None:
    real = np.repeat(np.eye(3), 3, axis=0)
    assert overlap(*points([alone(real), alone(real)]), 2).values() == (0.0, 0.0, 0.0, 0.0)


def test_coverage_of_equal_distributions_has_its_expected_value() -> None:
    # Naeem et al. 2020, on hyperparameters, for N = M: 1 - (N - 1) ... (N - k) / ((2 N - 1) ... (2 N - k)).
    rng, n, k = np.random.default_rng(0), 40, 3
    found = np.mean(
        [overlap(*points([alone(rng.normal(size=(n, 4))) for _ in range(2)]), k).coverage for _ in range(200)]
    )
    expected = 1 - np.prod([(n - i) / (2 * n - i) for i in range(1, k + 1)])
    assert found == pytest.approx(expected, abs=0.015)


def test_too_few_patients_and_numbers_that_are_not_finite_are_refused() -> None:
    real, made = normal(6, 6, 3, 0.0, 1.0)
    with pytest.raises(DataError, match="at least k = 4"):
        radii(points([(real, np.array([0, 0, 0, 1, 1, 1]))])[0], 4)
    made[2, 1] = np.nan
    with pytest.raises(DataError, match="NaN"):
        points([alone(real), alone(made)])
    with pytest.raises(DataError, match="of 3 and of 4"):
        points([alone(real), alone(np.zeros((4, 4)))])


def test_tiles_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    real, made = normal(50, 41, 6, 0.1, 1.0)
    numbers = owners([str(i // 2) for i in range(50)], [str(i) for i in range(41)])
    sets = list(zip((real, made), numbers, strict=True))
    whole = overlap(*points(sets), 3).values()
    nearest_whole = nearest(*points(sets))
    monkeypatch.setattr("mtbench_plugins.metrics.neighbours._ROWS", 7)
    assert overlap(*points(sets), 3).values() == whole
    assert nearest(*points(sets)).numpy() == pytest.approx(nearest_whole.numpy(), rel=1e-9)


def test_the_heading_names_what_differs_from_the_publication() -> None:
    (spec,) = mtbench_metrics()
    defaults = {name: param.default for name, param in spec.params.items()}
    assert spec.printed_variant({**defaults, "neighbours": "all"}) == ""
    assert spec.printed_variant(defaults) == "other-patients"
    assert spec.printed_variant({**defaults, "extractor": "radiomics", "k": 3}) == "radiomics,other-patients,k=3"
