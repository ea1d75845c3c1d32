"""Image files as people have them: bit depths, units, channels, names that lie, DICOM from old scanners.

The right values come from the library of each format, or were computed by hand.
"""

from __future__ import annotations

import gzip
import struct
import zlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import nibabel
import nrrd
import numpy as np
import pydicom
import pytest
import tifffile
from PIL import Image
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.pixels import apply_modality_lut
from pydicom.uid import CTImageStorage, ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from mtbench.errors import DataError
from mtbench.formats import Volume, read, read_mask, write_like

GREY8 = (np.add.outer(np.arange(12), np.arange(16)) * 37 % 251).astype(np.uint8)
GREY16 = (np.add.outer(np.arange(12), np.arange(16)) * 2111 % 65521).astype(np.uint16)
WHITE = GREY8 > 120


ADAM7 = ((0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1))
"""First row and column, and their steps, of the passes: https://www.w3.org/TR/png-3/#8InterlaceMethods."""


def png(path: Path, array: np.ndarray, kind: int, filters: str = "01234", *, interlaced: bool = False) -> None:
    """A PNG of 16 bits, its rows filtered in turn as ``filters`` says; kind 2 RGB, 4 grey and alpha, 6 RGBA."""
    parts = [array[y::down, x::across] for y, x, down, across in ADAM7] if interlaced else [array]
    write_png(path, array.shape, 16, kind, b"".join(png_rows(part, filters) for part in parts if part.size), interlaced)


