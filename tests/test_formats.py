"""Reading and writing images: grey rules, damaged files, orientation, and the way back into the volume."""

from __future__ import annotations

import itertools
import os
import re
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
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, MRImageStorage, generate_uid

from mtbench.data import Slice, encode
from mtbench.errors import DataError
from mtbench.formats import PLANES, Frame, Geometry, Volume, put_back, read, read_mask, write_nifti
from mtbench.formats.orientation import axis_codes

SHAPE = (7, 9, 5)
MM = {"R": 0.5, "L": 0.5, "A": 0.75, "P": 0.75, "S": 3.0, "I": 3.0}
ALL_AXES = [
    "".join(letters) for order in itertools.permutations(("RL", "AP", "SI")) for letters in itertools.product(*order)
]
REAL = os.environ.get("MTBENCH_TEST_DATA")
needs_data = pytest.mark.skipif(not REAL, reason="MTBENCH_TEST_DATA is not set")


def data() -> Path:
    return Path(str(REAL)) / "data"


def ramp(shape: tuple[int, ...], dtype: Any = np.uint8) -> np.ndarray:
    return (np.arange(np.prod(shape)).reshape(shape) % 251).astype(dtype)


def affine_of(axes: str) -> np.ndarray:
    """Index to RAS millimetres for array axes that point to ``axes``, written out by hand."""
    unit = {"R": (1, 0, 0), "L": (-1, 0, 0), "A": (0, 1, 0), "P": (0, -1, 0), "S": (0, 0, 1), "I": (0, 0, -1)}
    affine = np.eye(4)
    for column, letter in enumerate(axes):
        affine[:3, column] = np.array(unit[letter], float) * MM[letter]
    affine[:3, 3] = (-11.0, 5.0, 40.0)
    return affine


def blob(axes: str, dtype: Any = np.int16) -> tuple[np.ndarray, np.ndarray]:
    """A volume with one bright voxel at the patient's far right, anterior, superior corner; its array and affine."""
    sizes = dict(zip("RLAPSI", (SHAPE[0],) * 2 + (SHAPE[1],) * 2 + (SHAPE[2],) * 2, strict=True))
    array = ramp(tuple(sizes[a] for a in axes), dtype)
    array[tuple(-1 if letter in "RAS" else 0 for letter in axes)] = 1000
    return array, affine_of(axes)


