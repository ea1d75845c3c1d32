"""Challenges: scores equal to those of their own programs, result files, and submissions that cannot be scored."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import challenge_submissions as submissions
import numpy as np
import pytest
from conftest import Ran

import mtbench
from mtbench.challenges.files import read_volume
from mtbench.challenges.records import CaseScores, ChallengeCase
from mtbench.challenges.scoring import Scored
from mtbench.challenges.scoring import rows as challenge_rows
from mtbench.compute.means import patient_mean
from mtbench.errors import DataError, RequestError
from mtbench_plugins.challenges.brasyn import Brasyn
from mtbench_plugins.challenges.brasyn import _patient as patient_of
from mtbench_plugins.challenges.lesions import lesion_wise
from mtbench_plugins.challenges.synthrad2025 import Synthrad2025

ORIGINALS: Mapping[str, Any] = json.loads(Path(__file__).with_name("challenge_originals.json").read_text())
CTS = ("1ABA001", "1ABC004", "1HNA002", "1THB003")


def close(value: float, original: float) -> bool:
    return value == original or math.isclose(value, original, rel_tol=1e-6, abs_tol=1e-6)


@pytest.fixture(scope="module")
def cts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("synthrad")
    submissions.synthrad(folder)
    return folder


@pytest.fixture(scope="module")
def brains(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("brasyn")
    submissions.brasyn(folder)
    return folder


@pytest.fixture
def copy(cts: Path, tmp_path: Path) -> Path:
    """A submission to damage."""
    shutil.copytree(cts, tmp_path / "copy")
    return tmp_path / "copy"


@pytest.fixture(scope="module")
def scored(cts: Path) -> tuple[dict[str, dict[str, Any]], dict[str, Any]]:
    """The rows and the results file of SynthRAD2025."""
    rows = score(cts, "synthrad2025", predicted=cts / "segmented", challenge_json=cts / "new/metrics.json")
    return rows, json.loads((cts / "new/metrics.json").read_text())


def score(folder: Path, preset: str, **options: Any) -> dict[str, dict[str, Any]]:
    rows = mtbench.score(folder / "input", folder / "truth", preset=preset, no_plugins=True, **options)
    return {row["metric"] + row["label"]: row for row in rows}


def problems(folder: Path, preset: str = "synthrad2023", **options: Any) -> str:
    with pytest.raises(DataError) as caught:
        score(folder, preset, **options)
    return str(caught.value)


# -- parity


def test_synthrad2023_scores_as_its_program_does(cts: Path) -> None:
    rows = score(cts, "synthrad2023")
    assert set(rows) == {"mae", "ssim", "psnr"}
    for case, values in ORIGINALS["synthrad2023"]["values"].items():
        for metric, value in values.items():
            assert close(rows[metric]["cases"][case], value), (case, metric)
    mae = [values["mae"] for values in ORIGINALS["synthrad2023"]["values"].values()]
    assert close(rows["mae"]["value"], sum(mae) / 4)


def test_synthrad2025_scores_and_writes_its_file_as_its_program_does(scored: Any) -> None:
    rows, ours = scored
    original = ORIGINALS["synthrad2025"]["values"]
    assert set(rows) == {"mae", "psnr", "ms_ssim", "DICE", "HD95"}
    assert set(ours) == set(original)
    assert set(ours["aggregates"]) == set(original["aggregates"])
    for theirs, own in zip(original["results"], ours["results"], strict=True):
        assert set(theirs) == set(own)
        assert all(close(own[metric], theirs[metric]) for metric in theirs)
    for metric, theirs in original["aggregates"].items():
        own = ours["aggregates"][metric]
        assert set(own) == set(theirs)
        assert all(close(own[name], theirs[name]) or math.isnan(theirs[name]) for name in theirs), metric


def test_what_the_challenge_forgives_is_on_the_row(scored: Any) -> None:
    """A lost structure and a case without structures are perfect in HD95; an identical volume is infinite in PSNR."""
    rows = scored[0]
    note = rows["HD95"]["note"]
    assert rows["HD95"]["cases"]["1THB003"] == 0
    assert "1THB003: classes missing from the prediction: 5, 26, 51; as in the challenge, HD95 is 0 mm" in note
    assert "1ABA001: classes missing from the prediction: 26; as in the challenge, they do not count in HD95" in note
    assert "1HNA002: no class of its anatomy" in note
    assert rows["psnr"]["value"] == math.inf
    assert "infinite for 1ABC004" in rows["psnr"]["note"]
    assert "1HNA002.mha: the header of the prediction differs" in note
    assert "its origin is 5 mm away" in note


def test_the_data_range_of_the_metrics_repository(cts: Path) -> None:
    roles = {"truth": "truth/ct", "prediction": "input", "body": "truth/mask"}
    case = mtbench.ChallengeCase("1ABA001", {role: cts / name / "1ABA001.mha" for role, name in roles.items()})
    evaluation, metrics = (Synthrad2025(name, "corrected").measure(case) for name in ("evaluation", "metrics"))
    # The values stay below both ends, so only the range in the ratio differs.
    assert evaluation["psnr"] - metrics["psnr"] == pytest.approx(20 * math.log10(4095 / 4024))
    assert evaluation["ms_ssim"] > metrics["ms_ssim"]


def test_without_label_maps_only_the_image_metrics_are_computed(cts: Path) -> None:
    inspection = Synthrad2025("evaluation", "corrected").inspect(mtbench.Submission(cts / "input", cts / "truth"))
    assert [case.name for case in inspection.cases] == list(CTS)
    assert all("predicted" not in case.files for case in inspection.cases)
    assert "--predicted" in inspection.remarks[-1]


def test_brasyn_scores_as_the_programs_do(brains: Path) -> None:
    submission = mtbench.Submission(brains / "input", brains / "truth", predicted=brains / "segmented")
    inspection = Brasyn().inspect(submission)
    assert inspection.problems == ()
    for case in inspection.cases:
        expected = dict(ORIGINALS["brasyn"]["values"][case.name])
        for region, columns in ORIGINALS["brats"]["values"][case.name].items():
            expected |= {f"{region}_{column}": value for column, value in columns.items()}
        values = Brasyn().measure(case)
        assert set(values) == set(expected)
        assert [name for name in values if not close(values[name], expected[name])] == [], case.name


def test_a_case_without_tumour_has_no_scores_in_it_and_says_so(brains: Path) -> None:
    rows = score(brains, "brasyn", predicted=brains / "segmented")
    assert rows["SSIM_tumor"]["n"] == 3
    assert "mean of 3 of 4 cases" in rows["SSIM_tumor"]["note"]
    assert "BraTS-GLI-00002-000: no tumour in the reference" in rows["SSIM_tumor"]["note"]
    # A small lesion was invented in it: one false positive of any size is Dice 0 and HD95 374 mm.
    assert rows["WT_LesionWise_Score_Dice"]["cases"]["BraTS-GLI-00002-000"] == 0
    assert rows["WT_LesionWise_Score_HD95"]["cases"]["BraTS-GLI-00002-000"] == 374
    # Neither side has an enhancing tumour.
    assert rows["ET_LesionWise_Score_Dice"]["cases"]["BraTS-GLI-00002-000"] == 1


def test_two_empty_masks_and_one_empty_mask() -> None:
    nothing, lesion = np.zeros((12, 12, 12), bool), submissions.ball((6, 6, 6), 4, (12, 12, 12))
    for predicted, reference, dice, distance in (
        (nothing, nothing, 1.0, 0.0),
        (lesion, nothing, 0.0, 374.0),
        (nothing, lesion, 0.0, 374.0),
        (lesion, lesion, 1.0, 0.0),
    ):
        scores = lesion_wise(predicted, reference, (1.0, 1.0, 1.0))
        assert (scores.dice, scores.hd95) == (dice, distance)
    # Up to 50 cubic millimetres, a missed lesion does not count.
    small = submissions.ball((6, 6, 6), 2, (12, 12, 12))
    assert small.sum() == 27
    assert lesion_wise(nothing, small, (1.0, 1.0, 1.0)).dice == 1.0
    assert lesion_wise(nothing, small, (1.0, 1.0, 2.0)).dice == 0.0
    assert lesion_wise(nothing, small, (1.0, 1.0, 1.0), smallest=2).dice == 0.0


def test_brain_files_that_cannot_be_used(brains: Path, tmp_path: Path) -> None:
    shutil.copytree(brains, tmp_path / "copy")
    copy, case = tmp_path / "copy", "BraTS-GLI-0000{}-000"
    first, second, third = (case.format(k) for k in (1, 2, 3))
    (copy / f"input/{first}/{first}-t1n.nii.gz").rename(copy / f"input/{first}/{first}-t1c.nii.gz")
    labels = read_volume(copy / f"segmented/{second}.nii.gz", labels=True).array.astype(np.uint8)
    submissions.write_nifti(copy / f"segmented/{second}.nii.gz", np.where(labels, 4, 0).astype(np.uint8))
    submissions.write_nifti(copy / f"input/{third}/{third}-t1c.nii.gz", np.zeros((30, 28, 26), np.float32))
    text = problems(copy, "brasyn", predicted=copy / "segmented")
    assert f"case '{first}' has no true image of the predicted sequence" in text
    assert "unknown labels 4; expected 1, 2 and 3, as in BraTS since 2023 (before: 1, 2, 4)" in text
    assert f"{third}-t1c.nii.gz: 99 % of its voxels have one value" in text


@pytest.mark.parametrize("how", ["segmented", "without"])
def test_mrixfields_writes_what_its_scorer_writes(how: str, tmp_path: Path) -> None:
    submissions.mrixfields(tmp_path, segmented=how == "segmented")
    file = tmp_path / "results.json"
    folders = (tmp_path / "input/task1", tmp_path / "truth/task1")
    rows = mtbench.score(*folders, preset="mrixfields2026", challenge_json=file, no_plugins=True)
    expected, ours = ORIGINALS["mrixfields2026"]["values"][how], json.loads(file.read_text())
    assert {key: value for key, value in ours.items() if "LPIPS" not in key} == expected
    assert {value for key, value in ours.items() if "LPIPS" in key} == {None}
    values = {(row["metric"], row["label"]): row["value"] for row in rows}
    assert values["SSIM", "T2W"] == pytest.approx(expected["Avg_T2W_SSIM_adj"], abs=1e-6)
    if how == "without":
        assert values["Dice", ""] is None
        assert "the challenge reports null without them" in rows[0]["note"]


def test_field_strength_submissions_that_cannot_be_used(tmp_path: Path) -> None:
    submissions.mrixfields(tmp_path)
    folders = (tmp_path / "input/task1", tmp_path / "truth/task1")
    place = folders[0] / "T1W/0.1T_to_7T"
    (place / "pred/P_T1W_7T_0001.nii.gz").rename(place / "pred/P_T1W_7T_1.nii.gz")
    (place / "seg/P_T1W_7T_0002_seg.nii.gz").unlink()
    holes = np.full((24, 20, 12), np.nan, np.float32)
    submissions.write_nifti(folders[0] / "T2W/0.1T_to_7T/pred/P_T2W_7T_0001.nii.gz", holes)
    with pytest.raises(DataError) as caught:
        mtbench.score(*folders, preset="mrixfields2026", no_plugins=True)
    for words in (
        "P_T1W_7T_1.nii.gz: unexpected name or place",
        "case 'T1W/0.1T_to_7T/0001' has no prediction",
        "case 'T1W/0.1T_to_7T/0002' has no label map",
        "P_T2W_7T_0001.nii.gz: 5760 of its 5760 values are NaN or infinite",
    ):
        assert words in str(caught.value)
    with pytest.raises(DataError, match="the folders are called input and task1; expected task1, task2 or task3"):
        mtbench.score(tmp_path / "input", folders[1], preset="mrixfields2026", no_plugins=True)


# -- submissions that cannot be scored


def test_every_problem_is_listed_at_once(copy: Path) -> None:
    (copy / "input/1ABA001.mha").rename(copy / "input/1ABA01.mha")
    (copy / "input/1ABC004.mha").unlink()
    submissions.write_mha(copy / "input/1HNA002.mha", np.zeros((26, 22, 17), np.int16))
    submissions.write_mha(copy / "truth/mask/1THB003.mha", np.zeros(submissions.SHAPE, np.uint8))
    text = problems(copy)
    assert "has 5 problems, and nothing was scored" in text
    assert "case '1ABA001' has no prediction" in text
    assert "1ABA01.mha may be this case, renamed" in text
    assert "1ABA01.mha belongs to no case of the truth" in text
    assert "case '1ABC004' has no prediction" in text
    assert "1HNA002.mha: the prediction is 26 x 22 x 17 voxels, its truth 26 x 22 x 18" in text
    assert "1THB003.mha: the body mask is empty, so its scores are undefined" in text


def test_another_spacing_is_on_the_row(copy: Path) -> None:
    image = read_volume(copy / "input/1THB003.mha").array
    submissions.write_mha(copy / "input/1THB003.mha", image, spacing=(1, 0.9, 2.5))
    note = score(copy, "synthrad2023")["mae"]["note"]
    assert "spacing 1 x 0.9 x 2.5 mm instead of 1.2 x 0.9 x 2.5 mm; ignored, as in the challenge" in note


def test_values_that_are_not_hounsfield_units_are_on_the_row(copy: Path) -> None:
    submissions.write_mha(copy / "input/1THB003.mha", submissions.waves(1).astype(np.float32))
    note = score(copy, "synthrad2023")["mae"]["note"]
    assert "1THB003.mha: its values range from 0 to 1; expected Hounsfield units" in note


def test_label_maps_that_cannot_be_used(copy: Path) -> None:
    labels = read_volume(copy / "segmented/1ABA001.mha", labels=True).array.copy()
    labels[0, 0, 0] = 200
    submissions.write_mha(copy / "segmented/1ABA001.mha", labels)
    submissions.write_mha(copy / "segmented/1ABC004.mha", labels[1:])
    (copy / "segmented/1HNA002.mha").unlink()
    submissions.write_mha(copy / "truth/segmentation/1THB003.mha", np.full(submissions.SHAPE, 0.5, np.float32))
    text = problems(copy, "synthrad2025", predicted=copy / "segmented")
    assert "1ABA001.mha: unknown labels 200; expected TotalSegmentator's labels 1 to 117" in text
    assert "1ABC004.mha: the predicted label map is 25 x 22 x 18 voxels" in text
    assert "case '1HNA002' has no predicted label map" in text
    assert "1THB003.mha: this mask holds values that are not integers" in text


def test_an_anatomy_that_the_challenge_does_not_know(copy: Path) -> None:
    for folder in ("input", "segmented", "truth/ct", "truth/mask", "truth/segmentation"):
        (copy / folder / "1THB003.mha").rename(copy / folder / "1PAB003.mha")
    assert "the ID '1PAB003' names no anatomy" in problems(copy, "synthrad2025", predicted=copy / "segmented")
    without = Synthrad2025("evaluation", "corrected").inspect(mtbench.Submission(copy / "input", copy / "truth"))
    assert not without.problems  # the image metrics need no anatomy


def test_two_files_of_one_case(copy: Path) -> None:
    shutil.copy(copy / "input/1THB003.mha", copy / "input/sct_1THB003.mha")
    assert "case '1THB003' has two files" in problems(copy)


def test_a_truth_without_cases_says_what_was_expected(copy: Path) -> None:
    shutil.rmtree(copy / "truth/ct")
    shutil.rmtree(copy / "truth/mask")
    shutil.rmtree(copy / "truth/segmentation")
    text = problems(copy)
    assert "belongs to no case of the truth" in text
    assert "ct/ID.mha and mask/ID.mha" in text


def test_options_that_the_challenge_decides_are_refused(cts: Path) -> None:
    for options, name in (({"window": (0, 1)}, "--window"), ({"metrics": ["mae"]}, "-m")):
        with pytest.raises(RequestError, match=f"Omit {name}"):
            score(cts, "synthrad2023", **options)
    with pytest.raises(RequestError, match="--challenge-json needs a challenge"):
        mtbench.score(cts / "input", cts / "truth", challenge_json="x.json")
    with pytest.raises(RequestError, match=r"no metrics? .*synthrad2203|synthrad2203.*Did you mean 'synthrad2023'"):
        score(cts, "synthrad2203")
    with pytest.raises(RequestError, match=r"nowhere: the folder of the truth does not exist"):
        mtbench.score(cts / "input", cts / "nowhere", preset="synthrad2023")


# -- intervals


def rows_of(cases: Sequence[tuple[ChallengeCase, float]], bounds: tuple[float, float] = (0.0, 1.0)) -> dict[str, Any]:
    metric = mtbench.ChallengeMetric("Dice", True, bounds=bounds)
    spec = mtbench.ChallengeSpec("dice-alone", "no.such.module:Class", metrics=(metric,))
    scores = tuple(CaseScores(case, {"Dice": value}) for case, value in cases)
    return {row["label"]: row for row in challenge_rows(Scored(spec, {}, scores, (), {}))}


def case(name: str, group: str = "", patient: str = "") -> ChallengeCase:
    return ChallengeCase(name, {}, group, patient=patient)


def test_intervals_resample_patients_and_stay_within_bounds() -> None:
    values = [0.99, 0.97, 1.0, 0.98, 0.2, 0.99, 0.96, 1.0, 0.97, 0.99]
    alone = rows_of([(case(str(i)), value) for i, value in enumerate(values)])[""]
    mean = patient_mean(np.array(values), np.ones(10))
    assert (alone["ci_low"], alone["ci_high"]) == (pytest.approx(mean.interval()[0]), 1.0)
    assert mean.interval()[1] > 1.0
    # The same values twice are no more patients, so the interval is no narrower.
    twice = [(case(f"{i}-{part}", part, str(i)), value) for i, value in enumerate(values) for part in "ab"]
    grouped = rows_of(twice)
    assert grouped[""]["n_patients_translated"] == 10
    assert grouped[""]["ci_low"] == pytest.approx(alone["ci_low"])
    assert grouped["a"]["ci_low"] == pytest.approx(alone["ci_low"])


def test_a_reason_stands_where_there_is_no_interval() -> None:
    few = rows_of([(case(str(i)), i / 10) for i in range(4)])[""]
    assert few["ci_low"] is None
    assert few["without_interval"] == "4 patients, at least 10 are needed"
    endless = rows_of([(case(str(i)), math.inf if i == 3 else 0.5) for i in range(12)], (0.0, math.inf))[""]
    assert endless["without_interval"] == "not all values are finite"


def test_examinations_of_one_brats_patient_are_one_patient() -> None:
    assert patient_of("BraTS-GLI-00005-000") == patient_of("BraTS-GLI-00005-100") == "BraTS-GLI-00005"
    assert patient_of("case-7") == "case-7"


# -- the command


def test_the_command_prints_rows_and_writes_the_file(cts: Path, run_cli: Callable[..., Ran], tmp_path: Path) -> None:
    call = ("score", cts / "input", cts / "truth", "--preset", "synthrad2023", "--challenge-json", "m.json")
    ran = run_cli(*call)
    assert ran.code == 0
    assert "MAE[synthrad2023] ↓" in ran.out
    assert "dose metrics need treatment plans" in ran.err
    assert json.loads((tmp_path / "m.json").read_text())["aggregates"]["mae"]["count"] == 4
    ran = run_cli(*call, "--json")
    rows = {row["metric"]: row for row in json.loads(ran.out)}
    assert rows["mae"]["cases"].keys() == set(CTS)
    assert rows["psnr"]["value"] is None  # JSON has no infinity
    assert rows["psnr"]["cases"]["1ABC004"] is None
