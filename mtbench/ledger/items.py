"""One item for each structure that was added, lost, moved or resized between two label maps of a volume."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from mtbench.errors import DataError
from mtbench.ledger.components import Components, Grid, LengthUnit, SizeUnit, among, find_components, match

Kind = Literal["added", "removed", "moved", "grown", "shrunk", "split", "merged"]
KINDS: tuple[Kind, ...] = ("added", "removed", "moved", "grown", "shrunk", "split", "merged")


@dataclass(frozen=True)
class Rules:
    """The thresholds from which a difference is an item.

    Attributes:
        overlap: the smallest IoU at which two components are the same structure; at 0, any shared voxel is enough.
        growth: the factor between the sizes of two matched components from which one has grown or shrunk; above 1.
        shift: the distance between their centroids from which one has moved, in diameters of the reference component.
        smallest: the diameter, in the grid's unit of length, below which a change is not listed.
    """

    overlap: float = 0.1
    growth: float = 1.5
    shift: float = 0.5
    smallest: float = 0.0


@dataclass(frozen=True)
class Part:
    """One component of an item.

    Attributes:
        voxels: how many.
        size: in the item's unit of size.
        diameter: of the ball (on a single slice, the disc) of that size, in the item's unit of length.
        place: mean slice number, row and column.
        box: its voxels in the label map: first and last + 1 slice position, row and column.
    """

    voxels: int
    size: float
    diameter: float
    place: tuple[float, float, float]
    box: tuple[tuple[int, int], tuple[int, int], tuple[int, int]]


@dataclass(frozen=True)
class Item:
    """One change.

    Attributes:
        kind: "added": only the candidate has the component; "removed": only the reference. "moved", "grown",
            "shrunk": both have it, at another place or size. "split": a component of the candidate that is in no
            pair and lies by at least half within the reference's mask, a fragment; "merged": the reverse.
        region: the name of its region.
        candidate, reference: the components; ``None`` on the side that has none.
        changed: the size of those voxels of its components that are in only one of the two masks.
        distance: between the centroids; ``None`` with one component.
        size_unit, length_unit: of sizes, and of diameters and distances.
        where: int64, these voxels, as positions in the flattened label map; none if a fragment only lost its bridge.
    """

    kind: Kind
    region: str
    candidate: Part | None
    reference: Part | None
    changed: float
    distance: float | None
    size_unit: SizeUnit
    length_unit: LengthUnit
    where: NDArray[np.int64] = field(repr=False, compare=False)

    @property
    def shown(self) -> Part:
        """The component that shows the change: the candidate's, or the removed one."""
        part = self.candidate or self.reference
        assert part is not None
        return part

    @property
    def diameter(self) -> float:
        """The diameter of the larger component."""
        return max(part.diameter for part in (self.candidate, self.reference) if part is not None)


def find_items(
    candidate: NDArray[np.uint8],
    reference: NDArray[np.uint8],
    regions: Mapping[str, tuple[int, ...]],
    grid: Grid,
    *,
    known: NDArray[np.bool_] | None = None,
    rules: Rules = Rules(),
) -> list[Item]:
    """The changes from a reference to a candidate label map of one volume, the largest change first.

    Args:
        candidate, reference: N x H x W label maps of the same shape, slices in order.
        regions: the regions to compare, by name, and their label values. Leave out a region that one side does not
            annotate: it is unknown there, not absent.
        grid: where the slices are.
        known: N x H x W, the voxels that both sides annotate; all by default. Elsewhere nothing is compared.
        rules: see :class:`Rules`.

    Raises:
        DataError: the shapes differ.
    """
    if candidate.shape != reference.shape:
        raise DataError(
            f"the label maps have the shapes {candidate.shape} and {reference.shape}", expected="equal shapes"
        )
    items = []
    for region, values in regions.items():
        inside = among(values)
        masks = [inside[labels] if known is None else inside[labels] & known for labels in (candidate, reference)]
        sides = [find_components(mask, grid) for mask in masks]
        items += _Comparison(region, sides[0], sides[1], grid, rules).items()
    listed = [item for item in items if item.diameter >= rules.smallest]
    return sorted(listed, key=lambda item: -item.changed)


