"""How many translations lie next to a training slice, by a threshold from real slices of other patients.

Let d(z) be the distance of an image to the nearest target training slice of another patient. The threshold is the
``share`` quantile of d over the target's test slices, which no training has seen. A model that has memorised nothing
puts about that share of its translations below the threshold; one that reproduces training slices puts more there.

The comparison of both distances is that of Meehan et al. 2020, at one quantile in place of a rank
test, so that each translation is a separate case.
"""

from __future__ import annotations

import numpy as np

from mtbench import Cases, Context, DataError, MetricInputs, Score
from mtbench_plugins.metrics import any_features
from mtbench_plugins.metrics.neighbours import nearest, owners, points


class NearestNeighbour:
    """The metric ``nearest-neighbour``.

    Args:
        share: of the target's test slices below the threshold.
        features: parameters that select the features.
    """

    def __init__(self, share: float, **features: object) -> None:
        self._share = share
        self._array = any_features.array_of(features)

    def compute(self, inputs: MetricInputs, context: Context) -> Score:
        """The share of candidates below the threshold; each candidate is a case with the value 0 or 1.

        Raises:
            DataError: features that are not finite, or no training slice of another patient.
        """
        sets = [inputs.candidate, inputs.reference, inputs.training]
        candidate, reference, training = sets
        assert candidate is not None
        assert reference is not None
        assert training is not None
        arrays = [inputs.features[side][self._array] for side in ("training", "candidate", "reference")]
        numbers = owners(training.patients, candidate.patients, reference.patients)
        seen, made, held_out = points(list(zip(arrays, numbers, strict=True)))
        to_made, to_held_out = (nearest(side, seen).sqrt().numpy() for side in (made, held_out))
        if not np.isfinite([to_made.max(), to_held_out.max()]).all():
            raise DataError("a slice has no target training slice of another patient", expected="two training patients")
        threshold = float(np.quantile(to_held_out, self._share))
        values = (to_made < threshold).astype(np.float64)
        ids = tuple(s.slice_id for s in candidate.slices)
        few = len(to_held_out) * self._share < 1
        note = (
            f"threshold {threshold:.4g}: {float((to_held_out < threshold).mean()):.1%} of {len(to_held_out)} target "
            f"test slices of {len(set(reference.patients))} patients lie below it; the interval takes it as fixed"
        )
        if few:
            note += f"; fewer than {1 / self._share:.0f} target test slices: the threshold is that of one slice"
        cases = Cases("slice", ids, candidate.patients, values)
        return Score(float(values.mean()), cases=cases, mark="*" if few else "", note=note)
