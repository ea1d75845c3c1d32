"""Small made copies of the layouts that data sets are handed out in, with their quirks.

Every body is a volume in RAS+ (right, anterior, superior) with a landmark that is on no axis of symmetry, so that any
flip, turn or swap of axes shows.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import nibabel
import nrrd
import numpy as np
import openpyxl
import pydicom
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import UID, ExplicitVRLittleEndian, MRImageStorage, generate_uid

from mtbench.data import Sample, Slice
from mtbench.errors import DataError

SHAPE = (16, 16, 6)
STEP = (1.5, 1.5, 3.0)
ORIGIN = np.array([-20.0, 35.0, 7.0])
"""RAS millimetres of voxel (0, 0, 0)."""
NAME, BIRTH = "Doe^Somebody", "19700102"
Volume = NDArray[Any]


def body(seed: int = 0, shape: tuple[int, int, int] = SHAPE) -> Volume:
    """A RAS+ volume of whole numbers 100..400 with a bright landmark right, posterior and inferior of the centre."""
    image = np.random.default_rng(seed).integers(100, 400, shape)
    image[shape[0] - 4 : shape[0] - 1, 1:4, 0:2] = 900
    return image


def breast_labels(shape: tuple[int, int, int] = SHAPE) -> dict[str, NDArray[np.bool_]]:
    """Where breast, dense tissue and vessels are in :func:`body`, off every axis of symmetry; the last two overlap."""
    masks = {name: np.zeros(shape, bool) for name in ("Breast", "Dense", "Vessels")}
    masks["Breast"][2:13, 7:15, 1:] = True
    masks["Dense"][9:12, 9:13, 2:4] = True
    masks["Vessels"][11:13, 12:14, 3:5] = True
    return masks


def axial(ras: Volume) -> Volume:
    """RAS+ as slices x rows x columns: inferior first, anterior at the top, the patient's right at the left."""
    return ras.transpose(2, 1, 0)[:, ::-1, ::-1]


def sagittal(ras: Volume) -> Volume:
    """RAS+ as slices x rows x columns: the patient's left first, superior at the top, anterior at the left."""
    return ras.transpose(0, 2, 1)[:, ::-1, ::-1]


def write_series(
    folder: Path,
    ras: Volume,
    *,
    prone: bool = False,
    descending: bool = False,
    maker: str = "SIEMENS",
    change: Callable[[int, Dataset], None] = lambda index, item: None,
    name: str = "1-{:03d}.dcm",
    step: tuple[float, float, float] = STEP,
) -> None:
    """An axial MR series, one file a slice, with personal tags as real files have them.

    Args:
        folder, ras: where, and what.
        prone: ImageOrientationPatient is -1, 0, 0, 0, -1, 0 (about half of the Duke patients; their published
            reader turns those by 180 degrees).
        descending: the first file is the uppermost slice (the same reader compares the first two positions).
        maker: of the scanner.
        change: may alter each file's data set before it is written.
        name: of the files, by position from 1.
        step: millimetres along R, A and S.
    """
    folder.mkdir(parents=True, exist_ok=True)
    series, study = generate_uid(), generate_uid()
    size = np.array(ras.shape)
    corner = np.array([0, 0, 0]) if prone else np.array([size[0] - 1, size[1] - 1, 0])
    order = range(size[2] - 1, -1, -1) if descending else range(size[2])
    for number, z in enumerate(order, start=1):
        pixels = ras[:, :, z].T if prone else ras[::-1, ::-1, z].T
        right, front, up = ORIGIN + (corner + np.array([0, 0, z])) * step
        item = Dataset()
        item.file_meta = FileMetaDataset()
        item.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        item.file_meta.MediaStorageSOPClassUID = item.SOPClassUID = MRImageStorage
        item.file_meta.MediaStorageSOPInstanceUID = item.SOPInstanceUID = generate_uid()
        item.SeriesInstanceUID, item.StudyInstanceUID = series, study
        item.PatientName, item.PatientBirthDate, item.PatientID = NAME, BIRTH, "MRN-4711"
        item.Modality, item.Manufacturer, item.ManufacturerModelName = "MR", maker, "Model"
        item.ImagePositionPatient = [-float(right), -float(front), float(up)]
        item.ImageOrientationPatient = [-1, 0, 0, 0, -1, 0] if prone else [1, 0, 0, 0, 1, 0]
        item.PixelSpacing, item.SliceThickness = [step[1], step[0]], step[2]
        item.Rows, item.Columns = pixels.shape
        item.SamplesPerPixel, item.PhotometricInterpretation = 1, "MONOCHROME2"
        item.BitsAllocated, item.BitsStored, item.HighBit, item.PixelRepresentation = 16, 12, 11, 0
        item.PixelData = np.ascontiguousarray(pixels, np.uint16).tobytes()
        change(number - 1, item)
        pydicom.dcmwrite(folder / name.format(number), item, enforce_file_format=True)


