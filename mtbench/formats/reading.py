"""``read(path)``: any supported image or volume as a ``Volume`` of finite grey values."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mtbench.errors import DataError, MtbenchError
from mtbench.formats.channels import full_range, grey_of_array
from mtbench.formats.dicomfile import looks_like_dicom
from mtbench.formats.impostors import impostor
from mtbench.formats.metaimage import read_metaimage
from mtbench.formats.nifti import read_nifti
from mtbench.formats.nrrd import read_nrrd
from mtbench.formats.stored import Stored
from mtbench.formats.volume import Volume


def read(path: Path | str) -> Volume:
    """An image or stack (PNG, TIFF, NPY, NPZ) or a volume (NIfTI, NRRD, MHA, folder of a DICOM series).

    8- and 16-bit grey values are unchanged, those with fewer bits are scaled to 8; colour with equal channels counts as
    grey. Lengths are in millimetres, whatever the unit of the header.

    Raises:
        DataError: the file is missing, empty, truncated, of another format, in colour, holds NaN or infinite values,
            or exceeds :mod:`mtbench.formats.limits`. The text names the file.
    """
    return _read(Path(path), label_map=False)


def read_mask(path: Path | str) -> Volume:
    """As :func:`read`, for label maps: the array holds integers; a palette image gives its indices, a one-bit image 0
    and 1.

    Raises:
        DataError: as :func:`read`, or a value that is not an integer.
    """
    return _read(Path(path), label_map=True)


def open_volume(path: Path | str, *, label_map: bool = False) -> Volume:
    """As :func:`read` or :func:`read_mask`, but values of an uncompressed NIfTI, NRRD or MHA file stay in it until they
    are indexed: ``open_volume(path).slices("axial")[10:20]`` reads ten slices.

    The array is then a :class:`mtbench.formats.stored.Stored`, which has the shape and reversals of an array and no
    arithmetic; errors of its values (not finite, not integers) are raised where they are read.

    Raises:
        DataError: as :func:`read` and :func:`read_mask`, or a compressed file needs more memory than is free.
    """
    return _read(Path(path), label_map=label_map, lazy=True)


def suffix(path: Path) -> str:
    """The supported ending of a file name, lower case (".nii.gz"); empty if it has none."""
    name = path.name.lower()
    return next((ending for ending in SUFFIXES if name.endswith(ending)), "")


def stem(path: Path) -> str:
    """The file name without its supported ending ("ct" for "ct.nii.gz")."""
    return path.name[: len(path.name) - len(suffix(path))] if suffix(path) else path.name


def is_series(folder: Path) -> bool:
    """Whether ``folder`` directly holds DICOM files.

    Raises:
        DataError: it cannot be read.
    """
    return folder.is_dir() and bool(dicom_files(folder, first_only=True))


def _read(path: Path, *, label_map: bool, lazy: bool = False) -> Volume:
    where = str(path)
    try:
        return _check(_series(path) if path.is_dir() else _file(path, label_map, lazy), label_map)
    except MtbenchError:
        raise
    except MemoryError as error:
        raise DataError("out of memory while reading it", where=where) from error
    except Exception as error:  # each library has its own exceptions for a file whose content does not match its name
        detail = str(error).strip() or type(error).__name__
        raise DataError(
            f"this file cannot be read: {detail}",
            where=where,
            remedy="Copy or convert it again, or remove it",
        ) from error


def _series(path: Path) -> Volume:
    files = dicom_files(path)
    if not files:
        raise DataError("this folder holds no DICOM files", where=str(path), expected="a file or a DICOM series")
    from mtbench.formats.dicom import read_series

    return read_series(path, files)


def _file(path: Path, label_map: bool, lazy: bool) -> Volume:
    where, ending = str(path), suffix(path)
    if not ending:
        raise DataError("this image format is not supported", where=where, expected="one of " + ", ".join(SUFFIXES))
    if path.stat().st_size == 0:
        raise DataError("this file is empty (0 bytes)", where=where, remedy="Copy or download it again")
    pretends = impostor(path)
    if pretends is not None:
        raise DataError(pretends[0], where=where, remedy=pretends[1])
    if lazy and ending in _LAZY:
        return _LAZY[ending](path, label_map)
    return _READERS[ending](path, label_map)


def _check(volume: Volume, label_map: bool) -> Volume:
    array = volume.array
    if array.ndim not in (2, 3) or not array.size:
        shape = " x ".join(str(n) for n in array.shape)
        raise DataError(f"its shape is {shape or 'empty'}", where=volume.file, expected="an image or a stack of images")

    def checked(values: NDArray[Any]) -> NDArray[Any]:
        values = _finite(values, array, volume.file)
        return _labels(values, volume.file) if label_map and values.dtype.kind == "f" else values

    return replace(volume, array=array.then(checked) if isinstance(array, Stored) else checked(array))


def _finite(values: NDArray[Any], all_values: NDArray[Any] | Stored, where: str) -> NDArray[Any]:
    """The values, or a part of them, as integers or float32, in the machine's byte order."""
    if values.dtype.names:
        raise DataError(
            f"it is in colour: its values are of {', '.join(values.dtype.names)}",
            where=where,
            expected="grey values",
            remedy="Write one channel of it",
        )
    if values.dtype.kind not in "uifb":
        raise DataError(f"its values are of type {values.dtype}", where=where, expected="grey values")
    if values.dtype.kind != "f":
        native = values.dtype.newbyteorder("=")
        return values.astype(np.uint8 if values.dtype.kind == "b" else native, copy=False)
    values = values.astype(np.float32, copy=False)
    if not np.isfinite(values).all():
        parts = map(all_values.convert, all_values.parts()) if isinstance(all_values, Stored) else [values]
        not_finite = sum(int(part.size - np.isfinite(part.astype(np.float32, copy=False)).sum()) for part in parts)
        raise DataError(
            f"{not_finite} of its {all_values.size} values are NaN or infinite",
            where=where,
            expected="finite grey values",
        )
    return values


