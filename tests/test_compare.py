"""Two results side by side, and the statistics of paired differences."""

from __future__ import annotations

import json
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from click.testing import CliRunner
from numpy.typing import NDArray
from scipy import stats

from mtbench.analysis.compare import ResultComparison, compare
from mtbench.analysis.paired import paired_difference
from mtbench.cli.compare import command
from mtbench.errors import RequestError
from mtbench.results.published import published_scores
from mtbench.results.schema import CASES, SCHEMA_VERSION, SCORES, table

METRICS: dict[str, dict[str, Any]] = {
    "dice": {"title": "Dice", "variant": "slice", "family": "segmentation", "label": "bone", "higher_is_better": True},
    "fid": {"title": "FID", "variant": "", "family": "perceptual", "label": "", "higher_is_better": False},
}


def result(
    values: dict[str, list[float]], patients: int = 12, metric: str = "dice", **more: Any
) -> tuple[pa.Table, pa.Table]:
    """Scores and cases: each translator has one seed for each value, two slices a patient that all have it."""
    rows, cases = [], []
    for name, by_seed in values.items():
        for seed, value in enumerate(by_seed):
            unit = f"{name}-{metric}-{seed}-{more.get('dataset', 'd')}"
            rows.append(
                {
                    "schema_version": SCHEMA_VERSION,
                    "role": "translator",
                    "status": "measured",
                    "dataset": "d",
                    "dataset_revision": "1",
                    "split": "s",
                    "translator": name,
                    "conditional": False,
                    "seed": seed,
                    "metric": metric,
                    **METRICS[metric],
                    "precision": "fp32",
                    "value": value,
                    "row_id": unit,
                    **more,
                }
            )
            for patient, index in product(range(patients), range(2)):
                wiggle = 0.01 * ((patient * 7 + len(name) * seed) % 5 - 2) + 0.001 * index
                cases.append(
                    {
                        "row_id": unit,
                        "seed": seed,
                        "label": METRICS[metric]["label"],
                        "by": "slice",
                        "case": f"p{patient}-{index}",
                        "patient": f"p{patient}",
                        "value": value + wiggle,
                    }
                )
    return table(rows, SCORES), table(cases, CASES)


def run(a: tuple[pa.Table, pa.Table], b: tuple[pa.Table, pa.Table], **options: Any) -> ResultComparison:
    return compare(a[0], b[0], a[1], b[1], **options)


# -- paired differences


def test_the_interval_is_that_of_patient_means_where_all_patients_have_as_many_slices() -> None:
    rng = np.random.default_rng(0)
    values = rng.normal(0.3, 1, size=(12, 4)) + rng.normal(size=(12, 1))
    comparison = paired_difference(values.ravel().tolist(), np.repeat([f"p{i}" for i in range(12)], 4).tolist())
    assert comparison is not None
    means = values.mean(axis=1)
    expected = stats.ttest_1samp(means, 0).confidence_interval()
    assert comparison.value == pytest.approx(means.mean())
    assert comparison.stderr == pytest.approx(stats.sem(means))
    # Never narrower than Student's t, and for a symmetric sample hardly wider.
    assert comparison.low is not None
    assert comparison.high is not None
    width = expected.high - expected.low
    assert expected.low - 0.15 * width < comparison.low <= expected.low + 1e-12
    assert expected.high - 1e-12 <= comparison.high < expected.high + 0.15 * width
    assert (comparison.patients, comparison.cases) == (12, 48)


def bootstrap_p(values: NDArray[Any], draws: int = 60_000) -> float:
    """Of a studentised bootstrap, drawn index by index."""
    n = len(values)
    picks = values[np.random.default_rng(5).integers(0, n, (draws, n))]
    own = np.maximum(picks.std(axis=1, ddof=1), values.std(ddof=1) / 3) / np.sqrt(n)
    distances, observed = (picks.mean(axis=1) - values.mean()) / own, values.mean() / stats.sem(values)
    return float(2 * min((distances <= observed).mean(), (distances >= observed).mean()))