class TestGrey:
    @pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
    def test_png_and_tiff_keep_their_values(self, tmp_path: Path, dtype: Any) -> None:
        image = ramp((6, 4), dtype) * (200 if dtype is np.uint16 else 1)
        Image.fromarray(image).save(tmp_path / "a.png")
        tifffile.imwrite(tmp_path / "a.tif", image)
        for name in ("a.png", "a.tif"):
            values = read(tmp_path / name).array
            assert values.dtype == dtype
            np.testing.assert_array_equal(values, image)

    @pytest.mark.parametrize("mode", ["RGB", "RGBA", "LA"])
    def test_equal_channels_are_grey(self, tmp_path: Path, mode: str) -> None:
        image = Image.fromarray(ramp((6, 4)))
        image.convert(mode).save(tmp_path / "a.png")
        np.testing.assert_array_equal(read(tmp_path / "a.png").array, np.asarray(image))

    def test_colour_is_refused(self, tmp_path: Path) -> None:
        colour = np.stack([ramp((6, 4)), ramp((6, 4)), ramp((6, 4)) // 2], axis=-1)
        Image.fromarray(colour).save(tmp_path / "a.png")
        tifffile.imwrite(tmp_path / "a.tif", colour, photometric="rgb")
        tifffile.imwrite(tmp_path / "b.tif", np.moveaxis(colour, -1, 0), photometric="rgb", planarconfig="separate")
        for name in ("a.png", "a.tif", "b.tif"):
            with pytest.raises(DataError, match=rf"{name}.*colour"):
                read(tmp_path / name)

    def test_varying_transparency_is_refused(self, tmp_path: Path) -> None:
        Image.fromarray(np.stack([ramp((6, 4))] * 4, axis=-1)).save(tmp_path / "a.png")
        with pytest.raises(DataError, match=r"a\.png.*transparent"):
            read(tmp_path / "a.png")

    def test_palette_is_colours_in_images_and_indices_in_masks(self, tmp_path: Path) -> None:
        indices = ramp((6, 4)) % 3
        image = Image.fromarray(indices, mode=None).convert("L")
        picture = Image.frombytes("P", image.size, image.tobytes())
        picture.putpalette([0, 0, 0, 100, 100, 100, 200, 200, 200])
        picture.save(tmp_path / "a.png")
        np.testing.assert_array_equal(read(tmp_path / "a.png").array, indices * 100)
        np.testing.assert_array_equal(read_mask(tmp_path / "a.png").array, indices)

    def test_inverted_and_palette_tiff_are_refused(self, tmp_path: Path) -> None:
        tifffile.imwrite(tmp_path / "white.tif", ramp((6, 4)), photometric="miniswhite")
        colours = np.zeros((3, 256), np.uint16)
        tifffile.imwrite(tmp_path / "palette.tif", ramp((6, 4)), photometric="palette", colormap=colours)
        for name in ("white", "palette"):
            with pytest.raises(DataError, match=rf"{name}\.tif"):
                read(tmp_path / f"{name}.tif")
        np.testing.assert_array_equal(read_mask(tmp_path / "palette.tif").array, ramp((6, 4)))

    def test_tiff_stack_npy_and_npz(self, tmp_path: Path) -> None:
        stack = ramp((3, 6, 4), np.uint16)
        tifffile.imwrite(tmp_path / "a.tiff", stack, photometric="minisblack")
        np.save(tmp_path / "a.npy", stack.astype(">u2"))
        np.savez(tmp_path / "one.npz", whatever=stack)
        np.savez(tmp_path / "two.npz", image=stack, mask=stack % 2)
        for name in ("a.tiff", "a.npy", "one.npz", "two.npz"):
            volume = read(tmp_path / name)
            assert volume.array.dtype.isnative
            np.testing.assert_array_equal(volume.slices(), stack)
        np.testing.assert_array_equal(read_mask(tmp_path / "two.npz").array, stack % 2)

    def test_a_stack_has_no_planes(self, tmp_path: Path) -> None:
        np.save(tmp_path / "a.npy", ramp((3, 6, 4)))
        with pytest.raises(DataError, match=r"a\.npy.*sagittal"):
            read(tmp_path / "a.npy").slices("sagittal")


class TestDamaged:
    @pytest.mark.parametrize("ending", [".png", ".tif", ".npy", ".npz", ".nii", ".nii.gz", ".nrrd", ".mha"])
    def test_empty_truncated_and_foreign_files_are_named(self, tmp_path: Path, ending: str) -> None:
        good = tmp_path / f"good{ending}"
        array = np.random.default_rng(0).integers(0, 255, (16, 17, 18)).astype(np.uint8)
        save(good, array)
        read(good)
        (tmp_path / f"empty{ending}").touch()
        (tmp_path / f"text{ending}").write_text("this is a text file, nothing else\n" * 40)
        for part in (0.01, 0.1, 0.5, 0.9):
            short = good.read_bytes()[: int(good.stat().st_size * part)]
            (tmp_path / f"short{part}{ending}").write_bytes(short)
        files = sorted(f for f in tmp_path.iterdir() if f != good)
        assert len(files) == 6
        for file in [*files, tmp_path / f"missing{ending}"]:
            with pytest.raises(DataError, match=re.escape(file.name)):
                read(file)

    @pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
    @pytest.mark.parametrize("ending", [".tif", ".npy", ".nii.gz", ".mha"])
    def test_values_that_are_not_finite(self, tmp_path: Path, ending: str, bad: float) -> None:
        array = np.ones((4, 5, 6), np.float32)
        array[1, 2, 3] = bad
        save(tmp_path / f"a{ending}", array)
        with pytest.raises(DataError, match="1 of its 120 values are NaN or infinite"):
            read(tmp_path / f"a{ending}")

    def test_pickles_are_not_opened(self, tmp_path: Path) -> None:
        np.save(tmp_path / "a.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
        with pytest.raises(DataError, match=r"a\.npy"):
            read(tmp_path / "a.npy")

    def test_other_shapes_types_and_endings(self, tmp_path: Path) -> None:
        np.save(tmp_path / "four.npy", np.zeros((2, 2, 2, 2)))
        np.save(tmp_path / "complex.npy", np.zeros((2, 2), np.complex64))
        np.savez(tmp_path / "many.npz", a=np.zeros((2, 2)), b=np.zeros((2, 2)))
        (tmp_path / "a.jpg").write_bytes(b"x")
        nibabel.save(nibabel.Nifti1Image(np.zeros((2, 2, 2, 3), np.uint8), np.eye(4)), tmp_path / "four.nii.gz")
        for name in ("four.npy", "complex.npy", "many.npz", "a.jpg", "four.nii.gz"):
            with pytest.raises(DataError, match=name.replace(".", r"\.")):
                read(tmp_path / name)

    def test_a_mask_is_whole_numbers(self, tmp_path: Path) -> None:
        np.save(tmp_path / "a.npy", np.array([[0.0, 1.0], [2.0, 1.0]]))
        np.save(tmp_path / "b.npy", np.array([[0.0, 0.5], [2.0, 1.0]]))
        assert read_mask(tmp_path / "a.npy").array.dtype == np.int32
        with pytest.raises(DataError, match=r"b\.npy.*integers"):
            read_mask(tmp_path / "b.npy")


def save(path: Path, array: np.ndarray, axes: str = "RAS") -> None:
    """Write ``array`` in the format of the ending, its axes pointing to ``axes`` where the format can say so."""
    affine = affine_of(axes)
    lps = np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine
    name = path.name
    if name.endswith(".png"):
        Image.fromarray(array[0]).save(path)
    elif name.endswith(".tif"):
        tifffile.imwrite(path, array, photometric="minisblack")
    elif name.endswith(".npy"):
        np.save(path, array)
    elif name.endswith(".npz"):
        np.savez(path, image=array)
    elif ".nii" in name:
        nibabel.save(nibabel.Nifti1Image(array, affine), path)
    elif name.endswith(".nrrd"):
        header = {
            "space": "left-posterior-superior",
            "space directions": lps[:3, :3].T,
            "space origin": lps[:3, 3],
        }
        nrrd.write(str(path), array, header)
    elif name.endswith(".mha"):
        spacing = np.linalg.norm(lps[:3, :3], axis=0)
        kind = {"u1": "MET_UCHAR", "i2": "MET_SHORT", "f4": "MET_FLOAT"}[array.dtype.str[1:]]
        lines = {
            "ObjectType": "Image",
            "NDims": "3",
            "BinaryData": "True",
            "BinaryDataByteOrderMSB": "False",
            "CompressedData": "False",
            "TransformMatrix": " ".join(str(v) for v in (lps[:3, :3] / spacing).T.ravel()),
            "Offset": " ".join(str(v) for v in lps[:3, 3]),
            "ElementSpacing": " ".join(str(v) for v in spacing),
            "DimSize": " ".join(str(n) for n in array.shape),
            "ElementType": kind,
            "ElementDataFile": "LOCAL",
        }
        text = "".join(f"{k} = {v}\n" for k, v in lines.items())
        path.write_bytes(text.encode() + array.tobytes(order="F"))


class TestOrientation:
    @pytest.mark.parametrize("axes", ALL_AXES)
    def test_the_landmark_survives_every_orientation(self, tmp_path: Path, axes: str) -> None:
        """Right, anterior, superior: left in axial and coronal, front (left) in sagittal, at the top in all."""
        array, affine = blob(axes)
        assert axis_codes(affine, "here") == axes
        save(tmp_path / "a.nii.gz", array, axes)
        volume = read(tmp_path / "a.nii.gz")
        assert volume.array.shape == SHAPE
        assert volume.file_shape == array.shape
        assert volume.array[-1, -1, -1] == 1000
        assert np.argwhere(volume.slices("axial") == 1000).tolist() == [[SHAPE[2] - 1, 0, 0]]
        assert np.argwhere(volume.slices("coronal") == 1000).tolist() == [[SHAPE[1] - 1, 0, 0]]
        assert np.argwhere(volume.slices("sagittal") == 1000).tolist() == [[SHAPE[0] - 1, 0, 0]]
        assert volume.in_plane("sagittal") == ((3.0, 0.75), 0.5)
        assert volume.in_plane("axial") == ((0.75, 0.5), 3.0)

    @pytest.mark.parametrize("axes", ["RAS", "LPS", "PIR", "SRA"])
    @pytest.mark.parametrize("ending", [".nrrd", ".mha"])
    def test_other_formats_lie_where_nifti_lies(self, tmp_path: Path, ending: str, axes: str) -> None:
        array, _ = blob(axes)
        save(tmp_path / "a.nii.gz", array, axes)
        save(tmp_path / f"a{ending}", array, axes)
        ours, theirs = read(tmp_path / f"a{ending}"), read(tmp_path / "a.nii.gz")
        np.testing.assert_array_equal(ours.array, theirs.array)
        assert ours.axes == axes
        np.testing.assert_allclose(np.asarray(ours.affine), np.asarray(theirs.affine), atol=1e-5)

    def test_oblique_axes_count_as_the_nearest(self, tmp_path: Path) -> None:
        angle = np.deg2rad(20)
        turn = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]])
        array, affine = blob("LIA")
        affine[:3, :3] = turn @ affine[:3, :3]
        nibabel.save(nibabel.Nifti1Image(array, affine), tmp_path / "a.nii")
        volume = read(tmp_path / "a.nii")
        assert volume.axes == "LIA"
        assert volume.array[-1, -1, -1] == 1000
        assert volume.in_plane("axial") == (pytest.approx((0.75, 0.5)), pytest.approx(3.0))

    def test_the_affine_follows_the_array(self, tmp_path: Path) -> None:
        array, affine = blob("PIR")
        save(tmp_path / "a.nii", array, "PIR")
        volume = read(tmp_path / "a.nii")
        corner = np.array([*np.argwhere(array == 1000)[0], 1.0])
        np.testing.assert_allclose(np.asarray(volume.affine) @ [6, 8, 4, 1], affine @ corner)

    def test_a_singular_affine_is_refused(self, tmp_path: Path) -> None:
        affine = np.eye(4)
        affine[:, 1] = 0
        image = nibabel.Nifti1Image(ramp((2, 3, 4)), None)
        image.header.set_sform(affine, code=1)
        nibabel.save(image, tmp_path / "a.nii")
        with pytest.raises(DataError, match=r"a\.nii.*orientation"):
            read(tmp_path / "a.nii")

    def test_a_volume_needs_a_plane(self, tmp_path: Path) -> None:
        save(tmp_path / "a.nii", ramp((2, 3, 4)))
        with pytest.raises(DataError, match=r"a\.nii.*plane"):
            read(tmp_path / "a.nii").slices()

    def test_slope_and_intercept_are_applied(self, tmp_path: Path) -> None:
        image = nibabel.Nifti1Image(ramp((2, 3, 4), np.float32) * 0.5 - 7, np.eye(4))
        image.set_data_dtype(np.int16)
        nibabel.save(image, tmp_path / "a.nii.gz")
        np.testing.assert_allclose(read(tmp_path / "a.nii.gz").array, ramp((2, 3, 4)) * 0.5 - 7, atol=1e-3)


