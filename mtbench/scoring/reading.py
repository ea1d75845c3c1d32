"""A folder of images as an image set: files are read on all cores, block by block, into one array in the store."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mtbench import patterns
from mtbench.data import WHITE, ImageSet, Slice, Task
from mtbench.errors import DataError, RequestError
from mtbench.formats import PLANES, SUFFIXES, Frame, Geometry, images_below, open_volume, stem
from mtbench.formats.detached import with_data_files
from mtbench.formats.placing import is_window
from mtbench.formats.walking import others_below
from mtbench.hashing import hash_of
from mtbench.rows import OnDisk
from mtbench.store.artefacts import Store, address_of
from mtbench.store.images import GrowingArray, read_slices, write_index

_REVISION = 2

FileProgress = Callable[[int, int], None]
_BLOCK = 1 << 24
"""Values of a volume that are read at once."""
_AHEAD = 1 << 28
"""Bytes of files that are read while others are written."""

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


@dataclass(frozen=True)
class _Stack:
    """The slices of a file.

    Attributes:
        first: pixels of the first block, N x H x W.
        rest: pixels of the other blocks, read when they are asked for.
        slices: the records of all.
    """

    first: NDArray[Any]
    rest: Iterator[NDArray[Any]]
    slices: list[Slice]


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
    pixels = OnDisk(artefact.path / "images-source.npy").images
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
    written = _Written(target / "images-source.npy")
    try:
        for done, (path, stack) in enumerate(_in_parallel(paths, base, reading, mask), start=1):
            progress(done, len(paths))
            error = stack if isinstance(stack, DataError) else written.add(path, stack)
            if error is not None:
                unreadable.append((str(path), _reason(error, path)))
    finally:
        written.close()
    if len(written.slices) < 2:
        if unreadable:
            raise _refusal(tuple(unreadable), len(paths))
        raise DataError(
            f"the folder holds {len(written.slices)} image", where=str(base), expected="at least two images"
        )
    write_index(target / "index-source.parquet", written.slices)
    return unreadable


def _reason(error: DataError, path: Path) -> str:
    """The text of an error with its own remedy, but without the path, which is printed beside it."""
    own = DataError(error.what, expected=error.expected, remedy=error.remedy, matches=error.matches)
    where = f"{error.where}: " if error.where not in (None, str(path)) else ""
    return where + str(own)


class _Written:
    """The pixels of a folder's slices on disk, and their records.

    Args:
        path: the .npy file.
    """

    def __init__(self, path: Path) -> None:
        self.slices: list[Slice] = []
        self._path = path
        self._array: GrowingArray | None = None
        self._file = ""
        self._like: tuple[Any, Any] = ((), None)
        self._ids: set[str] = set()

    def add(self, path: Path, stack: _Stack) -> DataError | None:
        """All slices of a file; or none, and the reason why one of its blocks cannot be read.

        Raises:
            DataError: they cannot be in one array with the others.
        """
        like = stack.first.shape[1:], stack.first.dtype
        if self._array is None:
            self._array, self._file, self._like = GrowingArray(self._path, stack.first[0]), str(path), like
        if like != self._like:
            raise DataError(
                f"its slices are {_kind(*like)}, those of {self._file} {_kind(*self._like)}",
                where=str(path),
                expected="the same size and depth for all files of a folder",
                remedy="Score each size separately (a single volume may take the place of a folder), or resample them, "
                "which changes the result",
            )
        ids = {record.slice_id for record in stack.slices}
        if twice := ids & self._ids:
            raise DataError(f"two images are named '{min(twice)}'", where=str(path))
        try:
            for pixels in chain([stack.first], stack.rest):
                for image in pixels:
                    self._array.add(image)
        except DataError as error:
            self._array.truncate(len(self.slices))
            if not self.slices:
                self._array.close()
                self._array = None
            return error
        self._ids |= ids
        self.slices += stack.slices
        return None

    def close(self) -> None:
        """Complete the file."""
        if self._array is not None:
            self._array.close()


def _kind(size: tuple[int, int], dtype: Any) -> str:
    return f"{size[0]} x {size[1]} {dtype}"


def _in_parallel(
    paths: list[Path], base: Path, reading: ReadOptions, mask: bool
) -> Iterator[tuple[Path, _Stack | DataError]]:
    """Each file's slices, or the error, in order; reads ahead a few files of at most ``_AHEAD`` bytes together."""

    def slices_or_error(path: Path) -> _Stack | DataError:
        try:
            return _slices(path, base, reading, mask)
        except DataError as error:
            return error

    workers = os.cpu_count() or 1
    ahead: deque[tuple[Path, int, Future[_Stack | DataError]]] = deque()
    with ThreadPoolExecutor(workers) as pool:
        for path in paths:
            size = path.stat().st_size if path.is_file() else _AHEAD // workers
            while ahead and (len(ahead) >= 8 * workers or sum(held for _, held, _ in ahead) + size > _AHEAD):
                first, _, stack = ahead.popleft()
                yield first, stack.result()
            ahead.append((path, size, pool.submit(slices_or_error, path)))
        while ahead:
            first, _, stack = ahead.popleft()
            yield first, stack.result()


