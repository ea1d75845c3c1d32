"""Significant bold, and critical differences of mean ranks over tasks."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from click.testing import CliRunner
from test_compare import result

from mtbench.analysis.compare import compare
from mtbench.analysis.nemenyi import critical_difference, nemenyi
from mtbench.analysis.table import build_table
from mtbench.cli.compare import command
from mtbench.errors import RequestError
from mtbench.report.criticaldifference import draw

ENDINGS = [".png", ".svg", ".pdf"]


def bold(found: tuple[pa.Table, pa.Table], **options: Any) -> dict[str, bool]:
    table = build_table(found[0], cases=found[1], significant=True, **options)
    return {row.label: row.cells[0].best for row in table.sections[0].rows}


def noisy(gap: float, patients: int = 12, seed: int = 0) -> tuple[pa.Table, pa.Table]:
    """Three translators; the best leads the runner-up by ``gap`` on average, with patients' own differences of 0.1."""
    scores, cases = result({"a": [0.8], "b": [0.8 - gap], "c": [0.3]}, patients)
    values = np.array(cases["value"].to_pylist())
    names = np.array(cases["unit_key"].to_pylist())
    whose = np.array([int(p[1:]) for p in cases["patient"].to_pylist()])
    for name in ("a", "b"):
        wiggle = np.random.default_rng([seed, ord(name)]).normal(scale=0.1, size=patients)
        of = np.char.startswith(names, name)
        values[of] += (wiggle - wiggle.mean())[whose[of]]
    return scores, cases.set_column(cases.column_names.index("value"), "value", pa.array(values))


def test_a_lead_on_every_patient_is_bold_and_one_within_their_spread_is_not() -> None:
    assert bold(noisy(0.4)) == {"a": True, "b": False, "c": False}
    assert bold(noisy(0.01)) == {"a": False, "b": False, "c": False}
    table = build_table(noisy(0.01)[0], cases=noisy(0.01)[1], significant=True, ranks=True)
    assert [row.cells[0].rank for row in table.sections[0].rows] == [1, 2, 3]
    assert table.sections[0].rows[1].cells[0].runner_up
    assert any("Holm over the table's columns" in remark for remark in table.remarks)


def test_without_a_test_nothing_is_bold() -> None:
    few = noisy(0.4, patients=9)
    assert not any(bold(few).values())
    assert not any(bold((noisy(0.4)[0], noisy(0.4)[1].slice(0, 0))).values())
    tied = result({"a": [0.8], "b": [0.8], "c": [0.3]})
    assert not any(bold(tied).values())


def test_holm_counts_the_columns() -> None:
    # p of one column is near 0.02: bold alone, not among five.
    one = next(noisy(0.09, seed=s) for s in range(50) if bold(noisy(0.09, seed=s))["a"])
    blocks = [one]
    for i in range(6):
        scores, cases = noisy(0.0101, seed=100 + i)
        place = scores.column_names.index("dataset")
        scores = scores.set_column(place, "dataset", pa.array([f"d{i}"] * scores.num_rows))
        for name in ("unit_key",):
            column = [f"{key}-{i}" for key in scores[name].to_pylist()]
            scores = scores.set_column(scores.column_names.index(name), name, pa.array(column))
            column = [f"{key}-{i}" for key in cases[name].to_pylist()]
            cases = cases.set_column(cases.column_names.index(name), name, pa.array(column))
        blocks.append((scores, cases))
    together = (pa.concat_tables(b[0] for b in blocks), pa.concat_tables(b[1] for b in blocks))
    alone = build_table(one[0], cases=one[1], significant=True)
    many = build_table(together[0], cases=together[1], significant=True)
    assert alone.sections[0].rows[0].cells[0].best
    assert many.sections[0].rows[0].cells[0].rank == 1
    assert not many.sections[0].rows[0].cells[0].best


