"""A DICOM series with other values, for example those of a model."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset
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
        measure_unit: of the values, if known ("HU").
    """
    digest = hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()
    pixels, slope, intercept = _pixels(array)
    for image, values in zip(in_order(files, folder), pixels, strict=True):
        item = image.item if image.item.original_encoding[1] else _little_endian(image.item)
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
        bits = 8 * values.dtype.itemsize
        item.BitsAllocated, item.BitsStored, item.HighBit = bits, bits, bits - 1
        item.PixelRepresentation = int(values.dtype.kind == "i")
        item.add_new(0x7FE00010, "OW", values.astype(values.dtype.newbyteorder("<")).tobytes())
        yield image.file.name, item


def _little_endian(item: Dataset) -> Dataset:
    """Convert a big-endian data set for writing in little endian; its pixels are replaced anyway."""
    result = Dataset()
    result.update({element.tag: element for element in item})
    result.file_meta = item.file_meta
    return result


def _pixels(array: NDArray[Any]) -> tuple[NDArray[Any], float, float]:
    """Pixels with slope and intercept: of 16 bits, or of 32 for integers that do not fit; integers are exact."""
    low, high = (int(array.min()), int(array.max())) if array.dtype.kind in "ui" else (array.min(), array.max())
    if array.dtype.kind in "ui" and high - low < 2**32:
        for dtype in (np.int16, np.uint16):
            if np.iinfo(dtype).min <= low and high <= np.iinfo(dtype).max:
                return array.astype(dtype), 1.0, 0.0
        # The intercept is text of 16 characters at most; that of an integer of 32 bits is shorter.
        above_low = array.astype(np.int64) - low
        return above_low.astype(np.uint16 if high - low < 2**16 else np.uint32), 1.0, float(low)
    low, high = float(low), float(high)
    slope = float(f"{(high - low) / 65535:.10g}") or 1.0
    intercept = float(f"{low:.10g}")
    return np.clip(np.rint((array - intercept) / slope), 0, 65535).astype(np.uint16), slope, intercept
