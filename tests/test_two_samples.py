"""``mmd``, ``cmmd``, ``fd`` and ``c2st``: two samples of features, against definitions written out and scikit-learn."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from mtbench import Context, DataError, ImageSet, MetricInputs, Slice, Task
from mtbench.stages.scoring import score as scoring
from mtbench_plugins.metrics import c2st, fd, mmd
from mtbench_plugins.metrics.classifier import C2st, area_under_curve, fitted, folds_of, held_out_scores
from mtbench_plugins.metrics.frechet import Fd, Fid
from mtbench_plugins.metrics.gaussian_discrepancy import Cmmd, Gaussian, Mmd, median_distance

TASK = Task("t")
POOL = {"extractor": "inception-fid", "array": None, "weights": None}


def images(patients: list[str], name: str) -> ImageSet:
    slices = tuple(Slice(f"{name}{at}", patient, patient) for at, patient in enumerate(patients))
    return ImageSet(np.zeros((len(slices), 2, 2), np.uint8), slices, None, TASK, "source", "test")


def inputs(array: str, per_patient: int = 2, **sides: Any) -> MetricInputs:
    sets = {side: images([f"{side}{i // per_patient}" for i in range(len(rows))], side) for side, rows in sides.items()}
    return MetricInputs(
        TASK,
        sets["candidate"],
        sets["reference"],
        training=sets.get("training"),
        features={side: {array: rows} for side, rows in sides.items()},
    )


def samples(*counts: int, width: int = 5, shift: float = 0.4) -> list[np.ndarray[Any, Any]]:
    rng = np.random.default_rng(11)
    return [at * shift + rng.normal(size=(n, width)) for at, n in enumerate(counts)]


def slowly(x: Any, y: Any, bandwidth: float, biased: bool = False) -> float:
    """The squared discrepancy, pair by pair."""

    def kernel(a: Any, b: Any) -> float:
        return float(np.exp(-np.sum((a - b) ** 2) / (2 * bandwidth**2)))

    def within(rows: Any) -> float:
        pairs = [kernel(a, b) for i, a in enumerate(rows) for j, b in enumerate(rows) if biased or i != j]
        return sum(pairs) / len(pairs)

    return within(x) + within(y) - 2 * sum(kernel(a, b) for a in x for b in y) / (len(x) * len(y))


def test_mmd_is_the_unbiased_estimate_with_the_bandwidth_of_the_training_slices() -> None:
    made, real, training = samples(14, 17, 20)
    given = inputs("pool", candidate=made, reference=real, training=training)
    score = Mmd(None, **POOL).compute(given, Context())
    distances = [
        float(np.linalg.norm(training[i] - training[j])) for i in range(20) for j in range(i) if i // 2 != j // 2
    ]
    bandwidth = float(np.median(distances))
    assert median_distance(training, np.arange(20) // 2) == pytest.approx(bandwidth)
    assert score.value == pytest.approx(slowly(made, real, bandwidth), abs=1e-12)
    assert score.note == f"bandwidth {bandwidth:.4g}"
    assert Mmd(3.0, **POOL).compute(given, Context()).value == pytest.approx(slowly(made, real, 3.0), abs=1e-12)


def test_the_bandwidth_does_not_depend_on_translations_or_test_slices() -> None:
    made, real, training = samples(14, 17, 20)
    one = Mmd(None, **POOL).compute(inputs("pool", candidate=made, reference=real, training=training), Context())
    other = Mmd(None, **POOL).compute(inputs("pool", candidate=9 * made, reference=-real, training=training), Context())
    assert one.note == other.note
    rows = np.arange(5000.0)[:, None]
    assert median_distance(rows, np.arange(5000)) == pytest.approx(5000 * (1 - np.sqrt(0.5)), rel=2e-3)


def test_mmd_of_one_distribution_is_0_on_average_and_its_standard_error_is_right() -> None:
    rng = np.random.default_rng(12)
    scores = [
        Mmd(2.0, **POOL).compute(
            inputs("pool", candidate=rng.normal(size=(20, 3)), reference=rng.normal(size=(24, 3))), Context()
        )
        for _ in range(150)
    ]
    values, errors = [s.value for s in scores], [s.stderr or 0.0 for s in scores]
    assert abs(np.mean(values)) < 3 * np.std(values) / 150**0.5
    assert np.sqrt(np.mean(np.square(errors))) == pytest.approx(np.std(values), rel=0.25)


def test_resampling_measures_what_compute_measures() -> None:
    made, real, training = samples(14, 17, 20)
    made[:, 0] += 1
    given = inputs("pool", candidate=made, reference=real, training=training)
    unit = [rows / np.linalg.norm(rows, axis=1, keepdims=True) for rows in (made, real)]
    embedded = inputs("features", candidate=unit[0], reference=unit[1])
    metrics: list[tuple[Any, MetricInputs, float]] = [
        (Mmd(None, **POOL), given, 1e-12),
        (Cmmd("unbiased"), embedded, 1e-9),
        (Fd(**POOL), given, 1e-5),
    ]
    for metric, sides, tolerance in metrics:
        measure = metric.resample(sides, Context())
        for chosen in ((None, None), (np.arange(2, 14), np.arange(15))):
            expected = metric.compute(sides.select(*chosen), Context()).value
            assert float(measure(*chosen)) == pytest.approx(expected, abs=tolerance)


def test_cmmd_has_the_bandwidth_and_scale_of_its_paper_and_the_estimator_of_its_code() -> None:
    made, real = samples(9, 12, width=8)
    made, real = (rows / np.linalg.norm(rows, axis=1, keepdims=True) for rows in (made, real))
    given = inputs("features", candidate=made, reference=real)
    for estimator in ("unbiased", "biased"):
        expected = 1000 * slowly(made, real, 10.0, biased=estimator == "biased")
        assert Cmmd(estimator).compute(given, Context()).value == pytest.approx(expected, abs=1e-9)


def test_a_kernel_without_a_bandwidth_is_refused() -> None:
    with pytest.raises(DataError, match="of one patient"):
        median_distance(np.eye(4), np.zeros(4, np.int64))
    with pytest.raises(DataError, match="equal features"):
        median_distance(np.ones((6, 2)), np.arange(6))


def test_the_gaussian_kernel_of_tensors_and_arrays() -> None:
    x, y = samples(4, 3)
    expected = [[np.exp(-((a - b) @ (a - b)) / 8) for b in y] for a in x]
    assert Gaussian(2.0).of_arrays(x, y) == pytest.approx(np.array(expected))
    assert torch.equal(Gaussian(2.0)(*map(torch.from_numpy, (x, y))), torch.from_numpy(Gaussian(2.0).of_arrays(x, y)))


def test_fd_is_fid_on_the_array_of_any_extractor() -> None:
    made, real = samples(30, 40, width=6)
    fid = Fid().compute(inputs("pool", candidate=made, reference=real), Context())
    other = Fd(extractor="radiomics", array=None).compute(inputs("features", candidate=made, reference=real), Context())
    assert other.value == fid.value
    assert other.mark == ""
    few = Fd(extractor="mine", array="deep").compute(inputs("deep", candidate=made[:6], reference=real), Context())
    assert (few.mark, "(6)" in few.note) == ("*", True)


def test_c2st_has_the_decision_values_of_scikit_learn_1_9_1() -> None:
    rng = np.random.default_rng(5)
    features = np.concatenate([rng.normal(size=(40, 6)), 0.5 + 1.3 * rng.normal(size=(36, 6))])
    features *= np.array([1, 5, 0.1, 2, 1, 1])
    labels, folds = np.repeat([0.0, 1.0], [40, 36]), np.arange(76) % 4
    # LogisticRegression(C=0.5, tol=1e-12) on features standardised by the training folds.
    scores = held_out_scores(features, labels, folds, penalty=2.0)
    assert scores[:5].tolist() == pytest.approx(
        [-0.759660304, -0.785424236, -1.785577126, -1.462794563, -1.360811650], abs=1e-5
    )
    assert np.abs(scores).sum() == pytest.approx(79.94019678, abs=1e-4)
    assert area_under_curve(scores, labels) == pytest.approx(0.7770833333333333, abs=1e-12)
    pairs = [(p > q) + 0.5 * (p == q) for p in scores[labels == 1] for q in scores[labels == 0]]
    assert area_under_curve(scores, labels) == pytest.approx(np.mean(pairs))


def test_a_classifier_of_more_features_than_images_is_at_the_minimum() -> None:
    rng = np.random.default_rng(15)
    features, labels = rng.normal(size=(20, 50)), np.repeat([0.0, 1.0], 10)
    weights, intercept = fitted(features, labels, 0.7)
    probabilities = 1 / (1 + np.exp(-(features @ weights + intercept)))
    gradient = features.T @ (probabilities - labels) + 0.7 * weights
    assert [*gradient, (probabilities - labels).sum()] == pytest.approx([0] * 51, abs=1e-4)


def test_c2st_is_near_chance_on_one_distribution_and_near_1_on_two() -> None:
    metric = C2st(folds=4, penalty=1.0, seed=0, **POOL)
    rng = np.random.default_rng(13)
    same, apart = [], []
    for _ in range(12):
        made, real = rng.normal(size=(40, 4)), rng.normal(size=(40, 4))
        same.append([s.value for s in metric.compute(inputs("pool", candidate=made, reference=real), Context())])
        apart.append([s.value for s in metric.compute(inputs("pool", candidate=made + 4, reference=real), Context())])
    assert np.mean(same, axis=0) == pytest.approx([0.5, 0.5], abs=0.08)
    assert np.min(apart) > 0.97


def test_c2st_does_not_recognise_patients() -> None:
    # Patients differ, the two sets do not: a classifier that had seen the patients would separate the sets.
    rng = np.random.default_rng(14)
    made, real = (np.repeat(rng.normal(size=(12, 30)), 6, axis=0) + 0.01 * rng.normal(size=(72, 30)) for _ in range(2))
    by_patient = C2st(folds=4, penalty=1.0, seed=0, **POOL)
    accuracy = by_patient.compute(inputs("pool", 6, candidate=made, reference=real), Context())[0]
    leaking = by_patient.compute(inputs("pool", 1, candidate=made, reference=real), Context())[0]
    assert accuracy.value < 0.75
    assert leaking.value == 1.0


def test_folds_keep_patients_together_and_spread_both_sets() -> None:
    first, second = [f"p{i // 3}" for i in range(60)], [f"q{i // 2}" for i in range(40)] + ["p0", "p1"]
    ours, theirs = folds_of(first, second, 5, seed=1)
    fold = dict(zip([*first, *second], [*ours, *theirs], strict=True))
    assert [fold[p] for p in (*first, *second)] == [*ours, *theirs]
    assert np.bincount(ours).tolist() == [12] * 5
    assert np.ptp(np.bincount(theirs)) <= 4
    swapped = folds_of(second, first, 5, seed=1)
    assert swapped[0].tolist() == theirs.tolist()
    with pytest.raises(DataError, match="a side has 3 patients"):
        folds_of(["a", "b", "c"], first, 5, seed=1)


def test_headings_name_network_and_convention() -> None:
    specs = {spec.name: spec for module in (fd, mmd, c2st) for spec in module.mtbench_metrics()}
    variants = {}
    for name, spec in specs.items():
        defaults = {key: param.default for key, param in spec.params.items()}
        variants[name] = spec.printed_variant(defaults)
        assert spec.needs_for(defaults)
    assert variants == {"fd": "inception-fid", "mmd": "inception-fid", "cmmd": "", "c2st": "inception-fid"}
    fixed = {key: param.default for key, param in specs["mmd"].params.items()} | {"bandwidth": 2.5}
    assert specs["mmd"].printed_variant(fixed) == "inception-fid,bandwidth=2.5"
    assert [getattr(need, "of", need) for need in specs["mmd"].needs_for(fixed)] == ["candidate", "reference"]


def test_mmd_per_patient_has_means_of_volumes_then_of_patients_as_points() -> None:
    owners = {"candidate": "aaabbcccddd", "reference": "eefffgg", "training": "hhiijjkk"}
    made, real, training = samples(*(len(of) for of in owners.values()))
    sets = {side: images(list(of), side) for side, of in owners.items()}
    # Patient a has two volumes: slices 0 and 1, and slice 2.
    one = sets["candidate"]
    slices = tuple(replace(s, case_id="later") if at == 2 else s for at, s in enumerate(one.slices))
    sets["candidate"] = replace(one, slices=slices)
    rows = dict(zip(owners, (made, real, training), strict=True))
    given = MetricInputs(TASK, **sets, features={side: {"pool": of} for side, of in rows.items()})

    points = {
        side: np.array(
            [rows[side][[i for i, p in enumerate(of) if p == name]].mean(axis=0) for name in sorted(set(of))]
        )
        for side, of in owners.items()
    }
    points["candidate"][0] = ((made[0] + made[1]) / 2 + made[2]) / 2
    apart = [np.linalg.norm(points["training"][i] - points["training"][j]) for i in range(4) for j in range(i)]
    metric = Mmd(None, per="patient", **POOL)
    score = metric.compute(given, Context())
    expected = slowly(points["candidate"], points["reference"], float(np.median(apart)))
    assert score.value == pytest.approx(expected, abs=1e-12)
    assert (
        score.note
        == f"bandwidth {np.median(apart):.4g}; of patients: 4 translated and 3 target, each the mean of its slices"
    )
    # Intervals leave out whole patients.
    chosen, others = np.array([0, 1, 2, 5, 6, 7, 8, 9, 10]), np.array([0, 1, 5, 6])
    expected = slowly(points["candidate"][[0, 2, 3]], points["reference"][[0, 2]], float(np.median(apart)))
    measure = metric.resample(given, Context())
    assert measure(chosen, others) == pytest.approx(expected, abs=1e-12)
    assert measure(None, None) == pytest.approx(score.value, abs=1e-12)


def test_mmd_per_patient_draws_no_slices_and_has_a_column_of_its_own() -> None:
    spec = next(spec for spec in mmd.mtbench_metrics() if spec.name == "mmd")
    defaults = {key: param.default for key, param in spec.params.items()}
    patient = defaults | {"per": "patient"}
    assert (spec.draws(defaults), spec.draws(patient), spec.draws({})) == (True, False, True)
    assert spec.printed_variant(patient) == "inception-fid,patient"
    made, real = samples(20, 12)
    given = inputs("pool", candidate=made, reference=real)
    metric = Mmd(2.0, per="patient", **POOL)
    result = scoring(metric, spec, given, Context(params=patient), intervals=False)
    assert (result.draws, result.scores[0].value) == (1, metric.compute(given, Context()).value)
    assert scoring(Mmd(2.0, **POOL), spec, given, Context(params=defaults), intervals=False).draws == 5


def test_mmd_per_patient_needs_two_known_patients() -> None:
    made, real = samples(6, 6)
    metric = Mmd(2.0, per="patient", **POOL)
    with pytest.raises(DataError, match=r"there is one patient.*at least two patients a side"):
        metric.compute(inputs("pool", 6, candidate=made, reference=real), Context())
    given = inputs("pool", candidate=made, reference=real)
    assert given.candidate is not None
    unknown = replace(given.candidate, slices=tuple(replace(s, patient_id="") for s in given.candidate.slices))
    with pytest.raises(DataError, match=r"not known.*--patient"):
        metric.compute(replace(given, candidate=unknown), Context())


@pytest.mark.parametrize("spec", list(fd.mtbench_metrics()), ids=lambda spec: spec.name)
def test_distances_that_estimate_a_covariance_are_not_offered_per_patient(spec: Any) -> None:
    assert "per" not in spec.params
