"""Segmentations in the format of 3D Slicer: ``.seg.nrrd``, whose header names the segments.

The format: https://slicer.readthedocs.io/en/latest/developer_guide/modules/segmentations.html. Segments that do not
overlap share a layer and differ by value; overlapping segments are in separate layers, along a first axis.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mtbench.errors import DataError, close_matches
from mtbench.formats.nrrd import nrrd_affine, open_nrrd
from mtbench.formats.orientation import axis_codes
from mtbench.formats.volume import Volume


@dataclass(frozen=True)
class Segmentation:
    """Named segments of one volume.

    Attributes:
        layers: L x I x J x K integers, the axes of the volume in the file's order.
        segments: name to (layer, value); with the names of the header.
        affine: 4 x 4, index in a layer to RAS millimetres; ``None`` if the header has none.
        file: the path it was read from.
    """

    layers: NDArray[Any]
    segments: Mapping[str, tuple[int, int]]
    affine: NDArray[np.float64] | None
    file: str

    def inside(self, name: str | None = None) -> NDArray[np.bool_]:
        """I x J x K: the pixels of the segment (its name in any case); without a name, of any segment.

        Raises:
            DataError: no segment has that name.
        """
        if name is None:
            return np.asarray(self.layers.any(axis=0) if len(self.layers) > 1 else self.layers[0] != 0)
        layer, value = self.place(name)
        return np.asarray(self.layers[layer] == value)

    def place(self, name: str) -> tuple[int, int]:
        """Layer and value of a segment; its name in any case.

        Raises:
            DataError: no segment has that name.
        """
        places = {segment.strip().lower(): where for segment, where in self.segments.items()}
        if name.lower() not in places:
            raise DataError(
                f"there is no segment named '{name}'",
                where=self.file,
                expected=f"a segment of that name among {', '.join(self.segments) or 'none'}",
                matches=close_matches(name, self.segments),
            )
        return places[name.lower()]

    def volume(self, array: NDArray[Any], image: Volume, *, by_index: bool = False) -> Volume:
        """``array`` (I x J x K, from :meth:`inside`) as a volume on the grid of its DICOM series.

        The orientation is that of the header, if it has one. Otherwise, or with ``by_index``: I is the column, J the
        row and K the slice of the series, from inferior to superior.
        """
        if self.affine is not None and not by_index:
            return Volume.oriented(array, self.affine, axis_codes(self.affine, self.file), self.file)
        if image.file_affine is None:
            return Volume(array.transpose(2, 1, 0), self.file)
        values = array.transpose(2, 1, 0)
        if image.axes[0] == "I":
            values = values[::-1]
        if values.shape != image.file_shape:
            own, other = (" x ".join(map(str, shape)) for shape in (values.shape, image.file_shape))
            raise DataError(f"the mask is {own}, its image {other}", where=self.file, expected="the same size")
        return Volume.oriented(values, image.file_affine, image.axes, self.file)


def read_segmentation(path: Path) -> Segmentation:
    """A ``.seg.nrrd`` file: one layer (three axes) or several (four).

    Raises:
        DataError: it cannot be read, does not hold integers, or its header does not name its segments.
    """
    where = str(path)
    try:
        if path.stat().st_size == 0:
            raise DataError("this file is empty (0 bytes)", where=where, remedy="Copy or download it again")
        array, header = open_nrrd(path)
    except DataError:
        raise
    except Exception as error:  # pynrrd has its own exceptions for a file whose content does not match its name
        raise DataError(
            f"this file cannot be read: {str(error).strip() or type(error).__name__}",
            where=where,
            remedy="Copy or download it again, or remove it",
        ) from error
    if array.ndim not in (3, 4) or array.dtype.kind not in "ui":
        shape = " x ".join(str(n) for n in array.shape)
        raise DataError(f"it holds {shape} values of type {array.dtype}", where=where, expected="integer label maps")
    layers = array if array.ndim == 4 else array[None]
    return Segmentation(layers, _segments(header, len(layers), where), nrrd_affine(header, path), where)


def _segments(header: Mapping[str, Any], layers: int, where: str) -> dict[str, tuple[int, int]]:
    places: dict[str, tuple[int, int]] = {}
    for number in count():
        name = header.get(f"Segment{number}_Name")
        if name is None:
            break
        try:
            layer = int(header.get(f"Segment{number}_Layer", 0))
            value = int(header.get(f"Segment{number}_LabelValue", 1))
        except ValueError as error:
            raise DataError(f"the header of segment '{name}' cannot be read: {error}", where=where) from error
        if not 0 <= layer < layers:
            raise DataError(f"segment '{name}' is in layer {layer} of {layers}", where=where)
        places[str(name)] = (layer, value)
    if len(set(places.values())) != len(places):
        raise DataError("two segments have the same layer and value", where=where, expected="a value for each")
    return places
