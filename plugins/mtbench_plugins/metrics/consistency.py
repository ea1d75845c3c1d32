"""Whether neighbouring slices of a translated volume fit together, as those of real volumes do.

A network that translates slice by slice may give each slice another brightness or texture: the volume flickers. How
much two neighbours of a real volume differ depends on the anatomy between them and on the contrast of the domain. Of
neighbours k and k + 1, with the mean over pixels:

    change(k) = mean |x_(k+1) - x_k| + 0.001

(in stored values, 0 to 1; the constant, a quarter of a grey level of 8 bits, makes unchanged neighbours equal). With
T and S the mean change in the target's and in the source's real volumes, the contrast of the domains explains a factor
T / S, and the source's own change at k explains the anatomy:

    r(k) = change of the translation(k) / (change of its source(k) T / S)

It is 1 if the translation changes from slice to slice as much as the anatomy does, larger if it flickers, smaller if
it is smeared across slices. A volume's ``mean`` is the mean of |log2 r(k)|, its ``worst`` the largest: 1 is twice, or
half, the expected change.

The change is the measure of flicker in videos (Huang et al., VBench, CVPR 2024, "temporal flickering": the mean
absolute difference of neighbouring frames), where scenes without motion are chosen; here the source says how much
moves.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mtbench import Context, DataError, ImageSet, MetricInputs, Score
from mtbench_plugins.metrics.regions import SAME, Per, Positions, SliceGroups, groups, mean_score

FLOOR = 0.001
"""Added to every change."""

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class SliceConsistency:
    """The metric ``slice-consistency``.

    Args:
        per: "volume", or "patient": the mean of a patient's volumes.
    """

    per: Per = "volume"

    def compute(self, inputs: MetricInputs, context: Context) -> Sequence[Score]:
        """Two scores: "mean" and "worst", over the pairs of neighbours of each volume.

        Volumes without neighbours (one slice, or a gap after each) are skipped; they and pairs across gaps are counted
        in the note.

        Raises:
            DataError: translations and sources differ in size, or no volume of a side has neighbours.
        """
        candidate, source, reference = inputs.candidate, inputs.source, inputs.reference
        assert candidate is not None
        assert source is not None
        assert reference is not None
        if candidate.size != source.size:
            raise DataError(
                f"translations are {candidate.size}, their source slices {source.size}", where="slice-consistency"
            )
        volumes = groups(candidate, self.per)
        pairs = [_neighbours(candidate, members) for members in volumes.members]
        ours = [changes(candidate, of) for of in pairs]
        theirs = [changes(source, of) for of in pairs]
        gain = _level(reference, "target") / _mean_of_means(theirs, "source")
        logs = [np.abs(np.log2(t / (s * gain))) for t, s in zip(ours, theirs, strict=True)]
        note = "; ".join(
            text
            for text in (_most(logs, pairs, candidate), _gaps(pairs, volumes), _distances(candidate, reference))
            if text
        )
        return [
            mean_score(
                "slice-consistency", name, volumes, [float(of(log)) if len(log) else np.nan for log in logs], note=note
            )
            for name, of in (("mean", np.mean), ("worst", np.max))
        ]


def changes(images: ImageSet, pairs: Sequence[tuple[int, int]]) -> Floats:
    """The change between the slices at each pair of positions, in stored values; two slices are in memory at a time."""
    values, last, before = [], -1, np.empty(0, np.float32)
    for first, second in pairs:
        one = before if first == last else images.floats([first])[0, 0]
        last, before = second, images.floats([second])[0, 0]
        values.append(float(np.abs(before - one).mean(dtype=np.float64)) + FLOOR)
    return np.array(values)


def _neighbours(images: ImageSet, members: Positions) -> list[tuple[int, int]]:
    """The positions of slices whose indices follow each other."""
    index = [images.slices[i].index for i in members]
    return [(int(members[k]), int(members[k + 1])) for k in range(len(members) - 1) if index[k + 1] == index[k] + 1]


def _level(images: ImageSet, side: str) -> float:
    """The mean change of real volumes."""
    return _mean_of_means([changes(images, _neighbours(images, at)) for at in groups(images, "volume").members], side)


def _mean_of_means(volumes: Sequence[Floats], side: str) -> float:
    means = [of.mean() for of in volumes if len(of)]
    if not means:
        raise DataError(
            f"no {side} volume has two neighbouring slices",
            where="slice-consistency",
            expected="volumes, whose slices have the same case and consecutive indices",
            remedy="Use a data set of volumes, or omit this metric",
        )
    return float(np.mean(means))


def _most(logs: Sequence[Floats], pairs: Sequence[Sequence[tuple[int, int]]], images: ImageSet) -> str:
    """The pair of slices that deviates most."""
    worst = max((of.max(), k) for k, of in enumerate(logs) if len(of))[1]
    first, second = (images.slices[i].slice_id for i in pairs[worst][int(logs[worst].argmax())])
    return f"largest between slices '{first}' and '{second}'"


def _gaps(pairs: Sequence[Sequence[tuple[int, int]]], volumes: SliceGroups) -> str:
    alone = sum(not of for of in pairs)
    missing = sum(len(at) - 1 - len(of) for of, at in zip(pairs, volumes.members, strict=True))
    return "; ".join(
        [
            *([f"{alone} of {len(pairs)} volumes skipped: no neighbouring slices"] if alone else []),
            *([f"{missing} pair{'s' * (missing > 1)} across gaps skipped"] if missing else []),
        ]
    )


def _distances(candidate: ImageSet, reference: ImageSet) -> str:
    """A sentence if slices of translations and of target volumes are not equally far apart."""
    ours, theirs = ({s.thickness for s in images.slices if s.thickness} for images in (candidate, reference))
    if not ours or not theirs or max(ours | theirs) <= (1 + SAME) * min(ours | theirs):
        return ""
    return (
        f"slices are {_span(ours)} mm apart, the target's {_span(theirs)} mm: values compare translators, and 0 is not "
        "the level of real volumes"
    )


def _span(values: set[float]) -> str:
    low, high = min(values), max(values)
    return f"{low:g}" if low == high else f"{low:g} to {high:g}"
