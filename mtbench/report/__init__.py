"""The HTML report and figures for papers."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from mtbench.analysis.model import ResultsTable, Spread
from mtbench.analysis.ranking import Rule
from mtbench.analysis.table import build_table
from mtbench.errors import RequestError, close_matches
from mtbench.ledger import Rules
from mtbench.paths import storable
from mtbench.report.changes import TaskLedger, find_changes
from mtbench.report.choosing import PLACES
from mtbench.report.evidence import Evidence
from mtbench.report.examples import find_examples
from mtbench.report.result import Result
from mtbench.store.artefacts import Store
from mtbench.store.files import write_whole
from mtbench.store.folders import store_folder


def write_report(
    results: str | os.PathLike[str],
    output: Path | None = None,
    *,
    store: str | None = None,
    datasets: Sequence[str] = (),
    rows: Sequence[str] = (),
    columns: Sequence[str] = (),
    slices: Sequence[str] = (),
    rule: Rule = "default",
    rename: Mapping[str, str] | None = None,
    title: str = "",
    with_provenance: bool = False,
) -> Path:
    """Write the report of a result as one self-contained HTML file.

    Args:
        results: a results directory, or ``published:NAME``.
        output: the file; ``report.html`` in the results directory by default, ``NAME.html`` here for published ones.
        store: the artefact store that holds the images; ``MTBENCH_STORE`` or the user's cache folder by default.
            The page says which images are missing.
        datasets, rows, columns: tasks, translators and metrics to show; all if empty.
        slices: slices to show: "worst", "median", "best", or ids; those three and each translator's worst by default.
        rule: "paper" ranks and correlates as Konz et al. (MIDL 2024) do.
        rename: printed names for translators, metrics and datasets.
        title: the heading; the suite's name by default.
        with_provenance: also show host names, folders and logs.

    Returns:
        The file.

    Raises:
        RequestError: there is no such result, or a name matches nothing.
        StoreError: cannot write the file.
    """
    from mtbench.report.content import report

    result, evidence = _open(results, store, datasets, rows, columns, rename, with_provenance)
    _check_slices(result, slices)
    table = _table(result, rule, title, "interval")
    page = report(result, table, evidence, title=title, with_provenance=with_provenance, slices=slices)
    name = os.fspath(results)
    published = name.removeprefix("published:")
    path = output or (Path(name) / "report.html" if published == name else Path(f"{published}.html"))
    write_whole(path, lambda file: file.write(storable(page).encode()))
    return path


def write_figure(
    figure: str,
    results: str | os.PathLike[str],
    output: Path,
    *,
    store: str | None = None,
    datasets: Sequence[str] = (),
    rows: Sequence[str] = (),
    columns: Sequence[str] = (),
    slices: Sequence[str] = (),
    rule: Rule = "default",
    rename: Mapping[str, str] | None = None,
    title: str = "",
    with_provenance: bool = False,
) -> str:
    """Write one figure for a paper: PNG, SVG or PDF by the file's ending.

    Args:
        figure: "examples" (Figure 1 of the paper: one line for each slice, the median one of each task by default),
            "correlation" (Figure 2) or "table" (Table 1).
        results, output, store, datasets, rows, columns, slices, rule, rename, title: as in :func:`write_report`.
        with_provenance: ignored, since figures show no provenance.

    Returns:
        The characters that no installed font has; they are drawn as boxes.

    Raises:
        RequestError: as in :func:`write_report`; or unknown file format, or nothing to draw.
    """
    from mtbench.report import figures
    from mtbench.report.heatmap import check

    check(output)
    result, evidence = _open(results, store, datasets, rows, columns, rename)
    if figure == "table":
        return figures.draw_table(_table(result, rule, title, "none"), output)
    if figure == "correlation":
        from mtbench.report.content import correlate_result

        return figures.draw_correlation(correlate_result(result, rule), output, os.fspath(results))
    _check_slices(result, slices)
    return figures.draw_examples(find_examples(result, evidence, slices or ("median",)), output)


def find_ledger(
    results: str | os.PathLike[str],
    rules: Rules,
    *,
    store: str | None = None,
    datasets: Sequence[str] = (),
) -> list[TaskLedger]:
    """The structures that each translation added, lost, moved or resized, task by task.

    Args:
        results: a results directory.
        rules: from where on a difference is a change.
        store, datasets: as in :func:`write_report`.

    Raises:
        RequestError: there is no such result, or a name matches nothing.
    """
    result, evidence = _open(results, store, datasets, (), (), None)
    return find_changes(result, evidence, rules)


def _open(
    results: str | os.PathLike[str],
    store: str | None,
    datasets: Sequence[str],
    rows: Sequence[str],
    columns: Sequence[str],
    rename: Mapping[str, str] | None,
    private: bool = False,
) -> tuple[Result, Evidence]:
    result = Result(os.fspath(results), rows=rows, datasets=datasets, columns=columns, rename=rename, private=private)
    return result, Evidence(result.attempts, Store(store_folder(store)))


def _table(result: Result, rule: Rule, title: str, spread: Spread) -> ResultsTable:
    return build_table(result.scores, rule=rule, spread=spread, rename=result.rename, title=title, **result.selection)


def _check_slices(result: Result, slices: Sequence[str]) -> None:
    ids = {case for values in result.cases for case in values.cases}
    for name in slices:
        if ids and name not in PLACES and name not in ids:
            raise RequestError(
                f"unknown slice '{name}'",
                matches=close_matches(name, sorted(ids)),
                expected="worst, median, best, or the id of a test slice",
            )