def write_segments(
    path: Path,
    segments: Mapping[str, NDArray[np.bool_]],
    *,
    prone: bool = False,
    layers: bool = False,
    values: Sequence[int] = (),
    space: bool = True,
    header: Mapping[str, Any] | None = None,
) -> None:
    """A ``.seg.nrrd`` as 3D Slicer writes it for a series of :func:`write_series`.

    Voxel (i, j, k) is column i, row j and slice k from inferior to superior, which is what the published reader of
    these masks amounts to in all its four cases. Later segments hide earlier ones where they share a layer.

    Args:
        path, segments: where, and what, RAS+ by name in the order of the header.
        prone: as the series.
        layers: each segment in a layer of its own, along a first axis (how Slicer keeps overlaps).
        values: label values; 1, 2, ... by default, all 1 in layers.
        space: whether the header says how the volume lies.
        header: goes over what is written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    values = values or ([1] * len(segments) if layers else list(range(1, len(segments) + 1)))
    parts = [
        (mask if prone else mask[::-1, ::-1]) * np.uint8(value)
        for mask, value in zip(segments.values(), values, strict=True)
    ]
    shape = np.array(parts[0].shape)
    array = np.stack(parts) if layers else np.zeros(shape, np.uint8)
    for part in () if layers else parts:
        array[part > 0] = part[part > 0]
    right, front, up = ORIGIN + (np.zeros(3) if prone else np.array([shape[0] - 1, shape[1] - 1, 0])) * STEP
    sign = -1.0 if prone else 1.0
    fields: dict[str, Any] = {"encoding": "gzip"}
    if space:
        across = [[sign * STEP[0], 0, 0], [0, sign * STEP[1], 0], [0, 0, STEP[2]]]
        fields["space"] = "left-posterior-superior"
        fields["space directions"] = np.array([[np.nan] * 3, *across] if layers else across)
        fields["space origin"] = np.array([-right, -front, up])
        fields["kinds"] = ["list", "domain", "domain", "domain"] if layers else ["domain"] * 3
    for number, (name, value) in enumerate(zip(segments, values, strict=True)):
        fields[f"Segment{number}_Name"] = name
        fields[f"Segment{number}_LabelValue"] = str(value)
        fields[f"Segment{number}_Layer"] = str(number if layers else 0)
    nrrd.write(str(path), array, {**fields, **(header or {})})


def write_clinical(
    path: Path, makers: Mapping[str, Any], *, above: int = 0, manufacturer: str = "Manufacturer"
) -> None:
    """Clinical_and_Other_Features.xlsx: three header rows, names with blanks around them, codes for scanners.

    The three rows and the stray blanks are described on TCIA's page of the collection and in the code that reads it.
    ``above`` puts empty rows over them.
    """
    book = openpyxl.Workbook()
    sheet = book.active
    assert sheet is not None
    for _ in range(above):
        sheet.append([" "])
    sheet.append(["Patient Information", "MRI Technical Information", None, None])
    sheet.append(["Patient ID", "Days to MRI (From the Date of Diagnosis)", f" {manufacturer}\n", "Slice Thickness "])
    sheet.append([None, None, "GE MEDICAL SYSTEMS=0, MPTronic software=1, SIEMENS=2", None])
    for patient, code in makers.items():
        sheet.append([patient, 6, code, 1.1])
    book.save(path)


def write_mapping(path: Path, series: Mapping[str, str]) -> None:
    """The mapping spreadsheet: a row for each file; ``series`` gives each patient's pre-contrast folder.

    Doubled slashes in the descriptive paths, and other series' rows between, are in the real one (the published
    reader mends the first and passes over the second).
    """
    book = openpyxl.Workbook()
    sheet = book.active
    assert sheet is not None
    sheet.append(["original_path_and_filename", "sop_instance_UID", "classic_path", "descriptive_path"])
    for patient, folder in series.items():
        for kind, where in (("post_1", "9.000000-ax dyn 1st pass-11111"), ("pre", folder)):
            for number in (1, 2):
                sheet.append(
                    [
                        f"DICOM_Images/{patient}/{kind}/{patient}_{kind}_{number:03d}.dcm",
                        f"1.2.{number}",
                        f"Duke-Breast-Cancer-MRI/{patient}/1.3.6/1.4.{number}/{number:05d}.dcm",
                        f"Duke-Breast-Cancer-MRI/{patient}/01-01-1990-MRI BREAST//{where}/1-{number:03d}.dcm",
                    ]
                )
    book.save(path)


PRE = "6.000000-Ph1ax 3d dyn-12345"
GE, SIEMENS = 0, 2
DUKE = {f"Breast_MRI_{number}": GE for number in ("006", "018", "002", "004")} | {
    f"Breast_MRI_{number}": SIEMENS for number in ("021", "023", "003", "005")
}
"""Two published training patients and two others of each vendor."""


def write_duke(root: Path, patients: Mapping[str, int] = DUKE) -> None:
    """Duke-Breast-Cancer-MRI below a manifest folder, with masks and both spreadsheets."""
    images, masks = root / "manifest-1/Duke-Breast-Cancer-MRI", root / "Segmentation_Masks_NRRD"
    for number, (patient, code) in enumerate(patients.items()):
        prone = bool(number % 2)
        maker = "GE MEDICAL SYSTEMS" if code == GE else "SIEMENS"
        study = images / patient / "01-01-1990-MRI BREAST-98765"
        write_series(study / PRE, body(number), prone=prone, descending=number % 3 == 0, maker=maker)
        write_series(study / "9.000000-ax dyn 1st pass-11111", body(number + 100), prone=prone, maker=maker)
        write_masks(masks, patient, prone=prone, layers=number % 4 == 3)
    write_clinical(root / "Clinical_and_Other_Features.xlsx", patients)
    write_mapping(root / "Breast-Cancer-MRI-filepath_filename-mapping.xlsx", dict.fromkeys(patients, PRE))


def write_masks(masks: Path, patient: str, **how: Any) -> None:
    """Both mask files of a patient; ``how`` goes to that of dense tissue and vessels."""
    labels = breast_labels()
    shared = {key: how[key] for key in ("prone", "space") if key in how}
    write_segments(masks / patient / f"Segmentation_{patient}_Breast.seg.nrrd", {"Breast": labels["Breast"]}, **shared)
    tissue = {"Vessels": labels["Vessels"], "Dense": labels["Dense"]}
    write_segments(masks / patient / f"Segmentation_{patient}_Dense_and_Vessels.seg.nrrd", tissue, **how)


def write_nifti(
    path: Path,
    ras: Volume,
    axes: str = "RAS",
    *,
    offset: float = 0.0,
    step: tuple[float, float, float] = STEP,
    dtype: Any = np.int16,
) -> None:
    """A RAS+ volume as NIfTI whose axes point to ``axes``."""
    path.parent.mkdir(parents=True, exist_ok=True)
    affine = np.diag([*step, 1.0])
    affine[:3, 3] = ORIGIN + offset
    image = nibabel.Nifti1Image(np.asarray(ras, dtype), affine)
    wanted = nibabel.orientations.axcodes2ornt(tuple(axes))
    nibabel.save(image.as_reoriented(nibabel.orientations.ornt_transform(nibabel.io_orientation(affine), wanted)), path)


def bones(shape: tuple[int, int, int] = SHAPE) -> dict[str, NDArray[np.bool_]]:
    """L1..L5 and the sacrum in a RAS+ volume: one below the other, behind the centre, in some sagittal slices."""
    names = ["vertebrae_L1", "vertebrae_L2", "vertebrae_L3", "vertebrae_L4", "vertebrae_L5", "sacrum"]
    shapes = {}
    for place, name in enumerate(names):
        shapes[name] = np.zeros(shape, bool)
        shapes[name][3:9, 2:7, shape[2] - 1 - place] = True
    return shapes


def write_subject(
    folder: Path, seed: int, axes: str = "RAS", masks: Mapping[str, NDArray[np.bool_]] | None = None
) -> None:
    """A TotalSegmentator subject: ct.nii.gz in HU and one binary file for each class."""
    image = body(seed) - 500
    shapes = bones() if masks is None else masks
    write_nifti(folder / "ct.nii.gz", image, axes)
    for name in ("liver", *shapes):
        mask = shapes.get(name, np.zeros(image.shape, bool))
        write_nifti(folder / f"segmentations/{name}.nii.gz", mask, axes, dtype=np.uint8)


def write_meta(path: Path, splits: Mapping[str, str], *, comma: bool = False) -> None:
    """meta.csv: semicolons and a byte-order mark (as the repositories that read it say); v2's extra columns."""
    rows = ["image_id;age;gender;institute;study_type;split;manufacturer;scanner_model"]
    rows += [f"{subject};61;m;A;ct abdomen;{split};SIEMENS;Somatom" for subject, split in splits.items()]
    text = "\r\n".join(rows) + "\r\n"
    path.write_text(text.replace(";", ",") if comma else text, encoding="utf-8-sig", newline="")


