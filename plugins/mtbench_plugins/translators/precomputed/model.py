"""A folder of translated images as a translator."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mtbench import Context, DataError, ImageSet, Slice
from mtbench.data import decode, encode
from mtbench.formats import Frame, Geometry, Volume, lies_at, prepared, read, scaled
from mtbench.preparation.exchange import MANIFEST, Manifest
from mtbench_plugins.translators.precomputed.matching import Answers, answers, extra_lines, missing_lines
from mtbench_plugins.translators.precomputed.table import Misfit, text
from mtbench_plugins.translators.precomputed.values import Values


class Precomputed:
    """Reads the translation of each slice: from an image with its name, or from the volume of its case.

    A volume may have its axes in any order and more slices than were exported; only the position of its slices counts.
    Images have the size of the prepared slices, or that of the original slices; the latter are framed as in
    ``prepare``.

    Args:
        folder: of the images.
        manifest: of the export; by default ``manifest.json`` in the folder, if it exists.
        window: which values are black and white; see :class:`Values`.
        resize: whether images of any other size are resized.

    Raises:
        DataError: no folder is set, or the window or manifest cannot be used.
    """

    def __init__(self, folder: str | None, manifest: str | None, window: str, resize: bool) -> None:
        if not folder:
            raise DataError("no folder is set", where="translator 'precomputed'", remedy="Set precomputed:folder=PATH")
        self._folder = Path(folder)
        self._resize = resize
        path = Path(manifest) if manifest else self._folder / MANIFEST
        self._where = str(path)
        self._manifest = Manifest.read(path) if manifest or path.is_file() else None
        target, unit = (None, "")
        if self._manifest:
            target, unit = self._manifest.target_window, self._manifest.target_measure_unit
        self._values = Values.of(window, target, unit)

    def translate_all(self, images: ImageSet, context: Context) -> Iterator[NDArray[np.float32]]:
        """The translation of each slice, H x W in [0, 1], in order; each file is read once.

        Raises:
            DataError: a slice has no file, or a file does not fit (one table lists all of them), or the manifest
                belongs to another revision of the data.
        """
        slices: tuple[Slice, ...] = images.slices
        known: tuple[Slice, ...] = ()
        if self._manifest:
            self._manifest.check(slices, images.images, self._where)
            exported = {item.record.slice_id: item.record for item in self._manifest.slices}
            slices, known = tuple(exported[s.slice_id] for s in slices), tuple(exported.values())
        found = answers(self._folder, slices, known)
        # In the stored type: a quarter of the memory.
        stored = np.zeros((len(slices), *images.size), images.images.dtype)
        misfits = self._fill(stored, slices, found, context)
        if misfits:
            misfits += extra_lines(found, slices)
            raise DataError(
                text(misfits, found.files, len(slices)),
                where=str(self._folder),
                expected="an image for each slice, or a volume for each case",
            )
        if found.extra:
            context.log.append(f"{len(found.extra)} files match no slice; the first: {found.extra[0].name}")
        for done, image in enumerate(stored, start=1):
            context.progress(done, len(slices), {})
            yield decode(image)

    def _fill(self, stored: NDArray[Any], slices: Sequence[Slice], found: Answers, context: Context) -> list[Misfit]:
        """Write every translation to its place; returns the misfits."""
        misfits: list[Misfit] = []
        by_case: dict[tuple[str, str], list[int]] = {}
        absent: dict[tuple[str, str], list[Slice]] = {}
        for at, record in enumerate(slices):
            case = record.patient_id, record.case_id
            files = found.slices.get(record.slice_id, []) + found.cases.get(case, [])
            if len(files) > 1:
                both = " and ".join(str(path.relative_to(self._folder)) for path in files[:2])
                misfits.append(Misfit("twice", record.slice_id, f"one of {both}"))
            elif found.cases.get(case):
                by_case.setdefault(case, []).append(at)
            elif files:
                misfits += self._read(files[0], {at: record}, stored, context, by_place=False)
            else:
                absent.setdefault(case, []).append(record)
        total = Counter((record.patient_id, record.case_id) for record in slices)
        for case, records in absent.items():
            misfits += missing_lines(records, total[case], found)
        for case, places in by_case.items():
            those = {at: slices[at] for at in places}
            misfits += self._read(found.cases[case][0], those, stored, context, by_place=True)
        return misfits

    def _read(
        self, path: Path, records: Mapping[int, Slice], stored: NDArray[Any], context: Context, *, by_place: bool
    ) -> list[Misfit]:
        """Write the slices that a file holds to their places; returns the misfits."""
        name = str(path.relative_to(self._folder))
        try:
            volume = read(path)
        except DataError as error:
            return [Misfit("unreadable", name, error.what)]
        misfits = []
        size = int(stored.shape[1]), int(stored.shape[2])
        for at, record in records.items():
            try:
                window, remark = self._values.window(volume, record)
            except DataError as error:
                return [Misfit("values", name, f"{error.what}; expected {error.expected}")]
            if by_place and not volume.axes:
                return [Misfit("no header", name, _without_header(volume))]
            try:
                image = _in_place(volume, record) if by_place else _alone(volume)
            except DataError as error:
                return [Misfit("another grid", name, f"{error.what}; expected {error.expected}")]
            if image is None:
                misfits.append(Misfit("missing", record.slice_id, f"a slice of {name} at its position"))
                continue
            values = self._framed(image, window, record, size, by_place)
            if values is None:
                sizes = dict.fromkeys(f"{h} x {w}" for h, w in (size, _native(record) or size))
                misfits.append(
                    Misfit("another size", f"{name}: {' x '.join(map(str, image.shape))}", " or ".join(sizes))
                )
                continue
            stored[at] = encode(values, stored.dtype.name)
            if remark:
                context.remark(remark)
        return misfits

    def _framed(
        self, image: NDArray[Any], window: tuple[float, float], record: Slice, size: tuple[int, int], by_place: bool
    ) -> NDArray[np.float32] | None:
        """An image as prepared; ``None`` if it has neither the size of the slices nor that of their files."""
        shape = int(image.shape[0]), int(image.shape[1])
        if shape == size and not by_place:
            return scaled(image, window)
        if record.geometry and shape == _native(record):
            return prepared(image, Geometry.from_json(record.geometry).frame, window)
        if not self._resize:
            return None
        whole = (0, shape[0], 0, shape[1])
        return prepared(image, Frame(shape, whole, size, size), window)


def _native(record: Slice) -> tuple[int, int] | None:
    return Geometry.from_json(record.geometry).frame.native if record.geometry else None


def _alone(volume: Volume) -> NDArray[Any]:
    """The one image of a file, H x W.

    Raises:
        DataError: the file holds several.
    """
    stack = volume.slices("axial" if volume.axes else None)
    if len(stack) != 1:
        raise DataError(
            f"it holds {len(stack)} slices", where=volume.file, expected="one, because it has the name of a slice"
        )
    return np.asarray(stack[0])


def _without_header(volume: Volume) -> str:
    """What is wrong with a stack or plain image that has the name of a case, and the fix."""
    count = len(volume.slices())
    holds = f"a stack of {count} images" if count > 1 else "one image"
    return (
        f"{holds} without a header that says where they lie; expected one image file per slice, named as by "
        "`mtbench data export`, or a volume with the header of the original (NIfTI, NRRD, MHA, DICOM)"
    )


def _in_place(volume: Volume, record: Slice) -> NDArray[Any] | None:
    """The slice of a volume at the position of this one, H x W; ``None`` if the volume ends before it.

    Raises:
        DataError: it is on another grid, or the position of the slice is not known.
    """
    if not record.geometry:
        raise DataError(
            "the slices come from plain images, which have no position",
            where=volume.file,
            expected="an image for each slice, or manifest=PATH of `mtbench data export`",
        )
    geometry = Geometry.from_json(record.geometry)
    index = lies_at(volume, geometry)
    return None if index is None else np.asarray(volume.slices(geometry.plane)[index])
