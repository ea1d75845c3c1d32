"""Bombs and lying headers: refused by name, before memory is taken for what they claim."""

from __future__ import annotations

import gzip
import io
import struct
import subprocess
import sys
import zipfile
import zlib
from pathlib import Path

import nibabel
import numpy as np
import pytest
import tifffile
from PIL import Image

from mtbench.errors import DataError, RequestError
from mtbench.formats import read
from mtbench.formats.limits import IMAGE, VOLUME, inflate

MEGABYTES = 300
ZEROS = bytes(1_000_000)


def zeros(wbits: int) -> bytes:
    packer = zlib.compressobj(9, zlib.DEFLATED, wbits)
    return b"".join(packer.compress(ZEROS) for _ in range(MEGABYTES)) + packer.flush()


def peak_of_reading(path: Path) -> int:
    """Bytes that a process took at most that did nothing but read a file; some 65 MB are Python and the libraries."""
    code = (
        "import sys\nfrom fuzz_readers import peak\nfrom mtbench.errors import MtbenchError\n"
        "from mtbench.formats import read\ntry:\n    read(sys.argv[1])\nexcept MtbenchError:\n    pass\nprint(peak())"
    )
    command = [sys.executable, "-c", code, str(path)]
    done = subprocess.run(command, cwd=Path(__file__).parent, capture_output=True, text=True, check=True)
    return int(done.stdout)


@pytest.mark.parametrize("kind", ["mha", "nrrd", "nii.gz", "npz", "tif"])
def test_no_more_is_decompressed_than_announced(tmp_path: Path, kind: str) -> None:
    path = tmp_path / f"a.{kind}"
    if kind == "mha":
        text = "ObjectType = Image\nNDims = 3\nDimSize = 8 8 4\nElementType = MET_UCHAR\nCompressedData = True\n"
        path.write_bytes(text.encode() + b"ElementDataFile = LOCAL\n" + zeros(15))
    elif kind == "nrrd":
        path.write_bytes(b"NRRD0004\ntype: uint8\ndimension: 3\nsizes: 8 8 4\nencoding: gzip\n\n" + zeros(31))
    elif kind == "nii.gz":
        header = nibabel.Nifti1Image(np.zeros((8, 8, 4), np.uint8), np.eye(4)).to_bytes()
        path.write_bytes(gzip.compress(header) + zeros(31))
    elif kind == "npz":
        member = io.BytesIO()
        np.save(member, np.zeros((8, 8), np.uint8))
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("image.npy", member.getvalue() + ZEROS * MEGABYTES)
    else:
        packed = zeros(15)
        tags = {256: 8, 257: 8, 258: 8, 259: 8, 262: 1, 273: 8 + 2 + 12 * 9 + 4, 277: 1, 278: 8, 279: len(packed)}
        entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags.items())
        path.write_bytes(b"II*\0" + struct.pack("<IH", 8, len(tags)) + entries + bytes(4) + packed)
    assert path.stat().st_size < 3_000_000
    assert peak_of_reading(path) < 150_000_000


