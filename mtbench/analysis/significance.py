"""Which leads are more than the luck of these patients."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import pyarrow as pa

from mtbench.analysis.association import holm
from mtbench.analysis.gather import Gathered
from mtbench.analysis.paired import FEWEST_PATIENTS, paired_difference
from mtbench.analysis.percase import PerCase

LEVEL = 0.05
REMARK = (
    "Bold: best, and better than every runner-up on the same cases (whole patients flipped, two-sided, Holm over the "
    f"table's columns, p < {LEVEL}; seeds averaged, so it is about these fits). Underlined: runner-up. Where there are "
    f"no values by case, or fewer than {FEWEST_PATIENTS} patients, nothing is bold"
)
"""What stands under a table whose bold is significant."""

Place = tuple[int, int]


def significant_leads(
    found: Gathered, cases: pa.Table | None, ranks: Mapping[Place, Mapping[int, int]]
) -> dict[Place, float]:
    """Holm's p of the best against its runner-up, by block and column, where there is one best and a test.

    Of several runners-up the one with the largest p counts.

    Args:
        found: the scores, gathered with their units.
        cases: the cases table.
        ranks: by block and column, the place of each ranked row.
    """
    per_case = PerCase(cases)
    p: dict[Place, float] = {}
    for (b, c), places in ranks.items():
        best = [r for r, place in places.items() if place == 1]
        second = [r for r, place in places.items() if place == 2]
        if len(best) == 1 and second:
            p[b, c] = max(_p(found, per_case, (b, c), best[0], r) for r in second)
    adjusted = holm([value if value <= 1 else math.nan for value in p.values()])
    return {place: value for place, value in zip(p, adjusted, strict=True) if not math.isnan(value)}


def _p(found: Gathered, per_case: PerCase, place: Place, best: int, other: int) -> float:
    """p of the paired difference; infinite where there is no test."""
    b, c = place
    label = str(found.columns[c]["label"])
    first, second = (per_case.of(_units(found, b, r, c), label) for r in (best, other))
    shared = [case for case in first if case in second]
    paired = paired_difference([first[k][1] - second[k][1] for k in shared], [first[k][0] for k in shared])
    better = 1 if found.columns[c]["higher_is_better"] else -1
    if paired is None or paired.p is None or paired.value * better <= 0:
        return math.inf
    return paired.p


def _units(found: Gathered, b: int, r: int, c: int) -> Sequence[str]:
    return found.units.get((b, r, c), ())
