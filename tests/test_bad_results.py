"""Results as they should not be, through every command that reads them."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
from test_exporters import NASTY, nasty_scores

from mtbench.results.directory import Results
from mtbench.results.entries import entry_of
from mtbench.results.verify import verify

FORMATS = ["md", "csv", "tex", "html", "json"]
COLUMNS = {
    "suite": "bad",
    "protocol": "segment-translated",
    "role": "translator",
    "dataset": "d",
    "dataset_revision": "1",
    "split": "s",
    "translator": "t",
    "conditional": False,
    "precision": "fp32",
}
METRICS: dict[str, dict[str, Any]] = {
    "dice": {"title": "Dice", "family": "segmentation", "higher_is_better": True},
    "fid": {"title": "FID", "family": "perceptual", "higher_is_better": False},
}


def directory(name: str, rows: list[dict[str, Any]]) -> str:
    """A results directory with these rows; ``value`` and ``note`` are of the score, the others columns."""
    results = Results.create(Path(name), "bad")
    with results.writing():
        for place, row in enumerate(rows):
            status = "measured" if row.get("value") is not None else "failed"
            columns = {**COLUMNS, "unit_key": str(place), **row}
            score = {"label": columns.pop("label", ""), "value": columns.pop("value", None)}
            columns = {"status": status, **{k: v for k, v in columns.items() if v is not None}}
            score["note"] = columns.pop("note", "")
            record = {"type": "row", "row": str(place), "mark": "", "status": status, "columns": columns, "cases": []}
            results.append(entry_of({**record, "scores": [score]}))
    return name


def rows(values: dict[str, tuple[float | None, float | None]], **more: Any) -> list[dict[str, Any]]:
    """A Dice and an FID for each translator."""
    return [
        {"translator": name, "metric": metric, **METRICS[metric], "value": value, "note": "no memory", **more}
        for name, pair in values.items()
        for metric, value in zip(METRICS, pair, strict=True)
    ]


def test_an_empty_result_is_answered_by_every_command(run_cli: Any) -> None:
    empty = directory("empty", [])
    for command in (["export", empty], ["correlate", empty], ["compare", empty, empty]):
        done = run_cli(*command)
        assert done.code == 2, done.err
        assert any(text in done.err for text in ("no scores to show", "nothing to correlate", "share nothing"))
    shown = run_cli("results", "show", empty)
    assert (shown.code, "No scores to show" in shown.out) == (0, True)
    assert run_cli("results", "verify", empty).code == 0


def test_one_translator_is_shown_and_neither_ranked_nor_correlated(run_cli: Any) -> None:
    one = directory("one", rows({"t": (0.5, 9.0)}))
    table = json.loads(run_cli("export", one, "--format", "json").out)
    assert [c["rank"] for c in table["sections"][0]["rows"][0]["cells"]] == [None, None]
    correlation = json.loads(run_cli("correlate", one, "--json").out)["correlations"][0]
    assert (correlation["n"], correlation["pearson"]["value"], correlation["pearson"]["p"]) == (1, None, None)
    assert "No correlation with fewer than 3" in run_cli("correlate", one).out
    assert run_cli("compare", one, one).code == 0


@pytest.mark.parametrize("format_", FORMATS)
def test_when_all_cells_failed_every_format_says_why(format_: str, run_cli: Any) -> None:
    failed = directory("failed", rows({"a": (None, None), "b": (None, None)}))
    done = run_cli("export", failed, "--format", format_)
    assert done.code == 0, done.err
    # In CSV a cell is a number or empty; the notes say why.
    assert ("failed" in done.out) == (format_ != "csv")
    assert "no memory" in done.out


def test_when_all_cells_failed_there_is_nothing_to_correlate_or_rank(run_cli: Any) -> None:
    failed = directory("failed", rows({"a": (None, None), "b": (None, None)}))
    done = run_cli("correlate", failed)
    assert done.code in (0, 2)
    assert "No correlation" in done.out or "nothing to correlate" in done.err
    assert "failed" in run_cli("compare", failed, failed).out
    assert "failed" in run_cli("results", "show", failed).out


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_values_that_are_not_finite_take_no_part(value: float, run_cli: Any) -> None:
    good = {"a": (0.1, 4.0), "b": (0.2, 3.0), "c": (0.3, 2.5), "d": (0.4, 2.0)}
    odd = directory("odd", rows({**good, "e": (value, 1.0)}))
    table = json.loads(run_cli("export", odd, "--format", "json").out, parse_constant=pytest.fail)
    cell = table["sections"][0]["rows"][4]["cells"][0]
    assert (cell["text"], cell["value"], cell["rank"]) == (str(value), None, None)
    correlation = json.loads(run_cli("correlate", odd, "--json").out, parse_constant=pytest.fail)["correlations"][0]
    assert correlation["translators"] == ["a", "b", "c", "d"]
    compared = json.loads(run_cli("compare", odd, odd, "--json").out, parse_constant=pytest.fail)
    assert [i["rank_a"] for i in compared["items"] if i["metric_name"] == "dice"] == [4, 3, 2, 1, None]
    assert not [f for f in verify(Path(odd)) if "tables" in f.where]


def test_odd_names_reach_terminal_json_and_figures_as_they_are(run_cli: Any, tmp_path: Path) -> None:
    plain = [n for n in NASTY if "\n" not in n and "/" not in n]
    values = {name: (0.1 * i, float(i % 5)) for i, name in enumerate(plain)}
    odd = directory("odd", rows(values, dataset=plain[0]))
    # What turns the direction of the text around is shown as a sign of its own.
    names = [name.replace("\u202e", "\ufffd") for name in plain]
    shown = run_cli("results", "show", odd).out
    correlation = json.loads(run_cli("correlate", odd, "--json").out)["correlations"][0]
    assert correlation["translators"] == names
    assert correlation["dataset"] == names[0]
    compared = run_cli("compare", odd, odd)
    for name in names:
        assert name in shown
        assert name in compared.out
    drawn = run_cli("correlate", odd, "--heatmap", tmp_path / "h.svg")
    assert drawn.code == 0, drawn.err
    assert "<script" not in (tmp_path / "h.svg").read_text()
    assert nasty_scores().num_rows == 3 * len(NASTY)


def test_other_data_under_one_name_are_never_mixed(run_cli: Any) -> None:
    first = rows({"a": (0.1, 4.0), "b": (0.2, 3.0), "c": (0.3, 2.5)})
    second = rows({"a": (0.6, 1.0), "b": (0.7, 1.5), "c": (0.8, 2.0)}, dataset_revision="2")
    both = directory("both", [*first, *second])
    cells = json.loads(run_cli("export", both, "--format", "json").out)["sections"][0]["rows"][0]["cells"]
    assert [c["value"] for c in cells] == [0.1, 4.0, 0.6, 1.0]
    correlation = json.loads(run_cli("correlate", both, "--json").out)["correlations"]
    assert len({item["task"] for item in correlation}) == 2
    assert [item["n"] for item in correlation] == [3, 3]
    one, two = directory("one", first), directory("two", second)
    compared = json.loads(run_cli("compare", one, two, "--json").out)
    assert {item["same"] for item in compared["items"]} == {False}
    assert {item["difference"] for item in compared["items"]} == {None}
