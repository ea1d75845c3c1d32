"""``mtbench data export`` and the translator ``precomputed``: slices out, somebody's images or volumes back."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
from PIL import Image

import mtbench
from mtbench.compute.context import Context
from mtbench.data import decode
from mtbench.preparation.exchange import Manifest
from mtbench_plugins.translators.precomputed.matching import answers
from mtbench_plugins.translators.precomputed.model import Precomputed

SUITE = """
translators = ["identity"]
metrics = ["swd"]

[[datasets]]
name = "knees"
plugin = "folder"
root = "raw"
split = { by = "seed", test = 0.4 }

[datasets.params]
%s

[datasets.params.source]
images = "mr/*.nii.gz"
plane = "sagittal"
normalise = "percentile"
percentiles = [0, 100]

[datasets.params.target]
images = "ct/*.nii.gz"
plane = "sagittal"
normalise = "window"
window = [-200, 800]
measure_unit = "HU"
"""
SHAPE = (16, 20, 12)
"""As in the files, whose axes point to P, I, R: 12 sagittal slices of 20 x 16."""


def affine(patient: int) -> np.ndarray:
    """Voxels of 2 x 1 x 3 mm whose axes point to P, I, R; each patient lies elsewhere."""
    matrix = np.zeros((4, 4))
    matrix[1, 0], matrix[2, 1], matrix[0, 2], matrix[3, 3] = -2, -1, 3, 1
    matrix[:3, 3] = 10 * patient, 5, -7
    return matrix


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five MR volumes and five CT volumes."""
    folder = tmp_path_factory.mktemp("knees")
    rng = np.random.default_rng(0)
    for kind, low, high in (("mr", 0, 3000), ("ct", -900, 1500)):
        (folder / "raw" / kind).mkdir(parents=True)
        for patient in range(5):
            values = rng.integers(low, high, SHAPE).astype(np.int16)
            nibabel.save(nibabel.Nifti1Image(values, affine(patient)), folder / f"raw/{kind}/{kind}{patient}.nii.gz")
    return folder


def exported(raw: Path, run_cli: Any, out: Path, *more: Any, params: str = 'resize = "none"') -> Manifest:
    (raw / "suite.toml").write_text(SUITE % params)
    ran = run_cli("data", "export", raw / "suite.toml", "--out", out, *more)
    assert ran.code == 0, ran.err
    return Manifest.read(out / "manifest.json")


def slices_of(out: Path, *, geometry: bool = True) -> mtbench.ImageSet:
    """The exported PNG slices as a translator gets them."""
    manifest = Manifest.read(out / "manifest.json")
    images = np.stack([np.asarray(Image.open(out / item.image)) for item in manifest.slices])
    records = tuple(item.record for item in manifest.slices)
    if not geometry:
        records = tuple(mtbench.Slice(r.slice_id, r.patient_id, r.case_id, r.index) for r in records)
    return mtbench.ImageSet(images, records, None, mtbench.Task("knees"), "source", "test")


def translated(folder: Path, images: mtbench.ImageSet, context: Context | None = None, **params: Any) -> np.ndarray:
    model = Precomputed(str(folder), **{"manifest": None, "window": "auto", "resize": False, **params})
    return np.stack(list(model.translate_all(images, context or Context())))


def cases(images: mtbench.ImageSet) -> list[str]:
    return list(dict.fromkeys(record.case_id for record in images.slices))


def upright(values: np.ndarray, index: int) -> np.ndarray:
    """A sagittal slice of an array whose axes point to P, I, R: rows run down, columns to the back."""
    return values[:, :, index].T


