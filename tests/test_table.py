"""Scores in, table model out."""

from __future__ import annotations

import math
from typing import Any

import pyarrow as pa
import pytest
from rich.console import Console

from mtbench.analysis.columns import anonymise
from mtbench.analysis.model import Cell, ResultsTable, TableRow
from mtbench.analysis.numbers import format_number
from mtbench.analysis.table import build_table
from mtbench.analysis.terminal import render
from mtbench.errors import DataError, RequestError
from mtbench.results.schema import SCHEMA_VERSION, SCORES, table

FID = {"metric": "fid", "title": "FID", "family": "perceptual", "higher_is_better": False, "extractor": "net"}
SWD = {"metric": "swd", "variant": "karras", "title": "SWD", "family": "perceptual", "higher_is_better": False}
DICE = {
    "metric": "dice",
    "variant": "slice",
    "title": "Dice",
    "family": "segmentation",
    "higher_is_better": True,
    "segmenter": "unet",
    "label": "bone",
}


def row(translator: str, value: float | None, of: dict[str, Any] = FID, /, **more: Any) -> dict[str, Any]:
    return {
        "schema_version": SCHEMA_VERSION,
        "suite": "trial",
        "protocol": "segment-translated",
        "role": "translator",
        "status": "measured",
        "dataset": "phantom",
        "dataset_revision": "1",
        "split": "seed[seed=0]",
        "source_domain": "MR",
        "target_domain": "CT",
        "translator": translator,
        "conditional": False,
        "precision": "fp32",
        "value": value,
        "n": 40,
        "n_translated": 40,
        "n_target": 60,
        "n_patients_translated": 5,
        "n_patients_target": 6,
        **of,
        **more,
    }


def scores(*rows: dict[str, Any]) -> pa.Table:
    return table(rows, SCORES)


def lines(built: ResultsTable, section: int = 0) -> dict[str, list[str]]:
    return {r.label: [c.text for c in r.cells] for r in built.sections[section].rows}


def find(built: ResultsTable, label: str, section: int = 0) -> TableRow:
    return next(r for r in built.sections[section].rows if r.label == label)


def cell(built: ResultsTable, label: str, column: int = 0, section: int = 0) -> Cell:
    return find(built, label, section).cells[column]


def titles(built: ResultsTable, section: int = 0) -> list[str]:
    return [c.title for c in built.sections[section].columns]


@pytest.mark.parametrize(
    ("value", "decimals", "text"),
    [
        (1553.4, None, "1553"),
        (143.6, None, "144"),
        (0.0694, None, "0.0694"),
        (0.9996, None, "1.00"),
        (9.996, None, "10.0"),
        (-0.00012, None, "-0.000120"),
        (0.0, None, "0.00"),
        (3e-9, None, "3.00e-09"),
        (-0.0001, 3, "0.000"),
        (0.9345, 2, "0.93"),
        (math.nan, 2, "nan"),
        (-math.inf, None, "-inf"),
    ],
)
def test_numbers_are_printed_with_three_significant_digits_or_the_decimals_asked_for(
    value: float, decimals: int | None, text: str
) -> None:
    assert format_number(value, decimals) == text


def test_columns_come_by_family_and_labels_stand_beside_each_other() -> None:
    patient = {**DICE, "variant": "patient"}
    built = build_table(
        scores(
            row("a", 10.0),
            row("a", 3.0, SWD),
            row("a", 0.9, {**FID, "metric": "mae", "title": "MAE", "family": "paired"}, measure_unit="HU"),
            row("a", 0.5, DICE, label="breast"),
            row("a", 0.6, patient, label="breast"),
            row("a", 0.7, DICE, label="fgt"),
        )
    )
    assert titles(built) == [
        "Dice[slice] breast ↑",
        "Dice[slice] fgt ↑",
        "Dice[patient] breast ↑",
        "FID ↓",
        "SWD[karras] ↓",
        "MAE (HU) ↓",
    ]
    groups = [(h.text, h.span) for h in built.sections[0].grid().header[1]]
    assert groups == [
        ("Dice[slice] ↑", 2),
        ("Dice[patient] ↑", 1),
        ("Perceptual metrics", 2),
        ("Paired metrics", 1),
    ]


