"""Which rows and columns a table shows, in which order, and under which names."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from mtbench.analysis.columns import FAMILIES, ROLES, block_titles, column_names, row_labels
from mtbench.analysis.gather import Averages
from mtbench.analysis.select import select
from mtbench.results.identity import DETAILS


class TableLayout:
    """Which rows and columns are shown, in which order, and how they are called.

    Attributes:
        rows: row numbers; translators first, then the reference rows.
        columns: (block, column) numbers from left to right.
        labels, titles, names: printed names of rows, blocks and columns, by number.
    """

    def __init__(
        self,
        averages: Averages,
        rename: Mapping[str, str],
        columns: Sequence[str],
        rows: Sequence[str],
        datasets: Sequence[str],
    ) -> None:
        cells = [*averages.numbers, *averages.reasons]
        present = [sorted({key[axis] for key in cells}) for axis in range(3)]
        # A name says what sets it apart from the others that are there, so only those count.
        self.titles = dict(zip(present[0], block_titles([averages.blocks[b] for b in present[0]], rename), strict=True))
        self.labels = dict(zip(present[1], row_labels([averages.rows[r] for r in present[1]], rename), strict=True))
        self.names = dict(zip(present[2], column_names([averages.columns[c] for c in present[2]], rename), strict=True))
        roles = list(ROLES)
        self.rows = sorted(
            select(rows, present[1], [_names(e, "translator", "role") for e in averages.rows], "row"),
            key=lambda r: roles.index(averages.rows[r]["role"]),
        )
        blocks = select(datasets, present[0], [_names(e, "dataset") for e in averages.blocks], "dataset")
        metrics = select(columns, present[2], [_names(e, "metric") for e in averages.columns], "column")
        if not columns:
            metrics.sort(key=_column_order(averages))
        row_set = set(self.rows)
        places = {(b, c) for b, r, c in cells if r in row_set}
        self.columns = [(b, c) for b in blocks for c in metrics if (b, c) in places]


def _names(entry: Mapping[str, Any], *keys: str) -> set[str]:
    """What a user may call a row, a dataset or a column by."""
    names = {str(entry[key]) for key in keys if entry[key]}
    if entry.get("variant"):
        names.add(f"{entry['metric']}[{entry['variant']}]")
    return names


def _column_order(averages: Averages) -> Callable[[int], tuple[int, ...]]:
    """Segmentation first, then perceptual, then paired; within a family, metrics as they first appear."""
    families = list(FAMILIES)
    first: dict[tuple[str, ...], int] = {}
    for c, entry in enumerate(averages.columns):
        first.setdefault((entry["metric"],), c)
        first.setdefault((entry["metric"], entry["variant"], *(str(entry[k]) for k in DETAILS)), c)

    def key(c: int) -> tuple[int, ...]:
        entry = averages.columns[c]
        family = families.index(entry["family"]) if entry["family"] in families else len(families)
        variant = first[entry["metric"], entry["variant"], *(str(entry[k]) for k in DETAILS)]
        return (family, first[(entry["metric"],)], variant, c)

    return key
