"""``folder`` with several source channels: one file for each, matched by name, each with its own window."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
from PIL import Image
from test_folder import of, png, prepare, task

from mtbench.compute.context import Context
from mtbench.errors import DataError, ParamError
from mtbench.registry.params import complete
from mtbench_plugins.datasets.folder import mtbench_datasets
from mtbench_plugins.datasets.folder.dataset import Folder

SPEC = next(iter(mtbench_datasets()))
CHANNELS = {"T1": "t1/*.png", "T2": "t2/*.png", "FLAIR": "flair/*.png"}


def build(root: Path) -> dict[str, Any]:
    """Two patients with two slices; the value of channel c, patient p, slice i is 40 c + 10 p + i in the middle."""
    for c, folder in enumerate(("t1", "t2", "flair", "target")):
        for p in (1, 2):
            for i in (1, 2):
                image = np.full((12, 10), 40 * c + 10 * p + i, np.uint8)
                image[0, :2] = 0, 255
                png(root / folder / f"{p}_{i}.png", image)
                mask = np.zeros((12, 10), np.uint8)
                mask[2 : 3 + i] = 1
                png(root / "masks" / f"{p}_{i}.png", mask)
    both = {"patient": r"(\d+)_\d+\.png", "normalise": "none", "masks": "masks/*.png"}
    return {
        "source": {"images": CHANNELS, "name": "MR", **both},
        "target": {"images": "target/*.png", **both},
        "labels": {"organ": 1},
        "resize": "none",
    }


def left_out(root: Path, params: dict[str, Any]) -> list[tuple[str, str]]:
    context = Context()
    list(Folder(**complete(params, SPEC.params, "dataset 'folder'")).prepare(root, context))
    return [(name, reason) for name, reason in context.left_out]


def test_each_file_is_a_channel_of_the_slice_of_its_name(tmp_path: Path) -> None:
    params = build(tmp_path)
    samples = prepare(tmp_path, params)
    source, target = of(samples, "source"), of(samples, "target")
    assert [sample.image.shape for sample in source] == [(3, 12, 10)] * 4
    assert [sample.image[:, 6, 5].tolist() for sample in source] == [
        [10 * p + i, 40 + 10 * p + i, 80 + 10 * p + i] for p in (1, 2) for i in (1, 2)
    ]
    assert [int(sample.image[6, 5]) for sample in target] == [131, 132, 141, 142]
    assert all(sample.mask is not None and sample.mask.shape == (12, 10) for sample in samples)
    record = source[0].slice
    assert (record.window, record.channel_windows) == (None, ((0.0, 255.0),) * 3)
    assert record.file == "t1/1_1.png"
    about = task(params)
    assert (about.channels, about.source) == (("T1", "T2", "FLAIR"), "MR")


def test_the_masks_of_the_first_channel_choose_the_slices_of_all(tmp_path: Path) -> None:
    params = build(tmp_path)
    params["source"] |= {"min_area": 25}
    source = of(prepare(tmp_path, params), "source")
    assert [sample.image[:, 6, 5].tolist() for sample in source] == [[12, 52, 92], [22, 62, 102]]
    params["source"] |= {"min_area": 0, "every": 2}
    source = of(prepare(tmp_path, params), "source")
    assert [sample.image[:, 6, 5].tolist() for sample in source] == [[11, 51, 91], [21, 61, 101]]


def test_files_of_all_channels_are_raw_files(tmp_path: Path) -> None:
    params = build(tmp_path)
    files = Folder(**complete(params, SPEC.params, "dataset 'folder'")).files(tmp_path)
    named = {path.relative_to(tmp_path).as_posix() for path in files}
    assert {f"{folder}/2_1.png" for folder in ("t1", "t2", "flair", "target", "masks")} <= named


def volume(root: Path, name: str, scale: float, shift: float = 0.0, shape: tuple[int, ...] = (8, 10, 4)) -> None:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    values = scale * np.linspace(0, 1, int(np.prod(shape))).reshape(shape)
    affine = np.diag([2.0, 2.0, 5.0, 1.0])
    affine[0, 3] = shift
    nibabel.save(nibabel.Nifti1Image(values.astype(np.float32), affine), path)


def volumes(root: Path) -> dict[str, Any]:
    for case in ("a", "b"):
        for scale, name in ((100, "t1"), (2000, "t2")):
            volume(root, f"{case}/{name}.nii.gz", scale)
        volume(root, f"{case}/ct.nii.gz", 50)
    source = {"images": {"T1": "*/t1.nii.gz", "T2": "*/t2.nii.gz"}, "plane": "axial", "percentiles": [0, 100]}
    return {"source": source, "target": {"images": "*/ct.nii.gz", "plane": "axial"}, "resize": "none"}


def test_each_channel_of_a_volume_has_its_own_window(tmp_path: Path) -> None:
    source = of(prepare(tmp_path, volumes(tmp_path)), "source")
    assert len(source) == 8
    for sample in source:
        assert sample.image.shape == (2, 10, 8)
        assert sample.slice.channel_windows == ((0.0, 100.0), (0.0, 2000.0))
        # Another scale of the same values is the same picture.
        assert np.array_equal(sample.image[0], sample.image[1])
    assert source[0].slice.slice_id == "a_axial_000"


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"shift": 3.0}, "the channel 'T2' and its first channel a/t1.nii.gz are at different positions"),
        ({"shape": (8, 10, 5)}, "the channel 'T2' is 8 x 10 x 5, its first channel a/t1.nii.gz is 8 x 10 x 4"),
        ({"shape": (8, 9, 4)}, "the channel 'T2' is 8 x 9 x 4, its first channel a/t1.nii.gz is 8 x 10 x 4"),
    ],
)
def test_a_case_whose_channels_are_on_different_grids_is_skipped(
    tmp_path: Path, change: dict[str, Any], reason: str
) -> None:
    params = volumes(tmp_path)
    volume(tmp_path, "a/t2.nii.gz", 2000, **change)
    ((name, why),) = left_out(tmp_path, params)
    assert name == "source a"
    assert f"a/t2.nii.gz: {reason}" in why
    assert "Resample the channel 'T2' to the grid of the first channel" in why


def test_pairs_of_several_channels_and_one_share_a_case(tmp_path: Path) -> None:
    params = build(tmp_path)
    for domain in ("source", "target"):
        params[domain]["min_area"] = 25
    samples = prepare(tmp_path, params | {"paired": True})
    assert [(s.domain, s.slice.slice_id, s.slice.partner) for s in samples] == [
        ("source", "1_2", ""),
        ("target", "1_2", "1_2"),
        ("source", "2_2", ""),
        ("target", "2_2", "2_2"),
    ]
    assert [np.atleast_3d(s.image.T)[5, 6].tolist() for s in samples] == [[12, 52, 92], [132], [22, 62, 102], [142]]
    assert samples[0].slice.channel_windows == ((0.0, 255.0),) * 3
    assert samples[1].slice.window == (0.0, 255.0)


def test_an_image_without_all_channels_is_skipped_and_a_channel_without_an_image_is_listed(tmp_path: Path) -> None:
    params = build(tmp_path)
    (tmp_path / "flair/1_2.png").unlink()
    Image.fromarray(np.zeros((12, 10), np.uint8)).save(tmp_path / "t2/7_1.png")
    skipped = dict(left_out(tmp_path, params))
    assert "no 'FLAIR' image of its name matches 'flair/*.png'" in skipped["source 1_2"]
    assert "No image of the first channel has the name of this 'T2' image" in skipped["source t2/7_1.png"]
    assert len(of(prepare(tmp_path, params), "source")) == 3


@pytest.mark.parametrize(
    ("domain", "images", "reason"),
    [
        ("source", {"T1": "t1/*.png"}, "'images' names 1 channel"),
        ("source", {"T1": "t1/*.png", "T2": 5}, "source.images.T2"),
        ("target", CHANNELS, "'images' names channels"),
    ],
)
def test_wrong_channels_are_refused(tmp_path: Path, domain: str, images: object, reason: str) -> None:
    params = build(tmp_path)
    params[domain]["images"] = images
    with pytest.raises(ParamError, match=reason):
        task(params)


def test_a_channel_without_files_is_an_error(tmp_path: Path) -> None:
    params = build(tmp_path)
    params["source"]["images"] = {"T1": "t1/*.png", "T2": "nothing/*.png"}
    with pytest.raises(DataError, match=r"no source images match 'nothing/\*\.png'"):
        prepare(tmp_path, params)