def test_tasks_stand_side_by_side_and_what_was_not_measured_is_a_dash() -> None:
    built = build_table(scores(row("a", 1.0), row("b", 2.0), row("a", 3.0, dataset="other")))
    assert lines(built) == {"a": ["1.00", "3.00"], "b": ["2.00", "–"]}
    assert cell(built, "b", 1).status == "missing"
    assert any(remark.endswith("–: not measured.") for remark in built.remarks)
    assert built.sections[0].grid().joints == (1,)


def test_ties_at_the_printed_precision_are_marked_alike() -> None:
    values = {"a": 0.93411, "b": 0.93399, "c": 0.951, "d": 0.9494, "e": 0.2}
    built = build_table(scores(*(row(name, v, DICE, decimals=3) for name, v in values.items())))
    assert {name: cell(built, name).rank for name in values} == {"a": 3, "b": 3, "c": 1, "d": 2, "e": 4}
    built = build_table(scores(*(row(name, v, DICE, decimals=2) for name, v in values.items())))
    assert {name: cell(built, name).rank for name in values} == {"a": 2, "b": 2, "c": 1, "d": 1, "e": 3}
    assert cell(built, "c").best
    assert cell(built, "d").best
    assert cell(built, "a").runner_up
    assert cell(built, "b").runner_up


def test_lower_is_better_where_the_metric_says_so() -> None:
    built = build_table(scores(row("a", 5.0), row("b", 4.0), row("a", 0.5, DICE), row("b", 0.4, DICE)))
    assert [c.rank for c in find(built, "a").cells] == [1, 2]
    assert [c.rank for c in find(built, "b").cells] == [2, 1]


def test_one_translator_alone_is_not_called_best() -> None:
    assert cell(build_table(scores(row("a", 5.0))), "a").rank is None


def test_conditional_translators_are_ranked_by_the_papers_rule_only() -> None:
    rows = scores(row("a", 5.0), row("b", 6.0), row("c", 1.0, conditional=True))
    built = build_table(rows)
    assert [cell(built, n).rank for n in "abc"] == [1, 2, None]
    assert find(built, "c").conditional
    built = build_table(rows, rule="paper")
    assert [cell(built, n).rank for n in "abc"] == [2, 3, 1]
    assert any(
        "†: conditional (its input is the reference mask), ranked like the others" in remark for remark in built.remarks
    )


def test_the_dagger_gives_the_reason_that_holds_under_the_protocol() -> None:
    def reason(*protocols: str) -> str:
        rows = [row("c", 1.0, conditional=True, protocol=protocol) for protocol in protocols]
        return next(text for text in build_table(scores(*rows)).remarks if text.startswith("†"))

    learnt = "its input is the mask on which the segmenter is then trained, and its own training may read target masks"
    one = "its input is the reference mask"
    assert reason("segment-translated") == f"†: conditional ({one}), not ranked."
    assert reason("train-on-translated") == f"†: conditional ({learnt}), not ranked."
    both = reason("segment-translated", "train-on-translated")
    assert both == f"†: conditional ({one}; under train-on-translated, {learnt}), not ranked."


def test_reference_rows_stand_below_a_rule_in_their_order_and_are_not_ranked() -> None:
    built = build_table(
        scores(
            row("", 0.2, DICE, role="oracle", protocol="reference"),
            row("", 0.99, DICE, role="ceiling", protocol="reference"),
            row("a", 0.5, DICE),
            row("b", 0.4, DICE),
        )
    )
    assert list(lines(built)) == ["a", "b", "ceiling", "oracle"]
    assert titles(built) == ["Dice[slice] bone ↑"]
    assert [r.rule for r in built.sections[0].grid().body] == [False, False, True, False]
    assert cell(built, "ceiling").rank is None
    assert cell(built, "a").best
    (references,) = (remark for remark in built.remarks if remark.startswith("Reference rows: "))
    assert "ceiling, target-trained segmenter on real target test images" in references
    assert "oracle, source-trained segmenter on real source test images" in references
    assert "floor" not in references


