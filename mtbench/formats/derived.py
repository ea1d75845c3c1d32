"""A DICOM series with other values: what a model made of it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

from mtbench.formats.dicom import in_order

_ABOUT_VALUES = (
    *("PixelData", "SmallestImagePixelValue", "LargestImagePixelValue", "PixelPaddingValue"),
    *("PixelPaddingRangeLimit", "WindowCenter", "WindowWidth", "WindowCenterWidthExplanation", "RescaleType"),
    *("ModalityLUTSequence", "VOILUTSequence", "LossyImageCompressionRatio", "LossyImageCompressionMethod"),
)


def derived_files(files: list[Path], folder: Path, array: NDArray[Any], measure_unit: str) -> Iterator[tuple[str, Any]]:
    """The files of a series with other values: name and data set, in the order of the slices.

    They are marked as derived. Their identifiers are new, and the same for the same series and values. The image's
    kind (SOP class, modality) stays that of the original.

    Args:
        files, folder: of the series.
        array: slices x rows x columns, in the order of ``read_series``.
        measure_unit: of the values, where known ("HU").
    """
    digest = hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()
    pixels, slope, intercept = _sixteen_bit(array)
    for image, values in zip(in_order(files, folder), pixels, strict=True):
        item = image.item
        for name in _ABOUT_VALUES:
            if name in item:
                delattr(item, name)
        item.SeriesInstanceUID = generate_uid(entropy_srcs=[image.series, digest])
        item.SOPInstanceUID = generate_uid(entropy_srcs=[str(item.get("SOPInstanceUID", image.file.name)), digest])
        item.file_meta.MediaStorageSOPInstanceUID = item.SOPInstanceUID
        item.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        item.ImageType = ["DERIVED", "SECONDARY", *list(item.get("ImageType", []))[2:]]
        item.SeriesDescription = f"{item.get('SeriesDescription', '')[:50]} (translated)".strip()
        item.DerivationDescription = "synthetic image, made by mtbench"
        item.RescaleSlope, item.RescaleIntercept = f"{slope:.10g}", f"{intercept:.10g}"
        if measure_unit:
            item.RescaleType = measure_unit
        item.SamplesPerPixel, item.PhotometricInterpretation = 1, "MONOCHROME2"
        item.BitsAllocated, item.BitsStored, item.HighBit = 16, 16, 15
        item.PixelRepresentation = int(values.dtype.kind == "i")
        item.add_new(0x7FE00010, "OW", values.astype(values.dtype.newbyteorder("<")).tobytes())
        yield image.file.name, item


def _sixteen_bit(array: NDArray[Any]) -> tuple[NDArray[Any], float, float]:
    """16-bit pixels with slope and intercept; exact for integers that fit."""
    low, high = float(array.min()), float(array.max())
    if array.dtype.kind in "ui" and low >= -(2**15) and high < 2**15:
        return array.astype(np.int16), 1.0, 0.0
    slope = float(f"{(high - low) / 65535:.10g}") or 1.0
    intercept = float(f"{low:.10g}")
    return np.clip(np.rint((array - intercept) / slope), 0, 65535).astype(np.uint16), slope, intercept
