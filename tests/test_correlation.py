"""Correlations between metrics: golden values, an independent implementation, and the null distribution of p."""

from __future__ import annotations

import json
from itertools import permutations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from scipy import stats

from mtbench.analysis.association import METHODS, holm, p_values
from mtbench.analysis.correlation import Correlation, Correlations, correlate
from mtbench.cli.correlate import command
from mtbench.errors import MtbenchWarning, RequestError
from mtbench.report.heatmap import draw
from mtbench.results.published import published_scores
from mtbench.results.schema import SCHEMA_VERSION, SCORES, table

BREAST, LUMBAR = "breast-siemens-ge", "lumbar-mri-ct"


def pick(correlations: Correlations, dataset: str, metric: str, against: str) -> Correlation:
    return next(i for i in correlations.items if (i.dataset, i.metric, i.against) == (dataset, metric, against))


def row(translator: str, value: float | None, metric: str = "fid", **more: Any) -> dict[str, Any]:
    dice = metric == "dice"
    return {
        "schema_version": SCHEMA_VERSION,
        "role": "translator",
        "status": "measured",
        "dataset": "d",
        "translator": translator,
        "conditional": False,
        "metric": metric,
        "title": metric.upper(),
        "family": "segmentation" if dice else "perceptual",
        "label": "bone" if dice else "",
        "higher_is_better": dice,
        "value": value,
        **more,
    }


@pytest.mark.parametrize(
    ("dataset", "metric", "against", "raw"),
    [
        (BREAST, "SWD", "Dice Breast", -0.93),
        (BREAST, "SWD", "Dice FGT", -0.80),
        (BREAST, "FID", "Dice Breast", 0.18),
        (LUMBAR, "KID", "Dice Bone", 0.04),
    ],
)
def test_the_published_numbers_give_the_known_correlations(dataset: str, metric: str, against: str, raw: float) -> None:
    correlations = pick(correlate(published_scores("midl2024"), rule="paper"), dataset, metric, against)
    pearson = correlations.estimates["pearson"]
    assert correlations.n == 5
    assert pearson.value == pytest.approx(raw, abs=0.005)
    assert pearson.agreement == pytest.approx(-raw, abs=0.005)


def test_one_of_the_papers_twelve_has_a_small_p_and_none_survives_holm() -> None:
    correlations = correlate(published_scores("midl2024"), conditional=True)
    assert len(correlations.items) == 12
    small = [i for i in correlations.items if (i.estimates["pearson"].p or 1) < 0.05]
    assert [(i.dataset, i.metric, i.against) for i in small] == [(BREAST, "SWD", "Dice Breast")]
    assert small[0].estimates["pearson"].p == pytest.approx(4 / 120)
    assert all((i.estimates["pearson"].p_holm or 0) > 0.05 for i in correlations.items)


def test_one_row_flips_a_published_result() -> None:
    without_none = correlate(published_scores("midl2024"), conditional=True, without=["identity"])
    swd = pick(without_none, LUMBAR, "SWD", "Dice Bone")
    assert swd.n == 4
    assert swd.estimates["pearson"].value == pytest.approx(0.90, abs=0.005)  # the worse the distance, the better
    unconditional = pick(correlate(published_scores("midl2024")), LUMBAR, "SWD", "Dice Bone")
    assert unconditional.translators == ("identity", "cyclegan", "maskgan", "unsb")
    assert unconditional.estimates["pearson"].value == pytest.approx(-0.89, abs=0.005)


def test_leaving_one_out_is_the_correlation_of_the_others() -> None:
    scores = published_scores("midl2024")
    everyone = pick(correlate(scores, conditional=True), LUMBAR, "SWD", "Dice Bone")
    for name in everyone.translators:
        others = pick(correlate(scores, conditional=True, without=[name]), LUMBAR, "SWD", "Dice Bone")
        for method in METHODS:
            left = everyone.estimates[method].left_out
            assert left is not None
            assert left[name] == pytest.approx(others.estimates[method].agreement)