def test_seeds_are_averaged_over_folds_first_and_their_deviation_can_be_shown() -> None:
    values = {(0, 0): 1.0, (0, 1): 3.0, (1, 0): 2.0, (1, 1): 6.0}
    rows = scores(*(row("a", v, seed=s, fold=f, decimals=2) for (s, f), v in values.items()))
    number = cell(build_table(rows, spread="std"), "a")
    assert number.value == pytest.approx(3.0)
    assert number.std == pytest.approx(math.sqrt(2))  # of the seeds' means, 2 and 4
    assert (number.seeds, number.folds) == (2, 2)
    assert number.text + number.suffix == "3.00 ± 1.41"
    remarks = build_table(rows).remarks
    assert "Means over 2 folds of patients." in remarks
    assert "Means over 2 seeds." in remarks


def test_intervals_of_seeds_are_averaged_and_those_of_folds_add_in_quadrature() -> None:
    seeds = scores(row("a", 10.0, seed=0, ci_low=8.0, ci_high=13.0), row("a", 12.0, seed=1, ci_low=8.0, ci_high=13.0))
    number = cell(build_table(seeds, spread="interval"), "a")
    assert (number.low, number.high) == (pytest.approx(8.0), pytest.approx(13.0))
    assert number.suffix == " [8.0, 13.0]"
    folds = scores(row("a", 10.0, fold=0, ci_low=7.0, ci_high=13.0), row("a", 10.0, fold=1, ci_low=6.0, ci_high=14.0))
    number = cell(build_table(folds), "a")
    assert number.low == pytest.approx(10 - 2.5)  # sqrt(3² + 4²) / 2
    assert number.suffix == ""


def test_bounds_are_averaged_over_seeds_and_over_folds() -> None:
    rows = scores(
        row("a", 0.5, DICE, seed=0, fold=0, bound_low=0.2, bound_high=0.8),
        row("a", 0.7, DICE, seed=0, fold=1, bound_low=0.4, bound_high=0.9),
        row("b", 0.5, DICE, seed=0, fold=0, bound_low=0.2, bound_high=0.8),
        row("b", 0.5, DICE, seed=0, fold=1),
    )
    built = build_table(rows, spread="bound")
    shown = cell(built, "a")
    assert (shown.bound_low, shown.bound_high) == (pytest.approx(0.3), pytest.approx(0.85))
    assert shown.suffix.startswith(" [0.3")
    assert cell(built, "b").suffix == ""
    assert any("including rare complete failures" in remark for remark in built.remarks)


def test_why_there_is_no_interval_stands_at_the_widest_place_where_it_holds() -> None:
    few, random = "8 patients, at least 10 are needed", "the value is not finite when patients are left out"
    rows = scores(
        row("a", 0.5, DICE, without_interval=few),
        row("b", 0.6, DICE, without_interval=few),
        row("a", 1.0, without_interval=""),
        row("b", 2.0, without_interval=random),
    )
    built = build_table(rows, spread="interval")
    assert set(built.footnotes) == {f"No interval: {few}.", f"No interval: {random}."}
    (column,) = [c for c in built.sections[0].columns if c.metric == "dice"]
    assert [built.footnotes[n - 1] for n in column.notes] == [f"No interval: {few}."]
    assert [built.footnotes[n - 1] for n in cell(built, "b", 1).notes] == [f"No interval: {random}."]
    assert any("assumes that rare complete failures are represented" in remark for remark in built.remarks)
    assert build_table(rows).footnotes == ()


def test_a_marked_column_says_why_it_has_no_interval() -> None:
    note, few = "random weights", "9 translated patients and 20 target patients, at least 10 of each are needed"
    rows = scores(*(row(n, 1.0, mark="*", note=note, without_interval=few) for n in "ab"))
    built = build_table(rows, spread="interval")
    assert built.footnotes == (f"No interval: {few}.",)
    assert built.sections[0].columns[0].notes == (1,)
    assert any(note in remark for remark in built.remarks)


def test_a_run_that_was_repeated_counts_once() -> None:
    rows = scores(row("a", 1.0, seed=0), row("a", 1.0, seed=0, suite="again"), row("a", 4.0, seed=1))
    assert cell(build_table(rows), "a").value == pytest.approx(2.5)


