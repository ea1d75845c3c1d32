"""Which numbers of two results belong together."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from mtbench.analysis.columns import BLOCK, DETAILS
from mtbench.analysis.gather import Gathered, gather
from mtbench.analysis.groups import codes
from mtbench.analysis.layout import Layout
from mtbench.analysis.numbers import printed


class Side:
    """One of the two results: its numbers, their names, and the cases behind them.

    Attributes:
        found, layout: the numbers, and what is compared of them under which names.
        published: the datasets whose numbers somebody published.
    """

    def __init__(
        self,
        scores: pa.Table,
        cases: pa.Table | None,
        rows: Sequence[str] = (),
        columns: Sequence[str] = (),
        datasets: Sequence[str] = (),
    ) -> None:
        self.found: Gathered = gather(scores, units=True)
        self.layout = Layout(self.found, {}, columns, rows, datasets)
        is_published = pc.equal(scores["status"], "published")
        self.published = set(pc.unique(scores.filter(is_published)["dataset"]).to_pylist())
        self._cases = cases
        self._rows_of_unit: dict[str, NDArray[np.int64]] = {}
        if cases is not None and cases.num_rows:
            unit = codes(cases["unit_key"])
            order = np.argsort(unit, kind="stable")
            starts = np.flatnonzero(np.diff(unit[order], prepend=-1))
            names = cases["unit_key"].take(pa.array(order[starts])).to_pylist()
            self._rows_of_unit = dict(zip(names, np.split(order, starts[1:]), strict=True))

    def columns(self, block: int) -> list[int]:
        """The columns that a task has."""
        return [c for b, c in self.layout.columns if b == block]

    def text(self, block: int, r: int, c: int) -> str:
        """A cell as printed."""
        number = self.found.numbers.get((block, r, c))
        if number is not None:
            return printed(number.value, self.found.columns[c]["decimals"])
        reasons = self.found.reasons.get((block, r, c))
        return reasons[0][0] if reasons else "–"

    def cases(self, block: int, r: int, c: int) -> dict[str, tuple[str, float]]:
        """Patient and value of every case of a cell, seeds averaged."""
        if self._cases is None:
            return {}
        parts = [self._rows_of_unit[u] for u in self.found.units.get((block, r, c), ()) if u in self._rows_of_unit]
        if not parts:
            return {}
        table = self._cases.select(["label", "by", "case", "patient", "value"]).take(pa.array(np.concatenate(parts)))
        label = pc.equal(pc.fill_null(table["label"], ""), self.found.columns[c]["label"])
        table = table.filter(pc.and_(label, pc.is_valid(table["value"])))
        if not table.num_rows:
            return {}
        table = table.filter(pc.equal(table["by"], table["by"][0]))
        means = table.group_by(["case", "patient"], use_threads=False).aggregate([("value", "mean")])
        columns = (means[name].to_pylist() for name in ("case", "patient", "value_mean"))
        return {case: (patient, value) for case, patient, value in zip(*columns, strict=True) if math.isfinite(value)}


def match_blocks(a: Gathered, b: Gathered) -> Iterator[tuple[int, int]]:
    """Tasks of the same name; where the very same data is there, that one alone."""
    for i, left in enumerate(a.blocks):
        candidates = [j for j, right in enumerate(b.blocks) if right["dataset"] == left["dataset"]]
        same = [j for j in candidates if all(b.blocks[j][k] == left[k] for k in BLOCK)]
        yield from ((i, j) for j in same or candidates)


def match_rows(a: Side, b: Side, block_a: int, block_b: int) -> Iterator[tuple[int, int]]:
    """Translators of the same name and parameters; of the same name where a side has only one of it."""
    there_a = {r for x, r, _ in (*a.found.numbers, *a.found.reasons) if x == block_a}
    there_b = {r for x, r, _ in (*b.found.numbers, *b.found.reasons) if x == block_b}
    for r in a.layout.rows:
        entry = a.found.rows[r]
        if r not in there_a or entry["role"] != "translator":
            continue
        rivals = [
            s
            for s in b.layout.rows
            if s in there_b
            and b.found.rows[s]["role"] == "translator"
            and b.found.rows[s]["translator"] == entry["translator"]
        ]
        same = [s for s in rivals if b.found.rows[s]["translator_params"] == entry["translator_params"]]
        siblings = [s for s in there_a if a.found.rows[s]["translator"] == entry["translator"]]
        if same:
            yield r, same[0]
        elif len(rivals) == 1 and (len(siblings) == 1 or a.found.blocks[block_a]["dataset"] in b.published):
            yield r, rivals[0]


def match_columns(a: Side, b: Side, block_a: int, block_b: int) -> Iterator[tuple[int, int]]:
    """Columns of the same protocol, metric, variant and label; a published number may not state its variant."""
    published = (a.found.blocks[block_a]["dataset"] in a.published, b.found.blocks[block_b]["dataset"] in b.published)
    for c in a.columns(block_a):
        left = a.found.columns[c]
        rivals = []
        for d in b.columns(block_b):
            right = b.found.columns[d]
            unstated = (published[0] and not left["variant"]) or (published[1] and not right["variant"])
            if (
                left["metric"] == right["metric"]
                and left["protocol"] == right["protocol"]
                and left["label"].casefold() == right["label"].casefold()
                and (left["variant"] == right["variant"] or unstated)
            ):
                rivals.append(d)
        same = [d for d in rivals if all(b.found.columns[d][k] == left[k] for k in DETAILS)]
        yield from ((c, d) for d in same or rivals)
