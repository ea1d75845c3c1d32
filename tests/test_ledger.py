"""Components, their matching, and the items of the ledger, against values computed by hand or by brute force."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from mtbench import DataError, Slice
from mtbench.ledger import Grid, Rules, find_components, find_items, match

MM = Grid((0, 1, 2, 3, 4), (0.5, 2.0), 3.0)
"""Anisotropic: a voxel is 0.5 x 2 x 3 mm, 3 mm3."""
LESION = {"lesion": (1,)}


def empty(slices: int = 5, size: int = 24) -> NDArray[np.uint8]:
    return np.zeros((slices, size, size), np.uint8)


def balls(*boxes: tuple[slice, slice, slice], slices: int = 5) -> NDArray[np.uint8]:
    labels = empty(slices)
    for box in boxes:
        labels[box] = 1
    return labels


A = (slice(1, 3), slice(2, 6), slice(2, 6))  # 32 voxels
B = (slice(1, 3), slice(12, 16), slice(12, 16))  # 32 voxels


# -- components


def test_components_touch_by_corners_and_are_measured_in_voxels() -> None:
    mask = np.zeros((5, 24, 24), bool)
    mask[0, 0, 0] = mask[1, 1, 1] = True  # they share a corner
    mask[4, 10, 10:13] = True
    components = find_components(mask, MM)
    assert components.voxels.tolist() == [2, 3]
    assert components.centroids.tolist() == [[0.5, 0.5, 0.5], [4, 10, 11]]
    assert components.boxes[1] == (slice(4, 5), slice(10, 11), slice(10, 13))


def test_a_gap_between_slices_separates_components_and_counts_in_places() -> None:
    mask = np.ones((3, 2, 2), bool)
    components = find_components(mask, Grid((0, 1, 5)))
    assert components.voxels.tolist() == [8, 4]
    assert components.centroids[:, 0].tolist() == [0.5, 5.0]


def test_an_empty_mask_has_no_components() -> None:
    components = find_components(np.zeros((2, 3, 3), bool), Grid((0, 1)))
    assert len(components) == 0
    assert components.centroids.shape == (0, 3)
    assert match(components, components).pairs == ()


@pytest.mark.parametrize(
    ("grid", "size", "diameter"),
    [
        (MM, (0.3, "mL"), (8.305, "mm")),  # 300 mm3; (6 * 300 / pi) ** (1 / 3)
        (Grid((0, 1), (0.5, 2.0)), (100.0, "mm2"), (5.7588, "pixels")),  # (6 * 100 / pi) ** (1 / 3)
        (Grid((0, 1)), (100.0, "pixels"), (5.7588, "pixels")),
        (Grid((7,), (0.5, 2.0)), (100.0, "mm2"), (11.2838, "mm")),  # sqrt(4 * 100 / pi)
        (Grid((7,), (0.5, 2.0), 3.0), (0.3, "mL"), (11.2838, "mm")),
    ],
)
def test_units_are_those_that_the_spacing_allows(grid: Grid, size: Any, diameter: Any) -> None:
    assert (pytest.approx(grid.size(100)), grid.size_unit) == size
    assert (pytest.approx(grid.diameter(100), abs=1e-3), grid.length_unit) == diameter


def test_distances_are_in_mm_along_each_axis() -> None:
    assert MM.distance(np.array([0.0, 0, 0]), np.array([1.0, 8, 6])) == pytest.approx((9 + 16 + 144) ** 0.5)


def test_slices_out_of_order_or_of_two_spacings_are_refused() -> None:
    slices = [Slice(f"s{i}", "p", "knee", i, (1.0, 1.0), 2.0) for i in range(3)]
    assert Grid.of(slices) == Grid((0, 1, 2), (1.0, 1.0), 2.0)
    with pytest.raises(DataError, match="case 'knee': its slices are numbers 0, 2, 1"):
        Grid.of([slices[0], slices[2], slices[1]])
    with pytest.raises(DataError, match="differ in spacing"):
        Grid.of([slices[0], Slice("x", "p", "knee", 1, (1.0, 1.0), 3.0)])
    with pytest.raises(DataError, match="Expected 2 slices"):
        find_components(np.zeros((3, 2, 2), bool), Grid((0, 1)))


# -- matching


def brute_force(iou: NDArray[np.float64], overlap: float) -> float:
    """The largest sum of IoU over all one-to-one matchings."""
    weights = np.where(iou >= overlap, iou, 0.0)
    if weights.shape[0] > weights.shape[1]:
        weights = weights.T
    rows, columns = weights.shape
    return max(
        sum(float(weights[i, j]) for i, j in enumerate(chosen))
        for chosen in itertools.permutations(range(columns), rows)
    )


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("overlap", [0.0, 0.3, 0.5])
def test_the_matching_has_the_largest_sum_of_iou(seed: int, overlap: float) -> None:
    rng = np.random.default_rng(seed)
    grid = Grid((0, 1, 2))
    masks = [np.zeros((3, 20, 20), bool) for _ in range(2)]
    for mask, _ in itertools.product(masks, range(5)):
        row, column = rng.integers(0, 16, 2)
        mask[:, row : row + rng.integers(2, 7), column : column + rng.integers(2, 7)] = True
    one, other = (find_components(mask, grid) for mask in masks)
    matching = match(one, other, overlap)
    for i, j in itertools.product(range(len(one)), range(len(other))):
        mine, yours = one.labels == i + 1, other.labels == j + 1
        assert matching.iou[i, j] == (mine & yours).sum() / (mine | yours).sum()
    assert sum(matching.iou[pair] for pair in matching.pairs) == pytest.approx(brute_force(matching.iou, overlap))
    assert all(matching.iou[pair] >= max(overlap, 1e-9) for pair in matching.pairs)
    assert len({i for i, _ in matching.pairs}) == len({j for _, j in matching.pairs}) == len(matching.pairs)


# -- items


def kinds(candidate: NDArray[np.uint8], reference: NDArray[np.uint8], **settings: Any) -> list[str]:
    return [item.kind for item in find_items(candidate, reference, LESION, MM, **settings)]


def test_equal_label_maps_have_no_items() -> None:
    assert kinds(balls(A, B), balls(A, B)) == []
    assert kinds(empty(), empty()) == []


def test_what_was_added_is_an_item_with_volume_and_place() -> None:
    (item,) = find_items(balls(A, B), balls(A), LESION, MM)
    assert (item.kind, item.region, item.reference, item.distance) == ("added", "lesion", None, None)
    assert item.candidate is not None
    assert item.candidate.voxels == 32
    assert item.candidate.size == item.changed == pytest.approx(32 * 3 / 1000)
    assert item.candidate.place == (1.5, 13.5, 13.5)
    assert item.candidate.box == ((1, 3), (12, 16), (12, 16))
    assert item.candidate.diameter == item.diameter == pytest.approx((6 * 96 / np.pi) ** (1 / 3))
    assert (item.size_unit, item.length_unit) == ("mL", "mm")


def test_what_was_removed_is_the_reverse() -> None:
    (item,) = find_items(empty(), balls(B), LESION, MM)
    assert (item.kind, item.candidate) == ("removed", None)
    assert item.shown.place == (1.5, 13.5, 13.5)


def test_grown_and_shrunk_begin_at_the_factor() -> None:
    grown = balls((slice(1, 4), slice(2, 6), slice(2, 6)))  # 48 voxels
    assert kinds(grown, balls(A)) == ["grown"]
    assert kinds(balls(A), grown) == ["shrunk"]
    assert kinds(grown, balls(A), rules=Rules(growth=1.6)) == []


def test_moved_by_half_a_diameter_with_or_without_overlap() -> None:
    # 96 mm3: a diameter of 5.68 mm. A column is 2 mm: one is 0.35 diameters, two 0.7.
    one, two = (balls((A[0], A[1], slice(2 + n, 6 + n))) for n in (1, 2))
    assert kinds(one, balls(A)) == []
    (item,) = find_items(two, balls(A), LESION, MM)
    assert (item.kind, item.distance) == ("moved", 4.0)
    assert item.changed == pytest.approx(32 * 3 / 1000)  # 16 voxels on each side
    assert item.where.tolist() == np.flatnonzero(two != balls(A)).tolist()
    # Nine rows are 4.5 mm, without a shared voxel, within a diameter; farther away it is another structure.
    beside = balls((A[0], slice(11, 15), A[2]))
    assert kinds(beside, balls(A)) == ["moved"]
    far = balls((A[0], slice(16, 20), A[2]))
    assert sorted(kinds(far, balls(A))) == ["added", "removed"]


def test_fragments_are_neither_added_nor_removed() -> None:
    whole = balls((slice(1, 3), slice(2, 11), slice(2, 6)))
    parts = balls((slice(1, 3), slice(2, 7), slice(2, 6)), (slice(1, 3), slice(8, 11), slice(2, 6)))
    assert sorted(kinds(parts, whole)) == ["shrunk", "split"]
    assert sorted(kinds(whole, parts)) == ["grown", "merged"]
    fragment = next(item for item in find_items(parts, whole, LESION, MM) if item.kind == "split")
    assert (len(fragment.where), fragment.changed, fragment.shown.voxels) == (0, 0.0, 24)


def test_the_largest_change_is_first_and_specks_can_be_left_out() -> None:
    speck = (slice(0, 1), slice(20, 21), slice(20, 21))
    items = find_items(balls(A, speck), balls(B), LESION, MM)
    assert [item.changed for item in items] == pytest.approx([0.096, 0.096, 0.003])
    assert len(find_items(balls(A, speck), balls(B), LESION, MM, rules=Rules(smallest=3.0))) == 2


def test_unknown_voxels_and_regions_are_not_compared() -> None:
    known = np.ones(empty().shape, bool)
    known[:, :, 10:] = False
    assert kinds(balls(A, B), empty(), known=known) == ["added"]
    assert find_items(balls(A), empty(), {}, MM) == []


def test_regions_hold_several_labels() -> None:
    labels = balls(A)
    labels[1] *= 2
    (item,) = find_items(labels, empty(), {"both": (1, 2)}, MM)
    assert item.shown.voxels == 32


def test_label_maps_of_two_shapes_are_refused() -> None:
    with pytest.raises(DataError, match="equal shapes"):
        find_items(empty(), empty(4), LESION, MM)
