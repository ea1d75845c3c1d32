"""``synthrad2023`` and ``synthrad2025`` on small replicas of the challenges' layouts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import replicas

from mtbench.compute.context import Context
from mtbench.data import Sample
from mtbench.errors import DataError
from mtbench.formats import put_back, read
from mtbench.registry.params import complete
from mtbench_plugins.datasets.synthrad import mtbench_datasets
from mtbench_plugins.datasets.synthrad.dataset import Synthrad, Synthrad2023, Synthrad2025

SPECS = {spec.name: spec for spec in mtbench_datasets()}
CLASSES: dict[str, type[Synthrad]] = {"synthrad2023": Synthrad2023, "synthrad2025": Synthrad2025}
EXACT = {"size": 16, "mm": 1.5}
"""The grid of the replicas, so that nothing is resampled."""
PELVIS = ("1PA001", "1PA002", "1PC013")
ABDOMEN = ("1ABA001", "1ABA002", "1ABB013")


def dataset(name: str, **params: Any) -> Synthrad:
    return CLASSES[name](**complete({**EXACT, **params}, SPECS[name].params, name))


def prepare(name: str, root: Path, **params: Any) -> tuple[list[Sample], Context]:
    context = Context()
    return list(dataset(name, **params).prepare(root, context)), context


def of_case(samples: list[Sample], domain: str, case: str) -> list[Sample]:
    return [s for s in samples if s.domain == domain and s.slice.case_id == case]


def in_unit(sample: Sample) -> np.ndarray:
    """The stored values in the file's unit."""
    low, high = sample.slice.window or (0.0, 1.0)
    assert sample.image.dtype == np.uint16
    return np.asarray(sample.image / 65535 * (high - low) + low)


@pytest.fixture
def pelvis(tmp_path: Path) -> Path:
    """Task 1, pelvis of 2023: three cases with a truth."""
    replicas.write_synthrad(tmp_path / "Task1/pelvis", PELVIS)
    return tmp_path