def test_p_is_the_larger_of_flipping_whole_patients_and_of_the_studentised_bootstrap() -> None:
    rng = np.random.default_rng(1)
    skewed = 1 - rng.lognormal(0, 0.9, size=12)
    larger = set()
    for values in (rng.normal(0.5, 1, size=11), skewed, skewed + 0.9, -skewed):
        comparison = paired_difference(values.tolist(), [f"p{i}" for i in range(len(values))])
        flips = stats.permutation_test((values,), np.mean, permutation_type="samples", n_resamples=np.inf).pvalue
        bootstrap = bootstrap_p(values)
        assert comparison is not None
        assert comparison.p == pytest.approx(max(flips, bootstrap), rel=0.1, abs=0.003)
        assert comparison.p >= flips - 1e-12
        larger.add(flips > bootstrap)
    assert larger == {True, False}
    many = rng.normal(0.2, 1, size=60)
    drawn = paired_difference(many.tolist(), [f"p{i}" for i in range(60)])
    assert drawn is not None
    assert drawn.p == pytest.approx(stats.ttest_1samp(many, 0).pvalue, rel=0.35)
    assert drawn == paired_difference(many.tolist(), [f"p{i}" for i in range(60)])


def test_under_a_null_p_is_not_too_small_and_the_interval_holds_with_correlated_slices() -> None:
    rng = np.random.default_rng(2)
    p, held = [], 0
    for _ in range(1_000):
        sizes = rng.integers(2, 10, size=12)
        patients = np.repeat(np.arange(12), sizes)
        values = rng.normal(size=12)[patients] + 0.5 * rng.normal(size=len(patients))
        comparison = paired_difference(values.tolist(), patients.astype(str).tolist())
        assert comparison is not None
        assert comparison.p is not None
        assert comparison.low is not None
        assert comparison.high is not None
        p.append(comparison.p)
        held += comparison.low <= 0 <= comparison.high
    for level in (0.05, 0.2, 0.5):
        assert 0.6 * level < np.mean(np.array(p) < level) < 1.3 * level
    assert 0.90 <= held / 1_000 <= 0.98


def test_few_patients_have_no_interval_and_no_case_no_difference() -> None:
    comparison = paired_difference([0.1] * 9, [f"p{i}" for i in range(9)])
    assert comparison is not None
    assert comparison.value == pytest.approx(0.1)
    assert (comparison.low, comparison.high, comparison.p) == (None, None, None)
    assert paired_difference([], []) is None


# -- comparisons


def test_the_same_data_give_differences_with_intervals_and_holms_p() -> None:
    a = result({"x": [0.5, 0.52], "y": [0.6, 0.6], "z": [0.4, 0.4]})
    b = result({"x": [0.7, 0.74], "y": [0.6, 0.6], "w": [0.1, 0.1]})
    comparison = run(a, b)
    x, y = comparison.items
    assert [item.translator for item in comparison.items] == ["x", "y"]
    assert x.same
    assert x.difference == pytest.approx(0.21)
    assert x.paired is not None
    assert x.paired.p == pytest.approx(2 / 2**12)
    assert x.p_holm == pytest.approx(2 * 2 / 2**12)
    assert y.p_holm == 1.0
    assert x.seed_std_a == pytest.approx(np.std([0.5, 0.52], ddof=1))
    assert not x.one_checkpoint
    assert (x.rank_a, x.rank_b) == (2, 1)
    assert (y.rank_a, y.rank_b) == (1, 2)


def test_one_seed_speaks_of_this_checkpoint_only() -> None:
    comparison = run(result({"x": [0.5], "y": [0.6]}), result({"x": [0.7], "y": [0.6]}))
    assert all(item.one_checkpoint for item in comparison.items)
    assert any(remark.startswith("‡") for remark in comparison.remarks)
    unseeded = run(result({"x": [0.5]}, seed=None), result({"x": [0.7]}, seed=None))
    assert not unseeded.items[0].one_checkpoint


def test_fewer_than_ten_patients_have_a_difference_without_an_interval() -> None:
    comparison = run(result({"x": [0.5]}, patients=9), result({"x": [0.7]}, patients=9))
    assert comparison.items[0].difference == pytest.approx(0.2)
    assert comparison.items[0].p_holm is None
    assert "No confidence interval with fewer than 10 patients." in comparison.remarks


