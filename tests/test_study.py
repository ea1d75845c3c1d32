"""The study on metrics that choose: its yardsticks and its verdicts, against values computed by hand."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from mtbench.analysis.checkpoints import TrainingRun
from mtbench.compute.context import Context
from mtbench.data import ImageSet, MetricInputs, Slice, Task

STUDY = Path(__file__).parents[1] / "benchmarks" / "study"
sys.path.insert(0, str(STUDY))
import study  # noqa: E402
import verdicts  # noqa: E402
import yardsticks  # noqa: E402

sys.path.remove(str(STUDY))

TASK = Task("d", labels={1: "bone"})


def images(*slices: object, domain: str = "paired") -> ImageSet:
    pixels = np.array(slices, dtype=np.float32)
    records = tuple(Slice(f"s{i}", f"p{i}", f"p{i}", 0) for i in range(len(pixels)))
    return ImageSet(pixels, records, None, TASK, domain, "test")  # type: ignore[arg-type]


TRAINING = images([[0.0, 0.3, 0.6, 0.9]] * 4)
TRUTH = images([[0.0, 0.0, 0.9, 0.9]], [[0.0, 0.3, 0.6, 0.9]])


def test_placement_is_the_dice_of_classes() -> None:
    candidate = images([[0.0, 0.9, 0.9, 0.9]], [[0.0, 0.305, 0.605, 0.905]])
    inputs = MetricInputs(TASK, candidate=candidate, paired=TRUTH, training=TRAINING)
    (score,) = yardsticks.Placement().compute(inputs, Context())
    assert score.cases is not None
    # Air: 1 of 1 and 2 pixels, 2/3; bone: 2 of 3 and 2 pixels, 4/5; the two other classes are in neither image.
    assert score.cases.values == pytest.approx([(2 / 3 + 4 / 5) / 2, 1.0])


def test_class_error_counts_each_tissue_alike() -> None:
    candidate = images([[0.1, 0.1, 0.5, 0.9]], [[0.0, 0.3, 0.6, 0.9]])
    inputs = MetricInputs(TASK, candidate=candidate, paired=TRUTH, training=TRAINING)
    (score,) = yardsticks.ClassError().compute(inputs, Context())
    assert score.cases is not None
    assert score.cases.values == pytest.approx([(0.1 + 0.2) / 2, 0.0], abs=1e-6)


def test_dice_gain_is_less_the_dice_of_other_patients() -> None:
    masks = np.array([[[1, 1, 0, 0]], [[0, 0, 1, 1]], [[1, 1, 0, 0]]], np.uint8)
    inputs = MetricInputs(TASK, candidate=images(*np.zeros((3, 1, 4))), predicted_masks=masks, reference_masks=masks)
    (score,) = yardsticks.DiceGain().compute(inputs, Context())
    assert score.cases is not None
    assert score.cases.values == pytest.approx([1 - 0.5, 1 - 0.0, 1 - 0.5])


def candidates(judged: np.ndarray, truth: np.ndarray) -> verdicts.Candidates:
    runs = tuple(TrainingRun(f"gan-{i}", 0, None) for i in range(len(judged)))
    both = np.stack([truth, judged], axis=-1)
    names, families = ("Placement", "FID"), ("paired", "perceptual")
    return verdicts.Candidates("d", runs, ("gan",) * len(runs), names, families, both, both)


def test_agreement_and_regret_of_three_questions() -> None:
    truth = np.array([[0.1, 0.2, 0.3], [0.3, 0.2, 0.1], [0.5, 0.5, 0.6]])
    judged = np.array([[1.0, 2.0, 3.0], [1.0, 2.0, 3.0], [1.0, 2.0, 2.0]])
    task = candidates(judged, truth)
    # Fit 1: all 3 pairs; fit 2: none; fit 3: of two pairs with a verdict one is right and one a tie.
    assert verdicts.checkpoints(task, 1, 0).value == pytest.approx((3 + 0 + 1.5) / 8)
    assert verdicts.checkpoints(task, 1, 0).count == 8
    # Final checkpoints: truth 0.3, 0.1, 0.6; judged 3, 3, 2. One tie, two wrong.
    assert verdicts.fits(task, 1, 0).value == pytest.approx(0.5 / 3)
    # Chosen: 0.3 of 0.3; 0.1 of 0.3; the mean of 0.5 and 0.6, of 0.6.
    assert verdicts.regret(task, 1, 0).value == pytest.approx((0 + 0.2 + 0.05) / 3)
    assert verdicts.regrets(task, verdicts.LAST, 0) == pytest.approx([0, 0.2, 0])
    assert verdicts.regrets(task, verdicts.RANDOM, 0) == pytest.approx([0.1, 0.1, 0.2 / 3])
    low, high = verdicts.checkpoints(task, 1, 0).interval
    assert (low, high) == (0.0, 1.0)  # three fits: all of the first, or all of the second


def test_a_missing_score_leaves_its_pairs_out() -> None:
    truth = np.array([[0.1, 0.2, 0.3], [0.3, 0.2, 0.1]])
    judged = np.array([[1.0, np.nan, 3.0], [3.0, 2.0, 1.0]])
    task = candidates(judged, truth)
    assert (verdicts.checkpoints(task, 1, 0).value, verdicts.checkpoints(task, 1, 0).count) == (1.0, 4)
    assert np.isnan(verdicts.regrets(task, 1, 0)).tolist() == [True, False]


def test_a_score_of_final_checkpoints_only_judges_fits_and_no_checkpoints() -> None:
    truth = np.array([[0.1, 0.2, 0.3], [0.3, 0.2, 0.1], [0.5, 0.5, 0.6]])
    judged = np.full_like(truth, np.nan)
    judged[:, -1] = [2.0, 1.0, 0.0]
    task = candidates(judged, truth)
    # Of the three pairs of fits it prefers the better one once.
    assert verdicts.fits(task, 1, 0).value == pytest.approx(1 / 3)
    assert verdicts.checkpoints(task, 1, 0).text() == "–"
    assert verdicts.regret(task, 1, 0).less(verdicts.regret(task, verdicts.LAST, 0)).text() == "–"


def test_the_reverse_suite_trains_the_same_fits() -> None:
    forth, back = (study.suite(study.TASKS[0], study.METRICS, 4, reverse) for reverse in (False, True))
    assert forth[forth.index('"cyclegan-0"') :] == back[back.index('"cyclegan-0"') :]
    assert 'protocols = ["train-on-translated"]' in back
    assert "target_patients" in forth


def test_settings_are_drawn_from_their_names_alone() -> None:
    first, second = (study.suite(task, study.METRICS, 4) for task in study.TASKS[:2])
    assert first == study.suite(study.TASKS[0], study.METRICS, 4)
    assert first.count("[[translators]]") == second.count("[[translators]]") == 21
    entry = first[first.index('"cut-1"') : first.index('"cut-2"')]
    assert entry in study.suite(study.TASKS[0], study.METRICS, 8)
    assert entry not in second
