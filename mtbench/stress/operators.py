"""The table of operators: families, levels, and whether they move anatomy."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from mtbench.errors import RequestError, close_matches
from mtbench.stress import anatomy, appearance, sets, structures
from mtbench.stress.pixels import Floats, Pixels

Family = Literal["appearance", "anatomy", "set", "registration"]
Effect = Literal["image_only", "moves_anatomy"]
OfSlice = Callable[[Pixels, float, np.random.Generator], Pixels]
OfSet = Callable[[Floats, Floats, float, np.random.Generator], sets.Positions]
LEVELS = (5, 10)
"""The fewest and the most levels of an operator."""


@dataclass(frozen=True)
class Operator:
    """One kind of damage.

    Attributes:
        name: as typed and printed.
        family: the target of the damage; "registration" moves the truth and leaves the translation unchanged.
        effect: whether the anatomy, and with it the masks, change too.
        strongest: the strength of the last level; levels are equal steps from 0 to it.
        weakest: if not 0, the strength of the first level; levels are then equal ratios.
        unit: of the strength.
        of_slice, of_set: the function; one of the two.
        needs_masks: whether it needs labels.
        proof: whether it only proves that a metric depends on the whole set; not a finding.
        revision: changed when the same strength would give other pixels.
    """

    name: str
    family: Family
    effect: Effect
    strongest: float
    unit: str
    of_slice: OfSlice | None = None
    of_set: OfSet | None = None
    needs_masks: bool = False
    proof: bool = False
    weakest: float = 0.0
    revision: int = 1

    @property
    def help(self) -> str:
        """Its effect, in one sentence."""
        return str((self.of_slice or self.of_set).__doc__).splitlines()[0]

    def strengths(self, levels: int, count: int) -> tuple[float, ...]:
        """The strengths of so many levels for ``count`` candidates, from weak to strong."""
        if self.unit == "images kept":
            # From half of the candidates down to one, each level the same fraction of the one before.
            return tuple(float(round(k)) for k in np.geomspace(max(count // 2, 1), 1, levels))
        if self.weakest:
            return tuple(float(s) for s in np.geomspace(self.weakest, self.strongest, levels).round(2))
        return tuple(float(s) for s in self.strongest * np.arange(1, levels + 1) / levels)


def _appearance(name: str, strongest: float, unit: str, function: OfSlice) -> Operator:
    return Operator(name, "appearance", "image_only", strongest, unit, of_slice=function)


def _anatomy(name: str, strongest: float, unit: str, function: OfSlice, *, needs_masks: bool = False) -> Operator:
    return Operator(name, "anatomy", "moves_anatomy", strongest, unit, of_slice=function, needs_masks=needs_masks)


_RANGE, _SHARE = "of the range", "share"
_SHARES = (_SHARE, "of the band", "of the slices", "of the lower half", "of a structure")
"""The units of strengths that are at most 1."""
OPERATORS: Mapping[str, Operator] = {
    operator.name: operator
    for operator in (
        _appearance("noise", 0.2, _RANGE, appearance.noise),
        _appearance("blur", 4.0, "pixels", appearance.blur),
        _appearance("bias-field", 0.5, _SHARE, appearance.bias_field),
        _appearance("gain", 0.5, _SHARE, appearance.gain),
        _appearance("offset", 0.25, _RANGE, appearance.offset),
        _appearance("contrast", 0.75, _SHARE, appearance.contrast),
        _appearance("gamma-up", 1.0, "exponent", appearance.gamma_up),
        _appearance("gamma-down", 1.0, "exponent", appearance.gamma_down),
        _appearance("invert", 1.0, _SHARE, appearance.invert),
        _appearance("ringing", 0.75, "of the band", appearance.ringing),
        _appearance("ghosting", 1.0, _SHARE, appearance.ghosting),
        _appearance("stripes", 0.2, _RANGE, appearance.stripes),
        _appearance("resample", 4.0, "pixel sizes", appearance.resample),
        _appearance("quantise", 6.0, "bits", appearance.quantise),
        _appearance("jpeg", 5.0, "table K.1", appearance.jpeg),
        _anatomy("shift", 5.0, "mm", anatomy.shift),
        _anatomy("deform", 8.0, "mm", anatomy.deform),
        _anatomy("drag", 8.0, "mm", anatomy.drag),
        _anatomy("flip", 1.0, "of the slices", anatomy.flip),
        _anatomy("mirror", 1.0, "of the lower half", anatomy.mirror),
        _anatomy("lesion", 10.0, "mm", anatomy.lesion),
        _anatomy("remove", 1.0, "of a structure", structures.remove, needs_masks=True),
        _anatomy("duplicate", 1.0, "of a structure", structures.duplicate, needs_masks=True),
        _anatomy("enlarge", 0.5, "of its size", structures.enlarge, needs_masks=True),
        _anatomy("move", 10.0, "mm", structures.move, needs_masks=True),
        _anatomy("fill", 5.0, "mm", structures.fill, needs_masks=True),
        Operator("other-patients", "set", "moves_anatomy", 1.0, "of the slices", of_set=sets.other_patients),
        Operator("memorised", "set", "moves_anatomy", 1.0, "of the slices", of_set=sets.memorised),
        Operator("collapse", "set", "moves_anatomy", 0.0, "images kept", of_set=sets.collapse),
        Operator("shuffle", "set", "moves_anatomy", 1.0, "of the slices", of_set=sets.shuffle, proof=True),
        Operator("misregister", "registration", "moves_anatomy", 5.0, "mm", of_slice=anatomy.shift, weakest=0.5),
    )
}
"""Every operator by name, in the order of tables."""


@dataclass(frozen=True)
class Series:
    """An operator with the strengths of its levels, from weak to strong."""

    operator: Operator
    strengths: tuple[float, ...]


def choose(calls: Sequence[str], levels: int, count: int) -> list[Series]:
    """The operators that the user asks for: ``NAME``, or ``NAME=s1,s2,...`` with strengths; all of them without calls.

    Raises:
        RequestError: there is no such operator, or the strengths are no rising series of positive numbers.
    """
    series = []
    for call in calls or tuple(OPERATORS):
        name, equals, text = call.partition("=")
        if name not in OPERATORS:
            raise RequestError(
                f"there is no operator '{name}'",
                expected="one of " + ", ".join(OPERATORS),
                matches=close_matches(name, OPERATORS),
            )
        operator = OPERATORS[name]
        series.append(Series(operator, _strengths(operator, text) if equals else operator.strengths(levels, count)))
    return series


def _strengths(operator: Operator, text: str) -> tuple[float, ...]:
    falls = operator.unit == "images kept"
    try:
        values = tuple(float(part) for part in text.split(","))
    except ValueError:
        values = ()
    if falls and any(value != round(value) for value in values):
        values = ()
    ordered = list(values) == sorted(set(values), reverse=falls)
    if not values or not ordered or min(values) <= 0 or not np.isfinite(values).all():
        kind = "falling whole numbers" if falls else "rising numbers"
        raise RequestError(
            f"the strengths '{text}' cannot be used",
            where=f"operator '{operator.name}'",
            expected=f"positive, {kind}, weak damage first",
        )
    if operator.unit in _SHARES and max(values) > 1:
        raise RequestError(
            f"the strength {max(values):g} is no share", where=f"operator '{operator.name}'", expected="at most 1"
        )
    return values