def test_without_cases_the_difference_is_that_of_the_numbers() -> None:
    comparison = compare(result({"x": [10.0]}, metric="fid")[0], result({"x": [12.5]}, metric="fid")[0])
    assert comparison.items[0].difference == pytest.approx(2.5)
    assert comparison.items[0].paired is None


def test_only_cases_that_both_have_are_compared() -> None:
    a, b = result({"x": [0.5]}, patients=12), result({"x": [0.7]}, patients=15)
    (item,) = run(a, b).items
    assert item.paired is not None
    assert (item.paired.patients, item.paired.cases) == (12, 24)


@pytest.mark.parametrize(
    "change", [{"dataset_revision": "2"}, {"split": "t"}, {"precision": "bf16"}, {"segmenter_seed": 3}]
)
def test_what_is_not_the_same_is_compared_by_rank_only(change: dict[str, Any]) -> None:
    values = {"x": [0.5, 0.5], "y": [0.6, 0.6]}
    comparison = run(result(values), result({"x": [0.7, 0.7], "y": [0.6, 0.6]}, **change))
    assert [item.same for item in comparison.items] == [False, False]
    assert [item.difference for item in comparison.items] == [None, None]
    assert [(item.rank_a, item.rank_b) for item in comparison.items] == [(2, 1), (1, 2)]


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"data_sha256": "a" * 64}, {"data_sha256": ("", "a" * 64)}),
        ({"threads": 4}, {"threads": (None, 4)}),
        ({"sampling_params": '{"draws":1}'}, {"sampling_params": ({}, {"draws": 1})}),
        ({"metric_version": '{"revision":"2"}'}, {"metric_version": ({}, {"revision": "2"})}),
        ({"segmenter_version": '{"code":"c"}'}, {"segmenter_version": ({}, {"code": "c"})}),
    ],
)
def test_what_is_not_the_same_stands_with_every_pair(change: dict[str, Any], expected: dict[str, Any]) -> None:
    (item,) = run(result({"x": [0.5]}), result({"x": [0.7]}, **change)).items
    assert (item.comparable, item.same, item.difference) == (False, False, None)
    assert item.differences == expected
    (item,) = run(result({"x": [0.5]}, **change), result({"x": [0.7]}, **change)).items
    assert (item.comparable, item.same, item.differences) == (True, True, {})


def test_translators_with_other_parameters_are_compared_and_not_called_the_same() -> None:
    a = result({"x": [0.5]}, translator_params='{"gamma":0.7,"steps":9}')
    b = result({"x": [0.7]}, translator_params='{"gamma":0.2,"steps":9}')
    (item,) = run(a, b).items
    assert item.difference == pytest.approx(0.2)
    assert (item.comparable, item.same) == (True, False)
    assert item.differences == {"translator_params": ({"gamma": 0.7}, {"gamma": 0.2})}
    assert item.translator == "x[gamma=0.7] / x[gamma=0.2]"
    both = pa.concat_tables([b[0], result({"x": [0.8]}, translator_params='{"gamma":0.5,"steps":9}')[0]])
    assert run(a, (both, b[1])).items == ()


def test_versions_of_a_translator_are_compared_where_there_is_one_of_each() -> None:
    a, b = (result({"x": [value]}, translator_version=f'{{"revision":"{r}"}}') for r, value in ((1, 0.5), (2, 0.7)))
    (item,) = run(a, b).items
    assert (item.same, item.difference) == (False, pytest.approx(0.2))
    assert item.translator == "x[revision=1] / x[revision=2]"
    both = pa.concat_tables([a[0], b[0]])
    paired = [(i.translator, i.a, i.b, i.same) for i in run((both, a[1]), b).items]
    assert paired == [("x[revision=2]", 0.7, 0.7, True)]


