"""Metrics of the study on checkpoints: two yardsticks from the truth, and a candidate that corrects Dice for chance.

``placement`` and ``class-error`` see every tissue and need no network: tissues are classes of the intensity of the true
target image, with thresholds by Otsu's criterion on target training slices. ``dice-gain`` is Dice less Dice with the
masks of other patients.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

import mtbench
from mtbench import Cases, Context, DataError, ImageSet, MetricInputs, MetricSpec, Score
from mtbench.data import decode

CLASSES = 4
"""Tissues: in CT air, fat, soft tissue and bone."""
BINS = 64

Floats = NDArray[np.float64]


@mtbench.hookimpl
def mtbench_metrics() -> Iterator[MetricSpec]:
    """``placement``, ``class-error`` and ``dice-gain``."""
    yield MetricSpec(
        "placement",
        ":Placement",
        title="Placement",
        description="Dice of the intensity classes of translation and truth, mean over the classes",
        needs=("candidate", "paired", "training"),
        family="paired",
        higher_is_better=True,
        interval="cases",
        bounds=(0.0, 1.0),
        decimals=3,
    )
    yield MetricSpec(
        "class-error",
        ":ClassError",
        title="Class error",
        description="mean absolute error within each intensity class of the truth, mean over the classes, 0 to 1",
        needs=("candidate", "paired", "training"),
        family="paired",
        interval="cases",
        bounds=(0.0, 1.0),
        decimals=4,
    )
    yield MetricSpec(
        "dice-gain",
        ":DiceGain",
        title="Dice gain",
        description="Dice less Dice with the masks of other patients, mean over regions and slices",
        needs=("predicted_masks", "reference_masks", "candidate"),
        family="segmentation",
        higher_is_better=True,
        interval="cases",
        bounds=(-1.0, 1.0),
        decimals=3,
    )


def thresholds(images: NDArray[np.floating]) -> Floats:
    """The CLASSES - 1 thresholds, ascending, with the largest variance between classes (Otsu 1979), by exhaustion.

    Args:
        images: any shape, within [0, 1].
    """
    counts, edges = np.histogram(images, BINS, (0.0, 1.0))
    share, middle = counts / counts.sum(), (edges[:-1] + edges[1:]) / 2
    mass, moment = (np.concatenate([[0.0], np.cumsum(each)]) for each in (share, share * middle))
    cuts = np.array(list(combinations(range(1, BINS), CLASSES - 1)))
    ends = np.pad(cuts, ((0, 0), (1, 1)), constant_values=((0, 0), (0, BINS)))
    weights, sums = np.diff(mass[ends]), np.diff(moment[ends])
    with np.errstate(invalid="ignore", divide="ignore"):
        between = np.where(weights.min(axis=1) > 0, (sums**2 / weights).sum(axis=1), -1.0)
    return np.asarray(edges[cuts[between.argmax()]])


def _pixels(images: ImageSet | None) -> Floats:
    assert images is not None
    return decode(np.asarray(images.images)).astype(np.float64)


def _read(inputs: MetricInputs) -> tuple[Floats, Floats, Floats]:
    """Translations and truth (N x H x W, within [0, 1]), and the thresholds between tissues."""
    candidate, truth = _pixels(inputs.candidate), _pixels(inputs.paired)
    if candidate.shape != truth.shape:
        raise DataError(f"translations are {candidate.shape}, the truth {truth.shape}", expected="one size")
    return candidate, truth, thresholds(_pixels(inputs.training))


def _score(images: ImageSet | None, values: Floats) -> list[Score]:
    assert images is not None
    ids = tuple(record.slice_id for record in images.slices)
    return [Score(float(np.nanmean(values)), cases=Cases("slice", ids, images.patients, values))]


def _dice(a: NDArray[np.bool_], b: NDArray[np.bool_]) -> Floats:
    """Of each slice of N x H x W masks; NaN where both are empty."""
    both, total = (a & b).sum((1, 2)), a.sum((1, 2)) + b.sum((1, 2))
    return np.where(total > 0, 2.0 * both / np.maximum(total, 1), np.nan)


class Placement:
    """Where tissues are: Dice of the intensity classes of translation and truth, mean over the classes of a slice."""

    def compute(self, inputs: MetricInputs, context: Context) -> Sequence[Score]:
        """One score; a class that neither image has is left out of its slice.

        Raises:
            DataError: translations and truth differ in size.
        """
        candidate, truth, cuts = _read(inputs)
        here, there = np.digitize(candidate, cuts), np.digitize(truth, cuts)
        of_class = np.stack([_dice(here == each, there == each) for each in range(CLASSES)])
        return _score(inputs.candidate, np.nanmean(of_class, axis=0))


class ClassError:
    """How tissues look: mean absolute error within each intensity class of the truth, mean over its classes."""

    def compute(self, inputs: MetricInputs, context: Context) -> Sequence[Score]:
        """One score, in stored values within [0, 1]; a class that the truth lacks is left out of its slice.

        Raises:
            DataError: translations and truth differ in size.
        """
        candidate, truth, cuts = _read(inputs)
        error, classes = np.abs(candidate - truth), np.digitize(truth, cuts)
        values = np.full((CLASSES, len(truth)), np.nan)
        for each in range(CLASSES):
            inside = classes == each
            size = inside.sum((1, 2))
            np.divide((error * inside).sum((1, 2)), size, out=values[each], where=size > 0)
        return _score(inputs.candidate, np.nanmean(values, axis=0))


class DiceGain:
    """Dice less what comes of labels being where they usually are: Dice with the masks of all other patients."""

    def compute(self, inputs: MetricInputs, context: Context) -> Sequence[Score]:
        """One score: the mean over regions of the task and over slices.

        Raises:
            DataError: there is one patient only.
        """
        assert inputs.candidate is not None
        assert inputs.predicted_masks is not None
        assert inputs.reference_masks is not None
        predicted, reference = np.asarray(inputs.predicted_masks), np.asarray(inputs.reference_masks)
        people = np.array(inputs.candidate.patients)
        if len(set(people)) < 2:
            raise DataError("there is one patient", where="dice-gain", expected="at least two")
        regions = []
        for labels in inputs.task.regions.values():
            a, b = np.isin(predicted, labels), np.isin(reference, labels)
            own = _dice(a, b)
            others = [
                np.nanmean(_dice(np.broadcast_to(a[i], b[apart].shape), b[apart]))
                for i, apart in ((i, people != people[i]) for i in range(len(a)))
            ]
            regions.append(np.nan_to_num(own) - np.array(others))
        return _score(inputs.candidate, np.mean(regions, axis=0))