def write_series(folder: Path, positions: list[float], **changes: Any) -> None:
    """An axial MR series, file names in no order; the voxel at the patient's right front of each slice is bright."""
    folder.mkdir(exist_ok=True)
    series = changes.pop("series", generate_uid())
    for number, z in enumerate(positions):
        meta = FileMetaDataset()
        meta.TransferSyntaxUID = ExplicitVRLittleEndian
        meta.MediaStorageSOPClassUID = MRImageStorage
        meta.MediaStorageSOPInstanceUID = generate_uid()
        item = FileDataset(None, {}, file_meta=meta, preamble=b"\0" * 128)
        pixels = np.full((5, 7), 10 * number, np.uint16)
        pixels[0, 0] = 100  # rows run to posterior, columns to left: first row and column are right front
        item.SOPClassUID, item.SOPInstanceUID = MRImageStorage, meta.MediaStorageSOPInstanceUID
        item.SeriesInstanceUID, item.Modality = series, "MR"
        item.ImagePositionPatient, item.ImageOrientationPatient = [-3.0, -4.0, z], [1, 0, 0, 0, 1, 0]
        item.PixelSpacing, item.SliceThickness = [0.8, 0.5], 2.0
        item.Rows, item.Columns, item.SamplesPerPixel = 5, 7, 1
        item.PhotometricInterpretation = "MONOCHROME2"
        item.BitsAllocated = item.BitsStored = 16
        item.HighBit, item.PixelRepresentation = 15, 0
        item.PixelData = pixels.tobytes()
        for name, value in changes.items():
            setattr(item, name, value)
        item.save_as(folder / f"{(number * 7) % 10}_{series[-4:]}.dcm", enforce_file_format=True)


