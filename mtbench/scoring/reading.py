"""A folder of images as an image set: every file is read once, on all cores, into one memory map in the store."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mtbench import patterns
from mtbench.data import WHITE, ImageSet, Slice, Task
from mtbench.errors import DataError, RequestError
from mtbench.formats import PLANES, SUFFIXES, Frame, Geometry, images_below, read, read_mask, stem
from mtbench.formats.detached import with_data_files
from mtbench.formats.placing import is_window
from mtbench.formats.walking import others_below
from mtbench.hashing import hash_of
from mtbench.store.artefacts import Store, address_of
from mtbench.store.images import GrowingArray, read_slices, write_index

_REVISION = 2

FileProgress = Callable[[int, int], None]
_Stack = tuple[NDArray[Any], list[Slice]]
"""Pixels, N x H x W, and their records."""

ProgressReport = Callable[[str, int, int], None]
"""Called with the current activity, the number of items done and the total."""


@dataclass(frozen=True)
class ReadOptions:
    """How files become slices.

    Attributes:
        plane: "axial", "coronal" or "sagittal": how volumes are cut.
        window: the values, in the file's unit, that become 0 and 1; needed except for 8- and 16-bit images and floats
            in [0, 1].
        patient: a regular expression with one group, applied to the path below the folder; ``None`` if patients are not
            known.
        skip_unreadable: skip and count unreadable files instead of refusing.
    """

    plane: str | None = None
    window: tuple[float, float] | None = None
    patient: str | None = None
    skip_unreadable: bool = False

    def __post_init__(self) -> None:
        if self.plane is not None and self.plane not in PLANES:
            raise RequestError(f"unknown plane '{self.plane}'", expected="one of " + ", ".join(PLANES))
        if self.window is not None and not is_window(*self.window):
            raise RequestError(
                f"the window {self.window} is empty or not finite", expected="LOW,HIGH, finite, LOW below HIGH"
            )
        try:
            groups = patterns.check(self.patient) if self.patient else 1
        except ValueError as error:
            raise RequestError(f"the patient pattern {str(self.patient)[:100]!r} cannot be used: {error}") from error
        if groups != 1:
            raise RequestError(f"the patient pattern has {groups} groups", expected="one, as in '(P\\d+)_'")


@dataclass(frozen=True)
class FolderImages:
    """The content of a folder.

    Attributes:
        images: the slices.
        fingerprint: identifies its content and the read options.
        unreadable: skipped files, with the reason.
        others: a sentence on files of unsupported formats; empty if there are none.
    """

    images: ImageSet
    fingerprint: str
    unreadable: tuple[tuple[str, str], ...] = ()
    others: str = ""


def files_below(folder: Path, *, aliases: bool = False) -> list[Path]:
    """Image files and DICOM series folders below ``folder``, sorted by path; see :func:`images_below`.

    Raises:
        RequestError: it does not exist.
        DataError: it holds none, or may not be read.
    """
    if folder.is_file():
        return [folder]
    if not folder.is_dir():
        raise RequestError(f"the folder {folder} does not exist")
    paths = images_below(folder, aliases=aliases)
    if not paths:
        raise DataError(
            "the folder holds no images",
            where=str(folder),
            expected=", ".join(SUFFIXES) + " or DICOM series",
            remedy=others_below(folder).capitalize() or None,
        )
    return paths


def read_folder(
    folder: Path,
    reading: ReadOptions,
    store: Store,
    *,
    mask: bool = False,
    progress: FileProgress = lambda done, total: None,
) -> FolderImages:
    """All slices of a folder, in the order of their paths.

    Raises:
        RequestError, DataError: the folder is empty; a file cannot be read (unless such files are skipped); files
            differ in size or depth; there are fewer than two images. The text names the file.
    """
    paths = files_below(folder, aliases=mask)
    raw = [f for p in paths for f in ([p] if p.is_file() else sorted(q for q in p.iterdir() if q.is_file()))]
    hashes = store.hashes()
    try:
        base = folder if folder.is_dir() else folder.parent
        content = hashes.fingerprint(base, with_data_files(raw))
    finally:
        hashes.close()
    key = hash_of(["read-folder", _REVISION, [reading.plane, reading.window, reading.patient], mask])
    address = address_of(key, {}, str(content))
    artefact = store.whole("prepare", address)
    if artefact is None:
        info: dict[str, Any] = {}
        with store.create("prepare", address, {"key": key, "stage": "prepare", "inputs": {}}, info) as target:
            info["unreadable"] = _convert(paths, base, reading, target, mask, progress)
        artefact = store.get("prepare", address)
        assert artefact is not None
    unreadable = tuple((str(a), str(b)) for a, b in artefact.info["unreadable"])
    if unreadable and not reading.skip_unreadable:
        raise _refusal(unreadable, len(paths))
    pixels = np.load(artefact.path / "images-source.npy", mmap_mode="r", allow_pickle=False)
    slices = tuple(read_slices(artefact.path, "source"))
    images = ImageSet(pixels, slices, None, Task(folder.name), "source", "test")
    return FolderImages(images, artefact.digest, unreadable, others_below(folder))


def _refusal(unreadable: tuple[tuple[str, str], ...], total: int) -> DataError:
    name, reason = unreadable[0]
    more = f"{len(unreadable)} of {total} files cannot be read. " if len(unreadable) > 1 else ""
    return DataError(reason, where=name, remedy=f"{more}To skip such files, add --skip-unreadable")


def _convert(
    paths: list[Path], base: Path, reading: ReadOptions, target: Path, mask: bool, progress: FileProgress
) -> list[tuple[str, str]]:
    """Write ``images-source.npy`` and its index; returns the files that could not be read, with the reasons."""
    unreadable: list[tuple[str, str]] = []
    array: GrowingArray | None = None
    records: list[Slice] = []
    first = ""
    shape: tuple[Any, ...] = ()
    ids: set[str] = set()
    try:
        for done, (path, cut) in enumerate(_in_parallel(paths, base, reading, mask), start=1):
            progress(done, len(paths))
            if isinstance(cut, DataError):
                # With its own remedy, but without the path, which is printed beside it.
                own = DataError(cut.what, expected=cut.expected, remedy=cut.remedy, matches=cut.matches)
                where = f"{cut.where}: " if cut.where not in (None, str(path)) else ""
                unreadable.append((str(path), where + str(own)))
                continue
            pixels, slices = cut
            if array is None:
                array = GrowingArray(target / "images-source.npy", pixels[0])
                first, shape = str(path), (pixels.shape[1:], pixels.dtype)
            if (pixels.shape[1:], pixels.dtype) != shape:
                raise DataError(
                    f"its slices are {_kind(pixels.shape[1:], pixels.dtype)}, those of {first} {_kind(*shape)}",
                    where=str(path),
                    expected="the same size and depth for all files of a folder",
                    remedy="Resample them before scoring: resampling changes the result",
                )
            for image, record in zip(pixels, slices, strict=True):
                if record.slice_id in ids:
                    raise DataError(f"two images are named '{record.slice_id}'", where=str(path))
                ids.add(record.slice_id)
                array.add(image)
                records.append(record)
    finally:
        if array is not None:
            array.close()
    if len(records) < 2:
        if unreadable:
            raise _refusal(tuple(unreadable), len(paths))
        raise DataError(f"the folder holds {len(records)} image", where=str(base), expected="at least two images")
    write_index(target / "index-source.parquet", records)
    return unreadable


def _kind(size: tuple[int, int], dtype: Any) -> str:
    return f"{size[0]} x {size[1]} {dtype}"


def _in_parallel(
    paths: list[Path], base: Path, reading: ReadOptions, mask: bool
) -> Iterator[tuple[Path, _Stack | DataError]]:
    """Each file's slices, or the error, in order; reads only a few files ahead."""

    def slices_or_error(path: Path) -> _Stack | DataError:
        try:
            return _slices(path, base, reading, mask)
        except DataError as error:
            return error

    workers = os.cpu_count() or 1
    with ThreadPoolExecutor(workers) as pool:
        for start in range(0, len(paths), 8 * workers):
            block = paths[start : start + 8 * workers]
            yield from zip(block, pool.map(slices_or_error, block), strict=True)


