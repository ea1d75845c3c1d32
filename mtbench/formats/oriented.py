"""NIfTI and NRRD: volumes whose header says how they lie in the patient."""

from __future__ import annotations

import gzip
from collections.abc import Mapping
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mtbench.errors import DataError
from mtbench.formats.content import content
from mtbench.formats.detached import FIELDS, data_file, data_file_name
from mtbench.formats.orientation import axis_codes
from mtbench.formats.volume import Volume

_SPACES = {
    "ras": "right-anterior-superior",
    "lps": "left-posterior-superior",
    "las": "left-anterior-superior",
}
_GZIP = b"\x1f\x8b"
_NIFTI_2 = ((540).to_bytes(4, "little"), (540).to_bytes(4, "big"))
_TOWARDS = {"right": 1.0, "left": -1.0, "anterior": 1.0, "posterior": -1.0, "superior": 1.0}


def read_nifti(path: Path) -> Volume:
    """One NIfTI volume; slope and intercept are applied, integers without them stay integers.

    Raises:
        DataError: more than three dimensions, or an unusable affine.
        OSError: not a NIfTI file, or a truncated one.
    """
    from nibabel import Nifti1Image, Nifti2Image
    from nibabel.filebasedimages import ImageFileError
    from nibabel.spatialimages import HeaderDataError

    raw = content(path)
    if raw[:2] == _GZIP:
        raw = gzip.decompress(raw)
    kind = Nifti2Image if raw[:4] in _NIFTI_2 else Nifti1Image
    try:
        image = kind.from_bytes(raw)
    except (ImageFileError, HeaderDataError) as error:
        raise OSError(f"not a NIfTI file, or a damaged one: {error}") from error
    values: Any = image.dataobj
    if values.slope == 1 and values.inter == 0:
        array = np.asarray(values.get_unscaled())
    else:
        array = np.asarray(image.get_fdata(dtype=np.float32, caching="unchanged"))
    affine = np.asarray(image.affine, np.float64)
    return Volume.oriented(_three(array, path), affine, axis_codes(affine, str(path)), str(path))


def read_nrrd(path: Path) -> Volume:
    """One NRRD volume; without ``space directions`` a stack without orientation, its last axis the slices.

    Raises:
        DataError: more than three dimensions, another space than RAS, LPS or LAS, unusable directions, or values in
            another file than one beside it.
        OSError: not an NRRD file, or a truncated one.
    """
    array, header = open_nrrd(path)
    affine = nrrd_affine(header, path)
    if affine is None:
        return Volume(np.ascontiguousarray(array.T), str(path))
    return Volume.oriented(_three(array, path), affine, axis_codes(affine, str(path)), str(path))


def open_nrrd(path: Path) -> tuple[NDArray[Any], Mapping[str, Any]]:
    """Array, first axis fastest in the file, and header of an NRRD file.

    Raises:
        DataError: its values are in another file than one beside it.
        OSError: not an NRRD file, or a truncated one.
    """
    import nrrd

    file = BytesIO(content(path))
    named = data_file_name(file)
    beside = None if named is None else data_file(path, named)
    file.seek(0)
    try:
        header = nrrd.read_header(file)
        # Never the library's own opening of another file.
        if {header.pop(field) for field in FIELDS if field in header} != {named} - {None}:
            raise OSError("its header names its data file ambiguously")
        if beside is not None:
            file = BytesIO(content(beside))
        array = nrrd.read_data(header, file)
    except nrrd.NRRDError as error:
        raise OSError(str(error)) from error
    return array, header


def nrrd_affine(header: Mapping[str, Any], path: Path) -> NDArray[np.float64] | None:
    """4 x 4, index along the axes that lie in space to RAS millimetres; ``None`` where the header does not say.

    Raises:
        DataError: another space than RAS, LPS or LAS, or unusable directions.
    """
    if header.get("space directions") is None:
        return None
    space = str(header.get("space", "")).lower()
    words = _SPACES.get(space, space).split("-")
    if len(words) != 3 or any(word not in _TOWARDS for word in words):
        raise DataError(f"its space is '{space}'", where=str(path), expected="RAS, LPS or LAS")
    # An axis that lies not in space (the layers of a segmentation) has "none" for its direction.
    rows = [row for row in np.asarray(header["space directions"], np.float64) if not np.isnan(row).all()]
    if np.shape(rows) != (3, 3):
        raise DataError(f"it has {len(rows)} directions in space", where=str(path), expected="three")
    affine = np.eye(4)
    affine[:3, :3] = np.transpose(rows)
    affine[:3, 3] = np.asarray(header.get("space origin", np.zeros(3)), np.float64)
    return np.asarray(np.diag([*(_TOWARDS[word] for word in words), 1.0]) @ affine, np.float64)


def _three(array: NDArray[Any], path: Path) -> NDArray[Any]:
    """A volume of three axes; trailing axes of length 1 are dropped, a missing third one is added."""
    while array.ndim > 3 and array.shape[-1] == 1:
        array = array[..., 0]
    if array.ndim == 2:
        array = array[..., None]
    if array.ndim != 3:
        shape = " x ".join(str(n) for n in array.shape)
        raise DataError(f"its shape is {shape}", where=str(path), expected="one volume of three dimensions")
    return array
