"""The maps of the intensity alone: the least squares that a function, or a monotone one, can reach on pairs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.optimize import lsq_linear

from mtbench import Batch, Context, DataError, ImageSet, Slice, Task, TrainingData
from mtbench_plugins.translators.intensity_maps import MonotoneMap, PointwiseMap

TASK = Task("toy", paired=True, paired_training=True)


def images(values: Any, domain: Any) -> ImageSet:
    slices = tuple(Slice(f"s{i}", "p", "c", i) for i in range(len(values)))
    return ImageSet(np.asarray(values, np.uint8), slices, None, TASK, domain, "train")


def pairs(target: Any, noise: int = 0) -> TrainingData:
    """Ten grey levels, 25 apart; the target is a function of the source and noise."""
    rng = np.random.default_rng(0)
    source = rng.integers(0, 10, (70, 4, 5)) * 25
    truth = target(source) + rng.integers(-noise, noise + 1, source.shape)
    return TrainingData(TASK, source_train=images(source, "source"), paired_train=images(truth, "paired"))


def fitted(kind: Any, data: TrainingData) -> Any:
    model = kind(256)
    model.fit(data, Context())
    return model


def translated(model: Any, source: ImageSet) -> np.ndarray[Any, Any]:
    return np.asarray(model.translate(Batch(source.tensor(), source.slices), Context())) * 255


def test_the_pointwise_map_is_the_mean_target_at_each_source_value() -> None:
    data = pairs(lambda x: 200 - np.abs(x - 100), noise=20)
    assert data.source_train is not None
    assert data.paired_train is not None
    source, truth = np.asarray(data.source_train.images), np.asarray(data.paired_train.images)
    out = translated(fitted(PointwiseMap, data), data.source_train)[:, 0]
    for level in range(10):
        assert out[source == 25 * level] == pytest.approx(truth[source == 25 * level].mean(), abs=1e-3)


@pytest.mark.parametrize("falling", [False, True])
def test_the_monotone_map_is_the_best_of_its_kind(falling: bool) -> None:
    data = pairs(lambda x: 240 - x if falling else x, noise=10)
    bumpy = pairs(lambda x: np.where(x == 100, 225 - x, 240 - x) if falling else np.where(x == 100, 20, x), noise=5)
    for case in (data, bumpy):
        assert case.source_train is not None
        assert case.paired_train is not None
        source, truth = np.asarray(case.source_train.images), np.asarray(case.paired_train.images).astype(float)
        out = translated(fitted(MonotoneMap, case), case.source_train)[:, 0]
        # Nonnegative steps behind a free start, by another solver.
        sign = -1.0 if falling else 1.0
        steps = np.arange(10)[None] <= (source.ravel() // 25)[:, None]
        solved = lsq_linear(steps.astype(float), sign * truth.ravel(), (np.r_[-np.inf, np.zeros(9)], np.inf), tol=1e-12)
        assert ((out - truth) ** 2).mean() == pytest.approx(2 * solved.cost / truth.size, rel=1e-4)
        by_level = np.array([out[source == 25 * level].mean() for level in range(10)])
        assert (sign * np.diff(by_level) >= -1e-4).all()


@pytest.mark.parametrize("kind", [PointwiseMap, MonotoneMap])
def test_saved_and_loaded(kind: Any, tmp_path: Path) -> None:
    data = pairs(lambda x: 240 - x)
    model = fitted(kind, data)
    model.save(tmp_path)
    again = kind(256)
    again.load(tmp_path)
    probe = torch.linspace(0, 1, 30).reshape(1, 1, 5, 6)
    batch = Batch(probe, (Slice("a", "p", "c"),))
    out = again.translate(batch, Context())
    assert torch.equal(out, model.translate(batch, Context()))
    # Linear between the levels that training has; constant beyond.
    expected = np.clip(240 - probe.numpy() * 255, 240 - 225, 240) / 255
    np.testing.assert_allclose(out.numpy(), expected, atol=2e-3)


def test_pairs_of_other_sizes_are_refused() -> None:
    data = pairs(lambda x: x)
    smaller = images(np.zeros((70, 3, 5)), "paired")
    with pytest.raises(DataError, match=r"source images of \(4, 5\) and targets of \(3, 5\)"):
        PointwiseMap(256).fit(TrainingData(TASK, source_train=data.source_train, paired_train=smaller), Context())
