"""``lumbar-mri-ct`` on made copies of TotalSegmentator's layout and of MR folders, and on the real subject."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
import replicas
from PIL import Image

from mtbench.compute.context import Context
from mtbench.data import Sample
from mtbench.errors import DataError, ParamError
from mtbench.formats import put_back, write_nifti
from mtbench.registry.params import complete
from mtbench_plugins.datasets.lumbar_mri_ct import mtbench_datasets
from mtbench_plugins.datasets.lumbar_mri_ct.dataset import LumbarMriCt

SPEC = next(iter(mtbench_datasets()))


@pytest.fixture(scope="module")
def lumbar(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A whole replica that no test changes."""
    root = tmp_path_factory.mktemp("lumbar")
    replicas.write_lumbar(root)
    return root


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """A small replica to be damaged."""
    replicas.write_lumbar(tmp_path, {"s0001": "train", "s0004": "test"}, patients=2)
    return tmp_path


def complete_params(**params: Any) -> dict[str, Any]:
    return complete({"size": 16, "source_structure": "vertebrae", **params}, SPEC.params, "lumbar-mri-ct")


def prepare(root: Path, **params: Any) -> tuple[list[Sample], Context]:
    context = Context()
    return list(LumbarMriCt(**complete_params(**params)).prepare(root, context)), context


def of(samples: list[Sample], patient: str) -> list[Sample]:
    return [s for s in samples if s.slice.patient_id == patient]


def rendered(ras: Any, low: float, high: float) -> Any:
    """A RAS+ volume of 16 x 16 x 6 as grey levels of 16 x 16 slices."""
    from mtbench.formats import Frame

    grey = np.clip((np.asarray(ras, np.float32) - np.float32(low)) / np.float32(high - low), 0, 1)
    frame = Frame.plain((ras.shape[2], ras.shape[1]), 16)
    return np.stack([np.rint(frame.image(image) * 255) for image in replicas.sagittal(grey)])


