"""The space a phantom is drawn in: a slab of slices in millimetres, finer than the images rendered from it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage, sparse

Floats = NDArray[np.float32]
Bools = NDArray[np.bool_]


class Slab:
    """Millimetre coordinates of a slab of square slices, and operations on that grid.

    Images up to 128 pixels per side are drawn at twice their resolution, so that a pixel holds several tissues
    as in a scanner. All random structure is laid out in millimetres: another ``size`` shows the same anatomy.

    Args:
        size: pixels per side of the final images.
        slices: the number of slices.
        field_of_view: mm per side.
        depth: mm through all slices.

    Attributes:
        side: mm from the middle of the slab, float32, slices x 1 x 1.
        down, across: mm from the top and from the left, float32, 1 x n x 1 and 1 x 1 x n on the fine grid.
        shape: slices x n x n.
        spacing: mm between pixels of the images; ``pixel`` of the fine grid.
        thickness: mm between slices.
    """

    def __init__(self, size: int, slices: int, field_of_view: float, depth: float) -> None:
        self.fineness = 2 if size <= 128 else 1
        count = size * self.fineness
        self.shape = (slices, count, count)
        self.spacing = field_of_view / size
        self.pixel = field_of_view / count
        self.thickness = depth / slices
        centres = ((np.arange(count) + 0.5) * self.pixel).astype(np.float32)
        self.down: Floats = centres[None, :, None]
        self.across: Floats = centres[None, None, :]
        places = (np.arange(slices) + 0.5) * self.thickness - depth / 2
        self.side: Floats = places.astype(np.float32)[:, None, None]
        self._extent = ((-depth / 2, depth / 2), (0.0, field_of_view), (0.0, field_of_view))

    def field(self, rng: np.random.Generator, *lengths: float) -> Floats:
        """A smooth Gaussian random field of zero mean and unit variance, slices x n x n.

        Args:
            rng: draws the knots; how many it draws depends on ``lengths`` alone.
            lengths: correlation length in mm, one for all axes or one each for side, down and across.
        """
        each = lengths if len(lengths) == 3 else lengths * 3
        axes = (self.side.ravel(), self.down.ravel(), self.across.ravel())
        weights = []
        for axis, length, (low, high) in zip(axes, each, self._extent, strict=True):
            knots = np.arange(low - 2 * length, high + 2 * length, length)
            near = np.exp(-0.5 * ((axis[:, None] - knots) / (0.75 * length)) ** 2)
            near[near < 0.01] = 0.0
            # Sparse, since a point feels few knots; and no BLAS, whose threads would only get in the way.
            weights.append(sparse.csr_array(near / np.sqrt((near**2).sum(axis=1, keepdims=True))))
        values = rng.standard_normal(tuple(weight.shape[1] for weight in weights))
        for weight in weights:
            # Each product takes the first axis and puts the points last: after three the order is as before.
            points = weight @ values.reshape(values.shape[0], -1)
            values = points.T.reshape(*values.shape[1:], weight.shape[0])
        return np.asarray(values, dtype=np.float32)

    def blur(self, image: Floats, millimetres: float) -> Floats:
        """``image`` under a Gaussian point spread of that standard deviation, within slices."""
        sigma = millimetres / self.pixel
        return np.asarray(ndimage.gaussian_filter(image, (0.0, sigma, sigma), mode="nearest", truncate=3.0))

    def pixels(self, fine: Floats) -> Floats:
        """Averages of the fine grid over each pixel, slices x size x size."""
        f = self.fineness
        slices, rows, columns = fine.shape
        squares = fine.reshape(slices, rows // f, f, columns // f, f)
        return np.asarray(squares.mean(axis=(2, 4)), dtype=np.float32)

    def depth_below(self, inside: Bools) -> Floats:
        """mm from each point of ``inside`` to its nearest edge within the slice; 0 outside."""
        # Padded with the edge's own value, so that the image border does not count as a surface.
        depths = [
            ndimage.distance_transform_edt(np.pad(plane, 1, mode="edge"))[1:-1, 1:-1] * self.pixel for plane in inside
        ]
        return np.asarray(depths, dtype=np.float32)


@dataclass(frozen=True)
class Anatomy:
    """The anatomy of one patient.

    Attributes:
        slab: the grid.
        tissue: uint8 tissue numbers on the fine grid.
        character: float32 on the fine grid, about N(0, 1): how an instance differs from others of its tissue
            (a degenerated disc, a fatty vertebra, the contents of a bowel loop).
        depth: float32, mm below the skin.
        labels: uint8, the label map in pixels.
    """

    slab: Slab
    tissue: NDArray[np.uint8]
    character: Floats
    depth: Floats
    labels: NDArray[np.uint8]


class Canvas:
    """Tissue numbers and characters that are being painted; later strokes cover earlier ones."""

    def __init__(self, slab: Slab) -> None:
        self.slab = slab
        self.tissue: NDArray[np.uint8] = np.zeros(slab.shape, np.uint8)
        self.character: Floats = np.zeros(slab.shape, np.float32)

    def fill(self, where: Bools, tissue: int, character: float = 0.0) -> None:
        """Paint everywhere ``where`` is true (broadcast to the slab)."""
        full = np.broadcast_to(where, self.slab.shape)
        self.tissue[full] = tissue
        self.character[full] = character

    def ellipsoid(
        self,
        centre: tuple[float, float, float],
        radii: tuple[float, float, float],
        tissue: int,
        *,
        angle: float = 0.0,
        character: float = 0.0,
        power: float = 2.0,
        waist: float = 0.0,
        rim: tuple[int, float] | None = None,
    ) -> None:
        """Paint a (super-)ellipsoid.

        Args:
            centre: mm to the side, down and across.
            radii: mm to the side, along its own axis (down where ``angle`` is 0) and athwart.
            tissue: its number.
            angle: radians by which its axis leans to the left as it goes down.
            character: of this instance.
            power: 2 is an ellipse, more is nearer to a box (within the slice).
            waist: share of the width athwart that is missing halfway along (a vertebral body's waist).
            rim: tissue and thickness in mm of a shell inside its surface.
        """
        slab = self.slab
        reach = max(radii[1], radii[2]) * 1.5
        windows = []
        for axis, middle, extent in zip(
            (slab.side, slab.down, slab.across), centre, (radii[0], reach, reach), strict=True
        ):
            low, high = np.searchsorted(axis.ravel(), (middle - extent, middle + extent))
            windows.append(slice(int(low), int(high)))
        box = tuple(windows)
        down, across = slab.down[:, box[1]] - centre[1], slab.across[:, :, box[2]] - centre[2]
        along = down * np.cos(angle) - across * np.sin(angle)
        athwart = down * np.sin(angle) + across * np.cos(angle)
        apart = ((slab.side[box[0]] - centre[0]) / radii[0]) ** 2
        part = np.abs(along / radii[1])
        width = radii[2] * (1.0 - waist * np.maximum(1.0 - part**2, 0.0))
        flat = (part**power + np.abs(athwart / width) ** power) ** (2.0 / power)
        radius = np.sqrt(flat + apart)
        inside = radius < 1.0
        self.tissue[box][inside] = tissue
        self.character[box][inside] = character
        if rim is not None:
            self.tissue[box][inside & ((1.0 - radius) * min(radii[1:]) < rim[1])] = rim[0]
