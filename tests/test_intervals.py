"""Intervals: arithmetic that is known, invariances, refusals, and a small simulation of their coverage."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from mtbench import Cases, DataError, ImageSet, MetricInputs, MetricSpec, PluginError, Score, Slice, Task
from mtbench.compute.context import Context
from mtbench.compute.means import assumption_free_bound, patient_mean, totals
from mtbench.stages.intervals import (
    Measure,
    Positions,
    averaged_over_draws,
    cases_interval,
    jackknife,
    measure_of,
    subsample,
)
from mtbench.stages.scoring import score
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


def test_repeatable_and_inside_the_bounds_of_the_metric() -> None:
    values = np.array([1.0] * 11 + [0.2])
    interval = cases_interval(cases(values), bounds=(0.0, 1.0))
    assert interval == cases_interval(cases(values), bounds=(0.0, 1.0))
    assert interval.low is not None
    assert 0.0 <= interval.low < 0.8
    assert interval.high == 1.0
    free = cases_interval(cases(values))
    assert free.high is not None
    assert free.high > 1.0
    assert free.bound is None
    assert cases_interval(cases(values), bounds=(0.0, np.inf)).bound is None


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


def bootstrap_t(values: NDArray[Any], draws: int = 40_000) -> NDArray[Any]:
    """Ends by the textbook: every draw's mean in its own standard error (floored as ours), drawn index by index."""
    n, mean, stderr = len(values), values.mean(), values.std(ddof=1) / np.sqrt(len(values))
    picks = values[np.random.default_rng(9).integers(0, n, (draws, n))]
    own = np.maximum(picks.std(axis=1, ddof=1) / np.sqrt(n), stderr / 3)
    left, right = np.quantile((picks.mean(axis=1) - mean) / own, [0.025, 0.975])
    t = stats.t.ppf(0.975, n - 1)
    return np.array([mean - max(right, t) * stderr, mean - min(left, -t) * stderr])


@pytest.mark.parametrize("patients", [12, 40])
def test_ends_are_those_of_a_studentised_bootstrap_that_is_drawn_otherwise(patients: int) -> None:
    values = np.random.default_rng(patients).lognormal(0, 0.8, patients)
    interval = cases_interval(cases(values))
    np.testing.assert_allclose([interval.low, interval.high], bootstrap_t(values), rtol=0.04)
    # Less skewed ends, which miss too often: ours reach further up.
    bca = stats.bootstrap((values,), np.mean, method="BCa", rng=np.random.default_rng(0)).confidence_interval
    assert interval.high is not None
    assert interval.high > bca.high
    assert interval.low == pytest.approx(bca.low, abs=0.35 * (bca.high - bca.low))


def test_p_of_a_mean_is_where_the_interval_leaves_zero_out() -> None:
    values = np.random.default_rng(1).lognormal(0, 0.8, 15)
    sums, counts = totals(values, [f"p{i}" for i in range(15)])
    low, high = bootstrap_t(values)
    for end in (low, high):
        at_end = patient_mean(sums - end, counts).p()
        assert at_end == pytest.approx(0.05, abs=0.02) or at_end < 0.05  # Student's t is the wider on that side
    assert patient_mean(sums - values.mean(), counts).p() > 0.5
    assert patient_mean(np.ones(12), np.ones(12)).p() == 0.0
    assert patient_mean(np.zeros(12), np.ones(12)).p() == 1.0


# bounds without assumptions


def test_the_bound_is_where_the_mean_capital_of_the_gamblers_reaches_40() -> None:
    rng = np.random.default_rng(0)
    means, counts = rng.uniform(0.6, 0.9, 14), rng.integers(2, 9, 14).astype(float)
    low, high = assumption_free_bound(means * counts, counts, (0.0, 1.0))

    def capital(x: NDArray[Any], m: float) -> float:
        rounds = [
            np.prod([1 + np.sqrt(j / 24) * c / counts.max() * (y - m) / m for y, c in zip(x, counts, strict=True)])
            for j in range(1, 25)
        ]
        return float(np.mean(rounds))

    assert capital(means, low) == pytest.approx(40, rel=1e-6)
    assert capital(1 - means, 1 - high) == pytest.approx(40, rel=1e-6)
    assert low < 0.6 < (means * counts).sum() / counts.sum() < high
    scaled = assumption_free_bound(-10 + 30 * means, np.ones(14), (-10.0, 20.0))
    plain = assumption_free_bound(means, np.ones(14), (0.0, 1.0))
    np.testing.assert_allclose(scaled, -10 + 30 * np.array(plain))


