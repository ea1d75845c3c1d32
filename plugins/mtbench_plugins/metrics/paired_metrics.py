"""MAE, PSNR, SSIM and MS-SSIM of translated slices or volumes against their paired truth.

Stored values are mapped back to the image's own unit by the window of the truth (HU for CT); without a window they are
in [0, 1]. The data range is that window, or ``low`` to ``high``; values are clipped to it. Cases with an empty body
have no value and are excluded.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from mtbench import Context, DataError, ImageSet, MetricInputs, Score
from mtbench_plugins.metrics import challenge, similarity
from mtbench_plugins.metrics.regions import SAME, Per, groups, mean_score, require_contiguous, require_memory_for_volume

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]
Range = tuple[float, float]


_BYTES = 144
"""Of memory for each voxel: two volumes before and after clipping, and the maps of SSIM."""


@dataclass(frozen=True)
class PairedMetric:
    """The common part of the four metrics.

    Args:
        per: "slice", "volume": all voxels of a volume together, or "patient": the mean of a patient's volumes. The
            window of SSIM is then three-dimensional; a volume of one slice is measured as a slice.
        body: the region to compare: "none" is everywhere, "masks" is where the masks of the truth are not 0,
            "threshold" is the largest connected part of the truth above ``threshold`` with its holes filled, slice by
            slice.
        threshold: in the image's own unit.
        low, high: ends of the data range in that unit; ``None`` takes the window's.
        preset: "synthrad2025-image" computes on volumes as that challenge's published code does: see
            :mod:`mtbench_plugins.metrics.challenge`. Slices must then be CT in HU and all parameters except ``body``
            have no effect (``body="none"`` takes the truth's masks if there are any).
    """

    per: Per = field(default="slice", kw_only=True)
    body: Literal["none", "masks", "threshold"] = field(default="none", kw_only=True)
    threshold: float = field(default=-500.0, kw_only=True)
    low: float | None = field(default=None, kw_only=True)
    high: float | None = field(default=None, kw_only=True)
    preset: str | None = field(default=None, kw_only=True)

    name = ""
    across = False
    """Whether the value depends on which slices are neighbours."""

    def measure(self, image: Floats, truth: Floats, body: Mask, ends: Range) -> float:
        """The value of one case, N x H x W, from values clipped to the data range; NaN where it has none."""
        raise NotImplementedError

    def of_volume(self, image: Floats, truth: Floats, body: Mask) -> float:
        """The value of one volume under the preset."""
        raise NotImplementedError

    def compute(self, inputs: MetricInputs, context: Context) -> Score:
        """The mean over cases.

        Raises:
            DataError: candidates and truth differ in number or size, only some slices have a window, masks are
                requested and absent, the data range is empty, or no case has a value.
        """
        candidate, paired = inputs.candidate, inputs.paired
        assert candidate is not None
        assert paired is not None
        require_truth(self.name, candidate, paired)
        measure_unit = measure_unit_of(self.name, paired)
        if self.preset and measure_unit != "HU":
            raise DataError(
                f"the images are in {measure_unit or 'no unit'}",
                where=f"{self.name}[{self.preset}]",
                expected="CT in HU",
            )
        cases = groups(paired, "patient" if self.preset else self.per)
        values = [self._of_case(candidate, paired, members) for members in cases.members]
        left_out = int(np.isnan(values).sum())
        flat = sum(len(members) == 1 for members in cases.members) if self.across and cases.per != "slice" else 0
        note = "; ".join(
            [
                f"in {measure_unit}" if measure_unit else "in stored values, 0 to 1",
                self._range_note(paired),
                *([f"{flat} of {len(values)} volumes have one slice: window of two dimensions"] if flat else []),
                *([f"{left_out} of {len(values)} cases have no body"] if left_out else []),
            ]
        )
        return mean_score(self.name, "", cases, values, note=note)

    def _of_case(self, candidate: ImageSet, paired: ImageSet, members: NDArray[np.int64]) -> float:
        require_memory_for_volume(self.name, members, paired.size, _BYTES)
        volume, truth = (np.stack([in_own_unit(s, paired, i) for i in members]) for s in (candidate, paired))
        body = self._body(paired, members, truth)
        if not body.any():
            return float("nan")
        if self.preset or self.across:
            require_contiguous(self.name, [paired.slices[i] for i in members])
        if self.preset:
            return self.of_volume(volume, truth, body)
        low, high = self._ends(paired, int(members[0]))
        return self.measure(np.clip(volume, low, high), np.clip(truth, low, high), body, (low, high))

    def _body(self, paired: ImageSet, members: NDArray[np.int64], truth: Floats) -> Mask:
        if self.body == "threshold":
            return np.stack([largest_part(image > self.threshold) for image in truth])
        if self.body == "masks" or (self.preset and paired.masks is not None):
            if paired.masks is None:
                raise DataError(
                    "body=masks needs masks of the truth, which has none",
                    where=self.name,
                    remedy="Use body=threshold, or add masks to the truth",
                )
            return np.asarray(paired.masks[members] != 0)
        return np.ones(truth.shape, bool)

    def _ends(self, paired: ImageSet, index: int) -> Range:
        low, high = paired.slices[index].window or (0.0, 1.0)
        low, high = low if self.low is None else self.low, high if self.high is None else self.high
        if not low < high:
            raise DataError(f"the data range is {low:g} to {high:g}", where=self.name, expected="low below high")
        return low, high

    def _range_note(self, paired: ImageSet) -> str:
        if self.preset:
            return f"data range {challenge.LOW:g} to {challenge.HIGH:g}"
        ends = {self._ends(paired, i) for i in range(len(paired))}
        if len(ends) > 1:
            return "data range: each case's own window"
        return "data range {:g} to {:g}".format(*ends.pop())


@dataclass(frozen=True)
class _Pointwise(PairedMetric):
    """A function of the mean of an error of single pixels: a volume is read slice by slice."""

    def error(self, difference: Floats) -> Floats:
        """Of each pixel."""
        raise NotImplementedError

    def of_mean(self, error: float, ends: Range) -> float:
        """The value of a case, from its mean error."""
        raise NotImplementedError

    def _of_case(self, candidate: ImageSet, paired: ImageSet, members: NDArray[np.int64]) -> float:
        if self.preset:
            return super()._of_case(candidate, paired, members)
        ends, total, count = self._ends(paired, int(members[0])), 0.0, 0
        for i in members:
            image, truth = (in_own_unit(images, paired, i) for images in (candidate, paired))
            body = self._body(paired, np.array([i]), truth[None])[0]
            errors = self.error(np.clip(image, *ends) - np.clip(truth, *ends))[body]
            total, count = total + float(errors.sum()), count + errors.size
        return self.of_mean(total / count, ends) if count else float("nan")


@dataclass(frozen=True)
class Mae(_Pointwise):
    """Mean absolute error in the body, in the image's own unit."""

    name = "mae"

    def error(self, difference: Floats) -> Floats:
        return np.abs(difference)

    def of_mean(self, error: float, ends: Range) -> float:
        return error

    def of_volume(self, image: Floats, truth: Floats, body: Mask) -> float:
        return challenge.mae(image, truth, body)


@dataclass(frozen=True)
class Psnr(_Pointwise):
    """10 log10(range^2 / mean squared error in the body), in dB, at most 100."""

    name = "psnr"

    def error(self, difference: Floats) -> Floats:
        return np.square(difference)

    def of_mean(self, error: float, ends: Range) -> float:
        return similarity.decibels(error, ends[1] - ends[0])

    def of_volume(self, image: Floats, truth: Floats, body: Mask) -> float:
        return challenge.psnr(image, truth, body)


@dataclass(frozen=True)
class Ssim(PairedMetric):
    """Structural similarity: mean over the body of the map of Wang et al. 2004, with a window of 11 pixels an axis."""

    name = "ssim"
    across = True

    def measure(self, image: Floats, truth: Floats, body: Mask, ends: Range) -> float:
        _large_enough(self.name, image, 2 * similarity.RADIUS + 1)
        # Luminance needs values from 0 upwards.
        first, second = _flat(image) - ends[0], _flat(truth) - ends[0]
        return similarity.ssim(first, second, ends[1] - ends[0], _flat(body))


@dataclass(frozen=True)
class MsSsim(PairedMetric):
    """Multi-scale structural similarity (Wang et al. 2003); five scales need 176 pixels along each axis."""

    scales: int = field(default=5, kw_only=True)

    name = "ms-ssim"
    across = True

    def measure(self, image: Floats, truth: Floats, body: Mask, ends: Range) -> float:
        _large_enough(self.name, image, (2 * similarity.RADIUS + 1) * 2 ** (self.scales - 1))
        first, second = _flat(image) - ends[0], _flat(truth) - ends[0]
        return similarity.ms_ssim(first, second, ends[1] - ends[0], _flat(body), self.scales)

    def of_volume(self, image: Floats, truth: Floats, body: Mask) -> float:
        return challenge.ms_ssim(image, truth, body)


def largest_part(mask: Mask) -> Mask:
    """The largest connected part of a mask (4 neighbours), its holes filled; empty for an empty one."""
    from scipy import ndimage

    parts, count = ndimage.label(mask)
    if not count:
        return mask
    largest = 1 + int(np.argmax(np.bincount(parts.ravel())[1:]))
    filled: Mask = ndimage.binary_fill_holes(parts == largest)
    return filled


def require_truth(metric: str, candidate: ImageSet, paired: ImageSet) -> None:
    """Refuse truth that is not one image of the same size and spacing for every candidate.

    Raises:
        DataError: they differ in number, size or spacing.
    """
    if candidate.images.shape != paired.images.shape:
        raise DataError(
            f"translated images have shape {candidate.images.shape} and their truth {paired.images.shape}",
            where=metric,
            expected="a paired image of the same size for every slice",
        )
    for one, other in zip(candidate.slices, paired.slices, strict=True):
        steps, true = ((*(s.spacing or (0.0, 0.0)), s.thickness or 0.0) for s in (one, other))
        if any(a and b and abs(a - b) > SAME * b for a, b in zip(steps, true, strict=True)):
            raise DataError(
                "slice '{}' has rows, columns and slices {:g}, {:g} and {:g} mm apart, its truth {:g}, {:g} and "
                "{:g} mm".format(one.slice_id, *steps, *true),
                where=metric,
                expected="images of the same geometry (0: not known)",
                remedy="Resample one of them to the grid of the other",
            )


def in_own_unit(images: ImageSet, paired: ImageSet, index: int) -> Floats:
    """One image in the unit of its truth, H x W."""
    low, high = paired.slices[index].window or (0.0, 1.0)
    image = images.floats([index])[0, 0].astype(np.float64)
    return np.asarray(image * (high - low) + low)


def measure_unit_of(metric: str, paired: ImageSet) -> str:
    """The unit of the values, in words; empty where they are stored values in [0, 1].

    Raises:
        DataError: slices of several units, or some with a window and some without.
    """
    with_window = sum(s.window is not None for s in paired.slices)
    units = {s.measure_unit for s in paired.slices}
    if with_window not in (0, len(paired)) or len(units) > 1:
        raise DataError(
            f"{with_window} of {len(paired)} slices have a window, in units {sorted(units)}",
            where=metric,
            expected="one unit, and a window for all slices or none",
        )
    return units.pop() or ("its own unit" if with_window else "") if with_window else ""


def _flat(volume: NDArray[Any]) -> NDArray[Any]:
    """A volume of one slice as that slice."""
    return volume[0] if len(volume) == 1 else volume


def _large_enough(metric: str, images: Floats, side: int) -> None:
    shape = _flat(images).shape
    if min(shape) < side:
        volume = len(shape) == 3
        raise DataError(
            f"{'volumes' if volume else 'images'} of {' x '.join(map(str, shape))} are too small",
            where=metric,
            expected=f"sides of at least {side} pixels",
            remedy=" or ".join(
                [*(["Use fewer scales"] if metric == "ms-ssim" else []), *(["Use per=slice"] if volume else [])]
            )
            or None,
        )
