"""What makes two numbers comparable: the columns of the scores table that blocks, rows and columns share."""

from __future__ import annotations

BLOCK = ("dataset", "dataset_revision", "dataset_params", "split", "data_sha256")
"""Numbers made on different data never share a block."""

ROW = ("role", "translator", "translator_params", "translator_version", "training_sha256")
"""Numbers of different translators never share a row."""

BASE = ("metric", "variant", "title", "label", "family", "measure_unit", "caveat")
DETAILS = (
    "metric_params",
    "metric_version",
    "masks_sha256",
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
"""Numbers that differ in any of these never share a column."""

OF_DATA = ("training_sha256", "masks_sha256", "segmenter_training_sha256")
"""Those that differ from dataset to dataset: tables tell numbers apart by them within a block only."""

IDENTITY = (*BLOCK, *ROW, *DETAILS, "metric", "variant", "fold", "seed")
"""Rows that are equal in all of these are runs of the same request: only such are averaged as replicates."""