class TestLayout:
    @pytest.mark.parametrize(
        ("name", "task", "region", "cases"),
        [
            ("synthrad2023", 1, "pelvis", PELVIS),
            ("synthrad2023", 2, "brain", ("2BA001", "2BB002")),
            ("synthrad2025", 1, "AB", ABDOMEN),
            ("synthrad2025", 2, "HN", ("2HNA001", "2HND002")),
        ],
    )
    def test_pairs_in_their_units(
        self, tmp_path: Path, name: str, task: int, region: str, cases: tuple[str, ...]
    ) -> None:
        source, ending = ("mr", "cbct")[task - 1], ".mha" if name.endswith("2025") else ".nii.gz"
        replicas.write_synthrad(tmp_path / f"Task{task}/{region}", cases, source, ending)
        samples, context = prepare(name, tmp_path, task=task, region=region)
        assert (context.left_out, context.log) == ([], [])
        mask = replicas.axial(replicas.outline())
        for case in cases:
            number = int(case[-3:])
            sources, targets = (of_case(samples, domain, case) for domain in ("source", "target"))
            assert [s.slice.index for s in sources] == [1, 2, 3, 4, 5]  # those that show the body
            assert [t.slice.partner for t in targets] == [s.slice.slice_id for s in sources]
            assert {s.slice.patient_id for s in (*sources, *targets)} == {case}
            assert {(t.slice.window, t.slice.measure_unit) for t in targets} == {((-1024.0, 3071.0), "HU")}
            truth = replicas.axial(replicas.hounsfield(100 + number))[1:]
            assert np.abs(np.stack([in_unit(t) for t in targets]) - truth).max() < 0.05
            volume = replicas.hounsfield(number) if task == 2 else replicas.body(number)
            low, high = (-1024, 3071) if task == 2 else np.percentile(volume, [0.5, 99.5])
            expected = np.clip(replicas.axial(volume)[1:], low, high)
            assert np.abs(np.stack([in_unit(s) for s in sources]) - expected).max() < 0.05
            for sample in (*sources, *targets):
                np.testing.assert_array_equal(sample.mask, mask[sample.slice.index])

    def test_the_task_names_its_domains_and_its_splits(self) -> None:
        spec = SPECS["synthrad2025"]
        task = spec.task(complete({"task": 2}, spec.params, ""), "mine")
        assert (task.source, task.target, task.labels) == ("CBCT", "CT", {1: "body"})
        assert task.masks == {"source", "target", "paired"}
        assert (task.paired, task.paired_training) == (True, True)
        assert "Unofficial splits of the public cases of SynthRAD2025" in task.note

    def test_hidden_truth_is_counted_and_not_used(self, tmp_path: Path) -> None:
        """Training and validation archives beside each other, with their overview folders."""
        train, val = (tmp_path / f"synthRAD2025_Task1_{part}/Task1/AB" for part in ("Train", "Val_Input"))
        replicas.write_synthrad(train, ABDOMEN, ending=".mha")
        replicas.write_synthrad(val, ("1ABA003", "1ABA004"), ending=".mha", truth=False)
        for folder in (train, val):
            (folder / "overviews").mkdir()
            (folder / "overviews/1_AB_parameters.xlsx").touch()
        samples, context = prepare("synthrad2025", tmp_path)
        assert {s.slice.patient_id for s in samples} == set(ABDOMEN)
        assert context.left_out == []
        (line,) = context.log
        assert line.startswith("2 cases (1ABA003, 1ABA004) without ct.mha not used: the truth of the challenge's")
        files = {path.name for path in dataset("synthrad2025").files(tmp_path)}
        assert files == {"mr.mha", "ct.mha", "mask.mha"}
        assert len(list(dataset("synthrad2025").files(tmp_path))) == 9

    def test_a_truth_from_another_archive_joins_its_case(self, tmp_path: Path) -> None:
        parts = [tmp_path / part / "Task1/AB" for part in ("inputs", "truth")]
        replicas.write_synthrad(parts[0], ABDOMEN, ending=".mha")
        (parts[1] / "1ABA001").mkdir(parents=True)
        (parts[0] / "1ABA001/ct.mha").rename(parts[1] / "1ABA001/ct.mha")
        samples, context = prepare("synthrad2025", tmp_path)
        assert len(of_case(samples, "target", "1ABA001")) == 5
        assert (context.left_out, context.log) == ([], [])

    def test_the_root_may_be_the_folder_of_the_task(self, pelvis: Path) -> None:
        assert len(prepare("synthrad2023", pelvis / "Task1")[0]) == 3 * 5 * 2

    def test_slices_go_back_into_the_volume(self, pelvis: Path) -> None:
        targets = of_case(prepare("synthrad2023", pelvis)[0], "target", "1PA001")
        volume = put_back((t.image, t.slice) for t in targets)
        original = read(pelvis / "Task1/pelvis/1PA001/ct.nii.gz")
        assert np.abs(volume.array - original.array)[:, :, 1:].max() < 0.05
        assert np.allclose(volume.file_affine, original.file_affine)

    def test_new_volumes_are_cut_as_the_sources(self, pelvis: Path) -> None:
        volume = read(pelvis / "Task1/pelvis/1PA001/mr.nii.gz")
        images = dataset("synthrad2023").cut(volume).images(volume)
        sources = of_case(prepare("synthrad2023", pelvis)[0], "source", "1PA001")
        assert np.abs(images[1:] - np.stack([s.image for s in sources]) / 65535).max() < 1e-4

    def test_a_body_larger_than_the_field_is_announced(self, pelvis: Path) -> None:
        _, context = prepare("synthrad2023", pelvis, size=8)
        (line,) = context.log
        assert "the body of 3 cases (1PA001, 1PA002, 1PC013) is larger than the field of 12 mm and is cropped" in line

    def test_fields_of_half_a_metre_by_default(self) -> None:
        spec = SPECS["synthrad2023"]
        for region, side in (("pelvis", 512), ("brain", 256)):
            config = Synthrad2023(**complete({"region": region}, spec.params, ""))._config
            assert (config.mm or 0) * config.size == side