def test_under_a_null_bold_is_rare() -> None:
    # The runner-up is chosen by its value, so of three equals the best is bold in at most about 5 % of tables.
    count = sum(any(bold(noisy(0.0005, seed=1_000 + s)).values()) for s in range(60))
    assert count <= 7


# -- critical differences


@pytest.mark.parametrize(("methods", "q"), [(2, 1.960), (3, 2.343), (5, 2.728), (10, 3.164)])
def test_nemenyi_has_demsars_constants(methods: int, q: float) -> None:
    # Table 5(a) of Demsar (JMLR 2006), two-tailed Nemenyi at 0.05.
    assert nemenyi(methods, 6) == pytest.approx(q * np.sqrt(methods * (methods + 1) / 36), abs=1e-3)


def test_mean_ranks_and_groups_by_hand() -> None:
    ranks = {"worst": [3.0] * 8, "best": [1.0] * 8, "middle": [2.0] * 8}
    found = critical_difference("a", "dice", ranks)
    assert found is not None
    assert list(found.ranks) == ["best", "middle", "worst"]
    assert found.difference == pytest.approx(2.343 * np.sqrt(12 / 48), abs=1e-3)
    # 1.17: neighbours, one apart, are not told apart; the ends are.
    assert found.groups == (("best", "middle"), ("middle", "worst"))
    assert found.friedman_p == pytest.approx(np.exp(-8), rel=1e-6)  # chi squared of 16 with two degrees of freedom
    assert critical_difference("a", "dice", {name: values[:4] for name, values in ranks.items()}) is None
    assert critical_difference("a", "dice", {"a": [1.0] * 9, "b": [2.0] * 9}) is None
    ties = critical_difference("a", "dice", {name: [2.0] * 6 for name in "abc"})
    assert ties is not None
    assert (ties.friedman_p, ties.groups) == (1.0, (("a", "b", "c"),))


def tasks(count: int) -> tuple[pa.Table, pa.Table]:
    made = [result({"a": [0.9], "b_1 $x": [0.7], "c": [0.3]}, 2, dataset=f"d{i}") for i in range(count)]
    return pa.concat_tables(m[0] for m in made), pa.concat_tables(m[1] for m in made)


def test_results_with_enough_tasks_are_compared_over_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scores, cases = tasks(6)
    found = compare(scores, scores, cases, cases)
    assert [(one.side, one.tasks) for one in found.critical] == [("a", 6), ("b", 6)]
    assert dict(found.critical[0].ranks) == {"a": 1.0, "b_1 $x": 2.0, "c": 3.0}
    few = tasks(4)[0]
    assert compare(few, few).critical == ()
    for ending in ENDINGS:
        draw(found.critical[:1], tmp_path / f"cd{ending}")
        assert (tmp_path / f"cd{ending}").stat().st_size > 2_000
    with pytest.raises(RequestError, match="a diagram cannot be written"):
        draw(found.critical, tmp_path / "cd.gif")

    def invoke(*arguments: str) -> Any:
        return CliRunner(env={"COLUMNS": "200"}).invoke(command, ["x", "y", *arguments])

    monkeypatch.setattr("mtbench.results.load", lambda name, table="scores": scores if table == "scores" else cases)
    printed = invoke("-o", str(tmp_path / "out.svg"))
    assert printed.exit_code == 0, printed.output
    assert "dice, a, mean rank over 6 tasks: a 1.00, b_1 $x 2.00, c 3.00" in printed.output
    assert "Nemenyi" in printed.output
    assert (tmp_path / "out.svg").exists()
    record = json.loads(invoke("--json").output)
    assert record["critical_differences"][0]["groups"] == [["a", "b_1 $x"], ["b_1 $x", "c"]]


def test_too_few_tasks_have_no_diagram(tmp_path: Path) -> None:
    done = CliRunner().invoke(command, ["published:midl2024", "published:midl2024", "-o", str(tmp_path / "cd.png")])
    assert isinstance(done.exception, RequestError)
    assert "5 tasks or more" in str(done.exception)
