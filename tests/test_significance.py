"""Significant bold, and critical differences of mean ranks over tasks."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from click.testing import CliRunner
from test_compare import bootstrap_p, result

from mtbench.analysis.compare import compare
from mtbench.analysis.gather import gather
from mtbench.analysis.layout import TableLayout
from mtbench.analysis.nemenyi import critical_difference, nemenyi
from mtbench.analysis.percase import PerCase
from mtbench.analysis.significance import significant_leads
from mtbench.analysis.table import build_table
from mtbench.cli.compare import command
from mtbench.errors import RequestError
from mtbench.report.criticaldifference import draw
from mtbench.results.schema import CASES, table

ENDINGS = [".png", ".svg", ".pdf"]


def bold(tables: tuple[pa.Table, pa.Table], **options: Any) -> dict[str, bool]:
    table = build_table(tables[0], cases=tables[1], significant=True, **options)
    return {row.label: row.cells[0].best for row in table.sections[0].rows}


def noisy(gap: float, patients: int = 12, seed: int = 0) -> tuple[pa.Table, pa.Table]:
    """Three translators; the best leads the runner-up by ``gap`` on average, with patients' own differences of 0.1."""
    scores, cases = result({"a": [0.8], "b": [0.8 - gap], "c": [0.3]}, patients)
    values = np.array(cases["value"].to_pylist())
    names = np.array(cases["row_id"].to_pylist())
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
    assert any("beats every other ranked method (paired test by patient" in text for text in table.remarks)


def by_patient(values: Mapping[str, Sequence[float]]) -> tuple[pa.Table, pa.Table]:
    """Translators with one seed, and one slice a patient."""
    scores, cases = result({name: [float(np.mean(of))] for name, of in values.items()}, 1)
    rows = [
        {
            "row_id": row["row_id"],
            "seed": 0,
            "label": "bone",
            "by": "slice",
            "case": f"s{i}",
            "patient": f"p{i}",
            "value": v,
        }
        for row in scores.to_pylist()
        for i, v in enumerate(values[row["translator"]])
    ]
    return scores, pa.Table.from_pylist(rows, schema=cases.schema)


def exact_p(a: Sequence[float], b: Sequence[float]) -> float:
    """Two-sided, by writing down every flip of the patients' signs."""
    differences = [x - y for x, y in zip(a, b, strict=True)]
    seen = [
        abs(sum(s * d for s, d in zip(signs, differences, strict=True))) for signs in product((1, -1), repeat=len(a))
    ]
    return sum(value >= abs(sum(differences)) - 1e-12 for value in seen) / len(seen)


BEST = [0.80, 0.82, 0.79, 0.81, 0.80, 0.83, 0.78, 0.80, 0.81, 0.79, 0.82, 0.80]
CLOSE = [value - 0.02 - 0.001 * i for i, value in enumerate(BEST)]
NOISY = [value + wiggle for value, wiggle in zip(BEST, [0.15, -0.35] * 6, strict=True)]
FAR = [value - 0.3 for value in BEST]


def leads(tables: tuple[pa.Table, pa.Table]) -> tuple[float, str]:
    """The lead in the one column there is."""
    averages = gather(tables[0], runs=True)
    layout = TableLayout(averages, {}, (), (), ())
    values = {r: number.value for (_, r, _), number in averages.numbers.items()}
    places = {r: 1 + sum(other > value for other in values.values()) for r, value in values.items()}
    (lead,) = significant_leads(averages, tables[1], {(0, 0): places}, layout.labels).values()
    return lead.p, lead.reason