class TestWhole:
    def test_domains_patients_sides_and_slices(self, lumbar: Path) -> None:
        samples, context = prepare(lumbar)
        assert (context.left_out, context.log) == ([], [])
        result = {s.slice.patient_id: (s.domain, s.slice.split, s.slice.measure_unit) for s in samples}
        assert result == {f"p{n}": ("source", "", "") for n in range(4)} | {
            subject: ("target", {"val": "validation"}.get(side, side), "HU")
            for subject, side in replicas.SPLITS.items()
        }
        assert [s.slice.index for s in of(samples, "p0")] == list(range(3, 9))  # those that show bone
        assert {s.slice.scanner for s in samples if s.domain == "target"} == {"SIEMENS Somatom"}

    def test_the_landmark_survives_every_orientation(self, lumbar: Path) -> None:
        """MR files point to RAS, PIR, LPS and ASL, CT files to RAS and LAS."""
        samples, _ = prepare(lumbar, min_area=0, window=[-500, 500])
        bone = sum(mask.astype(int) for mask in replicas.bones().values())
        for number in range(4):
            images = np.stack([s.image for s in of(samples, f"p{number}")])
            ras = replicas.body(50 + number)
            low, high = np.percentile(ras, [0.5, 99.5])
            assert np.abs(images - rendered(ras, low, high)).max() <= 1
            masks = np.stack([s.mask for s in of(samples, f"p{number}")])
            assert (masks[3] > 0).any()
            np.testing.assert_array_equal(masks.any(axis=(1, 2)), bone.any(axis=(1, 2)))
            np.testing.assert_array_equal(masks.any(axis=(0, 1)), bone.any(axis=(0, 2))[::-1])
        for number, subject in enumerate(replicas.SPLITS):
            images = np.stack([s.image for s in of(samples, subject)])
            assert np.abs(images - rendered(replicas.body(number) - 500, -500, 500)).max() <= 1

    def test_levels_and_sacrum(self, lumbar: Path) -> None:
        def area(**params: Any) -> int:
            samples, _ = prepare(lumbar, resize="spacing", mm=1.5, **params)
            return sum(int(np.count_nonzero(s.mask)) for s in samples if s.domain == "target")

        five = area()
        assert area(sacrum=True) > five > area(levels=["L2", "L3"]) > 0

    def test_window_crop_size_and_geometry(self, lumbar: Path, tmp_path: Path) -> None:
        samples, _ = prepare(lumbar, window=[-500, 500], min_area=0, resize="spacing", mm=1.5, size=24)
        own = of(samples, "s0001")
        assert own[0].image.shape == (24, 24)
        assert own[0].slice.window == (-500.0, 500.0)
        assert own[0].slice.spacing == (1.5, 1.5)
        plain, _ = prepare(lumbar, window=[-500, 500], min_area=0)
        write_nifti(put_back((s.image, s.slice) for s in of(plain, "s0004")), tmp_path / "back.nii.gz")
        back = nibabel.load(tmp_path / "back.nii.gz")
        raw = nibabel.load(lumbar / "ct/s0004/ct.nii.gz")
        assert nibabel.aff2axcodes(back.affine) == ("L", "A", "S")
        np.testing.assert_allclose(back.affine, raw.affine)
        assert back.shape == raw.shape
        cropped, _ = prepare(lumbar, min_area=0, crop=[0, 0.5, 0, 0.5])
        assert cropped[-1].image.shape == (16, 16)
        assert not np.array_equal(cropped[-1].image, plain[-1].image)

    def test_files_are_those_of_the_task(self, lumbar: Path) -> None:
        files = {
            p.relative_to(lumbar).as_posix() for p in LumbarMriCt(**complete_params(leave_out=["s0004"])).files(lumbar)
        }
        assert files == {
            "ct/meta.csv",
            *(f"mr/{kind}/p{n}.nii.gz" for kind in ("images", "masks") for n in range(4)),
            *(f"ct/{s}/ct.nii.gz" for s in ("s0001", "s0007", "s0011")),
            *(f"ct/{s}/segmentations/vertebrae_L{n}.nii.gz" for s in ("s0001", "s0007", "s0011") for n in range(1, 6)),
        }

    def test_png_slices_with_a_table(self, own: Path) -> None:
        """MR as the folder of PNG slices that segmentation code is trained on: instance ids, a table of patients."""
        rows = ["file,patient,split"]
        for patient, side in (("a", "train"), ("b", "val"), ("c", "test")):
            for index in range(2):
                for kind in ("images", "masks"):
                    (own / f"png/{kind}").mkdir(parents=True, exist_ok=True)
                    array = np.full((20, 20), 40 if kind == "images" else 0, np.uint8)
                    array[4:9, 5:12] = 200 if kind == "images" else 3
                    Image.fromarray(array).save(own / f"png/{kind}/{patient}{index}.png")
                rows.append(f"{patient}{index}.png,{patient},{side}")
        (own / "png/slices.csv").write_text("\n".join(rows) + "\n")
        source = {
            "images": "png/images/*.png",
            "masks": "png/masks/*.png",
            "normalise": "none",
            "table": {"file": "png/slices.csv", "split": "split"},
        }
        samples, context = prepare(own, source=source)
        mr = [s for s in samples if s.domain == "source"]
        assert [(s.slice.patient_id, s.slice.split) for s in mr] == [
            ("a", "train"), ("a", "train"), ("b", "validation"), ("b", "validation"), ("c", "test"), ("c", "test")
        ]  # fmt: skip
        assert set(np.unique(mr[0].mask)) == {0, 1}
        assert context.left_out == []

    def test_dicom_series_with_masks(self, own: Path) -> None:
        for patient in ("x", "y"):
            replicas.write_series(own / f"dicom/images/{patient}", replicas.body(7), descending=True)
            mask = replicas.bones()["vertebrae_L3"]
            replicas.write_nifti(own / f"dicom/masks/{patient}.nii.gz", mask, "PIR", dtype=np.uint8)
        samples, context = prepare(own, source={"images": "dicom/images", "masks": "dicom/masks"})
        assert context.left_out == []
        assert [s.slice.index for s in of(samples, "x")] == list(range(3, 9))
        assert replicas.NAME not in repr(samples)


