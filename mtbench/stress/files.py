"""The files of a stress test: the matrix in every format, the curves, the cards and a page."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mtbench.analysis.model import ResultsTable
from mtbench.errors import RequestError
from mtbench.registry.registry import Registry
from mtbench.registry.specs import ExporterSpec
from mtbench.stress.cards import Card
from mtbench.stress.page import page
from mtbench.stress.response import Curve, Point, Profile
from mtbench.typed import Record


@dataclass(frozen=True)
class CurveRow(Record):
    """One line of ``curves.csv``.

    Attributes:
        score, operator, family, effect, level, strength, strength_unit: the point; level 0 is undamaged.
        value, ci_low, ci_high: the score with its 95 % confidence interval by patient.
        halves: mean over halves of the patients, which is compared with the band.
        band_low, band_high: the band of halves without damage.
        changed, slices, clamped, displacement, displacement_unit, overlap, segmenter_dice: the damage; see
            :class:`mtbench.stress.material.Facts`.
        note: the reason if there is no value, interval or band.
    """

    score: str
    operator: str
    family: str
    effect: str
    level: int
    strength: float
    strength_unit: str
    value: float | None = None
    ci_low: float | None = None
    ci_high: float | None = None
    halves: float | None = None
    band_low: float | None = None
    band_high: float | None = None
    changed: int | None = None
    slices: int | None = None
    clamped: float | None = None
    displacement: float | None = None
    displacement_unit: str = ""
    overlap: float | None = None
    segmenter_dice: float | None = None
    note: str = ""


def write(
    folder: Path, table: ResultsTable, profiles: Sequence[Profile], cards: Sequence[Card], registry: Registry
) -> None:
    """Write all files.

    Raises:
        RequestError: the folder cannot be written.
    """
    texts = {"curves.csv": _csv(profiles), "cards.txt": _text(table, cards), "index.html": page(table, profiles, cards)}
    for name in registry.names("exporter"):
        exporter = registry.get(ExporterSpec, name)
        made = exporter.create(exporter.complete({}))
        with exporter.blaming("export() failed"):
            texts[f"matrix{exporter.spec.ending}"] = made.export(table)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in texts.items():
            (folder / name).write_text(text, encoding="utf-8", newline="\n")
    except OSError as error:
        raise RequestError(f"the results cannot be written: {error.strerror}", where=str(folder)) from error


def _text(table: ResultsTable, cards: Sequence[Card]) -> str:
    return "\n".join([table.remarks[0], "", *(line for card in cards for line in [*card.lines(), ""])])


def _csv(profiles: Sequence[Profile]) -> str:
    out = io.StringIO()
    names = list(CurveRow.__dataclass_fields__)
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(names)
    for profile in profiles:
        for curve in profile.curves.values():
            for row in rows(profile.name, curve):
                values = (getattr(row, name) for name in names)
                writer.writerow(["" if value is None else value for value in values])
    return out.getvalue()


def rows(name: str, curve: Curve) -> Iterator[CurveRow]:
    """The points of a curve, the undamaged set first."""
    for level, point in enumerate((Point(0.0, curve.base, None), *curve.points)):
        reading, facts, operator = point.reading, point.level.facts if point.level else None, curve.operator
        halves = float(np.mean(reading.halves)) if reading and reading.halves else None
        low, high = curve.band or (None, None)
        yield CurveRow(
            name,
            operator.name,
            operator.family,
            operator.effect,
            level,
            point.strength,
            operator.unit,
            value=reading.value if reading else None,
            ci_low=reading.low if reading else None,
            ci_high=reading.high if reading else None,
            halves=halves,
            band_low=low,
            band_high=high,
            changed=facts.changed if facts else None,
            slices=facts.slices if facts else None,
            clamped=facts.clamped if facts else None,
            displacement=facts.displacement if facts else None,
            displacement_unit=facts.unit if facts else "",
            overlap=facts.overlap if facts else None,
            segmenter_dice=facts.segmenter if facts else None,
            note="; ".join(filter(None, (point.reason, reading.without if reading else "", curve.no_band))),
        )
