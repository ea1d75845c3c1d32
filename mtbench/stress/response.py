"""The response of a metric to an operator: the level at which it leaves the band, monotonicity, patients needed."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from mtbench.data import ImageSet
from mtbench.registry.needs import two_sided
from mtbench.stress.bench import Level, MetricChoice, Outcome, Results
from mtbench.stress.material import Material
from mtbench.stress.measure import Reading, too_few
from mtbench.stress.operators import Family, Operator

ROUNDING = 1e-9
"""Two values whose difference is smaller, in units of the larger, are the same."""
DROP = 0.1
"""The loss of the segmenter's Dice at which appearance and anatomy are compared."""


@dataclass(frozen=True)
class Point:
    """One level of a curve; ``reading`` is ``None`` if the metric failed, with the reason."""

    strength: float
    reading: Reading | None
    level: Level | None
    reason: str = ""


@dataclass(frozen=True)
class Curve:
    """A score of a metric along the levels of an operator.

    Attributes:
        operator: the damage.
        base: the undamaged set.
        points: one for each level, weak damage first.
        worse: 1 if larger values are worse, else -1.
        no_band: the reason why there is no band; empty if there is one.
    """

    operator: Operator
    base: Reading
    points: tuple[Point, ...]
    worse: int
    no_band: str

    @property
    def band(self) -> tuple[float, float] | None:
        """The smallest and largest value on halves of the patients without damage."""
        return (min(self.base.halves), max(self.base.halves)) if self.base.halves and not self.no_band else None

    @property
    def leaves(self) -> int | None:
        """The first level at which the mean over halves is outside the band, negative on its better side; 0 if never.

        ``None`` without a band or without any level that was measured.
        """
        if self.band is None or not any(point.reading and point.reading.halves for point in self.points):
            return None
        low, high = self.band
        slack = ROUNDING * max(abs(low), abs(high))
        for number, point in enumerate(self.points, 1):
            if point.reading is None or not point.reading.halves:
                continue
            value = float(np.mean(point.reading.halves))
            if value > high + slack or value < low - slack:
                return number * self.worse * (1 if value > high else -1)
        return 0

    @property
    def unchanged(self) -> bool:
        """Whether the value is that of the undamaged set at every level, but for rounding."""
        readings = [point.reading for point in self.points if point.reading]
        scale = ROUNDING * max([abs(self.base.value), *(abs(r.value) for r in readings)])
        return bool(readings) and all(abs(r.value - self.base.value) <= scale for r in readings)

    @property
    def monotonicity(self) -> float | None:
        """Kendall's tau-b of level and response, the undamaged set included: 1 if every level is worse than the one
        before, -1 if every one is better; ``None`` below three levels or without any change."""
        values = [self.worse * self.base.value]
        values += [self.worse * point.reading.value for point in self.points if point.reading]
        pairs = list(itertools.combinations(values, 2))
        untied = sum(one != other for one, other in pairs)
        if len(values) < 3 or not untied:
            return None
        score = sum(int(np.sign(other - one)) for one, other in pairs)
        return float(score / np.sqrt(untied * len(pairs)))

    def response(self, number: int) -> float | None:
        """How much worse the value is than without damage at a level, counted from 1; ``None`` if it failed."""
        reading = self.points[number - 1].reading
        return None if reading is None else self.worse * (reading.value - self.base.value)

    def response_at_drop(self, undamaged: float) -> float | None:
        """The response where the segmenter's Dice has dropped by :data:`DROP`, linear between levels; ``None`` if it
        never does."""
        before, last = 0.0, 0.0
        for number, point in enumerate(self.points, 1):
            facts, response = point.level.facts if point.level else None, self.response(number)
            if facts is None or facts.segmenter is None or response is None:
                continue
            drop = undamaged - facts.segmenter
            if drop >= DROP:
                share = (DROP - before) / (drop - before)
                return last + share * (response - last)
            before, last = max(drop, 0.0), response
        return None

    @property
    def displacement(self) -> tuple[float, str] | None:
        """The mean displacement of tissue at the level at which it leaves the band, and its unit."""
        level = self.points[abs(self.leaves) - 1].level if self.leaves else None
        if level is None or level.facts is None or not level.facts.displacement:
            return None
        return level.facts.displacement, level.facts.unit