class TestMeta:
    @pytest.mark.parametrize("comma", [False, True], ids=["semicolons", "commas"])
    def test_separators_and_byte_order_mark(self, own: Path, comma: bool) -> None:
        replicas.write_meta(own / "ct/meta.csv", {"s0001": "val", "s0004": "train"}, comma=comma)
        assert (own / "ct/meta.csv").read_bytes().startswith(b"\xef\xbb\xbf")
        samples, _ = prepare(own)
        assert {s.slice.patient_id: s.slice.split for s in samples if s.domain == "target"} == {
            "s0001": "validation",
            "s0004": "train",
        }

    def test_first_version_without_scanners(self, own: Path) -> None:
        (own / "ct/meta.csv").write_text("image_id;age;gender;institute;study_type\ns0001;1;m;A;x\ns0004;1;m;A;x\n")
        samples, context = prepare(own)
        assert {s.slice.split for s in samples} == {""}
        assert "no column 'split': CT subjects are divided by seed" in context.log[0]

    def test_without_meta(self, own: Path) -> None:
        (own / "ct/meta.csv").unlink()
        assert prepare(own)[1].log == ["no meta.csv: CT subjects are divided by seed"]

    def test_a_subject_without_row_and_a_side_that_is_none(self, own: Path) -> None:
        replicas.write_meta(own / "ct/meta.csv", {"s0001": "train"})
        assert dict(prepare(own)[1].left_out) == {"CT s0004": "meta.csv has no row for s0004."}
        replicas.write_meta(own / "ct/meta.csv", {"s0001": "train", "s0004": "holdout"})
        with pytest.raises(DataError, match="the split of s0004 is 'holdout'"):
            prepare(own)

    def test_another_table(self, own: Path) -> None:
        (own / "ct/meta.csv").write_text("subject;split\ns0001;train\n")
        with pytest.raises(DataError, match=r"meta.csv: the table has no column 'image_id'"):
            prepare(own)


class TestBadInput:
    def test_an_empty_segmentation_folder(self, own: Path) -> None:
        for path in (own / "ct/s0001/segmentations").iterdir():
            path.unlink()
        samples, context = prepare(own)
        assert list(dict(context.left_out)) == ["CT s0001"]
        assert "no mask of 'bone' that matches 'segmentations/vertebrae_L1.nii.gz'" in context.left_out[0][1]
        assert of(samples, "s0004")

    def test_a_subject_that_shows_no_lumbar_spine_is_no_mistake(self, own: Path) -> None:
        nothing = {name: np.zeros(replicas.SHAPE, bool) for name in replicas.bones()}
        replicas.write_subject(own / "ct/s0001", 0, masks=nothing)
        _, context = prepare(own)
        assert context.left_out == []
        assert context.log == ["1 case without a slice for the task: CT s0001"]

    def test_a_truncated_nifti(self, own: Path) -> None:
        path = own / "ct/s0001/ct.nii.gz"
        path.write_bytes(path.read_bytes()[:300])
        assert "ct.nii.gz: this file cannot be read" in dict(prepare(own)[1].left_out)["CT s0001"]

    def test_masks_of_another_shape_or_place(self, own: Path) -> None:
        replicas.write_nifti(own / "mr/masks/p0.nii.gz", np.ones((16, 16, 5)), dtype=np.uint8)
        replicas.write_nifti(
            own / "ct/s0001/segmentations/vertebrae_L3.nii.gz", replicas.bones()["vertebrae_L3"], offset=4.0
        )
        result = dict(prepare(own)[1].left_out)
        assert "the mask is 16 x 16 x 5, its image mr/images/p0.nii.gz is 16 x 16 x 6" in result["MR p0"]
        assert "vertebrae_L3.nii.gz: the mask and its image" in result["CT s0001"]

    def test_an_mr_without_mask(self, own: Path) -> None:
        (own / "mr/masks/p1.nii.gz").unlink()
        samples, context = prepare(own)
        assert "no mask of its name matches 'mr/masks'" in dict(context.left_out)["MR p1"]
        assert of(samples, "p0")

    def test_subjects_left_out_by_list(self, own: Path) -> None:
        samples, context = prepare(own, leave_out=["s0001", "s0999"])
        assert {s.slice.patient_id for s in samples if s.domain == "target"} == {"s0004"}
        assert context.left_out == []
        assert context.log == ["1 of 2 CT subjects excluded, 2 requested"]

    def test_no_ct_and_no_mr(self, tmp_path: Path, own: Path) -> None:
        with pytest.raises(DataError, match=r"missing: the CT .*zenodo"):
            prepare(own / "mr")
        (own / "mr/images").rename(own / "mr/pictures")
        with pytest.raises(DataError, match="no source images match 'mr/images'"):
            prepare(own)

    @pytest.mark.parametrize(
        ("params", "text"),
        [
            ({"levels": ["L6"]}, "'L6' is not a vertebra"),
            ({"levels": []}, "the list of vertebrae is empty"),
            ({"window": [3, 2]}, "low below high"),
            ({"target_structure": "bodies"}, "TotalSegmentator's masks show whole vertebrae"),
            ({"source": {"image": "x"}}, "there is no key 'image'"),
            ({"resize": "spacing"}, "'mm' is missing"),
        ],
    )
    def test_parameters(self, params: dict[str, Any], text: str) -> None:
        with pytest.raises(ParamError, match=text):
            LumbarMriCt(**complete_params(**params))


