"""Which rows and columns a table shows, in which order, and under which names."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from mtbench.analysis.columns import FAMILIES, ROLES, block_titles, column_names, row_labels
from mtbench.analysis.gather import Gathered
from mtbench.analysis.select import chosen
from mtbench.results.identity import DETAILS


class Layout:
    """Which rows and columns are shown, in which order, and how they are called.

    Attributes:
        rows: row numbers; translators first, then the reference rows.
        columns: (block, column) numbers from left to right.
        labels, titles, names: printed names of rows, blocks and columns, by number.
    """

    def __init__(
        self,
        found: Gathered,
        rename: Mapping[str, str],
        columns: Sequence[str],
        rows: Sequence[str],
        datasets: Sequence[str],
    ) -> None:
        cells = [*found.numbers, *found.reasons]
        used = [sorted({key[axis] for key in cells}) for axis in range(3)]
        # A name says what sets it apart from the others that are there, so only those count.
        self.titles = dict(zip(used[0], block_titles([found.blocks[b] for b in used[0]], rename), strict=True))
        self.labels = dict(zip(used[1], row_labels([found.rows[r] for r in used[1]], rename), strict=True))
        self.names = dict(zip(used[2], column_names([found.columns[c] for c in used[2]], rename), strict=True))
        roles = list(ROLES)
        self.rows = sorted(
            chosen(rows, used[1], [_calls(e, "translator", "role") for e in found.rows], "row"),
            key=lambda r: roles.index(found.rows[r]["role"]),
        )
        blocks = chosen(datasets, used[0], [_calls(e, "dataset") for e in found.blocks], "dataset")
        metrics = chosen(columns, used[2], [_calls(e, "metric") for e in found.columns], "column")
        if not columns:
            metrics.sort(key=_column_order(found))
        kept = set(self.rows)
        shown = {(b, c) for b, r, c in cells if r in kept}
        self.columns = [(b, c) for b in blocks for c in metrics if (b, c) in shown]


def _calls(entry: Mapping[str, Any], *keys: str) -> set[str]:
    """What a user may call a row, a dataset or a column by."""
    names = {str(entry[key]) for key in keys if entry[key]}
    if entry.get("variant"):
        names.add(f"{entry['metric']}[{entry['variant']}]")
    return names


def _column_order(found: Gathered) -> Callable[[int], tuple[int, ...]]:
    """Segmentation first, then perceptual, then paired; within a family, metrics as they first appear."""
    families = list(FAMILIES)
    first: dict[tuple[str, ...], int] = {}
    for c, entry in enumerate(found.columns):
        first.setdefault((entry["metric"],), c)
        first.setdefault((entry["metric"], entry["variant"], *(str(entry[k]) for k in DETAILS)), c)

    def key(c: int) -> tuple[int, ...]:
        entry = found.columns[c]
        family = families.index(entry["family"]) if entry["family"] in families else len(families)
        variant = first[entry["metric"], entry["variant"], *(str(entry[k]) for k in DETAILS)]
        return (family, first[(entry["metric"],)], variant, c)

    return key
