"""Damaged image files, read one after the other; a program of its own, so that memory and time can be watched.

    python tests/fuzz_readers.py FOLDER FIRST COUNT

makes COUNT files from the seeds FIRST, FIRST + 1, ... and prints a line of JSON for each that ended in another
exception than mtbench's own, or took too long; then the peak of memory, in bytes.
"""

from __future__ import annotations

import json
import random
import re
import resource
import sys
import time
import traceback
import warnings
from collections.abc import Callable
from pathlib import Path

import nibabel
import nrrd
import numpy as np
import tifffile
from PIL import Image
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import CTImageStorage, DeflatedExplicitVRLittleEndian, ExplicitVRLittleEndian

from mtbench.errors import MtbenchError
from mtbench.formats import read, read_mask, read_segmentation

SLOW = 10.0
_EXTREMES = (0, 1, -1, 127, 255, 2**15, 2**16 - 1, 2**31 - 1, 2**32 - 1, 2**63 - 1)
_NUMBERS = (b"0", b"-1", b"1", b"65536", b"2147483647", b"99999999999", b"1e30", b"nan", b"-inf", b"")


def samples(folder: Path) -> dict[str, bytes]:
    """Whole files by the name that a damaged one will have."""
    folder.mkdir(parents=True)
    stack = (np.arange(6 * 24 * 20).reshape(6, 24, 20) % 251).astype(np.uint8)
    grey = Image.fromarray(stack[0])
    grey.save(folder / "grey.png")
    Image.fromarray(stack[0].astype(np.uint16) * 200).save(folder / "sixteen.png")
    grey.convert("RGBA").save(folder / "rgba.png")
    grey.convert("P").save(folder / "palette.png")
    Image.fromarray(stack[0] > 99).save(folder / "one.png")
    grey.save(folder / "lzw.tif", compression="tiff_lzw")
    grey.convert("RGB").save(folder / "jpeg.tif", compression="jpeg")
    Image.fromarray(stack[0] > 99).save(folder / "fax.tif", compression="group4")
    tifffile.imwrite(folder / "stack.tif", stack, photometric="minisblack")
    tifffile.imwrite(folder / "deflate.tif", stack.astype(np.uint16), compression="zlib", photometric="minisblack")
    tifffile.imwrite(folder / "tiles.tif", stack[0], tile=(16, 16), compression="zlib", predictor=True)
    np.save(folder / "a.npy", stack)
    np.savez_compressed(folder / "a.npz", image=stack)
    for name in ("a.nii", "a.nii.gz"):
        nibabel.save(nibabel.Nifti1Image(stack.astype(np.int16), np.diag([1, 1, 3, 1])), folder / name)
    nibabel.save(nibabel.Nifti2Image(stack, np.eye(4)), folder / "two.nii")
    header = {"space": "left-posterior-superior", "space directions": np.eye(3), "space origin": [0, 0, 0]}
    for encoding in ("raw", "gzip", "bzip2", "ascii"):
        nrrd.write(str(folder / f"{encoding}.nrrd"), stack, {**header, "encoding": encoding})
    names = {"Segment0_Name": "bone", "Segment0_LabelValue": "1", "Segment0_Layer": "0"}
    nrrd.write(str(folder / "a.seg.nrrd"), stack % 2, {**header, **names})
    _write_metaimages(folder, stack)
    for name, syntax in (("a.dcm", ExplicitVRLittleEndian), ("deflated.dcm", DeflatedExplicitVRLittleEndian)):
        _write_dicom(folder / name, stack[0].astype(np.uint16), syntax)
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def _write_metaimages(folder: Path, stack: np.ndarray) -> None:
    import zlib

    bodies = {
        "raw": ("", stack.tobytes()),
        "packed": ("CompressedData = True\n", zlib.compress(stack.tobytes())),
        "text": ("BinaryData = False\n", b" ".join(str(v).encode() for v in stack.ravel())),
    }
    for name, (more, body) in bodies.items():
        text = f"ObjectType = Image\nNDims = 3\n{more}Offset = 1 2 3\nElementSpacing = 1 1 3\nDimSize = 20 24 6\n"
        text += "TransformMatrix = 1 0 0 0 1 0 0 0 1\nElementType = MET_UCHAR\nElementDataFile = LOCAL\n"
        (folder / f"{name}.mha").write_bytes(text.encode() + body)


