"""A card for each score: the damage that it notices and misses, the patients it needs, and an instruction."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mtbench.stress.response import DROP, Profile

ACCEPTED = 0.8
"""Kendall's tau below which a curve is called unsteady."""


@dataclass(frozen=True)
class Card:
    """The summary of one score.

    Attributes:
        name: of the score.
        skipped: the reason why it was not computed; empty if it was.
        notices: operators with the level at which the score leaves the band.
        blind: operators at which it stays in the band.
        prefers: operators whose damage it calls an improvement, with the level.
        unsteady: operators that it notices, whose curve does not rise steadily, with Kendall's tau.
        unknown: operators without a verdict, with the reason.
        facts: sentences on matched comparisons, patients and cost.
        instruction: one sentence on its use.
    """

    name: str
    skipped: str = ""
    notices: tuple[str, ...] = ()
    blind: tuple[str, ...] = ()
    prefers: tuple[str, ...] = ()
    unsteady: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()
    facts: tuple[str, ...] = ()
    instruction: str = ""

    def lines(self) -> list[str]:
        """The card as text."""
        if self.skipped:
            return [self.name, f"  not scored: {self.skipped}"]
        parts = (
            ("leaves the band at level", self.notices),
            ("blind to", self.blind),
            ("prefers the damage of", self.prefers),
            ("does not rise steadily with", self.unsteady),
            ("no verdict on", self.unknown),
        )
        listed = [f"  {title}: {', '.join(items)}" for title, items in parts if items]
        return [self.name, *listed, *(f"  {fact}" for fact in self.facts), f"  => {self.instruction}"]


def cards(profiles: Sequence[Profile], undamaged: float | None) -> list[Card]:
    """The cards of all scores.

    Args:
        profiles: of one run.
        undamaged: Dice of the segmenter without damage; ``None`` without a segmenter.
    """
    return [_card(profile, profiles, undamaged) for profile in profiles]


def verdicts(profile: Profile) -> dict[str, int]:
    """The level at which the score leaves the band, by operator; see :attr:`Curve.leaves`. Proofs are left out."""
    found = {name: curve.leaves for name, curve in profile.curves.items() if not curve.operator.proof}
    return {name: leaves for name, leaves in found.items() if leaves is not None}


def _card(profile: Profile, profiles: Sequence[Profile], undamaged: float | None) -> Card:
    if profile.base is None:
        return Card(profile.name, skipped=profile.reason)
    found = verdicts(profile)
    unsteady, unknown = [], []
    for name, curve in profile.curves.items():
        if curve.operator.proof:
            continue
        if name not in found:
            unknown.append(
                f"{name} ({curve.no_band or next((p.reason for p in curve.points if p.reason), 'no value')})"
            )
        elif found[name] and curve.monotonicity is not None and abs(curve.monotonicity) < ACCEPTED:
            unsteady.append(f"{name} ({curve.monotonicity:.2f})")
    if profile.curves and len(unknown) == len([c for c in profile.curves.values() if not c.operator.proof]):
        unknown = [f"any operator ({next(iter(profile.curves.values())).no_band or 'no value'})"]
    blind = tuple(name for name, leaves in found.items() if leaves == 0)
    return Card(
        profile.name,
        notices=tuple(f"{name} {leaves}" for name, leaves in found.items() if leaves > 0),
        blind=blind,
        prefers=tuple(f"{name} {-leaves}" for name, leaves in found.items() if leaves < 0),
        unsteady=tuple(unsteady),
        unknown=tuple(unknown),
        facts=tuple(_facts(profile, undamaged)),
        instruction=_instruction(profile, profiles, found),
    )


def _facts(profile: Profile, undamaged: float | None) -> list[str]:
    facts = []
    matched = profile.anatomy_over_appearance(undamaged)
    if matched is not None:
        ratio, anatomy, appearance = matched
        facts.append(
            f"where the segmenter loses {DROP:g} Dice, the response to anatomy is {ratio:.2g} times that to appearance "
            f"(medians of {anatomy} and {appearance} operators)"
        )
    moved = [(name, curve.displacement) for name, curve in profile.curves.items() if curve.operator.family == "anatomy"]
    places = [f"{name} {where[0]:.2g} {where[1]}" for name, where in moved if where is not None]
    if places:
        facts.append(f"mean displacement of tissue at that level: {', '.join(places)}")
    reads_truth = {"paired", "reference_masks"} & {need for need in profile.metric.needs if isinstance(need, str)}
    for name, curve in profile.curves.items():
        if curve.operator.proof and curve.unchanged:
            facts.append(f"proven to depend on the set alone: {name} changes nothing")
        elif curve.operator.proof and not reads_truth:
            most = max((abs(curve.response(n) or 0.0) for n in range(1, len(curve.points) + 1)), default=0.0)
            facts.append(f"{name} changes the value by up to {most:.2g}: it depends on the order of the images")
    if profile.base is not None and profile.base.halves and not profile.varies:
        facts.append("the band has no width: without damage all patients have one value, so any change leaves it")
    elif profile.by_patients():
        sizes = (f"{number}: {bias:+.3g}, {deviation:.3g}" for number, bias, deviation in profile.by_patients())
        facts.append(f"bias and standard deviation by number of patients: {'; '.join(sizes)}")
    compute, features = profile.seconds
    more = f", {1000 * features:.3g} ms for its features" if features else ""
    return [*facts, f"cost: {1000 * compute:.3g} ms an image{more}"]


def _instruction(profile: Profile, profiles: Sequence[Profile], found: dict[str, int]) -> str:
    if not found:
        return "No verdict: give it more patients, or other levels."
    sees = [name for name, leaves in found.items() if leaves > 0]
    fails = [name for name, leaves in found.items() if leaves <= 0]
    parts = [f"Use it for {', '.join(sees)}" if sees else "Do not use it alone: it noticed none of the damage"]
    if sees and not profile.varies:
        # No band separates harmless from harmful changes, so "noticed" is no recommendation.
        parts = ["It responds to any change against the truth, harmless or not: compare its responses in the curves"]
    if fails:
        parts.append(f"do not rely on it for {', '.join(fails)}")
    needed, tried = profile.patients_needed(), [number for number, _, _ in profile.by_patients()]
    if needed is not None:
        parts.append(f"give it at least {needed} patients")
    elif tried and profile.varies:
        parts.append(f"compare only values from equally many patients (biased up to {tried[-1]} of them)")
    if fails:
        partner, covered = _partner(profile, profiles, fails)
        parts.append(
            f"pair it with {partner.name}, which notices {covered} of these {len(fails)}"
            if partner is not None
            else "no other score of this run notices what it misses"
        )
    return "; ".join(parts) + "."


def _partner(profile: Profile, profiles: Sequence[Profile], fails: Sequence[str]) -> tuple[Profile | None, int]:
    """The other score that notices most of what this one misses."""
    best, most = None, 0
    for other in profiles:
        if other is profile or other.base is None:
            continue
        covered = sum(verdicts(other).get(name, 0) > 0 for name in fails)
        if covered > most:
            best, most = other, covered
    return best, most
