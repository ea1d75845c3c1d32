"""Which rows and columns a table shows, in which order, and under which names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from mtbench.analysis.columns import FAMILIES, ROLES, block_titles, column_names, number_duplicates, row_label
from mtbench.analysis.gather import Averages
from mtbench.analysis.select import select
from mtbench.results.identity import DETAILS


class TableLayout:
    """Which rows and columns are shown, in which order, and their names.

    Attributes:
        rows: row numbers; translators first, then the reference rows.
        columns: (block, column) numbers from left to right.
        blocks: the numbers of the tasks among them, in order.
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
        # A name states only what distinguishes it from the other names that are shown.
        self.titles = dict(zip(present[0], block_titles([averages.blocks[b] for b in present[0]], rename), strict=True))
        entries = [averages.rows[r] for r in present[1]]
        labels = number_duplicates([row_label(entry, entries, rename) for entry in entries])
        self.labels = dict(zip(present[1], labels, strict=True))
        self.names = dict(zip(present[2], column_names([averages.columns[c] for c in present[2]], rename), strict=True))
        roles, families = list(ROLES), list(FAMILIES)
        self.rows = sorted(
            select(rows, present[1], [{e["translator"], e["role"]} - {""} for e in averages.rows], "row"),
            key=lambda r: roles.index(averages.rows[r]["role"]),
        )
        blocks = select(datasets, present[0], [{e["dataset"]} for e in averages.blocks], "dataset")
        first: dict[tuple[str, ...], int] = {}
        names: list[set[str]] = []
        order: list[tuple[int, ...]] = []
        for c, entry in enumerate(averages.columns):
            metric, variant = entry["metric"], entry["variant"]
            names.append({metric, f"{metric}[{variant}]"} if variant else {metric})
            family = families.index(entry["family"]) if entry["family"] in families else len(families)
            settings = (metric, variant, *(str(entry[k]) for k in DETAILS))
            order.append((family, first.setdefault((metric,), c), first.setdefault(settings, c)))
        metrics = select(columns, present[2], names, "column")
        if not columns:
            # By family; within one, metrics and then their variants as they first appear.
            metrics.sort(key=order.__getitem__)
        row_set = set(self.rows)
        places = {(b, c) for b, r, c in cells if r in row_set}
        self.columns = [(b, c) for b in blocks for c in metrics if (b, c) in places]
        self.blocks = list(dict.fromkeys(b for b, _ in self.columns))
