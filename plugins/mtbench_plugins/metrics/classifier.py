"""A classifier two-sample test (Lopez-Paz and Oquab 2017, section 3), cross-validated by patient.

A classifier is trained to separate the two sets of features. Its accuracy on images that it was not trained on is 1/2
if the sets have one distribution, and higher if they can be separated. The published
test holds out half of the images once; here each fold of patients is held out in turn, because a classifier
that has seen other slices of a patient recognises the patient.

The classifier is a logistic regression with an L2 penalty on the standardised features (mean and standard deviation of
the training folds); see :func:`fitted`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from mtbench import Context, DataError, MetricInputs, Score
from mtbench.compute.seeds import generator
from mtbench_plugins.metrics import any_features

Floats = NDArray[np.float64]
Folds = NDArray[np.int64]


def folds_of(first: Sequence[str], second: Sequence[str], folds: int, seed: int) -> tuple[Folds, Folds]:
    """The fold of each image of two sets: no patient in two folds, both sets spread evenly.

    Patients are taken in a random order; each goes to the fold with the smallest share of the patient's sets.

    Args:
        first, second: the patient of each image; an empty text counts as a separate patient.
        folds: how many.
        seed: of the order.

    Raises:
        DataError: a set has fewer patients than folds.
    """
    # Slices without a patient go by position on both sides, so that an exchange of the sides changes no fold.
    sides = [[p or f"\0{i}" for i, p in enumerate(side)] for side in (first, second)]
    shares = [{name: count / len(side) for name, count in Counter(side).items()} for side in sides]
    patients = sorted(shares[0].keys() | shares[1].keys())
    counts = np.array([[share.get(name, 0.0) for share in shares] for name in patients])
    fewest = int((counts > 0).sum(axis=0).min())
    if fewest < folds:
        raise DataError(
            f"a side has {fewest} patients", expected=f"at least one in each of {folds} folds", remedy="Use fewer folds"
        )
    load = np.zeros((folds, 2))
    fold: dict[str, int] = {}
    for at in generator("c2st", seed).permutation(len(patients)):
        # Only the sides that the patient is in count.
        fold[patients[at]] = int(np.argmin((load * (counts[at] > 0)).sum(axis=1)))
        load[fold[patients[at]]] += counts[at]
    ours, theirs = (np.array([fold[name] for name in side], np.int64) for side in sides)
    return ours, theirs


def fitted(features: Floats, labels: Floats, penalty: float) -> tuple[Floats, float]:
    """Weights w and intercept b of a logistic regression.

    The minimum of sum log(1 + exp(-s (x.w + b))) + penalty |w|^2 / 2 with s = 2 label - 1, by L-BFGS.

    Args:
        features: N x d.
        labels: N, 0 or 1.
        penalty: at least 0; the intercept has none.
    """
    from scipy.optimize import minimize

    signs = 2 * labels - 1
    basis = None
    if features.shape[1] > len(features):
        # The minimum is a combination of the images: in their coordinates the problem is smaller, and the same.
        basis, coordinates = np.linalg.qr(features.T)
        features = np.ascontiguousarray(coordinates.T)

    def loss(theta: Floats) -> tuple[float, Floats]:
        margins = signs * (features @ theta[:-1] + theta[-1])
        value = np.logaddexp(0, -margins).sum() + penalty / 2 * theta[:-1] @ theta[:-1]
        slopes = -signs / (1 + np.exp(np.minimum(margins, 700)))
        return float(value), np.append(features.T @ slopes + penalty * theta[:-1], slopes.sum())

    start = np.zeros(features.shape[1] + 1)
    best = minimize(loss, start, jac=True, method="L-BFGS-B", options={"gtol": 1e-5, "ftol": 1e-13, "maxiter": 2000})
    weights = best.x[:-1] if basis is None else basis @ best.x[:-1]
    return np.asarray(weights), float(best.x[-1])


def held_out_scores(features: Floats, labels: Floats, folds: Folds, penalty: float) -> Floats:
    """The decision value of each image by the classifier that was trained on the other folds."""
    scores = np.empty(len(labels))
    for fold in np.unique(folds):
        test = folds == fold
        train = features[~test]
        mean, spread = train.mean(axis=0), train.std(axis=0)
        # A feature that is constant in training has no unit: divided by rounding errors, it would dominate.
        varied = spread > 1e-9 * np.maximum(np.abs(mean), 1e-30)
        weights, intercept = fitted((train[:, varied] - mean[varied]) / spread[varied], labels[~test], penalty)
        scores[test] = (features[test][:, varied] - mean[varied]) / spread[varied] @ weights + intercept
    return scores


def area_under_curve(scores: Floats, labels: Floats) -> float:
    """The probability that an image of class 1 has a higher score than one of class 0; ties count half."""
    from scipy.stats import rankdata

    ranks = rankdata(scores)
    positive = labels == 1
    n, m = int(positive.sum()), int((~positive).sum())
    return float((ranks[positive].sum() - n * (n + 1) / 2) / (n * m))


class C2st:
    """The metric ``c2st``.

    Args:
        folds, penalty, seed: see the spec.
        features: parameters that select the features.
    """

    def __init__(self, folds: int, penalty: float, seed: int, **features: object) -> None:
        self._folds = folds
        self._penalty = penalty
        self._seed = seed
        self._array = any_features.array_of(features)

    def compute(self, inputs: MetricInputs, context: Context) -> Sequence[Score]:
        """Two scores: "accuracy" over all held-out images, and "AUC", the mean over folds.

        Raises:
            DataError: a side has fewer patients than folds, or features that are not finite.
        """
        sides = [inputs.features[of][self._array].astype(np.float64) for of in ("candidate", "reference")]
        features = np.concatenate(sides)
        if not np.isfinite(features).all():
            raise DataError("the features hold NaN or infinite values")
        candidate, reference = inputs.candidate, inputs.reference
        assert candidate is not None
        assert reference is not None
        folds = np.concatenate(folds_of(candidate.patients, reference.patients, self._folds, self._seed))
        labels = np.repeat([0.0, 1.0], [len(rows) for rows in sides])
        scores = held_out_scores(features, labels, folds, self._penalty)
        areas = [area_under_curve(scores[folds == f], labels[folds == f]) for f in range(self._folds)]
        known = all(candidate.patients) and all(reference.patients)
        note = "chance is 0.5; " + ("folds by patient" if known else "patients not known: folds by slice, too high")
        right = float(((scores > 0) == (labels == 1)).mean())
        return [Score(right, label="accuracy", note=note), Score(float(np.mean(areas)), label="AUC", note=note)]
