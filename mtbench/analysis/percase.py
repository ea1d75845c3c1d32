"""The per-case values behind a score, with seeds averaged."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from mtbench.analysis.groups import combine


class PerCase:
    """Finds cases by their score rows.

    Args:
        cases: rows of ``mtbench.results.schema.CASES``, or ``None``.
    """

    def __init__(self, cases: pa.Table | None) -> None:
        self._cases = cases
        self._places: dict[str, NDArray[np.int64]] = {}
        if cases is not None and cases.num_rows:
            row, _ = combine([cases["row_id"]])
            order = np.argsort(row, kind="stable")
            starts = np.flatnonzero(np.diff(row[order], prepend=-1))
            names = cases["row_id"].take(pa.array(order[starts])).to_pylist()
            self._places = dict(zip(names, np.split(order, starts[1:]), strict=True))

    def __contains__(self, row: str) -> bool:
        return row in self._places

    def of(self, rows: Sequence[str], label: str) -> dict[str, tuple[str, float]]:
        """Patient and finite value of every case of these rows and that region, with seeds averaged.

        Empty if one of the rows has no cases, because a mean over the others would be of other runs than the score's.
        """
        if self._cases is None or not rows or not all(row in self._places for row in rows):
            return {}
        names = ["label", "by", "case", "patient", "seed", "value"]
        table = self._cases.select(names).take(pa.array(np.concatenate([self._places[row] for row in rows])))
        mask = pc.equal(pc.fill_null(table["label"], ""), label)
        table = table.filter(pc.and_(mask, pc.is_valid(table["value"])))
        if not table.num_rows:
            return {}
        table = table.filter(pc.equal(table["by"], table["by"][0]))
        # A seed counts once, even if it was repeated.
        by_seed = table.group_by(["case", "patient", "seed"], use_threads=False).aggregate([("value", "mean")])
        means = by_seed.group_by(["case", "patient"], use_threads=False).aggregate([("value_mean", "mean")])
        columns = (means[name].to_pylist() for name in ("case", "patient", "value_mean_mean"))
        return {case: (patient, value) for case, patient, value in zip(*columns, strict=True) if math.isfinite(value)}
