"""Which scores of two results correspond."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pyarrow as pa
import pyarrow.compute as pc

from mtbench.analysis.gather import Averages, gather
from mtbench.analysis.layout import TableLayout
from mtbench.analysis.numbers import format_number
from mtbench.analysis.percase import PerCase
from mtbench.results.identity import BLOCK, DETAILS, ROW


class Side:
    """One of the two results: its scores, their printed names, and their per-case values.

    Attributes:
        averages: the scores.
        layout: which of them are compared, and their printed names.
    """

    def __init__(
        self,
        scores: pa.Table,
        cases: pa.Table | None,
        rows: Sequence[str] = (),
        columns: Sequence[str] = (),
        datasets: Sequence[str] = (),
    ) -> None:
        self.averages: Averages = gather(scores, runs=True)
        self.layout = TableLayout(self.averages, {}, columns, rows, datasets)
        is_published = pc.equal(scores["status"], "published")
        self._published_datasets = set(pc.unique(scores.filter(is_published)["dataset"]).to_pylist())
        self._per_case = PerCase(cases)

    def is_published(self, block: int) -> bool:
        """Whether the scores of a task are published scores."""
        return self.averages.blocks[block]["dataset"] in self._published_datasets

    def columns(self, block: int) -> list[int]:
        """The columns of a task."""
        return [c for b, c in self.layout.columns if b == block]

    def text(self, block: int, r: int, c: int) -> str:
        """A cell as printed."""
        number = self.averages.numbers.get((block, r, c))
        if number is not None:
            return format_number(number.value, self.averages.columns[c]["decimals"])
        reasons = self.averages.reasons.get((block, r, c))
        return reasons[0][0] if reasons else "–"

    def cases(self, block: int, r: int, c: int) -> dict[str, tuple[str, float]]:
        """Patient and value of every case of a cell; seeds are averaged."""
        return self._per_case.of(self.averages.runs.get((block, r, c), ()), self.averages.columns[c]["label"])


def match_blocks(a: Averages, b: Averages) -> Iterator[tuple[int, int]]:
    """Tasks of the same name; if one has identical data, only that one."""
    for i, left in enumerate(a.blocks):
        candidates = [j for j, right in enumerate(b.blocks) if right["dataset"] == left["dataset"]]
        same = [j for j in candidates if all(b.blocks[j][k] == left[k] for k in BLOCK)]
        yield from ((i, j) for j in same or candidates)


def match_rows(a: Side, b: Side, block_a: int, block_b: int) -> Iterator[tuple[int, int]]:
    """The same translators; else those with the same parameters, else with the same name if each side has only one."""
    rows_a = {r for x, r, _ in (*a.averages.numbers, *a.averages.reasons) if x == block_a}
    rows_b = {r for x, r, _ in (*b.averages.numbers, *b.averages.reasons) if x == block_b}
    for r in a.layout.rows:
        entry = a.averages.rows[r]
        if r not in rows_a or entry["role"] != "translator":
            continue
        rivals = [
            s
            for s in b.layout.rows
            if s in rows_b
            and b.averages.rows[s]["role"] == "translator"
            and b.averages.rows[s]["translator"] == entry["translator"]
        ]
        siblings = [s for s in rows_a if a.averages.rows[s]["translator"] == entry["translator"]]
        same = [s for s in rivals if all(b.averages.rows[s][k] == entry[k] for k in ROW)]
        same_params = [s for s in rivals if b.averages.rows[s]["translator_params"] == entry["translator_params"]]
        own_params = [s for s in siblings if a.averages.rows[s]["translator_params"] == entry["translator_params"]]
        if same:
            yield r, same[0]
        elif same_params:
            yield from ((r, s) for s in same_params if len(same_params) == len(own_params) == 1)
        elif len(rivals) == 1 and (len(siblings) == 1 or b.is_published(block_b)):
            yield r, rivals[0]


def match_columns(a: Side, b: Side, block_a: int, block_b: int) -> Iterator[tuple[int, int]]:
    """Columns of the same protocol, metric, variant and label; a published score may not state its variant."""
    published = a.is_published(block_a), b.is_published(block_b)
    for c in a.columns(block_a):
        left = a.averages.columns[c]
        rivals = []
        for d in b.columns(block_b):
            right = b.averages.columns[d]
            variant_unknown = (published[0] and not left["variant"]) or (published[1] and not right["variant"])
            if (
                left["metric"] == right["metric"]
                and left["protocol"] == right["protocol"]
                and left["label"].casefold() == right["label"].casefold()
                and (left["variant"] == right["variant"] or variant_unknown)
            ):
                rivals.append(d)
        same = [d for d in rivals if all(b.averages.columns[d][k] == left[k] for k in DETAILS)]
        yield from ((c, d) for d in same or rivals)