def test_the_bound_of_patients_without_a_failure_allows_for_failures() -> None:
    for n in (1, 8, 10, 100):
        low, high = assumption_free_bound(np.ones(n), np.ones(n), (0.0, 1.0))
        # No bound can be above Clopper and Pearson's for a share of 1 seen n times of n.
        exact = float(stats.beta.ppf(0.025, n, 1))
        assert high == 1.0
        assert exact - 0.1 < low < exact


def test_the_bound_holds_where_no_interval_can() -> None:
    truth, held, without = 0.9 * 0.88, 0, 0
    for seed in range(300):
        rng = np.random.default_rng(seed)
        values = np.where(rng.random(10) < 0.12, 0.0, rng.uniform(0.85, 0.95, 10))
        interval = cases_interval(cases(values), bounds=(0.0, 1.0))
        assert interval.bound is not None
        assert interval.low is not None
        assert interval.high is not None
        held += interval.bound[0] <= truth <= interval.bound[1]
        without += interval.low <= truth <= interval.high
    assert held >= 0.97 * 300
    assert without <= 0.85 * 300


def test_few_patients_have_a_bound_and_no_interval() -> None:
    interval = cases_interval(cases(np.full(8, 0.9)), bounds=(0.0, 1.0))
    assert interval.low is None
    assert interval.reason == "8 patients, at least 10 are needed"
    assert interval.bound == assumption_free_bound(np.full(8, 0.9), np.ones(8), (0.0, 1.0))


class FixedCases:
    """A metric whose cases are these."""

    def __init__(self, values: list[float]) -> None:
        self.cases = cases(np.array(values))

    def compute(self, inputs: MetricInputs, context: Context) -> Score:
        return Score(float(np.nanmean(self.cases.values)), cases=self.cases)


def fixed_spec(bounds: tuple[float, float] | None) -> MetricSpec:
    return MetricSpec("fixed", ":Fixed", needs=("candidate",), interval="cases", bounds=bounds)


def test_a_score_has_its_bound_and_why_it_has_no_interval() -> None:
    inputs, context, few = MetricInputs(Task("toy")), Context(threads=1), [0.9, np.nan, 0.8]
    scoring = score(FixedCases(few), fixed_spec((0.0, 1.0)), inputs, context)
    assert scoring.bounds == [assumption_free_bound(np.array([0.9, 0.8]), np.ones(2), (0.0, 1.0))]
    assert scoring.without == ["2 patients, at least 10 are needed"]
    assert scoring.scores[0].ci is None
    assert score(FixedCases(few), fixed_spec(None), inputs, context).bounds == [None]
    assert score(FixedCases(few), fixed_spec((0.0, 1.0)), inputs, context, intervals=False).bounds == [None]


def test_a_metric_whose_cases_leave_its_bounds_is_named() -> None:
    for wrong in (1.2, -0.1):
        with pytest.raises(PluginError, match=rf"metric 'fixed'.*{wrong}.*from 0 to 1"):
            score(FixedCases([0.5, wrong]), fixed_spec((0.0, 1.0)), MetricInputs(Task("toy")), Context(threads=1))
    rounded = score(FixedCases([1 + 1e-9] * 12), fixed_spec((0.0, 1.0)), MetricInputs(Task("toy")), Context(threads=1))
    assert rounded.bounds[0] is not None


# functions of sets


