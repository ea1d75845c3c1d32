"""What panoptica says of small volumes of random lesions: the record that ``test_lesions.py`` compares with.

``pip install panoptica; python tests/panoptica_reference.py`` writes ``tests/panoptica_reference.json`` anew.
"""

from __future__ import annotations

import json
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

FILE = Path(__file__).with_suffix(".json")
SPACING = (3.0, 0.5, 1.25)
SEEDS = (0, 1, 3, 4, 5, 6, 7)
OVERLAPS = (0.1, 0.5)


def volumes(seed: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Predicted and reference mask, 10 x 40 x 40: ellipsoids, of which some are moved, missed or invented."""
    rng = np.random.default_rng(seed)
    at = np.stack(np.mgrid[:10, :40, :40], axis=-1)
    predicted, reference = np.zeros((2, 10, 40, 40), np.uint8)
    for number in range(7):
        centre, radius = rng.uniform((1, 4, 4), (9, 36, 36)), rng.uniform((1, 3, 3), (2.5, 6, 6))
        if number > 0:
            reference[(((at - centre) / radius) ** 2).sum(axis=-1) <= 1] = 1
        if number < 6:
            moved, other = centre + rng.normal(0, (0.4, 1, 1)), radius * rng.uniform(0.8, 1.3, 3)
            predicted[(((at - moved) / other) ** 2).sum(axis=-1) <= 1] = 1
    return predicted, reference


def figures(seed: int, overlap: float) -> dict[str, Any]:
    """Counts, and the means over pairs, by panoptica."""
    import panoptica as p

    evaluator = p.Panoptica_Evaluator(
        p.InputType.SEMANTIC,
        p.ConnectedComponentsInstanceApproximator(),
        p.MaxBipartiteMatching(matching_metric=p.Metric.IOU, matching_threshold=overlap),
        instance_metrics=[p.Metric.DSC, p.Metric.IOU, p.Metric.RVAE, p.Metric.CEDI],
        verbose=False,
    )
    predicted, reference = volumes(seed)
    of = evaluator.evaluate(predicted, reference, voxelspacing=SPACING)["ungrouped"]
    return {
        "tp": of.tp,
        "fp": of.fp,
        "fn": of.fn,
        "f1": of.rq,
        "dice": of.sq_dsc,
        "iou": of.sq,
        "volume": of.sq_rvae,
        "location": of.sq_cedi,
    }


if __name__ == "__main__":
    cases = {f"{seed} {overlap:g}": figures(seed, overlap) for seed in SEEDS for overlap in OVERLAPS}
    record = {"panoptica": version("panoptica"), "cases": cases}
    FILE.write_text(json.dumps(record, indent=1) + "\n")
