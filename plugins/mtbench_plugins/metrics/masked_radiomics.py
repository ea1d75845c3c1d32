"""The Frechet Radiomic Distance within regions (Konz, Osuala et al., arXiv 2412.01496, with masks).

As :mod:`mtbench_plugins.metrics.radiomic_distance`, on the features of a region's pixels: the region in the masks of
the source slices for translations, in the target's own masks for target slices. So a lesion or a bone is compared with
lesions or bones, whatever surrounds it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from mtbench import Context, DataError, ImageSet, MetricInputs, Score
from mtbench_plugins.extractors.radiomics_extractor import region_features
from mtbench_plugins.extractors.radiomics_images import sampled_mask
from mtbench_plugins.metrics.frechet import frechet_distance
from mtbench_plugins.metrics.radiomic_distance import logarithm, standardised
from mtbench_plugins.metrics.regions import Mask, masks_by_region

FEWEST = 16
"""Pixels of a region, every second sampled, below which texture means little: such slices are skipped."""

Features = NDArray[np.float64]


class MaskedFrd:
    """The metric ``frd-masked``.

    Features are kept by slice, so that draws and intervals compute each of them once.

    Args:
        paper_log: log d in place of log d^2.
    """

    def __init__(self, paper_log: bool = False) -> None:
        self._paper_log = paper_log
        self._known: dict[tuple[str, str, str], Features | None] = {}

    def compute(self, inputs: MetricInputs, context: Context) -> Sequence[Score]:
        """One score for each region of the task.

        Raises:
            DataError: masks and slices differ in size, the target has no masks, or fewer than two slices a side have
                enough of a region.
        """
        candidate, reference = inputs.candidate, inputs.reference
        assert candidate is not None
        assert reference is not None
        assert inputs.reference_masks is not None
        if reference.masks is None:
            raise DataError("the target's slices have no masks", where="frd-masked", expected="masks in both domains")
        ours = dict(_by_region(inputs, candidate, inputs.reference_masks))
        theirs = dict(_by_region(inputs, reference, np.asarray(reference.masks)))
        return [self._of_region(region, (candidate, ours[region]), (reference, theirs[region])) for region in ours]

    def _of_region(self, region: str, candidate: tuple[ImageSet, Mask], reference: tuple[ImageSet, Mask]) -> Score:
        rows = [self._rows(side, region, *of) for side, of in (("candidate", candidate), ("reference", reference))]
        fewest = min(len(side) for side in rows)
        if fewest < 2:
            raise DataError(
                f"{fewest} slices of a side have enough of '{region}'",
                where="frd-masked",
                expected=f"at least two with {FEWEST} sampled pixels of more than one grey level",
            )
        first, second = standardised(*rows)
        value = logarithm(frechet_distance(first, second), first.shape[1], self._paper_log)
        notes = [
            f"{len(of[0]) - len(side)} of {len(of[0])} {name} slices skipped: too little of {region}"
            for name, of, side in zip(("translated", "target"), (candidate, reference), rows, strict=True)
            if len(side) < len(of[0])
        ]
        few = fewest <= first.shape[1]
        if few:
            notes.append(
                f"no more images than features ({first.shape[1]}): biased upwards, comparable only at an equal number"
            )
        return Score(value, label=region, mark="*" if few else "", note="; ".join(notes))

    def _rows(self, side: str, region: str, images: ImageSet, masks: Mask) -> Features:
        """The features of the slices that have enough of the region."""
        rows = []
        for at, record in enumerate(images.slices):
            key = (side, region, record.slice_id)
            if key not in self._known:
                self._known[key] = _features(images.floats([at])[0, 0] * np.float32(255), masks[at])
            if (row := self._known[key]) is not None:
                rows.append(row)
        return np.stack(rows) if rows else np.zeros((0, 0))


def _by_region(inputs: MetricInputs, images: ImageSet, masks: NDArray[np.uint8]) -> Mapping[str, Mask]:
    if masks.shape != (len(images), *images.size):
        raise DataError(f"masks are {masks.shape}", where="frd-masked", expected="one of the images' size each")
    return dict(masks_by_region(inputs.task, np.asarray(masks), "frd-masked"))


def _features(image: NDArray[np.float32], mask: Mask) -> Features | None:
    inside = sampled_mask(mask)
    joined = (inside[:, 1:] & inside[:, :-1]).any() or (inside[1:] & inside[:-1]).any()
    values = image[mask]
    if inside.sum() < FEWEST or not joined or values.min() == values.max():
        return None
    # As the extractor stores them.
    return np.array(list(region_features(image, mask).values()), np.float32).astype(np.float64)
