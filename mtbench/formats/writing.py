"""Writing volumes: as NIfTI, or in the format and geometry of their original file."""

from __future__ import annotations

import io
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from mtbench.errors import DataError
from mtbench.formats.metaimage import rewritten
from mtbench.formats.nrrd import open_nrrd, without_channels
from mtbench.formats.orientation import to_ras
from mtbench.formats.reading import dicom_files, suffix
from mtbench.formats.volume import Volume
from mtbench.store.files import TEMPORARY, telling, write_whole


def write_nifti(volume: Volume, path: Path) -> None:
    """Write an oriented volume as NIfTI, in the axis order and with the affine of its original file.

    Common integers (uint8, int16, uint16, int32) keep their dtype, everything else is written as float32.

    Raises:
        DataError: the volume has no orientation.
    """
    if volume.file_affine is None:
        raise DataError(
            "this image has no orientation",
            where=volume.file,
            expected="a volume read from NIfTI, NRRD, MHA or a DICOM series",
        )
    import nibabel

    dtype = volume.array.dtype if volume.array.dtype.name in ("uint8", "int16", "uint16", "int32") else np.float32
    image = nibabel.Nifti1Image(file_order(volume).astype(dtype, copy=False), volume.file_affine)
    image.header.set_xyzt_units("mm")
    path.parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(image, path)


def write_like(volume: Volume, path: Path, measure_unit: str = "") -> None:
    """Write ``volume`` to ``path`` in the format, axis order and geometry of ``volume.file``, which is read again.

    Each file is written atomically. PNG takes 8- and 16-bit grey values; every other format any dtype that it supports.
    A DICOM series becomes a folder of files of the same names, marked as derived, with new series and instance
    identifiers, which are the same for the same pixels.

    Args:
        volume: from :func:`mtbench.formats.read`, with other values.
        path: the file, or the folder of a DICOM series.
        measure_unit: of the values, if known ("HU"); kept in DICOM only.

    Raises:
        DataError: the format cannot hold the values.
        StoreError: the disk is full or ``path`` cannot be written.
    """
    source = Path(volume.file)
    if source.is_dir():
        _series(volume, path, measure_unit)
    else:
        write_whole(path, lambda file: _WRITERS[suffix(source)](volume, source, file))


def file_order(volume: Volume) -> NDArray[Any]:
    """The values in the axis order of the file."""
    array = np.empty(volume.file_shape, volume.array.dtype)
    to_ras(array, volume.axes)[...] = volume.array
    return array


def _png(volume: Volume, source: Path, file: IO[bytes]) -> None:
    from PIL import Image

    if volume.array.dtype.name not in ("uint8", "uint16"):
        raise DataError(f"PNG cannot hold {volume.array.dtype}", where=str(source), expected="8- or 16-bit grey values")
    Image.fromarray(np.ascontiguousarray(volume.array)).save(file, format="PNG")


def _tiff(volume: Volume, source: Path, file: IO[bytes]) -> None:
    import tifffile

    buffer = io.BytesIO()
    tifffile.imwrite(buffer, np.ascontiguousarray(volume.array), photometric="minisblack")
    file.write(buffer.getvalue())


def _npy(volume: Volume, source: Path, file: IO[bytes]) -> None:
    from mtbench.formats.arrays import read_npy

    # H x W x 1 keeps its shape; of equal channels one is written.
    shape = read_npy(source).shape
    array = volume.array.reshape(shape) if np.prod(shape) == volume.array.size else volume.array
    np.save(file, array, allow_pickle=False)


def _npz(volume: Volume, source: Path, file: IO[bytes]) -> None:
    from mtbench.formats.arrays import member_name

    arrays: dict[str, Any] = {member_name(source): volume.array}
    np.savez_compressed(file, **arrays)


def _nifti(volume: Volume, source: Path, file: IO[bytes]) -> None:
    from mtbench.formats.nifti import as_file, open_nifti

    image = open_nifti(source)
    header = image.header.copy()
    header.set_data_dtype(volume.array.dtype)
    # The display range in the header was that of the old values.
    header["cal_min"] = header["cal_max"] = 0
    rewritten = image.__class__(file_order(volume).reshape(image.shape), image.affine, header)
    file.write(as_file(rewritten, source))


def _nrrd(volume: Volume, source: Path, file: IO[bytes]) -> None:
    import nrrd

    header = without_channels(open_nrrd(source)[1])
    fields = {name: value for name, value in header.items() if name not in _NRRD_FIELDS}
    array = file_order(volume) if volume.axes else volume.array.T
    array = array.reshape([int(size) for size in header["sizes"]])
    buffer = io.BytesIO()
    nrrd.write(buffer, array, fields)
    file.write(buffer.getvalue())


_NRRD_FIELDS = (
    *("type", "dimension", "sizes", "encoding", "endian", "data file", "datafile", "line skip", "byte skip", "number"),
    *("min", "max", "old min", "old max", "block size", "content", "sample units", "thicknesses", "centers"),
    *("axis mins", "axis maxs", "space dimension"),
)
"""Header fields about the old values, or that are rewritten."""


def _metaimage(volume: Volume, source: Path, file: IO[bytes]) -> None:
    file.write(rewritten(source, file_order(volume)))


def _series(volume: Volume, folder: Path, measure_unit: str) -> None:
    from mtbench.formats.derived import derived_files

    source = Path(volume.file)
    with telling(folder):
        folder.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=TEMPORARY, dir=folder.parent))
        try:
            names = []
            for name, item in derived_files(dicom_files(source), source, file_order(volume), measure_unit):
                item.save_as(temporary / name, enforce_file_format=True)
                names.append(name)
            folder.mkdir(exist_ok=True)
            for name in names:
                (temporary / name).replace(folder / name)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)


_WRITERS: dict[str, Callable[[Volume, Path, IO[bytes]], None]] = {
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
