"""DICOM series: one folder, one series, one volume."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.pixels import apply_modality_lut, pixel_array

from mtbench.errors import DataError, MtbenchError
from mtbench.formats.dicomfile import open_dicom
from mtbench.formats.limits import check_announced, check_size
from mtbench.formats.orientation import axis_codes
from mtbench.formats.volume import Volume

_LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
_REQUIRED = ("PixelData", "ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "Rows", "Columns")


@dataclass(frozen=True)
class DicomSlice:
    """The header fields of one file of a series; positions and directions in LPS, lengths in mm; ``table``: a modality
    LUT.
    """

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
    table: bool

    @property
    def whole(self) -> bool:
        """Whether its values are integers, whatever its pixels are."""
        return self.table or (self.slope == 1 and self.intercept.is_integer())


def read_series(folder: Path, files: list[Path]) -> Volume:
    """The slices of a series in modality units (rescale or modality LUT applied), sorted along their normal.

    Raises:
        DataError: a file that is not a usable image slice, two series in one folder, slices that differ in
            size, spacing or direction, a repeated slice, or a missing slice (uneven distances).
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
        DataError: as :func:`read_series`, except for distances.
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
        item = open_dicom(file)
        missing = [name for name in _REQUIRED if name not in item]
        kind = item.get("PhotometricInterpretation", "MONOCHROME2")
        several = int(item.get("NumberOfFrames") or 1) != 1 or "PerFrameFunctionalGroupsSequence" in item
        if not missing and kind == "MONOCHROME2" and not several:
            _check_pixels(item, file)
            return _parse(file, item)
    except MtbenchError:
        raise
    except Exception as error:  # pydicom and conversions raise many kinds for damaged files
        raise DataError(f"this DICOM file cannot be read: {error}", where=str(file)) from error
    if several:
        kind = (
            "enhanced" if "SharedFunctionalGroupsSequence" in item or "Enhanced" in item.SOPClassUID.name else "plain"
        )
        raise DataError(
            f"this is {'an' if kind == 'enhanced' else 'a'} {kind} multi-frame DICOM file, a whole volume in one file",
            where=str(file),
            expected="one file per slice",
            remedy="Convert it to NIfTI, for example with dcm2niix",
        )
    if missing:
        raise DataError(
            f"this DICOM file has no {', '.join(missing)}",
            where=str(file),
            expected="an image slice with position and spacing",
            remedy="Remove it from the series folder",
        )
    raise DataError(
        f"this DICOM image is of kind {kind}",
        where=str(file),
        expected="grey values (MONOCHROME2)",
        remedy="Convert it, or remove it from the folder",
    )


def _check_pixels(item: Any, file: Path) -> None:
    """Check the header's description of the pixels against the limits and against the file."""
    rows, columns, bits = int(item.Rows), int(item.Columns), int(item.BitsAllocated)
    samples = int(item.get("SamplesPerPixel") or 1)
    pixels = check_size((rows, columns), str(file), channels=samples)
    if samples != 1:
        raise DataError(f"it has {samples} values per pixel", where=str(file), expected="one: grey values")
    if item.file_meta.TransferSyntaxUID.is_compressed:
        return
    announced, available = -(-pixels * bits // 8), len(item.PixelData)
    check_announced(announced, available, str(file))
    if available >= 2 * announced > 1:
        raise DataError(
            f"it announces one image of {announced:,} bytes and holds {available:,}, as much as "
            f"{available // announced} images",
            where=str(file),
            expected="the pixels of one slice per file",
        )


def _parse(file: Path, item: Any) -> DicomSlice:
    def numbers(name: str, count: int) -> NDArray[np.float64]:
        values = np.array([float(v) for v in item[name].value])
        if values.shape != (count,) or not np.isfinite(values).all():
            raise ValueError(f"{name} is {item[name].value}")
        return values

    def number(name: str, default: float) -> float:
        value = item.get(name)
        result = default if value is None else float(value)
        if not np.isfinite(result):
            raise ValueError(f"{name} is {value}")
        return result

    if number("RescaleSlope", 1.0) == 0:
        raise ValueError("RescaleSlope is 0, which makes all its values equal")
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
        table=bool(item.get("ModalityLUTSequence")),
    )