def test_parameters_are_shown_where_a_translator_has_several_sets() -> None:
    built = build_table(
        scores(
            row("gan", 1.0, translator_params="{}"),
            row("gan", 2.0, translator_params='{"epochs": 5, "lr": 0.1}'),
            row("gan", 3.0, translator_params='{"epochs": 9, "lr": 0.1}'),
            row("other", 3.0, translator_params='{"bins": 9}'),
        )
    )
    assert list(lines(built)) == ["gan", "gan[epochs=5,lr=0.1]", "gan[epochs=9,lr=0.1]", "other"]


def test_versions_of_a_translator_are_rows_of_their_own_named_by_what_differs() -> None:
    versions = [
        '{"code":"c","revision":"1"}',
        '{"code":"c","revision":"2"}',
        '{"code":"c","revision":"2","fit weights":"vgg"}',
    ]
    built = build_table(scores(*(row("gan", float(i), translator_version=v) for i, v in enumerate(versions, 1))))
    assert lines(built) == {
        "gan[revision=1]": ["1.00"],
        "gan[revision=2]": ["2.00"],
        "gan[fit weights=vgg,revision=2]": ["3.00"],
    }
    # Seeds of one version are averaged, those of two are not.
    built = build_table(scores(*(row("gan", 1.0 + s, seed=s, translator_version=versions[s // 2]) for s in range(4))))
    assert lines(built) == {"gan[revision=1]": ["1.50"], "gan[revision=2]": ["3.50"]}


def test_a_run_that_failed_before_its_files_were_read_stands_in_the_row_of_its_translator() -> None:
    known = row("a", 1.0, seed=0, translator_version='{"files sha256":"f"}')
    failed = row("a", None, seed=1, status="failed", note="no such file")
    built = build_table(scores(known, failed, row("b", 2.0), row("c", 3.0)))
    assert lines(built) == {"a": ["1.00"], "b": ["2.00"], "c": ["3.00"]}
    assert cell(built, "a").rank is None
    assert built.footnotes == ("Not ranked: only some of its runs succeeded (no such file).",)


@pytest.mark.parametrize(
    ("one", "other", "headers"),
    [
        ({"extractor": "x"}, {"extractor": "y"}, ["FID[x] ↓", "FID[y] ↓"]),
        ({}, {"precision": "bf16"}, ["FID ↓", "FID[bf16] ↓"]),
        ({"weights_sha256": "aaa"}, {"weights_sha256": "bbb"}, ["FID[weights aaa] ↓", "FID[weights bbb] ↓"]),
        ({"variant": "u"}, {"variant": "v"}, ["FID[u] ↓", "FID[v] ↓"]),
        ({"metric_params": '{"n": 5, "k": 1}'}, {"metric_params": '{"n": 9, "k": 1}'}, ["FID[n=5] ↓", "FID[n=9] ↓"]),
        ({}, {"metric": "fid2"}, ["FID[fid] ↓", "FID[fid2] ↓"]),
        (
            {"sampling_params": '{"draws":5,"sampling_seed":0}'},
            {"sampling_params": '{"draws":1,"sampling_seed":0}'},
            ["FID[draws=5] ↓", "FID[draws=1] ↓"],
        ),
        ({"threads": 1}, {"threads": 2}, ["FID[threads 1] ↓", "FID[threads 2] ↓"]),
        (
            {"metric_version": '{"plugin":"fid","revision":"1"}'},
            {"metric_version": '{"plugin":"fid","revision":"2"}'},
            ["FID[metric revision=1] ↓", "FID[metric revision=2] ↓"],
        ),
        (
            {"segmenter_version": '{"revision":"1"}'},
            {"segmenter_version": '{"revision":"2"}'},
            ["FID[segmenter revision=1] ↓", "FID[segmenter revision=2] ↓"],
        ),
    ],
)  # fmt: skip
def test_numbers_that_are_not_comparable_never_share_a_column(
    one: dict[str, Any], other: dict[str, Any], headers: list[str]
) -> None:
    built = build_table(scores(row("a", 1.0, **one), row("b", 2.0, **one), row("c", 0.5, **other)))
    headings = [t.replace("[fp32, ", "[").replace("[fp32]", "") for t in titles(built)]
    assert headings == headers
    assert lines(built) == {"a": ["1.00", "–"], "b": ["2.00", "–"], "c": ["–", "0.500"]}
    assert cell(built, "a").best


def test_precision_is_named_on_both_sides_where_it_differs_and_always_when_it_is_not_fp32() -> None:
    assert titles(build_table(scores(row("a", 1.0, precision="bf16")))) == ["FID[bf16] ↓"]
    built = build_table(scores(row("a", 1.0), row("a", 1.0, precision="bf16")))
    assert titles(built) == ["FID[fp32] ↓", "FID[bf16] ↓"]


@pytest.mark.parametrize(
    "change",
    [
        {"dataset_revision": "2"},
        {"dataset_params": '{"size": 96}'},
        {"split": "seed[seed=1]"},
        {"data_sha256": "abcdef0123456789"},
    ],
)
def test_different_data_under_one_name_stand_in_blocks_of_their_own(change: dict[str, Any]) -> None:
    built = build_table(scores(row("a", 1.0), row("b", 2.0), row("b", 0.5, **change)))
    assert lines(built) == {"a": ["1.00", "–"], "b": ["2.00", "0.500"]}
    blocks = [h.text for h in built.sections[0].grid().header[0]]
    assert len(set(blocks)) == 2
    assert all(block.startswith("phantom: MR → CT [") for block in blocks)
    assert cell(built, "b", 1).rank is None


def test_a_blocks_name_shows_the_hash_of_its_data_only_where_nothing_else_tells_it_apart() -> None:
    rows = [
        row("a", 1.0, data_sha256="1" * 64, dataset_params="{}"),
        row("a", 2.0, data_sha256="2" * 64, dataset_params="{}"),
        row("a", 3.0, data_sha256="3" * 64, dataset_params='{"size":96}'),
    ]
    two = [h.text for h in build_table(scores(rows[0], rows[2])).sections[0].grid().header[0]]
    assert two == ["phantom: MR → CT", "phantom: MR → CT [size=96]"]
    three = [h.text for h in build_table(scores(*rows)).sections[0].grid().header[0]]
    assert three == ["phantom: MR → CT [data 11111111]", "phantom: MR → CT [data 22222222]", two[1]]


def test_caveat_columns_stand_apart_under_it_and_take_no_bold() -> None:
    random = {**FID, "variant": "inception-random", "caveat": "random features: not FID, not comparable"}
    built = build_table(scores(row("a", 1.0, random), row("b", 2.0, random), row("a", 3.0), row("b", 2.0)))
    main, apart = built.sections
    assert (main.heading, apart.heading) == ("", "random features: not FID, not comparable")
    assert titles(built, 1) == ["FID[inception-random] ↓"]
    assert lines(built, 1) == {"a": ["1.00"], "b": ["2.00"]}
    assert all(c.rank is None for r in apart.rows for c in r.cells)
    assert cell(built, "b").best


@pytest.mark.parametrize("best", ["identity", "same"])
def test_a_column_that_says_nothing_without_a_row_is_not_ranked_without_it(best: str) -> None:
    kept = {**FID, "metric": "kept", "title": "Kept", "higher_is_better": True, "beside": "identity"}
    rows = [row("a", 1.2, kept), row("b", 1.4, kept), row("a", 3.0), row("b", 2.0), row(best, 9.0)]
    why = "Not ranked: it says nothing without the row of 'identity', which has the best possible value."
    without = build_table(scores(*rows))
    place = titles(without).index("Kept ↑")
    assert all(r.cells[place].rank is None for r in without.sections[0].rows)
    assert without.footnotes[without.sections[0].columns[place].notes[0] - 1] == why
    assert cell(without, "b", titles(without).index("FID ↓")).best
    # The row counts by its plugin, whatever the suite calls it; that of another metric does not.
    version = {"translator_version": '{"plugin":"identity"}'}
    there = build_table(scores(*rows[:-1], row(best, 2.0, kept, **version)))
    assert [cell(there, name, place).rank for name in (best, "b", "a")] == [1, 2, 3]
    assert why not in there.footnotes
    # A table of some rows is ranked by these.
    assert (
        cell(build_table(scores(*rows[:-1], row(best, 2.0, kept, **version)), rows=["a", "b"]), "b", place).rank is None
    )


def test_failed_and_skipped_cells_are_seen_with_their_reasons() -> None:
    built = build_table(
        scores(
            row("a", 1.0),
            row("b", None, status="failed", note="out of memory", extractor=""),
            row("c", None, status="skipped", note="the fit of c failed"),
            row("d", None, status="failed", note="out of memory"),
        )
    )
    assert lines(built) == {"a": ["1.00"], "b": ["failed"], "c": ["skipped"], "d": ["failed"]}
    assert titles(built) == ["FID ↓"]
    assert built.footnotes == ("out of memory.", "the fit of c failed.")
    assert [cell(built, n).notes for n in "abcd"] == [(), (1,), (2,), (1,)]


def test_a_failure_that_knows_no_label_fills_the_column_of_every_label_of_its_task() -> None:
    built = build_table(
        scores(
            row("a", 0.5, DICE, label="breast"),
            row("a", 0.6, DICE, label="fgt"),
            row("a", 0.7, DICE, label="bone", dataset="spine"),
            row("b", None, DICE, label="", status="failed", note="bad"),
        )
    )
    assert titles(built) == ["Dice[slice] breast ↑", "Dice[slice] fgt ↑", "Dice[slice] bone ↑"]
    assert lines(built)["b"] == ["failed", "failed", "–"]


def test_a_mean_over_what_is_left_of_the_runs_is_shown_and_not_ranked() -> None:
    built = build_table(
        scores(
            row("a", 5.0, seed=0),
            row("b", 1.0, seed=0),
            row("b", None, seed=1, status="failed", note="diverged"),
            row("c", 7.0, seed=0),
        )
    )
    assert cell(built, "b").text == "1.00"
    assert [cell(built, n).rank for n in "abc"] == [1, None, 2]
    assert built.footnotes == ("Not ranked: only some of its runs succeeded (diverged).",)
    folds = build_table(
        scores(row("a", 5.0, fold=0), row("a", 5.0, fold=1), row("b", 1.0, fold=0), row("c", 1.0, fold=0))
    )
    assert [cell(folds, n).rank for n in "abc"] == [None, None, None]


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_values_that_are_not_finite_are_shown_and_not_ranked(value: float) -> None:
    built = build_table(scores(row("a", value, seed=0), row("a", 1.0, seed=1), row("b", 2.0), row("c", 3.0)))
    assert cell(built, "a").text == str(value)
    assert [cell(built, n).rank for n in "abc"] == [None, 1, 2]
    assert built.footnotes == ("Not ranked: not a finite number.",)


def test_when_everything_failed_the_table_says_so() -> None:
    built = build_table(scores(*(row(n, None, status="failed", note="no disk space") for n in "ab")))
    assert lines(built) == {"a": ["failed"], "b": ["failed"]}
    assert built.footnotes == ("no disk space.",)


def test_an_empty_result_has_no_section() -> None:
    built = build_table(SCORES.empty_table())
    assert built.sections == ()
    console = Console(record=True, width=80)
    render(built, console)
    assert "No scores to show." in console.export_text()


def test_probes_have_no_place_in_the_table() -> None:
    assert list(lines(build_table(scores(row("a", 1.0), row("b", 2.0, role="probe"))))) == ["a"]


def test_notes_stand_at_the_widest_place_where_they_hold() -> None:
    built = build_table(
        scores(
            row("a", 1.0, note="small N", mark="*"),
            row("b", 2.0, note="small N", mark="*"),
            row("a", 1.0, SWD, note="patches are few"),
            row("b", 2.0, SWD, note="patches are few"),
            row("a", 0.5, DICE, note="an empty mask"),
            row("b", 0.4, DICE),
        )
    )
    assert titles(built) == ["Dice[slice] bone ↑", "FID* ↓", "SWD[karras] ↓"]
    assert "* FID: small N." in built.remarks
    swd, dice = built.sections[0].columns[2], cell(built, "a", 0)
    assert [built.footnotes[n - 1] for n in swd.notes] == ["patches are few."]
    assert [built.footnotes[n - 1] for n in dice.notes] == ["an empty mask."]
    assert cell(built, "b", 0).notes == ()
    everywhere = "VGG loss left out"
    noted = [row("a", 1.0, of, note=everywhere) for of in (FID, SWD)]
    built = build_table(scores(*noted, row("b", 1.0), row("b", 1.0, SWD)))
    assert [built.footnotes[n - 1] for n in find(built, "a").notes] == ["VGG loss left out."]


def test_counts_and_task_notes_stand_below() -> None:
    built = build_table(scores(row("a", 1.0, task_note="pipeline run, not a result"), row("b", 2.0)))
    assert "phantom: MR → CT: pipeline run, not a result." in built.remarks
    both = build_table(scores(row("a", 1.0, task_note="a pilot."), row("b", 2.0, task_note="crops")))
    assert "phantom: MR → CT: a pilot; crops." in both.remarks
    counts = "40 translated (5 patients), 60 target (6 patients); N = 40 for FID"
    assert f"Test images: {counts}." in built.remarks
    folds = build_table(scores(row("a", 1.0, fold=0), row("a", 2.0, fold=1)))
    assert f"Test images: in each fold, {counts}." in folds.remarks
    demo = build_table(scores(row("a", 1.0, split="demo[seed=0]")))
    assert any(text.startswith("phantom: MR → CT: not a result: the split 'demo'") for text in demo.remarks)


def test_the_floor_says_how_many_images_and_patients_it_is_drawn_from() -> None:
    floor = row("", 9.0, role="floor", n_translated=240, n_patients_translated=30)
    built = build_table(scores(row("a", 1.0), floor))
    text = "Floor: N = 40 (as for the translators), from 240 target training images (30 patients)."
    assert text in built.remarks
    whole = row("", 9.0, role="floor", n_translated=40, n_patients_translated=1)
    built = build_table(scores(row("a", 1.0), whole))
    assert any("translators), from 40 target training images (1 patient)." in text for text in built.remarks)
    small = row("", 9.0, role="floor", n=32, n_translated=32, n_patients_translated=4)
    built = build_table(scores(row("a", 1.0, n=56), small))
    text = "Floor: N = 32 (translators: 56), from 32 target training images (4 patients)."
    assert text in built.remarks
    assert not any("target training images (" in text for text in build_table(scores(row("a", 1.0))).remarks)
    unshown = build_table(scores(row("a", 1.0), floor), rows=["a"])
    assert not any("target training images (" in text for text in unshown.remarks)


def test_no_path_reaches_a_table() -> None:
    secret = "/home/jane/private"
    built = build_table(
        scores(
            row("a", 1.0, translator_params=f'{{"checkpoint": "{secret}/one.pt"}}'),
            row("a", 2.0, translator_params=f'{{"checkpoint": "{secret}/two.pt"}}', task_note=f"see {secret}"),
            row("b", None, status="failed", note=f"cannot read '{secret}/x.png': it is torn"),
        )
    )
    assert "jane" not in repr(built)
    assert list(lines(built)) == ["a[checkpoint=…/one.pt]", "a[checkpoint=…/two.pt]", "b"]
    assert built.footnotes == ("cannot read '…/x.png': it is torn.",)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (r"C:\Users\jane\x.png is torn", "…/x.png is torn"),
        ("~/data/x.png.", "…/x.png."),
        ("see https://example.org/jane and 3/4 km/h", "see https://example.org/jane and 3/4 km/h"),
        ("MR → CT, Siemens/GE, <a>x</a>", "MR → CT, Siemens/GE, <a>x</a>"),
        ("IOError:/home/jane/x.png, file:///home/jane/y", "IOError:…/x.png, file://…/y"),
        ("(/mnt/jane/x) and /data", "(…/x) and …/data"),
    ],
)
def test_only_folders_of_absolute_paths_are_taken_out(text: str, shown: str) -> None:
    assert anonymise(text) == shown


def test_rows_columns_and_tasks_can_be_chosen_ordered_and_renamed() -> None:
    rows = scores(*(row(n, v, m) for n in ("a", "bb") for v, m in ((1.0, FID), (2.0, SWD), (0.3, DICE))))
    built = build_table(
        rows, columns=["swd[karras]", "f*"], rows=["bb", "a"], rename={"bb": "Model B", "fid": "Fréchet"}
    )
    assert list(lines(built)) == ["Model B", "a"]
    assert titles(built) == ["SWD[karras] ↓", "Fréchet ↓"]
    built = build_table(rows, decimals={"fid": 4}, datasets=["phantom"], ranks=True)
    assert cell(built, "a", 1).text == "1.0000"
    assert cell(built, "a", 1).suffix == " (1)"
    assert build_table(rows, decimals=1).sections[0].rows[0].cells[0].text == "0.3"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"columns": ["fit"]}, "no column is called 'fit'. Did you mean 'fid'"),
        ({"rows": ["cycelgan"]}, "Did you mean 'cyclegan'"),
        ({"datasets": ["nothing"]}, "Expected one of phantom"),
        ({"decimals": {"psnr": 2}}, "unknown metric"),
        ({"rule": "mine"}, "unknown rule 'mine'"),
        ({"spread": "range"}, "unknown spread 'range'"),
    ],
)
def test_what_cannot_be_chosen_is_answered(options: dict[str, Any], message: str) -> None:
    with pytest.raises(RequestError) as caught:
        build_table(scores(row("cyclegan", 1.0)), **options)
    assert message in str(caught.value)