@dataclass(frozen=True)
class _Comparison:
    region: str
    candidate: Components
    reference: Components
    grid: Grid
    rules: Rules

    def items(self) -> list[Item]:
        matching = match(self.candidate, self.reference, self.rules.overlap)
        items = [self._item(*changed) for changed in self._changed(matching.pairs)]
        added, removed = matching.alone
        for i, j in self._elsewhere(added, removed):
            added.remove(i)
            removed.remove(j)
            items.append(self._item("moved", i, j))
        for i in added:
            fragment = 2 * matching.common[i].sum() >= self.candidate.voxels[i]
            items.append(self._item("split" if fragment else "added", i, None))
        for j in removed:
            fragment = 2 * matching.common[:, j].sum() >= self.reference.voxels[j]
            items.append(self._item("merged" if fragment else "removed", None, j))
        return items

    def _changed(self, pairs: tuple[tuple[int, int], ...]) -> list[tuple[Kind, int, int]]:
        changed: list[tuple[Kind, int, int]] = []
        for i, j in pairs:
            after, before = int(self.candidate.voxels[i]), int(self.reference.voxels[j])
            if after >= self.rules.growth * before:
                changed.append(("grown", i, j))
            elif before >= self.rules.growth * after:
                changed.append(("shrunk", i, j))
            elif self._distance(i, j) >= self.rules.shift * self.grid.diameter(before):
                changed.append(("moved", i, j))
        return changed

    def _elsewhere(self, added: list[int], removed: list[int]) -> list[tuple[int, int]]:
        """Unmatched components of similar size within one diameter of each other: nearest first, each once."""
        near = []
        for i in added:
            for j in removed:
                after, before = int(self.candidate.voxels[i]), int(self.reference.voxels[j])
                similar = max(after, before) < self.rules.growth * min(after, before)
                distance = self._distance(i, j)
                if similar and distance <= self.grid.diameter(max(after, before)):
                    near.append((distance, i, j))
        pairs: list[tuple[int, int]] = []
        for _, i, j in sorted(near):
            if all(i != other and j != another for other, another in pairs):
                pairs.append((i, j))
        return pairs

    def _distance(self, i: int, j: int) -> float:
        return self.grid.distance(self.candidate.centroids[i], self.reference.centroids[j])

    def _item(self, kind: Kind, i: int | None, j: int | None) -> Item:
        where = self._differing(i, j)
        return Item(
            kind=kind,
            region=self.region,
            candidate=None if i is None else self._part(self.candidate, i),
            reference=None if j is None else self._part(self.reference, j),
            changed=self.grid.size(len(where)),
            distance=None if i is None or j is None else self._distance(i, j),
            size_unit=self.grid.size_unit,
            length_unit=self.grid.length_unit,
            where=where,
        )

    def _differing(self, i: int | None, j: int | None) -> NDArray[np.int64]:
        """The flat positions of the components' voxels that only one of the masks has."""
        sides = [(side, n) for side, n in ((self.candidate, i), (self.reference, j)) if n is not None]
        boxes = [side.boxes[n] for side, n in sides]
        starts = [min(box[axis].start for box in boxes) for axis in range(3)]
        stops = [max(box[axis].stop for box in boxes) for axis in range(3)]
        box = tuple(slice(start, stop) for start, stop in zip(starts, stops, strict=True))
        own = np.any([side.labels[box] == n + 1 for side, n in sides], axis=0)
        differ = own & ((self.candidate.labels[box] > 0) != (self.reference.labels[box] > 0))
        places = tuple(at + start for at, start in zip(np.nonzero(differ), starts, strict=True))
        return np.asarray(np.ravel_multi_index(places, self.candidate.labels.shape), np.int64)

    def _part(self, side: Components, number: int) -> Part:
        voxels = int(side.voxels[number])
        slices, rows, columns = (float(x) for x in side.centroids[number])
        first, second, third = ((box.start, box.stop) for box in side.boxes[number])
        return Part(
            voxels=voxels,
            size=self.grid.size(voxels),
            diameter=self.grid.diameter(voxels),
            place=(slices, rows, columns),
            box=(first, second, third),
        )