def test_the_command_says_what_is_not_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    a = result({"x": [0.5]}, translator_params='{"gamma":0.7}', threads=1)
    b = result({"x": [0.7]}, translator_params='{"gamma":0.2}', threads=2)
    sides = {"a": a, "b": b, "c": result({"x": [0.7]}, translator_params='{"gamma":0.2}', threads=1)}
    monkeypatch.setattr("mtbench.cli.compare.load", lambda name, table="scores": sides[name][table != "scores"])
    printed = invoke("a", "b").output
    assert "only ranks are compared" in printed
    assert "a / b: threads 1 / 2" in printed
    assert "x[gamma=0.7] / x[gamma=0.2]" in printed
    (item,) = json.loads(invoke("a", "c", "--json").output)["items"]
    assert item["same"] is False
    assert item["differences"] == {"translator_params": [{"gamma": 0.7}, {"gamma": 0.2}]}


def test_conditional_translators_are_compared_and_not_ranked() -> None:
    a = result({"x": [0.5], "y": [0.6]})
    conditional = result({"z": [0.9]}, conditional=True)
    a = (pa.concat_tables([a[0], conditional[0]]), pa.concat_tables([a[1], conditional[1]]))
    ranks = {item.translator: item.rank_a for item in run(a, a).items}
    assert ranks == {"x": 2, "y": 1, "z": None}
    assert {item.translator: item.rank_a for item in run(a, a, rule="paper").items} == {"x": 3, "y": 2, "z": 1}


def test_against_published_numbers_there_are_ranks_and_no_differences() -> None:
    rows = published_scores("midl2024").to_pylist()
    for row in rows:
        row.update(status="measured", dataset_revision="9", variant="slice" if row["metric"] == "dice" else "new")
        row["label"] = row["label"].lower()
        row["value"] = -row["value"] if row["translator"] == "cyclegan" else row["value"]
    comparison = compare(table(rows, SCORES), published_scores("midl2024"))
    assert len(comparison.items) == 55
    assert not any(item.same or item.difference is not None for item in comparison.items)
    swd = [item for item in comparison.items if item.metric == "SWD[new] / SWD" and item.task.startswith("lumbar")]
    assert [(i.translator, i.rank_a, i.rank_b) for i in swd] == [
        ("identity", 4, 4),
        ("cyclegan", 1, 2),
        ("maskgan", 3, 3),
        ("unsb", 2, 1),
        ("spade", None, None),
    ]


def test_ranks_are_averaged_over_tasks_metric_by_metric() -> None:
    rows = published_scores("midl2024")
    comparison = {(r.metric, r.translator): r for r in compare(rows, rows, rule="paper").average_ranks}
    kid = comparison["kid", "cyclegan"]
    assert (kid.a, kid.b, kid.tasks) == (1.0, 1.0, 2)
    assert comparison["kid", "spade"].a == 3.0  # second of five on breast, fourth on lumbar
    one = run(result({"x": [0.5], "y": [0.6]}), result({"x": [0.5], "y": [0.6]}))
    assert one.average_ranks == ()


def test_failed_cells_are_shown() -> None:
    failed = result({"x": [0.0]})[0].to_pylist()
    failed[0].update(status="failed", value=None, note="out of memory")
    (item,) = compare(result({"x": [0.5]})[0], table(failed, SCORES)).items
    assert (item.text_a, item.text_b, item.difference) == ("0.500", "failed", None)


# -- the command


def invoke(*arguments: str) -> Any:
    return CliRunner(env={"COLUMNS": "100"}).invoke(command, list(arguments))


def test_the_command_prints_both_results() -> None:
    done = invoke("published:midl2024", "published:midl2024", "-m", "kid", "-d", "lumbar-mri-ct")
    assert done.exit_code == 0
    line = next(line for line in done.output.splitlines() if line.strip().startswith("unsb"))
    assert line.split() == ["unsb", "0.172", "0.172", "+0", "–", "–", "–", "2", "→", "2"]


def test_the_json_is_strict() -> None:
    done = invoke("published:midl2024", "published:midl2024", "--json")
    content = json.loads(done.output, parse_constant=lambda name: pytest.fail(name))
    assert len(content["items"]) == 55
    assert content["items"][0]["difference"] == 0.0


def test_nothing_in_common_is_answered(tmp_path: Path) -> None:
    done = invoke("published:midl2024", "published:midl2024", "-m", "psnr")
    assert isinstance(done.exception, RequestError)
    assert "no column is called 'psnr'" in str(done.exception)
    done = invoke("published:midl2024", str(tmp_path))
    assert isinstance(done.exception, RequestError)