def test_transposed_puts_translators_side_by_side() -> None:
    rows = scores(row("a", 1.0), row("b", 2.0), row("a", 3.0, dataset="other"), row("a", 9.0, role="floor"))
    grid = build_table(rows, transposed=True).sections[0].grid()
    assert [h.text for h in grid.header[0]] == ["a", "b", "floor (a)"]
    assert [(line.group, line.head.text, [c.text for c in line.cells]) for line in grid.body] == [
        ("phantom: MR → CT", "FID ↓", ["1.00", "2.00", "9.00"]),
        ("other: MR → CT", "FID ↓", ["3.00", "–", "–"]),
    ]


def test_rows_of_another_schema_version_are_refused() -> None:
    with pytest.raises(DataError, match="schema version 1 and 3"):
        build_table(scores(row("a", 1.0), row("b", 1.0, schema_version=1)))
    with pytest.raises(DataError, match=r"schema version 1\. Expected rows of version 3"):
        build_table(scores(row("b", 1.0, schema_version=1)))
    with pytest.raises(DataError, match="lacks the column weights_sha256"):
        build_table(scores(row("a", 1.0)).drop_columns(["weights_sha256"]))


def test_the_terminal_shows_marks_and_leaves_markup_in_names_alone() -> None:
    built = build_table(
        scores(row("[red]x[/red]", 1.0), row("b", 2.0), row("c", None, status="failed", note="[bold]why"))
    )
    colour = Console(record=True, width=100, force_terminal=True, color_system="standard", _environ={})
    with colour.capture() as capture:
        render(built, colour)
    shown = capture.get()
    assert "\x1b[1m1.00\x1b[0m" in shown
    assert "\x1b[4m2.00\x1b[0m" in shown
    plain = Console(record=True, width=100, force_terminal=False, _environ={})
    with plain.capture() as capture:
        render(built, plain)
    shown = capture.get()
    assert "[red]x[/red]" in shown
    assert "**1.00**" in shown
    assert "__2.00__" in shown
    assert "failed¹" in shown
    assert "¹ [bold]why." in shown


def test_two_tasks_share_a_line_of_the_legend() -> None:
    built = build_table(
        scores(row("a", 1.0), row("b", 2.0), row("a", 3.0, dataset="other"), row("b", 2.0, dataset="other"))
    )
    counts = "40 translated (5 patients), 60 target (6 patients); N = 40 for FID"
    assert f"Test images (each task): {counts}." in built.remarks
    more = row("a", 3.0, dataset="other", n_translated=48)
    built = build_table(scores(row("a", 1.0), row("b", 2.0), more))
    others = counts.replace("40 translated", "48 translated")
    assert f"Test images: phantom: MR → CT: {counts}. other: MR → CT: {others}." in built.remarks
    assert len(built.remarks) == 2
