"""Stands in for MLflow where that is not installed: the calls that an observer needs, in the layout of its file store.

EXPERIMENT/meta.yaml, EXPERIMENT/RUN/params/NAME, tags/NAME, and metrics/NAME with lines "timestamp value step".
"""

from __future__ import annotations

import contextlib
import itertools
import os
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

_NUMBER = itertools.count(1)
_experiment = Path()
_running: list[Path] = []


def _write(kind: str, values: Mapping[str, object]) -> None:
    for name, value in values.items():
        file = _running[-1] / kind / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(str(value))


def set_experiment(name: str) -> None:
    global _experiment
    _experiment = Path(os.environ["MLFLOW_TRACKING_URI"].removeprefix("file://")) / "1"
    _experiment.mkdir(parents=True, exist_ok=True)
    (_experiment / "meta.yaml").write_text(f"name: {name}\n")


@contextlib.contextmanager
def start_run(run_name: str, nested: bool = False) -> Iterator[None]:
    if _running and not nested:
        raise RuntimeError("a run is active: use nested=True")
    parent = {"mlflow.parentRunId": _running[-1].name} if _running else {}
    _running.append(_experiment / f"{next(_NUMBER):032x}")
    _write("tags", {"mlflow.runName": run_name, **parent})
    yield
    _running.pop()


def log_params(params: Mapping[str, object]) -> None:
    _write("params", params)


def set_tags(tags: Mapping[str, object]) -> None:
    _write("tags", tags)


def log_metrics(metrics: Mapping[str, float]) -> None:
    _write("metrics", {name: f"{int(1000 * time.time())} {value} 0" for name, value in metrics.items()})