def test_jackknife_of_a_mean_difference_is_exact() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=36), rng.normal(2, 3, size=60)
    means_x, means_y = x.reshape(12, 3).mean(axis=1), y.reshape(20, 3).mean(axis=1)
    stderr = np.sqrt(means_x.var(ddof=1) / 12 + means_y.var(ddof=1) / 20)
    (interval,) = jackknife(mean_difference(x, y), owners(12), owners(20, prefix="r"))
    assert interval.stderr == pytest.approx(stderr)
    value, reach = x.mean() - y.mean(), stats.t.ppf(0.975, 11) * stderr
    assert interval.value == pytest.approx(value)
    # Far from 0 in its standard error, the cube root's scale is nearly the value's own.
    assert interval.low == pytest.approx(value - reach, abs=0.2 * reach**2 / abs(value) + 0.35 * reach**2)
    assert interval.low is not None
    assert interval.high is not None


def test_ends_are_symmetric_on_the_scale_of_the_cube_root() -> None:
    x = np.random.default_rng(0).normal(4, 1, 30)
    (interval,) = jackknife(lambda c, r: float(of(x, c).mean() ** 2), owners(10))
    value, stderr, t = x.mean() ** 2, interval.stderr, stats.t.ppf(0.975, 9)
    assert stderr is not None
    root, error = np.cbrt(value), stderr / (3 * np.cbrt(value) ** 2)  # delta method
    assert interval.low == pytest.approx((root - t * error) ** 3)
    assert interval.high == pytest.approx((root + t * error) ** 3)
    # An estimate below 0 (KID of sets that are alike): still an interval, and it reaches further up than down.
    (near,) = jackknife(lambda c, r: float(of(x, c).mean() - x.mean() - 1e-3), owners(10))
    assert near.low is not None
    assert near.high is not None
    assert near.low < -1e-3 < near.high
    assert near.high + 1e-3 > -(near.low + 1e-3)


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
    assert one.reason == "9 translated patients and 20 target patients, at least 10 of each are needed"
    (both,) = method(mean_difference(x, x), owners(4), owners(1, prefix="r"))
    assert both.reason == "4 translated patients and 1 target patient, at least 10 of each are needed"
    assert cases_interval(cases(np.ones(9))).reason == "9 patients, at least 10 are needed"


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
    (slow_interval,), (fast_interval,) = (jackknife(m, *patients) for m in (anew, fast))
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


# coverage


def settings() -> dict[str, Any]:
    script = Path(__file__).parents[1] / "benchmarks" / "coverage.py"
    spec = importlib.util.spec_from_file_location("coverage_benchmark", script)
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return {setting.name: setting for setting in module.settings()}


@pytest.mark.parametrize(
    ("name", "patients", "least"),
    [
        ("dice, ICC 0.85", 10, 0.87),
        ("dice, 12% of patients fail", 20, 0.85),
        ("mae, skewed, ICC 0.5", 20, 0.88),
        ("kid, apart, steep, ICC 0.85", 10, 0.80),  # 0.77 with a symmetric interval
        ("kid, apart, flat, ICC 0.85", 10, 0.90),
        ("fid, same, flat, ICC 0.5", 10, 0.90),
    ],
)
def test_intervals_hold(name: str, patients: int, least: float) -> None:
    shares = settings()[name].coverage(patients, 150)
    assert shares["interval"] >= least
    assert shares.get("bound", 1.0) >= 0.97


@pytest.mark.parametrize(
    ("name", "patients", "most"),
    [
        ("null, normal", 10, 0.10),
        ("null, both fail in 8%", 20, 0.10),
        ("null, skewed", 20, 0.11),
        ("null, one fails in 25%", 20, 0.08),  # 0.08 and more by sign flips alone
    ],
)
def test_a_true_null_hypothesis_is_seldom_rejected(name: str, patients: int, most: float) -> None:
    assert settings()[name].coverage(patients, 200)["rejects"] <= most


@pytest.mark.slow
def test_coverage_in_all_settings() -> None:
    """Where failures that the sample may lack decide, no interval can hold; there the bound does."""
    for name, setting in settings().items():
        for patients in () if setting.asked_for else setting.patients:
            shares = setting.coverage(patients, 400)
            assert shares.get("bound", 1.0) >= 0.97, (name, patients)
            if "fail" not in name:
                assert shares["interval"] >= (0.85 if "steep" in name else 0.89), (name, patients)
                assert shares.get("rejects", 0.0) <= 0.09, (name, patients)
