"""Features of an image set: written in order whatever the batch size, and what an extractor may not give."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import mtbench
from mtbench.compute.context import Context
from mtbench.data import ImageSet, Slice, Task
from mtbench.stages.extract import extract

COUNT = 5


class Net:
    """Gives what ``answer`` makes of a batch."""

    def __init__(self, answer: Callable[[Any], Any]) -> None:
        self._answer = answer

    def extract(self, images: Any, context: Context) -> Any:
        return self._answer(images)


def images() -> ImageSet:
    stored = np.random.default_rng(0).integers(0, 256, (COUNT, 8, 8)).astype(np.uint8)
    slices = tuple(Slice(f"s{i}", f"p{i}", f"p{i}") for i in range(COUNT))
    return ImageSet(stored, slices, None, Task("toy"), "target", "test")


def run(folder: Path, answer: Callable[[Any], Any], batch_size: int = 2) -> None:
    extract(images(), Net(answer), ["mean"], Context(batch_size=batch_size), folder, "extractor 'net' of toys")


@pytest.mark.parametrize("batch_size", [1, 2, 5, 8])
def test_rows_are_those_of_the_slices(tmp_path: Path, batch_size: int) -> None:
    run(tmp_path, lambda batch: {"mean": batch.mean((2, 3))}, batch_size)
    result = np.load(tmp_path / "mean.npy")
    assert result.dtype == np.float32
    np.testing.assert_allclose(result[:, 0], images().images.mean((1, 2)) / 255, rtol=1e-6)


def test_half_precision_becomes_float32(tmp_path: Path) -> None:
    run(tmp_path, lambda batch: {"mean": batch.mean((1, 2, 3)).to(torch.bfloat16)})
    assert np.load(tmp_path / "mean.npy").shape == (COUNT,)


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (lambda batch: batch.mean((1, 2, 3)), "extract() returned Tensor. Expected a dictionary of mean"),
        (lambda batch: None, "extract() returned NoneType"),
        (lambda batch: {}, "extract() returned nothing"),
        (lambda batch: {"other": batch}, "extract() returned other"),
        (lambda batch: {"mean": batch.mean()}, "extract() returned 'mean' as Tensor tensor("),
        (lambda batch: {"mean": batch.mean((1, 2, 3)).numpy()}, "extract() returned 'mean' as ndarray"),
        (lambda batch: {"mean": [1.0, 2.0]}, "extract() returned 'mean' as list [1.0, 2.0]. Expected a torch tensor"),
        (lambda batch: {"mean": batch.mean((1, 2, 3))[:1]}, "'mean' of shape (1,). Expected 2 finite rows"),
        (lambda batch: {"mean": batch.mean((1, 2, 3)) / 0}, "'mean' of shape (2,) with NaN"),
        (
            lambda batch: {"mean": torch.zeros(len(batch), 3 + len(batch))},
            "rows of shape (4,). Expected (5,), as for the previous images",
        ),
    ],
)
def test_what_an_extractor_may_not_give(tmp_path: Path, answer: Callable[[Any], Any], message: str) -> None:
    with pytest.raises(mtbench.PluginError) as caught:
        run(tmp_path, answer)
    assert message in str(caught.value)
    assert "extractor 'net' of toys" in str(caught.value)
