"""The translators ``pointwise-map`` and ``monotone-map``: what a function of the intensity alone can do."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import mtbench

if TYPE_CHECKING:
    import numpy as np
    import torch
    from numpy.typing import NDArray

_AT_ONCE = 64
"""Slices that a fit reads at once."""


@mtbench.hookimpl
def mtbench_translators() -> Iterator[mtbench.TranslatorSpec]:
    """Both maps, fitted by least squares on training pairs."""
    levels = mtbench.Param(256, minimum=2, maximum=65536, help="points of the map, evenly spaced in intensity")
    for name, what in (
        ("pointwise-map", "the best map of the intensity alone: the mean target value at each source value"),
        ("monotone-map", "the best rising or falling map of the intensity alone"),
    ):
        yield mtbench.TranslatorSpec(
            name,
            f"mtbench_plugins.translators.intensity_maps:{'Pointwise' if name == 'pointwise-map' else 'Monotone'}Map",
            params={"levels": levels},
            trains=True,
            paired=True,
            deterministic=True,
            description=f"{what} (baseline for paired tasks)",
        )


class PointwiseMap:
    """Gives each source value the mean target value of the training pixels that have it.

    No other function of the intensity has a smaller mean squared error on the training pairs. Between the points of the
    map, and at values that no training pixel has, it is linear.

    Args:
        levels: points of the map.
    """

    def __init__(self, levels: int) -> None:
        self._levels = levels
        self._map: Any = None

    def fit(self, data: mtbench.TrainingData, context: mtbench.Context) -> None:
        """Average the target over the source's levels.

        Raises:
            DataError: there are no pairs, or the images of a pair differ in size.
        """
        import numpy as np

        source, truth = data.pairs()
        if source.size != truth.size:
            raise mtbench.DataError(
                f"source images of {source.size} and targets of {truth.size}", where=data.task.dataset
            )
        counts, sums = np.zeros(self._levels), np.zeros(self._levels)
        for start in range(0, len(source), _AT_ONCE):
            rows = slice(start, start + _AT_ONCE)
            at = np.rint(source.floats(rows).ravel() * np.float32(self._levels - 1)).astype(np.int64)
            counts += np.bincount(at, minlength=self._levels)
            sums += np.bincount(at, weights=truth.floats(rows).ravel(), minlength=self._levels)
        seen = np.flatnonzero(counts)
        values = self._shape(sums[seen] / counts[seen], counts[seen])
        self._map = np.interp(np.arange(self._levels), seen, values)

    def _shape(self, means: NDArray[np.float64], counts: NDArray[np.float64]) -> NDArray[np.float64]:
        return means

    def save(self, folder: Path) -> None:
        """Write ``map.npy``."""
        import numpy as np

        np.save(folder / "map.npy", self._map, allow_pickle=False)

    def load(self, folder: Path) -> None:
        """Read ``map.npy``."""
        import numpy as np

        self._map = np.load(folder / "map.npy", allow_pickle=False)

    def translate(self, batch: mtbench.Batch, context: mtbench.Context) -> torch.Tensor:
        """Map each pixel by itself."""
        import numpy as np
        import torch

        grid = np.linspace(0.0, 1.0, len(self._map))
        mapped = np.interp(batch.source.cpu().numpy(), grid, self._map).astype(np.float32)
        return torch.from_numpy(mapped).to(batch.source.device)


class MonotoneMap(PointwiseMap):
    """The monotone map with the smallest mean squared error on the training pairs, rising or falling.

    It changes contrast only: what is brighter than something else stays so, or everywhere the reverse.
    """

    def _shape(self, means: NDArray[np.float64], counts: NDArray[np.float64]) -> NDArray[np.float64]:
        from scipy.optimize import isotonic_regression

        fits = [isotonic_regression(means, weights=counts, increasing=rising).x for rising in (True, False)]
        best: NDArray[np.float64] = min(fits, key=lambda fit: float((counts * (fit - means) ** 2).sum()))
        return best
