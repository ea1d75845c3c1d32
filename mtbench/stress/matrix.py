"""The blindness matrix, scores by operators, as a table that every exporter writes."""

from __future__ import annotations

from collections.abc import Sequence

from mtbench.analysis.model import Cell, ResultsTable, Section, TableColumn, TableRow
from mtbench.stress.material import Material
from mtbench.stress.measure import BAND
from mtbench.stress.operators import Family, Series
from mtbench.stress.response import Curve, Profile

TRUST = (
    "Phantoms prove that a metric can prefer a damaged translation. They cannot prove that a metric is trustworthy. "
    "A failure is informative; a pass is only a reason to test the metric on your own data, with this command."
)
GROUPS: dict[Family, str] = {
    "appearance": "Appearance",
    "anatomy": "Anatomy",
    "set": "Set of images",
    "registration": "Registration of the truth",
}
CAPTION = "Blindness matrix"


def matrix(profiles: Sequence[Profile], series: Sequence[Series], material: Material) -> ResultsTable:
    """One column for each score, one row for each operator; no ranks."""
    notes = _Notes()
    shown = [profile for profile in profiles if profile.base is not None]
    names = [p.name for p in shown]
    columns = tuple(_column(profile, name, material) for profile, name in zip(shown, names, strict=True))
    rows = []
    for each in sorted(series, key=lambda one: list(GROUPS).index(one.operator.family)):
        operator = each.operator
        cells = tuple(_cell(profile, operator.name, notes) for profile in shown)
        label = f"{GROUPS[operator.family]}: {operator.name}"
        rows.append(TableRow(label, "translator", operator.name, {"strengths": list(each.strengths)}, False, cells))
    skipped = [f"{profile.name} was not scored: {profile.reason}" for profile in profiles if profile.base is None]
    section = Section("", columns, tuple(rows), corner="Damage")
    return ResultsTable(
        f"{CAPTION}: {material.task.dataset}", (section,), tuple(notes.texts), (TRUST, *skipped, *legend(material))
    )


def legend(material: Material) -> tuple[str, ...]:
    """What the cells mean."""
    images = "true translations" if material.has_truth else "real target slices"
    candidates, references = (len(set(each.patients)) for each in (material.candidate, material.reference))
    level = (
        "A number is the first level at which the mean over halves of the patients leaves the band; -2: it leaves on "
        "the better side, so the score prefers the damage. blind: it never leaves."
    )
    band = f"The band runs from the smallest to the largest value on {2 * BAND} halves of the patients without damage."
    proven = "proven 0: exactly unchanged, which shows that the score depends on the set alone; no finding."
    sets = (
        f"{len(material.candidate)} {images} of {candidates} patients are damaged; {len(material.reference)} real "
        f"target slices of {references} other patients are the reference."
    )
    return level, band, proven, sets


class _Notes:
    """Footnotes, each once."""

    def __init__(self) -> None:
        self.texts: list[str] = []

    def number(self, text: str) -> int:
        """Of a footnote, from 1."""
        if text not in self.texts:
            self.texts.append(text)
        return self.texts.index(text) + 1


def _column(profile: Profile, name: str, material: Material) -> TableColumn:
    spec = profile.metric.spec
    return TableColumn(
        task=material.task.dataset,
        group=GROUPS_OF_METRICS.get(spec.family, spec.family),
        name=name,
        title=name,
        dataset=material.task.dataset,
        metric=spec.name,
        variant=profile.metric.registration.ask(spec.printed_variant, profile.metric.params),
        label=profile.label,
        higher_is_better=spec.higher_is_better,
        measure_unit=spec.measure_unit,
    )


GROUPS_OF_METRICS = {
    "segmentation": "Segmentation metrics",
    "perceptual": "Perceptual metrics",
    "paired": "Paired metrics",
}


def _cell(profile: Profile, operator: str, notes: _Notes) -> Cell:
    curve = profile.curves.get(operator)
    if curve is None:
        return Cell(notes=(notes.number(profile.absent.get(operator, "not tried")),))
    failed = [(str(n), point.reason) for n, point in enumerate(curve.points, 1) if point.reading is None]
    levels = f"level{'s' * (len(failed) > 1)} {', '.join(n for n, _ in failed)}"
    numbers = (notes.number(f"No value at {levels}: {failed[0][1]}"),) if failed else ()
    if len(failed) == len(curve.points):
        return Cell("failed", status="failed", notes=(notes.number(f"{operator}: {curve.points[0].reason}"),))
    return _verdict(curve, numbers, notes)


def _verdict(curve: Curve, numbers: tuple[int, ...], notes: _Notes) -> Cell:
    if curve.operator.proof and curve.unchanged:
        return Cell("proven 0", status="ok", notes=numbers)
    leaves = curve.leaves
    if leaves is None:
        return Cell("no band", status="ok", notes=(*numbers, notes.number(_sentence(curve.no_band))))
    facts = [point.level.facts for point in curve.points if point.level is not None]
    clamped = max((each.clamped for each in facts if each is not None), default=0.0)
    if clamped > 0.01:
        text = f"Up to {100 * clamped:.0f} % of the pixels left the range and were clamped ({curve.operator.name})"
        numbers = (*numbers, notes.number(text))
    fewest = min((each.changed for each in facts if each is not None), default=0)
    slices = max((each.slices for each in facts if each is not None), default=0)
    # Shares of the slices are what these operators grade.
    if fewest < slices and curve.operator.needs_masks:
        text = f"Only {fewest} of {slices} slices hold a structure to damage ({curve.operator.name})"
        numbers = (*numbers, notes.number(text))
    text = str(leaves) if leaves else "blind"
    return Cell(text, status="ok", value=float(leaves) if leaves else None, notes=numbers)


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:] if text else "No band: no level has a value on halves of the patients"
