"""Does a metric follow an endpoint from case to case? Correlation within translators.

Over translators, one point each, a few points decide. Over cases there are many, but those of one translator share its
level: both variables are centred within each translator first (repeated-measures correlation; Bakdash & Marusich,
Frontiers in Psychology 2017). Cases of a patient are alike, so intervals resample patients.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from mtbench.analysis.columns import anonymise
from mtbench.analysis.correlation import points_of
from mtbench.analysis.endpoints import Endpoint, Endpoints
from mtbench.analysis.gather import current
from mtbench.analysis.matching import Side
from mtbench.analysis.outside import Outside
from mtbench.compute.seeds import generator
from mtbench.errors import RequestError

DRAWS = 2_000
ENOUGH = 10
"""With fewer patients there is no interval."""

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class CaseCorrelation:
    """One metric against one endpoint on one task, one point per translator and case.

    Attributes:
        task, dataset: the task's printed title and its name.
        metric, against: printed names.
        translators, cases, patients: how many entered; a case counts once for each translator.
        value: correlation within translators, -1 to 1; ``None`` if it is undefined.
        agreement: the same, oriented so that positive means that both prefer the same cases.
        interval: 95 % confidence interval of ``agreement``; ``None`` with fewer than ``ENOUGH`` patients.
    """

    task: str
    dataset: str
    metric: str
    against: str
    translators: int
    cases: int
    patients: int
    value: float | None
    agreement: float | None
    interval: tuple[float, float] | None


@dataclass(frozen=True)
class CaseCorrelations:
    """All of a result, by task, metric and endpoint, and sentences for the reader."""

    items: tuple[CaseCorrelation, ...]
    remarks: tuple[str, ...]


def correlate_cases(
    scores: pa.Table,
    cases: pa.Table,
    against: Endpoints,
    *,
    conditional: bool = False,
    rows: Sequence[str] = (),
    without: Sequence[str] = (),
    datasets: Sequence[str] = (),
) -> CaseCorrelations:
    """Correlate each metric that has per-case values with each endpoint, within translators.

    A case of the table is a case of the metric (a slice, or a patient) or a patient, of whose slices the mean is taken.

    Args:
        scores, cases: rows of ``mtbench.results.schema``.
        against: the endpoints.
        conditional: whether to include conditional translators, whose input is the reference mask.
        rows, without: translators to include (all if empty) and to exclude.
        datasets: tasks to include; all if empty.

    Raises:
        RequestError: the table has no column ``case``, or a name matches nothing.
        DataError: the tables are not of the schema.
    """
    if not against.cases:
        raise RequestError(f"{against.file} has no column 'case'", expected="a value for each translator and case")
    scores, stale = current(scores)
    side = Side(scores, cases, rows, (), datasets)
    outside = Outside(side.averages, side.layout, against)
    points, left_out = points_of(side.averages, side.layout, without, conditional=conditional)
    circular = [side.layout.labels[r] for r in left_out]
    items = []
    for b in dict.fromkeys(b for b, _ in side.layout.columns):
        for c in side.columns(b):
            values = {r: found for r in points if (found := side.cases(b, r, c))}
            if values:
                items += [_item(side, b, c, values, outside, column) for column in against.columns]
    remarks = (
        "Correlation within translators: both variables are centred within each translator.",
        "A positive coefficient means that both prefer the same cases.",
        f"[95 % confidence interval]: patients are resampled; none with fewer than {ENOUGH}.",
        "Seeds and folds are averaged.",
        *outside.remarks(points, averaged=False),
        *([f"Excluded: {', '.join(circular)} (conditional: --conditional)."] if circular else []),
        *([f"{anonymise(stale)}."] if stale else []),
    )
    return CaseCorrelations(tuple(items), remarks)


def _item(
    side: Side,
    b: int,
    c: int,
    values: Mapping[int, Mapping[str, tuple[str, float]]],
    outside: Outside,
    column: Endpoint,
) -> CaseCorrelation:
    ratings = outside.by_row(b, column.cases)
    matched = {r: pairs for r, of in values.items() if len(pairs := _pairs(of, ratings.get(r, {}))) > 1}
    entry, title = side.averages.columns[c], side.layout.titles[b]
    name = f"{side.layout.names[c]} {entry['label']}".strip()
    patients = sorted({patient for pairs in matched.values() for patient, _, _ in pairs})
    value, interval = _estimate(list(matched.values()), patients)
    sign = 1.0 if entry["higher_is_better"] == column.higher_is_better else -1.0
    ends = None if interval is None else tuple(sorted(sign * end for end in interval))
    return CaseCorrelation(
        title,
        side.averages.blocks[b]["dataset"],
        name,
        column.name,
        len(matched),
        sum(map(len, matched.values())),
        len(patients),
        value,
        None if value is None else sign * value,
        None if ends is None else (ends[0], ends[1]),
    )


def _pairs(of: Mapping[str, tuple[str, float]], ratings: Mapping[str, float]) -> list[tuple[str, float, float]]:
    """Patient, metric and endpoint of every case; by patient if the ratings name no case of the metric."""
    if not ratings.keys() & of.keys():
        by_patient: dict[str, list[float]] = {}
        for patient, value in of.values():
            by_patient.setdefault(patient, []).append(value)
        of = {patient: (patient, math.fsum(values) / len(values)) for patient, values in by_patient.items()}
    return [(patient, value, ratings[case]) for case, (patient, value) in of.items() if case in ratings]


def _estimate(
    groups: Sequence[Sequence[tuple[str, float, float]]], patients: Sequence[str]
) -> tuple[float | None, tuple[float, float] | None]:
    """The correlation within groups, and its interval by resampled patients."""
    if not groups:
        return None, None
    owner = np.repeat(np.arange(len(groups)), [len(group) for group in groups])
    place = {patient: i for i, patient in enumerate(patients)}
    person = np.array([place[patient] for group in groups for patient, _, _ in group])
    x, y = (np.array([pair[k] for group in groups for pair in group]) for k in (1, 2))
    member = (owner[:, None] == np.arange(len(groups))).astype(np.float64)
    # Centred first, so that the sums of products lose no digits.
    x, y = (each - (member @ (member.T @ each / member.sum(axis=0))) for each in (x, y))
    value = float(_within(np.ones((1, len(x))), x, y, member)[0])
    if math.isnan(value):
        return None, None
    if len(patients) < ENOUGH:
        return value, None
    n = len(patients)
    times = generator("casewise", n).multinomial(n, np.full(n, 1 / n), DRAWS).astype(np.float64)
    low, high = np.nanquantile(_within(times[:, person], x, y, member), [0.025, 0.975])
    return value, (float(low), float(high))


def _within(weights: Floats, x: Floats, y: Floats, member: Floats) -> Floats:
    """For each row of weights (draws x cases) the weighted correlation within groups; NaN if a variable is constant."""
    number = weights @ member
    sums = {
        name: weights @ (member * each[:, None])
        for name, each in (("x", x), ("y", y), ("xx", x * x), ("yy", y * y), ("xy", x * y))
    }
    with np.errstate(invalid="ignore", divide="ignore"):
        xx, yy, xy = (
            np.nansum(sums[a + b] - sums[a] * sums[b] / number, axis=1) for a, b in (("x", "x"), ("y", "y"), ("x", "y"))
        )
        scale = np.sqrt(xx * yy)
        return np.where(scale > 1e-12 * len(x), xy / scale, np.nan)