def test_the_best_must_beat_every_other_row_and_not_the_runner_up_alone() -> None:
    # The third's mean is the lowest but one, and it wins on every second patient.
    assert np.mean(BEST) > np.mean(CLOSE) > np.mean(NOISY) > np.mean(FAR)
    p = {name: exact_p(BEST, other) for name, other in (("close", CLOSE), ("noisy", NOISY), ("far", FAR))}
    assert p["close"] == p["far"] == 2 / 2**12
    assert p["noisy"] > 0.05
    assert bold(by_patient({"best": BEST, "close": CLOSE, "noisy": NOISY, "far": FAR}))["best"] is False
    assert bold(by_patient({"best": BEST, "close": CLOSE, "far": FAR}))["best"] is True
    # Whatever the order of the rows.
    assert bold(by_patient({"noisy": NOISY, "far": FAR, "best": BEST}))["best"] is False


def test_the_p_of_a_lead_is_the_largest_of_its_comparisons_after_holm() -> None:
    third = [value - 0.02 + wiggle for value, wiggle in zip(BEST, [0.05, -0.04, 0.01, -0.06] * 3, strict=True)]
    raw = sorted(max(exact_p(BEST, other), bootstrap_p(np.subtract(BEST, other))) for other in (CLOSE, third, FAR))
    by_holm, largest = [], 0.0
    for i, value in enumerate(raw):
        largest = max(largest, min(1.0, value * (3 - i)))
        by_holm.append(largest)
    p, reason = leads(by_patient({"best": BEST, "close": CLOSE, "third": third, "far": FAR}))
    assert reason == ""
    assert p == pytest.approx(max(by_holm), rel=0.1)
    assert raw[-1] > 2 / 2**12


def test_a_row_that_is_better_on_the_cases_is_not_beaten() -> None:
    # Its number says otherwise: a metric may be more than the mean of its cases.
    scores, cases = by_patient({"best": CLOSE, "other": BEST})
    values = pa.array([0.9 if name == "best" else 0.1 for name in scores["translator"].to_pylist()])
    scores = scores.set_column(scores.column_names.index("value"), "value", values)
    assert leads((scores, cases))[0] == 1.0
    assert not bold((scores, cases))["best"]


def notes(tables: tuple[pa.Table, pa.Table]) -> tuple[bool, list[str]]:
    """Whether the first row is bold, and its footnotes."""
    table = build_table(tables[0], cases=tables[1], significant=True)
    cell = table.sections[0].rows[0].cells[0]
    return cell.best, [table.footnotes[n - 1] for n in cell.notes]


def without(tables: tuple[pa.Table, pa.Table], row: str) -> tuple[pa.Table, pa.Table]:
    return tables[0], tables[1].filter(pc.not_equal(tables[1]["row_id"], row))


def test_what_cannot_be_tested_is_not_bold_and_says_which_row_and_why() -> None:
    three = by_patient({"best": BEST, "close": CLOSE, "far": FAR})
    assert notes(three) == (True, [])
    unknown = notes(without(three, "far-dice-0-d"))
    assert unknown == (False, ["Not bold, because not tested: no run of far has per-case values."])
    nothing = notes(without(three, "best-dice-0-d"))
    assert nothing == (False, ["Not bold, because not tested: no run of the best has per-case values."])
    assert notes((three[0], three[1].slice(0, 0))) == nothing
    few = notes(by_patient({name: of[:9] for name, of in (("best", BEST), ("close", CLOSE), ("far", FAR))}))
    reason = "9 patients in common with close, far, fewer than 10"
    assert few == (False, [f"Not bold, because not tested: {reason}."])
    tied = notes(by_patient({"best": BEST, "same": BEST, "far": FAR}))
    assert tied == (False, ["Not bold: it shares the first rank."])


def test_every_seed_must_have_values_by_case() -> None:
    two = result({"best": [0.8, 0.82], "other": [0.4, 0.41]})
    assert notes(two) == (True, [])
    lacking = notes(without(two, "other-dice-1-d"))
    assert lacking == (False, ["Not bold, because not tested: not every run of other has per-case values."])


