"""When two scores are comparable: the columns of the scores table that blocks, rows and columns share."""

from __future__ import annotations

BLOCK = ("dataset", "dataset_revision", "dataset_params", "split", "data_sha256")
"""Scores on different data never share a block."""

ROW = (
    *("role", "translator", "translator_params", "translator_version", "training_sha256"),
    *("checkpoint", "scored_on"),
)
"""Scores of different translators, of different checkpoints, or on other patients than the test patients never share a
row."""

BASE = ("metric", "variant", "title", "label", "family", "measure_unit", "caveat")
DETAILS = (
    "metric_params",
    "metric_version",
    "masks_sha256",
    "metric_training_sha256",
    "extractor",
    "weights_sha256",
    "sampling_params",
    "precision",
    "threads",
    "segmenter",
    "segmenter_params",
    "segmenter_version",
    "segmenter_training_sha256",
    "segmenter_seed",
    "protocol",
)
COLUMN = BASE + DETAILS
"""Scores that differ in any of these never share a column."""

OF_DATA = ("training_sha256", "masks_sha256", "metric_training_sha256", "segmenter_training_sha256")
"""The columns that differ between datasets: tables distinguish scores by them only within a block."""

IDENTITY = (*BLOCK, *ROW, *DETAILS, "metric", "variant", "fold", "seed")
"""Rows that are equal in all of these come from the same request; only these are averaged as replicates."""