class TestDicom:
    def test_a_series_is_sorted_scaled_and_oriented(self, tmp_path: Path) -> None:
        write_series(tmp_path / "s", [6.0, 2.0, 4.0, 8.0], RescaleSlope=2, RescaleIntercept=-5, Modality="CT")
        volume = read(tmp_path / "s")
        assert volume.array.shape == (7, 5, 4)
        assert volume.measure_unit == "HU"
        axial = volume.slices("axial")
        assert axial[:, 2, 2].tolist() == [15, 35, -5, 55]  # 2, 4, 6 and 8 mm
        assert (axial[:, 0, 0] == 195).all()
        spacing, distance = volume.in_plane("axial")
        assert (spacing, distance) == (pytest.approx((0.8, 0.5)), pytest.approx(2.0))

    @pytest.mark.parametrize(
        ("positions", "problem"), [([0, 2, 6, 8], "missing slice"), ([0, 2, 2, 4], "same position")]
    )
    def test_uneven_series(self, tmp_path: Path, positions: list[float], problem: str) -> None:
        write_series(tmp_path / "s", positions)
        with pytest.raises(DataError, match=problem):
            read(tmp_path / "s")

    def test_two_series_in_one_folder(self, tmp_path: Path) -> None:
        write_series(tmp_path / "s", [0, 2], series="1.2.3.1111")
        write_series(tmp_path / "s", [0, 2], series="1.2.3.2222")
        with pytest.raises(DataError, match="2 DICOM series"):
            read(tmp_path / "s")

    def test_a_file_without_pixels_a_cut_one_and_an_empty_folder(self, tmp_path: Path) -> None:
        write_series(tmp_path / "s", [0, 2, 4])
        first = sorted((tmp_path / "s").iterdir())[0]
        whole = first.read_bytes()
        item = pydicom.dcmread(first)
        del item.PixelData
        item.save_as(first)
        with pytest.raises(DataError, match=rf"{first.name}.*PixelData"):
            read(tmp_path / "s")
        first.write_bytes(whole[:-40])
        with pytest.raises(DataError, match=first.name):
            read(tmp_path / "s")
        (tmp_path / "none").mkdir()
        with pytest.raises(DataError, match=r"none.*no DICOM"):
            read(tmp_path / "none")

    @needs_data
    def test_a_real_series(self) -> None:
        volume = read(data() / "dicom_mr_series")
        assert volume.slices("coronal").shape == (30, 256, 256)
        assert volume.scanner == "SIEMENS Avanto"
        spacing, distance = volume.in_plane("coronal")
        assert spacing == pytest.approx((1.5625, 1.5625))
        assert distance == pytest.approx(8.75, abs=1e-3)


