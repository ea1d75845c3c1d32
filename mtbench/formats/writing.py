"""Writing volumes."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from mtbench.errors import DataError
from mtbench.formats.orientation import to_ras
from mtbench.formats.volume import Volume


def write_nifti(volume: Volume, path: Path) -> None:
    """Write an oriented volume as NIfTI, in the axis order and with the affine of the file it came from.

    Common integers (uint8, int16, uint16, int32) keep their dtype, everything else is written as float32.

    Raises:
        DataError: the volume does not say how it lies in the patient.
    """
    if volume.file_affine is None:
        raise DataError(
            "this image does not say how it lies in the patient",
            where=volume.file,
            expected="a volume read from NIfTI, NRRD, MHA or a DICOM series",
        )
    import nibabel

    kept = volume.array.dtype if volume.array.dtype.name in ("uint8", "int16", "uint16", "int32") else np.float32
    array = np.empty(volume.file_shape, kept)
    to_ras(array, volume.axes)[...] = volume.array
    image = nibabel.Nifti1Image(array, volume.file_affine)
    image.header.set_xyzt_units("mm")
    path.parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(image, path)
