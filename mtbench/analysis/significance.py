"""Which leads are significant, given the sample of patients."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import pyarrow as pa

from mtbench.analysis.association import holm
from mtbench.analysis.gather import Averages
from mtbench.analysis.paired import FEWEST_PATIENTS, PairedDifference, paired_difference, smallest_p
from mtbench.analysis.percase import PerCase

LEVEL = 0.05
REMARK = (
    "Bold: the best, only if it significantly beats every other ranked method (paired test by patient, two-sided, "
    f"Holm over all comparisons of the table, every p < {LEVEL}; seeds averaged, so about these fits; it assumes "
    "that rare complete failures are represented among the test patients). Underlined: runner-up"
)
"""The legend of a table in which bold means significant."""

ColumnIndex = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Lead:
    """The significance of the lead of the best in a column.

    Attributes:
        p: the largest p of the best against any other ranked row, adjusted by Holm; 1 if one cannot be tested.
        reason: why it was not tested, as a sentence; empty if all were tested.
    """

    p: float = 1.0
    reason: str = ""

    @property
    def significant(self) -> bool:
        """Whether the best beats every other ranked row."""
        return self.p < LEVEL


def significant_leads(
    averages: Averages,
    cases: pa.Table | None,
    ranks: Mapping[ColumnIndex, Mapping[int, int]],
    labels: Mapping[int, str],
) -> dict[ColumnIndex, Lead]:
    """The lead of the best in every block and column that has ranks.

    Args:
        averages: the scores, gathered with their runs.
        cases: the cases table.
        ranks: by block and column, the rank of each ranked row.
        labels: printed names of the rows.
    """
    per_case = PerCase(cases)
    reasons: dict[ColumnIndex, str] = {}
    tests: dict[tuple[ColumnIndex, int], PairedDifference] = {}
    for place, rows in ranks.items():
        best = [r for r, rank in rows.items() if rank == 1]
        if len(best) > 1:
            reasons[place] = "Not bold: it shares the first rank"
            continue
        obstacles: dict[str, list[str]] = {}
        for other in (r for r in rows if r not in best):
            test = _test(averages, per_case, place, best[0], other)
            if isinstance(test, str):
                obstacles.setdefault(test, []).append(labels[other])
            else:
                tests[place, other] = test
        if obstacles:
            texts = (reason.replace(_OTHERS, ", ".join(others)) for reason, others in obstacles.items())
            reasons[place] = f"Not bold, because not tested: {'; '.join(texts)}"
    most = max((test.patients for test in tests.values()), default=0)
    if smallest_p(most) * len(tests) >= LEVEL:
        for place, _ in tests:
            text = f"Not bold: with {most} patients, none of the table's {len(tests)} comparisons can be significant"
            reasons.setdefault(place, text)
    leads = {place: Lead(reason=text) for place, text in reasons.items()}
    for (place, _), p in zip(tests, holm([_p(averages, *at) for at in tests.items()]), strict=True):
        if place not in reasons:
            leads[place] = Lead(max(p, leads[place].p if place in leads else 0.0))
    return leads


_OTHERS = "{others}"
"""The placeholder in a reason for the printed names of its rows."""


def _test(averages: Averages, per_case: PerCase, place: ColumnIndex, best: int, other: int) -> PairedDifference | str:
    """The best minus another row on the same cases, or why there is no test."""
    b, c = place
    pair = []
    for r, name in ((best, "the best"), (other, _OTHERS)):
        runs = averages.runs.get((b, r, c), ())
        cases = per_case.of(runs, str(averages.columns[c]["label"]))
        if not cases:
            some = any(run in per_case for run in runs)
            return f"{'not every run' if some else 'no run'} of {name} has per-case values"
        pair.append(cases)
    first, second = pair
    shared = [case for case in first if case in second]
    paired = paired_difference([first[k][1] - second[k][1] for k in shared], [first[k][0] for k in shared])
    if paired is None or paired.p is None:
        patients = paired.patients if paired else 0
        return f"{patients} patients in common with {_OTHERS}, fewer than {FEWEST_PATIENTS}"
    return paired


def _p(averages: Averages, at: tuple[ColumnIndex, int], test: PairedDifference) -> float:
    """p for the lead of the best; 1 if it is not better on these cases."""
    up = bool(averages.columns[at[0][1]]["higher_is_better"])
    assert test.p is not None
    return test.p if (test.value > 0) == up and test.value else 1.0
