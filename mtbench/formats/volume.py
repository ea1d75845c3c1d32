"""An image or a volume read from a file."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mtbench.errors import DataError
from mtbench.formats.orientation import PLANES, Plane, ras_affine, to_ras, upright


@dataclass(frozen=True)
class Volume:
    """Grey values of one file or DICOM series, in the file's own units.

    Attributes:
        array: H x W for a plain image, slices x H x W for a stack without orientation, and three axes in RAS+ order if
            the file has an orientation (``axes`` is not empty). Integers stay integers; everything else is float32.
            Finite. From :func:`mtbench.formats.open_volume` it may be a :class:`mtbench.formats.Stored`, which reads
            the indexed values only.
        file: the path it was read from.
        spacing: mm between rows and columns (plain images), if the file has them.
        axes: the directions of the axes of the *file* ("PIR"); empty if it has no orientation.
        file_affine: 4 x 4, index in the file to RAS millimetres; ``None`` if it has no orientation.
        measure_unit: "HU" if the file says so (CT in DICOM), else empty.
        scanner: manufacturer and model (DICOM), else empty.
    """

    array: NDArray[Any]
    file: str
    spacing: tuple[float, float] | None = None
    axes: str = ""
    file_affine: NDArray[np.float64] | None = None
    measure_unit: str = ""
    scanner: str = ""

    @classmethod
    def oriented(cls, array: NDArray[Any], affine: NDArray[Any], axes: str, file: str, **more: Any) -> Volume:
        """From the array in the file's own axis order, with its affine and :func:`axis_codes`."""
        return cls(to_ras(array, axes), file, axes=axes, file_affine=np.asarray(affine, np.float64), **more)

    @property
    def file_shape(self) -> tuple[int, ...]:
        """The shape in the file's own axis order."""
        if not self.axes:
            return tuple(self.array.shape)
        sizes = dict(zip(("RL", "AP", "SI"), self.array.shape, strict=True))
        return tuple(next(size for pair, size in sizes.items() if letter in pair) for letter in self.axes)

    @property
    def affine(self) -> NDArray[np.float64] | None:
        """4 x 4, index in ``array`` to RAS millimetres; ``None`` if the file has no orientation."""
        if self.file_affine is None:
            return None
        return ras_affine(self.file_affine, self.axes, self.file_shape)

    def slices(self, plane: Plane | None = None) -> NDArray[Any]:
        """A view as slices x rows x columns, upright (see :mod:`mtbench.formats.orientation`).

        Raises:
            DataError: an oriented volume without a plane, or a plane although the file has no orientation.
        """
        if self.axes:
            if plane is None:
                raise DataError(
                    "this is a volume, and no plane is set",
                    where=self.file,
                    expected="plane = 'axial', 'coronal' or 'sagittal'",
                )
            return upright(self.array, plane)
        if plane is not None and self.array.ndim == 3:
            raise DataError(
                f"this stack has no orientation, so it has no {plane} plane",
                where=self.file,
                expected="NIfTI, NRRD, MHA or a DICOM series",
                remedy="Omit 'plane' to take its first axis as slices, or convert it",
            )
        return self.array if self.array.ndim == 3 else self.array[None]

    def in_plane(self, plane: Plane | None = None) -> tuple[tuple[float, float] | None, float | None]:
        """Spacing of rows and columns, and the distance of slices, in mm, if known."""
        affine = self.affine
        if affine is None or plane is None:
            return self.spacing, None
        size = np.linalg.norm(affine[:3, :3], axis=0)
        across, row, column = PLANES[plane]
        return (float(size[row]), float(size[column])), float(size[across])


def check_same_place(mask: Volume, image: Volume, name: str, *, what: str = "mask", of: str = "image") -> None:
    """Refuse a mask that is not on the grid of its image, or a target image not on the grid of its source image.

    Args:
        mask, image: as read.
        name: of the image in messages.
        what, of: what ``mask`` and ``image`` are, in messages.

    Raises:
        DataError: another size, or headers that disagree about origin, directions or spacing.
    """
    if mask.array.shape != image.array.shape:
        mask_size, image_size = (" x ".join(str(n) for n in v.file_shape) for v in (mask, image))
        raise DataError(
            f"the {what} is {mask_size}, its {of} {name} is {image_size}",
            where=mask.file,
            expected="the same size",
            remedy=f"Resample the {what} to the grid of the {of}",
        )
    mask_affine, image_affine = mask.affine, image.affine
    if (mask_affine is None) != (image_affine is None) or (
        mask_affine is not None and image_affine is not None and not np.allclose(mask_affine, image_affine, atol=0.05)
    ):
        raise DataError(
            f"the {what} and its {of} {name} are at different positions: their headers differ",
            where=mask.file,
            expected="the same origin, directions and spacing",
            remedy=f"Resample the {what} to the grid of the {of}",
        )
