"""From a scores table to the table of a paper."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import pyarrow as pa

from mtbench.analysis.cells import CellIndex, Number
from mtbench.analysis.columns import FAMILIES, anonymise, params
from mtbench.analysis.footnotes import SharedNotes, number_of, shared_notes
from mtbench.analysis.gather import Averages, gather
from mtbench.analysis.layout import TableLayout
from mtbench.analysis.legend import legend
from mtbench.analysis.model import Cell, ResultsTable, Section, Spread, Status, TableColumn, TableRow
from mtbench.analysis.numbers import format_number
from mtbench.analysis.ranking import RULES, Rule, lacking, ranked_rows
from mtbench.analysis.significance import Lead, significant_leads
from mtbench.errors import RequestError
from mtbench.results.identity import DETAILS

SPREADS: tuple[Spread, ...] = ("none", "interval", "bound", "std")


def build_table(
    scores: pa.Table,
    *,
    rule: Rule = "default",
    spread: Spread = "none",
    decimals: int | Mapping[str, int] | None = None,
    columns: Sequence[str] = (),
    rows: Sequence[str] = (),
    datasets: Sequence[str] = (),
    transposed: bool = False,
    ranks: bool = False,
    significant: bool = False,
    cases: pa.Table | None = None,
    rename: Mapping[str, str] | None = None,
    title: str = "",
) -> ResultsTable:
    """Arrange the scores in a table: one column for each metric of each task, one row for each translator.

    Seeds and folds are averaged. Best and runner-up are marked in each column, with ties at the printed precision,
    among the ranked translators: by default all except conditional ones, whose input is the reference mask. Scores with
    a caveat, with failed runs, or that are not finite are shown but never ranked. Scores that differ in variant,
    parameters, feature network, weights, precision, threads, draws, segmenter or protocol are in different columns,
    different data in different blocks, and different versions of a translator in different rows.

    Args:
        scores: rows of ``mtbench.results.schema.SCORES``, in any order; failed and skipped ones included.
        rule: "paper" ranks conditional translators too, as Table 1 of Konz et al. (MIDL 2024) does.
        spread: printed after each value: the confidence interval, the limits without assumptions, or the standard
            deviation over seeds.
        decimals: digits after the point for all metrics, or by metric name.
        columns: metrics to show, in that order: ``fid``, ``swd[karras]``, ``dice*``; all if empty.
        rows: translators (or ceiling, floor, oracle) to show, in that order; all if empty.
        datasets: tasks to show, in that order; all if empty.
        transposed: put translators side by side.
        ranks: print the rank after each value.
        significant: print the best in bold only if it significantly beats every other ranked row; see
            :mod:`mtbench.analysis.significance`.
        cases: the cases table, for ``significant``.
        rename: printed names for translators, metrics and datasets.
        title: a caption; by default the suite's name.

    Returns:
        The table, without sections if there is nothing to show.

    Raises:
        RequestError: a name among columns, rows, datasets or decimals matches nothing, or an option has an
            unknown value.
        DataError: the table is not of this version's scores schema.
    """
    for option, value, choices in (("rule", rule, RULES), ("spread", spread, SPREADS)):
        if value not in choices:
            raise RequestError(f"unknown {option} '{value}'", expected="one of " + ", ".join(choices))
    averages = gather(scores, runs=significant)
    texts = _texts(averages, decimals)
    layout = TableLayout(averages, rename or {}, columns, rows, datasets)
    places = {
        (b, c): {}
        if averages.columns[c]["caveat"] or lacking(averages, b, c, layout.rows)
        else ranked_rows(averages, b, c, layout.rows, rule, texts)
        for b, c in layout.columns
    }
    leads = significant_leads(averages, cases, places, layout.labels) if significant else None
    style = _Style(spread, ranks, texts, places, leads)
    footnotes: dict[str, int] = {}
    sections = []
    for caveat in dict.fromkeys(averages.columns[c]["caveat"] for _, c in layout.columns):
        section = _section(averages, layout, caveat, style, footnotes)
        sections.append(replace(section, transposed=transposed))
    sections.sort(key=lambda section: section.heading != "")
    return ResultsTable(
        title=title or ", ".join(averages.suites),
        sections=tuple(sections),
        footnotes=tuple(footnotes),
        remarks=legend(averages, layout, sections, rule, spread, significant=significant),
        rule=rule,
        spread=spread,
        ranks=ranks,
    )


def _texts(averages: Averages, decimals: int | Mapping[str, int] | None) -> dict[CellIndex, str]:
    """The printed values."""
    by_metric: Mapping[str, int] = decimals if isinstance(decimals, Mapping) else {}
    metrics = {entry["metric"] for entry in averages.columns}
    for name in by_metric:
        if name not in metrics:
            raise RequestError(f"unknown metric '{name}' in decimals", expected="one of " + ", ".join(sorted(metrics)))
    digits = [
        decimals if isinstance(decimals, int) else by_metric.get(entry["metric"], entry["decimals"])
        for entry in averages.columns
    ]
    return {key: format_number(number.value, digits[key[2]]) for key, number in averages.numbers.items()}


@dataclass(frozen=True)
class _Style:
    """The style of cells.

    Attributes:
        spread, ranks: the text after each value.
        texts: the printed values.
        places: by block and column, the rank of each ranked row.
        leads: by block and column; ``None`` if not requested.
    """

    spread: Spread
    ranks: bool
    texts: Mapping[CellIndex, str]
    places: Mapping[tuple[int, int], Mapping[int, int]]
    leads: Mapping[tuple[int, int], Lead] | None


def _section(averages: Averages, layout: TableLayout, caveat: str, style: _Style, footnotes: dict[str, int]) -> Section:
    """The columns with the same caveat."""
    places = [place for place in layout.columns if averages.columns[place[1]]["caveat"] == caveat]
    row_numbers = [
        r
        for r in layout.rows
        if averages.rows[r]["role"] == "translator"
        or any((b, r, c) in averages.numbers or (b, r, c) in averages.reasons for b, c in places)
    ]
    shared = shared_notes(averages, places, row_numbers, style.spread == "interval")
    columns = tuple(
        _column(averages, layout, b, c, _column_notes(averages, layout, b, c, shared), footnotes) for b, c in places
    )
    rows = []
    for r in row_numbers:
        entry = averages.rows[r]
        row_notes = (*shared.of_rows.get(r, ()), *averages.row_notes.get((r,), ()))
        numbers = tuple(number_of(footnotes, text) for text in row_notes)
        cells = [_cell(averages, (b, r, c), shared.of_cells.get((b, r, c), ()), style, footnotes) for b, c in places]
        rows.append(
            TableRow(
                layout.labels[r],
                entry["role"],
                entry["translator"],
                params(entry["translator_params"]),
                bool(entry["conditional"]),
                tuple(cells),
                numbers,
            )
        )
    return Section(anonymise(caveat), columns, tuple(rows))


def _column_notes(averages: Averages, layout: TableLayout, b: int, c: int, shared: SharedNotes) -> list[str]:
    """The notes that all cells of a column share, and the row that it lacks."""
    notes = list(shared.of_columns.get((b, c), ()))
    if absent := lacking(averages, b, c, layout.rows):
        notes.append(f"Not ranked: it says nothing without the row of '{absent}', which has the best possible value")
    return notes


def _column(
    averages: Averages, layout: TableLayout, b: int, c: int, notes: Sequence[str], footnotes: dict[str, int]
) -> TableColumn:
    """A column without its cells, and the ``notes`` that its cells share."""
    entry = averages.columns[c]
    arrow = "↑" if entry["higher_is_better"] else "↓"
    metric = layout.names[c] + (entry["mark"] or "") + (f" ({entry['measure_unit']})" if entry["measure_unit"] else "")
    label = entry["label"]
    title = f"{metric} {label} {arrow}" if label else f"{metric} {arrow}"
    if entry["family"] == "segmentation" and label:
        group, name = f"{metric} {arrow}", label
    else:
        group, name = FAMILIES.get(entry["family"], "Other metrics"), title
    return TableColumn(
        task=layout.titles[b],
        group=group,
        name=name,
        title=title,
        dataset=averages.blocks[b]["dataset"],
        metric=entry["metric"],
        variant=entry["variant"],
        label=label,
        higher_is_better=bool(entry["higher_is_better"]),
        measure_unit=entry["measure_unit"],
        caveat=anonymise(entry["caveat"]),
        details={k: anonymise(entry[k]) if isinstance(entry[k], str) else entry[k] for k in DETAILS},
        notes=tuple(number_of(footnotes, text) for text in notes),
    )


def _cell(averages: Averages, key: CellIndex, notes: Sequence[str], style: _Style, footnotes: dict[str, int]) -> Cell:
    """A value with its notes, or why there is none: not measured, failed or skipped."""
    reasons = averages.reasons.get(key, ())
    if key not in averages.numbers:
        if not reasons:
            return Cell()
        status: Status = "failed" if any(s == "failed" for s, _ in reasons) else "skipped"
        return Cell(status, status=status, notes=tuple(number_of(footnotes, reason) for _, reason in reasons))
    b, r, c = key
    measure, text, rank = averages.numbers[key], style.texts[key], style.places[b, c].get(r)
    texts = list(notes)
    if measure.incomplete:
        causes = dict.fromkeys(reason for _, reason in reasons)
        texts.append(f"Not ranked: only some of its runs succeeded ({'; '.join(causes) or 'folds are missing'})")
    if not math.isfinite(measure.value):
        texts.append("Not ranked: not a finite number")
    lead = style.leads[b, c] if rank == 1 and style.leads is not None else None
    if lead is not None and lead.reason:
        texts.append(lead.reason)
    spread = _spread(measure, text, style.spread)
    return Cell(
        text=text,
        suffix=_suffix(spread) + (f" ({rank})" if style.ranks and rank else ""),
        spread=spread,
        status="ok",
        value=measure.value,
        std=measure.std,
        low=measure.low,
        high=measure.high,
        bound_low=measure.bound_low,
        bound_high=measure.bound_high,
        seeds=measure.seeds,
        folds=measure.folds,
        rank=rank,
        best=rank == 1 and (lead is None or lead.significant),
        runner_up=rank == 2,
        notes=tuple(number_of(footnotes, sentence) for sentence in texts),
    )


def _spread(number: Number, text: str, spread: Spread) -> tuple[str, ...]:
    """The numbers of the spread with as many digits as the value; none if a part is unknown."""
    known: dict[Spread, tuple[float | None, ...]] = {
        "interval": (number.low, number.high),
        "bound": (number.bound_low, number.bound_high),
        "std": (number.std,),
    }
    decimals = len(text.partition("e")[0].partition(".")[2])
    ends = [end for end in known.get(spread, ()) if end is not None]
    complete = len(ends) == len(known.get(spread, ()))
    return tuple(format_number(end, decimals) for end in ends) if complete else ()


def _suffix(spread: tuple[str, ...]) -> str:
    return f" [{spread[0]}, {spread[1]}]" if len(spread) == 2 else "".join(f" ± {end}" for end in spread)
