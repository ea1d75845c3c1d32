"""``read(path)``: any supported image or volume as a ``Volume`` of finite grey values."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mtbench.errors import DataError
from mtbench.formats.content import content
from mtbench.formats.metaimage import read_metaimage
from mtbench.formats.oriented import read_nifti, read_nrrd
from mtbench.formats.volume import Volume


def read(path: Path | str) -> Volume:
    """An image or stack (PNG, TIFF, NPY, NPZ) or a volume (NIfTI, NRRD, MHA, folder of a DICOM series).

    8- and 16-bit grey values are taken as they are; colour whose channels are equal is grey.

    Raises:
        DataError: the file is missing, empty, truncated, of another format, in colour, or holds NaN or
            infinite values. The text names the file.
    """
    return _read(Path(path), colour_is_index=False)


def read_mask(path: Path | str) -> Volume:
    """As :func:`read`, for label maps: the array is an integer one, and a palette image gives its indices.

    Raises:
        DataError: as :func:`read`, or a value that is no whole number.
    """
    volume = _read(Path(path), colour_is_index=True)
    if volume.array.dtype.kind == "f":
        rounded = np.rint(volume.array)
        if not np.array_equal(rounded, volume.array):
            raise DataError(
                "this mask holds values that are no whole numbers",
                where=volume.file,
                expected="an integer label map",
            )
        volume = replace(volume, array=rounded.astype(np.int32))
    return volume


def suffix(path: Path) -> str:
    """The supported ending of a file name, lower case (".nii.gz"); empty where it has none."""
    name = path.name.lower()
    return next((ending for ending in SUFFIXES if name.endswith(ending)), "")


def stem(path: Path) -> str:
    """The file name without its supported ending ("ct" for "ct.nii.gz")."""
    return path.name[: len(path.name) - len(suffix(path))] if suffix(path) else path.name


def is_series(folder: Path) -> bool:
    """Whether ``folder`` directly holds DICOM files."""
    return folder.is_dir() and bool(dicom_files(folder, first_only=True))


def _read(path: Path, *, colour_is_index: bool) -> Volume:
    where = str(path)
    if path.is_dir():
        files = dicom_files(path)
        if not files:
            raise DataError("this folder holds no DICOM files", where=where, expected="a file or a DICOM series")
        from mtbench.formats.dicom import read_series

        return _check(read_series(path, files))
    ending = suffix(path)
    if not ending:
        raise DataError(
            "this is no image format that can be read", where=where, expected="one of " + ", ".join(SUFFIXES)
        )
    try:
        if path.stat().st_size == 0:
            raise DataError("this file is empty (0 bytes)", where=where, remedy="Copy or download it again")
        volume = _READERS[ending](path, colour_is_index)
    except DataError:
        raise
    except Exception as error:  # each library has its own kinds for a file that is not what its name says
        detail = str(error).strip() or type(error).__name__
        raise DataError(
            f"this file cannot be read: {detail}",
            where=where,
            remedy="Copy or convert it again, or leave it out",
        ) from error
    return _check(volume)


def _check(volume: Volume) -> Volume:
    array = volume.array.astype(volume.array.dtype.newbyteorder("="), copy=False)
    if array.ndim not in (2, 3) or not array.size:
        shape = " x ".join(str(n) for n in array.shape)
        raise DataError(f"its shape is {shape or 'empty'}", where=volume.file, expected="an image or a stack of images")
    if array.dtype.kind not in "uifb":
        raise DataError(f"its values are of type {array.dtype}", where=volume.file, expected="grey values")
    if array.dtype.kind == "f":
        array = array.astype(np.float32, copy=False)
        not_finite = int(array.size - np.isfinite(array).sum())
        if not_finite:
            raise DataError(
                f"{not_finite} of its {array.size} values are NaN or infinite",
                where=volume.file,
                expected="finite grey values",
            )
        return replace(volume, array=array)
    return replace(volume, array=array.astype(np.uint8) if array.dtype.kind == "b" else array)


def _png(path: Path, colour_is_index: bool) -> Volume:
    from PIL import Image

    with Image.open(BytesIO(content(path))) as image:
        image.load()
        colour = image.mode == "P" and not colour_is_index
        array = np.asarray(image.convert("RGBA" if "transparency" in image.info else "RGB") if colour else image)
    return Volume(_grey(array, path), str(path))


def _tiff(path: Path, colour_is_index: bool) -> Volume:
    from mtbench.formats.tiff import read_tiff

    array, channels = read_tiff(path, palette=colour_is_index)
    return Volume(array if channels is None else _grey(np.moveaxis(array, channels, -1), path), str(path))


def _grey(array: NDArray[Any], path: Path) -> NDArray[Any]:
    """One channel of ... x H x W x C; refuses colour, and transparency that varies."""
    if array.ndim == 2:
        return array
    channels = array.shape[-1]
    if channels in (2, 4):
        if array[..., -1].min() != array[..., -1].max():
            raise DataError("parts of this image are transparent", where=str(path), expected="an opaque image")
        array = array[..., :-1]
    if not (array == array[..., :1]).all():
        raise DataError(
            f"this image is in colour ({channels} channels that differ)",
            where=str(path),
            expected="one grey channel, or channels that are all equal",
            remedy="Convert it to greyscale",
        )
    return array[..., 0]


def _npy(path: Path, colour_is_index: bool) -> Volume:
    return Volume(np.load(BytesIO(content(path)), allow_pickle=False), str(path))


def _npz(path: Path, colour_is_index: bool) -> Volume:
    with np.load(BytesIO(content(path)), allow_pickle=False) as archive:
        names = list(archive.files)
        name = names[0] if len(names) == 1 else ("mask" if colour_is_index else "image")
        if name not in names:
            raise DataError(
                f"this archive holds {', '.join(names) or 'no arrays'}",
                where=str(path),
                expected=f"one array, or one named '{name}'",
            )
        return Volume(archive[name], str(path))


def _nifti(path: Path, colour_is_index: bool) -> Volume:
    return read_nifti(path)


def _nrrd(path: Path, colour_is_index: bool) -> Volume:
    return read_nrrd(path)


def _metaimage(path: Path, colour_is_index: bool) -> Volume:
    return read_metaimage(path)


def dicom_files(folder: Path, *, first_only: bool = False) -> list[Path]:
    """The DICOM files directly in a folder, sorted by name; with ``first_only``, no more than one."""
    files = []
    for file in sorted(folder.iterdir()):
        if file.name.startswith(".") or not file.is_file() or file.name == "DICOMDIR":
            continue
        if file.suffix.lower() == ".dcm" or (not suffix(file) and _has_preamble(file)):
            files.append(file)
            if first_only:
                break
    return files


def _has_preamble(file: Path) -> bool:
    with file.open("rb") as stream:
        return stream.read(132)[128:] == b"DICM"


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

SUFFIXES: tuple[str, ...] = tuple(_READERS)
"""Endings of the files that :func:`read` understands, besides DICOM folders."""