def _labels(values: NDArray[Any], where: str) -> NDArray[np.int32]:
    """The labels of a mask that is stored as floating point."""
    rounded = np.rint(values)
    if not np.array_equal(rounded, values):
        raise DataError("this mask holds values that are not integers", where=where, expected="an integer label map")
    labels: NDArray[np.int32] = rounded.astype(np.int32)
    return labels


def _png(path: Path, label_map: bool) -> Volume:
    from mtbench.formats.png import read_png

    return Volume(read_png(path, label_map=label_map), str(path))


def _tiff(path: Path, label_map: bool) -> Volume:
    from mtbench.formats.tiff import read_tiff

    return Volume(read_tiff(path, label_map=label_map), str(path))


def _npy(path: Path, label_map: bool) -> Volume:
    from mtbench.formats.arrays import read_npy

    return Volume(_grey_array(read_npy(path), label_map, path), str(path))


def _npz(path: Path, label_map: bool) -> Volume:
    from mtbench.formats.arrays import read_npz

    return Volume(_grey_array(read_npz(path, "mask" if label_map else "image"), label_map, path), str(path))


def _grey_array(array: NDArray[Any], label_map: bool, path: Path) -> NDArray[Any]:
    array = grey_of_array(array, str(path))
    return full_range(array, 1) if array.dtype.kind == "b" and not label_map else array


def _nifti(path: Path, label_map: bool) -> Volume:
    return read_nifti(path, label_map=label_map)


def _nrrd(path: Path, label_map: bool) -> Volume:
    return read_nrrd(path)


def _metaimage(path: Path, label_map: bool) -> Volume:
    return read_metaimage(path)


def unreadable(folder: Path, error: OSError) -> DataError:
    """The error for a folder that cannot be read."""
    return DataError(
        f"the folder cannot be read: {error.strerror}", where=str(folder), remedy="Correct its permissions"
    )


def dicom_files(folder: Path, *, first_only: bool = False) -> list[Path]:
    """The DICOM files directly in a folder, sorted by name, each once; with ``first_only``, at most one."""
    files = []
    try:
        entries = sorted(folder.iterdir())
    except OSError as error:
        raise unreadable(folder, error) from error
    for file in entries:
        if file.name.startswith(".") or not file.is_file() or file.name == "DICOMDIR":
            continue
        if file.is_symlink() and file.resolve().parent == folder.resolve():
            continue  # another name of the same slice
        if file.suffix.lower() == ".dcm" or (not suffix(file) and looks_like_dicom(file)):
            files.append(file)
            if first_only:
                break
    return files


_READERS: dict[str, Callable[[Path, bool], Volume]] = {
    ".nii.gz": _nifti,
    ".nii": _nifti,
    ".png": _png,
    ".tiff": _tiff,
    ".tif": _tiff,
    ".npy": _npy,
    ".npz": _npz,
    ".nrrd": _nrrd,
    ".mha": _metaimage,
}

_LAZY: dict[str, Callable[[Path, bool], Volume]] = {
    ".nii.gz": lambda path, label_map: read_nifti(path, label_map=label_map, lazy=True),
    ".nii": lambda path, label_map: read_nifti(path, label_map=label_map, lazy=True),
    ".nrrd": lambda path, label_map: read_nrrd(path, lazy=True),
    ".mha": lambda path, label_map: read_metaimage(path, lazy=True),
}
"""The readers that leave values of an uncompressed file where they are."""

SUFFIXES: tuple[str, ...] = tuple(_READERS)
"""File endings that :func:`read` supports, besides DICOM folders."""
