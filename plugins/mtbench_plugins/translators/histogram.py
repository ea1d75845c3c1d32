"""The translator ``histogram``: each slice gets the grey-level distribution of the target's training slices."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import mtbench

if TYPE_CHECKING:
    import torch


@mtbench.hookimpl
def mtbench_translators() -> Iterator[mtbench.TranslatorSpec]:
    """The translator ``histogram``."""
    yield mtbench.TranslatorSpec(
        "histogram",
        "mtbench_plugins.translators.histogram:HistogramMatching",
        params={
            "levels": mtbench.Param(
                1024, minimum=2, maximum=65536, help="number of points of the target's quantile function"
            )
        },
        trains=True,
        deterministic=True,
        description="histogram matching to the target's training slices: a classical baseline",
    )


class HistogramMatching:
    """Maps each slice's ranks onto the pooled quantiles of the target's training slices.

    Pixels of equal value stay equal: a value goes to the target quantile at the middle of its ranks.

    Args:
        levels: number of points of the target's quantile function.
    """

    def __init__(self, levels: int) -> None:
        self._levels = levels
        self._quantiles: Any = None

    def fit(self, data: mtbench.TrainingData, context: mtbench.Context) -> None:
        """Keep the quantiles of all target training pixels."""
        import numpy as np

        assert data.target_train is not None
        images = data.target_train.images
        levels, counts = np.unique(np.asarray(images), return_counts=True)
        values = mtbench.data.decode(levels).astype(np.float64)
        middle = (np.cumsum(counts) - counts / 2) / counts.sum()
        self._quantiles = np.interp(np.linspace(0.0, 1.0, self._levels), middle, values)

    def save(self, folder: Path) -> None:
        """Write ``quantiles.npy``."""
        import numpy as np

        np.save(folder / "quantiles.npy", self._quantiles, allow_pickle=False)

    def load(self, folder: Path) -> None:
        """Read ``quantiles.npy``."""
        import numpy as np

        self._quantiles = np.load(folder / "quantiles.npy", allow_pickle=False)

    def translate(self, batch: mtbench.Batch, context: mtbench.Context) -> torch.Tensor:
        """Match each slice separately."""
        import numpy as np
        import torch

        result = np.empty(tuple(batch.source.shape), dtype=np.float32)
        grid = np.linspace(0.0, 1.0, len(self._quantiles))
        for row, image in enumerate(batch.source.cpu().numpy()):
            _, inverse, counts = np.unique(image, return_inverse=True, return_counts=True)
            middle = (np.cumsum(counts) - counts / 2) / image.size
            result[row] = np.interp(middle, grid, self._quantiles)[inverse.reshape(image.shape)]
        return torch.from_numpy(result).to(batch.source.device)
