"""Metrics that read the source slices of the translations, or the target's training slices."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from toys import toy_suite

import mtbench
from mtbench.analysis.table import build_table
from mtbench.conformance import tasks
from mtbench.errors import RequestError
from mtbench.plan import make_plan
from mtbench.plan.suite import parse_suite
from mtbench.registry.discovery import discover
from mtbench.stages.table import PAIRED_TEST, SOURCE_TEST, TARGET_TEST, TARGET_TRAIN, ScoreOptions, reads

OUT = "mtbench-results/toy"
METRICS = ("toy-change", "toy-gap")


def test_a_suite_hands_over_source_and_training_slices_and_the_caveat_keeps_the_column_unranked(run: Any) -> None:
    assert run(suite=toy_suite("seeds = [0]", translators=("toy-same", "toy-shift"), metrics=METRICS)).code == 0
    rows = {
        (r["role"], r["translator"], r["metric"]): r for r in mtbench.load(OUT).to_pylist() if r["seed"] in (None, 0)
    }
    training = rows["translator", "toy-same", "toy-change"]["value"]
    assert training == int(training) > 0  # an unchanged image is no brighter than its source
    assert rows["translator", "toy-shift", "toy-change"]["value"] == pytest.approx(training + 0.3, abs=0.05)
    # Reference rows are translations of no source slice.
    assert {role for role, _, metric in rows if metric == "toy-change"} == {"translator"}
    assert rows["translator", "toy-same", "toy-change"]["caveat"] == "not a quality"
    table = build_table(mtbench.load(OUT))
    assert [(section.heading, len(section.columns)) for section in table.sections] == [("", 1), ("not a quality", 1)]
    for translator in ("toy-same", "toy-shift"):
        of_metric = [rows["translator", translator, metric] for metric in METRICS]
        # What a metric reads of the training slices says nothing of the translator: its row stays one.
        assert len({row["training_sha256"] for row in of_metric}) == 1
        assert [bool(row["metric_training_sha256"]) for row in of_metric] == [True, False]


def test_the_address_of_a_score_depends_on_the_training_slices_that_it_reads() -> None:
    without, with_training = (ScoreOptions(reference=TARGET_TEST, training=t) for t in (None, TARGET_TRAIN))
    assert set(reads(with_training).subsets) == {SOURCE_TEST, TARGET_TEST, TARGET_TRAIN}
    assert set(reads(without).subsets) == {SOURCE_TEST, TARGET_TEST}
    # A field with its default is not part of a key: no earlier artefact is recomputed.
    assert "training" not in without.to_json()


def test_the_truth_counts_as_a_translation_of_its_source_slices(toys: Path) -> None:
    text = (
        '[suite]\nname = "t"\n[[datasets]]\nname = "phantom-lumbar"\n[[translators]]\nname = "identity"\n'
        '[[metrics]]\nname = "nmi-source"\n[[metrics]]\nname = "slice-consistency"\n'
    )
    graph = make_plan(parse_suite(text, "t.toml", toys.parent), discover())
    rows = [row for row in graph.rows if row.columns["role"] == "truth"]
    assert [row.columns["metric"] for row in rows] == ["nmi-source", "slice-consistency"]
    for row in rows:
        options = graph.units[row.unit].options
        assert {*reads(options).subsets} >= {SOURCE_TEST, PAIRED_TEST}
        assert not reads(options).masks
    assert "ceiling" not in {row.columns["role"] for row in graph.rows}


def test_a_draw_takes_source_slices_along_and_leaves_training_slices_alone() -> None:
    candidate, source = tasks.image_set("target"), tasks.image_set("source")
    training = tasks.image_set("target", "train", 8)
    values = {"training": {"a": np.arange(8.0)}, "candidate": {"a": np.arange(6.0)}}
    whole = mtbench.MetricInputs(tasks.TASK, candidate, source=source, training=training, features=values)
    part = whole.select([4, 1], [0])
    assert part.source is not None
    assert [s.slice_id for s in part.source.slices] == [source.slices[4].slice_id, source.slices[1].slice_id]
    assert part.training is training
    assert part.features["training"]["a"] is values["training"]["a"]
    assert part.features["candidate"]["a"].tolist() == [4.0, 1.0]


def folders(root: Path, **values: Any) -> None:
    """A folder for each name, of two images of 16 x 16."""
    for name, value in values.items():
        (root / name).mkdir()
        for index in range(2):
            np.save(root / name / f"{index}.npy", np.broadcast_to(value, (16, 16)).astype(value.dtype))


def test_two_folders_with_masks_give_errors_by_region(tmp_path: Path) -> None:
    labels = np.repeat(np.arange(4, dtype=np.uint8) // 2, 4)  # the left half is background, the right half label 1
    folders(tmp_path, a=np.array(0.75, np.float32), b=np.array(0.5, np.float32), masks=labels)
    paths, masks = (tmp_path / "a", tmp_path / "b"), tmp_path / "masks"
    (row,) = mtbench.score(*paths, metrics=["tissue-error:bias"], paired=True, masks=masks)
    assert (row["label"], row["value"]) == ("1", pytest.approx(0.25))
    with pytest.raises(RequestError, match="Set --masks"):
        mtbench.score(*paths, metrics=["tissue-error"], paired=True)
    with pytest.raises(RequestError, match="Set --masks and --predicted"):
        mtbench.score(*paths, metrics=["dice"], masks=masks)
    with pytest.raises(RequestError, match="--masks beside --predicted"):
        mtbench.score(*paths, metrics=["dice"], predicted=masks)


def test_two_folders_have_neither(toys: Path, tmp_path: Path) -> None:
    folders(tmp_path, a=np.array(0.5, np.float32), b=np.array(0.5, np.float32))
    with pytest.raises(RequestError, match="source slice"):
        mtbench.score(tmp_path / "a", tmp_path / "b", metrics=["toy-change"], plugin_files=[str(toys)])
