"""The footnotes of a table: numbered sentences, each at the widest scope for which it holds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from mtbench.analysis.cells import CellIndex
from mtbench.analysis.columns import anonymise
from mtbench.analysis.gather import Averages


@dataclass
class SharedNotes:
    """Notes on cells, each at the widest scope for which it holds."""

    of_columns: dict[tuple[int, int], list[str]] = field(default_factory=dict)
    of_rows: dict[int, list[str]] = field(default_factory=dict)
    of_cells: dict[CellIndex, list[str]] = field(default_factory=dict)


def shared_notes(
    averages: Averages, places: Sequence[tuple[int, int]], rows: Sequence[int], intervals: bool
) -> SharedNotes:
    """Sort the notes of these cells by scope: a whole column, a whole row, or a cell.

    With ``intervals``, they include the reasons for missing intervals. The note that explains a column's mark is
    omitted, because it is in the legend (:mod:`mtbench.analysis.legend`).
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


def number_of(sentences: dict[str, int], text: str) -> int:
    """The number, from 1, of a text among the sentences; a new text is added as one line without folders."""
    text = " ".join(anonymise(text).split())
    return sentences.setdefault(text if text.endswith((".", "!", "?")) else f"{text}.", len(sentences) + 1)