SPLITS = {"s0001": "train", "s0004": "train", "s0007": "val", "s0011": "test"}


def write_lumbar(root: Path, subjects: Mapping[str, str] = SPLITS, patients: int = 4) -> None:
    """MR volumes with masks in mr/, TotalSegmentator in ct/; axes differ from file to file."""
    for number in range(patients):
        axes = ("RAS", "PIR", "LPS", "ASL")[number % 4]
        write_nifti(root / f"mr/images/p{number}.nii.gz", body(50 + number), axes)
        mask = sum(bones().values()) > 0
        write_nifti(root / f"mr/masks/p{number}.nii.gz", mask, axes, dtype=np.uint8)
    for number, subject in enumerate(subjects):
        write_subject(root / "ct" / subject, number, ("RAS", "LAS")[number % 2])
    write_meta(root / "ct/meta.csv", subjects)


def write_mha(path: Path, ras: Volume, *, dtype: Any = np.int16) -> None:
    """A RAS+ volume as a deflated MetaImage with axes LPS, as ITK writes it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    last = ORIGIN + (np.array(ras.shape) - 1) * STEP
    values = np.asarray(ras, dtype)[::-1, ::-1].tobytes(order="F")
    packed = zlib.compress(values)
    kind = {"int16": "MET_SHORT", "uint8": "MET_UCHAR", "float32": "MET_FLOAT"}[np.dtype(dtype).name]
    header = (
        "ObjectType = Image\nNDims = 3\nBinaryData = True\nBinaryDataByteOrderMSB = False\nCompressedData = True\n"
        f"CompressedDataSize = {len(packed)}\nTransformMatrix = 1 0 0 0 1 0 0 0 1\n"
        f"Offset = {-last[0]} {-last[1]} {ORIGIN[2]}\nCenterOfRotation = 0 0 0\nAnatomicalOrientation = RAI\n"
        f"ElementSpacing = {' '.join(map(str, STEP))}\nDimSize = {' '.join(map(str, ras.shape))}\n"
        f"ElementType = {kind}\nElementDataFile = LOCAL\n"
    )
    path.write_bytes(header.encode() + packed)


def hounsfield(seed: int, shape: tuple[int, int, int] = SHAPE) -> Volume:
    """:func:`body` as a CT from -624 to 2576 HU."""
    return body(seed, shape) * 4 - 1024


def outline(shape: tuple[int, int, int] = SHAPE) -> NDArray[np.bool_]:
    """A body mask, off every axis of symmetry; the lowest slice is empty."""
    inside = np.zeros(shape, bool)
    inside[2:13, 3:14, 1:] = True
    return inside


def write_synthrad(
    folder: Path, names: Sequence[str], source: str = "mr", ending: str = ".nii.gz", *, truth: bool = True
) -> None:
    """Cases of a SynthRAD region: the source (its seed is the case's number), the CT (100 more) and the body mask."""
    for name in names:
        number = int(name[-3:])
        image = hounsfield(number) if source == "cbct" else body(number)
        volumes = {source: (image, np.int16), "mask": (outline(), np.uint8)}
        if truth:
            volumes["ct"] = hounsfield(100 + number), np.int16
        for kind, (volume, dtype) in volumes.items():
            path = folder / name / f"{kind}{ending}"
            if ending == ".mha":
                write_mha(path, volume, dtype=dtype)
            else:
                write_nifti(path, volume, ("LPS", "RAS")[number % 2], dtype=dtype)


JPEG_LS = UID("1.2.840.10008.1.2.4.80")
"""A compressed transfer syntax whose decoder is no dependency."""


def sample(name: str, index: int = 0, value: int = 7) -> Sample:
    """One small slice with a mask."""
    image = np.full((4, 5), value, np.uint8)
    record = Slice(f"{name}_{index}", name, name, index, spacing=(1.0, 2.0), window=(0.0, 9.5), geometry="{}")
    return Sample("source", image, record, image % 2)


def read_case(folder: str, name: str) -> list[Sample]:
    """A case as a worker process reads it; leaves a trace."""
    (Path(folder) / f"{name}-{os.getpid()}").touch()
    if name == "bad":
        raise DataError("it is damaged", where=name)
    if name == "gone":
        raise FileNotFoundError(2, "No such file", "gone.dcm")
    if name == "dies":
        os._exit(9)
    if name == "bug":
        raise ZeroDivisionError("a bug")
    return [] if name == "empty" else [sample(name, i, len(name) + i) for i in range(2)]
