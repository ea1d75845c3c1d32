"""What stands under a table: footnotes, and sentences about the whole."""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

from mtbench.analysis.cells import CellIndex
from mtbench.analysis.columns import OF_TARGET, ROLES, anonymise, conditional_input
from mtbench.analysis.gather import Averages
from mtbench.analysis.layout import TableLayout
from mtbench.analysis.model import Section
from mtbench.analysis.numbers import format_number
from mtbench.analysis.significance import REMARK

INTERVAL = (
    "[ ]: 95 % confidence interval over patients, where there is one; it assumes that rare complete failures are "
    "represented among the test patients"
)
BOUND = (
    "[ ]: limits for the expected mean that hold with 95 % confidence for any distribution of a metric with bounded "
    "values, rare complete failures included"
)
_DEMO = "no result: the split 'demo' may put slices of one patient on several sides"


@dataclass
class SharedNotes:
    """Notes on numbers, each at the widest place where it holds."""

    of_columns: dict[tuple[int, int], list[str]] = field(default_factory=dict)
    of_rows: dict[int, list[str]] = field(default_factory=dict)
    of_cells: dict[CellIndex, list[str]] = field(default_factory=dict)


def shared_notes(
    averages: Averages, places: Sequence[tuple[int, int]], rows: Sequence[int], intervals: bool
) -> SharedNotes:
    """Sort the notes of these cells: those of a whole column, those of a whole row, and the others.

    With ``intervals``, they say why there is none. The note that explains a column's mark is left out: it is a remark
    (:func:`remarks`).
    """
    shared = SharedNotes()
    cells = [(b, r, c) for b, c in places for r in rows if (b, r, c) in averages.numbers]
    explanations = {key: list(averages.notes.get(key, ())) for key in cells}
    for key in cells if intervals else ():
        explanations[key] += [f"No interval: {reason}" for reason in averages.without.get(key, ())]
    by_column: dict[tuple[int, int], list[set[str]]] = {}
    by_row: dict[int, list[set[str]]] = {}
    for b, r, c in cells:
        texts = set(explanations[b, r, c])
        by_column.setdefault((b, c), []).append(texts)
        if averages.rows[r]["role"] == "translator":
            by_row.setdefault(r, []).append(texts)
    in_column = {place: set.intersection(*texts) for place, texts in by_column.items()}
    in_row = {r: set.intersection(*texts) if len(places) > 1 else set[str]() for r, texts in by_row.items()}
    for b, r, c in cells:
        for text in explanations[b, r, c]:
            if text in in_column[b, c]:
                if averages.columns[c]["mark"] and text in averages.notes.get((b, r, c), ()):
                    continue
                target = shared.of_columns.setdefault((b, c), [])
            elif text in in_row.get(r, ()):
                target = shared.of_rows.setdefault(r, [])
            else:
                target = shared.of_cells.setdefault((b, r, c), [])
            if text not in target:
                target.append(text)
    return shared


def remarks(
    averages: Averages,
    layout: TableLayout,
    sections: Sequence[Section],
    rule: str,
    spread: str,
    *,
    significant: bool = False,
) -> tuple[str, ...]:
    """Sentences about the whole table, in the order in which they are printed."""
    rows = [row for section in sections for row in section.rows]
    cells = [cell for row in rows for cell in row.cells]
    # What all numbers of a column share explains its mark.
    notes: dict[tuple[int, int], list[str]] = {}
    for b, r, c in averages.numbers:
        own = averages.notes.get((b, r, c), [])
        notes[b, c] = [text for text in notes.get((b, c), own) if text in own]
    texts: list[str] = []
    if significant:
        texts.append(REMARK)
    elif any(cell.rank for cell in cells):
        texts.append("Bold: best; underlined: runner-up, by column, ties alike at the printed precision")
    if any(cell.status == "missing" for cell in cells):
        texts.append("–: not measured")
    if any(row.conditional for row in rows):
        ranking = "ranked here like the others" if rule == "paper" else "shown but not ranked"
        protocols = {averages.columns[c]["protocol"] for _, c in layout.columns}
        texts.append(f"†: conditional, {conditional_input(protocols)}; {ranking}")
    texts += [
        f"{mark} {layout.names[c]}: {text}"
        for b, c in layout.columns
        if (mark := averages.columns[c]["mark"])
        for text in notes.get((b, c), ())
    ]
    texts += [f"{role}: {ROLES[role]}" for role in ROLES if ROLES[role] and any(row.role == role for row in rows)]
    texts += _averages(sections)
    if spread == "std":
        texts.append("± standard deviation over seeds, where there are several")
    if spread == "interval":
        texts.append(INTERVAL)
    if spread == "bound":
        texts.append(BOUND)
    texts += _tasks(averages, layout)
    if any(row.role == "floor" for row in rows):
        texts += _floors(averages, layout)
    texts += [f"Source: {source}" for source in averages.sources]
    sentences: dict[str, int] = {}
    for text in texts:
        number_of(sentences, text)
    return tuple(sentences)


def _averages(sections: Sequence[Section]) -> list[str]:
    texts = []
    folds = {cell.folds for s in sections for row in s.rows for cell in row.cells if cell.status == "ok"}
    if max(folds, default=1) > 1:
        texts.append(f"Means over {_span(folds)} folds of patients")
    seeds: dict[str, set[int]] = {}
    for section in sections:
        for row in section.rows:
            counts = {cell.seeds for cell in row.cells if cell.status == "ok"}
            if counts and row.role == "translator":
                seeds.setdefault(row.label, set()).update(counts)
    if any(max(counts) > 1 for counts in seeds.values()):
        spans = {label: _span(counts) for label, counts in seeds.items()}
        if len(set(spans.values())) == 1:
            texts.append(f"Means over {next(iter(spans.values()))} seeds")
        else:
            texts.append("Means over seeds: " + ", ".join(f"{label} {span}" for label, span in spans.items()))
    return texts