@pytest.mark.parametrize("ties", [False, True])
def test_coefficients_equal_scipys(ties: bool) -> None:
    rng = np.random.default_rng(1)
    x, y = rng.normal(size=(7, 3)), rng.normal(size=(7, 2))
    if ties:
        x, y = np.round(x), np.round(y)
    references = {"pearson": stats.pearsonr, "spearman": stats.spearmanr, "kendall": stats.kendalltau}
    for method, reference in references.items():
        expected = [[reference(x[:, i], y[:, j]).statistic for j in range(2)] for i in range(3)]
        assert METHODS[method](x, y) == pytest.approx(np.array(expected))


@pytest.mark.parametrize("method", list(METHODS))
def test_exact_p_counts_all_permutations(method: str) -> None:
    rng = np.random.default_rng(2)
    x, y = np.round(rng.normal(size=(5, 1)), 1), rng.normal(size=(5, 1))
    observed = abs(METHODS[method](x, y)[0, 0])
    orders = [list(order) for order in permutations(range(5))]
    larger = sum(abs(METHODS[method](x[order], y)[0, 0]) >= observed - 1e-12 for order in orders)
    assert p_values(method, x, y)[0, 0] == pytest.approx(larger / 120)


@pytest.mark.parametrize("method", list(METHODS))
def test_with_many_points_p_is_near_scipys(method: str) -> None:
    rng = np.random.default_rng(3)
    x = rng.normal(size=(30, 1))
    y = 0.4 * x + rng.normal(size=(30, 1))
    references = {"pearson": stats.pearsonr, "spearman": stats.spearmanr, "kendall": stats.kendalltau}
    expected = references[method](x[:, 0], y[:, 0]).pvalue
    assert 0.001 < expected < 0.3
    assert p_values(method, x, y)[0, 0] == pytest.approx(expected, rel=0.25)
    assert np.array_equal(p_values(method, x, y), p_values(method, x, y))


def test_holm_by_hand() -> None:
    assert holm([0.01, 0.04, 0.03, float("nan")]) == pytest.approx([0.03, 0.06, 0.06, float("nan")], nan_ok=True)
    assert holm([0.6, 0.9]) == [1.0, 1.0]
    assert holm([]) == []


@pytest.fixture(scope="module")
def null() -> Correlations:
    """1,000 tasks on which the metrics know nothing of each other; slices share patients, seeds a translator."""
    rng = np.random.default_rng(0)
    translators, seeds, patients, slices = 7, 5, 6, 8
    rows = []
    for run in range(1_000):
        for metric in ("fid", "dice"):
            quality = rng.normal(size=(translators, 1)) + 0.3 * rng.normal(size=(translators, seeds))
            patient = rng.normal(size=(translators, seeds, patients, 1))
            values = quality + (patient + 0.5 * rng.normal(size=(*patient.shape[:3], slices))).mean(axis=(2, 3))
            rows += [
                row(f"t{t}", float(values[t, s]), metric, seed=s, dataset=f"d{run}")
                for t in range(translators)
                for s in range(seeds)
            ]
    with pytest.MonkeyPatch.context() as patch:
        # Half of the time, and no p depends on it.
        patch.setattr("mtbench.analysis.correlation.leave_one_out", lambda method, x, y: np.zeros((len(x), 1, 1)))
        return correlate(table(rows, SCORES))


@pytest.mark.parametrize("method", list(METHODS))
def test_under_a_null_p_is_uniform(null: Correlations, method: str) -> None:
    assert {item.n for item in null.items} == {7}
    p = np.array([item.estimates[method].p for item in null.items])
    assert len(p) == 1_000
    # Rank correlations of seven points take few values: their p is uniform once each value is spread evenly over
    # the gap below it.
    levels = np.unique(p)
    below = np.concatenate([[0.0], levels[:-1]])[np.searchsorted(levels, p)]
    spread = below + (p - below) * np.random.default_rng(1).uniform(size=len(p))
    assert stats.kstest(spread, "uniform").pvalue > 0.01