def _write_dicom(path: Path, pixels: np.ndarray, syntax: str) -> None:
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = CTImageStorage, "1.2.3.4"
    meta.TransferSyntaxUID = syntax
    item = FileDataset(str(path), {}, file_meta=meta, preamble=bytes(128))
    item.SOPClassUID, item.SOPInstanceUID, item.SeriesInstanceUID, item.Modality = (
        CTImageStorage,
        "1.2.3.4",
        "1.2",
        "CT",
    )
    item.Rows, item.Columns, item.SamplesPerPixel, item.PhotometricInterpretation = *pixels.shape, 1, "MONOCHROME2"
    item.BitsAllocated, item.BitsStored, item.HighBit, item.PixelRepresentation = 16, 16, 15, 0
    item.ImagePositionPatient, item.ImageOrientationPatient = [0, 0, 0], [1, 0, 0, 0, 1, 0]
    item.PixelSpacing, item.SliceThickness, item.RescaleSlope, item.RescaleIntercept = [1, 1], 3, 2, -1024
    item.PixelData = pixels.tobytes()
    item.save_as(path, enforce_file_format=True)


def damaged(data: bytes, chance: random.Random, others: list[bytes]) -> bytes:
    """The file with one to three things wrong with it."""
    for _ in range(chance.randint(1, 3)):
        data = chance.choice(_DAMAGES)(data, chance)
    if chance.random() < 0.03:
        data = data[: chance.randrange(len(data) + 1)] + chance.choice(others)[chance.randrange(200) :]
    return data


def _flip(data: bytes, chance: random.Random) -> bytes:
    changed = bytearray(data)
    end = min(len(changed), chance.choice((64, 400, 2000, 10**9)))
    for _ in range(chance.randint(1, 8) if end else 0):
        changed[chance.randrange(end)] ^= 1 << chance.randrange(8)
    return bytes(changed)


def _cut(data: bytes, chance: random.Random) -> bytes:
    return data[: chance.randrange(len(data) + 1)]


def _field(data: bytes, chance: random.Random) -> bytes:
    """A number of the header becomes one that no file should have."""
    size = chance.choice((1, 2, 4, 8))
    at = chance.randrange(max(1, min(len(data), 600)))
    value = chance.choice(_EXTREMES) % 2 ** (8 * size)
    return data[:at] + value.to_bytes(size, chance.choice(("little", "big"))) + data[at + size :]


def _insert(data: bytes, chance: random.Random) -> bytes:
    at = chance.randrange(len(data) + 1)
    return data[:at] + chance.randbytes(chance.randint(1, 40)) + data[at:]


def _text(data: bytes, chance: random.Random) -> bytes:
    """A number that is written out becomes another."""
    numbers = list(re.finditer(rb"\d+", data[:1000]))
    if not numbers:
        return _field(data, chance)
    chosen = chance.choice(numbers)
    return data[: chosen.start()] + chance.choice(_NUMBERS) + data[chosen.end() :]


_DAMAGES: tuple[Callable[[bytes, random.Random], bytes], ...] = (_flip, _flip, _cut, _field, _field, _insert, _text)


def complaint(path: Path) -> str | None:
    """What is wrong with how the file was read; ``None`` where nothing is."""
    readers = [read, read_mask, *([read_segmentation] if path.name.endswith(".seg.nrrd") else [])]
    for reader in readers:
        begin = time.monotonic()
        try:
            reader(path)
        except MtbenchError as error:
            if path.name not in str(error):
                return f"the message does not name the file: {error}"
        except BaseException:
            return traceback.format_exc()
        if time.monotonic() - begin > SLOW:
            return f"it took {time.monotonic() - begin:.0f} s"
    return None


def peak() -> int:
    """Bytes of memory that this process has held at most; not what its parent held when it started it."""
    status = Path("/proc/self/status")
    if status.is_file():
        match = re.search(r"VmHWM:\s+(\d+) kB", status.read_text())
        assert match
        return int(match[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # in bytes on a Mac


def main(folder: Path, first: int, count: int) -> None:
    warnings.simplefilter("ignore")
    resource.setrlimit(resource.RLIMIT_AS, (4 << 30, 4 << 30))
    whole = samples(folder / "whole")
    names = list(whole)
    for seed in range(first, first + count):
        chance = random.Random(seed)
        name = names[seed % len(names)]
        content = damaged(whole[name], chance, list(whole.values()))
        path = folder / f"{seed}" / name
        path.parent.mkdir()
        path.write_bytes(content)
        problem = complaint(path.parent if name.endswith(".dcm") else path)
        if problem is None:
            path.unlink()
        else:
            print(json.dumps({"seed": seed, "file": str(path), "problem": problem}), flush=True)
    print(json.dumps({"peak": peak(), "read": count}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
