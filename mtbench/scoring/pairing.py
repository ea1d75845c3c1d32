"""Matching of the slices of two folders: by name, and by position in the patient."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mtbench.data import ImageSet, Slice
from mtbench.errors import DataError, close_matches
from mtbench.formats import Geometry

_NEAR = 0.05
"""Millimetres; as for a mask and its image."""


def positions(images: ImageSet, others: ImageSet, where: str) -> list[int]:
    """The index in ``others`` of the slice that matches each of ``images``.

    Slices of volumes match if their volumes have the same name and they are at the same position, whatever their
    numbers: one of the volumes may extend further. Other images match by name.

    Args:
        where: the name of the folder of ``others`` in messages.

    Raises:
        DataError: an image has no match by name or position; the text names it.
    """
    by_id = {record.slice_id: i for i, record in enumerate(others.slices)}
    by_volume: dict[str, list[int]] = {}
    for i, record in enumerate(others.slices):
        by_volume.setdefault(_volume(record), []).append(i)
    result: list[int] = []
    volumes: dict[str, list[Slice]] = {}
    for record in images.slices:
        volumes.setdefault(_volume(record), []).append(record)
    found: dict[str, int] = {}
    for name, records in volumes.items():
        there = by_volume.get(name, [])
        lie = any(record.geometry for record in records), any(others.slices[i].geometry for i in there)
        if lie == (True, True):
            found |= _by_place(records, [others.slices[i] for i in there], there, where)
        elif there and lie[0] != lie[1]:
            raise DataError(
                f"of '{name}' here and the translated image, only one has an orientation",
                where=where,
                expected="two volumes with a header (NIfTI, NRRD, MHA, DICOM), or plain images or stacks on both sides",
            )
    for record in images.slices:
        place = found.get(record.slice_id, by_id.get(record.slice_id))
        if place is None:
            volume = _volume(record)
            whole = volume != record.slice_id and volume not in by_volume
            name, names = (volume, by_volume) if whole else (record.slice_id, by_id)
            raise DataError(
                f"the translated {'volume' if whole else 'image'} '{name}' has no match here",
                where=where,
                expected="the same names in both folders",
                matches=close_matches(name, names),
            )
        result.append(place)
    return result


def _volume(record: Slice) -> str:
    """The name of the volume that a slice was cut from."""
    return record.slice_id.removesuffix(f"/{record.index:04d}")


def _by_place(records: Sequence[Slice], there: Sequence[Slice], numbers: Sequence[int], where: str) -> dict[str, int]:
    places = np.stack([Geometry.from_json(record.geometry).place() for record in there])
    result = {}
    for record in records:
        place = Geometry.from_json(record.geometry).place()
        distance = np.abs(places - place).max(axis=(1, 2))
        nearest = int(distance.argmin())
        if distance[nearest] > _NEAR:
            raise DataError(
                f"no slice of '{_volume(record)}' here is at the position of slice {record.index} of the translated "
                f"image: {_difference(record, there, place, places)}",
                where=where,
                expected="a volume on the same grid, possibly extending further",
                remedy="Resample one of them to the other's grid, or crop both to their common part",
            )
        result[record.slice_id] = numbers[nearest]
    return result


def _difference(record: Slice, there: Sequence[Slice], place: np.ndarray, places: np.ndarray) -> str:
    """The difference, in words."""
    if not np.allclose(places[0][:, :2], place[:, :2], atol=_NEAR):
        return "their headers differ in spacing or direction"
    own, others = ("{} x {}".format(*Geometry.from_json(r.geometry).frame.native) for r in (record, there[0]))
    if own != others:
        return f"slices here have {others} pixels, those of the translated image {own}"
    offsets = places[:, :, 2] - place[:, 2]
    nearest = offsets[np.abs(offsets).max(axis=1).argmin()]
    return f"the nearest is {np.linalg.norm(nearest):.3g} mm away"