def test_seeds_are_averaged_and_make_no_points() -> None:
    rng = np.random.default_rng(4)
    rows = [row(f"t{t}", float(rng.normal()), m, seed=s) for t in range(4) for s in range(5) for m in ("fid", "dice")]
    (item,) = correlate(table(rows, SCORES)).items
    assert item.n == 4
    assert item.descriptive
    x = np.array([[r["value"] for r in rows if r["translator"] == f"t{t}" and r["metric"] == "fid"] for t in range(4)])
    y = np.array([[r["value"] for r in rows if r["translator"] == f"t{t}" and r["metric"] == "dice"] for t in range(4)])
    expected = np.corrcoef(x.mean(axis=1), y.mean(axis=1))[0, 1]
    assert item.estimates["pearson"].value == pytest.approx(expected)


def test_only_comparable_finite_and_complete_numbers_are_points() -> None:
    names = [f"t{i}" for i in range(6)]
    rows = [row(n, float(i), "fid") for i, n in enumerate(names)]
    rows += [row(n, float(i * i), "dice") for i, n in enumerate(names)]
    rows[0]["value"] = float("nan")
    rows[1].update(status="failed", value=None)
    rows.append(row("t2", None, "fid", seed=1, status="failed"))
    rows.append(row("", 5.0, "fid", role="floor"))
    (item,) = correlate(table(rows, SCORES)).items
    assert item.translators == ("t3", "t4", "t5")
    assert item.estimates["pearson"].left_out == {}


def test_too_few_translators_and_constant_metrics_have_no_correlation() -> None:
    two = [row(n, v, m) for n, v in (("a", 1.0), ("b", 2.0)) for m in ("fid", "dice")]
    correlations = correlate(table(two, SCORES))
    assert correlations.items[0].estimates["pearson"].value is None
    assert any("fewer than 3" in remark for remark in correlations.remarks)
    values = {"a": 1.0, "b": 2.0, "c": 3.0, "d": 5.0}
    constant = [row(n, 0.1 if m == "fid" else v, m) for n, v in values.items() for m in ("fid", "dice")]
    (item,) = correlate(table(constant, SCORES)).items
    assert [item.estimates[m].value for m in METHODS] == [None, None, None]
    assert item.undefined == "FID: the same value for all translators"
    assert correlate(SCORES.empty_table()).items == ()


def test_what_is_constant_or_tied_but_for_the_rounding_of_means_is_so() -> None:
    fid = {"a": [0.1], "b": [0.1] * 3, "c": [0.1, 0.1], "d": [0.1] * 6}
    assert len({float(np.mean(values)) for values in fid.values()}) > 1
    dice = [row(n, v, "dice", seed=0) for n, v in zip("abcd", (0.3, 0.5, 0.4, 0.9), strict=True)]
    rows = [row(n, v, seed=s) for n, values in fid.items() for s, v in enumerate(values)]
    found = correlate(table(rows + dice, SCORES))
    assert [found.items[0].estimates[m].value for m in METHODS] == [None, None, None]
    assert found.items[0].undefined == "FID: the same value for all translators"
    assert any("FID: the same value for all translators" in remark for remark in found.remarks)
    # With a fifth translator that differs, the four are ties and no order.
    more = [row("e", 0.7, seed=0), row("e", 0.1, "dice", seed=0)]
    estimates = correlate(table(rows + dice + more, SCORES)).items[0].estimates
    x, y = [0.1, 0.1, 0.1, 0.1, 0.7], [0.3, 0.5, 0.4, 0.9, 0.1]
    assert estimates["spearman"].value == pytest.approx(stats.spearmanr(x, y).statistic)
    assert estimates["kendall"].value == pytest.approx(stats.kendalltau(x, y).statistic)
    assert estimates["pearson"].value == pytest.approx(stats.pearsonr(x, y).statistic)