def _slices(path: Path, base: Path, reading: ReadOptions, mask: bool) -> _Stack:
    volume = open_volume(path, label_map=mask)
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
    count, height, width = stack.shape
    blocks = _blocks(stack, reading, str(path), mask)
    pixels, window = next(blocks)
    spacing, thickness = volume.in_plane(plane)
    patient = ""
    if reading.patient:
        match = patterns.search(reading.patient, relative.as_posix())
        if match is None:
            raise DataError(f"the patient pattern '{reading.patient}' does not match its path", where=str(path))
        patient = match[1]
    elif count > 1:
        patient = name
    record = Slice(
        slice_id=name,
        patient_id=patient,
        case_id=name if count > 1 else patient,
        spacing=spacing,
        thickness=thickness,
        window=window,
        measure_unit=volume.measure_unit,
        file=relative.as_posix(),
    )
    ids = [name] if count == 1 else [f"{name}/{i:04d}" for i in range(count)]
    frame = Frame.none((height, width))
    places = [Geometry.of(volume, plane, i, frame).to_json() if plane else "" for i in range(count)]
    slices = [
        replace(record, slice_id=id, index=i, geometry=place)
        for i, (id, place) in enumerate(zip(ids, places, strict=True))
    ]
    return _Stack(pixels, (later for later, _ in blocks), slices)


def _blocks(
    stack: NDArray[Any], reading: ReadOptions, where: str, mask: bool
) -> Iterator[tuple[NDArray[Any], tuple[float, float] | None]]:
    """The pixels of a few slices after the other, each with their window; see :func:`_pixels`."""
    step = max(1, _BLOCK // (stack.shape[1] * stack.shape[2]))

    starts = range(0, len(stack), step)

    def parts() -> Iterator[NDArray[Any]]:
        return (stack[start : start + step] for start in starts)

    return (_pixels(stack[start : start + step], parts, reading, where, mask) for start in starts)


def _pixels(
    stack: NDArray[Any], parts: Callable[[], Iterator[NDArray[Any]]], reading: ReadOptions, where: str, mask: bool
) -> tuple[NDArray[Any], tuple[float, float] | None]:
    """Pixels as they are scored, and the window that maps them back to the file's unit."""
    if mask:
        if stack.min() < 0 or stack.max() > 255:
            raise DataError("a mask holds labels outside 0..255", where=where)
        return stack.astype(np.uint8), None
    if reading.window is not None:
        low, high = reading.window
        pixels = np.empty(stack.shape, np.uint16)
        # One slice at a time: temporary arrays of all would take most of the memory.
        for image, place in zip(stack, pixels, strict=True):
            scaled = np.clip((image.astype(np.float32) - low) / (high - low), 0.0, 1.0)
            place[...] = np.rint(scaled * 65535)
        return pixels, reading.window
    if stack.dtype.name in ("uint8", "uint16"):
        return stack, (0.0, WHITE[stack.dtype.name])
    if stack.dtype.kind == "f" and stack.min() >= 0 and stack.max() <= 1:
        return stack.astype(np.float32), (0.0, 1.0)
    ends = [(part.min(), part.max()) for part in parts()]
    raise DataError(
        f"its values range from {min(low for low, _ in ends):g} to {max(high for _, high in ends):g}",
        where=where,
        expected="8- or 16-bit grey values, or floats in [0, 1]",
        remedy="Set the values of black and white with --window LOW,HIGH",
    )