def png_rows(array: np.ndarray, filters: str) -> bytes:
    height, width, channels = array.shape
    size, rows, above = 2 * channels, [], bytes(2 * channels * width)
    for y, row in enumerate(array.astype(">u2").reshape(height, -1)):
        plain = row.tobytes()
        kind_of_row = int(filters[y % len(filters)])
        coded = bytearray([kind_of_row])
        for i, value in enumerate(plain):
            left, up = plain[i - size] if i >= size else 0, above[i]
            corner = above[i - size] if i >= size else 0
            nearest = min((left, up, corner), key=lambda v: abs(left + up - corner - v))
            coded.append((value - (0, left, up, (left + up) // 2, nearest)[kind_of_row]) % 256)
        rows.append(bytes(coded))
        above = plain
    return b"".join(rows)


def write_png(path: Path, shape: tuple[int, ...], depth: int, kind: int, rows: bytes, interlaced: bool = False) -> None:
    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", shape[1], shape[0], depth, kind, 0, 0, interlaced))
    data = chunk(b"IDAT", zlib.compress(rows))
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + head + data + chunk(b"IEND", b""))


class TestBitDepths:
    @pytest.mark.parametrize("name", ["a.png", "a.tif", "fax.tif"])
    def test_one_bit_is_black_and_white_and_of_a_mask_0_and_1(self, tmp_path: Path, name: str) -> None:
        more = {"compression": "group4"} if name == "fax.tif" else {}
        Image.fromarray(WHITE).save(tmp_path / name, **more)
        np.testing.assert_array_equal(read(tmp_path / name).array, WHITE * 255)
        np.testing.assert_array_equal(read_mask(tmp_path / name).array, WHITE)

    def test_truth_values_of_an_array(self, tmp_path: Path) -> None:
        np.save(tmp_path / "a.npy", WHITE)
        assert read(tmp_path / "a.npy").array.dtype == np.uint8
        np.testing.assert_array_equal(read(tmp_path / "a.npy").array, WHITE * 255)
        np.testing.assert_array_equal(read_mask(tmp_path / "a.npy").array, WHITE)

    def test_four_bits_are_spread_over_eight(self, tmp_path: Path) -> None:
        values = GREY8 % 16
        packed = (values[:, ::2] << 4 | values[:, 1::2]).astype(np.uint8)
        tags = {256: 16, 257: 12, 258: 4, 259: 1, 262: 1, 273: 0, 277: 1, 278: 12, 279: packed.size}
        tags[273] = 8 + 2 + 12 * len(tags) + 4
        entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags.items())
        content = b"II*\0" + struct.pack("<IH", 8, len(tags)) + entries + bytes(4) + packed.tobytes()
        (tmp_path / "a.tif").write_bytes(content)
        np.testing.assert_array_equal(read(tmp_path / "a.tif").array, values * 17)
        np.testing.assert_array_equal(read(tmp_path / "a.tif").array, np.asarray(Image.open(tmp_path / "a.tif")))
        np.testing.assert_array_equal(read_mask(tmp_path / "a.tif").array, values)

    @pytest.mark.parametrize(("kind", "channels"), [(2, 3), (4, 2), (6, 4)])
    @pytest.mark.parametrize("filters", ["0", "1", "2", "3", "4", "43210"])
    def test_sixteen_bits_of_colour_keep_their_lower_byte(
        self, tmp_path: Path, kind: int, channels: int, filters: str
    ) -> None:
        array = np.repeat(GREY16[..., None], channels, 2)
        if kind != 2:
            array[..., -1] = 65535
        png(tmp_path / "a.png", array, kind, filters)
        # That the file is right: Pillow reads its upper bytes.
        with Image.open(tmp_path / "a.png") as image:
            np.testing.assert_array_equal(np.asarray(image)[..., 0], GREY16 >> 8)
        found = read(tmp_path / "a.png").array
        assert found.dtype == np.uint16
        np.testing.assert_array_equal(found, GREY16)

    @pytest.mark.parametrize("size", [(12, 16), (1, 1), (2, 3), (9, 5)])
    def test_sixteen_bits_of_colour_interlaced(self, tmp_path: Path, size: tuple[int, int]) -> None:
        grey = GREY16[: size[0], : size[1]]
        png(tmp_path / "a.png", np.repeat(grey[..., None], 3, 2), 2, interlaced=True)
        with Image.open(tmp_path / "a.png") as image:
            np.testing.assert_array_equal(np.asarray(image)[..., 0], grey >> 8)
        np.testing.assert_array_equal(read(tmp_path / "a.png").array, grey)

    @pytest.mark.parametrize("bits", [2, 4])
    def test_labels_of_few_bits_stay_as_they_are(self, tmp_path: Path, bits: int) -> None:
        labels = GREY8 % 2**bits
        packed = [np.packbits(np.unpackbits(row[:, None], axis=1)[:, -bits:]).tobytes() for row in labels]
        write_png(tmp_path / "a.png", labels.shape, bits, 0, b"".join(b"\0" + row for row in packed))
        np.testing.assert_array_equal(read_mask(tmp_path / "a.png").array, labels)
        with Image.open(tmp_path / "a.png") as image:
            np.testing.assert_array_equal(read(tmp_path / "a.png").array, np.asarray(image))

    def test_sixteen_bits_of_colour_that_differ_are_refused(self, tmp_path: Path) -> None:
        png(tmp_path / "a.png", np.stack([GREY16, GREY16, GREY16 ^ 1], 2), 2)
        with pytest.raises(DataError, match=r"a\.png.*colour"):
            read(tmp_path / "a.png")


class TestNrrd:
    def test_equal_channels_are_one_and_are_written_as_one(self, tmp_path: Path) -> None:
        volume = np.arange(4 * 5 * 6, dtype=np.uint8).reshape(4, 5, 6)
        header = {
            "space": "right-anterior-superior",
            "space directions": [[np.nan] * 3, [2, 0, 0], [0, 3, 0], [0, 0, 4]],
            "kinds": ["RGB-color", "domain", "domain", "domain"],
        }
        path = tmp_path / "a.nrrd"
        nrrd.write(str(path), np.stack([volume] * 3), header)
        found = read(path)
        np.testing.assert_array_equal(found.array, volume)
        write_like(replace(found, array=found.array + 1), tmp_path / "out.nrrd")
        written, fields = nrrd.read(str(tmp_path / "out.nrrd"))
        np.testing.assert_array_equal(written, volume + 1)
        np.testing.assert_array_equal(fields["space directions"], np.diag([2.0, 3.0, 4.0]))
        assert fields["kinds"] == ["domain"] * 3

    @pytest.mark.parametrize(
        ("kind", "reason"),
        [("RGB-color", "in colour"), ("vector", "3 values per voxel"), ("list", "3 values per voxel")],
    )
    def test_several_values_at_a_place_are_no_slices(self, tmp_path: Path, kind: str, reason: str) -> None:
        nrrd.write(
            str(tmp_path / "a.nrrd"), np.stack([GREY8, GREY8 // 2, GREY8]), {"kinds": [kind, "domain", "domain"]}
        )
        with pytest.raises(DataError, match=reason):
            read(tmp_path / "a.nrrd")

    def test_an_image_of_two_dimensions_and_axes_of_length_one(self, tmp_path: Path) -> None:
        header = {"space dimension": 2, "space directions": np.eye(2), "space origin": [0, 0]}
        nrrd.write(str(tmp_path / "a.nrrd"), GREY8, {**header, "kinds": ["domain", "domain"]})
        np.testing.assert_array_equal(read(tmp_path / "a.nrrd").array, GREY8.T)
        stack = np.stack([GREY8, GREY8[::-1]], axis=-1)
        for array, kinds in ((stack[None], ["list", *["domain"] * 3]), (stack[..., None], [*["domain"] * 3, "time"])):
            nrrd.write(str(tmp_path / "a.nrrd"), array, {"kinds": kinds})
            np.testing.assert_array_equal(read(tmp_path / "a.nrrd").array, stack.T)


@pytest.mark.parametrize("kind", ["miniswhite", "separated"])
def test_other_kinds_of_tiff_are_named_with_what_to_do(tmp_path: Path, kind: str) -> None:
    array = np.repeat(GREY8[..., None], 4, 2) if kind == "separated" else GREY8
    tifffile.imwrite(tmp_path / "a.tif", array, photometric=kind)
    with pytest.raises(DataError, match=rf"kind {kind.upper()}.*Convert it to greyscale"):
        read(tmp_path / "a.tif")


def test_spoilt_fields_of_headers_are_named(tmp_path: Path) -> None:
    header = "NDims = 3\nDimSize = 2 2 2\nElementType = MET_UCHAR\nElementSpacing = 1 1\nElementDataFile = LOCAL\n"
    (tmp_path / "a.mha").write_bytes(header.encode() + bytes(8))
    with pytest.raises(DataError, match=r"ElementSpacing is '1 1'. Expected 3 numbers"):
        read(tmp_path / "a.mha")
    colour = np.zeros((2, 2, 2), [("R", "u1"), ("G", "u1"), ("B", "u1")])
    nibabel.save(nibabel.Nifti1Image(colour, np.eye(4)), tmp_path / "a.nii")
    with pytest.raises(DataError, match="it is in colour: its values are of R, G, B"):
        read(tmp_path / "a.nii")
    # Only the unit of time is none.
    image = nibabel.Nifti1Image(np.zeros((2, 2, 2), np.uint8), np.diag([1000, 1000, 1000, 1]))
    image.header["xyzt_units"] = 3 + (7 << 3)
    nibabel.save(image, tmp_path / "a.nii")
    affine = read(tmp_path / "a.nii").file_affine
    assert affine is not None
    np.testing.assert_allclose(affine, np.eye(4))


class TestTiff:
    @pytest.mark.parametrize("dtype", ["u1", "u2", "i2", "i4", "f4"])
    def test_lzw(self, tmp_path: Path, dtype: str) -> None:
        array = (GREY16 // 300).astype(dtype)
        if dtype in ("u1", "u2", "i4", "f4"):
            Image.fromarray(array).save(tmp_path / "a.tif", compression="tiff_lzw")
        else:
            array = array - 50
            lzw(tmp_path / "a.tif", array)
        found = read(tmp_path / "a.tif").array
        assert found.dtype == np.dtype(dtype)
        np.testing.assert_array_equal(found, array)

    def test_lzw_with_predictor_strips_and_sixteen_bits_of_colour(self, tmp_path: Path) -> None:
        colour = np.repeat(GREY16[..., None], 3, 2)
        lzw(tmp_path / "a.tif", colour, rows=5, predictor=True)
        np.testing.assert_array_equal(read(tmp_path / "a.tif").array, GREY16)

    def test_lzw_stack(self, tmp_path: Path) -> None:
        images = [Image.fromarray(GREY8), Image.fromarray(GREY8[::-1].copy())]
        images[0].save(tmp_path / "a.tif", compression="tiff_lzw", save_all=True, append_images=images[1:])
        np.testing.assert_array_equal(read(tmp_path / "a.tif").array, [GREY8, GREY8[::-1]])

    @pytest.mark.parametrize("orientation", range(1, 9))
    @pytest.mark.parametrize("compression", [None, "tiff_lzw"])
    def test_upright_as_pillow_turns_it(self, tmp_path: Path, orientation: int, compression: str | None) -> None:
        path = tmp_path / "a.tif"
        Image.fromarray(GREY8).save(path, compression=compression, tiffinfo={274: orientation})
        # Pillow turns what libtiff decodes; an uncompressed image of orientation 5 to 8 it leaves as it is.
        Image.fromarray(GREY8).save(tmp_path / "b.tif", compression="tiff_lzw", tiffinfo={274: orientation})
        with Image.open(tmp_path / "b.tif") as image:
            image.load()
            expected = np.asarray(image)
        assert (expected.shape == GREY8.shape) == (orientation < 5)
        np.testing.assert_array_equal(read(path).array, expected)


def lzw(path: Path, array: np.ndarray, rows: int | None = None, *, predictor: bool = False) -> None:
    """A TIFF compressed by LZW; its encoder never lets the table grow: the decoder has to be the library's."""
    height, width = array.shape[:2]
    samples, rows = array[0, 0].size, rows or height
    values = array.reshape(height, width, samples)
    if predictor:
        values = np.concatenate([values[:, :1], values[:, 1:] - values[:, :-1]], 1)
    strips = [
        _codes(values[y : y + rows].astype(array.dtype.newbyteorder("<")).tobytes()) for y in range(0, height, rows)
    ]
    form = {"u": 1, "i": 2, "f": 3}[array.dtype.kind]
    tags: dict[int, list[int]] = {
        256: [width], 257: [height], 258: [8 * array.itemsize] * samples, 259: [5], 262: [2 if samples == 3 else 1],
        273: [0] * len(strips), 277: [samples], 278: [rows], 279: [len(s) for s in strips],
        317: [2 if predictor else 1], 339: [form] * samples,
    }  # fmt: skip
    at = 8 + 2 + 12 * len(tags) + 4
    behind = b""
    start = at + sum(4 * len(v) for v in tags.values() if len(v) > 1)
    tags[273] = [start + sum(len(s) for s in strips[:i]) for i in range(len(strips))]
    entries = b""
    for tag, numbers in tags.items():
        if len(numbers) == 1:
            entries += struct.pack("<HHII", tag, 4, 1, numbers[0])
        else:
            entries += struct.pack("<HHII", tag, 4, len(numbers), at + len(behind))
            behind += struct.pack(f"<{len(numbers)}I", *numbers)
    path.write_bytes(b"II*\0" + struct.pack("<IH", 8, len(tags)) + entries + bytes(4) + behind + b"".join(strips))


def _codes(data: bytes) -> bytes:
    """Each byte as a code of 9 bits, the table cleared before it could need 10."""
    codes = []
    for i, value in enumerate(data):
        if i % 200 == 0:
            codes.append(256)
        codes.append(value)
    bits = "".join(f"{code:09b}" for code in [*codes, 257])
    bits += "0" * (-len(bits) % 8)
    return int(bits, 2).to_bytes(len(bits) // 8, "big")


class TestArrays:
    @pytest.mark.parametrize("ending", [".npy", ".npz"])
    def test_channels_of_images_and_stacks(self, tmp_path: Path, ending: str) -> None:
        stack = np.stack([GREY8, GREY8[::-1], GREY8[:, ::-1], GREY8 // 2, GREY8 // 3])
        opaque = np.full((*GREY8.shape, 1), 255, np.uint8)
        cases: dict[str, tuple[np.ndarray, np.ndarray]] = {
            "hw1": (GREY8[..., None], GREY8),
            "hw3": (np.stack([GREY8] * 3, 2), GREY8),
            "hw4": (np.concatenate([np.stack([GREY8] * 3, 2), opaque], 2), GREY8),
            "3hw": (np.stack([GREY8] * 3), GREY8),
            "nhw": (stack, stack),
            "nhw1": (stack[..., None], stack),
            "nhw3": (np.stack([stack] * 3, 3), stack),
            "n1hw": (stack[:, None], stack),
            "n3hw": (np.stack([stack] * 3, 1), stack),
            "three slices": (stack[:3], stack[:3]),
        }
        for name, (array, expected) in cases.items():
            path = tmp_path / f"{name}{ending}"
            np.save(path, array) if ending == ".npy" else np.savez(path, image=array)
            np.testing.assert_array_equal(read(path).array, expected, err_msg=name)

    def test_colour_is_refused_and_a_last_axis_of_slices_is_explained(self, tmp_path: Path) -> None:
        np.save(tmp_path / "a.npy", np.stack([GREY8, GREY8 // 2, GREY8], 2))
        with pytest.raises(DataError, match=r"a\.npy.*colour.*slices, make it the first"):
            read(tmp_path / "a.npy")

    def test_what_was_h_w_1_is_written_so(self, tmp_path: Path) -> None:
        np.save(tmp_path / "a.npy", GREY8[..., None])
        write_like(read(tmp_path / "a.npy"), tmp_path / "b.npy")
        np.testing.assert_array_equal(np.load(tmp_path / "b.npy"), GREY8[..., None])


VOXELS = (np.arange(5 * 6 * 7).reshape(5, 6, 7) % 120).astype(np.int16)


class TestUnits:
    @pytest.mark.parametrize(("unit", "factor"), [("mm", 1.0), ("micron", 1000.0), ("meter", 0.001), ("unknown", 1.0)])
    def test_nifti(self, tmp_path: Path, unit: str, factor: float) -> None:
        image = nibabel.Nifti1Image(VOXELS, np.diag([factor, 2 * factor, 3 * factor, 1]))
        image.header.set_xyzt_units(unit)
        nibabel.save(image, tmp_path / "a.nii.gz")
        volume = read(tmp_path / "a.nii.gz")
        assert volume.in_plane("axial") == (pytest.approx((2, 1)), pytest.approx(3))
        # The header of what is written is that of the file.
        write_like(volume, tmp_path / "b.nii.gz")
        written: Any = nibabel.load(tmp_path / "b.nii.gz")
        np.testing.assert_allclose(written.affine, image.affine, rtol=1e-6)
        assert written.header.get_xyzt_units()[0] == unit

    @pytest.mark.parametrize(("unit", "factor"), [("mm", 1.0), ("um", 1e-3), ("cm", 10.0), ("m", 1e3)])
    def test_nrrd_and_metaimage(self, tmp_path: Path, unit: str, factor: float) -> None:
        header = {"space": "left-posterior-superior", "space directions": np.eye(3), "space origin": [4, 5, 6]}
        nrrd.write(str(tmp_path / "a.nrrd"), VOXELS, {**header, "space units": [unit] * 3})
        metaimage(tmp_path / "a.mha", VOXELS, DistanceUnits=unit, Offset="4 5 6")
        for name in ("a.nrrd", "a.mha"):
            affine = read(tmp_path / name).affine
            assert affine is not None
            np.testing.assert_allclose(np.abs(np.diag(affine)), [factor, factor, factor, 1], err_msg=name)

    def test_voxels_of_a_microscope_have_an_orientation(self, tmp_path: Path) -> None:
        nibabel.save(nibabel.Nifti1Image(VOXELS, np.diag([5e-4, 5e-4, 5e-4, 1])), tmp_path / "a.nii")
        assert read(tmp_path / "a.nii").in_plane("axial")[1] == pytest.approx(5e-4)


def metaimage(path: Path, array: np.ndarray, body: bytes | None = None, **more: str) -> None:
    size = " ".join(map(str, array.shape))
    kind = {"i2": "MET_SHORT", "u1": "MET_UCHAR", "f4": "MET_FLOAT", "i4": "MET_LONG"}[array.dtype.str[1:]]
    fields = {"ObjectType": "Image", "NDims": str(array.ndim), **more, "DimSize": size, "ElementType": kind}
    text = "".join(f"{name} = {value}\n" for name, value in (fields | {"ElementDataFile": "LOCAL"}).items())
    path.write_bytes(text.encode() + (array.tobytes(order="F") if body is None else body))


class TestMetaImage:
    @pytest.mark.parametrize("dtype", ["i2", "u1", "f4"])
    @pytest.mark.parametrize("separator", [" ", "\n"])
    def test_values_as_text(self, tmp_path: Path, dtype: str, separator: str) -> None:
        array = (VOXELS - (60 if dtype != "u1" else 0)).astype(dtype) / (4 if dtype == "f4" else 1)
        array = array.astype(dtype)
        text = separator.join(str(v) for v in array.ravel(order="F").tolist()) + "\n"
        metaimage(tmp_path / "a.mha", array, text.encode(), BinaryData="False")
        metaimage(tmp_path / "b.mha", array)
        np.testing.assert_array_equal(read(tmp_path / "a.mha").array, read(tmp_path / "b.mha").array)
        assert read(tmp_path / "a.mha").array.dtype == np.dtype(dtype)

    def test_text_with_too_few_or_impossible_values(self, tmp_path: Path) -> None:
        for name, text in (("few", "1 2 3"), ("word", "1 two " * 105), ("large", "70000 " * 210)):
            metaimage(tmp_path / f"{name}.mha", VOXELS, text.encode(), BinaryData="False")
            with pytest.raises(DataError, match=name):
                read(tmp_path / f"{name}.mha")

    def test_one_slice_four_byte_longs_and_a_header_of_unknown_size(self, tmp_path: Path) -> None:
        flat = VOXELS[..., 0]
        metaimage(tmp_path / "flat.mha", flat, ElementSpacing="2 3")
        volume = read(tmp_path / "flat.mha")
        assert volume.file_shape == (5, 6, 1)
        assert volume.in_plane("axial")[0] == pytest.approx((3, 2))
        metaimage(tmp_path / "long.mha", VOXELS.astype("i4"))
        metaimage(tmp_path / "skip.mha", VOXELS, b"junk" + VOXELS.tobytes(order="F"), HeaderSize="-1")
        metaimage(tmp_path / "plain.mha", VOXELS)
        for name in ("long", "skip"):
            expected = read(tmp_path / "plain.mha").array
            np.testing.assert_array_equal(read(tmp_path / f"{name}.mha").array, expected, err_msg=name)


class TestNifti:
    @pytest.mark.parametrize(("name", "packed"), [("packed.nii", True), ("plain.nii.gz", False)])
    def test_names_that_disagree_with_the_compression(self, tmp_path: Path, name: str, packed: bool) -> None:
        content = nibabel.Nifti1Image(VOXELS, np.eye(4)).to_bytes()
        (tmp_path / name).write_bytes(gzip.compress(content) if packed else content)
        volume = read(tmp_path / name)
        np.testing.assert_array_equal(volume.array, VOXELS)
        write_like(volume, tmp_path / "out" / name)
        written: Any = nibabel.load(tmp_path / "out" / name)
        np.testing.assert_array_equal(np.asarray(written.dataobj), VOXELS)

    def test_several_gzip_streams_in_one_file(self, tmp_path: Path) -> None:
        content = nibabel.Nifti1Image(VOXELS, np.eye(4)).to_bytes()
        parts = [gzip.compress(content[i : i + 200]) for i in range(0, len(content), 200)]
        (tmp_path / "a.nii.gz").write_bytes(b"".join(parts))
        np.testing.assert_array_equal(read(tmp_path / "a.nii.gz").array, VOXELS)

    @pytest.mark.parametrize("stored", [np.uint8, np.int16])
    @pytest.mark.parametrize("highest", [3, 7, 19])
    def test_label_maps_that_were_stored_with_a_slope(self, tmp_path: Path, stored: type, highest: int) -> None:
        labels = VOXELS % (highest + 1)
        image = nibabel.Nifti1Image(labels.astype(np.float64), np.eye(4))
        image.set_data_dtype(stored)
        nibabel.save(image, tmp_path / "a.nii.gz")
        reread: Any = nibabel.load(tmp_path / "a.nii.gz")
        assert reread.dataobj.slope != 1
        found = read_mask(tmp_path / "a.nii.gz").array
        assert found.dtype.kind == "i"
        np.testing.assert_array_equal(found, labels)

    def test_probabilities_are_no_labels(self, tmp_path: Path) -> None:
        image = nibabel.Nifti1Image(VOXELS / 120, np.eye(4))
        image.set_data_dtype(np.uint8)
        nibabel.save(image, tmp_path / "a.nii.gz")
        with pytest.raises(DataError, match="not integers"):
            read_mask(tmp_path / "a.nii.gz")


def item(number: int, pixels: np.ndarray, syntax: Any = ExplicitVRLittleEndian, **more: Any) -> Dataset:
    """A CT slice at 3 mm times its number, slices from below."""
    result = Dataset()
    result.file_meta = FileMetaDataset()
    result.file_meta.TransferSyntaxUID = syntax
    result.file_meta.MediaStorageSOPClassUID = result.SOPClassUID = CTImageStorage
    result.file_meta.MediaStorageSOPInstanceUID = result.SOPInstanceUID = f"1.2.3.{number + 1}"
    result.SeriesInstanceUID, result.Modality = "1.2.3", "CT"
    result.Rows, result.Columns, result.SamplesPerPixel = *pixels.shape[-2:], 1
    result.PhotometricInterpretation = "MONOCHROME2"
    result.BitsAllocated = result.BitsStored = pixels.dtype.itemsize * 8
    result.HighBit = result.BitsStored - 1
    result.PixelRepresentation = int(pixels.dtype.kind == "i")
    result.ImagePositionPatient, result.ImageOrientationPatient = [0, 0, 3.0 * number], [1, 0, 0, 0, 1, 0]
    result.PixelSpacing, result.SliceThickness, result.RescaleSlope, result.RescaleIntercept = [1, 1], 3, "1", "0"
    result.PixelData = pixels.tobytes()
    for name, value in more.items():
        setattr(result, name, value)
    return result


def series(folder: Path, items: list[Dataset], ending: str = ".dcm") -> Path:
    folder.mkdir(parents=True)
    for number, each in enumerate(items):
        each.save_as(folder / f"{number:03d}{ending}", enforce_file_format=True)
    return folder


def back(volume: Volume) -> np.ndarray:
    """Slices x rows x columns, as they are in the files."""
    return np.transpose(volume.array[::-1, ::-1, :], (2, 1, 0))


STORED = np.random.default_rng(0).integers(0, 3000, (4, 8, 10)).astype(np.uint16)


class TestDicom:
    @pytest.mark.parametrize("implicit", [True, False])
    @pytest.mark.parametrize("ending", ["", ".dcm"])
    def test_without_preamble(self, tmp_path: Path, implicit: bool, ending: str) -> None:
        syntax = ImplicitVRLittleEndian if implicit else ExplicitVRLittleEndian
        folder = series(tmp_path / "s", [item(i, STORED[i], syntax) for i in range(4)], ending)
        for path in sorted(folder.iterdir())[2:]:
            plain = Dataset()
            plain.update({element.tag: element for element in pydicom.dcmread(path)})
            plain.save_as(path, implicit_vr=implicit, little_endian=True, enforce_file_format=False)
            assert path.read_bytes()[128:132] != b"DICM"
        (folder / "notes").write_text("what somebody wrote beside them\n" * 20)
        np.testing.assert_array_equal(back(read(folder)), STORED)

    def test_big_endian_in_and_out(self, tmp_path: Path) -> None:
        items = [item(i, STORED[i].astype(">u2"), ExplicitVRBigEndian) for i in range(4)]
        folder = series(tmp_path / "s", items)
        volume = read(folder)
        np.testing.assert_array_equal(back(volume), STORED)
        write_like(volume, tmp_path / "out")
        np.testing.assert_array_equal(back(read(tmp_path / "out")), STORED)

    @pytest.mark.parametrize("signed", [False, True])
    def test_values_above_the_lowest_bit(self, tmp_path: Path, signed: bool) -> None:
        """As old files have them: the high bit is 15, 12 are used, and the four below hold something else."""
        values = STORED.astype(np.int32) - (2048 if signed else 0)
        items = []
        for i in range(4):
            each = item(i, ((values[i] << 4) | 5).astype(np.uint16))
            each.BitsStored, each.HighBit, each.PixelRepresentation = 12, 15, int(signed)
            items.append(each)
        np.testing.assert_array_equal(back(read(series(tmp_path / "s", items))), values)

    def test_a_slope_of_0_is_refused_and_a_gap_is_named(self, tmp_path: Path) -> None:
        items = [item(i, STORED[i]) for i in range(3)]
        items[2].ImagePositionPatient = [*items[2].ImagePositionPatient[:2], 100]
        with pytest.raises(DataError, match=r"001?\S* and \S+ are [\d.]+ mm apart, the others"):
            read(series(tmp_path / "gap", items))
        items[0].RescaleSlope = 0
        with pytest.raises(DataError, match="RescaleSlope is 0"):
            read(series(tmp_path / "flat", items))

    @pytest.mark.parametrize("dtype", [np.uint32, np.int32])
    def test_32_bits(self, tmp_path: Path, dtype: type) -> None:
        stored = STORED.astype(dtype) * 70_000 + np.iinfo(dtype).min
        stored[0, 0, :2] = np.iinfo(dtype).min, np.iinfo(dtype).max
        folder = series(tmp_path / "s", [item(i, stored[i]) for i in range(4)])
        found = back(read(folder))
        np.testing.assert_array_equal(found, stored)
        assert found.dtype.kind == "i"

    def test_modality_table(self, tmp_path: Path) -> None:
        table = Dataset()
        table.LUTDescriptor, table.ModalityLUTType = [4096, 0, 16], "US"
        table.LUTData = (np.arange(4096) ** 2 // 300).astype(np.uint16).tobytes()
        items = []
        for i in range(4):
            each = item(i, STORED[i])
            del each.RescaleSlope, each.RescaleIntercept
            each.ModalityLUTSequence = [table]
            items.append(each)
        folder = series(tmp_path / "s", items)
        expected = [
            apply_modality_lut(pydicom.dcmread(p).pixel_array, pydicom.dcmread(p)) for p in sorted(folder.iterdir())
        ]
        assert np.max(expected) > 2**14
        np.testing.assert_array_equal(back(read(folder)), expected)

    @pytest.mark.parametrize(
        ("low", "high"), [(0, 65535), (-32768, 32767), (-40000, 20000), (0, 100), (-5_000_000, 4_000_000)]
    )
    def test_integers_are_written_exactly(self, tmp_path: Path, low: int, high: int) -> None:
        folder = series(tmp_path / "s", [item(i, STORED[i]) for i in range(4)])
        volume = read(folder)
        values = np.random.default_rng(1).integers(low, high + 1, volume.array.shape, dtype=np.int32)
        values[0, 0, 0], values[-1, -1, -1] = low, high
        changed = replace(volume, array=values)
        write_like(changed, tmp_path / "out")
        found = [
            apply_modality_lut(pydicom.dcmread(p).pixel_array, pydicom.dcmread(p))
            for p in sorted((tmp_path / "out").iterdir())
        ]
        np.testing.assert_array_equal(found, back(changed))

    def test_bytes_of_two_frames_and_too_few_are_refused_by_name(self, tmp_path: Path) -> None:
        twice = [item(i, STORED[i], PixelData=STORED[i].tobytes() * 2) for i in range(4)]
        with pytest.raises(DataError, match=r"000\.dcm.*as much as 2 images"):
            read(series(tmp_path / "twice", twice))
        huge = [item(i, STORED[i], Rows=60000, Columns=65535) for i in range(4)]
        with pytest.raises(DataError, match=r"000\.dcm.*MTBENCH_MAX_IMAGE"):
            read(series(tmp_path / "huge", huge))
        few = [item(i, STORED[i], Rows=800) for i in range(4)]
        with pytest.raises(DataError, match=r"000\.dcm.*truncated"):
            read(series(tmp_path / "few", few))

    def test_enhanced_multi_frame_is_called_so(self, tmp_path: Path) -> None:
        enhanced = item(0, STORED, NumberOfFrames=4, SOPClassUID="1.2.840.10008.5.1.4.1.1.2.1")
        enhanced.SharedFunctionalGroupsSequence = [Dataset()]
        enhanced.PerFrameFunctionalGroupsSequence = [Dataset()] * 4
        del enhanced.ImagePositionPatient, enhanced.ImageOrientationPatient, enhanced.PixelSpacing
        with pytest.raises(DataError, match=r"enhanced multi-frame.*dcm2niix"):
            read(series(tmp_path / "s", [enhanced]))

    def test_a_file_that_is_no_dicom_at_all(self, tmp_path: Path) -> None:
        (tmp_path / "s").mkdir()
        (tmp_path / "s/a.dcm").write_text("this is a text file\n" * 20)
        with pytest.raises(DataError, match=r"a\.dcm.*(not a DICOM file|cannot be read)"):
            read(tmp_path / "s")


class TestImpostors:
    @pytest.mark.parametrize("name", ["a.png", "a.nii.gz", "a.npy", "a.mha", "a.tif", "a.nrrd"])
    def test_are_named(self, tmp_path: Path, name: str) -> None:
        pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:abc\nsize 123\n"
        for text, words in (
            (pointer, "git-LFS pointer.*git lfs pull"),
            ("\n<!DOCTYPE html><html>404</html>", "web page"),
        ):
            (tmp_path / name).write_text(text)
            with pytest.raises(DataError, match=words):
                read(tmp_path / name)


def test_sizes_of_the_library_and_ours_agree(tmp_path: Path) -> None:
    """A deflated stack of several strips is what tifffile says it is."""
    stack = np.random.default_rng(0).integers(0, 60000, (3, 40, 50)).astype(np.uint16)
    for compression in (None, "zlib"):
        tifffile.imwrite(tmp_path / "a.tif", stack, photometric="minisblack", compression=compression, rowsperstrip=7)
        np.testing.assert_array_equal(read(tmp_path / "a.tif").array, tifffile.imread(tmp_path / "a.tif"))