def test_too_many_comparisons_for_so_few_patients_are_said_to_be_so() -> None:
    # Of ten patients the smallest p is 2 / 2^10: of 26 comparisons none can be below 0.05.
    names = [f"t{i:02}" for i in range(27)]
    values = {name: [0.9 - 0.01 * i + 0.001 * k for k in range(10)] for i, name in enumerate(names)}
    assert notes(by_patient({name: values[name] for name in names[:26]})) == (True, [])
    hopeless = "Not bold: with 10 patients, none of the table's 26 comparisons can be significant."
    assert notes(by_patient(values)) == (False, [hopeless])


def test_a_repeated_run_of_a_seed_counts_once_among_its_cases() -> None:
    rows = [("one", 0, 1.0), ("again", 0, 3.0), ("other", 1, 8.0), ("not asked for", 2, 99.0)]
    shared = {"label": "bone", "by": "slice", "case": "s", "patient": "p"}
    cases = table([{"row_id": row, "seed": seed, "value": value, **shared} for row, seed, value in rows], CASES)
    assert PerCase(cases).of(["one", "again", "other"], "bone") == {"s": ("p", 5.0)}


def test_holm_counts_the_columns() -> None:
    # p of one column is near 0.02: bold alone, not among five.
    one = next(noisy(0.09, seed=s) for s in range(50) if bold(noisy(0.09, seed=s))["a"])
    blocks = [one]
    for i in range(6):
        scores, cases = noisy(0.0101, seed=100 + i)
        place = scores.column_names.index("dataset")
        scores = scores.set_column(place, "dataset", pa.array([f"d{i}"] * scores.num_rows))
        for name in ("row_id",):
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
    diagram = critical_difference("a", "dice", ranks)
    assert diagram is not None
    assert list(diagram.ranks) == ["best", "middle", "worst"]
    assert diagram.difference == pytest.approx(2.343 * np.sqrt(12 / 48), abs=1e-3)
    # 1.17: neighbours, one apart, are not told apart; the ends are.
    assert diagram.groups == (("best", "middle"), ("middle", "worst"))
    assert diagram.friedman_p == pytest.approx(np.exp(-8), rel=1e-6)  # chi squared of 16 with two degrees of freedom
    assert critical_difference("a", "dice", {name: values[:4] for name, values in ranks.items()}) is None
    assert critical_difference("a", "dice", {"a": [1.0] * 9, "b": [2.0] * 9}) is None
    ties = critical_difference("a", "dice", {name: [2.0] * 6 for name in "abc"})
    assert ties is not None
    assert (ties.friedman_p, ties.groups) == (1.0, (("a", "b", "c"),))


def tasks(count: int) -> tuple[pa.Table, pa.Table]:
    results = [result({"a": [0.9], "b_1 $x": [0.7], "c": [0.3]}, 2, dataset=f"d{i}") for i in range(count)]
    return pa.concat_tables(m[0] for m in results), pa.concat_tables(m[1] for m in results)


def test_results_with_enough_tasks_are_compared_over_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scores, cases = tasks(6)
    comparison = compare(scores, scores, cases, cases)
    assert [(one.side, one.tasks) for one in comparison.critical] == [("a", 6), ("b", 6)]
    assert dict(comparison.critical[0].ranks) == {"a": 1.0, "b_1 $x": 2.0, "c": 3.0}
    few = tasks(4)[0]
    assert compare(few, few).critical == ()
    for ending in ENDINGS:
        draw(comparison.critical[:1], tmp_path / f"cd{ending}")
        assert (tmp_path / f"cd{ending}").stat().st_size > 2_000
    with pytest.raises(RequestError, match="unknown file format"):
        draw(comparison.critical, tmp_path / "cd.gif")

    def invoke(*arguments: str) -> Any:
        return CliRunner(env={"COLUMNS": "200"}).invoke(command, ["x", "y", *arguments])

    monkeypatch.setattr("mtbench.cli.compare.load", lambda name, table="scores": scores if table == "scores" else cases)
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
    assert "at least 5 common tasks" in str(done.exception)
