"""Images whose values lie in another file: a plain one beside the header is read and counts, nothing else is opened."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nrrd
import numpy as np
import pytest
import tifffile

import mtbench
from mtbench.errors import DataError
from mtbench.formats import Volume, read, read_segmentation, write_like
from mtbench.formats.content import recorded_digests
from mtbench.formats.detached import with_data_files

HEADER = "NRRD0004\ntype: uint8\ndimension: 3\nsizes: 4 3 2\nencoding: raw\n"
VALUES = np.arange(24, dtype=np.uint8)
SECRET = b"MY-PRIVATE-KEY-MY-PRIVATE-KEY"


@pytest.fixture
def here(tmp_path: Path) -> Path:
    """A folder with a data file, beside one with a private file."""
    (tmp_path / "here/below").mkdir(parents=True)
    (tmp_path / "private").write_bytes(SECRET)
    for name in ("here/a.raw", "here/below/a.raw"):
        (tmp_path / name).write_bytes(VALUES.tobytes())
    return tmp_path / "here"


@pytest.fixture
def opened() -> Iterator[list[str]]:
    """The files that are opened, whoever opens them."""
    paths: list[str] = []
    listening = True

    def hook(event: str, args: tuple[Any, ...]) -> None:
        if listening and event == "open":
            paths.append(str(args[0]))

    sys.addaudithook(hook)
    yield paths
    listening = False


def header(folder: Path, line: str, name: str = "x.nrrd") -> Path:
    path = folder / name
    path.write_bytes(f"{HEADER}{line}\n\n".encode())
    return path


@pytest.mark.parametrize(
    "line", ["data file: a.raw", "data file: ./a.raw", "datafile:   a.raw  ", "data file:=a.raw", "data file: a.raw\r"]
)
def test_a_data_file_beside_the_header_is_read(here: Path, line: str) -> None:
    path = header(here, line)
    np.testing.assert_array_equal(read(path).array.reshape(-1), VALUES)
    assert with_data_files([path]) == [path, here / "a.raw"]
    with recorded_digests() as digests:
        read(path)
    assert set(digests) == {str(path), str(here / "a.raw")}


@pytest.mark.parametrize(
    ("encoding", "skip"),
    [
        *(("raw", ""), ("gzip", ""), ("ascii", "")),
        *(("raw", "line skip: 1\nbyte skip: 2\n"), ("raw", "byte skip: -1\n")),
    ],
)
def test_it_reads_as_the_library_reads_it(here: Path, encoding: str, skip: str) -> None:
    nrrd.write(str(here / "x.nhdr"), VALUES.reshape(4, 3, 2), {"encoding": encoding}, detached_header=True)
    path = here / "x.nhdr"
    (data,) = set(here.glob("x.*")) - {path}
    if skip:
        data.write_bytes(b"line\n??" + data.read_bytes())
        path.write_text(path.read_text().replace("encoding: raw\n", f"encoding: raw\n{skip}"))
    wanted, _ = nrrd.read(str(path))
    path.rename(here / "x.nrrd")
    np.testing.assert_array_equal(read(here / "x.nrrd").array, wanted.T)


@pytest.mark.parametrize(
    "line",
    [
        *(
            "data file: ../private",
            "data file: ./../private",
            "data file: below/a.raw",
            "data file: .",
            "data file: ..",
        ),
        *("data file: /etc/passwd", "data file: LIST", "data file: LIST 2\na.raw\na.raw", "data file: a%d.raw 1 2 1"),
        *(
            "data file: link",
            "data file: pipe",
            "data file: absent",
            "data file: below",
            "data file:",
            "data file: x\0y",
        ),
        *("data file: a.raw\ndatafile: ../private", "datafile: ../private", "data file:=../private"),
        *("data file: ../private\r", "# data file: a.raw\ndata file: ../private", "data file : ../private"),
    ],
)
def test_nothing_else_is_opened(here: Path, line: str, opened: list[str]) -> None:
    (here / "link").symlink_to("../private")
    os.mkfifo(here / "pipe")
    path = header(here, "byte skip: -1\n" + line)
    opened.clear()
    with pytest.raises(DataError, match=re.escape(str(path))) as caught:
        read(path)
    with pytest.raises(DataError, match=re.escape(str(path))):
        read_segmentation(path)
    assert with_data_files([path]) in ([path], [path, here / "a.raw"])
    read_files = {name for name in opened if name.startswith((str(here.parent), "/etc"))}
    assert read_files == {str(path)}
    if "\ndatafile" not in line:
        assert "Convert it to a single .nrrd file" in str(caught.value)


def test_a_header_that_never_ends_names_nothing_unseen(here: Path, opened: list[str]) -> None:
    path = here / "x.nrrd"
    filler = "".join(f"# {'x' * 1000}\n" for _ in range(1100))
    path.write_bytes(f"{HEADER}{filler}data file: ../private\n\n".encode() + VALUES.tobytes())
    with pytest.raises(DataError):
        read(path)
    assert str(here.parent / "private") not in opened


def test_other_values_are_another_folder_of_images(tmp_path: Path) -> None:
    """``mtbench score`` keeps what it has read, by content."""
    values = np.random.default_rng(0).integers(0, 100, (2, 8, 8)).astype(np.uint8)
    text = "NRRD0004\ntype: uint8\ndimension: 3\nsizes: 8 8 2\nencoding: raw\ndata file: c.raw\n\n"
    for side in ("ours", "truth"):
        (tmp_path / side).mkdir()
        (tmp_path / side / "c.nrrd").write_text(text)
        (tmp_path / side / "c.raw").write_bytes(values.tobytes())

    def mae() -> float:
        rows = mtbench.score(tmp_path / "ours", tmp_path / "truth", metrics=["mae"], paired=True, device="cpu")
        return float(rows[0]["value"])

    assert mae() == 0
    (tmp_path / "ours/c.raw").write_bytes((values + 100).tobytes())
    assert mae() == pytest.approx(100)


def test_a_data_set_is_prepared_again_where_its_values_changed(tmp_path: Path, run_cli: Any, store: Path) -> None:
    for side in "ab":
        for number in range(2):
            folder = tmp_path / "raw" / side
            folder.mkdir(parents=True, exist_ok=True)
            (folder / f"p{number}.nrrd").write_text(
                f"NRRD0004\ntype: uint8\ndimension: 3\nsizes: 8 8 2\nencoding: raw\ndata file: p{number}.raw\n\n"
            )
            values = np.random.default_rng(number).integers(0, 255, 128).astype(np.uint8)
            (folder / f"p{number}.raw").write_bytes(values.tobytes())
    (tmp_path / "s.toml").write_text(
        '[[datasets]]\nname="d"\nplugin="folder"\nroot="raw"\n[datasets.params]\nsize=8\nresize="none"\n'
        'source={images="a/*.nrrd",normalise="none"}\ntarget={images="b/*.nrrd",normalise="none"}\n'
    )
    assert "d: prepared" in run_cli("data", "prepare", "s.toml").out
    assert "already prepared" in run_cli("data", "prepare", "s.toml").out
    raw = tmp_path / "raw/a/p0.raw"
    raw.write_bytes(bytes(reversed(raw.read_bytes())))
    assert "d: prepared" in run_cli("data", "prepare", "s.toml").out
    kept = [np.load(path) for path in store.glob("artefacts/prepare/*/*/images-source.npy")]
    assert len(kept) == 2
    assert not np.array_equal(*kept)


def test_what_is_written_like_it_holds_its_values(here: Path) -> None:
    path = header(here, "data file: a.raw")
    volume = read(path)
    write_like(Volume(volume.array[::-1], volume.file), here / "out.nrrd")
    assert b"data file" not in (here / "out.nrrd").read_bytes()
    (here / "a.raw").unlink()
    np.testing.assert_array_equal(read(here / "out.nrrd").array, volume.array[::-1])


def test_an_ome_tiff_of_several_files_is_refused(tmp_path: Path, opened: list[str]) -> None:
    xml = (
        '<OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06" UUID="urn:uuid:1"><Image ID="Image:0"><Pixels '
        'ID="Pixels:0" DimensionOrder="XYZCT" Type="uint8" SizeX="4" SizeY="3" SizeZ="2" SizeC="1" SizeT="1">'
        '<TiffData IFD="0" FirstZ="0" PlaneCount="1"><UUID FileName="x.ome.tif">urn:uuid:1</UUID></TiffData>'
        '<TiffData IFD="0" FirstZ="1" PlaneCount="1"><UUID FileName="y.ome.tif">urn:uuid:2</UUID></TiffData>'
        "</Pixels></Image></OME>"
    )
    for name in ("x", "y"):
        tifffile.imwrite(
            tmp_path / f"{name}.ome.tif",
            np.ones((3, 4), np.uint8),
            description=xml,
            metadata=None,
            photometric="minisblack",
        )
    opened.clear()
    with pytest.raises(DataError, match="in other files"):
        read(tmp_path / "x.ome.tif")
    assert str(tmp_path / "y.ome.tif") not in opened