def _step(images: list[DicomSlice], heights: list[float], folder: Path) -> float:
    """Distance of neighbouring slices in mm; one slice has its thickness."""
    if len(heights) == 1:
        return images[0].thickness
    gaps = np.diff(heights)
    usual = float(np.sort(gaps)[(len(gaps) - 1) // 2])  # a neighbour, also if there are only two slices
    for one, other, gap in zip(images, images[1:], gaps.tolist(), strict=False):
        pair = f"{one.file.name} and {other.file.name}"
        if gap < 1e-3:
            raise DataError(f"{pair} are at the same position", where=str(folder), expected="one slice per position")
        if abs(gap - usual) > 0.1 * usual:
            raise DataError(
                f"{pair} are {gap:.3g} mm apart, the others {usual:.3g} mm",
                where=str(folder),
                expected="a complete series with equal distances",
                remedy="Look for a missing slice",
            )
    return (heights[-1] - heights[0]) / (len(heights) - 1)


def _stack(images: list[DicomSlice]) -> NDArray[Any]:
    shape = (len(images), *images[0].size)
    check_size(shape, str(images[0].file.parent))
    whole = all(image.whole for image in images)
    # 16 bits are enough for nearly every MR and halve later reads and histograms.
    array: NDArray[Any] = np.empty(shape, np.int16 if whole else np.float32)
    for i, image in enumerate(images):
        values = _values(image)
        if whole:
            array = _wide_enough(array, int(values.min()), int(values.max()))
        array[i] = values
    return array


def _values(image: DicomSlice) -> NDArray[Any]:
    """The pixels of a slice in modality units: integers if all values are integers, else float64."""
    try:
        pixels = _pixels(image.item)
        if image.table:
            pixels = apply_modality_lut(pixels, image.item)
    except Exception as error:  # a missing decoder and damaged data raise many exception types
        raise DataError(
            f"its pixels cannot be decoded: {error}",
            where=str(image.file),
            remedy="For compressed transfer syntaxes install pylibjpeg with its plugins",
        ) from error
    if pixels.shape != image.size:
        raise DataError(
            f"its pixels are {' x '.join(map(str, pixels.shape))}",
            where=str(image.file),
            expected=f"{image.size[0]} x {image.size[1]}, as its header says",
        )
    if image.table or (image.slope == 1 and image.intercept == 0):
        return np.asarray(pixels)
    if image.whole:
        small = pixels.dtype.itemsize <= 2 and abs(image.intercept) < 2**30
        return np.asarray(np.add(pixels, int(image.intercept), dtype=np.int32 if small else np.int64))
    return np.asarray(pixels * image.slope + image.intercept, np.float64)


def _pixels(item: Any) -> NDArray[Any]:
    """The stored values; in old files they start above the lowest bit, and the library would read the lowest bits."""
    stored = int(item.BitsStored)
    below = int(item.get("HighBit") or stored - 1) + 1 - stored
    if below == 0 or item.file_meta.TransferSyntaxUID.is_compressed:
        return np.asarray(pixel_array(item))
    if below < 0:
        raise ValueError(f"HighBit is {item.HighBit}, BitsStored {stored}")
    item.BitsStored = stored + below
    try:
        return np.asarray(pixel_array(item) >> below)
    finally:
        item.BitsStored = stored


def _wide_enough(array: NDArray[Any], low: int, high: int) -> NDArray[Any]:
    """The array, with more bits if values from ``low`` to ``high`` need them."""
    for dtype in (np.int16, np.int32, np.int64):
        limits = np.iinfo(dtype)
        if limits.bits >= 8 * array.itemsize and limits.min <= low and high <= limits.max:
            return array.astype(dtype, copy=False)
    raise DataError(f"its values range from {low} to {high}", expected="integers of 64 bits")