class TestExport:
    def test_slices_with_a_manifest(self, raw: Path, run_cli: Any, tmp_path: Path) -> None:
        manifest = exported(raw, run_cli, tmp_path / "out")
        rows = json.loads((tmp_path / "out/manifest.json").read_text())["slices"]
        assert len(rows) == 24 == len(list((tmp_path / "out/images").iterdir()))
        assert (manifest.target_window, manifest.target_measure_unit) == ((-200.0, 800.0), "HU")
        row = rows[5]
        file = nibabel.load(raw / "raw" / row["file"])
        assert row["affine"] == file.affine.tolist()
        assert row["size"] == [20, 16]
        values = np.asarray(file.dataobj).astype(float)
        expected = (upright(values, row["index"]) - values.min()) / np.ptp(values) * 255
        stored = np.asarray(Image.open(tmp_path / "out" / row["image"]))
        assert np.abs(stored - expected).max() <= 0.5001

    def test_volumes_lie_where_the_files_lie(self, raw: Path, run_cli: Any, tmp_path: Path) -> None:
        manifest = exported(raw, run_cli, tmp_path / "out", "--format", "nifti", "--domain", "target", "--side", "all")
        assert len({item.image for item in manifest.slices}) == 5
        item = manifest.slices[0]
        back, file = nibabel.load(tmp_path / "out" / item.image), nibabel.load(raw / "raw" / item.record.file)
        np.testing.assert_allclose(back.affine, file.affine)
        wanted = np.clip(np.asarray(file.dataobj), -200, 800)
        assert np.abs(back.get_fdata() - wanted).max() <= 1000 / 255 / 2 + 1e-3

    def test_masks_and_plain_images_as_stacks(self, run_cli: Any, tmp_path: Path) -> None:
        name = "phantom-lumbar:size=32,patients_source=5,patients_target=5,slices=3"
        for form in ("png", "nifti"):
            ran = run_cli("data", "export", name, "-o", tmp_path / form, "--format", form)
            assert ran.code == 0, ran.err
        item = Manifest.read(tmp_path / "nifti/manifest.json").slices[2]
        other = Manifest.read(tmp_path / "png/manifest.json").slices[2]
        place = item.record.index
        for kind in ("image", "mask"):
            volume = nibabel.load(tmp_path / "nifti" / getattr(item, kind)).get_fdata()
            slice_ = np.asarray(Image.open(tmp_path / "png" / getattr(other, kind)))
            assert np.array_equal(volume[:, :, place].T, slice_)

    def test_an_output_that_is_there_is_refused(self, raw: Path, run_cli: Any, tmp_path: Path) -> None:
        exported(raw, run_cli, tmp_path / "out")
        again = run_cli("data", "export", raw / "suite.toml", "--out", tmp_path / "out")
        assert again.code == 2
        assert "exists already" in again.err


