"""A million score rows become a table and its correlations in seconds."""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pytest

from mtbench.analysis.correlation import correlate
from mtbench.analysis.table import build_table
from mtbench.registry.discovery import discover
from mtbench.results.schema import SCHEMA_VERSION, SCORES

TRANSLATORS, DATASETS, SEEDS, METRICS = 50, 20, 100, 10
CONSTANT = {
    "schema_version": SCHEMA_VERSION,
    "suite": "speed",
    "protocol": "segment-translated",
    "role": "translator",
    "status": "measured",
    "dataset_revision": "1",
    "dataset_params": '{"size": 64}',
    "split": "seed[seed=0]",
    "conditional": False,
    "precision": "fp32",
    "n": 40,
}


def million() -> pa.Table:
    shape = (TRANSLATORS, DATASETS, SEEDS, METRICS)
    count = int(np.prod(shape))
    translator, dataset, seed, metric = (index.ravel() for index in np.indices(shape))

    def text(prefix: str, index: np.ndarray[tuple[int, ...], np.dtype[np.int64]]) -> pa.Array:
        names: Sequence[str] = [f"{prefix}{i}" for i in range(int(index.max()) + 1)]
        return pa.DictionaryArray.from_arrays(pa.array(index), pa.array(names)).cast(pa.string())

    columns = {field.name: pa.nulls(count, field.type) for field in SCORES}
    for name, value in CONSTANT.items():
        columns[name] = pa.repeat(pa.scalar(value, SCORES.field(name).type), count)
    columns["translator"], columns["dataset"] = text("t", translator), text("d", dataset)
    columns["metric"], columns["title"] = text("m", metric), text("M", metric)
    columns["family"] = pa.array(np.where(metric < 3, "segmentation", "perceptual"))
    columns["higher_is_better"] = pa.array(metric < 3)
    columns["seed"] = pa.array(seed)
    columns["value"] = pa.array(np.random.default_rng(0).normal(size=count))
    columns["unit_key"] = pa.array([f"{i:064x}" for i in range(count)])
    return pa.table(columns, schema=SCORES)


@pytest.mark.slow
def test_a_million_rows_are_exported_and_correlated_in_under_ten_seconds() -> None:
    scores = million()
    assert scores.num_rows == 1_000_000
    exporter = discover(third_party=False).get("exporter", "tex").create({})
    start = time.process_time()
    text = exporter.export(build_table(scores))
    correlations = correlate(scores)
    spent = time.process_time() - start
    assert text.count("\n") > TRANSLATORS
    assert len(correlations.items) == DATASETS * 3 * (METRICS - 3)
    assert spent < 10, f"{spent:.1f} s of processor time"
