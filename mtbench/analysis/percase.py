"""The cases behind a number: of every slice or patient, its value with seeds averaged."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from mtbench.analysis.groups import codes


class PerCase:
    """Finds cases by the units that made them.

    Args:
        cases: rows of ``mtbench.store.schema.CASES``, or ``None``.
    """

    def __init__(self, cases: pa.Table | None) -> None:
        self._cases = cases
        self._rows_of_unit: dict[str, NDArray[np.int64]] = {}
        if cases is not None and cases.num_rows:
            unit = codes(cases["unit_key"])
            order = np.argsort(unit, kind="stable")
            starts = np.flatnonzero(np.diff(unit[order], prepend=-1))
            names = cases["unit_key"].take(pa.array(order[starts])).to_pylist()
            self._rows_of_unit = dict(zip(names, np.split(order, starts[1:]), strict=True))

    def of(self, units: Sequence[str], label: str) -> dict[str, tuple[str, float]]:
        """Patient and value of every case of these units and that region, seeds averaged; finite ones only."""
        parts = [self._rows_of_unit[u] for u in units if u in self._rows_of_unit]
        if self._cases is None or not parts:
            return {}
        table = self._cases.select(["label", "by", "case", "patient", "value"]).take(pa.array(np.concatenate(parts)))
        wanted = pc.equal(pc.fill_null(table["label"], ""), label)
        table = table.filter(pc.and_(wanted, pc.is_valid(table["value"])))
        if not table.num_rows:
            return {}
        table = table.filter(pc.equal(table["by"], table["by"][0]))
        means = table.group_by(["case", "patient"], use_threads=False).aggregate([("value", "mean")])
        columns = (means[name].to_pylist() for name in ("case", "patient", "value_mean"))
        return {case: (patient, value) for case, patient, value in zip(*columns, strict=True) if math.isfinite(value)}
