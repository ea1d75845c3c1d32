"""Training curves: the losses that fits store beside their weights."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from mtbench.report.attempts import Attempt
from mtbench.report.evidence import Evidence

FILE = "losses.parquet"
MOST_STEPS = 400
"""The most points of one curve; longer ones are thinned evenly."""


@dataclass
class Curve:
    """The record of one fit.

    Attributes:
        name: of its unit, without the stage.
        unit: key of its unit.
        series: (phase, loss) to steps and values.
    """

    name: str
    unit: str = ""
    series: dict[tuple[str, str], tuple[list[int], list[float]]] = field(default_factory=dict)


def find_curves(attempts: Sequence[Attempt], evidence: Evidence) -> list[Curve]:
    """The curves of every fit in the store that recorded losses, in the order of training."""
    names = {row["unit_key"]: row["name"].removeprefix("fit ") for row in attempts if row["stage"] == "fit"}
    curves = []
    for key, name in names.items():
        artefact = evidence.of_unit(key)
        # In the content or the log, as the plugin chose.
        # Checkpoints that were kept on the way lie in folders below and may have records of their own.
        paths = sorted(artefact.path.rglob(FILE), key=lambda path: (len(path.parts), path)) if artefact else []
        for path in paths[:1]:
            curves += _read(path, name, key)
    return curves


def _read(path: Path, name: str, unit: str) -> list[Curve]:
    try:
        rows: list[dict[str, Any]] = pq.read_table(path).to_pylist()
        fits = list(dict.fromkeys(row["fit"] for row in rows))
        curves = {fit: Curve(name if len(fits) == 1 else f"{name}: {fit}", unit) for fit in fits}
        for row in rows:
            if row["value"] is not None and math.isfinite(row["value"]):
                series = curves[row["fit"]].series.setdefault((row["phase"], row["name"]), ([], []))
                series[0].append(row["step"])
                series[1].append(row["value"])
    except (pa.ArrowException, OSError, KeyError):
        # A plugin may use that name for something else.
        return []
    for curve in curves.values():
        curve.series = {key: _thin(*series) for key, series in curve.series.items()}
    return [curve for curve in curves.values() if curve.series]


def _thin(steps: list[int], values: list[float]) -> tuple[list[int], list[float]]:
    if len(steps) <= MOST_STEPS:
        return steps, values
    places = [round(i * (len(steps) - 1) / (MOST_STEPS - 1)) for i in range(MOST_STEPS)]
    return [steps[i] for i in places], [values[i] for i in places]
