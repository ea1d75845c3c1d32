"""DICOM series: one folder, one series, one volume."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mtbench.errors import DataError
from mtbench.formats.orientation import axis_codes
from mtbench.formats.volume import Volume

_LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
_NEEDED = ("PixelData", "ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "Rows", "Columns")


def read_series(folder: Path, files: list[Path]) -> Volume:
    """The slices of a series in modality units (rescale applied), sorted along their normal.

    Raises:
        DataError: a file that is not a usable image slice, two series in one folder, slices that differ in
            size, spacing or direction, a slice twice, or a missing slice (uneven distances).
    """
    sets = [_open(file) for file in files]
    series = {str(s.get("SeriesInstanceUID", "")) for s in sets}
    if len(series) > 1:
        raise DataError(
            f"this folder holds {len(series)} DICOM series",
            where=str(folder),
            remedy="Give each series its own folder",
        )
    first = sets[0]
    across, down = (np.array(first.ImageOrientationPatient[i : i + 3], np.float64) for i in (0, 3))
    normal = np.cross(across, down)
    for file, item in zip(files, sets, strict=True):
        same = (item.Rows, item.Columns) == (first.Rows, first.Columns)
        same &= np.allclose(item.ImageOrientationPatient, first.ImageOrientationPatient, atol=1e-3)
        same &= np.allclose(item.PixelSpacing, first.PixelSpacing, rtol=1e-3)
        if not same:
            raise DataError(f"its size, spacing or direction differs from {files[0].name}", where=str(file))
    heights = [float(normal @ np.array(s.ImagePositionPatient, np.float64)) for s in sets]
    order = np.argsort(heights, kind="stable")
    step = _step([heights[i] for i in order], [files[i] for i in order], folder, first)
    array = _stack([sets[i] for i in order], [files[i] for i in order])
    row_mm, column_mm = (float(v) for v in first.PixelSpacing)
    affine = np.eye(4)
    affine[:3, 0], affine[:3, 1], affine[:3, 2] = normal * step, down * row_mm, across * column_mm
    affine[:3, 3] = np.array(sets[order[0]].ImagePositionPatient, np.float64)
    affine = _LPS_TO_RAS @ affine
    words = (str(first.get(name, "")).strip() for name in ("Manufacturer", "ManufacturerModelName"))
    return Volume.oriented(
        array,
        affine,
        axis_codes(affine, str(folder)),
        str(folder),
        unit="HU" if first.get("Modality") == "CT" else "",
        scanner=" ".join(filter(None, words)),
    )


def _open(file: Path) -> Any:
    import pydicom

    try:
        item = pydicom.dcmread(file)
    except Exception as error:  # pydicom raises many kinds for damaged files
        raise DataError(f"this DICOM file cannot be read: {error}", where=str(file)) from error
    needed = (
        "PixelData",
        "ImagePositionPatient",
        "ImageOrientationPatient",
        "PixelSpacing",
        "Rows",
        "Columns",
    )
    missing = [name for name in needed if name not in item]
    if missing:
        raise DataError(
            f"this DICOM file has no {', '.join(missing)}",
            where=str(file),
            expected="an image slice with position and spacing",
            remedy="Remove it from the series folder",
        )
    if (
        item.get("SamplesPerPixel", 1) != 1
        or item.get("PhotometricInterpretation", "MONOCHROME2") != "MONOCHROME2"
    ):
        raise DataError(
            "this DICOM image is not plain grey",
            where=str(file),
            expected="MONOCHROME2, one sample per pixel",
        )
    if int(item.get("NumberOfFrames", 1)) != 1:
        raise DataError(
            "this DICOM file holds several frames",
            where=str(file),
            expected="one file per slice",
            remedy="Convert it to NIfTI, for example with dcm2niix",
        )
    return item


def _step(heights: list[float], files: list[Path], folder: Path, first: Any) -> float:
    """Distance of neighbouring slices in mm; one slice has its thickness."""
    if len(heights) == 1:
        return float(first.get("SliceThickness") or 1.0)
    gaps = np.diff(heights)
    usual = float(np.median(gaps))
    for i, gap in enumerate(gaps):
        pair = f"{files[i].name} and {files[i + 1].name}"
        if gap < 1e-3:
            raise DataError(
                f"{pair} lie at the same place", where=str(folder), expected="one slice per position"
            )
        if abs(gap - usual) > 0.1 * usual:
            raise DataError(
                f"{pair} are {gap:.3g} mm apart, the others {usual:.3g} mm",
                where=str(folder),
                expected="a complete series with even distances",
                remedy="Look for a missing slice",
            )
    return (heights[-1] - heights[0]) / (len(heights) - 1)


def _number(item: Any, name: str, default: float) -> float:
    value = item.get(name)
    return default if value is None else float(value)


def _stack(sets: list[Any], files: list[Path]) -> NDArray[Any]:
    slopes = [(_number(s, "RescaleSlope", 1.0), _number(s, "RescaleIntercept", 0.0)) for s in sets]
    whole = all(slope == 1 and intercept.is_integer() for slope, intercept in slopes)
    array = np.empty((len(sets), int(sets[0].Rows), int(sets[0].Columns)), np.int32 if whole else np.float32)
    for i, (item, file, (slope, intercept)) in enumerate(zip(sets, files, slopes, strict=True)):
        try:
            pixels = item.pixel_array
        except Exception as error:  # a missing decoder or damaged data, by many exception types
            raise DataError(
                f"its pixels cannot be decoded: {error}",
                where=str(file),
                remedy="For compressed transfer syntaxes install pylibjpeg with its plugins",
            ) from error
        array[i] = pixels if slope == 1 else pixels.astype(np.float32) * np.float32(slope)
        array[i] += np.asarray(intercept, array.dtype)
    return array
