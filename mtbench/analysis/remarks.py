"""What stands under a table: footnotes, and sentences about the whole."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from mtbench.analysis.cells import CellIndex
from mtbench.analysis.columns import OF_TARGET, ROLES, anonymise
from mtbench.analysis.gather import Averages
from mtbench.analysis.model import Section
from mtbench.analysis.numbers import format_number
from mtbench.analysis.significance import REMARK


class Footnotes:
    """Numbers sentences in the order of their first use; the same sentence has one number."""

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {}

    @property
    def texts(self) -> tuple[str, ...]:
        """All sentences so far, in the order of their numbers."""
        return tuple(self._numbers)

    def number(self, text: str) -> int:
        """The number of that sentence, from 1."""
        return self._numbers.setdefault(_sentence(anonymise(text)), len(self._numbers) + 1)


@dataclass
class SharedNotes:
    """Notes on numbers, each at the widest place where it holds."""

    of_columns: dict[tuple[int, int], list[str]] = field(default_factory=dict)
    of_rows: dict[int, list[str]] = field(default_factory=dict)
    of_cells: dict[CellIndex, list[str]] = field(default_factory=dict)


def shared_notes(averages: Averages, places: Sequence[tuple[int, int]], rows: Sequence[int]) -> SharedNotes:
    """Sort the notes of these cells: those of a whole column, those of a whole row, and the others.

    The note that explains a column's mark is left out: it is a remark (:func:`remarks`).
    """
    shared = SharedNotes()
    cells = [(b, r, c) for b, c in places for r in rows if (b, r, c) in averages.numbers]
    by_column: dict[tuple[int, int], list[set[str]]] = {}
    by_row: dict[int, list[set[str]]] = {}
    for b, r, c in cells:
        texts = set(averages.notes.get((b, r, c), ()))
        by_column.setdefault((b, c), []).append(texts)
        if averages.rows[r]["role"] == "translator":
            by_row.setdefault(r, []).append(texts)
    in_column = {place: set.intersection(*texts) for place, texts in by_column.items()}
    in_row = {r: set.intersection(*texts) if len(places) > 1 else set[str]() for r, texts in by_row.items()}
    for b, r, c in cells:
        for text in averages.notes.get((b, r, c), ()):
            if text in in_column[b, c]:
                target = shared.of_columns.setdefault((b, c), [])
                if averages.columns[c]["mark"]:
                    continue
            elif text in in_row.get(r, ()):
                target = shared.of_rows.setdefault(r, [])
            else:
                target = shared.of_cells.setdefault((b, r, c), [])
            if text not in target:
                target.append(text)
    return shared


def remarks(
    averages: Averages,
    places: Sequence[tuple[int, int]],
    names: Mapping[int, str],
    titles: Mapping[int, str],
    sections: Sequence[Section],
    rule: str,
    spread: str,
    *,
    significant: bool = False,
) -> tuple[str, ...]:
    """Sentences about the whole table, in the order in which they are printed."""
    rows = [row for section in sections for row in section.rows]
    cells = [cell for row in rows for cell in row.cells]
    texts: list[str] = []
    if significant:
        texts.append(REMARK)
    elif any(cell.rank for cell in cells):
        texts.append("Bold: best; underlined: runner-up, by column, ties alike at the printed precision")
    if any(cell.status == "missing" for cell in cells):
        texts.append("–: not measured")
    if any(row.conditional for row in rows):
        ranking = "ranked here like the others" if rule == "paper" else "shown but not ranked"
        texts.append(f"†: conditional, its input is the reference mask; {ranking}")
    texts += _marks(averages, places, names)
    texts += [f"{role}: {ROLES[role]}" for role in ROLES if ROLES[role] and any(row.role == role for row in rows)]
    texts += _averages(sections)
    if spread == "std":
        texts.append("± standard deviation over seeds, where there are several")
    if spread == "interval":
        texts.append("[ ]: 95 % confidence interval over patients, where there is one")
    texts += _tasks(averages, places, names, titles)
    texts += [f"Source: {source}" for source in averages.sources]
    return tuple(_sentence(anonymise(text)) for text in dict.fromkeys(texts))


def _marks(averages: Averages, places: Sequence[tuple[int, int]], names: Mapping[int, str]) -> list[str]:
    """What explains the marks of headers: the notes that all numbers of a marked column share."""
    notes_by_place: dict[tuple[int, int], list[list[str]]] = {
        place: [] for place in places if averages.columns[place[1]]["mark"]
    }
    for key in averages.numbers if notes_by_place else ():
        if (key[0], key[2]) in notes_by_place:
            notes_by_place[key[0], key[2]].append(averages.notes.get(key, []))
    return [
        f"{averages.columns[c]['mark']} {names[c]}: {text}"
        for (_, c), notes in notes_by_place.items()
        for text in (notes[0] if notes else ())
        if all(text in others for others in notes)
    ]


def _averages(sections: Sequence[Section]) -> list[str]:
    texts = []
    folds = {cell.folds for s in sections for row in s.rows for cell in row.cells if cell.status == "ok"}
    if max(folds, default=1) > 1:
        texts.append(f"Means over {_span(min(folds), max(folds))} folds of patients")
    seeds: dict[str, set[int]] = {}
    for section in sections:
        for row in section.rows:
            counts = {cell.seeds for cell in row.cells if cell.status == "ok"}
            if counts and not row.reference:
                seeds.setdefault(row.label, set()).update(counts)
    if any(max(counts) > 1 for counts in seeds.values()):
        spans = {label: _span(min(counts), max(counts)) for label, counts in seeds.items()}
        if len(set(spans.values())) == 1:
            texts.append(f"Means over {next(iter(spans.values()))} seeds")
        else:
            texts.append("Means over seeds: " + ", ".join(f"{label} {span}" for label, span in spans.items()))
    return texts


def _tasks(
    averages: Averages, places: Sequence[tuple[int, int]], names: Mapping[int, str], titles: Mapping[int, str]
) -> list[str]:
    """What each task's numbers rest on: images, patients, N of the metrics that draw, and its own note."""
    texts = []
    for b in dict.fromkeys(b for b, _ in places):
        counts = {c: _test_counts(averages, b, c) for block, c in places if block == b and (b, c) in averages.counts}
        parts = []
        for kind in ("translated", "target"):
            images, patients = (_range(counts, name) for name in (f"n_{kind}", f"n_patients_{kind}"))
            if images:
                of = f"of {patients} patient{'s' * (patients != '1')}" if patients else "(patients not stated)"
                parts.append(f"{images} {kind} test images {of}")
        metrics_by_n: dict[str, list[str]] = {}
        for c, count in counts.items():
            if "n" in count and averages.columns[c]["family"] == "perceptual":
                labels = metrics_by_n.setdefault(_span(*count["n"]), [])
                labels += [names[c]] if names[c] not in labels else []
        sample_sizes = "; ".join(f"N = {n} for {', '.join(metrics)}" for n, metrics in metrics_by_n.items())
        facts = "; ".join(filter(None, [", ".join(parts), sample_sizes]))
        if facts:
            texts.append(f"{titles[b]}: {facts}")
        segmenters = {
            (averages.columns[c]["protocol"], averages.columns[c]["segmenter"]) for block, c in places if block == b
        }
        texts += [
            f"{titles[b]}: {_segmenter_note(protocol, segmenter, dice)}"
            for (block, protocol, segmenter), dice in averages.validation.items()
            if block == b and (protocol, segmenter) in segmenters
        ]
        if averages.blocks[b].get("task_note"):
            texts.append(f"{titles[b]}: {averages.blocks[b]['task_note']}")
    return texts


