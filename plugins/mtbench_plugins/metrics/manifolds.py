"""Precision, recall, density and coverage (Naeem et al. 2020).

With the neighbourhood of a point, the open ball up to its k-th nearest neighbour in its own set:

- precision: share of translations in the neighbourhood of any target slice;
- recall: share of target slices in the neighbourhood of any translation;
- density: number of target neighbourhoods that a translation lies in, divided by k, mean over translations;
- coverage: share of target slices whose neighbourhood holds a translation.

Neighbouring slices of one patient are nearly copies: with them as neighbours the balls shrink to single patients. So
by default only slices of other patients are neighbours. A distance equal to a radius is outside of the ball, as in the
package ``prdc``: slices that occur k + 1 times have a radius of 0 and an empty neighbourhood.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from numpy.typing import ArrayLike

from mtbench import Context, DataError, ImageSet, MetricInputs, Score
from mtbench.stages.intervals import Measure, Positions
from mtbench_plugins.metrics import any_features
from mtbench_plugins.metrics.neighbours import (
    ROUNDING,
    Features,
    Owners,
    Points,
    closer,
    owners,
    points,
    radii,
    squared_distances,
)

FEW = 1000
"""Below this number of images neighbourhoods are so wide that the values depend on it."""


@dataclass(frozen=True)
class Overlap:
    """The four numbers: 0 to 1, density 0 to N / k."""

    precision: float
    recall: float
    density: float
    coverage: float

    def values(self) -> tuple[float, float, float, float]:
        """In the order in which they are printed."""
        return self.precision, self.recall, self.density, self.coverage


def overlap(reference: Points, candidate: Points, k: int) -> Overlap:
    """The four numbers of two sets.

    Raises:
        DataError: a point has fewer than k neighbours of other patients in its set.
    """
    return _overlap(reference, candidate, radii(reference, k), radii(candidate, k), k)


def _overlap(reference: Points, candidate: Points, of_real: torch.Tensor, of_made: torch.Tensor, k: int) -> Overlap:
    precise = torch.zeros(len(candidate), dtype=torch.bool)
    recalled, covered = (torch.zeros(len(reference), dtype=torch.bool) for _ in range(2))
    balls = 0
    for rows in reference.spans():
        for columns in candidate.spans():
            tile = squared_distances(reference, rows, candidate, columns)
            norms = reference.norms[rows], candidate.norms[columns]
            in_real = closer(tile, of_real[rows][:, None], *norms)
            in_made = closer(tile, of_made[columns], *norms)
            precise[columns] |= in_real.any(0)
            covered[rows] |= in_real.any(1)
            recalled[rows] |= in_made.any(1)
            balls += int(in_real.sum())
    shares = (float(flags.double().mean()) for flags in (precise, recalled, covered))
    precision, recall, coverage = shares
    return Overlap(precision, recall, balls / (k * len(candidate)), coverage)


class Prdc:
    """The metric ``prdc``.

    Args:
        k: neighbours that make a neighbourhood.
        neighbours: "other-patients" or "all".
        features: parameters that select the features.
    """

    def __init__(self, k: int, neighbours: str, **features: object) -> None:
        self._k = k
        self._others = neighbours == "other-patients"
        self._array = any_features.array_of(features)

    def compute(self, inputs: MetricInputs, context: Context) -> Sequence[Score]:
        """Four scores, labelled by their names.

        Raises:
            DataError: features that are not finite, or a slice with fewer than k neighbours.
        """
        reference, candidate = points(self._sets(inputs))
        result = overlap(reference, candidate, self._k)
        count = min(len(reference), len(candidate))
        note = f"k = {self._k}; {self._who(inputs)}"
        if count < FEW:
            note += f"; fewer than {FEW} images a side: comparable only at an equal number of images"
        names = ("precision", "recall", "density", "coverage")
        mark = "*" if count < FEW else ""
        return [Score(v, label=n, mark=mark, note=note) for n, v in zip(names, result.values(), strict=True)]

    def resample(self, inputs: MetricInputs, context: Context) -> Measure:
        """The four numbers of some of the slices; see ``mtbench.stages.intervals.Measure``."""
        reference, candidate = points(self._sets(inputs))
        within = [_within(side) for side in (reference, candidate)]
        across = squared_distances(reference, slice(None), candidate, slice(None))
        across += ROUNDING * (reference.norms[:, None] + candidate.norms)

        def measure(candidates: Positions | None, references: Positions | None) -> ArrayLike:
            keep = [
                torch.arange(len(side)) if chosen is None else torch.from_numpy(chosen)
                for side, chosen in zip((reference, candidate), (references, candidates), strict=True)
            ]
            of_real, of_made = (_kth(matrix[rows][:, rows], self._k) for matrix, rows in zip(within, keep, strict=True))
            distances = across[keep[0]][:, keep[1]]
            in_real, in_made = distances < of_real[:, None], distances < of_made
            shares = in_real.any(0), in_made.any(1), in_real.any(1)
            precision, recall, coverage = (float(flags.double().mean()) for flags in shares)
            return precision, recall, int(in_real.sum()) / (self._k * len(keep[1])), coverage

        return measure

    def _sets(self, inputs: MetricInputs) -> list[tuple[Features, Owners]]:
        """Features and owners of the reference and of the candidate."""
        arrays = [inputs.features[side][self._array] for side in ("reference", "candidate")]
        patients = [
            _patients(images) if self._others and images is not None else ("",) * len(array)
            for images, array in zip((inputs.reference, inputs.candidate), arrays, strict=True)
        ]
        # Within one set only: a person on both sides is a person whose target image may be reproduced.
        return [(array, owners(names)[0]) for array, names in zip(arrays, patients, strict=True)]

    def _who(self, inputs: MetricInputs) -> str:
        if not self._others:
            return "all slices are neighbours"
        known = all(all(images.patients) for images in (inputs.reference, inputs.candidate) if images is not None)
        return "neighbours are slices of other patients" if known else "patients not known: all slices are neighbours"


def _within(side: Points) -> torch.Tensor:
    """Squared distances of all points of a set, infinite between slices of one patient."""
    distances = squared_distances(side, slice(None), side, slice(None))
    distances[side.owners[:, None] == side.owners] = torch.inf
    return distances


def _kth(distances: torch.Tensor, k: int) -> torch.Tensor:
    result = distances.topk(min(k, len(distances)), 1, largest=False).values[:, -1]
    if len(distances) < k or not torch.isfinite(result).all():
        raise DataError(f"a slice has fewer than k = {k} neighbours of other patients")
    return result


def _patients(images: ImageSet) -> tuple[str, ...]:
    return images.patients if all(images.patients) else ("",) * len(images)