class TestVolumes:
    @pytest.fixture
    def out(self, raw: Path, run_cli: Any, tmp_path: Path) -> Path:
        exported(raw, run_cli, tmp_path / "out")
        return tmp_path / "out"

    def test_what_was_exported_comes_back_as_it_was(self, raw: Path, run_cli: Any, tmp_path: Path) -> None:
        """Cropped, and put on a grid of its own: what ``prepare`` did is done once more to what was undone."""
        params = 'resize = "spacing"\nmm = 1.0\nsize = 24'
        exported(raw, run_cli, tmp_path / "png", params=params)
        exported(raw, run_cli, tmp_path / "nii", "--format", "nifti", params=params)
        images = slices_of(tmp_path / "png")
        result = translated(tmp_path / "nii/images", images, window="source")
        # Rows of 1 mm are kept, columns of 2 mm are interpolated and shrunk again.
        assert np.abs(result - decode(np.asarray(images.images))).mean() < 0.08
        assert result.shape[1:] == (24, 24)
        assert np.corrcoef(result.ravel(), decode(np.asarray(images.images)).ravel())[0, 1] > 0.93

    def test_by_header_whatever_the_order_of_axes_and_slices(self, out: Path, tmp_path: Path) -> None:
        """CT volumes as RAS, with two slices more than the MR had, in HU; and the rest of the folder is ignored."""
        images, folder = slices_of(out), tmp_path / "made"
        folder.mkdir()
        rng = np.random.default_rng(1)
        values = {}
        for case in cases(images):
            wider = rng.integers(-400, 1200, (*SHAPE[:2], SHAPE[2] + 2)).astype(np.int16)
            matrix = affine(int(case[-1]))
            matrix[:3, 3] -= 2 * matrix[:3, 2]
            values[case] = wider
            image = nibabel.as_closest_canonical(nibabel.Nifti1Image(wider, matrix))
            assert nibabel.aff2axcodes(image.affine) == ("R", "A", "S")
            nibabel.save(image, folder / f"{case}.nii.gz")
        context = Context()
        result = translated(folder, images, context, manifest=str(out / "manifest.json"))
        for record, image in zip(images.slices, result, strict=True):
            hounsfield = upright(values[record.case_id], record.index + 2).astype(float)
            assert np.abs(image - np.clip((hounsfield + 200) / 1000, 0, 1)).max() <= 0.5 / 255 + 1e-6
        assert context.remarks == ["Values of the files were read as the target's: -200 to 800 HU."]

    def test_as_mha_and_nrrd_in_zero_to_one(self, out: Path, tmp_path: Path) -> None:
        import nrrd

        images, folder = slices_of(out), tmp_path / "made"
        folder.mkdir()
        first, second = cases(images)
        values = np.random.default_rng(2).random(SHAPE).astype(np.float32)
        for case, ending in ((first, ".nrrd"), (second, ".mha")):
            matrix = np.diag([-1, -1, 1, 1]) @ affine(int(case[-1]))  # RAS to LPS
            if ending == ".nrrd":
                header = {"space": "LPS", "space directions": matrix[:3, :3].T, "space origin": matrix[:3, 3]}
                nrrd.write(str(folder / f"{case}.nrrd"), values, header)
                continue
            spacing = np.linalg.norm(matrix[:3, :3], axis=0)
            lines = {
                "ObjectType": "Image",
                "NDims": "3",
                "BinaryData": "True",
                "BinaryDataByteOrderMSB": "False",
                "TransformMatrix": " ".join(f"{v:g}" for v in (matrix[:3, :3] / spacing).T.ravel()),
                "Offset": " ".join(f"{v:g}" for v in matrix[:3, 3]),
                "ElementSpacing": " ".join(f"{v:g}" for v in spacing),
                "DimSize": "16 20 12",
                "ElementType": "MET_FLOAT",
                "ElementDataFile": "LOCAL",
            }
            head = "".join(f"{name} = {value}\n" for name, value in lines.items())
            (folder / f"{case}.mha").write_bytes(head.encode() + values.tobytes(order="F"))
        result = translated(folder, images)
        for record, image in zip(images.slices, result, strict=True):
            assert np.abs(image - upright(values, record.index)).max() <= 0.5 / 255 + 1e-6

    def test_a_stack_without_a_header_names_the_fix(self, out: Path, tmp_path: Path) -> None:
        images = slices_of(out)
        (tmp_path / "theirs").mkdir()
        first, *_ = cases(images)
        own = [at for at, record in enumerate(images.slices) if record.case_id == first]
        np.save(tmp_path / "theirs" / f"{first}.npy", np.asarray(images.images[own]))
        with pytest.raises(mtbench.DataError) as raised:
            translated(tmp_path / "theirs", images)
        lines = re.sub(r"\s+", " ", str(raised.value))
        assert f"no header {first}.npy a stack of 12 images without a header that says where they lie" in lines
        assert (
            "expected one image file per slice, named as by `mtbench data export`, or a volume with the header" in lines
        )

    def test_another_affine_fewer_slices_and_a_name_of_its_own(self, out: Path, tmp_path: Path) -> None:
        images, folder = slices_of(out), tmp_path / "made"
        folder.mkdir()
        first, second = cases(images)
        values = np.zeros(SHAPE, np.uint8)
        shifted = affine(int(first[-1]))
        shifted[1, 3] += 1.5
        nibabel.save(nibabel.Nifti1Image(values, shifted), folder / f"{first}.nii.gz")
        nibabel.save(nibabel.Nifti1Image(values[..., :9], affine(int(second[-1]))), folder / f"{second}.nii.gz")
        with pytest.raises(mtbench.DataError) as caught:
            translated(folder, images)
        text = re.sub(" +", " ", str(caught.value))
        assert "2 files for 24 slices: 1 another grid, 3 missing" in text
        assert f"{first}.nii.gz its header differs from the original's by 1.5 mm" in text
        assert f"missing {second}_sagittal_009" in text
        (folder / f"{second}.nii.gz").unlink()
        nibabel.save(nibabel.Nifti1Image(values, affine(int(second[-1]))), folder / "translation.nii.gz")
        with pytest.raises(mtbench.DataError, match=rf"missing +{second}, all 12 slices +{second}\.nii\.gz, or"):
            translated(folder, images)
        with pytest.raises(mtbench.DataError, match=rf"translation\.nii\.gz +{second}\.nii\.gz, by its position"):
            translated(folder, images)

    def test_another_size_and_values_that_nothing_explains(self, out: Path, tmp_path: Path) -> None:
        images, folder = slices_of(out), tmp_path / "made"
        folder.mkdir()
        for case in cases(images):
            values = np.linspace(-1, 1, np.prod(SHAPE)).reshape(SHAPE).astype(np.float32)
            nibabel.save(nibabel.Nifti1Image(values, affine(int(case[-1]))), folder / f"{case}.nii.gz")
        with pytest.raises(mtbench.DataError, match=r"from -1 to 1, and the values of black and white are not known"):
            translated(folder, images)
        manifest = str(out / "manifest.json")
        with pytest.raises(mtbench.DataError, match=r"from -1 to 1, a small part of the target's -200 to 800 HU"):
            translated(folder, images, manifest=manifest)
        result = translated(folder, images, window="-1..1", manifest=manifest)
        assert (result.min(), result.max()) == (0.0, 1.0)
        assert translated(folder, images, window="25%..75%").max() == 1.0
        for wrong in ("1", "5..1", "0%..101%", "1%..9", "nan..1"):
            with pytest.raises(mtbench.DataError, match="cannot be used"):
                translated(folder, images, window=wrong)

    def test_a_manifest_of_another_revision(self, raw: Path, run_cli: Any, out: Path, tmp_path: Path) -> None:
        exported(raw, run_cli, tmp_path / "small", params='resize = "plain"\nsize = 8')
        images = slices_of(tmp_path / "small")
        with pytest.raises(mtbench.DataError, match=r"another revision of the data: of 24 slices 24 have changed"):
            translated(raw / "raw/mr", images, manifest=str(out / "manifest.json"))
        (tmp_path / "broken.json").write_text('{"schema": 1, "slices": [{}]}')
        with pytest.raises(mtbench.DataError, match=r"broken\.json: this is not the manifest"):
            translated(raw / "raw/mr", images, manifest=str(tmp_path / "broken.json"))

    def test_from_a_folder_of_volumes_to_a_row(self, raw: Path, run_cli: Any, out: Path, tmp_path: Path) -> None:
        """The whole way, with all volumes of the data set in the folder, those of training patients too."""
        folder = tmp_path / "made"
        folder.mkdir()
        for patient in range(5):
            shutil.copy(raw / f"raw/ct/ct{patient}.nii.gz", folder / f"mr{patient}.nii.gz")
        choice = f"precomputed:folder={folder},manifest={out / 'manifest.json'}"
        ran = run_cli("run", raw / "suite.toml", "-t", choice, "--executor", "inline", "--device", "cpu")
        assert ran.code == 0, ran.err
        rows = mtbench.load(Path("mtbench-results/suite").absolute()).to_pylist()
        (row,) = [row for row in rows if row["translator"] == "precomputed" and row["role"] == "translator"]
        assert row["status"] == "measured"
        assert row["translator_note"] == "Values of the files were read as the target's: -200 to 800 HU."
        floor = next(row["value"] for row in rows if row["role"] == "floor")
        assert row["value"] < 2 * floor, "CT of other patients is as far from CT as CT"


