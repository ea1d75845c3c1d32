"""Intervals: arithmetic that is known, invariances, refusals, and a small simulation of their coverage."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from mtbench import Cases, DataError, ImageSet, MetricInputs, Score, Slice, Task
from mtbench.compute.context import Context
from mtbench.stages.intervals import (
    Measure,
    Positions,
    averaged_over_draws,
    cases_interval,
    jackknife,
    measure_of,
    subsample,
)
from mtbench_plugins.metrics.class_spread import split_scores
from mtbench_plugins.metrics.frechet import frechet_distance
from mtbench_plugins.metrics.kernel_distance import discrepancy
from mtbench_plugins.metrics.resampling import class_spread_measure, frechet_measure, kernel_measure, split_numbers
from mtbench_plugins.metrics.sliced_wasserstein import SlicedWasserstein


def cases(values: NDArray[Any], patients: list[str] | None = None) -> Cases:
    names = tuple(patients or [f"p{i}" for i in range(len(values))])
    return Cases("slice", tuple(map(str, range(len(values)))), names, np.asarray(values, np.float64))


def owners(patients: int, slices: int = 3, prefix: str = "c") -> list[str]:
    return [f"{prefix}{i}" for i in range(patients) for _ in range(slices)]


def of(values: NDArray[Any], positions: Positions | None) -> NDArray[Any]:
    return values if positions is None else values[positions]


def mean_difference(x: NDArray[Any], y: NDArray[Any]) -> Measure:
    return lambda c, r: float(of(x, c).mean() - of(y, r).mean())


# means of cases


def test_one_case_a_patient_has_the_textbook_standard_error() -> None:
    values = np.random.default_rng(0).normal(0.7, 0.1, 25)
    interval = cases_interval(cases(values))
    assert interval.stderr == pytest.approx(values.std(ddof=1) / 5)
    assert interval.low is not None
    assert interval.high is not None
    half = stats.t.ppf(0.975, 24) * values.std(ddof=1) / 5
    assert interval.low == pytest.approx(values.mean() - half, abs=0.01)
    assert interval.high == pytest.approx(values.mean() + half, abs=0.01)


def test_slices_of_a_patient_count_as_one_patient() -> None:
    values = np.random.default_rng(0).normal(0.7, 0.1, 12)
    once = cases_interval(cases(values))
    copies = cases_interval(cases(np.repeat(values, 9), owners(12, 9)))
    assert copies.low == pytest.approx(once.low, abs=0.01)
    assert copies.stderr == pytest.approx(once.stderr)
    naive = cases_interval(cases(np.repeat(values, 9)))
    assert copies.stderr is not None
    assert naive.stderr is not None
    assert copies.stderr > 2 * naive.stderr


def test_cases_without_a_value_are_left_out() -> None:
    values = np.random.default_rng(0).uniform(size=20)
    padded = np.concatenate([values, [np.nan] * 4])
    names = [f"p{i}" for i in [*range(20), 3, 4, 98, 99]]
    assert cases_interval(cases(padded, names)) == cases_interval(cases(values))


def test_seeded_and_inside_the_range_of_values() -> None:
    values = np.array([1.0] * 11 + [0.2])
    interval = cases_interval(cases(values), seed=3)
    assert interval == cases_interval(cases(values), seed=3)
    assert interval != cases_interval(cases(np.random.default_rng(1).uniform(size=12)), seed=3)
    assert interval.low is not None
    assert interval.high is not None
    assert 0.2 <= interval.low < 0.8
    assert interval.high == 1.0


def test_equal_values_have_no_width() -> None:
    interval = cases_interval(cases(np.ones(15)))
    assert (interval.low, interval.high, interval.stderr) == (1.0, 1.0, 0.0)


def test_a_higher_level_is_wider() -> None:
    values = cases(np.random.default_rng(0).uniform(size=30))
    narrow, wide = cases_interval(values, level=0.8), cases_interval(values, level=0.99)
    assert narrow.low is not None
    assert narrow.high is not None
    assert wide.low is not None
    assert wide.high is not None
    assert wide.low < narrow.low < narrow.high < wide.high


# functions of sets


def test_jackknife_of_a_mean_difference_is_exact() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=36), rng.normal(2, 3, size=60)
    means_x, means_y = x.reshape(12, 3).mean(axis=1), y.reshape(20, 3).mean(axis=1)
    stderr = np.sqrt(means_x.var(ddof=1) / 12 + means_y.var(ddof=1) / 20)
    for pairs in (0, 40):
        # A mean has no second-order part: the correction finds none.
        (interval,) = jackknife(mean_difference(x, y), owners(12), owners(20, prefix="r"), pairs=pairs)
        assert interval.stderr == pytest.approx(stderr)
    (plain,) = jackknife(mean_difference(x, y), owners(12), owners(20, prefix="r"), pairs=0)
    assert plain.low == pytest.approx(x.mean() - y.mean() - stats.t.ppf(0.975, 11) * stderr)


def test_correction_takes_off_half_of_what_the_jackknife_counts_twice() -> None:
    rng = np.random.default_rng(0)
    values: list[float] = []
    errors: dict[int, list[float]] = {0: [], 40: []}
    for _ in range(300):
        x, y = rng.normal(size=(12, 8)), rng.normal(size=(12, 8))

        def measure(c: Positions | None, r: Positions | None, x: Any = x, y: Any = y) -> float:
            # The squared distance of equal means: its spread is of second order only.
            return float(np.sum((of(x, c).mean(axis=0) - of(y, r).mean(axis=0)) ** 2))

        values.append(measure(None, None))
        for pairs, result in errors.items():
            (interval,) = jackknife(measure, owners(12, 1), owners(12, 1, "r"), pairs=pairs)
            assert interval.stderr is not None
            result.append(interval.stderr**2)
    true = float(np.var(values))
    assert np.mean(errors[0]) > 1.6 * true
    assert 1.2 * true < np.mean(errors[40]) < 1.8 * true
    assert np.mean(errors[40]) < 0.85 * np.mean(errors[0])


def test_a_patient_on_both_sides_is_left_out_of_both_at_once() -> None:
    rng = np.random.default_rng(0)
    person = rng.normal(0, 5, 15).repeat(3)
    x, y = person + rng.normal(size=45), person + rng.normal(size=45)
    (paired,) = jackknife(mean_difference(x, y), owners(15), owners(15))
    differences = (x - y).reshape(15, 3).mean(axis=1)
    assert paired.stderr == pytest.approx(differences.std(ddof=1) / np.sqrt(15))
    (apart,) = jackknife(mean_difference(x, y), owners(15), owners(15, prefix="r"))
    assert apart.stderr is not None
    assert apart.stderr > 4 * paired.stderr  # type: ignore[operator]


def test_one_sided_and_several_numbers() -> None:
    x = np.random.default_rng(0).normal(size=(30, 2))
    result = jackknife(lambda c, r: of(x, c).mean(axis=0), owners(10))
    assert len(result) == 2
    for interval, column in zip(result, x.T, strict=True):
        assert interval.stderr == pytest.approx(column.reshape(10, 3).mean(axis=1).std(ddof=1) / np.sqrt(10))


def test_subsample_of_a_mean_difference() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=90), rng.normal(size=60)
    (interval,) = subsample(mean_difference(x, y), owners(30), owners(20, prefix="r"), draws=2000)
    (exact,) = jackknife(mean_difference(x, y), owners(30), owners(20, prefix="r"))
    assert interval.stderr == pytest.approx(exact.stderr, rel=0.1)
    assert subsample(mean_difference(x, y), owners(30), owners(20, prefix="r"), draws=50, seed=1) == subsample(
        mean_difference(x, y), owners(30), owners(20, prefix="r"), draws=50, seed=1
    )


@pytest.mark.parametrize("method", [jackknife, subsample])
def test_too_few_patients(method: Any) -> None:
    x = np.arange(60.0)
    (one,) = method(mean_difference(x, x), owners(9), owners(20, prefix="r"))
    assert (one.low, one.high, one.stderr) == (None, None, None)
    assert one.reason == "only 9 candidate patients; an interval needs 10"
    (both,) = method(mean_difference(x, x), owners(4), owners(1, prefix="r"))
    assert both.reason == "only 4 candidate patients and 1 reference patients; an interval needs 10"
    assert cases_interval(cases(np.ones(9))).reason == "only 9 patients; an interval needs 10"


def test_a_metric_that_fails_without_some_patients_has_no_interval() -> None:
    def measure(c: Positions | None, r: Positions | None) -> float:
        if c is not None:
            raise DataError("needs them all")
        return 1.0

    (interval,) = jackknife(measure, owners(10), owners(10, prefix="r"))
    assert interval.low is None
    assert "needs them all" in interval.reason
    (endless,) = jackknife(lambda c, r: 1.0 if c is None else np.nan, owners(10))
    assert "not finite" in endless.reason


def test_averaging_over_draws() -> None:
    x, y = np.arange(20.0), np.zeros(8)
    seen = []

    def measure(c: Positions | None, r: Positions | None) -> float:
        assert c is not None
        assert r is not None
        seen.append((set(c.tolist()), set(r.tolist())))
        return float(of(x, c).mean() - of(y, r).mean())

    averaged = averaged_over_draws(measure, 20, 8, draws=4)
    value = averaged(None, None)
    assert len(seen) == 4
    assert all(len(c) == len(r) == 8 for c, r in seen)
    assert len({frozenset(c) for c, _ in seen}) > 1
    assert averaged(None, None) == value
    whole = [c for c, _ in seen[:4]]
    seen.clear()
    out = 3
    averaged(np.delete(np.arange(20), out), None)
    for before, (after, _) in zip(whole, seen, strict=True):
        assert out not in after
        assert len(before & after) >= 7


def images(patients: int, prefix: str, seed: int) -> ImageSet:
    rng = np.random.default_rng(seed)
    gain = rng.uniform(20, 60, patients).repeat(3)[:, None, None]
    values = np.clip(100 + gain * rng.normal(size=(3 * patients, 16, 16)), 0, 255).astype(np.uint8)
    names = owners(patients, prefix=prefix)
    slices = tuple(Slice(f"{prefix}{i}", name, name) for i, name in enumerate(names))
    return ImageSet(values, slices, None, Task("toy"), "target", "test")


def test_through_the_inputs_of_a_metric_and_its_faster_resampling() -> None:
    inputs = MetricInputs(Task("toy"), candidate=images(10, "c", 0), reference=images(12, "r", 1))
    metric, context = SlicedWasserstein(directions=32, patches=32), Context(threads=1)
    anew = measure_of(inputs, lambda part: metric.compute(part, context))
    fast = metric.resample(inputs, context)
    for c, r in ((None, None), (np.arange(3, 30), None), (None, np.arange(30)), (np.arange(20), np.arange(6, 36))):
        assert fast(c, r) == pytest.approx(float(np.asarray(anew(c, r))[0]), rel=1e-5)
    patients = (inputs.candidate.patients, inputs.reference.patients)  # type: ignore[union-attr]
    (slow_interval,), (fast_interval,) = (jackknife(m, *patients, pairs=5) for m in (anew, fast))
    assert fast_interval.stderr == pytest.approx(slow_interval.stderr, rel=1e-2)
    assert isinstance(metric.compute(inputs, context), Score)


@pytest.mark.parametrize("width", [8, 64])
def test_faster_measures_are_the_metrics(width: int) -> None:
    rng = np.random.default_rng(0)
    x, y = rng.normal(3, 1, (30, width)), rng.normal(3.3, 1.2, (25, width))
    fast_fid, fast_kid = frechet_measure(x, y), kernel_measure(x, y)
    for c, r in ((None, None), (np.arange(4, 30), None), (None, np.arange(20)), (np.arange(25), np.arange(3, 25))):
        assert fast_fid(c, r) == pytest.approx(frechet_distance(of(x, c), of(y, r)), rel=1e-6)
        assert fast_kid(c, r) == pytest.approx(discrepancy(of(x, c), of(y, r)).value, rel=1e-9)
    order = np.random.RandomState(2020).permutation(30)
    shuffled = class_spread_measure(x, split_numbers(order, 4))
    assert shuffled(None, None) == pytest.approx(split_scores(x, 4).mean(), rel=1e-9)
    split = split_numbers(np.arange(30), 3)
    fast_is = class_spread_measure(x, split)
    assert fast_is(None, None) == pytest.approx(split_scores(x, 3, shuffle=False).mean(), rel=1e-9)
    without = np.arange(4, 30)
    parts = [split_scores(x[without][split[without] == s], 1)[0] for s in range(3)]
    assert fast_is(without, None) == pytest.approx(np.mean(parts), rel=1e-9)
    assert fast_is(np.arange(20), None) == pytest.approx(np.mean([split_scores(x[:10], 1), split_scores(x[10:20], 1)]))


@pytest.mark.parametrize("patients", [10, 20])
def test_coverage_of_means_of_skewed_cases(patients: int) -> None:
    rng = np.random.default_rng(patients)
    runs = []
    for seed in range(200):
        person = rng.normal(0, 0.9, patients).repeat(8)
        values = 1 / (1 + np.exp(-(2.2 + person + 0.5 * rng.normal(size=8 * patients))))
        runs.append((values.mean(), cases_interval(cases(values, owners(patients, 8)), seed=seed, draws=500)))
    truth = np.mean([value for value, _ in runs])
    held = np.mean([i.low <= truth <= i.high for _, i in runs])
    assert 0.89 <= held <= 0.99
