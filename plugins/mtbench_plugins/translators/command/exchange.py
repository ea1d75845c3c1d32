"""Slices as files for another program, and its translations read back."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mtbench import DataError, ImageSet, Slice
from mtbench.data import decode
from mtbench.formats import entries_below, read, stem, suffix

ENDINGS = {"png": ".png", "npy": ".npy", "nifti": ".nii.gz"}


def names_of(slices: Sequence[Slice]) -> list[str]:
    """A file name, without ending, for each slice: its number and its id, so that names sort in the order of the
    slices.
    """
    return [f"{i:05d}_{re.sub(r'[^A-Za-z0-9._-]+', '_', s.slice_id)[:100]}" for i, s in enumerate(slices)]


def write(images: NDArray[Any], slices: Sequence[Slice], folder: Path, form: str) -> None:
    """Write each image, H x W, under its slice's name.

    Args:
        images: N x H x W, as stored.
        slices: their records.
        folder: created here.
        form: "png" (8 or 16 bit), "npy" or "nifti" (H x W x 1, the values as stored).

    Raises:
        DataError: floating-point images as PNG.
    """
    from PIL import Image

    folder.mkdir(parents=True)
    for image, record, name in zip(images, slices, names_of(slices), strict=True):
        path = folder / (name + ENDINGS[form])
        if form == "npy":
            np.save(path, image, allow_pickle=False)
        elif form == "nifti":
            _nifti(np.asarray(image), record, path)
        elif image.dtype.kind == "f":
            raise DataError("floating-point images cannot be written as PNG", expected="format = 'npy' or 'nifti'")
        else:
            Image.fromarray(np.asarray(image)).save(path)


def _nifti(image: NDArray[Any], record: Slice, path: Path) -> None:
    import nibabel

    row, column = record.spacing or (1.0, 1.0)
    # Columns run to the patient's left and rows down, as in an axial slice: viewers then show it upright.
    affine = np.diag([-column, -row, record.thickness or 1.0, 1.0])
    nibabel.save(nibabel.Nifti1Image(np.ascontiguousarray(image.T[..., None]), affine), path)


def read_back(
    images: ImageSet, folder: Path, form: str, where: str, trouble: Callable[[], str]
) -> Iterator[NDArray[np.float32]]:
    """The translation of each slice, H x W in [0, 1], in order; matched by file name, whatever the ending.

    8-bit files are read as 0..255, 16-bit ones as 0..65535, floating point as [0, 1].

    Args:
        images: the exported images.
        folder: the program's output.
        form: the format of the export.
        where: the program's name in errors.
        trouble: the end of its output, for errors.

    Raises:
        DataError: a file is missing, cannot be read, or has another size; the text names it.
    """
    files: dict[str, Path] = {}
    for path in sorted(entries_below(folder, aliases=True)):
        if path.is_file() and suffix(path) and (stem(path) not in files or suffix(path) == ENDINGS[form]):
            files[stem(path)] = path
    names = names_of(images.slices)
    missing = [name for name in names if name not in files]
    if missing:
        raise DataError(
            f"the program wrote no translation of {missing[0]}{ENDINGS[form]} ({len(missing)} of {len(names)} are "
            "missing)",
            where=where,
            expected="a file in {output} for each file in {input}, with the same name",
            remedy=trouble(),
        )
    for name in names:
        yield _image(files[name], images.size, where, trouble)


def _image(path: Path, size: tuple[int, int], where: str, trouble: Callable[[], str]) -> NDArray[np.float32]:
    try:
        volume = read(path)
    except DataError as error:
        what = f"the program wrote {path.name}, but {error.what}"
        raise DataError(what, where=where, expected=error.expected, remedy=trouble()) from error
    # A NIfTI slice was written with its columns first, and reading has reordered its axes to RAS.
    image = volume.slices("axial" if volume.axes else None)
    if image.shape != (1, *size):
        shape = " x ".join(str(n) for n in (image.shape[1:] if len(image) == 1 else image.shape))
        raise DataError(
            f"the program wrote {path.name} with {shape} pixels",
            where=where,
            expected=f"{size[0]} x {size[1]}, like its input file",
            remedy=trouble(),
        )
    if image.dtype.name in ("uint8", "uint16"):
        return decode(np.ascontiguousarray(image[0]))
    if image.dtype.kind != "f":
        raise DataError(
            f"the program wrote {path.name} with values of type {image.dtype}",
            where=where,
            expected="8 or 16 bits, or floating point in [0, 1]",
        )
    return np.asarray(image[0], np.float32)