def _test_counts(averages: Averages, b: int, c: int) -> dict[str, tuple[int, int]]:
    """Counts of a column; what its translators are judged on may be target images, not translated ones."""
    counts = averages.counts[b, c]
    if averages.columns[c]["protocol"] not in OF_TARGET:
        return counts
    return {name.replace("translated", "target"): span for name, span in counts.items() if "target" not in name}


def _range(counts: Mapping[int, Mapping[str, tuple[int, int]]], name: str) -> str:
    values = [count[name] for count in counts.values() if name in count]
    return _span(min(v[0] for v in values), max(v[1] for v in values)) if values else ""


def _segmenter_note(protocol: str, segmenter: str, dice: Sequence[Mapping[str, float]]) -> str:
    """How well a task's segmenters do where they learnt: a weak one is no verdict on a translation."""
    texts = []
    for region in dict.fromkeys(region for one in dice for region in one):
        values = [one[region] for one in dice if region in one]
        low, high = format_number(min(values)), format_number(max(values))
        texts.append(f"{region} {low}" if low == high else f"{region} {low} to {high}")
    kind = "translated" if protocol in OF_TARGET else "real target"
    name = f"{segmenter}, {protocol}" if protocol in OF_TARGET else segmenter
    return f"segmenter {name}: Dice on {kind} validation images {', '.join(texts)}"


def _span(low: int, high: int) -> str:
    return str(low) if low == high else f"{low} to {high}"


def _sentence(text: str) -> str:
    """``text`` on one line, with a full stop."""
    text = " ".join(text.split())
    return text if text.endswith((".", "!", "?")) else f"{text}."