def _tasks(averages: Averages, layout: TableLayout) -> list[str]:
    """What each task's numbers rest on: images, patients, N of the metrics that draw, and its own note."""
    texts = []
    for b in dict.fromkeys(b for b, _ in layout.columns):
        columns = [c for block, c in layout.columns if block == b]
        counts: dict[str, list[int]] = {}
        metrics_by_n: dict[str, dict[str, None]] = {}
        for c in columns:
            judged_on_target = averages.columns[c]["protocol"] in OF_TARGET
            for name, span in averages.counts.get((b, c), {}).items():
                if not judged_on_target:
                    counts.setdefault(name, []).extend(span)
                elif "target" not in name:
                    counts.setdefault(name.replace("translated", "target"), []).extend(span)
                if name == "n" and averages.columns[c]["family"] == "perceptual":
                    metrics_by_n.setdefault(_span(span), {})[layout.names[c]] = None
        parts = []
        for kind in ("translated", "target"):
            if f"n_{kind}" in counts:
                of = _of_patients(counts.get(f"n_patients_{kind}", ()))
                parts.append(f"{_span(counts[f'n_{kind}'])} {kind} test images {of}")
        sample_sizes = "; ".join(f"N = {n} for {', '.join(metrics)}" for n, metrics in metrics_by_n.items())
        facts = "; ".join(filter(None, [", ".join(parts), sample_sizes]))
        facts = f"in each fold {facts}" if facts and _in_folds(averages, b) else facts
        demo = _DEMO if str(averages.blocks[b]["split"]).partition("[")[0] == "demo" else ""
        note = averages.blocks[b].get("task_note") or ""
        parts = [facts, *averages.left_out.get(b, ()), *_segmenters(averages, b, columns), demo, note]
        texts += [f"{layout.titles[b]}: {part}" for part in parts if part]
    return texts


def _floors(averages: Averages, layout: TableLayout) -> list[str]:
    """What each task's floor is drawn from: other images and patients than stand on the other side, often another N."""
    texts = []
    for b in dict.fromkeys(b for b, _ in layout.columns):
        images: list[int] = []
        patients: list[int] = []
        sizes: dict[str, None] = {}
        for c in (c for block, c in layout.columns if block == b):
            spans = averages.floors.get((b, c), {})
            images += spans.get("n_translated", ())
            patients += spans.get("n_patients_translated", ())
            own, others = _span(spans.get("n", ())), _span(averages.counts.get((b, c), {}).get("n", ()))
            if own:
                same = "the same as" if own == others else f"{others} for"
                sizes[f"N = {own}" + (f" ({same} the translators)" if others else "")] = None
        if images:
            drawn = f"{', '.join(sizes)} of " if sizes else ""
            fold = "in each fold " if _in_folds(averages, b) else ""
            source = f"{_span(images)} target training images {_of_patients(patients)}"
            texts.append(f"{layout.titles[b]}: floor: {fold}{drawn}{source}")
    return texts


def _in_folds(averages: Averages, b: int) -> bool:
    """Whether the numbers of a task are means over folds, whose images are counted one by one."""
    return any(number.folds > 1 for (block, _, _), number in averages.numbers.items() if block == b)


def _of_patients(numbers: Collection[int]) -> str:
    patients = _span(numbers)
    return f"of {patients} patient{'s' * (patients != '1')}" if patients else "(patients not stated)"


def _segmenters(averages: Averages, b: int, columns: Sequence[int]) -> list[str]:
    """How well a task's segmenters do where they learnt: a weak one is no verdict on a translation."""
    keys = [(entry["protocol"], entry["segmenter"]) for entry in averages.columns]
    dice: dict[tuple[str, str], dict[str, list[float]]] = {}
    for (block, c), texts in averages.validation.items():
        if block == b and keys[c] in {keys[shown] for shown in columns}:
            for region, value in (item for text in texts for item in json.loads(text).items()):
                dice.setdefault(keys[c], {}).setdefault(region, []).append(value)
    sentences = []
    for (protocol, segmenter), regions in dice.items():
        parts = []
        for region, values in regions.items():
            low, high = format_number(min(values)), format_number(max(values))
            parts.append(f"{region} {low}" if low == high else f"{region} {low} to {high}")
        kind = "translated" if protocol in OF_TARGET else "real target"
        name = f"{segmenter}, {protocol}" if protocol in OF_TARGET else segmenter
        sentences.append(f"segmenter {name}: Dice on {kind} validation images {', '.join(parts)}")
    return sentences


def _span(numbers: Collection[int]) -> str:
    """``3``, or ``3 to 5``; nothing of no numbers."""
    low, high = min(numbers, default=""), max(numbers, default="")
    return f"{low}" if low == high else f"{low} to {high}"


def number_of(sentences: dict[str, int], text: str) -> int:
    """The number, from 1, of a text among sentences, added if new: one line, without folders, with a full stop."""
    text = " ".join(anonymise(text).split())
    return sentences.setdefault(text if text.endswith((".", "!", "?")) else f"{text}.", len(sentences) + 1)
