"""The sliced Wasserstein distance of two sets of grey images, fast on a CPU.

For both variants: a Laplacian pyramid; random 7x7 patches of every image and level; each set's patches
centred and scaled by their own mean and standard deviation; projected on random directions; sorted; the mean
absolute difference, times 1000, averaged over levels.

========================  ===============================  ==========================================
..                        karras                           koshian2
========================  ===============================  ==========================================
pyramid borders, going up mirrored, zeros inserted         zeros, pixels repeated
levels of a side S        S, S/2, ... while at least 16    1 + round(log2(S // 16))
patch positions           drawn for each image, may repeat one set without repeats for all images
standard deviation        ddof 0                           ddof 1, plus 1e-8
directions                unit length                      divided by their standard deviation
========================  ===============================  ==========================================

S is the shorter side. A 256 x 256 image has 5 levels, one of 64 x 64 has 3 (64, 32, 16), one of 16 x 16
has 1; the mean is over all levels, so scores at different image sizes are not comparable.
koshian2's level of 16 pixels has 100 positions, fewer than 128: all are taken.

Both are defined on three channels. Of a grey image the channels are equal, so the 147 weights of a direction
fold to 49 (summed over channels) and the result is the same up to rounding. Grey values enter in [0, 1];
karras depends neither on their offset nor on their range, koshian2 not on their range (but for its 1e-8): its
zero borders are edges wherever an image is not black there.

Arithmetic is float32, means and standard deviations float64; the result agrees with float64 throughout to
1e-5 relative. A level whose standard deviation is below 1e-6 is constant up to rounding: its patches count as zeros
(the published code divides by zero).

Randomness: directions depend on (seed, level) alone; patch positions on (seed, level, set, slice id) under
karras and on (seed, level) under koshian2. So a slice's patches depend neither on the order of the slices nor on the
other slices.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from mtbench import Context, DataError, ImageSet, MetricInputs, Score
from mtbench.compute.seeds import generator
from mtbench_plugins.metrics.pyramid import laplacian
from mtbench_plugins.metrics.wasserstein import comparison, distance

PATCH = 7
SMALLEST = 16
CHANNELS = 3
SCALE = 1e3
FLAT = 1e-6

Variant = Literal["karras", "koshian2"]
Floats = NDArray[np.float32]

_IMAGES_AT_ONCE = 16
_DIRECTIONS_TO_RESAMPLE = 32

Positions = NDArray[np.int64]
Measure = Callable[[Positions | None, Positions | None], float]


@dataclass(frozen=True)
class SlicedWasserstein:
    """See the module; the parameters are those of the spec."""

    variant: Variant = "karras"
    patches: int = 128
    directions: int = 512
    levels: int | None = None
    seed: int = 0

    def compute(self, inputs: MetricInputs, context: Context) -> Score:
        """The distance of ``inputs.candidate`` and ``inputs.reference``, which may differ in number.

        Raises:
            DataError: the sets differ in image size, or the images are too small.
        """
        assert inputs.candidate is not None
        assert inputs.reference is not None
        levels = self.level_count(inputs.candidate, inputs.reference)
        first = self.descriptors(inputs.candidate, "candidate", levels)
        second = self.descriptors(inputs.reference, "reference", levels)
        distances = [
            distance(
                standardised(first[level], self.variant),
                standardised(second[level], self.variant),
                folded(self.draw_directions(level)),
                context.threads,
            )
            for level in range(levels)
        ]
        return Score(SCALE * float(np.mean(distances)))

    def resample(self, inputs: MetricInputs, context: Context) -> Measure:
        """The distance for some slices only, from patches cut and projected once.

        It uses the first 32 directions: enough for a spread, at a sixteenth of the work. Its values are not the
        metric's: an interval belongs around the value of ``compute``.
        """
        assert inputs.candidate is not None
        assert inputs.reference is not None
        levels = self.level_count(inputs.candidate, inputs.reference)
        sets = []
        for images, role in ((inputs.candidate, "candidate"), (inputs.reference, "reference")):
            bands = self.descriptors(images, role, levels)
            sets.append([Projections(p, self.some_directions(i), self.variant) for i, p in enumerate(bands)])

        def measure(candidates: Positions | None, references: Positions | None) -> float:
            distances = []
            for first, second in zip(*sets, strict=True):
                a, b = first.sorted(candidates), second.sorted(references)
                distances.append(comparison(a.shape[1], b.shape[1])(a, b) / len(a))
            return SCALE * float(np.mean(distances))

        return measure

    def level_count(self, candidate: ImageSet, reference: ImageSet) -> int:
        """How many pyramid levels these images have.

        Raises:
            DataError: see :meth:`compute`.
        """
        if candidate.size != reference.size:
            raise DataError(
                "the two sets have images of different sizes",
                where="swd",
                expected=f"{_size(reference)} like the reference, not {_size(candidate)}",
                remedy="Prepare both at the same size",
            )
        side = min(candidate.size)
        if self.variant == "karras":
            most = (side // SMALLEST).bit_length()
        else:
            most = 1 + round(float(np.log2(side // SMALLEST))) if side >= SMALLEST else 0
        levels = most if self.levels is None else self.levels
        if most == 0 or levels > most:
            raise DataError(
                f"images of {_size(candidate)} have {most} pyramid levels, fewer than the {max(levels, 1)} requested",
                where="swd",
                expected=f"a shorter side of at least {SMALLEST * 2 ** (max(levels, 1) - 1)} pixels",
            )
        return levels

    def descriptors(self, images: ImageSet, role: str, levels: int) -> list[Floats]:
        """Raw patches by level: float32, N x P x 49, slice by slice."""
        parts: list[list[Floats]] = [[] for _ in range(levels)]
        for start in range(0, len(images), _IMAGES_AT_ONCE):
            batch = slice(start, start + _IMAGES_AT_ONCE)
            bands = laplacian(images.floats(batch)[:, 0], levels, self.variant)
            ids = [s.slice_id for s in images.slices[batch]]
            for level, band in enumerate(bands):
                parts[level].append(_patches_at(band, self.draw_positions(band.shape[1:], ids, role, level)))
        return [np.concatenate(part) for part in parts]

    def draw_directions(self, level: int) -> NDArray[np.float64]:
        """The directions of a level, for three channels: K x 147, the pixels of a channel side by side."""
        directions = generator("swd", self.seed, "directions", level).standard_normal(
            (self.directions, CHANNELS * PATCH * PATCH)
        )
        if self.variant == "karras":
            directions /= np.linalg.norm(directions, axis=1, keepdims=True)
        else:
            directions /= directions.std(axis=1, ddof=1, keepdims=True)
        return directions

    def some_directions(self, level: int) -> Floats:
        """The first of the folded directions of a level, for :meth:`resample`."""
        return folded(self.draw_directions(level)[:_DIRECTIONS_TO_RESAMPLE])

    def draw_positions(self, shape: tuple[int, ...], ids: Sequence[str], role: str, level: int) -> NDArray[np.int64]:
        """Upper left corners, as flat indices into the (H-6) x (W-6) positions: N x P."""
        count = (shape[0] - PATCH + 1) * (shape[1] - PATCH + 1)
        if self.variant == "koshian2":
            shared = generator("swd", self.seed, "positions", level).permutation(count)[: self.patches]
            return np.broadcast_to(shared, (len(ids), len(shared)))
        return np.stack(
            [generator("swd", self.seed, role, level, name).integers(0, count, self.patches) for name in ids]
        )


class Projections:
    """Patches of one set and level, projected once; to be standardised and sorted for any choice of slices.

    Standardising the patches shifts and scales the projections: so only sums over patches are needed.
    """

    def __init__(self, patches: Floats, directions: Floats, variant: Variant) -> None:
        count, per_slice, _ = patches.shape
        # Centred first, so that small differences of sums of squares keep their digits.
        flat = patches.reshape(-1, PATCH * PATCH) - np.float32(patches.mean(dtype=np.float64))
        self.values = (directions @ flat.T).reshape(len(directions), count, per_slice)
        by_slice = flat.reshape(count, -1)
        self.sums = by_slice.sum(axis=1, dtype=np.float64)
        self.squares = np.square(by_slice).sum(axis=1, dtype=np.float64)
        self.weights = directions.sum(axis=1, dtype=np.float64)
        self.size = by_slice.shape[1]
        self.variant = variant
        self._full: Floats | None = None

    def sorted(self, positions: Positions | None) -> Floats:
        """Standardised projections of the slices at ``positions``, each row in ascending order."""
        if positions is None:
            if self._full is None:
                self._full = self.sorted(np.arange(len(self.sums)))
            return self._full
        number = len(positions) * self.size
        mean = self.sums[positions].sum() / number
        variance = self.squares[positions].sum() / number - mean**2
        scale = divisor(float(np.sqrt(max(variance, 0.0))), number, self.variant)
        rows: Floats = self.values[:, positions].reshape(len(self.values), -1)
        rows.sort(axis=1)
        rows -= (self.weights * mean).astype(np.float32)[:, None]
        rows /= np.float32(scale)
        return rows


def folded(directions: NDArray[np.float64]) -> Floats:
    """Directions for three equal channels as directions for one: K x 147 to float32, K x 49."""
    grey: Floats = directions.reshape(len(directions), CHANNELS, -1).sum(axis=1).astype(np.float32)
    return grey


def standardised(patches: Floats, variant: Variant) -> Floats:
    """Patches of one set and level, centred and scaled over all patches and pixels: float32, M x 49."""
    flat = patches.reshape(-1, PATCH * PATCH)
    mean = flat.mean(dtype=np.float64)
    centred = flat - np.float32(mean)
    deviation = float(np.sqrt(np.mean(np.square(centred), dtype=np.float64)))
    centred /= np.float32(divisor(deviation, centred.size, variant))
    return centred


def divisor(deviation: float, number: int, variant: Variant) -> float:
    """The divisor of centred values, from their standard deviation (ddof 0) and number."""
    if deviation < FLAT:
        return float("inf")
    if variant == "karras":
        return deviation
    # torch.std of a channel: each of the three equal channels has ``number`` values of its own.
    return deviation * float(np.sqrt(number / (number - 1))) + 1e-8


def _patches_at(band: Floats, positions: NDArray[np.int64]) -> Floats:
    """Patches at flat positions: float32, N x P x 49."""
    windows = sliding_window_view(band, (PATCH, PATCH), axis=(1, 2))
    rows, columns = np.divmod(positions, windows.shape[2])
    image = np.arange(len(band))[:, None]
    return windows[image, rows, columns].reshape(*positions.shape, PATCH * PATCH)


def _size(images: ImageSet) -> str:
    return "{} x {}".format(*images.size)