class TestFrame:
    def test_none_changes_nothing(self) -> None:
        image = ramp((6, 4), np.float32)
        np.testing.assert_array_equal(Frame.none((6, 4)).image(image), image)

    def test_plain_shrinks_with_antialias_and_masks_stay_labels(self) -> None:
        stripes = np.tile([0.0, 1.0], (16, 8)).astype(np.float32)
        frame = Frame.plain((16, 16), 8)
        assert np.abs(frame.image(stripes)[:, 1:-1] - 0.5).max() < 0.13
        mask = np.kron(np.array([[1, 2], [3, 0]]), np.ones((8, 8))).astype(np.uint8)
        np.testing.assert_array_equal(
            frame.mask(mask), np.kron(np.array([[1, 2], [3, 0]]), np.ones((4, 4))).astype(np.uint8)
        )

    def test_spacing_pads_and_crops_around_the_centre(self) -> None:
        frame = Frame.by_spacing((10, 30), (2.0, 1.0), 1.0, 24)
        assert frame.scaled == (20, 30)
        assert frame.spacing((2.0, 1.0)) == (1.0, 1.0)
        framed = frame.image(np.ones((10, 30), np.float32))
        assert framed.shape == (24, 24)
        assert (framed[:2] == 0).all()
        assert (framed[22:] == 0).all()
        assert (framed[2:22] == 1).all()
        back = frame.undo_image(framed, -1.0)
        assert (back[:, 3:27] == 1).all()
        assert (back[:, :3] < 0).all()

    def test_crop(self) -> None:
        frame = Frame.none((10, 20), (0.2, 0.6, 0.5, 1.0))
        image = ramp((10, 20), np.float32)
        np.testing.assert_array_equal(frame.image(image), image[2:6, 10:])
        back = frame.undo_mask(frame.mask(ramp((10, 20))))
        np.testing.assert_array_equal(back[2:6, 10:], ramp((10, 20))[2:6, 10:])
        assert back.sum() == back[2:6, 10:].sum()