def _slices(path: Path, base: Path, reading: ReadOptions, mask: bool) -> _Stack:
    volume = (read_mask if mask else read)(path)
    relative = path.relative_to(base) if path != base else Path(path.name)
    name = relative.with_name(stem(path)).as_posix() if path != base else path.name
    plane = next((plane for plane in PLANES if plane == reading.plane), None) if volume.axes else None
    if volume.axes and plane is None:
        raise DataError(
            "this is a volume, and the plane of its slices is not known",
            where=str(path),
            expected="--plane axial, coronal or sagittal",
        )
    stack = volume.slices(plane)
    pixels, window = _pixels(np.ascontiguousarray(stack), reading, str(path), mask)
    spacing, thickness = volume.in_plane(plane)
    patient = ""
    if reading.patient:
        match = patterns.search(reading.patient, relative.as_posix())
        if match is None:
            raise DataError(f"the patient pattern '{reading.patient}' does not match its path", where=str(path))
        patient = match[1]
    elif len(pixels) > 1:
        patient = name
    record = Slice(
        slice_id=name,
        patient_id=patient,
        case_id=name if len(pixels) > 1 else patient,
        spacing=spacing,
        thickness=thickness,
        window=window,
        measure_unit=volume.measure_unit,
        file=relative.as_posix(),
    )
    ids = [name] if len(pixels) == 1 else [f"{name}/{i:04d}" for i in range(len(pixels))]
    frame = Frame.none((stack.shape[1], stack.shape[2]))
    places = [Geometry.of(volume, plane, i, frame).to_json() if plane else "" for i in range(len(pixels))]
    return pixels, [
        replace(record, slice_id=id, index=i, geometry=place)
        for i, (id, place) in enumerate(zip(ids, places, strict=True))
    ]


def _pixels(
    stack: NDArray[Any], reading: ReadOptions, where: str, mask: bool
) -> tuple[NDArray[Any], tuple[float, float] | None]:
    """Pixels as they are scored, and the window that maps them back to the file's unit."""
    if mask:
        if stack.min() < 0 or stack.max() > 255:
            raise DataError("a mask holds labels outside 0..255", where=where)
        return stack.astype(np.uint8), None
    if reading.window is not None:
        low, high = reading.window
        scaled = np.clip((stack.astype(np.float32) - low) / (high - low), 0.0, 1.0)
        return np.rint(scaled * 65535).astype(np.uint16), reading.window
    if stack.dtype.name in ("uint8", "uint16"):
        return stack, (0.0, WHITE[stack.dtype.name])
    if stack.dtype.kind == "f" and stack.min() >= 0 and stack.max() <= 1:
        return stack.astype(np.float32), (0.0, 1.0)
    raise DataError(
        f"its values range from {stack.min():g} to {stack.max():g}",
        where=where,
        expected="8- or 16-bit grey values, or floats in [0, 1]",
        remedy="Set the values of black and white with --window LOW,HIGH",
    )
