"""DICOM series: one folder, one series, one volume."""

from __future__ import annotations

from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom.pixels import pixel_array

from mtbench.errors import DataError
from mtbench.formats.content import content
from mtbench.formats.orientation import axis_codes
from mtbench.formats.volume import Volume

_LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
_REQUIRED = ("PixelData", "ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "Rows", "Columns")


@dataclass(frozen=True)
class DicomSlice:
    """What a series needs of one file; positions and directions in LPS, lengths in mm."""

    file: Path
    item: Any
    series: str
    size: tuple[int, int]
    position: NDArray[np.float64]
    across: NDArray[np.float64]
    down: NDArray[np.float64]
    spacing: NDArray[np.float64]
    thickness: float
    slope: float
    intercept: float


def read_series(folder: Path, files: list[Path]) -> Volume:
    """The slices of a series in modality units (rescale applied), sorted along their normal.

    Raises:
        DataError: a file that is not a usable image slice, two series in one folder, slices that differ in
            size, spacing or direction, a slice twice, or a missing slice (uneven distances).
    """
    images = in_order(files, folder)
    first = images[0]
    normal = np.cross(first.across, first.down)
    step = _step(images, [float(normal @ image.position) for image in images], folder)
    affine = np.eye(4)
    affine[:3, 0], affine[:3, 3] = normal * step, images[0].position
    affine[:3, 1], affine[:3, 2] = first.down * first.spacing[0], first.across * first.spacing[1]
    affine = _LPS_TO_RAS @ affine
    words = (str(first.item.get(name, "")).strip() for name in ("Manufacturer", "ManufacturerModelName"))
    return Volume.oriented(
        _stack(images),
        affine,
        axis_codes(affine, str(folder)),
        str(folder),
        measure_unit="HU" if first.item.get("Modality") == "CT" else "",
        scanner=" ".join(filter(None, words)),
    )


def in_order(files: list[Path], folder: Path) -> list[DicomSlice]:
    """The files of one series, sorted along their normal.

    Raises:
        DataError: as :func:`read_series`, distances aside.
    """
    images = [_open(file) for file in files]
    series = {image.series for image in images}
    if len(series) > 1:
        raise DataError(
            f"this folder holds {len(series)} DICOM series",
            where=str(folder),
            remedy="Give each series its own folder",
        )
    first = images[0]
    alike = np.array([image.size == first.size for image in images])
    alike &= np.isclose([image.spacing for image in images], first.spacing, rtol=1e-3).all(axis=1)
    directions = [(*image.across, *image.down) for image in images]
    alike &= np.isclose(directions, directions[0], atol=1e-3).all(axis=1)
    if not alike.all():
        odd_file = images[int(np.argmin(alike))].file
        raise DataError(f"its size, spacing or direction differs from {first.file.name}", where=str(odd_file))
    normal = np.cross(first.across, first.down)
    images.sort(key=lambda image: float(normal @ image.position))
    return images


def _open(file: Path) -> DicomSlice:
    try:
        item = pydicom.dcmread(BytesIO(content(file)))
        missing = [name for name in _REQUIRED if name not in item]
        kind, frames = item.get("PhotometricInterpretation", "MONOCHROME2"), int(item.get("NumberOfFrames") or 1)
        if not missing and kind == "MONOCHROME2" and frames == 1:
            return _parse(file, item)
    except Exception as error:  # pydicom and conversions raise many kinds for damaged files
        raise DataError(f"this DICOM file cannot be read: {error}", where=str(file)) from error
    if missing:
        raise DataError(
            f"this DICOM file has no {', '.join(missing)}",
            where=str(file),
            expected="an image slice with position and spacing",
            remedy="Remove it from the series folder",
        )
    if frames != 1:
        raise DataError(
            "this DICOM file holds several frames",
            where=str(file),
            expected="one file per slice",
            remedy="Convert it to NIfTI, for example with dcm2niix",
        )
    raise DataError(f"this DICOM image is of kind {kind}", where=str(file), expected="grey values (MONOCHROME2)")


def _parse(file: Path, item: Any) -> DicomSlice:
    def numbers(name: str, count: int) -> NDArray[np.float64]:
        values = np.array([float(v) for v in item[name].value])
        if values.shape != (count,) or not np.isfinite(values).all():
            raise ValueError(f"{name} is {item[name].value}")
        return values

    def number(name: str, default: float) -> float:
        value = item.get(name)
        return default if value is None else float(value)

    directions = numbers("ImageOrientationPatient", 6)
    return DicomSlice(
        file=file,
        item=item,
        series=str(item.get("SeriesInstanceUID", "")),
        size=(int(item.Rows), int(item.Columns)),
        position=numbers("ImagePositionPatient", 3),
        across=directions[:3],
        down=directions[3:],
        spacing=numbers("PixelSpacing", 2),
        thickness=number("SliceThickness", 1.0),
        slope=number("RescaleSlope", 1.0),
        intercept=number("RescaleIntercept", 0.0),
    )


def _step(images: list[DicomSlice], heights: list[float], folder: Path) -> float:
    """Distance of neighbouring slices in mm; one slice has its thickness."""
    if len(heights) == 1:
        return images[0].thickness
    gaps = np.diff(heights)
    usual = float(np.median(gaps))
    for one, other, gap in zip(images, images[1:], gaps.tolist(), strict=False):
        pair = f"{one.file.name} and {other.file.name}"
        if gap < 1e-3:
            raise DataError(f"{pair} lie at the same place", where=str(folder), expected="one slice a place")
        if abs(gap - usual) > 0.1 * usual:
            raise DataError(
                f"{pair} are {gap:.3g} mm apart, the others {usual:.3g} mm",
                where=str(folder),
                expected="a complete series with even distances",
                remedy="Look for a missing slice",
            )
    return (heights[-1] - heights[0]) / (len(heights) - 1)


def _stack(images: list[DicomSlice]) -> NDArray[Any]:
    integral = all(image.slope == 1 and image.intercept.is_integer() for image in images)
    shifted = any(image.intercept for image in images)
    # 16 bits are enough for nearly every MR, and half of what is read and counted later.
    array = np.empty((len(images), *images[0].size), (np.int32 if shifted else np.int16) if integral else np.float32)
    for i, image in enumerate(images):
        try:
            pixels = pixel_array(image.item)
        except Exception as error:  # a missing decoder or damaged data, by many exception types
            raise DataError(
                f"its pixels cannot be decoded: {error}",
                where=str(image.file),
                remedy="For compressed transfer syntaxes install pylibjpeg with its plugins",
            ) from error
        if array.dtype == np.int16 and pixels.dtype != np.int16 and pixels.max() > np.iinfo(np.int16).max:
            array = array.astype(np.int32)
        array[i] = pixels if image.slope == 1 else pixels.astype(np.float32) * np.float32(image.slope)
        if image.intercept:
            array[i] += np.asarray(image.intercept, array.dtype)
    return array
