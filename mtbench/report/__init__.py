"""The HTML report and figures for papers."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mtbench.analysis.table import build_table
from mtbench.errors import RequestError, close_matches
from mtbench.report.choosing import PLACES
from mtbench.report.evidence import Evidence
from mtbench.report.examples import find_examples
from mtbench.report.reading import Reading
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
    rule: Any = "default",
    rename: Mapping[str, str] | None = None,
    title: str = "",
    with_provenance: bool = False,
) -> Path:
    """Write the report of a result as one HTML file that holds everything it shows.

    Args:
        results: a results directory, or ``published:NAME``.
        output: the file; ``report.html`` in the results directory by default, ``NAME.html`` here for published ones.
        store: the artefact store that holds the images; ``MTBENCH_STORE`` or the user's cache folder by default.
            Where they are not there, the page says so in their place.
        datasets, rows, columns: tasks, translators and metrics to show; all where empty.
        slices: slices to show: "worst", "median", "best", or ids; those three and each translator's worst by default.
        rule: "paper" ranks and correlates as Konz et al. (MIDL 2024) do.
        rename: printed names for translators, metrics and datasets.
        title: the heading; the suite's name by default.
        with_provenance: show host names, folders and logs, too.

    Returns:
        The file.

    Raises:
        RequestError: that is no result, or a name matches nothing.
        StoreError: the file cannot be written.
    """
    from mtbench.report.content import report

    reading, evidence = _open(results, store, datasets, rows, columns, rename)
    _check_slices(reading, slices)
    table = _table(reading, rule, title, "interval")
    page = report(reading, table, evidence, title=title, with_provenance=with_provenance, slices=slices)
    path = output or _default(os.fspath(results))
    write_whole(path, lambda file: file.write(page.encode("utf-8")))
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
    rule: Any = "default",
    rename: Mapping[str, str] | None = None,
    title: str = "",
    with_provenance: bool = False,
) -> str:
    """Write one figure for a paper: PNG, SVG or PDF by the file's ending.

    Args:
        figure: "examples" (Figure 1 of the paper: one line for each slice, the median one of each task by default),
            "correlation" (Figure 2) or "table" (Table 1).
        results, output, store, datasets, rows, columns, slices, rule, rename, title: as in :func:`write_report`.
        with_provenance: no figure shows any; accepted so that both calls take the same.

    Returns:
        The letters that no installed font has, drawn as boxes.

    Raises:
        RequestError: as in :func:`write_report`; or the ending is another, or there is nothing to draw.
    """
    from mtbench.report import figures
    from mtbench.report.heatmap import check

    check(output)
    reading, evidence = _open(results, store, datasets, rows, columns, rename)
    if figure == "table":
        return figures.draw_table(_table(reading, rule, title, "none"), output)
    if figure == "correlation":
        from mtbench.report.content import correlations

        return figures.draw_correlation(correlations(reading, rule), output, os.fspath(results))
    _check_slices(reading, slices)
    return figures.draw_examples(find_examples(reading, evidence, slices or ("median",)), output)


def _open(
    results: str | os.PathLike[str],
    store: str | None,
    datasets: Sequence[str],
    rows: Sequence[str],
    columns: Sequence[str],
    rename: Mapping[str, str] | None,
) -> tuple[Any, Any]:
    reading = Reading(os.fspath(results), rows=rows, datasets=datasets, columns=columns, rename=rename)
    return reading, Evidence(reading.attempts, Store(store_folder(store)))


def _table(reading: Any, rule: Any, title: str, spread: Any) -> Any:
    return build_table(
        reading.scores, rule=rule, spread=spread, rename=reading.rename, title=title, **reading.selection
    )


def _check_slices(reading: Any, slices: Sequence[str]) -> None:
    known = {case for found in reading.cases for case in found.cases}
    for name in slices:
        if known and name not in PLACES and name not in known:
            raise RequestError(
                f"no slice is called '{name}'",
                matches=close_matches(name, sorted(known)),
                expected="worst, median, best, or the id of a test slice",
            )


def _default(results: str) -> Path:
    if results.startswith("published:"):
        return Path(f"{results.partition(':')[2]}.html")
    return Path(results) / "report.html"