class TestBadInput:
    def refused(self, root: Path) -> str:
        """The reason why case 1PA002 is left out; the other two are prepared."""
        samples, context = prepare("synthrad2023", root)
        assert {s.slice.patient_id for s in samples} == {"1PA001", "1PC013"}
        ((case, reason),) = context.left_out
        assert case == "1PA002"
        return reason

    def test_a_renamed_truth(self, pelvis: Path) -> None:
        folder = pelvis / "Task1/pelvis/1PA002"
        (folder / "ct.nii.gz").rename(folder / "CT_1PA002.nii.gz")
        assert self.refused(pelvis) == (
            "Task1/pelvis/1PA002: the case has no ct.nii.gz; it has CT_1PA002.nii.gz. "
            "Expected mr.nii.gz, ct.nii.gz, mask.nii.gz. Rename the file."
        )

    @pytest.mark.parametrize("kind", ["mr", "mask"])
    def test_a_missing_file(self, pelvis: Path, kind: str) -> None:
        (pelvis / f"Task1/pelvis/1PA002/{kind}.nii.gz").unlink()
        reason = self.refused(pelvis)
        assert f"Task1/pelvis/1PA002: the case has no {kind}.nii.gz. Expected mr.nii.gz, ct.nii.gz" in reason
        assert reason.endswith("Unpack the archive again.")

    def test_a_mask_of_another_size(self, pelvis: Path) -> None:
        mask = replicas.outline()[:, :, :5]
        replicas.write_nifti(pelvis / "Task1/pelvis/1PA002/mask.nii.gz", mask, dtype=np.uint8)
        reason = self.refused(pelvis)
        assert "1PA002/mask.nii.gz: the mask is 16 x 16 x 5, its image Task1/pelvis/1PA002/mr.nii.gz is 16 x" in reason

    @pytest.mark.parametrize("what", ["size", "spacing"])
    def test_a_truth_on_another_grid(self, pelvis: Path, what: str) -> None:
        folder = pelvis / "Task1/pelvis/1PA002"
        if what == "size":
            replicas.write_nifti(folder / "ct.nii.gz", replicas.hounsfield(102)[:, :, :5])
        else:
            replicas.write_nifti(folder / "ct.nii.gz", replicas.hounsfield(102), step=(1.5, 1.5, 2.0))
        reason = self.refused(pelvis)
        assert "Task1/pelvis/1PA002/ct.nii.gz: the target image" in reason
        assert "its source image Task1/pelvis/1PA002/mr.nii.gz" in reason
        assert "Resample the target image to the grid of the source image" in reason

    def test_a_folder_with_another_name(self, pelvis: Path) -> None:
        (pelvis / "Task1/pelvis/1PA002").rename(pelvis / "Task1/pelvis/patient2")
        _, context = prepare("synthrad2023", pelvis)
        ((case, reason),) = context.left_out
        assert case == "patient2"
        assert "Task1/pelvis/patient2: this is not the name of a case. Expected 1P, the letter of a centre" in reason

    def test_a_case_in_two_archives(self, pelvis: Path) -> None:
        replicas.write_synthrad(pelvis / "again/Task1/pelvis", ["1PA002"])
        reason = self.refused(pelvis)
        assert "Task1/pelvis/1PA002/ct.nii.gz and again/Task1/pelvis/1PA002/ct.nii.gz are the same file" in reason

    def test_a_region_that_is_not_there(self, pelvis: Path) -> None:
        with pytest.raises(DataError, match="Task1/brain is missing; there is Task1/pelvis") as error:
            prepare("synthrad2023", pelvis, region="brain")
        assert "https://doi.org/10.5281/zenodo.7260705" in str(error.value)

    def test_no_truth_at_all(self, tmp_path: Path) -> None:
        replicas.write_synthrad(tmp_path / "Task1/pelvis", PELVIS, truth=False)
        with pytest.raises(DataError, match=r"no case of Task1/pelvis has a ct.nii.gz.*truth .* is hidden"):
            prepare("synthrad2023", tmp_path)