def test_any_metric_takes_part_and_caveats_are_told() -> None:
    rows = [row(n, float(i), m) for i, n in enumerate("abcd") for m in ("fid", "dice", "mine")]
    for r in rows:
        if r["metric"] == "mine":
            r["caveat"] = "random features"
    correlations = correlate(table(rows, SCORES))
    assert [(i.metric, i.caveat) for i in correlations.items] == [("FID", ""), ("MINE", "random features")]
    assert "MINE: random features." in correlations.remarks
    assert [i.estimates["pearson"].agreement for i in correlations.items] == pytest.approx([-1.0, -1.0])


# -- the command


def invoke(*arguments: str) -> Any:
    return CliRunner(env={"COLUMNS": "100"}).invoke(command, list(arguments))


def test_the_command_prints_signed_values_and_says_what_they_are() -> None:
    done = invoke("published:midl2024")
    assert done.exit_code == 0
    line = next(line for line in done.output.splitlines() if "SWD" in line and "Breast" in line)
    assert "+0.91" in line
    assert "0.167" in line
    assert "Descriptive only: fewer than 8 translators." in done.output
    assert "spade" in done.output


def test_the_papers_rule_prints_absolute_values_over_all_rows() -> None:
    done = invoke("published:midl2024", "--rule", "paper")
    line = next(line for line in done.output.splitlines() if "SWD" in line and "Breast" in line)
    assert "0.93" in line
    assert "-0.93" not in done.output
    assert "+" not in line


def test_the_json_is_strict_and_holds_everything() -> None:
    done = invoke("published:midl2024", "--json", "--conditional")
    content = json.loads(done.output, parse_constant=lambda name: pytest.fail(name))
    assert len(content["correlations"]) == 12
    first = content["correlations"][0]
    assert set(first["kendall"]) == {"value", "absolute", "agreement", "p", "p_holm", "left_out"}
    assert first["translators"] == ["identity", "cyclegan", "maskgan", "unsb", "spade"]
    assert first["descriptive_only"] is True


@pytest.mark.parametrize("ending", [".png", ".svg", ".pdf"])
def test_the_heat_map_is_drawn(ending: str, tmp_path: Path) -> None:
    target = tmp_path / f"map{ending}"
    assert invoke("published:midl2024", "--rule", "paper", "--heatmap", str(target)).exit_code == 0
    start = {".png": b"\x89PNG", ".svg": b"<?xml", ".pdf": b"%PDF"}[ending]
    assert target.read_bytes().startswith(start)


def test_no_heat_map_of_four_translators(tmp_path: Path) -> None:
    """Without SPADE four points are left: the table is printed, no file is written, and the error says why."""
    target = tmp_path / "map.png"
    done = invoke("published:midl2024", "--heatmap", str(target))
    assert "+0.91" in done.output
    assert isinstance(done.exception, RequestError)
    assert "no heat map, because 4 translators cannot show agreement (at least 5 are needed)" in str(done.exception)
    assert not target.exists()


def test_a_heat_map_without_the_pairs_of_four_translators(tmp_path: Path) -> None:
    rows = [row(n, float(i), m) for i, n in enumerate("abcde") for m in ("fid", "dice", "swd")]
    correlations = correlate(table([r for r in rows if (r["metric"], r["translator"]) != ("swd", "e")], SCORES))
    with pytest.warns(MtbenchWarning, match="heat map without some pairs, because 4 translators cannot"):
        draw(correlations, tmp_path / "map.svg")
    drawn = (tmp_path / "map.svg").read_text()
    assert "FID" in drawn
    assert "SWD" not in drawn


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["-x", "nobody"], "no row is called 'nobody'"),
        (["--heatmap", "map.gif"], "unknown file format '.gif'"),
        (["-d", "lumbar"], "Did you mean 'lumbar-mri-ct'"),
    ],
)
def test_wrong_requests_are_answered(arguments: list[str], message: str) -> None:
    done = invoke("published:midl2024", *arguments)
    assert isinstance(done.exception, RequestError)
    assert message in str(done.exception)
