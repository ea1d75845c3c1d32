"""How long HD95 and NSD of one volume take: 256 x 256 x 128 voxels, five labels, one thread.

``OMP_NUM_THREADS=1 python benchmarks/surfaces.py`` prints processor seconds of the first call, with imports and tables,
and of the second.
"""

from __future__ import annotations

import time

import numpy as np
from numpy.typing import NDArray

from mtbench import Context, ImageSet, MetricInputs, Slice, Task
from mtbench_plugins.metrics.surface_distances import Hausdorff95, SurfaceDice

SHAPE = (128, 256, 256)
ORGANS = (
    ((64, 128, 128), (60, 120, 118)),
    ((64, 90, 90), (50, 40, 45)),
    ((60, 160, 160), (40, 50, 40)),
    ((70, 170, 90), (30, 25, 30)),
    ((50, 80, 180), (12, 10, 14)),
)
"""Centres and half axes of ellipsoids, in voxels; the first is the body."""


def label_map(shift: float, stretch: float) -> NDArray[np.uint8]:
    """The ellipsoids, moved and stretched a little as a segmenter's labels are."""
    grid = np.ogrid[tuple(slice(0, n) for n in SHAPE)]
    labels = np.zeros(SHAPE, np.uint8)
    for label, (centre, half) in enumerate(ORGANS, start=1):
        axes = zip(grid, centre, half, strict=True)
        labels[sum(((x - c - shift) / (stretch * h)) ** 2 for x, c, h in axes) < 1] = label
    return labels


def main() -> None:
    """Print the times."""
    task = Task("volumes", labels={label: f"organ {label}" for label in range(1, len(ORGANS) + 1)})
    slices = tuple(Slice(f"s{i}", "p", "c", i, (0.9, 0.9), 2.0) for i in range(SHAPE[0]))
    images = ImageSet(np.zeros(SHAPE, np.uint8), slices, None, task, "source", "test")
    inputs = MetricInputs(task, images, predicted_masks=label_map(1, 1.01), reference_masks=label_map(0, 1))
    for call in ("first", "second"):
        for metric in (Hausdorff95(per="volume"), SurfaceDice(per="volume")):
            started = time.process_time()
            metric.compute(inputs, Context())
            print(f"{call} call, {type(metric).__name__}: {time.process_time() - started:.2f} s")


if __name__ == "__main__":
    main()
