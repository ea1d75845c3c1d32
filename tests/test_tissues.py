"""``tissue-error`` and ``radiomic-agreement``: by hand, against SciPy and scikit-image, and by Lin's formula."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import scipy.stats
from skimage.measure import regionprops

from mtbench import Context, DataError, ImageSet, MetricInputs, Slice, Task
from mtbench.stages.scoring import score
from mtbench_plugins.metrics.agreement import RadiomicAgreement, concordance, first_order, shape
from mtbench_plugins.metrics.radiomic_agreement import mtbench_metrics
from mtbench_plugins.metrics.tissues import TissueError

TASK = Task("t", labels={1: "bone", 2: "fat"}, paired=True)


def inputs(made: Any, true: Any, masks: Any, found: Any = None, window: Any = (-1000.0, 1000.0)) -> MetricInputs:
    """Images in [0, 1] as float32; two slices a patient."""
    slices = tuple(
        Slice(
            f"s{i}", f"p{i // 2}", f"p{i // 2}", i % 2, (2.0, 0.5), window=window, measure_unit="HU" if window else ""
        )
        for i in range(len(made))
    )
    sets = [ImageSet(np.asarray(v, np.float32), slices, None, TASK, "source", "test") for v in (made, true)]
    masks = np.asarray(masks, np.uint8)
    return MetricInputs(TASK, sets[0], paired=sets[1], predicted_masks=found, reference_masks=masks)


def scene(count: int = 6) -> tuple[Any, Any, Any]:
    """Translations, truth, and masks with bone on the left and fat on the right."""
    rng = np.random.default_rng(21)
    masks = np.zeros((count, 10, 12), np.uint8)
    masks[:, 2:8, 1:5], masks[:, 3:9, 7:11] = 1, 2
    true = rng.uniform(0.2, 0.8, masks.shape)
    return true + rng.normal(0.01, 0.02, masks.shape), true, masks


def test_errors_are_those_of_the_pixels_of_a_region_in_hounsfield_units() -> None:
    true = np.full((2, 4, 4), 0.5)
    masks = np.zeros((2, 4, 4))
    masks[:, 0, :2], masks[0, 3, 3] = 1, 2
    made = true.copy()
    made[0, 0, 0], made[0, 0, 1] = 0.6, 0.45  # +200 HU and -100 HU in bone
    made[1, 0, :2] = 0.45  # -100 HU
    made[0, 3, 3] = 0.48  # -40 HU in fat, which the second slice lacks
    given = inputs(made, true, masks)
    bone, fat = TissueError("mae").compute(given, Context())
    assert (bone.label, fat.label) == ("bone", "fat")
    assert bone.value == pytest.approx((150 + 100) / 2, abs=1e-3)
    assert bone.note == "in HU; signed mean error -25"
    assert fat.value == pytest.approx(40, abs=1e-3)
    assert fat.note == "in HU; signed mean error -40; 1 of 2 cases skipped: without fat"
    bone, _ = TissueError("bias").compute(given, Context())
    assert bone.value == pytest.approx((50 + 100) / 2, abs=1e-3)
    # The volume of one patient: the mean over its four pixels of bone.
    assert TissueError("bias", "patient").compute(given, Context())[0].value == pytest.approx(25, abs=1e-3)


def test_a_region_that_no_case_has_and_masks_of_another_size_are_refused() -> None:
    made, true, masks = scene(2)
    with pytest.raises(DataError, match="'fat'"):
        TissueError().compute(inputs(made, true, masks * (masks == 1)), Context())
    with pytest.raises(DataError, match="masks are"):
        TissueError().compute(inputs(made, true, masks[:, :5]), Context())
    without_window = inputs(made, true, masks, window=None)
    assert TissueError().compute(without_window, Context())[0].note.startswith("in stored values, 0 to 1")


def test_first_order_features_equal_those_of_scipy() -> None:
    values = np.random.default_rng(22).gamma(2.0, 30.0, 500)
    expected = {
        "mean": values.mean(),
        "variance": values.var(),
        "skewness": scipy.stats.skew(values),
        "kurtosis": scipy.stats.kurtosis(values),
        "median": np.median(values),
        "10th percentile": np.quantile(values, 0.1),
        "90th percentile": np.quantile(values, 0.9),
        "interquartile range": scipy.stats.iqr(values),
    }
    assert first_order(values) == pytest.approx(expected, rel=1e-12)
    assert (first_order(np.full(5, 7.0))["skewness"], first_order(np.full(5, 7.0))["kurtosis"]) == (0.0, 0.0)


def test_shape_features_equal_those_of_scikit_image() -> None:
    rows, columns = np.mgrid[:40, :50]
    mask = ((rows - 18) / 12.0) ** 2 + ((columns - 22 - 0.4 * rows) / 7.0) ** 2 < 1
    (region,) = regionprops(mask.astype(np.uint8))
    found = shape(mask, (1.0, 1.0))
    # scikit-image's moments are of pixel centres as well.
    assert found["area"] == region.area
    assert found["major axis"] == pytest.approx(region.axis_major_length)
    assert found["minor axis"] == pytest.approx(region.axis_minor_length)
    assert found["elongation"] == pytest.approx(region.axis_minor_length / region.axis_major_length)
    pixels = np.argwhere(mask)
    farthest = np.sqrt(np.square(pixels[:, None] - pixels).sum(axis=2).max())
    assert found["maximum diameter"] == pytest.approx(farthest)
    scaled = shape(mask, (2.0, 2.0))
    assert (scaled["area"], scaled["major axis"]) == pytest.approx((4 * found["area"], 2 * found["major axis"]))


def test_spacing_that_differs_by_axis_counts() -> None:
    mask = np.zeros((8, 8), bool)
    mask[1:5, 2] = True
    found = shape(mask, (2.0, 0.5))
    assert found["area"] == 4.0
    assert found["maximum diameter"] == 6.0
    assert found["elongation"] == 0.0


def test_concordance_is_lins() -> None:
    # Lin 1989: 1 - expected squared difference / that of independent values.
    x, y = np.random.default_rng(23).normal(size=(2, 50)) + np.array([[0.0], [0.3]])
    y += 0.8 * x
    expected = 1 - np.mean((x - y) ** 2) / (x.var() + y.var() + (x.mean() - y.mean()) ** 2)
    assert concordance(x, y) == pytest.approx(expected)
    assert concordance(x, x + 2) < 0.5 < scipy.stats.pearsonr(x, x + 2).statistic
    assert (concordance(x, x), concordance(np.ones(3), np.ones(3)), concordance(np.ones(3), np.zeros(3))) == (1, 1, 0)


def test_agreement_of_intensities_by_region_and_feature() -> None:
    made, true, masks = scene()
    masks[5] = 0
    scores = RadiomicAgreement("first-order").compute(inputs(made, true, masks), Context())
    by_label = {score.label: score for score in scores}
    assert len(by_label) == 16
    means = [np.array([2000 * v[i][masks[i] == 1].mean() - 1000 for i in range(5)]) for v in (made, true)]
    expected = concordance(*means)
    assert by_label["bone: mean"].value == pytest.approx(expected, abs=1e-4)
    assert by_label["bone: mean"].note == "1 of 6 slices skipped: without the region"
    same = RadiomicAgreement("first-order").compute(inputs(true, true, masks), Context())
    assert {score.value for score in same} == {1.0}


def test_agreement_of_shapes_compares_segmented_masks_with_those_of_the_source() -> None:
    made, true, masks = scene()
    for i in range(6):
        masks[i, 2, 1 : 1 + i % 4] = 0  # so that areas differ from slice to slice
    found = masks.copy()
    found[:, 7, 1:5] = 0  # a row less: 4 pixels of 1 mm² each
    by_label = {
        s.label: s.value for s in RadiomicAgreement("shape").compute(inputs(made, true, masks, found), Context())
    }
    areas = np.array([float((mask == 1).sum()) for mask in masks])
    assert by_label["bone: area"] == pytest.approx(concordance(areas - 4, areas))
    assert by_label["fat: area"] == 1.0


def test_agreement_from_cached_features_is_that_of_the_selected_slices() -> None:
    given = inputs(*scene())
    metric = RadiomicAgreement("first-order")
    chosen = np.array([0, 1, 3, 5])
    expected = [score.value for score in metric.compute(given.select(chosen), Context())]
    assert np.asarray(metric.resample(given, Context())(chosen, None)).tolist() == pytest.approx(expected)
    with pytest.raises(DataError, match="at least 3"):
        metric.compute(given.select([0, 1]), Context())


def test_intervals_of_concordance_stay_within_its_bounds() -> None:
    # Agreement depends on one patient of twelve: without that patient all pairs are equal.
    made, true, masks = scene(24)
    made = true.copy()
    made[0] = true[0] + 0.3
    (spec,) = mtbench_metrics()
    scoring = score(RadiomicAgreement("first-order"), spec, inputs(made, true, masks), Context(threads=1))
    intervals = [item.ci for item in scoring.scores]
    assert all(ci is not None and ci[0] < ci[1] <= 1 for ci in intervals)
    assert any(ci is not None and ci[1] == 1 for ci in intervals)
