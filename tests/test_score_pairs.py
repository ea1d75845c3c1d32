"""Which slice is compared with which: volumes lie where their headers say, whatever number their slices have."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

import mtbench
from mtbench.errors import DataError, RequestError

STEP = np.diag([1, 1, 3, 1.0])
HOW: dict[str, Any] = {"plane": "axial", "window": (-1024, 1024), "device": "cpu"}


def volume(seed: int = 0) -> np.ndarray:
    noise = gaussian_filter(np.random.default_rng(seed).normal(size=(24, 26, 12)), 1.5)
    return (noise * 3000).clip(-1000, 1000).astype(np.int16)


def save(folder: Path, array: np.ndarray, first: int = 0, affine: np.ndarray = STEP, name: str = "c.nii.gz") -> Path:
    """A volume whose lowest slice is the one of that number."""
    folder.mkdir(parents=True, exist_ok=True)
    moved = affine.copy()
    moved[:3, 3] += first * affine[:3, 2]
    nibabel.save(nibabel.Nifti1Image(array, moved), folder / name)
    return folder


@pytest.fixture(autouse=True)
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MTBENCH_STORE", str(tmp_path / "store"))


def test_a_truth_that_reaches_further_is_cut_to_what_both_show(tmp_path: Path) -> None:
    truth, found = volume(), volume() + 8
    save(tmp_path / "truth", truth)
    for first, last in ((3, 12), (0, 9), (2, 7)):
        part = save(tmp_path / f"part{first}", found[..., first:last], first)
        row = mtbench.score(part, tmp_path / "truth", metrics=["mae"], paired=True, **HOW)[0]
        # The window is stored in 16 bits, in steps of 0.03.
        assert row["value"] == pytest.approx(8, abs=0.05), (first, last)


def test_a_translation_that_reaches_further_than_the_truth_is_refused(tmp_path: Path) -> None:
    save(tmp_path / "truth", volume()[..., 3:], 3)
    save(tmp_path / "found", volume())
    with pytest.raises(DataError, match=r"truth: no slice of 'c' here is at the position of slice 0 .* 9 mm away"):
        mtbench.score(tmp_path / "found", tmp_path / "truth", metrics=["mae"], paired=True, **HOW)


@pytest.mark.parametrize("affine", [np.diag([-1, -1, 3, 1.0]), np.diag([1, 1, 4, 1.0]), np.diag([1, 1.1, 3, 1.0])])
def test_another_grid_is_refused(tmp_path: Path, affine: np.ndarray) -> None:
    save(tmp_path / "truth", volume())
    save(tmp_path / "found", volume(), affine=affine)
    with pytest.raises(DataError, match="no slice of 'c' here is at the position"):
        mtbench.score(tmp_path / "found", tmp_path / "truth", metrics=["mae"], paired=True, **HOW)


def test_a_difference_in_size_or_name_is_named_as_such(tmp_path: Path) -> None:
    save(tmp_path / "truth", volume())
    save(tmp_path / "found", volume()[:, :20])
    with pytest.raises(DataError, match=r"slices here have 26 x 24 pixels, those of the translated image 20 x 24"):
        mtbench.score(tmp_path / "found", tmp_path / "truth", metrics=["mae"], paired=True, **HOW)
    save(tmp_path / "here", volume(), name="case_12.nii.gz")
    save(tmp_path / "there", volume(), name="case_21.nii.gz")
    with pytest.raises(
        DataError, match=r"there: the translated volume 'case_12' has no match here\. Did you mean 'case_21'"
    ):
        mtbench.score(tmp_path / "here", tmp_path / "there", metrics=["mae"], paired=True, **HOW)


def test_the_same_place_in_another_order_of_axes(tmp_path: Path) -> None:
    save(tmp_path / "truth", volume())
    turned = np.diag([1, 1, -3, 1.0])
    turned[2, 3] = 11 * 3
    save(tmp_path / "found", volume()[..., ::-1], affine=turned)
    assert mtbench.score(tmp_path / "found", tmp_path / "truth", metrics=["mae"], paired=True, **HOW)[0]["value"] == 0


def test_masks_are_aligned_and_so_is_the_body(tmp_path: Path) -> None:
    images = save(tmp_path / "images", volume())
    mask = (gaussian_filter(np.random.default_rng(1).normal(size=(24, 26, 12)), 2) > 0.05).astype(np.uint8)
    reference = save(tmp_path / "reference", mask)
    padded = np.concatenate([np.ones_like(mask[..., :3]), mask], 2)
    found = save(tmp_path / "found", padded, -3)
    row = mtbench.score(images, images, metrics=["dice"], masks=reference, predicted=found, **HOW)[0]
    assert row["value"] == pytest.approx(1)
    body = save(tmp_path / "body", padded, -3)
    truth = save(tmp_path / "truth", np.where(mask == 1, volume(), 1000).astype(np.int16))
    row = mtbench.score(images, truth, metrics=["mae:body=masks"], paired=True, body_mask=body, **HOW)[0]
    # Outside the body everything differs, inside nothing does.
    assert row["value"] == 0


def test_stacks_without_headers_are_paired_by_number(tmp_path: Path) -> None:
    for folder in ("truth", "found"):
        (tmp_path / folder).mkdir()
        np.save(tmp_path / folder / "c.npy", np.moveaxis(volume(), 2, 0))
    how = {**HOW, "plane": None}
    assert mtbench.score(tmp_path / "found", tmp_path / "truth", metrics=["mae"], paired=True, **how)[0]["value"] == 0
    save(tmp_path / "header", volume())
    with pytest.raises(DataError, match="only one has an orientation"):
        mtbench.score(tmp_path / "found", tmp_path / "header", metrics=["mae"], paired=True, **HOW)


@pytest.mark.parametrize("window", [(0, np.inf), (-np.inf, 0), (0, np.nan), (-1e39, 1e39), (5, 5)])
def test_windows_are_finite(tmp_path: Path, window: tuple[float, float]) -> None:
    path = save(tmp_path / "a", volume())
    with pytest.raises(RequestError, match="window"):
        mtbench.score(path, path, metrics=["swd"], **{**HOW, "window": window})
    for option in ("window", "target_window"):
        with pytest.raises(RequestError, match="window"):
            mtbench.translate("identity", path, tmp_path / "out", **{**HOW, option: window})
    from mtbench_plugins.datasets.folder.config import Config

    domain = {"images": "*", "plane": "axial", "normalise": "window", "window": list(window)}
    with pytest.raises(mtbench.MtbenchError, match="finite"):
        Config.of({"source": domain, "target": domain, "resize": "plain", "size": 64})


def test_the_reason_of_an_unreadable_file_keeps_its_own_remedy(tmp_path: Path) -> None:
    path = save(tmp_path / "a", volume())
    with pytest.raises(DataError, match=r"a/c\.nii\.gz: .*--plane.*--skip-unreadable"):
        mtbench.score(path, path, metrics=["swd"], device="cpu")
    with pytest.raises(DataError, match=r"a/c\.nii\.gz: .*--window LOW,HIGH.*--skip-unreadable"):
        mtbench.score(path, path, metrics=["swd"], plane="axial", device="cpu")
