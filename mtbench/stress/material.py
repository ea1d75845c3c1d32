"""The sets of a stress test: true translations and references of a data set, and a damaged set with its masks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from mtbench.compute.seeds import generator
from mtbench.data import Domain, ImageSet, Slice, Task, encode
from mtbench.errors import DataError
from mtbench.hashing import hash_of
from mtbench.preparation.request import PreparedDataset
from mtbench.stages.table import Subset
from mtbench.stages.work import arrays, positions
from mtbench.store.images import read_slices
from mtbench.stress.operators import Operator
from mtbench.stress.pixels import Labels, Pixels
from mtbench.typed import Record


@dataclass(frozen=True)
class Material:
    """The undamaged sets, in memory.

    Attributes:
        task: of the data set.
        candidate: the true translations with the masks of their source slices; of a task without such truth, real
            target slices of half of the patients.
        reference: as many real target slices, of other patients.
        training: target training slices, of other patients than both.
        source: the source slices of the true translations, in their order; ``None`` without such truth. No operator
            damages them.
        identity: the hash of the data set, its split and the chosen slices.
    """

    task: Task
    candidate: ImageSet
    reference: ImageSet
    training: ImageSet
    source: ImageSet | None
    identity: str

    @property
    def has_truth(self) -> bool:
        """Whether ``candidate`` holds true translations."""
        return self.source is not None

    @property
    def masks(self) -> Labels | None:
        """The masks of the candidates before any damage, uint8, N x H x W."""
        return None if self.candidate.masks is None else np.asarray(self.candidate.masks)


def take(prepared: PreparedDataset, slices: int, seed: int) -> Material:
    """The sets of a prepared data set.

    Candidates come from all splits, because no metric was trained on them; references from the target's validation and
    test slices. Both have the same number of slices, drawn from as many patients as there are.

    Args:
        prepared: the data set.
        slices: at most so many candidates, and as many references.
        seed: of the halves of patients where there are no true translations.

    Raises:
        DataError: the patients cannot be divided, or nobody is left for a set.
    """
    where = f"dataset '{prepared.request.name}'"
    if prepared.split is None:
        raise DataError(prepared.trouble, where=where)
    task = prepared.request.task
    sets = _Sets(prepared, task)
    held_out, training = sets.of("target", ("validation", "test")), sets.of("target", ("train",))
    if task.paired:
        candidate, reference = sets.truth(), held_out
    else:
        people = sorted(set(held_out.patients))
        first = set(generator("stress", "halves", seed).permutation(people)[: len(people) // 2].tolist())
        candidate, reference = _without(held_out, first, keep=True), held_out
    reference = _without(reference, set(candidate.patients))
    training = _without(training, {*candidate.patients, *reference.patients})
    for images, name in ((candidate, "candidates"), (reference, "references")):
        if not len(images):
            raise DataError(
                f"no slices are left as {name}",
                where=where,
                expected="target test or validation slices of patients who are not candidates",
                remedy="Use a data set with more target patients",
            )
    count = min(len(candidate), len(reference), slices)
    candidate, reference = (_loaded(_at_most(images, count)) for images in (candidate, reference))
    chosen = [[s.slice_id for s in images.slices] for images in (candidate, reference, training)]
    identity = hash_of([prepared.data.digest, prepared.split.digest, chosen])
    source = _loaded(sets.sources().aligned(candidate)) if task.paired else None
    return Material(task, candidate, reference, _loaded(training), source, identity)


@dataclass(frozen=True)
class _Sets:
    prepared: PreparedDataset
    task: Task

    def of(self, domain: Domain, splits: Sequence[str]) -> ImageSet:
        """The slices of a domain in some splits."""
        data, split = self.prepared.data, self.prepared.split
        assert split is not None
        chosen = sorted(i for each in splits for i in positions(split, Subset(domain, each)))  # type: ignore[arg-type]
        slices = read_slices(data.path, domain)
        images, masks = arrays(data, domain)
        whole = ImageSet(images, tuple(slices), masks, self.task, domain, "test")
        return whole.subset(chosen)

    def sources(self) -> ImageSet:
        """All source slices."""
        return self.of("source", ("train", "validation", "test"))

    def truth(self) -> ImageSet:
        """The true translations of the source slices, with the masks of these."""
        truth = self.of("paired", ("train", "validation", "test"))
        return replace(truth, masks=self.sources().aligned(truth).masks)


def _without(images: ImageSet, patients: set[str], *, keep: bool = False) -> ImageSet:
    """The slices of other patients; with ``keep``, of these."""
    return images.subset([i for i, patient in enumerate(images.patients) if (patient in patients) == keep])


def _at_most(images: ImageSet, count: int) -> ImageSet:
    """So many slices of as many patients as possible: the middle slices of each patient first, in the old order."""
    of_patient: dict[str, list[int]] = {}
    for position, patient in enumerate(images.patients):
        of_patient.setdefault(patient, []).append(position)
    turns: list[tuple[int, int]] = []
    for mine in of_patient.values():
        from_middle = np.argsort(np.abs(np.arange(len(mine)) - (len(mine) - 1) / 2), kind="stable")
        turns += [(turn, mine[int(place)]) for turn, place in enumerate(from_middle)]
    turns.sort(key=lambda each: each[0])
    return images.subset(sorted(position for _, position in turns[:count]))


def _loaded(images: ImageSet) -> ImageSet:
    masks = None if images.masks is None else np.asarray(images.masks)
    return replace(images, images=np.asarray(images.images), masks=masks)


@dataclass(frozen=True)
class Facts(Record):
    """The effect of one level of an operator, independent of any metric.

    Attributes:
        changed: number of slices whose image or truth changed.
        slices: number of slices.
        clamped: share of the pixels that left [0, 1] and were clamped.
        displacement: mean distance that labelled tissue was moved by, over all slices, in ``unit``; ``None`` for sets.
        unit: "mm", or "pixels" if the spacing is unknown.
        overlap: Dice of the masks after and before, pooled over labels and slices; ``None`` without masks.
        segmenter: the same of the segmenter's masks on the damaged images; ``None`` without a segmenter.
    """

    changed: int
    slices: int
    clamped: float = 0.0
    displacement: float | None = None
    unit: str = "mm"
    overlap: float | None = None
    segmenter: float | None = None


@dataclass(frozen=True)
class Damaged:
    """One damaged set.

    Attributes:
        candidate: the images to score, with the original masks: those of the source slices.
        truth: the images that paired metrics compare with.
        masks: the reference masks of segmentation metrics, N x H x W, or ``None``.
        facts: the effect of the damage.
    """

    candidate: ImageSet
    truth: ImageSet
    masks: Labels | None
    facts: Facts


def undamaged(material: Material) -> Damaged:
    """Level 0 of every operator."""
    facts = Facts(0, len(material.candidate), overlap=None if material.masks is None else 1.0)
    return Damaged(material.candidate, material.candidate, material.masks, facts)


def damage(material: Material, operator: Operator, strength: float, seed: int) -> Damaged:
    """The material after an operator.

    Every slice has a random generator that depends on the operator, the seed and the slice alone.

    Raises:
        DataError: the operator needs masks, more slices or a spacing that the data set lacks; or it changed no slice.
    """
    if operator.needs_masks and material.masks is None:
        raise DataError("the slices have no masks", where=f"operator '{operator.name}'", expected="labelled structures")
    damaged = (
        _of_set(material, operator, strength, seed)
        if operator.of_set
        else _of_slices(material, operator, strength, seed)
    )
    if not damaged.facts.changed:
        raise DataError(
            f"strength {strength:g} changes no slice",
            where=f"operator '{operator.name}'",
            expected="a larger strength" + operator.needs_masks * ", and structures of 0.1 to 20 % of the slice",
        )
    return damaged


def _of_slices(material: Material, operator: Operator, strength: float, seed: int) -> Damaged:
    assert operator.of_slice is not None
    images, masks = material.candidate, material.masks
    values = images.floats()
    done = []
    for i, record in enumerate(images.slices):
        pixels = Pixels(values[i], None if masks is None else masks[i], record.spacing or (1.0, 1.0))
        done.append(operator.of_slice(pixels, strength, generator("stress", operator.name, seed, record.slice_id)))
    after = np.stack([pixels.image for pixels in done])
    moved = None if masks is None else np.stack([p.mask for p in done if p.mask is not None])
    stored = encode(after, images.images.dtype.name).reshape(images.images.shape)
    facts = Facts(
        changed=_changed(images.images, stored),
        slices=len(images),
        clamped=float(((after < 0) | (after > 1)).mean()),
        displacement=float(np.mean([pixels.displacement for pixels in done])),
        unit=_unit(images.slices),
        overlap=overlap(moved, masks),
    )
    other = replace(images, images=stored)
    if operator.family == "registration":
        return Damaged(images, replace(other, masks=moved), moved, facts)
    return Damaged(other, images, masks, facts)


def _of_set(material: Material, operator: Operator, strength: float, seed: int) -> Damaged:
    assert operator.of_set is not None
    images, training, masks = material.candidate, material.training, material.masks
    rng = generator("stress", operator.name, seed)
    shown = operator.of_set(images.floats(), training.floats(), strength, rng)
    pixels = np.concatenate([images.images, training.images])[shown]
    overlapping = None
    if masks is not None and training.masks is not None:
        overlapping = overlap(np.concatenate([masks, np.asarray(training.masks)])[shown], masks)
    facts = Facts(_changed(images.images, pixels), len(images), unit=_unit(images.slices), overlap=overlapping)
    return Damaged(replace(images, images=pixels), images, masks, facts)


def _changed(before: NDArray[np.generic], after: NDArray[np.generic]) -> int:
    return sum(not np.array_equal(one, other) for one, other in zip(before, after, strict=True))


def _unit(slices: Sequence[Slice]) -> str:
    return "mm" if all(record.spacing for record in slices) else "pixels"


def overlap(masks: Labels | None, before: Labels | None) -> float | None:
    """Dice of two stacks of masks, pooled over all labels and slices; ``None`` if there is no mask or no label."""
    if masks is None or before is None or not (masks.any() or before.any()):
        return None
    same = ((masks == before) & (before > 0)).sum()
    return float(2 * same / ((masks > 0).sum() + (before > 0).sum()))
