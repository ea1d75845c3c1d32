"""The observer. mtbench loads this module at start-up, so it imports MLflow (seconds) only when a run ends."""

from __future__ import annotations

import json
import os
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import mtbench

if TYPE_CHECKING:
    import pyarrow as pa

# Observers have no parameters. MLflow reads this variable itself; without it nothing is logged, so that a run in some
# folder does not leave a store there.
WHERE = "MLFLOW_TRACKING_URI"
LINE = ("dataset", "fold", "role", "translator", "translator_params", "seed")
"""Columns that make one run of MLflow; a translator's metrics share it."""


@mtbench.hookimpl
def mtbench_suite_finished(tables: Mapping[str, pa.Table]) -> None:
    """Log a parent run for the suite and a nested run for each translator, fold and seed.

    Raises:
        PluginError: MLflow is not installed. mtbench prints it once; the run is not affected.
    """
    scores = tables["scores"].to_pylist()
    if not os.environ.get(WHERE) or not scores:
        return
    try:
        import mlflow
    except ImportError as error:
        raise mtbench.PluginError(
            f"{WHERE} is set and MLflow is not installed", where="observer 'mlflow-log'", remedy="Install mlflow"
        ) from error
    mlflow.set_experiment(scores[0]["suite"])
    with mlflow.start_run(run_name=scores[0]["suite"]):
        mlflow.log_metrics(_costs(tables["attempts"].to_pylist()))
        for line, rows in _lines(scores).items():
            known = {name: value for name, value in zip(LINE, line, strict=True) if value not in (None, "")}
            with mlflow.start_run(run_name=str(known.get("translator", known["role"])), nested=True):
                mlflow.log_params(known)
                mlflow.log_metrics(_values(rows))
                mlflow.set_tags(_tags(rows))


def _lines(scores: Iterable[Mapping[str, Any]]) -> Mapping[tuple[Any, ...], list[Mapping[str, Any]]]:
    lines: dict[tuple[Any, ...], list[Mapping[str, Any]]] = defaultdict(list)
    for row in scores:
        lines[tuple(row[name] for name in LINE)].append(row)
    return lines


def _values(rows: Iterable[Mapping[str, Any]]) -> dict[str, float]:
    """Every score with its interval, by a name that MLflow accepts: ``fid.VARIANT``, ``dice.slice.SEGMENTER/organ``."""
    values = {}
    for row in rows:
        parts = (row["metric"], row["variant"], row["segmenter"])
        name = ".".join(filter(None, parts)) + (f"/{row['label']}" if row["label"] else "")
        name = re.sub(r"[^\w./ -]", "_", name)
        for ending, column in (("", "value"), (".low", "ci_low"), (".high", "ci_high")):
            if row[column] is not None:
                values[name + ending] = float(row[column])
    return values


def _tags(rows: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    """What a reader of the numbers must know: rows without a number, stale rows, notes."""
    notes = sorted({str(row[name]) for row in rows for name in ("note", "stale", "translator_note") if row[name]})
    states = sorted({str(row["status"]) for row in rows})
    return {"mtbench.status": ", ".join(states), "mtbench.notes": json.dumps(notes)}


def _costs(attempts: Iterable[Mapping[str, Any]]) -> dict[str, float]:
    """Seconds by stage, and how many attempts failed."""
    costs: dict[str, float] = defaultdict(float)
    for row in attempts:
        costs[f"seconds/{row['stage']}"] += row["seconds"] or 0.0
        costs["failed"] += row["status"] not in ("ok", "cached", "skipped")
    return dict(costs)