def test_an_archive_of_thousands_of_arrays_is_named_in_a_line(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        for number in range(3000):
            archive.writestr(f"{number}.npy", b"")
    with pytest.raises(DataError, match=r"holds 0, 1, 2, .*, 7, \.\.\. Expected one array") as refused:
        read(tmp_path / "a.npz")
    assert len(str(refused.value)) < 400


def test_claims_are_held_against_the_file(tmp_path: Path) -> None:
    """400 MB each, of files of a few bytes; none of it is taken."""
    np.save(tmp_path / "a.npy", np.zeros((2, 2), np.uint8))
    content = (tmp_path / "a.npy").read_bytes()
    (tmp_path / "a.npy").write_bytes(content.replace(b"(2, 2), }" + b" " * 12, b"(20000, 20000), }    "))
    text = "ObjectType = Image\nNDims = 3\nDimSize = 1000 1000 400\nElementType = MET_UCHAR\nElementDataFile = LOCAL\n"
    (tmp_path / "a.mha").write_bytes(text.encode() + bytes(256))
    (tmp_path / "a.nrrd").write_bytes(
        b"NRRD0004\ntype: uint8\ndimension: 3\nsizes: 1000 1000 400\nencoding: raw\n\n" + bytes(256)
    )
    image = nibabel.Nifti1Image(np.zeros((2, 2, 2), np.uint8), np.eye(4))
    raw = bytearray(image.to_bytes())
    raw[42:48] = np.array([1000, 1000, 400], "<i2").tobytes()
    (tmp_path / "a.nii").write_bytes(raw)
    for name in ("a.npy", "a.mha", "a.nrrd", "a.nii"):
        with pytest.raises(DataError, match=rf"{name[1:]}.*(truncated|MTBENCH_MAX_IMAGE)"):
            read(tmp_path / name)
        assert peak_of_reading(tmp_path / name) < 150_000_000


def test_a_png_of_13000_by_13000_needs_a_raised_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Image.new("L", (13_000, 13_000)).save(tmp_path / "a.png")
    with pytest.raises(DataError, match=r"a\.png: .* 13000 x 13000 .* at most 67,108,864.*MTBENCH_MAX_IMAGE"):
        read(tmp_path / "a.png")
    Image.new("L", (40, 30)).save(tmp_path / "b.png")
    monkeypatch.setenv(IMAGE, "1199")
    with pytest.raises(DataError, match="30 x 40 = 1,200"):
        read(tmp_path / "b.png")
    monkeypatch.setenv(IMAGE, "1200")
    assert read(tmp_path / "b.png").array.shape == (30, 40)
    monkeypatch.setenv(IMAGE, "many")
    with pytest.raises(RequestError, match="MTBENCH_MAX_IMAGE is 'many'"):
        read(tmp_path / "b.png")


def test_a_tiff_of_many_pages_is_refused_by_their_number(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tifffile.imwrite(tmp_path / "a.tif", np.zeros((40, 8, 8), np.uint8), photometric="minisblack")
    monkeypatch.setenv(VOLUME, str(39 * 2**13))
    with pytest.raises(DataError, match=r"40 images, each of which counts as 8,192 values.*MTBENCH_MAX_VOLUME"):
        read(tmp_path / "a.tif")
    monkeypatch.setenv(VOLUME, str(40 * 2**13))
    assert read(tmp_path / "a.tif").array.shape == (40, 8, 8)


def test_a_long_file_is_not_read_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with (tmp_path / "a.nii").open("wb") as file:
        file.truncate(2**40)
    with pytest.raises(DataError, match=r"a\.nii: it has 1,099,511,627,776 bytes"):
        read(tmp_path / "a.nii")


@pytest.mark.parametrize("kind", ["zlib", "deflate", "bzip2"])
def test_inflating_stops_where_it_is_told(kind: str) -> None:
    import bz2

    data = np.random.default_rng(0).integers(0, 9, 3_000_000, dtype=np.uint8).tobytes()
    packer = zlib.compressobj(6, zlib.DEFLATED, -15)
    packed = {
        "zlib": zlib.compress(data),
        "deflate": packer.compress(data) + packer.flush(),
        "bzip2": bz2.compress(data),
    }[kind]
    for size in (0, 1, 1000, len(data) - 1, len(data), len(data) + 50):
        assert inflate(packed, size, kind) == data[:size]
    with pytest.raises(OSError, match="damaged"):
        inflate(packed[:-40], len(data), kind)
    broken = bytearray(packed)
    broken[-3] ^= 255
    if kind == "zlib":
        with pytest.raises(OSError, match="damaged"):
            inflate(bytes(broken), len(data), kind)


def test_memory_that_is_not_there_is_named(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.zeros((900, 1000, 1000), np.uint8))
    code = (
        "import sys, resource\nfrom mtbench.formats import read\nfrom mtbench.errors import DataError\nimport numpy\n"
        "import os; os.environ['MTBENCH_MAX_VOLUME'] = str(2**30)\n"
        f"resource.setrlimit(resource.RLIMIT_AS, ({700 << 20}, {700 << 20}))\n"
        "try:\n    read(sys.argv[1])\nexcept DataError as error:\n    print(error)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path / "a.npy")], capture_output=True, text=True)
    assert "out of memory while reading" in done.stdout, done.stderr