class TestImages:
    """Of plain images: the phantom's, and the toy records without a geometry."""

    @pytest.fixture
    def source(self) -> mtbench.ImageSet:
        rng = np.random.default_rng(0)
        slices = tuple(mtbench.Slice(f"p{n}/slice_{n}", f"p{n}", f"p{n}", n, file=f"raw/{n:03}.png") for n in range(4))
        images = rng.integers(0, 256, (4, 20, 16)).astype(np.uint8)
        return mtbench.ImageSet(images, slices, None, mtbench.Task("toy"), "source", "test")

    def test_half_of_the_images(self, source: mtbench.ImageSet, tmp_path: Path) -> None:
        for n in (0, 2):
            Image.fromarray(source.images[n]).save(tmp_path / f"p{n}_slice_{n}.png")
        Image.fromarray(source.images[1]).save(tmp_path / "p1_slce_1.png")
        Image.fromarray(source.images[1]).save(tmp_path / "p7_slice_7.png")
        with pytest.raises(mtbench.DataError) as caught:
            translated(tmp_path, source)
        lines = str(caught.value).splitlines()
        assert lines[0].endswith("4 files for 4 slices: 2 missing, 2 extra")
        assert [" ".join(line.split()) for line in lines[1:3]] == [
            "missing p1/slice_1 p1_slice_1.png, or a slice of p1.nii.gz",
            "missing p3/slice_3 p3_slice_3.png, or a slice of p3.nii.gz",
        ]
        assert "p1_slce_1.png   p1_slice_1.png, the closest name" in lines[3]
        assert "p7_slice_7.png  no slice has this name" in lines[4], "another number is another patient"

    def test_of_another_size(self, source: mtbench.ImageSet, tmp_path: Path) -> None:
        for n, image in enumerate(source.images):
            Image.fromarray(np.repeat(np.repeat(image, 2, 0), 2, 1)).save(tmp_path / f"p{n}_slice_{n}.png")
        with pytest.raises(mtbench.DataError, match=r"another size +p0_slice_0\.png: 40 x 32 +20 x 16"):
            translated(tmp_path, source)
        # Pixels that were doubled, and are averaged again with a triangle: close, not equal.
        error = np.abs(translated(tmp_path, source, resize=True) - decode(np.asarray(source.images)))
        assert 0 < error.mean() < 0.15

    def test_two_answers_to_one_slice(self, source: mtbench.ImageSet, tmp_path: Path) -> None:
        for n, image in enumerate(source.images):
            Image.fromarray(image).save(tmp_path / f"{n:03}.png")
        Image.fromarray(source.images[0]).save(tmp_path / "p0_slice_0.tif")
        with pytest.raises(mtbench.DataError, match=r"twice +p0/slice_0 +one of 000\.png and p0_slice_0\.tif"):
            translated(tmp_path, source)

    def test_damaged_and_coloured_files_are_named(self, source: mtbench.ImageSet, tmp_path: Path) -> None:
        for n, image in enumerate(source.images):
            Image.fromarray(image).save(tmp_path / f"{n:03}.png")
        (tmp_path / "001.png").write_bytes(b"")
        Image.new("RGB", (16, 20), (200, 30, 90)).save(tmp_path / "002.png")
        with pytest.raises(mtbench.DataError) as caught:
            translated(tmp_path, source)
        assert "4 files for 4 slices: 2 unreadable" in str(caught.value)
        assert "001.png" in str(caught.value)
        assert "002.png" in str(caught.value)

    def test_names_that_several_go_by_name_none(self, source: mtbench.ImageSet, tmp_path: Path) -> None:
        """All slices of one volume share its file: its name is that of the case, not of a slice."""
        slices = tuple(mtbench.Slice(f"s{n}", "p", "case", n, file="a/ct.nii.gz") for n in range(3))
        nibabel.save(nibabel.Nifti1Image(np.zeros((4, 4, 3), np.uint8), np.eye(4)), tmp_path / "ct.nii.gz")
        found = answers(tmp_path, slices, ())
        assert found.cases == {("p", "case"): [tmp_path / "ct.nii.gz"]}
        assert found.slices == {}

    def test_stacks_of_plain_images_need_the_manifest(self, run_cli: Any, tmp_path: Path) -> None:
        name = "phantom-lumbar:size=32,patients_source=5,patients_target=5,slices=3"
        for form in ("png", "nifti"):
            run_cli("data", "export", name, "-o", tmp_path / form, "--format", form)
        images = slices_of(tmp_path / "png", geometry=False)
        volumes = tmp_path / "nifti/images"
        with pytest.raises(mtbench.DataError, match="plain images, which have no position"):
            translated(volumes, images, window="0..255")
        result = translated(volumes, images, window="0..255", manifest=str(tmp_path / "png/manifest.json"))
        assert np.array_equal(result, decode(np.asarray(images.images)))