@pytest.mark.slow
def test_prepare_and_check_as_a_user(tmp_path: Path, run_cli: Any) -> None:
    """Hidden truth is legal under --strict; a renamed file is not."""
    cases = [f"1PA{number:03d}" for number in range(1, 7)]
    replicas.write_synthrad(tmp_path / "Task1/pelvis", cases)
    replicas.write_synthrad(tmp_path / "Task1/pelvis", ["1PB007"], truth=False)
    target = ("synthrad2023:size=16,mm=1.5", "--root", tmp_path)
    ran = run_cli("data", "prepare", *target, "--strict", "--accept-licence", "--store", tmp_path / "store")
    assert ran.code == 0, ran.err
    assert "1 case (1PB007) without ct.nii.gz not used: the truth of the challenge's" in ran.out
    assert "30 source slices of 6 patients, 30 target slices of 6 patients; 0 cases left out" in ran.out
    checked = run_cli("data", "check", *target, "--out", tmp_path / "sheets", "--store", tmp_path / "store")
    assert checked.code == 0, checked.out
    assert "1 case (1PB007) without ct.nii.gz not used" in checked.out
    folder = tmp_path / "Task1/pelvis/1PA003"
    (folder / "ct.nii.gz").rename(folder / "CT.nii.gz")
    ran = run_cli("data", "prepare", *target, "--store", tmp_path / "store")
    assert "25 source slices of 5 patients, 25 target slices of 5 patients; 1 case left out" in ran.out
    ran = run_cli("data", "prepare", *target, "--strict", "--store", tmp_path / "store")
    assert ran.code == 1
    assert "the case has no ct.nii.gz; it has CT.nii.gz" in ran.err


SUITE = """
translators = ["identity"]
metrics = ["mae:body=masks", "mae:body=masks,per=patient", "tissue-error"]
[suite]
name = "cbct"
[[datasets]]
name = "synthrad2025"
root = "ROOT"
params = {task = 2, region = "TH", size = 16, mm = 1.5}
split = SPLIT
"""


@pytest.mark.slow
def test_errors_in_hounsfield_units_within_the_body(tmp_path: Path, run_cli: Any) -> None:
    """The whole way from compressed .mha files to scores: those of an untranslated CBCT follow from the raw volumes."""
    cases = [f"2THA{number:03d}" for number in range(1, 6)]
    replicas.write_synthrad(tmp_path / "data/Task2/TH", cases, "cbct", ".mha")
    sides = ("train", "train", "validation", "test", "test")
    rows = "".join(f"{case},{side}\n" for case, side in zip(cases, sides, strict=True))
    (tmp_path / "sides.csv").write_text("patient,split\n" + rows)
    suite = SUITE.replace("ROOT", str(tmp_path / "data")).replace("SPLIT", '{by = "file", file = "sides.csv"}')
    (tmp_path / "suite.toml").write_text(suite)
    ran = run_cli("run", tmp_path / "suite.toml", "--executor", "inline", "--out", tmp_path / "out")
    assert ran.code == 0, ran.err
    assert "Unofficial splits of the public cases of SynthRAD2025" in " ".join(ran.out.split())
    body = replicas.outline()
    errors = [
        np.abs(replicas.hounsfield(number).clip(-1024, 3071) - replicas.hounsfield(100 + number))[body].mean()
        for number in (4, 5)
    ]
    scores = pq.read_table(tmp_path / "out/scores.parquet").to_pylist()
    # All slices have the same number of pixels in the body.
    assert [row["value"] for row in scores] == [pytest.approx(np.mean(errors), abs=0.05)] * 3