def stored(volume: Volume, plane: Any, frame: Any, window: tuple[float, float]) -> list[tuple[np.ndarray, Slice]]:
    low, high = window
    items = []
    for index, image in enumerate(volume.slices(plane)):
        framed = frame(image.shape)
        record = Slice(
            f"s{index}", "p", "c", index, window=window, geometry=Geometry.of(volume, plane, index, framed).to_json()
        )
        items.append((encode(framed.image((image - low) / (high - low)), "uint8"), record))
    return items


class TestPutBack:
    @pytest.mark.parametrize("plane", list(PLANES))
    @pytest.mark.parametrize("axes", ALL_AXES)
    def test_exact_in_every_orientation_and_plane(self, tmp_path: Path, axes: str, plane: Any) -> None:
        array, affine = blob(axes)
        array[array == 1000] = 255
        save(tmp_path / "a.nii.gz", array, axes)
        items = stored(read(tmp_path / "a.nii.gz"), plane, Frame.none, (0.0, 255.0))
        volume = put_back(reversed(items))
        write_nifti(volume, tmp_path / "back" / "b.nii.gz")
        back = nibabel.load(tmp_path / "back" / "b.nii.gz")
        np.testing.assert_allclose(back.affine, affine)
        np.testing.assert_allclose(np.asarray(back.dataobj), array, atol=1e-4)

    def test_units_come_back_to_half_a_grey_level(self, tmp_path: Path) -> None:
        array = np.random.default_rng(0).integers(-1000, 1500, (8, 9, 10)).astype(np.int16)
        save(tmp_path / "a.nii.gz", array, "PIR")
        volume = read(tmp_path / "a.nii.gz")
        back = put_back(stored(volume, "sagittal", Frame.none, (-200.0, 800.0)))
        step = 1000 / 255
        assert np.abs(back.array - np.clip(volume.array, -200, 800)).max() <= step / 2 + 1e-3

    def test_resized_slices_come_back_in_place(self, tmp_path: Path) -> None:
        smooth = np.add.outer(np.linspace(0, 60, 40), np.add.outer(np.linspace(0, 80, 44), np.linspace(0, 100, 4)))
        save(tmp_path / "a.nii.gz", smooth.astype(np.float32), "LPS")
        volume = read(tmp_path / "a.nii.gz")
        back = put_back(stored(volume, "axial", lambda native: Frame.plain(native, 64), (0.0, 255.0)))
        assert back.axes == "LPS"
        assert np.abs(back.array - volume.array).max() < 2.0

    def test_missing_slices_hold_the_low_end_and_masks_zero(self, tmp_path: Path) -> None:
        save(tmp_path / "a.nii.gz", ramp(SHAPE, np.int16))
        items = stored(read(tmp_path / "a.nii.gz"), "axial", Frame.none, (-50.0, 205.0))
        back = put_back(items[1:3])
        assert (back.array[:, :, 0] == -50).all()
        labels = [(np.full_like(image, 3), record) for image, record in items[1:3]]
        mask = put_back(labels, masks=True)
        assert mask.array.dtype == np.uint8
        assert [int(mask.array[:, :, z].max()) for z in range(5)] == [0, 3, 3, 0, 0]

    def test_what_does_not_go_together_is_refused(self, tmp_path: Path) -> None:
        save(tmp_path / "a.nii.gz", ramp(SHAPE, np.int16))
        volume = read(tmp_path / "a.nii.gz")
        (image, record), other = stored(volume, "axial", Frame.none, (0.0, 255.0))[:2]
        elsewhere = stored(volume, "coronal", Frame.none, (0.0, 255.0))[0]
        for items, problem in (
            ([], "no slices"),
            ([(image, record), (image, record)], "same slice"),
            ([other, elsewhere], "different volumes"),
            ([(image[:-1], record)], "pixels"),
            ([(image, replace(record, geometry=""))], "no position"),
            ([(image, replace(record, window=None))], "grey levels"),
        ):
            with pytest.raises(DataError, match=problem):
                put_back(items)

    def test_a_plain_image_has_no_place(self, tmp_path: Path) -> None:
        np.save(tmp_path / "a.npy", ramp((3, 4)))
        volume = read(tmp_path / "a.npy")
        with pytest.raises(DataError, match="no orientation"):
            Geometry.of(volume, "axial", 0, Frame.none((3, 4)))
        with pytest.raises(DataError, match="no orientation"):
            write_nifti(volume, tmp_path / "b.nii")

    @needs_data
    @pytest.mark.parametrize(
        "name", ["totalsegmentator/s0001/ct.nii.gz", "spine_crops/sample_ct/sub-ct_label-22_ct.nii.gz"]
    )
    def test_a_real_ct_goes_there_and_back(self, tmp_path: Path, name: str) -> None:
        volume = read(data() / name)
        write_nifti(put_back(stored(volume, "sagittal", Frame.none, (-1024.0, 1526.0))), tmp_path / "b.nii.gz")
        original, back = nibabel.load(data() / name), nibabel.load(tmp_path / "b.nii.gz")
        assert back.shape == original.shape
        np.testing.assert_allclose(back.affine, original.affine)
        difference = np.asarray(back.dataobj) - np.clip(np.asarray(original.dataobj), -1024, 1526)
        assert np.abs(difference).max() <= 5.0 + 1e-3
