"""Paired tasks of ``folder``: images of one name are partners, as plain slices, stacks and volumes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import replicas
from PIL import Image

from mtbench.compute.context import Context
from mtbench.data import Sample, Task
from mtbench.errors import DataError, ParamError
from mtbench.registry.params import complete
from mtbench_plugins.datasets.folder import mtbench_datasets
from mtbench_plugins.datasets.folder.dataset import Folder

SPEC = next(iter(mtbench_datasets()))
SLICES = {
    "source": {"images": "mr/*_mr.png", "patient": r"mr/(p\d)_", "normalise": "none"},
    "target": {"images": "ct/*_ct.png", "patient": r"ct/(p\d)_", "normalise": "none"},
    "resize": "none",
    "paired": True,
}
VOLUMES = {
    "source": {"images": "*/mr.nii.gz", "plane": "axial"},
    "target": {"images": "*/ct.nii.gz", "plane": "axial", "window": [0, 1000], "measure_unit": "HU"},
    "resize": "none",
    "paired": True,
}


def grey(patient: int, index: int, domain: str) -> np.ndarray:
    """An image that no other patient, slice or domain has."""
    image = np.full((12, 10), 20 * patient + 3 * index + 100 * (domain == "ct"), np.uint8)
    image[0, :2] = 0, 255
    return image


def write_slices(root: Path, patients: int = 4) -> None:
    """Two slices of each patient in both domains, one file each."""
    for patient in range(patients):
        for index in range(2):
            for domain in ("mr", "ct"):
                path = root / domain / f"p{patient}_{index}_{domain}.png"
                path.parent.mkdir(exist_ok=True, parents=True)
                Image.fromarray(grey(patient, index, domain)).save(path)


def write_volumes(root: Path, patients: int = 4) -> None:
    """A volume of each patient in both domains, whose files point in other directions."""
    for number in range(patients):
        for seed, name, axes in ((number, "mr", "PIR"), (100 + number, "ct", "RAS")):
            replicas.write_nifti(root / f"p{number}/{name}.nii.gz", replicas.body(seed), axes)


def prepare(root: Path, params: Mapping[str, Any]) -> tuple[list[Sample], Context]:
    context = Context()
    dataset = Folder(**complete(params, SPEC.params, "dataset 'folder'"))
    return list(dataset.prepare(root, context)), context


def task(params: Mapping[str, Any]) -> Task:
    return SPEC.task(complete(params, SPEC.params, "dataset 'folder'"), "mine")


def pairs(samples: list[Sample]) -> list[tuple[Sample, Sample]]:
    """Each source sample with the target sample that names it."""
    targets = {s.slice.partner: s for s in samples if s.domain == "target"}
    return [(s, targets.pop(s.slice.slice_id)) for s in samples if s.domain == "source"]


def change(params: Mapping[str, Any], domain: str, **keys: Any) -> dict[str, Any]:
    return {**params, domain: {**params[domain], **keys}}


class TestPairs:
    def test_slices_of_one_name_are_partners(self, tmp_path: Path) -> None:
        write_slices(tmp_path)
        samples, context = prepare(tmp_path, SLICES)
        assert context.left_out == []
        found = pairs(samples)
        assert [s.slice.slice_id for s, _ in found] == [f"p{p}_{i}" for p in range(4) for i in range(2)]
        for source, target in found:
            patient, index = int(source.slice.slice_id[1]), int(source.slice.slice_id[3])
            np.testing.assert_array_equal(source.image, grey(patient, index, "mr"))
            np.testing.assert_array_equal(target.image, grey(patient, index, "ct"))
            assert source.slice.patient_id == target.slice.patient_id == f"p{patient}"

    def test_volumes_of_one_name_are_partners_slice_by_slice(self, tmp_path: Path) -> None:
        write_volumes(tmp_path)
        samples, context = prepare(tmp_path, VOLUMES)
        assert context.left_out == []
        found = pairs(samples)
        assert len(found) == 4 * 6
        for source, target in found:
            number, index = int(source.slice.patient_id[1]), source.slice.index
            for sample, seed in ((source, number), (target, 100 + number)):
                low, high = sample.slice.window or (0, 0)
                expected = (replicas.axial(replicas.body(seed))[index] - low) / (high - low)
                assert np.abs(sample.image / 255 - np.clip(expected, 0, 1)).max() < 0.003
            assert target.slice.measure_unit == "HU"

    def test_stacks_without_orientation_are_partners_by_position(self, tmp_path: Path) -> None:
        for name, offset in (("mr", 0), ("ct", 100)):
            for patient in range(2):
                (tmp_path / name).mkdir(exist_ok=True)
                stack = np.arange(3, dtype=np.uint8)[:, None, None] + offset + 10 * patient
                np.save(tmp_path / name / f"p{patient}.npy", np.broadcast_to(stack, (3, 8, 8)).copy())
        params = {d: {"images": f"{n}/*.npy", "normalise": "none"} for d, n in (("source", "mr"), ("target", "ct"))}
        samples, _ = prepare(tmp_path, {**params, "resize": "none", "paired": True})
        assert [int(t.image[0, 0]) - int(s.image[0, 0]) for s, t in pairs(samples)] == [100] * 6

    def test_a_pair_is_kept_if_both_domains_keep_it(self, tmp_path: Path) -> None:
        """The source keeps slices 1 to 5, the mask of the target shows bone from 2 on, and every second one counts."""
        write_volumes(tmp_path)
        bone = np.zeros(replicas.SHAPE, bool)
        bone[3:9, 3:9, 2:] = True
        for number in range(4):
            replicas.write_nifti(tmp_path / f"p{number}/bone.nii.gz", bone, "LPS", dtype=np.uint8)
        params = change(VOLUMES, "source", slices=[1, 5], every=2)
        params = change(params, "target", masks={"bone": "bone.nii.gz"}, min_area=1, every=2)
        samples, _ = prepare(tmp_path, params)
        found = pairs(samples)
        assert [s.slice.index for s, _ in found] == [2, 4] * 4
        assert all(s.mask is None for s, _ in found)
        assert {int(np.count_nonzero(t.mask)) for _, t in found if t.mask is not None} == {36}
        # The truth of a source slice has the mask of its target slice, so that metrics can be limited to it.
        assert task(params).masks == {"target", "paired"}

    def test_the_task_is_paired_in_every_split(self) -> None:
        assert (task(SLICES).paired, task(SLICES).paired_training) == (True, True)
        plain = task({**SLICES, "paired": False})
        assert (plain.paired, plain.paired_training) == (False, False)

    def test_without_the_parameter_nothing_is_paired(self, tmp_path: Path) -> None:
        write_slices(tmp_path)
        samples, _ = prepare(tmp_path, {**SLICES, "paired": False})
        assert {s.slice.partner for s in samples} == {""}

    def test_files_are_those_of_pairs(self, tmp_path: Path) -> None:
        write_slices(tmp_path, 3)
        (tmp_path / "ct/p1_0_ct.png").unlink()
        files = Folder(**complete(SLICES, SPEC.params, "")).files(tmp_path)
        names = sorted(path.name for path in files)
        expected = [f"p{p}_{i}_{d}.png" for p in range(3) for i in range(2) for d in ("ct", "mr") if (p, i) != (1, 0)]
        assert names == sorted(expected)


class TestBadPairs:
    def test_a_source_without_a_partner_is_skipped_with_the_reason(self, tmp_path: Path) -> None:
        write_slices(tmp_path)
        (tmp_path / "ct/p1_0_ct.png").unlink()
        (tmp_path / "mr/p2_1_mr.png").unlink()
        samples, context = prepare(tmp_path, SLICES)
        assert [s.slice.slice_id for s, _ in pairs(samples)] == ["p0_0", "p0_1", "p1_1", "p2_0", "p3_0", "p3_1"]
        assert context.left_out == [
            (
                "source p1_0",
                "mr/p1_0_mr.png has no partner: no target image that matches 'ct/*_ct.png' has the name 'p1_0'.",
            ),
            (
                "target p2_1",
                "ct/p2_1_ct.png has no partner: no source image that matches 'mr/*_mr.png' has the name 'p2_1'.",
            ),
        ]

    def test_slices_of_other_sizes(self, tmp_path: Path) -> None:
        write_slices(tmp_path)
        Image.fromarray(np.zeros((12, 11), np.uint8)).save(tmp_path / "ct/p1_0_ct.png")
        samples, context = prepare(tmp_path, {**SLICES, "resize": "plain", "size": 16})
        ((case, reason),) = context.left_out
        assert case == "pair p1"
        assert "ct/p1_0_ct.png: the target image is 12 x 11, its source image mr/p1_0_mr.png is 12 x 10" in reason
        assert reason.endswith("Expected the same size. Resample the target image to the grid of the source image.")
        assert {s.slice.patient_id for s in samples} == {"p0", "p2", "p3"}

    @pytest.mark.parametrize("what", ["spacing", "position", "slices"])
    def test_volumes_on_other_grids(self, tmp_path: Path, what: str) -> None:
        write_volumes(tmp_path)
        path = tmp_path / "p2/ct.nii.gz"
        volume = replicas.body(102)
        if what == "spacing":
            replicas.write_nifti(path, volume, "RAS", step=(1.5, 1.5, 2.5))
        elif what == "position":
            replicas.write_nifti(path, volume, "RAS", offset=1.0)
        else:
            replicas.write_nifti(path, volume[:, :, :5], "RAS")
        _, context = prepare(tmp_path, VOLUMES)
        ((case, reason),) = context.left_out
        assert case == "pair p2"
        assert "p2/ct.nii.gz" in reason
        assert "p2/mr.nii.gz" in reason
        assert "Resample the target image to the grid of the source image" in reason
        assert ("is 16 x 16 x 5" if what == "slices" else "their headers differ") in reason

    def test_partners_of_other_patients(self, tmp_path: Path) -> None:
        write_slices(tmp_path)
        with pytest.raises(DataError, match=r"is of the patient 'p0', its partner ct/p0_0_ct.png of 'p'") as error:
            prepare(tmp_path, change(SLICES, "target", patient=r"ct/(p)\d_"))
        assert "Correct params.source.patient or params.target.patient" in str(error.value)

    def test_no_usable_pair_names_the_first(self, tmp_path: Path) -> None:
        write_slices(tmp_path, 1)
        Image.fromarray(np.zeros((12, 11), np.uint8)).save(tmp_path / "ct/p0_0_ct.png")
        with pytest.raises(DataError, match=r"the source domain has 0 images .* the first, pair p0: .* is 12 x 11"):
            prepare(tmp_path, SLICES)

    def test_no_pair_at_all(self, tmp_path: Path) -> None:
        write_slices(tmp_path)
        params = change(SLICES, "target", images="ct/*.png")
        with pytest.raises(DataError, match=r"no source image has a partner: 'p0_0' .*'p0_0_ct' .*wildcards") as error:
            prepare(tmp_path, params)
        assert "mr/p0_0_mr.png" in str(error.value)

    @pytest.mark.parametrize(("key", "value"), [("plane", "coronal"), ("crop", [0.0, 0.5, 0.0, 1.0]), ("every", 2)])
    def test_domains_that_are_cut_in_different_ways(self, key: str, value: object) -> None:
        with pytest.raises(ParamError, match=f"'{key}' is .*the same '{key}' in both domains, because paired = true"):
            task(change(VOLUMES, "target", **{key: value}))


SUITE = """
[suite]
name = "pairs"
[[datasets]]
name = "mine"
plugin = "folder"
root = "{root}"
params = {params}
[[translators]]
name = "pointwise-map"
[[metrics]]
name = "mae"
"""


def toml(value: Any) -> str:
    """A value as inline TOML."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key} = {toml(of)}" for key, of in value.items()) + "}"
    return json.dumps(value)


def test_prepare_counts_what_it_left_out_and_strict_refuses(tmp_path: Path, run_cli: Any) -> None:
    write_slices(tmp_path / "files", 6)
    (tmp_path / "files/ct/p5_0_ct.png").unlink()
    suite = tmp_path / "suite.toml"
    suite.write_text(SUITE.format(root=tmp_path / "files", params=toml(SLICES)))
    refused = run_cli("data", "prepare", suite, "--strict", "--store", tmp_path / "strict")
    assert refused.code == 1
    assert "1 case unusable: source p5_0: mr/p5_0_mr.png has no partner" in refused.err
    ran = run_cli("data", "prepare", suite, "--store", tmp_path / "store")
    assert ran.code == 0, ran.err
    assert "mine: prepared; 11 source slices of 6 patients, 11 target slices of 6 patients; 1 case left out" in ran.out
