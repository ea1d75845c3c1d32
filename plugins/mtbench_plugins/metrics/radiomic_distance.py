"""The Frechet Radiomic Distance, version 1 (Konz, Osuala et al., arXiv 2412.01496, equation 3; frd-score 1.0).

Each feature is measured from the references' mean in units of their standard deviation (N in the denominator),
so the distance is not symmetric. FRD is log d^2 (natural logarithm) of the Frechet distance d.

A feature that is the same in all references has no such unit and is omitted, as in frd-score. A feature that is
constant up to rounding is omitted here but not there: on images with a flat background the median of a high-pass
sub-band varies by 1e-10 and, divided by that, outweighs all other features.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from mtbench import Context, DataError, ImageSet, MetricInputs, Score
from mtbench.stages.intervals import Measure, Positions
from mtbench_plugins.metrics.frechet import frechet_distance
from mtbench_plugins.metrics.resampling import frechet_measure

FLAT = 1e-6
"""A spread below this share of the mean is rounding: features are stored in float32."""

EQUAL = 1e-10
"""d^2 below this share of the number of features is rounding."""

Features = NDArray[np.floating]


def standardised(candidate: Features, reference: Features) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Both sets in units of the reference's spread, without the features in which it has no spread.

    Args:
        candidate, reference: N x d and M x d.

    Raises:
        DataError: fewer than two images a side, features that are not finite, or references that are all alike.
    """
    for name, rows in (("translated", candidate), ("target", reference)):
        if len(rows) < 2:
            raise DataError(f"FRD needs at least two {name} images; there is {len(rows)}")
        if not np.isfinite(rows).all():
            raise DataError(f"the radiomic features of the {name} images hold NaN or infinite values")
    values = reference.astype(np.float64)
    mean, spread = values.mean(axis=0), values.std(axis=0)
    varied = spread > FLAT * np.abs(mean)
    if not varied.any():
        raise DataError("all target images have the same radiomic features, so FRD has no unit")
    mean, spread = mean[varied], spread[varied]
    return (candidate[:, varied].astype(np.float64) - mean) / spread, (values[:, varied] - mean) / spread


class Frd:
    """The metric ``frd``.

    Args:
        paper_log: log d in place of log d^2.
        laplacian: selects the features; changes nothing here.
    """

    def __init__(self, paper_log: bool = False, laplacian: bool = False) -> None:
        self._paper_log = paper_log

    def compute(self, inputs: MetricInputs, context: Context) -> Score:
        """The distance of candidates from references.

        Raises:
            DataError: constant images, which have no texture; fewer than two images a side; references that
                are all alike; equal sets, whose logarithm would be minus infinity.
        """
        candidate, reference = (inputs.features[of]["features"] for of in ("candidate", "reference"))
        _refuse_constant(candidate, inputs.candidate, "translated")
        _refuse_constant(reference, inputs.reference, "target")
        first, second = standardised(candidate, reference)
        value = logarithm(frechet_distance(first, second), first.shape[1], self._paper_log)
        if min(len(first), len(second)) > first.shape[1]:
            return Score(value)
        return Score(
            value,
            mark="*",
            note=f"no more images than features ({first.shape[1]}): biased upwards, comparable only at an equal "
            "number of images",
        )

    def resample(self, inputs: MetricInputs, context: Context) -> Measure:
        """The distance of some of the slices, in units of the references among them; see ``Measure``."""
        candidate, reference = (inputs.features[of]["features"] for of in ("candidate", "reference"))

        def measure(candidates: Positions | None, references: Positions | None) -> float:
            first, second = standardised(
                candidate if candidates is None else candidate[candidates],
                reference if references is None else reference[references],
            )
            return logarithm(frechet_measure(first, second)(None, None), first.shape[1], self._paper_log)

        return measure


def logarithm(squared: float, width: int, paper_log: bool) -> float:
    """FRD of a squared distance: log d^2, or log d.

    Args:
        squared: d^2, of ``width`` features.
        width: how many features.
        paper_log: log d in place of log d^2.

    Raises:
        DataError: d is 0.
    """
    if squared <= EQUAL * width:
        raise DataError(
            "translated and target images have equal radiomic features: their distance is 0, and FRD, its "
            "logarithm, would be minus infinity",
            remedy="Check that the two sets are not the same images",
        )
    return math.log(squared) / 2 if paper_log else math.log(squared)


def _refuse_constant(features: Features, images: ImageSet | None, name: str) -> None:
    """The first two features are the darkest and the brightest value of an image."""
    flat = np.flatnonzero(features[:, 0] == features[:, 1])
    if len(flat):
        names = [images.slices[int(i)].slice_id if images is not None else f"number {i + 1}" for i in flat[:3]]
        raise DataError(
            f"{len(flat)} of {len(features)} {name} images have one value everywhere ({', '.join(names)}"
            f"{', ...' if len(flat) > 3 else ''}): they have no texture, and frd-score defines no features for them",
            remedy="Exclude blank slices, or use another metric",
        )