class TestStructures:
    def test_two_definitions_of_bone_are_warned_of(self, own: Path) -> None:
        _, context = prepare(own, source_structure="bodies")
        assert context.log[0].startswith("warning: Bone means vertebral bodies in the MR masks and whole vertebrae")
        assert "Dice cannot reach 1" in SPEC.task(complete_params(source_structure="bodies"), "x").note
        assert (
            "The suite does not say what the MR masks show"
            in SPEC.task(complete_params(source_structure="unknown"), "x").note
        )
        assert SPEC.task(complete_params(), "x").note == ""

    def test_masks_of_bodies_in_the_ct(self, own: Path) -> None:
        for subject in ("s0001", "s0004"):
            body = replicas.bones()["vertebrae_L3"]
            body[:, :5] = False
            replicas.write_nifti(own / f"ct/{subject}/bodies.nii.gz", body, dtype=np.uint8)
        how = {"source_structure": "bodies", "target_structure": "bodies", "target_masks": ["bodies.nii.gz"]}
        samples, context = prepare(own, **how)
        assert context.log == []
        assert of(samples, "s0001")


def test_the_real_subject_and_real_slices(data_folder: Path, tmp_path: Path) -> None:
    """One TotalSegmentator subject (without meta.csv) and the PNG layout, as they are."""
    (tmp_path / "ct").mkdir()
    (tmp_path / "ct/s0001").symlink_to(data_folder / "totalsegmentator/s0001")
    (tmp_path / "png").symlink_to(data_folder / "lumbar_mr")
    source = {
        "images": "png/siemens_t2/images/*.png",
        "masks": "png/siemens_t2/masks/*.png",
        "table": {"file": "png/slices.csv", "where": {"domain": "siemens_t2"}},
    }
    samples, context = prepare(tmp_path, source=source, size=64, source_structure="bodies", sacrum=False)
    assert context.left_out == []
    ct = [s for s in samples if s.domain == "target"]
    assert len(samples) - len(ct) == 172
    assert 25 <= len(ct) <= 45
    # Vertebrae lie behind the middle of the body, bright in the window.
    columns = np.concatenate([np.nonzero(s.mask)[1] for s in ct])
    assert columns.mean() > 32
    inside = np.concatenate([s.image[s.mask > 0] for s in ct if s.mask is not None])
    assert inside.mean() > np.mean([s.image.mean() for s in ct]) + 20
