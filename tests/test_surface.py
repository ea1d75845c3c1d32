"""HD95 and surface Dice against MONAI, DeepMind's surface-distance and shapes whose distances are known."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from mtbench import DataError, ImageSet, MetricInputs, Slice, Task
from mtbench.compute.context import Context
from mtbench.registry.params import complete
from mtbench_plugins.metrics import surface as surface_spec
from mtbench_plugins.metrics.surface_distances import (
    Hausdorff95,
    SurfaceDice,
    element_distances,
    nearest,
    surface,
    surface_distances,
)
from mtbench_plugins.metrics.surface_elements import sizes

# MONAI announces a change of its own.
pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning:monai")

TASK = Task("toy", labels={1: "bone"})
Spacing = tuple[float, float] | None


def inputs(
    predicted: NDArray[Any],
    reference: NDArray[Any],
    spacing: Spacing | list[Spacing] = None,
    thickness: float | None = None,
    per_patient: int = 1,
    gap: int = 1,
) -> MetricInputs:
    n = len(predicted)
    steps = spacing if isinstance(spacing, list) else [spacing] * n
    slices = tuple(
        Slice(f"s{i}", f"p{i // per_patient}", f"c{i // per_patient}", gap * i, spacing=steps[i], thickness=thickness)
        for i in range(n)
    )
    images = ImageSet(np.zeros(predicted.shape, np.uint8), slices, None, TASK, "source", "test")
    guess, true = predicted.astype(np.uint8), reference.astype(np.uint8)
    return MetricInputs(TASK, images, predicted_masks=guess, reference_masks=true)


def blobs(n: int, shape: tuple[int, ...], seed: int, cut: float = 0.1) -> NDArray[np.bool_]:
    """Ragged masks, touching the border, none of them empty."""
    rng = np.random.default_rng(seed)
    pool = torch.nn.functional.avg_pool2d if len(shape) == 2 else torch.nn.functional.avg_pool3d
    noise = torch.from_numpy(rng.normal(size=(n, 1, *shape)))
    masks = pool(noise, 5, 1, 2).numpy()[:, 0] > cut
    assert masks.reshape(n, -1).any(axis=1).all()
    return np.asarray(masks)


@pytest.mark.parametrize("spacing", [(1.0, 1.0), (0.7, 2.5)])
def test_agrees_with_monai_on_slices(spacing: tuple[float, float]) -> None:
    from monai.metrics import compute_hausdorff_distance, compute_surface_dice

    predicted, reference = blobs(12, (40, 33), 0), blobs(12, (40, 33), 1, 0.15)
    p, t = (torch.from_numpy(m)[:, None].float() for m in (predicted, reference))
    theirs = compute_hausdorff_distance(p, t, include_background=True, percentile=95, spacing=spacing)
    metric_inputs = inputs(predicted, reference, spacing)
    (ours,) = Hausdorff95().compute(metric_inputs, Context())
    assert ours.cases is not None
    np.testing.assert_allclose(ours.cases.values, theirs[:, 0].numpy(), rtol=1e-5)
    shares = compute_surface_dice(p, t, [1.5], include_background=True, spacing=spacing)
    (ours,) = SurfaceDice(count="voxels", tolerance=1.5).compute(metric_inputs, Context())
    assert ours.cases is not None
    np.testing.assert_allclose(ours.cases.values, shares[:, 0].numpy(), rtol=1e-5)
    assert ours.value == pytest.approx(float(shares.mean()))
    assert ours.note == "distances in mm"


def test_agrees_with_monai_on_volumes() -> None:
    from monai.metrics import compute_hausdorff_distance, compute_surface_dice

    predicted, reference = blobs(3, (8, 24, 20), 0), blobs(3, (8, 24, 20), 1)
    p, t = (torch.from_numpy(m)[:, None].float() for m in (predicted, reference))
    step = (3.0, 0.5, 0.9)
    theirs = compute_hausdorff_distance(p, t, include_background=True, percentile=95, spacing=step)
    stack = (predicted.reshape(24, 24, 20), reference.reshape(24, 24, 20))
    metric_inputs = inputs(*stack, spacing=step[1:], thickness=3.0, per_patient=8)
    (ours,) = Hausdorff95(per="patient").compute(metric_inputs, Context())
    assert ours.cases is not None
    assert ours.cases.by == "patient"
    np.testing.assert_allclose(ours.cases.values, theirs[:, 0].numpy(), rtol=1e-5)
    shares = compute_surface_dice(p, t, [1.0], include_background=True, spacing=step)
    (ours,) = SurfaceDice(per="patient", count="voxels", tolerance=1.0).compute(metric_inputs, Context())
    assert ours.value == pytest.approx(float(shares.mean()), rel=1e-6)


@pytest.mark.parametrize("spacing", [(1.0, 1.0), (0.7, 2.5)])
def test_area_is_monais_with_subvoxels_on_slices(spacing: tuple[float, float]) -> None:
    from monai.metrics import compute_surface_dice

    predicted, reference = blobs(12, (40, 33), 0), blobs(12, (40, 33), 1, 0.15)
    p, t = (torch.from_numpy(m)[:, None].float() for m in (predicted, reference))
    shares = compute_surface_dice(p, t, [1.5], include_background=True, spacing=spacing, use_subvoxels=True)
    (ours,) = SurfaceDice(tolerance=1.5).compute(inputs(predicted, reference, spacing), Context())
    assert ours.cases is not None
    np.testing.assert_allclose(ours.cases.values, shares[:, 0].numpy(), rtol=1e-5)
    (voxels,) = SurfaceDice(tolerance=1.5, count="voxels").compute(inputs(predicted, reference, spacing), Context())
    assert abs(voxels.value - ours.value) > 0.005


def test_area_is_monais_with_subvoxels_on_volumes() -> None:
    from monai.metrics import compute_surface_dice

    predicted, reference = blobs(3, (8, 24, 20), 0), blobs(3, (8, 24, 20), 1)
    p, t = (torch.from_numpy(m)[:, None].float() for m in (predicted, reference))
    shares = compute_surface_dice(p, t, [1.0], include_background=True, spacing=(3.0, 0.5, 0.9), use_subvoxels=True)
    stack = (predicted.reshape(24, 24, 20), reference.reshape(24, 24, 20))
    metric_inputs = inputs(*stack, spacing=(0.5, 0.9), thickness=3.0, per_patient=8)
    (ours,) = SurfaceDice(per="patient", tolerance=1.0).compute(metric_inputs, Context())
    assert ours.cases is not None
    np.testing.assert_allclose(ours.cases.values, shares[:, 0].numpy(), rtol=1e-5)


@pytest.mark.parametrize("spacing", [(1.0, 1.0), (0.7, 2.5), (1.0, 1.0, 1.0), (3.0, 0.5, 0.9)])
def test_area_of_every_cell_is_deepminds(spacing: tuple[float, ...]) -> None:
    tables = pytest.importorskip(
        "surface_distance.lookup_tables", reason="surface-distance is not installed (extra [bench])"
    )
    flat = len(spacing) == 2
    make = "create_table_neighbour_code_to_" + ("contour_length" if flat else "surface_area")
    theirs, bits = getattr(tables, make)(spacing), 4 if flat else 8
    # Their highest bit is our lowest.
    expected = [theirs[int(f"{number:0{bits}b}"[::-1], 2)] for number in range(2**bits)]
    np.testing.assert_allclose(sizes(spacing), expected, rtol=1e-12)


def test_area_of_known_shapes() -> None:
    # A block of voxels: six faces, twelve edges and eight corners that are cut off halfway.
    solid = np.zeros((9, 9, 9), bool)
    solid[2:6, 2:7, 3:6] = True
    (_, size), _ = element_distances(solid, solid, (1.0, 1.0, 1.0))
    faces = 2 * (3 * 4 + 3 * 2 + 4 * 2)
    edges = 4 * (3 + 4 + 2) * math.sqrt(0.5)
    corners = 8 * math.sqrt(3) / 8
    assert size.sum() == pytest.approx(faces + edges + corners)
    # One pixel is a diamond; a slanted edge is as long as it is, where pixels would count it shorter.
    pixel, slope = np.zeros((3, 3), bool), np.tri(40, dtype=bool)
    pixel[1, 1] = True
    (_, size), _ = element_distances(pixel, pixel, (2.0, 2.0))
    assert size.sum() == pytest.approx(4 * math.sqrt(2))
    (_, size), _ = element_distances(slope, slope, (1.0, 1.0))
    assert size.sum() == pytest.approx(39 * math.sqrt(2) + 2 * 39 + 4 * math.sqrt(0.5))
    # Two squares side by side, seven apart: the inner edges are six apart, half of the rest too far.
    one, other = np.zeros((20, 30), bool), np.zeros((20, 30), bool)
    one[5:10, 5:10] = True
    other[5:10, 12:17] = True
    assert SurfaceDice(tolerance=6.9).of_masks(one, other, (1.0, 1.0)) < 1
    assert SurfaceDice(tolerance=7.0).of_masks(one, other, (1.0, 1.0)) == 1.0


def test_shapes_with_known_distances() -> None:
    one, other = np.zeros((1, 20, 30), bool), np.zeros((1, 20, 30), bool)
    one[0, 5:10, 5:10] = True
    other[0, 5:10, 12:17] = True
    (shifted,) = Hausdorff95().compute(inputs(one, other), Context())
    assert shifted.value == 7.0
    assert shifted.note == "distances in pixels"
    (same,) = Hausdorff95().compute(inputs(one, one), Context())
    assert same.value == 0.0
    (near,) = SurfaceDice(tolerance=6.9).compute(inputs(one, other), Context())
    assert 0 < near.value < 1
    (nearer,) = SurfaceDice(tolerance=7.0).compute(inputs(one, other), Context())
    assert nearer.value == 1.0
    assert surface(one[0]).sum() == 16
    assert surface(np.ones((3, 4), bool)).sum() == 10
    to, back = surface_distances(one[0], other[0], (1.0, 2.0))
    assert to.max() == back.max() == 14.0


@pytest.mark.parametrize("within", [math.inf, 3.0, 0.0])
def test_distances_are_those_to_every_point(within: float) -> None:
    rng = np.random.default_rng(0)
    points, others = rng.random((2, 6, 9, 8)) < 0.1
    step = np.array([3.0, 0.5, 0.75])
    apart = np.argwhere(points)[:, None] - np.argwhere(others)[None]
    expected = np.sqrt(((apart * step) ** 2).sum(axis=-1)).min(axis=1)
    expected[expected > within] = math.inf
    assert len({*expected}) > 1
    np.testing.assert_array_equal(nearest(points, others, (3.0, 0.5, 0.75), within), expected)


def test_empty_masks() -> None:
    square = np.zeros((9, 13), bool)
    square[2:4, 2:4] = True
    nothing = np.zeros_like(square)
    # agreement, both empty, missed, invented
    predicted, reference = np.stack([square, nothing, nothing, square]), np.stack([square, nothing, square, nothing])
    metric_inputs = inputs(predicted, reference)
    diagonal = math.hypot(8, 12)
    (hd,) = Hausdorff95().compute(metric_inputs, Context())
    assert hd.cases is not None
    np.testing.assert_allclose(hd.cases.values, [0, np.nan, diagonal, diagonal])
    assert hd.value == pytest.approx(2 * diagonal / 3)
    assert "1 of 4 cases have no value" in hd.note
    (skip,) = Hausdorff95(missing="skip").compute(metric_inputs, Context())
    assert skip.value == 0.0
    assert "3 of 4" in skip.note
    (nsd,) = SurfaceDice().compute(metric_inputs, Context())
    assert nsd.cases is not None
    np.testing.assert_allclose(nsd.cases.values, [1, 1, 0, 0])
    (nsd_skip,) = SurfaceDice(empty="skip").compute(metric_inputs, Context())
    assert nsd_skip.value == pytest.approx(1 / 3)
    with pytest.raises(DataError, match="no slice has a value for 'bone'"):
        Hausdorff95().compute(inputs(nothing[None], nothing[None]), Context())


def test_units() -> None:
    masks = blobs(4, (20, 20), 0)
    with pytest.raises(DataError, match=r"2 of 4 slices have a spacing.*measure_unit=pixels"):
        Hausdorff95().compute(inputs(masks, masks, [(1.0, 1.0), None, (1.0, 1.0), None]), Context())
    with pytest.raises(DataError, match="4 of 4 slices have no spacing"):
        Hausdorff95(measure_unit="mm").compute(inputs(masks, masks), Context())
    with pytest.raises(DataError, match="distance between its slices is not known"):
        Hausdorff95(per="patient").compute(inputs(masks, masks, (1.0, 1.0), per_patient=4), Context())
    gaps = inputs(masks, masks, (1.0, 1.0), thickness=2.0, per_patient=4, gap=2)
    with pytest.raises(DataError, match="without gaps"):
        Hausdorff95(per="patient").compute(gaps, Context())
    with pytest.raises(DataError, match="across slices"):
        Hausdorff95(per="patient", measure_unit="pixels").compute(inputs(masks, masks, (1.0, 1.0)), Context())
    other = blobs(4, (20, 20), 1)
    (millimetres,) = Hausdorff95().compute(inputs(masks, other, (2.0, 2.0)), Context())
    (pixels,) = Hausdorff95(measure_unit="pixels").compute(inputs(masks, other, (2.0, 2.0)), Context())
    assert millimetres.value == pytest.approx(2 * pixels.value)


def test_specs() -> None:
    hd95, nsd = surface_spec.mtbench_metrics()
    assert hd95.printed_variant(complete({}, hd95.params, "hd95")) == "slice"
    assert nsd.printed_variant(complete({"tolerance": 1.5, "per": "patient"}, nsd.params, "nsd")) == "patient,1.5,area"
    assert nsd.printed_variant(complete({"count": "voxels"}, nsd.params, "nsd")) == "slice,2,voxels"
    assert not hd95.higher_is_better
    assert nsd.higher_is_better
    assert Hausdorff95(**complete({}, hd95.params, "hd95")) == Hausdorff95()
    assert SurfaceDice(**complete({}, nsd.params, "nsd")) == SurfaceDice()