@dataclass(frozen=True)
class Profile:
    """All curves of one score of a metric.

    Attributes:
        metric, label: identity of the score.
        base: the undamaged set; ``None`` if the metric was skipped, with ``reason``.
        seconds: per image for ``compute`` and for the features.
        curves: by operator; absent if the operator does not concern the metric.
        absent: by operator without a curve, the reason.
    """

    metric: MetricChoice
    label: str
    base: Reading | None
    seconds: tuple[float, float]
    curves: dict[str, Curve]
    absent: dict[str, str]
    reason: str = ""

    @property
    def name(self) -> str:
        """Title, variant, label and the direction's arrow."""
        arrow = "↑" if self.metric.spec.higher_is_better else "↓"
        return " ".join(filter(None, (self.metric.name, self.label, arrow)))

    def anatomy_over_appearance(self, undamaged: float | None) -> tuple[float, int, int] | None:
        """The median response to anatomy over that to appearance where both cost the segmenter :data:`DROP` of its
        Dice, and the numbers of operators; ``None`` if a family never does, or appearance is not answered."""
        if undamaged is None:
            return None
        responses: dict[Family, list[float]] = {"anatomy": [], "appearance": []}
        for curve in self.curves.values():
            response = curve.response_at_drop(undamaged)
            if response is not None and curve.operator.family in responses:
                responses[curve.operator.family].append(response)
        if not all(responses.values()):
            return None
        anatomy, appearance = (float(np.median(responses[family])) for family in ("anatomy", "appearance"))
        counts = len(responses["anatomy"]), len(responses["appearance"])
        return (anatomy / appearance, *counts) if appearance > 0 else None

    @property
    def varies(self) -> bool:
        """Whether the value differs between halves of the patients without damage."""
        return self.base is not None and bool(self.base.halves) and min(self.base.halves) < max(self.base.halves)

    def by_patients(self) -> list[tuple[int, float, float]]:
        """Number of patients, bias against all patients, and standard deviation over draws."""
        if self.base is None:
            return []
        rows = ((int(n), np.array(values)) for n, values in self.base.draws.items())
        return sorted((n, float(v.mean() - self.base.value), float(v.std(ddof=1))) for n, v in rows)

    def patients_needed(self) -> int | None:
        """The fewest patients from which on the bias stays within two standard errors of the value with all of them.

        The standard error with all patients is the standard deviation over disjoint halves. ``None`` if no number
        that was tried suffices, or there are no halves.
        """
        if self.base is None or not self.varies:
            return None
        error = float(np.std(self.base.halves, ddof=1))
        needed = None
        for number, bias, _ in reversed(self.by_patients()):
            if abs(bias) > 2 * error:
                break
            needed = number
        return needed


def profiles(results: Results, material: Material) -> list[Profile]:
    """The profile of every score; of a metric that was skipped, one with the reason."""
    return [profile for metric in results.metrics for profile in _profiles(metric, results, material)]


def _profiles(metric: MetricChoice, results: Results, material: Material) -> Iterator[Profile]:
    base = results.base[metric.call]
    if base.measurement is None:
        yield Profile(metric, "", None, (0.0, 0.0), {}, {}, base.reason)
        return
    references = _count(material.reference) if two_sided(metric.needs) else None
    no_band = too_few(_count(material.candidate), references)
    absent = {o: reason for (call, o), reason in results.not_concerned.items() if call == metric.call}
    seconds = base.measurement.seconds, results.feature_seconds.get(metric.call, 0.0)
    for reading in base.measurement.readings:
        missing = no_band or ("" if reading.halves else "no band: it cannot be computed on halves of the patients")
        curves = {}
        for each in results.series:
            name = each.operator.name
            outcomes = results.outcomes.get((metric.call, name))
            if outcomes is not None:
                points = _points(reading.label, each.strengths, outcomes, results.facts[name])
                worse = -1 if metric.spec.higher_is_better else 1
                curves[name] = Curve(each.operator, reading, points, worse, missing)
        yield Profile(metric, reading.label, reading, seconds, curves, absent)


def _points(
    label: str, strengths: Sequence[float], outcomes: Sequence[Outcome], levels: Sequence[Level]
) -> tuple[Point, ...]:
    points = []
    for strength, outcome, level in zip(strengths, outcomes, levels, strict=True):
        readings = outcome.measurement.readings if outcome.measurement else ()
        reading = next((each for each in readings if each.label == label), None)
        reason = outcome.reason or ("" if reading else f"it gives no '{label}' here")
        points.append(Point(strength, reading, level, reason))
    return tuple(points)


def _count(images: ImageSet) -> int:
    return len(set(images.patients))
